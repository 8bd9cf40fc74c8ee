//! The newest durable batches of a partition, in memory, so that a feed that keeps up never reads
//! the disk. What falls out is read from the log.

use crate::partition::Batch;
use doorbuster_protocol::Sequence;
use std::collections::VecDeque;

/// Bytes of events kept per partition.
const TAIL_BYTES_MAX: usize = 1 << 20;

/// A run of durable batches without gaps.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: VecDeque<Batch>,
    bytes: usize,
    next: Sequence,
}

impl Tail {
    /// An empty tail before the event `next`.
    pub(crate) fn new(next: Sequence) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, next }
    }

    /// Keeps a batch that became durable. The buffer of one that fell out comes back for reuse.
    pub(crate) fn push(&mut self, batch: Batch) -> Vec<u8> {
        assert_eq!(batch.first, self.next, "the tail has no gaps");
        self.next = batch.last().next();
        self.bytes += batch.events.len();
        self.batches.push_back(batch);
        let mut spare = Vec::new();
        while self.bytes > TAIL_BYTES_MAX && self.batches.len() > 1 {
            if let Some(old) = self.batches.pop_front() {
                self.bytes -= old.events.len();
                spare = old.events;
                spare.clear();
            }
        }
        spare
    }

    /// Joins the batches from event `from` on into `out`, up to about `bytes_max`; how many events
    /// that are, or `None` when `from` is older than the tail.
    pub(crate) fn read(&self, from: Sequence, bytes_max: usize, out: &mut Vec<u8>) -> Option<u32> {
        let mut count = 0;
        let start = self.batches.partition_point(|batch| batch.last() < from);
        if start == 0 && self.batches.front().is_none_or(|oldest| oldest.first > from) {
            return if from >= self.next { Some(0) } else { None };
        }
        for batch in self.batches.range(start..) {
            let skipped = from.get().saturating_sub(batch.first.get());
            let events = skip_events(&batch.events, skipped);
            if count > 0 && out.len() + events.len() > bytes_max {
                break;
            }
            out.extend_from_slice(events);
            count += batch.count - skipped as u32;
        }
        Some(count)
    }
}

/// What follows after the first `count` events of an encoded run.
pub(crate) fn skip_events(mut events: &[u8], count: u64) -> &[u8] {
    for _ in 0..count {
        let Some((length, rest)) = events.split_first_chunk::<4>() else { return &[] };
        let length = u32::from_le_bytes(*length) as usize;
        events = rest.get(length..).unwrap_or(&[]);
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch whose events are one byte long and hold their sequence.
    fn batch(first: u64, count: u32) -> Batch {
        let mut events = Vec::new();
        for sequence in first..first + u64::from(count) {
            events.extend_from_slice(&1u32.to_le_bytes());
            events.push(sequence as u8);
        }
        Batch { first: Sequence::new(first), count, events }
    }

    fn check(tail: &Tail, from: u64, expected: Option<&[u8]>) {
        let mut out = Vec::new();
        let count = tail.read(Sequence::new(from), usize::MAX, &mut out);
        let read: Vec<u8> = out.chunks(5).map(|event| event[4]).collect();
        assert_eq!(count.map(|_| read.as_slice()), expected, "from {from}");
        assert_eq!(count.unwrap_or(0) as usize, read.len());
    }

    #[test]
    fn reads_join_batches_and_begin_inside_them() {
        let mut tail = Tail::new(Sequence::new(5));
        check(&tail, 4, None);
        check(&tail, 5, Some(&[]));
        tail.push(batch(5, 2));
        tail.push(batch(7, 3));
        check(&tail, 4, None);
        check(&tail, 5, Some(&[5, 6, 7, 8, 9]));
        check(&tail, 6, Some(&[6, 7, 8, 9]));
        check(&tail, 8, Some(&[8, 9]));
        check(&tail, 10, Some(&[]));
    }

    #[test]
    fn old_batches_fall_out_and_give_their_buffer_back() {
        let mut tail = Tail::new(Sequence::new(1));
        let big = |first| Batch {
            first: Sequence::new(first),
            count: 1,
            events: vec![0; TAIL_BYTES_MAX / 2 + 1],
        };
        assert_eq!(tail.push(big(1)).capacity(), 0);
        assert!(tail.push(big(2)).capacity() > 0);
        assert_eq!(tail.read(Sequence::new(1), 1, &mut Vec::new()), None);
        assert_eq!(tail.read(Sequence::new(2), 1, &mut Vec::new()), Some(1));
    }
}
