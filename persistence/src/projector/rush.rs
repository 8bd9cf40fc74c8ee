//! What changes in a rush: batches gather for longer, and the shards take turns.
//!
//! Rows of one batch share a commit and the pages of an index, so a row of a large batch costs a
//! shard half of what one of a small batch does; and shards often live beside a sale, where every
//! row costs orders what it costs the shard. For the same reason the shards are not due all at once:
//! who orders just then would wait behind all of them. A turn holds nobody up: a shard that is late
//! for its own keeps no other from theirs, and full batches wait for none.

use crate::buckets::BucketSet;
use doorbuster_protocol::limits;
use std::time::Duration;
use tokio::time::Instant;

/// Batches of all shards that have so many rows together when they are due come of a rush: of more
/// than 5 000 rows a second with the usual delay. Each shard has as many of them as it has buckets.
const ROWS: usize = 256;
/// Fewer rows are never one, however small a shard's part is: they would wait for nothing.
const ROWS_MIN: usize = 16;
/// In a rush, a shard's turn comes once in so many times the delay.
const DELAYS: u32 = 10;

/// When the batches of one shard are due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rush {
    /// How long a batch gathers when there is no rush.
    delay: Duration,
    /// A batch with so many rows comes of a rush.
    rows: usize,
    /// One of the shard's turns, and the time from each to the next.
    turn: Instant,
    period: Duration,
}

impl Rush {
    /// For the shard `index` of `shards`, which have all the same `delay` and `start`.
    pub(super) fn new(
        delay: Duration,
        start: Instant,
        (index, shards): (usize, usize),
        buckets: &BucketSet,
    ) -> Self {
        assert!(index < shards, "a shard is one of all");
        let period = delay * DELAYS;
        let turn = start + period.mul_f64(index as f64 / shards as f64);
        let rows = ROWS * buckets.len() as usize / usize::from(limits::BUYER_BUCKETS);
        Self { delay, rows: rows.max(ROWS_MIN), turn, period }
    }

    /// When a batch is due that has so many rows, the first since `began`; the last that came, with or
    /// without rows, came at `latest`.
    pub(super) fn due(&self, rows: usize, began: Instant, latest: Instant) -> Instant {
        if rows < self.rows {
            return began + self.delay;
        }
        // When nothing comes for half a period the rush is over.
        self.turn_after(began + self.period / 2).min(latest + self.period / 2)
    }

    /// The first turn that is not before `least`: with half a period to wait at the least it is the
    /// one nearest to a whole period, so that each turn that is taken is followed by the next.
    fn turn_after(&self, least: Instant) -> Instant {
        let Some(late) = least.checked_duration_since(self.turn) else { return self.turn };
        let period = self.period.as_nanos().max(1);
        let turns = late.as_nanos().div_ceil(period);
        self.turn + Duration::from_nanos((turns * period) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(10);
    const PERIOD: Duration = Duration::from_millis(100);

    /// Milliseconds after the start at which a batch is due.
    fn due(rush: &Rush, start: Instant, rows: usize, began: u64, latest: u64) -> u128 {
        let at = |ms| start + Duration::from_millis(ms);
        rush.due(rows, at(began), at(latest)).duration_since(start).as_millis()
    }

    /// The shard `index` of four that are equally large.
    fn of_four(start: Instant, index: usize) -> Rush {
        Rush::new(DELAY, start, (index, 4), &BucketSet::share(index, 4))
    }

    #[test]
    fn a_few_rows_are_due_after_the_delay() {
        let start = Instant::now();
        let rush = of_four(start, 3);
        assert_eq!(due(&rush, start, 1, 500, 509), 510);
        assert_eq!(due(&rush, start, ROWS / 4 - 1, 500, 509), 510);
    }

    #[test]
    fn in_a_rush_each_shard_has_its_turn_once_in_a_period() {
        let start = Instant::now();
        for (shard, first) in [(0, 0), (1, 25), (2, 50), (3, 75)] {
            let rush = of_four(start, shard);
            assert_eq!(rush.period, PERIOD);
            // Rows begin to come again right after each turn.
            let mut turn = first;
            for _ in 0..3 {
                turn += 100;
                let began = turn - 98;
                assert_eq!(due(&rush, start, ROWS / 4, began, turn), u128::from(turn));
            }
        }
    }

    #[test]
    fn a_rush_that_begins_waits_for_half_a_period_to_one_and_a_half() {
        let start = Instant::now();
        let rush = of_four(start, 1);
        assert_eq!(due(&rush, start, 1_000, 75, 300), 125);
        assert_eq!(due(&rush, start, 1_000, 76, 300), 225);
        assert_eq!(due(&of_four(start, 3), start, 1_000, 0, 300), 75, "before its first turn");
    }

    #[test]
    fn a_shard_has_its_part_of_a_rush() {
        let start = Instant::now();
        let rows = |buckets: &BucketSet| Rush::new(DELAY, start, (0, 256), buckets).rows;
        assert_eq!(rows(&BucketSet::ALL), ROWS, "one that owns everything");
        assert_eq!(rows(&BucketSet::share(1, 2)), ROWS / 2);
        assert_eq!(rows(&BucketSet::share(7, 256)), ROWS_MIN, "a small one");
        assert_eq!(rows(&BucketSet::NONE), ROWS_MIN, "a spare");
    }

    #[test]
    fn a_rush_is_over_when_nothing_comes_for_half_a_period() {
        let start = Instant::now();
        let rush = of_four(start, 0);
        assert_eq!(due(&rush, start, 5_000, 201, 230), 280);
        assert_eq!(due(&rush, start, 5_000, 201, 295), 300, "but a turn is a turn");
    }

    #[test]
    fn without_a_delay_everything_is_due_at_once() {
        let start = Instant::now();
        let rush = Rush::new(Duration::ZERO, start, (1, 2), &BucketSet::share(1, 2));
        assert_eq!(due(&rush, start, 5_000, 7, 7), 7);
    }
}
