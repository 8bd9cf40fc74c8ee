//! The peer of HTTP orders: hyper with nothing behind it. Each request is a JSON POST whose body is
//! read and parsed, and which gets JSON of an order's shape back; one current-thread runtime for
//! each CPU that the process may use, all on one port.

use crate::machine;
use anyhow::{Context, bail};
use bytes::Bytes;
use doorbuster_protocol::{BuyerId, OrderId, PartitionId, Sequence, Timestamp};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::thread;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::task::LocalSet;

const BACKLOG: i32 = 4_096;

/// The body of an order, of which the peer knows no more than this.
#[derive(Deserialize)]
struct Asked {
    quantity: u32,
}

/// An answer of the shape that an order gets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    order_id: &'a str,
    status: &'a str,
    product_id: &'a str,
    quantity: u32,
    unit_price: u64,
    total_amount: u64,
    currency: &'a str,
    created_at: &'a str,
    expires_at: &'a str,
}

impl<'a> Answer<'a> {
    fn to(quantity: u32, order_id: &'a str) -> Self {
        Self {
            order_id,
            status: "pending",
            product_id: "6ba7b810-9dad-51d1-80b4-00c04fd430c8",
            quantity,
            unit_price: 1_999,
            total_amount: 1_999 * u64::from(quantity),
            currency: "USD",
            created_at: "2026-01-01T00:00:00.000Z",
            expires_at: "2026-01-01T01:00:00.000Z",
        }
    }
}

/// The id of every order: a sound one, as clients look at that.
fn order_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let at = Timestamp::from_micros(1_800_000_000_000_000);
        let partition = PartitionId::new(0).expect("in range");
        OrderId::new(at, partition, BuyerId::from_bytes([7; 16]), Sequence::new(1)).to_string()
    })
}

/// A running one, as a process of its own; it is ended when this is dropped.
pub(crate) struct BareHyper {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl BareHyper {
    /// Starts one on one CPU.
    pub(crate) fn start(cpu: usize) -> anyhow::Result<Self> {
        let mut child = machine::command_on(cpu, &std::env::current_exe()?)
            .arg("bare-hyper")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the bare server could not be started")?;
        let stdout = child.stdout.take().expect("it was piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Ok(address) = line.trim().parse() else {
            bail!("the bare server did not say where it listens, but {line:?}");
        };
        Ok(Self { child, address })
    }

    /// CPU time so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        machine::cpu_seconds(self.child.id()).unwrap_or(0.0)
    }
}

impl Drop for BareHyper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until the process is ended; says where, first.
pub(crate) fn serve() -> anyhow::Result<()> {
    let first = listen((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in machine::cpus().iter().skip(1) {
        listeners.push(listen(address)?);
    }
    writeln!(std::io::stdout(), "{address}")?;
    thread::scope(|scope| {
        for (listener, cpu) in listeners.into_iter().zip(machine::cpus()) {
            scope.spawn(move || {
                machine::sit_on(cpu);
                let runtime = Builder::new_current_thread().enable_all().build();
                let runtime = runtime.expect("a runtime starts");
                LocalSet::new().block_on(&runtime, accept(listener));
            });
        }
    });
    Ok(())
}

fn listen(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

async fn accept(listener: std::net::TcpListener) {
    let listener = TcpListener::from_std(listener).expect("a listening socket");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        tokio::task::spawn_local(async move {
            let connection = http1::Builder::new()
                .header_read_timeout(None)
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            // A connection that breaks concerns only its client.
            let _ = connection.await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let asked = body.ok().and_then(|body| serde_json::from_slice::<Asked>(&body).ok());
    let (status, body) = match asked {
        Some(Asked { quantity }) => {
            let answer = Answer::to(quantity, order_id());
            (StatusCode::CREATED, serde_json::to_vec(&answer).unwrap_or_default())
        }
        None => (StatusCode::BAD_REQUEST, Vec::new()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
