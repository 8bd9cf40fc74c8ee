//! A buyer who watches: orders again and again on one connection, and notes every answer, how long
//! it took, and when none came. An order without an answer is asked for again with its key. What it
//! asked and was told also goes to a journal, as that of the load does.

use crate::support::http::{Answer, Client};
use crate::support::token;
use doorbuster_history::answer::{Answer as Told, Refusal};
use doorbuster_history::journal::Called;
use doorbuster_history::operation::Ask;
use doorbuster_loadgen::journal::{Entry, Pen, Writer};
use doorbuster_loadgen::told;
use doorbuster_protocol::{BuyerId, IdempotencyKey, ProductId};
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
    signals: Arc<Signals>,
    seen: Arc<Mutex<Testimony>>,
    /// The thread, and the writer of the journal; `None` once they were waited for.
    work: Option<(JoinHandle<()>, Writer)>,
}

/// What a witness is told.
#[derive(Default)]
struct Signals {
    /// To place no more orders, once the last one is answered.
    stop: AtomicBool,
    /// To wait for no answer any more: the test has failed.
    leave: AtomicBool,
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
    /// Sends one, who buys by the name `buyer`; what it asks and is told goes to the file `journal`.
    pub(crate) fn send(http: SocketAddr, data: &Path, buyer: &str, journal: &Path) -> Self {
        let (signals, seen) = (Arc::new(Signals::default()), Arc::default());
        let (told, noted) = (Arc::clone(&signals), Arc::clone(&seen));
        let (buyer, token) = (buyer.to_owned(), token(data, buyer, false));
        let writer = Writer::create(journal, false).expect("a journal");
        let pen = writer.pen(0, 1);
        let thread = thread::spawn(move || watch(http, &buyer, &token, &told, &noted, &pen));
        Self { signals, seen, work: Some((thread, writer)) }
    }

    /// What it has seen so far.
    pub(crate) fn seen(&self) -> MutexGuard<'_, Testimony> {
        locked(&self.seen)
    }

    /// What it saw, after its last order was answered.
    pub(crate) fn stop(mut self) -> Testimony {
        self.signals.stop.store(true, Ordering::Relaxed);
        let (thread, writer) = self.work.take().expect("it is waited for once");
        thread.join().expect("a witness does not panic");
        writer.finish().expect("the journal is written");
        std::mem::take(&mut locked(&self.seen))
    }
}

impl Drop for Witness {
    /// A test that failed waits for nobody: the thread ends when its server does.
    fn drop(&mut self) {
        self.signals.leave.store(true, Ordering::Relaxed);
    }
}

/// A test that fails with it in its hands leaves it whole.
fn locked(seen: &Mutex<Testimony>) -> MutexGuard<'_, Testimony> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch(
    http: SocketAddr,
    buyer: &str,
    token: &str,
    signals: &Signals,
    seen: &Mutex<Testimony>,
    pen: &Pen,
) {
    let mut client: Option<Client> = None;
    let mut number = 0;
    let mut is_open = false;
    while (is_open || !signals.stop.load(Ordering::Relaxed))
        && !signals.leave.load(Ordering::Relaxed)
    {
        let key = format!("{buyer}-{number}");
        let operation = note(pen, number, buyer, &key);
        let at = Instant::now();
        let answer = order(&mut client, http, token, &key);
        let took = at.elapsed();
        pen.answered(operation, answer.as_ref().map_or(Told::Unknown, told));
        let came = match &answer {
            Ok(answer) if answer.status == 201 => Came::Order,
            Ok(answer) => {
                let code = answer.body["code"].as_str().unwrap_or("no code");
                Came::Refusal(answer.status, code.to_owned())
            }
            Err(error) if took >= PATIENCE || error.kind() == io::ErrorKind::WouldBlock => {
                Came::Nothing
            }
            Err(_) => Came::NoConnection,
        };
        // Until it is known what became of an order, it is asked for again with its key.
        is_open = came != Came::Order;
        let mut seen = locked(seen);
        if let Ok(answer) = answer
            && came == Came::Order
        {
            number += 1;
            seen.acknowledged.push(Entry {
                attempt: number,
                buyer: buyer.to_owned(),
                product: PRODUCT.to_owned(),
                key,
                order_id: answer.order(),
                status: answer.body["status"].as_str().expect("a status").to_owned(),
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
) -> io::Result<Answer> {
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
    Ok(answer)
}

/// Writes down that an order is about to be asked for; the number of it.
fn note(pen: &Pen, attempt: u64, buyer: &str, key: &str) -> u64 {
    let product = ProductId::parse(PRODUCT).expect("a name");
    let id = BuyerId::parse(buyer).expect("a name");
    let ask = Ask::Place {
        product: told::product(product),
        buyer: told::buyer(id),
        key: told::key(IdempotencyKey::new(id, product, key.as_bytes())),
        quantity: 1,
        waitlist: false,
    };
    let (buyer, product) = (buyer.to_owned(), PRODUCT.to_owned());
    pen.sent(ask, Called { attempt, buyer, product, key: key.to_owned() })
}

/// What an answer says to the history checker.
fn told(answer: &Answer) -> Told {
    let code = || answer.code().to_owned();
    match answer.status {
        201 => {
            let seen = told::order_of_body(answer.text.as_bytes()).expect("an order");
            let replayed = answer.header("idempotency-replayed") == Some("true");
            Told::Order { seen: Box::new(seen), replayed }
        }
        429 => Told::NotDone(code()),
        // It may have been done.
        500.. => Told::Unknown,
        _ => Told::Refused(Refusal::Other(code())),
    }
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
