//! How reading a shard goes, as numbers for metrics.

use std::time::Duration;

/// How reading a shard goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadHealth {
    /// Its primary.
    pub primary: TargetHealth,
    /// Its replica, where it has one.
    pub replica: Option<ReplicaHealth>,
}

/// How reading from one server goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetHealth {
    /// Connections that are open.
    pub connections: u64,
    /// Connections that may be open.
    pub connections_max: u64,
    /// Questions under way: those that have a connection and those that wait for one.
    pub in_use: u64,
    /// Whether it is left alone because it failed.
    pub is_open: bool,
    /// Questions that it answered, since the start.
    pub answers: u64,
    /// Questions that it did not answer, or not in time, since the start.
    pub failures: u64,
}

/// How reading from a replica goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaHealth {
    /// Its connections and its answers.
    pub target: TargetHealth,
    /// What it was found to be.
    pub fitness: Fitness,
    /// Whether it is read now.
    pub is_fresh: bool,
    /// How far behind the primary it may be, at least; `None` when it is not known.
    pub lag: Option<Duration>,
}

/// What a replica is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fitness {
    /// Nobody has looked yet.
    #[default]
    Unseen,
    /// It replays the shard's log.
    Follows,
    /// It does not answer.
    Away,
    /// It is a primary itself.
    NoReplica,
    /// It is a replica of another shard.
    Foreign,
}
