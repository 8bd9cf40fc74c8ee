//! The shop over HTTP: a thread per connection, no cleverness.

use super::{Door, Order, Sale, Shop};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;

/// A server, and the strings that a test pulls.
pub(crate) struct HttpServer {
    pub(crate) shop: Mutex<Shop>,
    pub(crate) door: Door,
    /// Close the connection in the middle of every n-th response; 0: never.
    pub(crate) breaks_every: AtomicU64,
    /// Answer in chunks.
    pub(crate) chunked: AtomicBool,
    pub(crate) requests: AtomicU64,
    is_down: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
    clients: Mutex<BTreeSet<IpAddr>>,
    address: SocketAddr,
}

struct Request {
    method: String,
    path: String,
    token: String,
    key: String,
    body: Vec<u8>,
}

impl HttpServer {
    pub(crate) fn start(shop: Shop) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let server = Arc::new(Self {
            shop: Mutex::new(shop),
            door: Door::default(),
            breaks_every: AtomicU64::new(0),
            chunked: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            is_down: AtomicBool::new(false),
            connections: Mutex::default(),
            clients: Mutex::default(),
            address: listener.local_addr().expect("bound"),
        });
        let accepting = Arc::clone(&server);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_down.load(SeqCst) {
                    return;
                }
                let stream = stream.expect("a connection");
                let client = stream.peer_addr().expect("it is connected").ip();
                accepting.clients.lock().expect("no panic under the lock").insert(client);
                let kept = stream.try_clone().expect("a second handle");
                accepting.connections.lock().expect("no panic under the lock").push(kept);
                let serving = Arc::clone(&accepting);
                thread::spawn(move || serving.serve(stream));
            }
        });
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener and every connection.
    pub(crate) fn go_down(&self) {
        self.is_down.store(true, SeqCst);
        // The accepting thread sees the flag with this connection.
        let _ = TcpStream::connect(self.address);
        for connection in &*self.connections.lock().expect("no panic under the lock") {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// The addresses that connections came from.
    pub(crate) fn clients(&self) -> BTreeSet<IpAddr> {
        self.clients.lock().expect("no panic under the lock").clone()
    }

    fn serve(&self, mut stream: TcpStream) {
        stream.set_nodelay(true).expect("a socket option");
        let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
        while let Some(request) = read_request(&mut reader) {
            let number = self.requests.fetch_add(1, SeqCst) + 1;
            self.door.pass();
            let (status, replayed, body) = self.answer(&request);
            let response = self.render(status, replayed, &body);
            let breaks_every = self.breaks_every.load(SeqCst);
            if breaks_every > 0 && number.is_multiple_of(breaks_every) {
                let _ = stream.write_all(&response[..response.len() / 2]);
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            if stream.write_all(&response).is_err() {
                return;
            }
        }
    }

    fn render(&self, status: u16, replayed: bool, body: &str) -> Vec<u8> {
        let replayed = if replayed { "Idempotency-Replayed: true\r\n" } else { "" };
        let (framing, body) = if self.chunked.load(SeqCst) {
            let (head, tail) = body.split_at(body.len() / 2);
            let chunks = [head, tail].map(|part| format!("{:x}\r\n{part}\r\n", part.len()));
            ("Transfer-Encoding: chunked".to_owned(), format!("{}0\r\n\r\n", chunks.concat()))
        } else {
            (format!("Content-Length: {}", body.len()), body.to_owned())
        };
        format!("HTTP/1.1 {status} X\r\nServer: test\r\n{replayed}{framing}\r\n\r\n{body}")
            .into_bytes()
    }

    fn answer(&self, request: &Request) -> (u16, bool, String) {
        assert!(!request.token.is_empty(), "every request has a token");
        let shop = &mut *self.shop.lock().expect("no panic under the lock");
        let segments: Vec<&str> = request.path.split('/').skip(1).collect();
        match (request.method.as_str(), segments.as_slice()) {
            ("POST", ["orders", "flash-sale", _]) => {
                let body: serde_json::Value =
                    serde_json::from_slice(&request.body).expect("a JSON body");
                let may_queue = body["waitlist"] == true;
                assert_eq!(body["quantity"], 1);
                match shop.place(request.token.as_bytes(), request.key.as_bytes(), may_queue) {
                    Sale::Order { order, replayed } => {
                        let status = if order.status.as_str() == "queued" { 202 } else { 201 };
                        (status, replayed, order_body(order))
                    }
                    Sale::SoldOut => problem(409, "sold-out"),
                    Sale::Limit => problem(409, "purchase-limit"),
                }
            }
            ("GET", ["products", _]) => (200, false, "{}".to_owned()),
            ("PUT", ["products", _]) => {
                let body: serde_json::Value =
                    serde_json::from_slice(&request.body).expect("a JSON body");
                shop.stock = body["stock"].as_u64().expect("a stock") as usize;
                (200, false, "{}".to_owned())
            }
            (method, ["orders", id, action]) => {
                let id = id.parse().expect("an order id");
                let order = match (method, *action) {
                    ("PUT", "pay") => shop.pay(id),
                    ("PUT", "cancel") => shop.cancel(id),
                    ("GET", "status") => shop.look(id),
                    other => panic!("no such action: {other:?}"),
                };
                match order {
                    Some(order) => (200, false, order_body(order)),
                    None => problem(409, "order-final"),
                }
            }
            other => panic!("no such route: {other:?}"),
        }
    }
}

fn order_body(order: Order) -> String {
    format!(r#"{{"orderId":"{}","status":"{}","quantity":1}}"#, order.id, order.status.as_str())
}

fn problem(status: u16, code: &str) -> (u16, bool, String) {
    (status, false, format!(r#"{{"title":"refused","status":{status},"code":"{code}"}}"#))
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut request =
        Request { method, path, token: String::new(), key: String::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name {
            "Authorization" => value.clone_into(&mut request.token),
            "Idempotency-Key" => value.clone_into(&mut request.key),
            "Content-Length" => request.body.resize(value.parse().expect("a length"), 0),
            _ => {}
        }
    }
    reader.read_exact(&mut request.body).ok()?;
    Some(request)
}
