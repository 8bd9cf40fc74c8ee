//! What one attacker of each kind does with a connection.

use super::attack::{Tally, Target};
use super::hostile_shapes::{REFUSED, bytes};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long an answer may take before it is wrong that there is none.
const PATIENCE: Duration = Duration::from_secs(30);
/// Orders with forged tokens that a forger sends on one connection before the first answer.
pub(crate) const FORGED_AT_ONCE: usize = 20;

/// What attackers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Send a head byte by byte, and never end it.
    SlowHeaders,
    /// Announce a body, and send it byte by byte.
    SlowBodies,
    /// Ask a lot, and never read an answer.
    SlowReaders,
    /// Ask once and vanish.
    HalfOpen,
    /// Connect, and do nothing.
    Idle,
    /// Ask once, and do nothing more.
    Resting,
    /// Send requests that can be read in two ways.
    Shapes,
    /// Send heads and bodies that are too large.
    Giants,
    /// Send what is no HTTP/1.1: TLS, HTTP/2, random bytes.
    Garbage,
    /// Connect and leave at once.
    Churn,
    /// Order with tokens that somebody else signed.
    BadTokens,
}

impl Kind {
    /// Every kind, in the order in which they attack.
    pub(crate) const ALL: [Self; 11] = [
        Self::SlowHeaders,
        Self::SlowBodies,
        Self::SlowReaders,
        Self::HalfOpen,
        Self::Idle,
        Self::Resting,
        Self::Shapes,
        Self::Giants,
        Self::Garbage,
        Self::Churn,
        Self::BadTokens,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SlowHeaders => "slow headers",
            Self::SlowBodies => "slow bodies",
            Self::SlowReaders => "slow readers",
            Self::HalfOpen => "half-open",
            Self::Idle => "idle",
            Self::Resting => "idle after a request",
            Self::Shapes => "smuggling shapes",
            Self::Giants => "giant heads and bodies",
            Self::Garbage => "garbage, TLS, HTTP/2",
            Self::Churn => "connection churn",
            Self::BadTokens => "forged tokens",
        }
    }

    /// Whether each attacker holds a connection; else they come and go.
    pub(crate) const fn is_held(self) -> bool {
        matches!(
            self,
            Self::SlowHeaders
                | Self::SlowBodies
                | Self::SlowReaders
                | Self::HalfOpen
                | Self::Idle
                | Self::Resting
        )
    }

    /// What the server counts it as when it ends it.
    pub(crate) const fn reason(self) -> Option<&'static str> {
        match self {
            Self::SlowHeaders => Some("slow-headers"),
            Self::SlowBodies => Some("slow-body"),
            Self::SlowReaders => Some("slow-reader"),
            Self::Shapes | Self::Giants | Self::Garbage => Some("malformed"),
            Self::BadTokens => Some("bad-tokens"),
            Self::HalfOpen | Self::Idle | Self::Resting | Self::Churn => None,
        }
    }
}

/// Holds a connection until the server ends it.
pub(crate) async fn hold(kind: Kind, mut stream: TcpStream, target: &Target, tally: &Tally) {
    let line = format!("POST /orders/flash-sale/{} HTTP/1.1\r\nhost: shop\r\n", target.product);
    let bearer = &target.bearer;
    match kind {
        Kind::SlowHeaders => {
            let _ = stream.write_all(format!("{line}x: ").as_bytes()).await;
            dawdle(&mut stream, target.pause).await;
        }
        Kind::SlowBodies => {
            let head = format!("{line}authorization: {bearer}\r\ncontent-length: 10000\r\n\r\n");
            let _ = stream.write_all(head.as_bytes()).await;
            let answer = dawdle(&mut stream, target.pause).await;
            match status(&answer) {
                Some(408) => tally.is_right(),
                // A reset may have overtaken the answer.
                None => {}
                other => tally.is_wrong(format!("a slow body was answered {other:?}")),
            }
        }
        Kind::SlowReaders => {
            let asks = "GET /nowhere HTTP/1.1\r\nhost: shop\r\n\r\n".repeat(2_000);
            let _ = timeout(Duration::from_secs(1), stream.write_all(asks.as_bytes())).await;
            loop {
                sleep(target.pause).await;
                let written = stream.try_write(b"GET /nowhere HTTP/1.1\r\nhost: shop\r\n\r\n");
                if written.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock) {
                    return;
                }
            }
        }
        Kind::HalfOpen | Kind::Resting => {
            let _ = stream.write_all(b"GET /health HTTP/1.1\r\nhost: shop\r\n\r\n").await;
            let mut answer = [0; 4_096];
            let read = timeout(PATIENCE, stream.read(&mut answer)).await;
            match read {
                Ok(Ok(read)) if status(&answer[..read]) == Some(200) => tally.is_right(),
                // It vanished before its answer came.
                Err(_) if kind == Kind::HalfOpen => {}
                other => tally.is_wrong(format!("a request was answered {other:?}")),
            }
            until_closed(&mut stream).await;
        }
        _ => until_closed(&mut stream).await,
    }
}

/// Does with a new connection what attackers do who come and go.
pub(crate) async fn send(
    kind: Kind,
    number: usize,
    mut stream: TcpStream,
    target: &Target,
    tally: &Tally,
) {
    match kind {
        Kind::Churn => {
            if number.is_multiple_of(2) {
                // A reset; the others end in good order.
                let _ = stream.set_zero_linger();
            }
        }
        Kind::Garbage => {
            let bytes = garbage(number);
            let answer = exchange(&mut stream, &bytes).await;
            match status(&answer) {
                Some(400 | 505) => tally.is_right(),
                other => tally.is_wrong(format!("garbage was answered {other:?}")),
            }
        }
        Kind::BadTokens => {
            // Of the right length, so that it costs as much as a good one to look at.
            let (token, end) = target.bearer.split_at(target.bearer.len() - 2);
            let token = format!("{}{number:08x}{end}", &token[..token.len() - 8]);
            let order = bytes(b"@N", &target.product, &token);
            let order = String::from_utf8(order).expect("an order is text");
            let last = order.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            let orders = order.repeat(FORGED_AT_ONCE - 1) + &last;
            let answers = exchange(&mut stream, orders.as_bytes()).await;
            let answers = String::from_utf8_lossy(&answers);
            let refused: Vec<&str> = answers
                .split("HTTP/1.1 ")
                .filter_map(|answer| answer.get(..3))
                .filter(|status| matches!(*status, "401" | "429"))
                .collect();
            match refused.len() {
                FORGED_AT_ONCE => tally.is_right(),
                _ => tally.is_wrong(format!("forged tokens were answered {answers}")),
            }
        }
        _ => {
            let is_giant = |status: u16| status != 400 && status != 505;
            let fitting: Vec<_> =
                REFUSED.iter().filter(|row| is_giant(row.2) == (kind == Kind::Giants)).collect();
            let (name, text, expected, _) = fitting[number % fitting.len()];
            let bytes = bytes(text, &target.product, &target.bearer);
            let answer = exchange(&mut stream, &bytes).await;
            match status(&answer) {
                Some(found) if found == *expected => tally.is_right(),
                other => tally.is_wrong(format!("{name} was answered {other:?}")),
            }
        }
    }
}

fn garbage(number: usize) -> Vec<u8> {
    match number % 3 {
        0 => b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03".repeat(20),
        1 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0".to_vec(),
        _ => {
            let mut bytes: Vec<u8> = (0..2_000).map(|_| fastrand::u8(..)).collect();
            bytes.extend_from_slice(b"\n");
            bytes
        }
    }
}

/// Sends a byte now and then until the server ends it; what it said meanwhile.
async fn dawdle(stream: &mut TcpStream, pause: Duration) -> Vec<u8> {
    let mut answer = Vec::new();
    let mut piece = [0; 1_024];
    loop {
        match timeout(pause, stream.read(&mut piece)).await {
            Ok(Ok(0) | Err(_)) => return answer,
            Ok(Ok(read)) => answer.extend_from_slice(&piece[..read]),
            Err(_) => _ = stream.write(b"x").await,
        }
    }
}

/// Sends all, and reads until the server ends it.
async fn exchange(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    let (mut from, mut to) = stream.split();
    let mut answer = Vec::new();
    let both = async {
        // It may be refused in the middle.
        tokio::join!(to.write_all(bytes), from.read_to_end(&mut answer))
    };
    let _ = timeout(PATIENCE, both).await;
    answer
}

async fn until_closed(stream: &mut TcpStream) {
    let mut piece = [0; 1_024];
    while matches!(stream.read(&mut piece).await, Ok(1..)) {}
}

/// The status of the first answer.
fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer.get(..12)?).ok()?;
    line.strip_prefix("HTTP/1.1 ")?.parse().ok()
}
