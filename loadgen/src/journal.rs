//! The list of acknowledged orders: one JSON object per line, for whoever kills the server and
//! compares what it recovers with what it had promised.
//!
//! Workers hand lines to one writing thread, which flushes whenever nothing more waits: a line is
//! in the file moments after the answer, and no worker waits for the file system.

use doorbuster_protocol::OrderId;
use doorbuster_protocol::outcome::OrderStatus;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// One acknowledgement. An order that is paid later has a second entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
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

/// Every entry of a journal. A last line that was cut short (its writer was killed) is left out.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        let line = line?;
        match serde_json::from_slice(&line) {
            Ok(entry) => entries.push(entry),
            Err(error) if error.is_eof() => {}
            Err(error) => {
                let text = format!("line {} is no entry: {error}", entries.len() + 1);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
    }
    Ok(entries)
}

/// The writing thread.
pub(crate) struct Writer {
    lines: Sender<Entry>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    /// Starts a new journal; one that was there is overwritten.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let (lines, receiver) = channel();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_all(&receiver, BufWriter::new(file)))?;
        Ok(Self { lines, thread })
    }

    /// What a worker writes to.
    pub(crate) fn sender(&self) -> Sender<Entry> {
        self.lines.clone()
    }

    /// Waits until every line is written. All senders must be gone.
    pub(crate) fn finish(self) -> io::Result<()> {
        drop(self.lines);
        self.thread.join().expect("the journal's thread does not panic")
    }
}

fn write_all(entries: &Receiver<Entry>, mut file: BufWriter<File>) -> io::Result<()> {
    while let Ok(first) = entries.recv() {
        let mut next = Some(first);
        while let Some(entry) = next {
            serde_json::to_writer(&mut file, &entry)?;
            file.write_all(b"\n")?;
            next = entries.try_recv().ok();
        }
        file.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(attempt: u64) -> Entry {
        Entry {
            attempt,
            buyer: format!("buyer-{attempt:08}"),
            product: "demo".to_owned(),
            key: format!("k-{attempt}"),
            order_id: "018bcfe5-6800-8003-8000-000000000000".to_owned(),
            status: "pending".to_owned(),
            quantity: 1,
            replayed: false,
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_cut_line_is_left_out() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("orders.jsonl");
        let writer = Writer::create(&path).expect("a journal");
        let sender = writer.sender();
        for attempt in 0..100 {
            sender.send(entry(attempt)).expect("the writer listens");
        }
        drop(sender);
        writer.finish().expect("all is written");
        let entries = read(&path).expect("a journal");
        assert_eq!(entries, (0..100).map(entry).collect::<Vec<Entry>>());

        let text = std::fs::read(&path).expect("the file");
        assert!(text.starts_with(br#"{"attempt":0,"buyer":"buyer-00000000","product":"demo","#));
        std::fs::write(&path, &text[..text.len() - 10]).expect("cut");
        assert_eq!(read(&path).expect("a journal").len(), 99);
        std::fs::write(&path, b"nonsense\n{}\n").expect("written");
        assert!(read(&path).is_err());
    }
}
