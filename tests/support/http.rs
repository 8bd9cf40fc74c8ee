//! A small blocking HTTP/1.1 client: one connection, one request at a time, no cleverness.

use rustix::net::{self, AddressFamily, SocketType};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// A connection to the edge.
pub struct Client {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body; null when it is empty or no JSON.
    pub body: Value,
    /// Its body as text.
    pub text: String,
}

impl Answer {
    /// A header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
    /// The code of a problem.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }
    /// The order that it speaks of.
    pub fn order(&self) -> String {
        self.body["orderId"].as_str().unwrap_or_else(|| panic!("no order: {self:?}")).to_owned()
    }
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

impl Client {
    /// Connects.
    pub fn connect(host: SocketAddr) -> Self {
        Self::try_connect(host, PATIENCE).expect("the edge listens")
    }

    /// Connects within `patience`, which each answer may take as well.
    pub fn try_connect(host: SocketAddr, patience: Duration) -> io::Result<Self> {
        Self::on(TcpStream::connect_timeout(&host, patience)?, host, patience)
    }

    /// Connects from one of this machine's addresses.
    pub fn connect_from(source: Ipv4Addr, host: SocketAddr) -> Self {
        let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        net::bind(&socket, &SocketAddr::from((source, 0))).expect("an address of this machine");
        net::connect(&socket, &host).expect("the edge listens");
        Self::on(socket.into(), host, PATIENCE).expect("it is open")
    }

    fn on(stream: TcpStream, host: SocketAddr, patience: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        Ok(Self { stream: BufReader::new(stream), host })
    }

    /// Sends a request and reads the answer.
    pub fn call(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        self.call_with(method, path, token, body, &[])
    }

    /// The same, with more headers.
    pub fn call_with(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.try_call(method, path, token, body, headers).expect("the edge answers")
    }

    /// The same of an edge that may be gone. After an error the connection is of no more use.
    pub fn try_call(
        &mut self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> io::Result<Answer> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        if let Some(token) = token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if !body.is_empty() {
            head += "Content-Type: application/json\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        self.stream.get_mut().write_all(head.as_bytes())?;
        self.read()
    }

    /// Places an order of one unit.
    pub fn buy(&mut self, product: &str, token: &str, key: Option<&str>, waitlist: bool) -> Answer {
        let body = serde_json::json!({ "quantity": 1, "waitlist": waitlist });
        let headers: Vec<_> = key.map(|key| ("Idempotency-Key", key)).into_iter().collect();
        let path = format!("/orders/flash-sale/{product}");
        self.call_with("POST", &path, Some(token), Some(&body), &headers)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.is_empty() {
            true => Err(io::ErrorKind::UnexpectedEof.into()),
            false => Ok(line.trim_end().to_owned()),
        }
    }

    fn read(&mut self) -> io::Result<Answer> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or(0, |(_, value)| value.parse().expect("a length"));
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        let text = String::from_utf8(bytes).expect("UTF-8");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, headers, body, text })
    }
}
