//! Batches that gather while another is written, without connections.

use super::*;
use crate::projector::acknowledger::Report;
use crate::projector::scripted::Scripted;
use crate::store::{RowChange, Shard, Written};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::{Epoch, PartitionId, ProductId, Sequence};
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, watch};

/// What is seen of a shard that writes a batch when it is told to.
struct Gated {
    gate: Arc<Semaphore>,
    begun: Arc<watch::Sender<usize>>,
    /// Rows of the batches it has written.
    written: Arc<Mutex<Vec<usize>>>,
}

impl Gated {
    fn new(open_for: usize) -> Self {
        let gate = Arc::new(Semaphore::new(open_for));
        Self { gate, begun: Arc::new(watch::Sender::new(0)), written: Arc::default() }
    }

    fn shard(&self) -> Arc<dyn Shard> {
        let (gate, begun) = (Arc::clone(&self.gate), Arc::clone(&self.begun));
        let written = Arc::clone(&self.written);
        Arc::new(Scripted {
            on_write: Box::new(move |batch| {
                begun.send_modify(|begun| *begun += 1);
                let (gate, written) = (Arc::clone(&gate), Arc::clone(&written));
                Box::pin(async move {
                    gate.acquire().await.expect("it is open").forget();
                    written.lock().expect("no panic").push(batch.changes.len());
                    Ok(Written { rows: batch.changes.len() as u64, dead_letters: 0 })
                })
            }),
            on_checkpoints: Box::new(|| panic!("nothing gets lost here")),
        })
    }
}

/// Events `first` to `first + rows - 1`, each of one change.
fn chunk(first: u64, rows: u64) -> Chunk {
    let partition = PartitionId::new(0).expect("in range");
    let changes = (first..first + rows).map(|sequence| Change {
        partition,
        sequence: Sequence::new(sequence),
        line: 0,
        at: Timestamp::from_micros(sequence),
        row: RowChange::StateSet {
            product: ProductId::from_bytes([1; 16]),
            state: SaleState::Open,
        },
    });
    let advance = Advance {
        partition,
        epoch: Epoch::FIRST,
        after: Sequence::new(first - 1),
        through: Sequence::new(first + rows - 1),
    };
    let (first_at, last_at) = (Timestamp::from_micros(first), Timestamp::from_micros(first + rows));
    Chunk { advance, first_at, last_at, changes: changes.collect(), room: None }
}

fn writer(gated: &Gated) -> (Writer, mpsc::UnboundedReceiver<Report>, watch::Sender<bool>) {
    let (reports, reported) = mpsc::unbounded_channel();
    let (stopper, stop) = watch::channel(false);
    let metrics = Arc::new(ShardMetrics::default());
    metrics.follows(1);
    (Writer { shard: gated.shard(), index: 0, reports, metrics, stop }, reported, stopper)
}

fn rush(delay: Duration) -> Rush {
    Rush::new(delay, Instant::now(), (0, 1), &BucketSet::ALL)
}

/// While the shard writes one batch, the next one is taken from the queue up to its bound, and no
/// second one is given to it.
#[tokio::test]
async fn the_next_batch_gathers_while_one_is_written() {
    let shard = Gated::new(0);
    let (writer, mut reported, _stopper) = writer(&shard);
    let gatherer = Gatherer {
        writer: &writer,
        buckets: BucketSet::ALL,
        rows_max: 30,
        rush: rush(Duration::from_millis(1)),
        from: Vec::new(),
        look_every: Duration::from_secs(3_600),
    };
    // The queue holds one chunk, so that what is accepted beyond it is in the gatherer's hands.
    let (chunks, queue) = mpsc::channel(1);
    let mut begun = shard.begun.subscribe();
    let test = async {
        chunks.send(chunk(1, 10)).await.expect("it gathers");
        begun.wait_for(|begun| *begun == 1).await.expect("the shard is there");
        // 10 rows are being written, 30 gather, and 10 wait in the queue.
        for first in [11, 21, 31, 41] {
            chunks.send(chunk(first, 10)).await.expect("it gathers");
        }
        assert_eq!(chunks.capacity(), 0, "no more is taken than may be");
        assert_eq!(*begun.borrow(), 1, "one batch is in the shard's hands");
        shard.gate.add_permits(1);
        begun.wait_for(|begun| *begun == 2).await.expect("the shard is there");
        chunks.send(chunk(51, 10)).await.expect("it gathers");
        shard.gate.add_permits(2);
        drop(chunks);
    };
    let (ended, ()) = tokio::join!(gatherer.run(queue), test);
    ended.expect("everything is written");
    assert_eq!(*shard.written.lock().expect("no panic"), [10, 30, 20]);
    let mut reached = Vec::new();
    while let Ok(report) = reported.try_recv() {
        reached.extend(report.reached.iter().map(|(_, through)| through.get()));
    }
    assert_eq!(reached, [10, 40, 60]);
}

/// A chunk that alone exceeds a batch is a batch by itself.
#[tokio::test]
async fn an_event_that_alone_is_more_than_a_batch_is_written_by_itself() {
    let shard = Gated::new(9);
    let (writer, _reported, _stopper) = writer(&shard);
    let gatherer = Gatherer {
        writer: &writer,
        buckets: BucketSet::ALL,
        rows_max: 30,
        rush: rush(Duration::from_secs(60)),
        from: Vec::new(),
        look_every: Duration::from_secs(3_600),
    };
    let (chunks, queue) = mpsc::channel(8);
    for (first, rows) in [(1, 10), (11, 100), (111, 10), (121, 20)] {
        chunks.send(chunk(first, rows)).await.expect("there is room");
    }
    drop(chunks);
    gatherer.run(queue).await.expect("everything is written");
    assert_eq!(*shard.written.lock().expect("no panic"), [10, 100, 30]);
}

/// Rows that come in a rush gather until the shard's turn; a few do not wait for it, nor do the last
/// ones.
#[tokio::test(start_paused = true)]
async fn in_a_rush_a_batch_gathers_for_longer() {
    let shard = Gated::new(9);
    let (writer, _reported, _stopper) = writer(&shard);
    let delay = Duration::from_millis(10);
    let start = Instant::now();
    let gatherer = Gatherer {
        writer: &writer,
        buckets: BucketSet::ALL,
        rows_max: 10_000,
        rush: rush(delay),
        from: Vec::new(),
        look_every: Duration::from_secs(3_600),
    };
    let (chunks, queue) = mpsc::channel(8);
    let mut begun = shard.begun.subscribe();
    let test = async {
        let mut next = 1;
        let mut send = async |rows: u64| {
            chunks.send(chunk(next, rows)).await.expect("it gathers");
            next += rows;
        };
        send(10).await;
        begun.wait_for(|begun| *begun == 1).await.expect("the shard is there");
        assert_eq!(start.elapsed(), delay);
        // 200 rows every 4 ms until after the turn.
        while start.elapsed() < Duration::from_millis(120) {
            send(200).await;
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        assert_eq!(*begun.borrow_and_update(), 2, "written at the turn, 100 ms after the start");
        begun.wait_for(|begun| *begun == 3).await.expect("the shard is there");
        let over = Duration::from_millis(118 + 50);
        assert_eq!(start.elapsed(), over, "half a period after the last rows");
        drop(chunks);
    };
    let (ended, ()) = tokio::join!(gatherer.run(queue), test);
    ended.expect("everything is written");
    assert_eq!(*shard.written.lock().expect("no panic"), [10, 4_600, 1_000]);
}
