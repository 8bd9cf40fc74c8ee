//! Checkpoints that were set back: the same events once more change nothing.

use crate::conformance::{History, Model, Open, PARTITIONS, Step, batches, claimed, share, write};
use crate::store::{Repair, Shard};
use doorbuster_protocol::{PartitionId, Sequence};
use std::sync::Arc;

/// A repair of nothing, for a partition whose checkpoint is `at`.
pub(super) const fn nothing(partition: PartitionId, at: Sequence) -> Repair {
    Repair {
        partition,
        at,
        checkpoint: None,
        orders: Vec::new(),
        without_orders: Vec::new(),
        products: Vec::new(),
        without_products: Vec::new(),
        settled: Vec::new(),
    }
}

/// Each shard is set back to places of its own, as a moved bucket or an older backup would have it.
pub(super) async fn changes_that_a_row_has_already_are_skipped(open: &Open, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut history = History::new(seed, PARTITIONS);
    let steps: Vec<_> = (0..2_000).map(|_| history.step()).collect();
    let mut model = Model::default();
    let store = claimed(open).await;
    let (mut before, mut after) = (&steps[..0], &steps[..]);
    for round in 0..3 {
        let now;
        (now, after) = after.split_at(if round == 2 { after.len() } else { 600 });
        before = &steps[..before.len() + now.len()];
        now.iter().for_each(|step| model.apply(step.sequence, &step.event));
        for batch in batches(now, &mut random, 300) {
            write(&*store, &batch).await.expect("the batch is next");
        }
        for shard in store.shards() {
            let left = set_back(&*shard, before, &mut random).await;
            for batch in batches(&left, &mut random, 300) {
                let batch = share(&batch, shard.buckets());
                let written = shard.write(Arc::new(batch)).await.expect("the batch is next");
                assert_eq!((written.rows, written.dead_letters), (0, 0), "seed {seed}");
            }
        }
        model.assert_matches(&*store).await;
    }
}

/// Sets a shard's checkpoints back by chance; the steps that come again.
async fn set_back(shard: &dyn Shard, steps: &[Step], random: &mut fastrand::Rng) -> Vec<Step> {
    let stored = shard.checkpoints().await.expect("the store answers");
    let mut to = Vec::new();
    for checkpoint in stored {
        let back = Sequence::new(random.u64(..=checkpoint.sequence.get()));
        let repair =
            Repair { checkpoint: Some(back), ..nothing(checkpoint.partition, checkpoint.sequence) };
        shard.repair(Arc::new(repair)).await.expect("the checkpoint is where it was");
        to.push(back);
    }
    let is_left = |step: &&Step| step.sequence > to[step.partition.index()];
    steps.iter().filter(is_left).cloned().collect()
}
