//! A replica, and whether it may answer now.
//!
//! A task looks every moment how far the primary's log reaches and what of it the replica has
//! replayed. The replica is asked while it is proven to be no further behind than the configuration
//! allows, and each of its answers is proven again by what came with it. It is asked nothing when it
//! is no replica (it was promoted, or the primary's URL was given twice) or another shard's.

use super::connection::{Connection, Witness};
use super::health::{Fitness, ReplicaHealth};
use super::lag::PrimaryLog;
use super::target::{Role, Target};
use crate::postgres::connect;
use crate::postgres::options::PostgresOptions;
use crate::postgres::url::ShardUrl;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval};

/// How often both servers are looked at: a replica that keeps up seems this far behind at least.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often while one of them does not answer.
const LOOK_EVERY_AWAY: Duration = Duration::from_millis(500);
/// How long a look may take: one that takes longer proves nothing of worth.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// A replica, and the task that looks at it. Dropping it ends the task.
pub(super) struct Replica {
    /// How it is asked.
    pub(super) target: Target,
    view: Arc<View>,
    task: AbortHandle,
}

impl Replica {
    /// Begins to look at it, on the current runtime.
    pub(super) fn new(
        shard: &Arc<str>,
        primary: &ShardUrl,
        replica: &ShardUrl,
        options: &PostgresOptions,
    ) -> Self {
        let target = Target::new(shard, Role::Replica, replica, options);
        let view = Arc::new(View {
            lag_max: options.replica_lag_max,
            sight: Mutex::new(Sight::default()),
        });
        let eye = |url: &ShardUrl| Eye {
            shard: Arc::clone(shard),
            url: url.clone(),
            connect_limit: options.connect_timeout,
            limit: options.statement_timeout.min(LOOK_LIMIT),
            connection: None,
        };
        let look = look(eye(primary), eye(replica), Arc::clone(&view));
        Self { target, view, task: tokio::spawn(look).abort_handle() }
    }

    /// Whether it is worth asking.
    pub(super) fn is_fresh(&self) -> bool {
        self.view.lock().is_fresh(self.view.lag_max, Instant::now())
    }

    /// Whether an answer that says this of who gave it is fresh enough.
    pub(super) fn proves(&self, witness: &Witness) -> bool {
        self.view.lock().proves(witness, self.view.lag_max, Instant::now())
    }

    /// How it goes, for metrics.
    pub(super) fn health(&self) -> ReplicaHealth {
        let now = Instant::now();
        let sight = self.view.lock();
        ReplicaHealth {
            target: self.target.health(),
            fitness: sight.fitness,
            is_fresh: sight.is_fresh(self.view.lag_max, now),
            lag: sight.lag_shown(now),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is known of both servers.
struct View {
    lag_max: Duration,
    /// Written by one task ten times a second and read by every question, a few comparisons each; it
    /// is never held over an await.
    sight: Mutex<Sight>,
}

impl View {
    fn lock(&self) -> MutexGuard<'_, Sight> {
        // A look that panicked half-way leaves samples that are true each for itself.
        self.sight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was seen of both servers at last.
#[derive(Debug, Default)]
struct Sight {
    log: PrimaryLog,
    /// Which database the primary is.
    database: Option<Box<str>>,
    replica: Option<Witness>,
    fitness: Fitness,
}

impl Sight {
    /// The primary answered a question that was put at `asked_at`.
    fn saw_primary(&mut self, witness: &Witness, asked_at: Instant) {
        // A primary that became a replica tells nothing; the next look finds out who is one now.
        if witness.is_replica {
            return;
        }
        if self.database.as_ref().is_none_or(|known| *known != witness.database) {
            // Another database has another log.
            self.log = PrimaryLog::default();
            self.database = Some(witness.database.clone());
        }
        if let Some(position) = witness.position {
            self.log.sampled(position, asked_at);
        }
    }

    /// The replica answered, or did not. Gives what it is good for when that is another thing now.
    fn saw_replica(&mut self, witness: Option<Witness>) -> Option<Fitness> {
        self.replica = witness;
        let fitness = match (&self.replica, &self.database) {
            (None, _) => Fitness::Away,
            (Some(replica), _) if !replica.is_replica => Fitness::NoReplica,
            // Who has not seen the primary cannot tell.
            (Some(_), None) => return None,
            (Some(replica), Some(primary)) if replica.database != *primary => Fitness::Foreign,
            (Some(_), Some(_)) => Fitness::Follows,
        };
        let before = std::mem::replace(&mut self.fitness, fitness);
        (before != fitness).then_some(fitness)
    }

    fn is_fresh(&self, lag_max: Duration, now: Instant) -> bool {
        self.replica.as_ref().is_some_and(|replica| self.proves(replica, lag_max, now))
    }

    fn proves(&self, witness: &Witness, lag_max: Duration, now: Instant) -> bool {
        let is_ours = witness.is_replica && self.database.as_ref() == Some(&witness.database);
        let lag = witness.position.and_then(|position| self.log.lag(position, now));
        is_ours && lag.is_some_and(|lag| lag <= lag_max)
    }

    fn lag_shown(&self, now: Instant) -> Option<Duration> {
        let replica = self.replica.as_ref().filter(|_| self.fitness == Fitness::Follows)?;
        self.log.lag_shown(replica.position?, now)
    }
}

/// Looks at both servers for ever.
async fn look(mut primary: Eye, mut replica: Eye, view: Arc<View>) {
    loop {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let asked_at = Instant::now();
            let seen = primary.look().await;
            let is_primary_seen = seen.is_some();
            if let Some(witness) = seen {
                view.lock().saw_primary(&witness, asked_at);
            }
            let seen = replica.look().await;
            let is_replica_seen = seen.is_some();
            let change = view.lock().saw_replica(seen);
            if let Some(fitness) = change {
                tell(fitness, &replica);
            }
            if !(is_primary_seen && is_replica_seen) {
                break;
            }
        }
        tokio::time::sleep(LOOK_EVERY_AWAY).await;
    }
}

/// Says once what became of a replica.
fn tell(fitness: Fitness, replica: &Eye) {
    let (shard, url) = (&replica.shard, &replica.url);
    match fitness {
        Fitness::Unseen => {}
        Fitness::Follows => {
            tracing::info!(%shard, replica = %url, "the replica follows its shard and is read");
        }
        Fitness::Away => {
            tracing::warn!(
                %shard,
                replica = %url,
                "the replica does not answer. The primary is read instead; nothing is to be done \
                 when the replica comes back by itself"
            );
        }
        Fitness::NoReplica => {
            tracing::warn!(
                %shard,
                replica = %url,
                "what is configured as the replica is a primary: it was promoted, or the primary's \
                 URL stands there. It is not read. After a failover, make it the URL of the shard; \
                 else correct the replica's URL"
            );
        }
        Fitness::Foreign => {
            tracing::warn!(
                %shard,
                replica = %url,
                "what is configured as the replica follows another shard. It is not read: correct \
                 the replica's URL, its database included"
            );
        }
    }
}

/// A look at one server, over a connection of its own: those of the pools may all be in use.
struct Eye {
    shard: Arc<str>,
    url: ShardUrl,
    connect_limit: Duration,
    limit: Duration,
    connection: Option<Connection>,
}

impl Eye {
    /// What it is; `None` when it does not say so in time.
    async fn look(&mut self) -> Option<Witness> {
        let kept = self.connection.take().filter(|connection| !connection.is_closed());
        let connection = match kept {
            Some(connection) => connection,
            None => match Connection::open(&self.shard, &self.url, self.connect_limit).await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::debug!(shard = %self.shard, %error, "no look at a server");
                    return None;
                }
            },
        };
        match tokio::time::timeout(self.limit, connection.witness(self.limit)).await {
            Ok(Ok(witness)) => {
                self.connection = Some(connection);
                witness
            }
            Ok(Err(error)) => {
                let error = connect::failure(&self.shard, &error);
                tracing::debug!(shard = %self.shard, %error, "no look at a server");
                connection.cut();
                None
            }
            Err(_) => {
                connection.cut();
                None
            }
        }
    }
}

#[cfg(test)]
#[path = "replica_test.rs"]
mod tests;
