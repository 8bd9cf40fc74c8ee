//! One partition: the times of its events, and what its consumers have acknowledged.

use std::collections::BTreeMap;

/// One partition.
#[derive(Debug, Default)]
pub(crate) struct PartitionBook {
    /// Number and time of every event. Times never go back here, also when those of the log do.
    events: Vec<(u64, u64)>,
    consumers: BTreeMap<u8, u64>,
    /// From which event on everybody has had everything up to which: the most that it ever was.
    acknowledged: Vec<(u64, u64)>,
}

/// The consumer that is registered from the first event on: the store.
const STORE: u8 = 0;

impl PartitionBook {
    pub(super) fn enter(&mut self, sequence: u64, at_us: u64) {
        self.events.push((sequence, at_us.max(self.last_us())));
    }

    pub(super) fn acknowledge(&mut self, sequence: u64, consumer: u8, through: u64) {
        self.consumers.entry(STORE).or_insert(0);
        self.consumers.insert(consumer, through);
        let all = self.consumers.values().copied().min().unwrap_or(0);
        let most = self.acknowledged.last().map_or(0, |(_, through)| *through);
        if all > most {
            self.acknowledged.push((sequence, all));
        }
    }

    /// The number of the last event.
    pub(crate) fn last(&self) -> u64 {
        self.events.last().map_or(0, |(sequence, _)| *sequence)
    }
    /// The time of the last event.
    pub(crate) fn last_us(&self) -> u64 {
        self.events.last().map_or(0, |(_, at_us)| *at_us)
    }
    /// What a consumer has acknowledged.
    pub(crate) fn acknowledged_by(&self, consumer: u8) -> u64 {
        self.consumers.get(&consumer).copied().unwrap_or(0)
    }

    /// The time of an event, or of the last one before it.
    pub(crate) fn at_us(&self, sequence: u64) -> u64 {
        let after = self.events.partition_point(|(number, _)| *number <= sequence);
        after.checked_sub(1).map_or(0, |index| self.events[index].1)
    }

    /// The last event that was decided by `time_us`; 0 when none was.
    pub(crate) fn last_by(&self, time_us: u64) -> u64 {
        let after = self.events.partition_point(|(_, at_us)| *at_us <= time_us);
        after.checked_sub(1).map_or(0, |index| self.events[index].0)
    }

    /// The first event after which every consumer had had `sequence`.
    pub(crate) fn acknowledged_from(&self, sequence: u64) -> Option<u64> {
        let index = self.acknowledged.partition_point(|(_, through)| *through < sequence);
        self.acknowledged.get(index).map(|(from, _)| *from)
    }
}
