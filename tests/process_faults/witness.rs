//! A buyer who watches: orders again and again on one connection, and notes every answer, how long
//! it took, and when none came. An order without an answer is asked for again with its key.

use crate::support::http::Client;
use crate::support::token;
use doorbuster_loadgen::journal::Entry;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The product that witnesses buy; there is enough of it.
pub(crate) const PRODUCT: &str = "many";
/// Longer than any answer may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two orders.
const PAUSE: Duration = Duration::from_millis(10);

/// A witness at work.
pub(crate) struct Witness {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Testimony>>,
    thread: JoinHandle<()>,
}

/// One try to order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    /// When it was sent.
    pub(crate) at: Instant,
    /// How long it took to be answered, or lost.
    pub(crate) took: Duration,
    /// What came.
    pub(crate) came: Came,
}

/// What came of a try.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Came {
    /// The order.
    Order,
    /// A refusal, by its status and code.
    Refusal(u16, String),
    /// The connection ended, or none was to be had.
    NoConnection,
    /// Nothing, for as long as anybody would wait.
    Nothing,
}

/// All that a witness saw.
#[derive(Debug, Default)]
pub(crate) struct Testimony {
    /// Every try, in order.
    pub(crate) sightings: Vec<Sighting>,
    /// The orders.
    pub(crate) acknowledged: Vec<Entry>,
}

impl Witness {
    /// Sends one, who buys by the name `buyer`.
    pub(crate) fn send(http: SocketAddr, data: &Path, buyer: &str) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (told, noted) = (Arc::clone(&stop), Arc::clone(&seen));
        let (buyer, token) = (buyer.to_owned(), token(data, buyer, false));
        let thread = thread::spawn(move || watch(http, &buyer, &token, &told, &noted));
        Self { stop, seen, thread }
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Testimony> {
        locked(&self.seen)
    }

    /// What it saw, after its last order was answered.
    pub(crate) fn stop(self) -> Testimony {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a witness does not panic");
        std::mem::take(&mut locked(&self.seen))
    }
}

/// A test that fails with it in its hands leaves it whole.
fn locked(seen: &Mutex<Testimony>) -> MutexGuard<'_, Testimony> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(http: SocketAddr, buyer: &str, token: &str, stop: &AtomicBool, seen: &Mutex<Testimony>) {
    let mut client: Option<Client> = None;
    let mut number = 0;
    let mut is_open = false;
    while is_open || !stop.load(Ordering::Relaxed) {
        let key = format!("{buyer}-{number}");
        let at = Instant::now();
        let answer = order(&mut client, http, token, &key);
        let took = at.elapsed();
        let came = match &answer {
            Ok((201, _)) => Came::Order,
            Ok((status, body)) => {
                Came::Refusal(*status, body["code"].as_str().unwrap_or("no code").to_owned())
            }
            Err(error) if took >= PATIENCE || error.kind() == io::ErrorKind::WouldBlock => {
                Came::Nothing
            }
            Err(_) => Came::NoConnection,
        };
        // Until it is known what became of an order, it is asked for again with its key.
        is_open = came != Came::Order;
        let mut seen = locked(seen);
        if let Ok((201, body)) = answer {
            number += 1;
            seen.acknowledged.push(Entry {
                attempt: number,
                buyer: buyer.to_owned(),
                product: PRODUCT.to_owned(),
                key,
                order_id: body["orderId"].as_str().expect("an order").to_owned(),
                status: body["status"].as_str().expect("a status").to_owned(),
                quantity: 1,
                replayed: false,
            });
        }
        seen.sightings.push(Sighting { at, took, came });
        drop(seen);
        thread::sleep(PAUSE);
    }
}

fn order(
    client: &mut Option<Client>,
    http: SocketAddr,
    token: &str,
    key: &str,
) -> io::Result<(u16, serde_json::Value)> {
    let mut connected = match client.take() {
        Some(connected) => connected,
        None => Client::try_connect(http, PATIENCE)?,
    };
    let (path, body) = (format!("/orders/flash-sale/{PRODUCT}"), json!({ "quantity": 1 }));
    let headers = [("Idempotency-Key", key)];
    let answer = connected.try_call("POST", &path, Some(token), Some(&body), &headers)?;
    if answer.header("connection") != Some("close") {
        *client = Some(connected);
    }
    Ok((answer.status, answer.body))
}

impl Testimony {
    /// What was sent after a moment.
    pub(crate) fn since(&self, from: Instant) -> impl Iterator<Item = &Sighting> {
        self.sightings.iter().filter(move |sighting| sighting.at >= from)
    }

    /// How often a refusal came after a moment.
    pub(crate) fn refused_since(&self, from: Instant, status: u16, code: &str) -> usize {
        let wanted = Came::Refusal(status, code.to_owned());
        self.since(from).filter(|sighting| sighting.came == wanted).count()
    }

    /// How often each refusal came, and how often no answer did.
    pub(crate) fn refusals(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for sighting in &self.sightings {
            if let Some(name) = sighting.came.refusal() {
                *counts.entry(name).or_default() += 1;
            }
        }
        counts
    }
}

impl Came {
    /// Its name, when it is no order.
    pub(crate) fn refusal(&self) -> Option<String> {
        match self {
            Self::Order => None,
            Self::Refusal(status, code) => Some(format!("{status} {code}")),
            Self::NoConnection => Some("no connection".to_owned()),
            Self::Nothing => Some("no answer".to_owned()),
        }
    }
}
