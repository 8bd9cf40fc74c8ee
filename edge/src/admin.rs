//! The administrators' address: `GET /metrics`, `/health`, `/ready`, on a small thread of its own,
//! so that a busy edge can still be looked at.

use crate::handlers::health;
use crate::limits::ADMIN_CONNECTIONS_MAX;
use crate::problem::{Code, Problem};
use crate::service::Answer;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// The pause after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// How long headers may take, and a connection may rest.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The content type of the Prometheus text that `prometheus-client` writes.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the pages say.
#[derive(Clone)]
pub struct AdminPages {
    /// The text of `GET /metrics`, made anew for each request.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether `GET /ready` says so.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for AdminPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminPages")
    }
}

/// A running administrators' server.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Admin {
    /// Serves on a bound listener until [`Admin::join`], or until this is dropped.
    pub fn start(listener: TcpListener, pages: AdminPages) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopping) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("admin".to_owned())
            .spawn(move || runtime.block_on(serve(listener, pages, stopping)))?;
        Ok(Self { address, stop, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops at once and waits for the thread's end.
    pub fn join(self) -> io::Result<()> {
        self.stop.send_replace(true);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the admin thread panicked")))
    }
}

async fn serve(
    listener: TcpListener,
    pages: AdminPages,
    mut stopping: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let seats = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    loop {
        let seat = Arc::clone(&seats).acquire_owned().await.map_err(io::Error::other)?;
        tokio::select! {
            biased;
            _ = stopping.wait_for(|is_stopping| *is_stopping) => return Ok(()),
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let pages = pages.clone();
                tokio::spawn(async move {
                    let answer = service_fn(|request| {
                        let response = answer(&pages, &request);
                        async { Ok::<_, Infallible>(response) }
                    });
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .header_read_timeout(HEADER_TIMEOUT)
                        .max_buf_size(crate::framing::HEAD_BYTES_MAX)
                        .serve_connection(TokioIo::new(stream), answer);
                    // A connection that breaks concerns only its client.
                    let _ = connection.await;
                    drop(seat);
                });
            }
        }
    }
}

fn answer(pages: &AdminPages, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let is_page = matches!(path, "/metrics" | "/health" | "/ready");
    if is_page && !matches!(*request.method(), Method::GET | Method::HEAD) {
        let detail = "This path takes GET, HEAD";
        return Problem::new(Code::MethodNotAllowed, detail).header("GET, HEAD").into_response("");
    }
    match path {
        "/metrics" => text((pages.metrics)(), METRICS_TYPE),
        "/health" => json(health::health()),
        "/ready" => match health::ready((pages.ready)()) {
            Ok(answer) => json(answer),
            Err(problem) => problem.into_response(""),
        },
        _ => {
            Problem::new(Code::NotFound, "Here are /metrics, /health and /ready").into_response("")
        }
    }
}

fn json(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = text(answer.body, "application/json");
    *response.status_mut() = answer.status;
    response
}

fn text(body: impl Into<Bytes>, content_type: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
