//! Answers that get lost, and commits that come late.

use super::*;
use crate::buckets::BucketSet;
use crate::projector::scripted::Scripted;
use crate::rows::Checkpoint;
use doorbuster_protocol::{Epoch, PartitionId, Sequence, Timestamp};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What a shard does with one write.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Writes it and says so.
    Writes,
    /// Writes it, and the answer is lost.
    WritesUnheard,
    /// Gives it up; the transaction goes on in the database.
    GivesUp,
    /// Waits for that transaction, which commits.
    FindsItWritten,
    /// Is somewhere else.
    IsElsewhere,
    Moved,
    Fails,
}

fn partition() -> PartitionId {
    PartitionId::new(0).expect("in range")
}

/// Writes events 6 to 9 into a shard that stands at 5 and does as it is told, one thing for each
/// write that it is asked for; how that ended, what was reported, and how many writes there were.
async fn outcome(script: &'static [Does]) -> (Result<(), Halt>, Option<u64>, usize) {
    let stored = Arc::new(AtomicU64::new(5));
    let asked = Arc::new(AtomicUsize::new(0));
    let (stands, at, count) = (Arc::clone(&stored), Arc::clone(&stored), Arc::clone(&asked));
    let away = || StoreError::Away { shard: "scripted".into(), why: "the test says so".into() };
    let elsewhere = |stored: &AtomicU64| StoreError::OutOfStep {
        partition: partition(),
        stored: Sequence::new(stored.load(Ordering::Relaxed)),
        after: Sequence::new(5),
    };
    let shard = Scripted {
        on_write: Box::new(move |batch| {
            let through = batch.advances[0].through.get();
            let written = Written { rows: 0, dead_letters: 0 };
            let answer = match script[count.fetch_add(1, Ordering::Relaxed)] {
                Does::Writes => {
                    at.store(through, Ordering::Relaxed);
                    Ok(written)
                }
                Does::WritesUnheard => {
                    at.store(through, Ordering::Relaxed);
                    Err(away())
                }
                Does::GivesUp => Err(away()),
                Does::FindsItWritten => {
                    at.store(through, Ordering::Relaxed);
                    Err(elsewhere(&at))
                }
                Does::IsElsewhere => {
                    at.store(3, Ordering::Relaxed);
                    Err(elsewhere(&at))
                }
                Does::Moved => {
                    let owned = Box::new(BucketSet::NONE);
                    Err(StoreError::Moved { shard: "scripted".into(), owned })
                }
                Does::Fails => Err(StoreError::Failed { why: "the test says so".into() }),
            };
            Box::pin(std::future::ready(answer))
        }),
        on_checkpoints: Box::new(move || {
            let sequence = Sequence::new(stands.load(Ordering::Relaxed));
            Ok(vec![Checkpoint { partition: partition(), epoch: Epoch::FIRST, sequence }])
        }),
    };
    let (reports, mut reported) = mpsc::unbounded_channel();
    let (_stopper, stop) = watch::channel(false);
    let metrics = Arc::new(ShardMetrics::default());
    metrics.follows(1);
    let writer = Writer { shard: Arc::new(shard), index: 0, reports, metrics, stop };
    let advance = Advance {
        partition: partition(),
        epoch: Epoch::FIRST,
        after: Sequence::new(5),
        through: Sequence::new(9),
    };
    let batch = Batch { buckets: BucketSet::ALL, advances: vec![advance], changes: Vec::new() };
    let gathered = Gathered { batch, last_at: vec![Timestamp::from_micros(1)] };
    let ended = writer.write(gathered).await;
    let reached = reported.try_recv().ok().map(|report| report.reached[0].1.get());
    (ended.map(drop), reached, asked.load(Ordering::Relaxed))
}

#[tokio::test]
async fn a_batch_is_written_once_whatever_becomes_of_the_answers() {
    for script in [
        &[Does::Writes][..],
        &[Does::WritesUnheard],
        &[Does::GivesUp, Does::Writes],
        &[Does::GivesUp, Does::GivesUp, Does::WritesUnheard],
        &[Does::GivesUp, Does::FindsItWritten],
    ] {
        let (ended, reached, asked) = outcome(script).await;
        assert!(ended.is_ok(), "{script:?}: {ended:?}");
        assert_eq!((reached, asked), (Some(9), script.len()), "{script:?}");
    }
}

#[tokio::test]
async fn what_trying_again_does_not_mend_is_told_and_nothing_is_reported() {
    for (script, is_it) in [
        (
            &[Does::IsElsewhere][..],
            (|halt| matches!(halt, Halt::OutOfStep(_))) as fn(&Halt) -> bool,
        ),
        (&[Does::GivesUp, Does::IsElsewhere], |halt| matches!(halt, Halt::OutOfStep(_))),
        (&[Does::FindsItWritten], |halt| matches!(halt, Halt::OutOfStep(_))),
        (&[Does::GivesUp, Does::Moved], |halt| matches!(halt, Halt::Moved(_))),
        (&[Does::Fails], |halt| matches!(halt, Halt::Fatal(_))),
    ] {
        let (ended, reached, asked) = outcome(script).await;
        let halt = ended.expect_err("it is not written");
        assert!(is_it(&halt), "{script:?}: {halt:?}");
        assert_eq!((reached, asked), (None, script.len()), "{script:?}");
    }
}
