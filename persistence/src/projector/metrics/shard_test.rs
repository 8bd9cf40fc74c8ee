//! Lags and buckets of a shard, by hand.

use super::*;
use doorbuster_protocol::Epoch;

fn partition() -> PartitionId {
    PartitionId::new(0).expect("in range")
}

fn seconds(seconds: u64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn claimed(metrics: &ShardMetrics, sequence: u64) {
    let sequence = Sequence::new(sequence);
    metrics.claimed(&[Checkpoint { partition: partition(), epoch: Epoch::FIRST, sequence }]);
}

fn lag_events(metrics: &ShardMetrics) -> u64 {
    metrics.view(seconds(0)).lag_events_max()
}

#[test]
fn lag_follows_what_is_told_and_written() {
    let metrics = ShardMetrics::new("a", WallClock::default());
    assert_eq!(metrics.lag_events().count(), 0);
    claimed(&metrics, 10);
    metrics.told(partition(), Sequence::new(30), seconds(6));
    assert_eq!(metrics.lag(seconds(7)), Duration::from_secs(1), "it is there at least so long");
    metrics.waits(partition(), seconds(5));
    metrics.waits(partition(), seconds(7));
    assert_eq!(metrics.lag_events().next(), Some((partition(), 20)));
    assert_eq!(metrics.lag(seconds(7)), Duration::from_secs(2));
    metrics.written(partition(), Sequence::new(25), seconds(6));
    assert_eq!(lag_events(&metrics), 5);
    assert_eq!(metrics.lag(seconds(7)), Duration::from_secs(1));
    metrics.written(partition(), Sequence::new(30), seconds(7));
    assert_eq!((metrics.lag(seconds(9)), metrics.events()), (Duration::ZERO, 20));
}

#[test]
fn lag_grows_while_the_shard_is_away() {
    let metrics = ShardMetrics::new("a", WallClock::default());
    claimed(&metrics, 10);
    metrics.told(partition(), Sequence::new(10), seconds(5));
    metrics.away();
    assert!(metrics.is_waiting() && !metrics.view(seconds(6)).is_up);
    assert_eq!(metrics.lag(seconds(6)), Duration::ZERO, "nothing happened");
    metrics.told(partition(), Sequence::new(12), seconds(7));
    metrics.told(partition(), Sequence::new(90), seconds(8));
    assert_eq!((lag_events(&metrics), metrics.lag(seconds(9))), (80, Duration::from_secs(2)));
    metrics.written(partition(), Sequence::new(90), seconds(8));
    metrics.batch(1, 0, Duration::ZERO);
    assert!(!metrics.is_waiting() && metrics.view(seconds(9)).is_up);
    assert_eq!((lag_events(&metrics), metrics.lag(seconds(9))), (0, Duration::ZERO));
}

#[test]
fn a_shard_that_was_never_reached_lags_from_the_first_try() {
    let metrics = ShardMetrics::new("a", WallClock::default());
    metrics.away();
    let later = WallClock::default().now().plus_seconds(50);
    assert!(metrics.lag(later) >= Duration::from_secs(50));
    metrics.follows(1);
    for (first, later) in [(0, 30), (1_000, 1_030)] {
        let metrics = ShardMetrics::new("a", WallClock::default());
        metrics.away();
        metrics.follows(1);
        metrics.told(partition(), Sequence::new(first), WallClock::default().now());
        assert_eq!(lag_events(&metrics), 0, "who knows which of them it has");
        metrics.told(partition(), Sequence::new(later), WallClock::default().now());
        assert_eq!(lag_events(&metrics), 30);
    }
    metrics.told(partition(), Sequence::new(1_030), WallClock::default().now());
    claimed(&metrics, 400);
    assert_eq!(lag_events(&metrics), 630);
    claimed(&metrics, 1_030);
    assert_eq!((lag_events(&metrics), metrics.lag(later)), (0, Duration::ZERO));
}

#[test]
fn a_batch_falls_into_the_bucket_that_holds_its_duration() {
    let metrics = ShardMetrics::new("a", WallClock::default());
    for micros in [0, 500, 501, 10_000_000, 10_000_001] {
        metrics.batch(1, 0, Duration::from_micros(micros));
    }
    let buckets = metrics.batch_buckets();
    assert_eq!((buckets[0], buckets[1], buckets[13], buckets[14]), (2, 1, 1, 1));
    assert_eq!(metrics.rows(), 5);
}
