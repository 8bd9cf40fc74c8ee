//! One keep-alive connection and the requests of the public contract on it.

use super::request::Request;
use super::response::{self, Response};
use crate::answer::{Answer, Failure};
use crate::target::HttpTarget;
use doorbuster_protocol::OrderId;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Bytes asked for in one read; a response fits many times.
const READ_BYTES: usize = 8 << 10;

/// A connection, or the wish for one.
#[derive(Debug)]
pub(crate) struct HttpLane {
    target: Arc<HttpTarget>,
    stream: Option<TcpStream>,
    output: Vec<u8>,
    input: Vec<u8>,
    /// Bytes of `input` that the last response took.
    used: usize,
    timeout: Duration,
    /// Where connections come from; `None`: the system decides.
    source: Option<IpAddr>,
}

/// What a buyer sends to buy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpOrder<'a> {
    pub(crate) product: &'a str,
    pub(crate) token: &'a str,
    pub(crate) key: &'a str,
    pub(crate) body: &'a [u8],
}

impl HttpLane {
    pub(crate) fn new(target: Arc<HttpTarget>, timeout: Duration, source: Option<IpAddr>) -> Self {
        Self {
            target,
            stream: None,
            output: Vec::with_capacity(1 << 10),
            input: Vec::with_capacity(READ_BYTES),
            used: 0,
            timeout,
            source,
        }
    }

    /// Whether it has a connection that the server has not closed in the meantime.
    pub(crate) fn is_connected(&mut self) -> bool {
        let Some(stream) = &self.stream else { return false };
        // No system call: the runtime knows whether anything arrived since the last read.
        match stream.try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            _ => {
                self.stream = None;
                false
            }
        }
    }

    pub(crate) async fn connect(&mut self) -> io::Result<()> {
        self.stream = None;
        let stream = match tokio::time::timeout(self.timeout, self.stream()).await {
            Ok(stream) => stream?,
            Err(_) => return Err(io::ErrorKind::TimedOut.into()),
        };
        stream.set_nodelay(true)?;
        self.stream = Some(stream);
        Ok(())
    }

    async fn stream(&self) -> io::Result<TcpStream> {
        let address = self.target.address();
        let Some(source) = self.source else { return TcpStream::connect(address).await };
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(address).await
    }

    /// Connects, looks at a product, and gives the connection away, at rest; or says why not.
    pub(crate) async fn rest_after_a_look(
        mut self,
        product: &str,
        token: &str,
    ) -> Result<TcpStream, String> {
        self.connect().await.map_err(|error| error.to_string())?;
        let path = ["products", product];
        let request = Request { method: "GET", path: &path, token, key: None, body: b"" };
        self.exchange(request).await.map_err(|failure| failure.code.into_owned())?;
        self.stream.take().ok_or_else(|| "the server closed it after one answer".to_owned())
    }

    /// Buys. `evidence` gets the body of the response.
    pub(crate) async fn place(
        &mut self,
        order: HttpOrder<'_>,
        evidence: Option<&mut Vec<u8>>,
    ) -> Answer {
        let request = Request {
            method: "POST",
            path: &["orders", "flash-sale", order.product],
            token: order.token,
            key: Some(order.key),
            body: order.body,
        };
        self.answer(request, evidence).await
    }

    /// Does something with an order, or looks at it.
    pub(crate) async fn on_order(
        &mut self,
        (method, action): (&'static str, &str),
        order: OrderId,
        token: &str,
        evidence: Option<&mut Vec<u8>>,
    ) -> Answer {
        let order = order.to_string();
        let path = ["orders", order.as_str(), action];
        let request = Request { method, path: &path, token, key: None, body: b"" };
        self.answer(request, evidence).await
    }

    /// Defines a product; its document, or the body of a refusal as the error.
    pub(crate) async fn define(
        &mut self,
        product: &str,
        token: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, String> {
        let path = ["products", product];
        let request = Request { method: "PUT", path: &path, token, key: None, body };
        match self.exchange(request).await {
            Ok(response) if response.status < 300 => Ok(response.body.into_owned()),
            Ok(response) => {
                Err(format!("{}: {}", response.status, String::from_utf8_lossy(&response.body)))
            }
            Err(failure) => Err(failure.code.into_owned()),
        }
    }

    async fn answer(&mut self, request: Request<'_>, evidence: Option<&mut Vec<u8>>) -> Answer {
        match self.exchange(request).await {
            Ok(response) => {
                if let Some(evidence) = evidence {
                    evidence.clear();
                    evidence.extend_from_slice(&response.body);
                }
                super::answer_of(&response)
            }
            Err(failure) => Answer::Failed(failure),
        }
    }

    /// One request, one response. After a failure the connection is gone.
    async fn exchange(&mut self, request: Request<'_>) -> Result<Response<'_>, Failure> {
        request.write(&self.target, &mut self.output);
        let Some(mut stream) = self.stream.take() else { return Err(Failure::DISCONNECTED) };
        self.input.drain(..self.used);
        self.used = 0;
        if !self.input.is_empty() {
            // A response that nobody asked for: what follows cannot be trusted.
            self.input.clear();
            return Err(Failure::NONSENSE);
        }
        let exchanged = tokio::time::timeout(
            self.timeout,
            exchange_bytes(&mut stream, &self.output, &mut self.input),
        );
        let is_end = match exchanged.await {
            Ok(Ok(is_end)) => is_end,
            Ok(Err(failure)) => {
                self.input.clear();
                return Err(failure);
            }
            Err(_) => {
                self.input.clear();
                return Err(Failure::TIMED_OUT);
            }
        };
        let response = response::parse(&self.input, is_end)
            .ok()
            .flatten()
            .expect("a whole response was seen in these bytes");
        self.used = response.length;
        if !is_end && !response.closes {
            self.stream = Some(stream);
        }
        Ok(response)
    }
}

/// Writes all of `output`, then reads until `input` starts with a whole response. Says whether the
/// server closed the connection with it.
async fn exchange_bytes(
    stream: &mut TcpStream,
    output: &[u8],
    input: &mut Vec<u8>,
) -> Result<bool, Failure> {
    stream.write_all(output).await.map_err(|_| Failure::DISCONNECTED)?;
    loop {
        input.reserve(READ_BYTES);
        let count = stream.read_buf(input).await.map_err(|_| Failure::DISCONNECTED)?;
        match response::parse(input, count == 0) {
            Ok(Some(_)) => return Ok(count == 0),
            Ok(None) => {}
            Err(response::ResponseError::Truncated) => return Err(Failure::DISCONNECTED),
            Err(_) => return Err(Failure::NONSENSE),
        }
    }
}
