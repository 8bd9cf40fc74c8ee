//! All shards: their tables, the replica that each may have to fall back to, and what must hold.

use super::LogKeeps;
use super::database::{Database, Transaction};
use crate::world::World;
use doorbuster_persistence::{Batch, BucketSet, RowChange, StoreError, Written};
use doorbuster_protocol::{PartitionId, Sequence};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::time::Instant;

/// One shard.
pub(super) struct Member {
    pub(super) database: Database,
    /// A copy that lags, and what it lacks.
    replica: Database,
    lacks: VecDeque<(Instant, Transaction)>,
    pub(super) away_until: Option<Instant>,
    /// The furthest that it ever was.
    furthest: BTreeMap<PartitionId, Sequence>,
}

/// All shards.
pub(super) struct Cluster {
    pub(super) members: Vec<Member>,
    poisoned_one_in: u64,
    pub(super) keeps: LogKeeps,
    world: World,
}

impl Member {
    fn new(database: Database) -> Self {
        let (replica, lacks, furthest) = (database.clone(), VecDeque::new(), BTreeMap::new());
        Self { database, replica, lacks, away_until: None, furthest }
    }

    /// Whether nobody can reach it now.
    pub(super) fn is_away(&self) -> bool {
        self.away_until.is_some_and(|until| Instant::now() < until)
    }

    /// The replica has everything.
    pub(super) fn catch_up(&mut self) {
        self.replica = self.database.clone();
        self.lacks.clear();
    }

    fn commit(&mut self, transaction: Transaction, lag_max: std::time::Duration) {
        let now = Instant::now();
        self.lacks.push_back((now, transaction));
        while self.lacks.front().is_some_and(|(at, _)| now.duration_since(*at) > lag_max) {
            let (_, transaction) = self.lacks.pop_front().expect("it was looked at");
            self.replica.follow(&transaction);
        }
    }

    fn note_progress(&mut self) {
        for (partition, stored) in &self.database.checkpoints {
            let furthest = self.furthest.entry(*partition).or_default();
            *furthest = stored.sequence.max(*furthest);
        }
    }

    fn furthest(&self, partition: PartitionId) -> Sequence {
        self.furthest.get(&partition).copied().unwrap_or_default()
    }
}

impl Cluster {
    pub(super) fn new(shards: usize, poisoned_one_in: u64, keeps: LogKeeps, world: World) -> Self {
        let member = |index| {
            let buckets = BucketSet::share(index, shards);
            Member::new(Database::new(name(index), buckets, poisoned_one_in))
        };
        let members = (0..shards).map(member).collect();
        Self { members, poisoned_one_in, keeps, world }
    }

    /// A shard that owns nothing joins; its number.
    pub(super) fn join(&mut self) -> usize {
        let index = self.members.len();
        let database = Database::new(name(index), BucketSet::NONE, self.poisoned_one_in);
        self.members.push(Member::new(database));
        index
    }

    /// Commits something, unless the database refuses it.
    pub(super) fn commit(
        &mut self,
        index: usize,
        transaction: Transaction,
    ) -> Result<Written, StoreError> {
        let member = &mut self.members[index];
        let before = member.database.checkpoints.clone();
        let written = match &transaction {
            Transaction::Batch(batch) => {
                let written = member.database.write(batch)?;
                if let Some(why) = disorder(&member.database, batch) {
                    self.world.broken(why);
                }
                written
            }
            Transaction::Repair(repair) => {
                member.database.repair(repair)?;
                Written::default()
            }
            Transaction::Catalog(entry) => {
                member.database.put_catalog(entry);
                Written::default()
            }
        };
        let is_batch = matches!(transaction, Transaction::Batch(_));
        for (partition, stored) in &member.database.checkpoints {
            if is_batch && before[partition].sequence > stored.sequence {
                let name = &member.database.name;
                self.world.broken(format!("{name}: the checkpoint of {partition} went back"));
            }
        }
        member.note_progress();
        member.commit(transaction, self.world.dials().store.rollback_max);
        Ok(written)
    }

    /// A shard fails over to its replica, which lacks some of the last transactions; how many.
    pub(super) fn fall_back(&mut self, index: usize, lacking: usize) -> usize {
        let floor: BTreeMap<PartitionId, Sequence> = match self.keeps {
            LogKeeps::Everything => BTreeMap::new(),
            LogKeeps::Unacknowledged => {
                let partitions = self.members[index].database.checkpoints.keys();
                let least = |partition: &PartitionId| {
                    let all = self.members.iter().map(|member| member.furthest(*partition));
                    all.min().unwrap_or_default()
                };
                partitions.map(|partition| (*partition, least(partition))).collect()
            }
        };
        let member = &mut self.members[index];
        let is_behind = |replica: &Database| {
            floor.iter().any(|(partition, floor)| {
                replica.checkpoints.get(partition).is_none_or(|stored| stored.sequence < *floor)
            })
        };
        while member.lacks.len() > lacking || is_behind(&member.replica) {
            let Some((_, transaction)) = member.lacks.pop_front() else { break };
            member.replica.follow(&transaction);
        }
        let lost = member.lacks.len();
        member.database = member.replica.clone();
        member.lacks.clear();
        lost
    }

    /// Buckets change hands, in one moment.
    pub(super) fn hand_over(&mut self, from: usize, to: usize, moved: BucketSet) {
        let [from, to] = self.members.get_disjoint_mut([from, to]).expect("two shards");
        let is_new = to.database.buckets.is_empty();
        from.database.hand_over(&mut to.database, moved);
        // No failover goes back behind a move.
        from.catch_up();
        to.catch_up();
        for (partition, theirs) in from.furthest.iter().filter(|_| is_new) {
            let furthest = to.furthest.entry(*partition).or_default();
            *furthest = (*furthest).max(*theirs);
        }
    }

    /// How many transactions the replica of a shard lacks.
    pub(super) fn lacking(&self, index: usize) -> usize {
        self.members[index].lacks.len()
    }

    pub(super) fn acknowledged(&self, partition: PartitionId, through: Sequence) {
        for member in &self.members {
            let furthest = member.furthest(partition);
            if furthest < through {
                let name = &member.database.name;
                self.world.broken(format!(
                    "{through} of {partition} is acknowledged, and {name} never had more than \
                     {furthest}"
                ));
            }
        }
    }

    pub(super) fn reached(&self, partition: PartitionId) -> Sequence {
        let of = |member: &Member| {
            let stored = member.database.checkpoints.get(&partition);
            stored.map_or(Sequence::ZERO, |stored| stored.sequence)
        };
        self.members.iter().map(of).min().unwrap_or_default()
    }
}

fn name(index: usize) -> String {
    format!("shard-{index}")
}

/// What is wrong with a batch that no database refuses.
fn disorder(database: &Database, batch: &Arc<Batch>) -> Option<String> {
    let name = &database.name;
    let mut last = BTreeMap::new();
    for change in &batch.changes {
        let advance = batch.advances.iter().find(|of| of.partition == change.partition);
        let is_covered =
            advance.is_some_and(|of| of.after < change.sequence && change.sequence <= of.through);
        if !is_covered {
            return Some(format!("{name}: {change:?} is of no event that its batch covers"));
        }
        let place = (change.sequence, change.line);
        if last.insert(change.partition, place).is_some_and(|last| last >= place) {
            return Some(format!("{name}: {change:?} comes too late"));
        }
        let order = match &change.row {
            RowChange::OrderCreated(row) => row.order,
            RowChange::OrderMoved { order, .. } => *order,
            _ => continue,
        };
        if !database.buckets.holds(order) {
            return Some(format!("{name}: {change:?} is another shard's"));
        }
    }
    None
}
