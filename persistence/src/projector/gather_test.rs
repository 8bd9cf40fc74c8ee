//! Batches that gather while another is written, without connections.

use super::*;
use crate::error::StoreError;
use crate::projector::acknowledger::Report;
use crate::rows::{Checkpoint, DeadLetter, OrderRow, ProductRow};
use crate::store::{Repair, RowChange, Shard, StoreFuture, StoreIdentity, Written};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::{Epoch, OrderId, PartitionId, ProductId, Sequence};
use std::sync::{Arc, Mutex};
use tokio::sync::{Semaphore, watch};

/// A shard that writes a batch when it is told to.
struct Gated {
    gate: Semaphore,
    begun: watch::Sender<usize>,
    /// Rows of the batches it has written.
    written: Mutex<Vec<usize>>,
}

impl Shard for Gated {
    fn name(&self) -> &str {
        "gated"
    }
    fn buckets(&self) -> BucketSet {
        BucketSet::ALL
    }
    fn write(&self, batch: Arc<Batch>) -> StoreFuture<'_, Written> {
        self.begun.send_modify(|begun| *begun += 1);
        Box::pin(async move {
            self.gate.acquire().await.expect("it is open").forget();
            self.written.lock().expect("no panic").push(batch.changes.len());
            Ok(Written { rows: batch.changes.len() as u64, dead_letters: 0 })
        })
    }
    fn claim(&self, _: StoreIdentity) -> StoreFuture<'_, ()> {
        refused()
    }
    fn identity(&self) -> StoreFuture<'_, Option<StoreIdentity>> {
        refused()
    }
    fn checkpoints(&self) -> StoreFuture<'_, Vec<Checkpoint>> {
        refused()
    }
    fn scan_orders(
        &self,
        _: Option<PartitionId>,
        _: Option<OrderId>,
        _: u32,
    ) -> StoreFuture<'_, Vec<OrderRow>> {
        refused()
    }
    fn scan_products(&self, _: Option<ProductId>, _: u32) -> StoreFuture<'_, Vec<ProductRow>> {
        refused()
    }
    fn dead_letters(
        &self,
        _: Option<(PartitionId, Sequence, u32)>,
        _: u32,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        refused()
    }
    fn repair(&self, _: Arc<Repair>) -> StoreFuture<'_, ()> {
        refused()
    }
}

fn refused<T: Send + 'static>() -> StoreFuture<'static, T> {
    Box::pin(std::future::ready(Err(StoreError::Closed)))
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

fn writer(shard: &Arc<Gated>) -> (Writer, mpsc::UnboundedReceiver<Report>, watch::Sender<bool>) {
    let (reports, reported) = mpsc::unbounded_channel();
    let (stopper, stop) = watch::channel(false);
    let metrics = Arc::new(ShardMetrics::default());
    metrics.follows(1);
    let shard = Arc::clone(shard) as Arc<dyn Shard>;
    (Writer { shard, index: 0, reports, metrics, stop }, reported, stopper)
}

/// While the shard writes one batch, the next one is taken from the queue up to its bound, and no
/// second one is given to it.
#[tokio::test]
async fn the_next_batch_gathers_while_one_is_written() {
    let shard = Arc::new(Gated {
        gate: Semaphore::new(0),
        begun: watch::Sender::new(0),
        written: Mutex::default(),
    });
    let (writer, mut reported, _stopper) = writer(&shard);
    let gatherer = Gatherer {
        writer: &writer,
        buckets: BucketSet::ALL,
        rows_max: 30,
        delay: Duration::from_millis(1),
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
    let shard = Arc::new(Gated {
        gate: Semaphore::new(9),
        begun: watch::Sender::new(0),
        written: Mutex::default(),
    });
    let (writer, _reported, _stopper) = writer(&shard);
    let gatherer = Gatherer {
        writer: &writer,
        buckets: BucketSet::ALL,
        rows_max: 30,
        delay: Duration::from_secs(60),
    };
    let (chunks, queue) = mpsc::channel(8);
    for (first, rows) in [(1, 10), (11, 100), (111, 10), (121, 20)] {
        chunks.send(chunk(first, rows)).await.expect("there is room");
    }
    drop(chunks);
    gatherer.run(queue).await.expect("everything is written");
    assert_eq!(*shard.written.lock().expect("no panic"), [10, 100, 30]);
}
