//! Everything that was sent and what came of it, as lines of JSON: for whoever kills the server and
//! compares what it recovers with what it had promised.
//!
//! The lines are those of a history's journal ([`doorbuster_history::journal`]): one before a request
//! is sent, one when its answer is there. Workers hand them to one writing thread, which flushes
//! whenever nothing more waits: a line is in the file moments later, and no worker waits for the file
//! system.

use doorbuster_history::answer::Answer;
use doorbuster_history::journal::{Answered, Begun, Called, Line, Sent, VERSION};
use doorbuster_history::operation::Ask;
use doorbuster_history::terms::Status;
use doorbuster_protocol::OrderId;
use doorbuster_protocol::outcome::OrderStatus;
use std::cell::Cell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Something that was acknowledged: an order, its payment, its cancel, or that it was served from
/// the waitlist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The attempt's number in its run.
    pub attempt: u64,
    /// The buyer's name.
    pub buyer: String,
    /// The product, as the plan names it.
    pub product: String,
    /// The `Idempotency-Key`, as the buyer sent it.
    pub key: String,
    /// The order.
    pub order_id: String,
    /// Where it stood: `pending`, `queued`, `paid`, `cancelled`.
    pub status: String,
    /// Units.
    pub quantity: u32,
    /// Whether this was the first answer again.
    pub replayed: bool,
}

impl Entry {
    /// The order's id; `None` when the line was tampered with.
    pub fn order(&self) -> Option<OrderId> {
        self.order_id.parse().ok()
    }
    /// Its status; `None` for a word that is no status.
    pub fn order_status(&self) -> Option<OrderStatus> {
        OrderStatus::parse(&self.status)
    }
}

/// What a journal has of acknowledgements, in the order in which they came. A last line that was
/// cut short (its writer was killed) is left out.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let invalid = |error: &dyn std::error::Error| {
        io::Error::new(io::ErrorKind::InvalidData, error.to_string())
    };
    let lines = doorbuster_history::journal::read_lines(BufReader::new(File::open(path)?));
    let mut sent: HashMap<u64, Sent> = HashMap::new();
    let mut units: HashMap<u64, u32> = HashMap::new();
    let mut entries: Vec<Entry> = Vec::new();
    for line in lines.map_err(|error| invalid(&error))? {
        match line {
            Line::Begun(_) => {}
            Line::Sent(request) => _ = sent.insert(request.operation, request),
            Line::Answered(Answered { operation, answer, .. }) => {
                let request = sent.remove(&operation);
                let Some(mut entry) = request.and_then(|it| acknowledged(it, &answer)) else {
                    continue;
                };
                // What follows an order is about as many units as were ordered.
                match entry.quantity {
                    0 => entry.quantity = units.get(&entry.attempt).copied().unwrap_or(0),
                    quantity => _ = units.insert(entry.attempt, quantity),
                }
                entries.push(entry);
            }
        }
    }
    Ok(entries)
}

/// The entry of an answer that is an acknowledgement; of no units when it is not of an order.
fn acknowledged(request: Sent, answer: &Answer) -> Option<Entry> {
    let Answer::Order { seen, replayed } = answer else { return None };
    // To look at an order promises nothing, but for the units of one that has waited.
    if matches!(request.ask, Ask::LookAtOrder { .. }) && seen.status != Status::Pending {
        return None;
    }
    let quantity = match request.ask {
        Ask::Place { quantity, .. } => quantity,
        _ => 0,
    };
    let Called { attempt, buyer, product, key } = *request.called?;
    Some(Entry {
        attempt,
        buyer,
        product,
        key,
        order_id: seen.order.to_string(),
        status: seen.status.to_string(),
        quantity,
        replayed: *replayed,
    })
}

/// The wall clock of a run: read once, and from then on it goes steadily.
#[derive(Clone, Copy, Debug)]
struct Clock {
    begun_us: u64,
    begun: Instant,
}

impl Clock {
    fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { begun_us: since.as_micros() as u64, begun: Instant::now() }
    }
    fn now_us(&self) -> u64 {
        self.begun_us + self.begun.elapsed().as_micros() as u64
    }
}

/// The writing thread.
#[derive(Debug)]
pub struct Writer {
    lines: Sender<Line>,
    clock: Clock,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    /// Starts a new journal; one that was there is overwritten. `asks_engine`: over the binary
    /// protocol.
    pub fn create(path: &Path, asks_engine: bool) -> io::Result<Self> {
        let file = File::create(path)?;
        let (lines, receiver) = channel();
        let begun = Begun { version: VERSION, asks_engine };
        // The receiver is here.
        let _ = lines.send(Line::Begun(begun));
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_all(&receiver, BufWriter::new(file)))?;
        Ok(Self { lines, clock: Clock::start(), thread })
    }

    /// What one of `count` workers writes with.
    pub fn pen(&self, worker: usize, count: usize) -> Pen {
        Pen {
            lines: self.lines.clone(),
            clock: self.clock,
            client: worker as u32,
            next: Cell::new(worker as u64),
            step: count as u64,
        }
    }

    /// Waits until every line is written. All pens must be gone.
    pub fn finish(self) -> io::Result<()> {
        drop(self.lines);
        self.thread.join().expect("the journal's thread does not panic")
    }
}

/// What a worker writes with. The numbers of its operations are its own.
#[derive(Debug)]
pub struct Pen {
    lines: Sender<Line>,
    clock: Clock,
    client: u32,
    next: Cell<u64>,
    step: u64,
}

impl Pen {
    /// A request is about to be sent; its number.
    pub fn sent(&self, ask: Ask, called: Called) -> u64 {
        let operation = self.next.get();
        self.next.set(operation + self.step);
        let (client, called) = (self.client, Some(Box::new(called)));
        self.write(Line::Sent(Sent { operation, client, at_us: self.clock.now_us(), ask, called }));
        operation
    }

    /// Its answer is there, or will never be.
    pub fn answered(&self, operation: u64, answer: Answer) {
        let at_us = self.clock.now_us();
        self.write(Line::Answered(Answered { operation, at_us, answer }));
    }

    fn write(&self, line: Line) {
        // The writer ends early only on an error, and says so when the run ends.
        let _ = self.lines.send(line);
    }
}

fn write_all(lines: &Receiver<Line>, mut file: BufWriter<File>) -> io::Result<()> {
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        while let Some(line) = next {
            serde_json::to_writer(&mut file, &line)?;
            file.write_all(b"\n")?;
            next = lines.try_recv().ok();
        }
        file.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_history::answer::{OrderSeen, Refusal};
    use doorbuster_history::ids;

    const ORDER: &str = "018bcfe5-6800-8003-8000-000000000000";

    fn order(status: Status) -> Answer {
        let seen = OrderSeen::new(ORDER.parse().expect("an order"), status);
        Answer::Order { seen: Box::new(seen), replayed: false }
    }

    fn called(attempt: u64) -> Called {
        let buyer = format!("buyer-{attempt:08}");
        let (product, key) = ("demo".to_owned(), format!("k-{attempt}"));
        Called { attempt, buyer, product, key }
    }

    #[test]
    fn what_is_written_is_read_and_a_cut_line_is_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("orders.jsonl");
        let writer = Writer::create(&path, false).expect("a journal");
        let pens = [writer.pen(0, 2), writer.pen(1, 2)];
        let order_id = ORDER.parse().expect("an order");
        for attempt in 0..100 {
            let pen = &pens[attempt as usize % 2];
            let place = Ask::Place {
                product: ids::ProductId::new(1),
                buyer: ids::BuyerId::new(2),
                key: None,
                quantity: 3,
                waitlist: false,
            };
            let first = pen.sent(place, called(attempt));
            let refused = pen.sent(place, called(attempt));
            assert_eq!(refused, first + 2, "two pens share no number");
            pen.answered(refused, Answer::Refused(Refusal::SoldOut));
            pen.answered(first, order(Status::Pending));
        }
        let look = Ask::LookAtOrder { order: order_id, buyer: None };
        for status in [Status::Queued, Status::Paid] {
            let number = pens[0].sent(look, called(100));
            pens[0].answered(number, order(status));
        }
        let number = pens[0].sent(Ask::Pay { order: order_id }, called(99));
        pens[0].answered(number, order(Status::Paid));
        drop(pens);
        writer.finish().expect("all is written");

        let entries = read(&path).expect("a journal");
        let status = |entry: &Entry| entry.order_status().expect("a status");
        assert_eq!(entries.len(), 101);
        assert!(entries[..100].iter().all(|entry| status(entry) == OrderStatus::Pending));
        assert_eq!(status(&entries[100]), OrderStatus::Paid);
        assert!(entries.iter().all(|entry| entry.quantity == 3));
        assert_eq!((entries[7].attempt, entries[7].key.as_str()), (7, "k-7"));
        assert_eq!(entries[7].order_id, ORDER);

        let text = std::fs::read(&path).expect("the file");
        assert!(text.starts_with(br#"{"begun":{"version":1,"asksEngine":false}}"#));
        std::fs::write(&path, &text[..text.len() - 10]).expect("cut");
        assert_eq!(read(&path).expect("a journal").len(), 100);
        std::fs::write(&path, b"nonsense\n{}\n").expect("written");
        assert!(read(&path).is_err());
    }
}
