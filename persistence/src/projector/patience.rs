//! How often the same trouble is met before it counts as lasting.

use crate::error::StoreError;
use crate::projector::ProjectorError;
use crate::projector::error::is_final;
use crate::projector::feed::FeedEnd;
use crate::rows::Checkpoint;
use doorbuster_protocol::{PartitionId, Sequence};
use std::collections::BTreeMap;

/// Times that the feed of a partition may break off at the same event before that is fatal.
const UNSOUND_MAX: u32 = 3;
/// Times that a shard may refuse what follows the same checkpoints of its own.
const FRUITLESS_MAX: u32 = 5;

/// For each partition whose feed was unsound: the event it broke off at, and how often in a row.
#[derive(Default)]
pub(super) struct Unsound(BTreeMap<PartitionId, (Sequence, u32)>);

impl Unsound {
    pub(super) fn judge(&mut self, shard: &str, end: FeedEnd) -> Result<(), ProjectorError> {
        match end {
            FeedEnd::Fatal(error) => Err(error),
            FeedEnd::Lost(error) if is_final(&error) => Err(ProjectorError::Refused(error)),
            FeedEnd::Lost(error) => {
                tracing::debug!(shard, %error, "not connected to the engine: dialling again");
                Ok(())
            }
            FeedEnd::Unwanted => Ok(()),
            FeedEnd::Unsound { partition, expected, why } => {
                tracing::warn!(shard, %partition, %expected, why, "the feed is unsound: reading again");
                let (at, times) = self.0.entry(partition).or_insert((expected, 0));
                *times = if *at == expected { *times + 1 } else { 1 };
                *at = expected;
                if *times < UNSOUND_MAX {
                    return Ok(());
                }
                Err(ProjectorError::Unsound { partition, sequence: expected, why })
            }
        }
    }
}

/// The checkpoints from which a shard last refused to go on, and how often in a row.
#[derive(Default)]
pub(super) struct Fruitless(Option<(Vec<Checkpoint>, u32)>);

impl Fruitless {
    /// A shard that fell back to a replica or a backup is followed from where it stands now; it is
    /// healed by what the log still has.
    pub(super) fn judge(
        &mut self,
        shard: &str,
        error: StoreError,
        from: Vec<Checkpoint>,
    ) -> Result<(), ProjectorError> {
        let times = match self.0.take() {
            Some((before, times)) if before == from => times + 1,
            _ => 1,
        };
        if times >= FRUITLESS_MAX {
            return Err(error.into());
        }
        tracing::warn!(
            shard,
            %error,
            "the shard is not where it was: going on from where it stands now"
        );
        self.0 = Some((from, times));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_protocol::Epoch;

    #[test]
    fn a_shard_that_gets_nowhere_ends_it_and_one_that_gets_on_does_not() {
        let partition = PartitionId::new(0).expect("in range");
        let mut fruitless = Fruitless::default();
        let mut check = |sequence, is_fatal| {
            let sequence = Sequence::new(sequence);
            let error = StoreError::OutOfStep { partition, stored: sequence, after: sequence };
            let from = vec![Checkpoint { partition, epoch: Epoch::FIRST, sequence }];
            let judged = fruitless.judge("a", error, from);
            assert_eq!(judged.is_err(), is_fatal, "at {sequence}");
        };
        for sequence in 1..20 {
            check(sequence, false);
        }
        for is_fatal in [false, false, false, true] {
            check(19, is_fatal);
        }
    }
}
