//! A call on its way to a shard and back.
//!
//! Everything that may happen to it happens here: it finds the shard away, waits, is refused, is
//! done without an answer, or is done after it was given up.

use super::Shared;
use super::cluster::Cluster;
use crate::process::Life;
use doorbuster_persistence::StoreError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// How long a call to a shard that is away takes to find out.
const FINDS_OUT_IN: Duration = Duration::from_secs(2);
/// How long a call waits for a shard that is overloaded.
const PATIENCE: Duration = Duration::from_secs(3);
/// When a write that was given up is done at the latest.
const DONE_LATE_BY: Duration = Duration::from_secs(2);

/// A process's connection to one shard.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) shared: Arc<Shared>,
    pub(super) index: usize,
    pub(super) name: Arc<str>,
    pub(super) life: Life,
}

/// What becomes of a call.
enum Fate {
    Done,
    /// It is refused, or lost on the way: nothing is done.
    Refused(StoreError),
    /// It is done, and nobody is told.
    Unheard(StoreError),
    /// It is given up, and done after that.
    DoneLate(StoreError, Duration),
}

impl Session {
    /// Asks the shard something. May be asked again; nothing is changed by it.
    pub(super) async fn ask<T>(
        &self,
        work: impl FnOnce(&mut Cluster) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.travel().await;
        let answer = match self.fate(0.0) {
            Fate::Done => work(&mut self.shared.cluster()),
            Fate::Refused(error) | Fate::Unheard(error) | Fate::DoneLate(error, _) => {
                self.find_out(&error).await;
                Err(error)
            }
        };
        self.travel().await;
        self.life.thawed().await;
        answer
    }

    /// Has the shard change something. Once it has left it is the database's, whoever dies.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Cluster) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let session = self.clone();
        tokio::spawn(async move {
            session.travel().await;
            let fate = session.fate(session.shared.world.dials().store.lost_reply);
            let result = match fate {
                Fate::Done => work(&mut session.shared.cluster()),
                Fate::Refused(error) => {
                    session.find_out(&error).await;
                    Err(error)
                }
                Fate::Unheard(error) => {
                    let unheard = work(&mut session.shared.cluster()).is_ok();
                    session.line(format_args!("does it unheard: {unheard}"));
                    Err(error)
                }
                Fate::DoneLate(error, late) => {
                    let shared = Arc::clone(&session.shared);
                    let name = Arc::clone(&session.name);
                    tokio::spawn(async move {
                        sleep(late).await;
                        let done = work(&mut shared.cluster()).is_ok();
                        shared.world.line(&name, format_args!("does what was given up: {done}"));
                    });
                    Err(error)
                }
            };
            session.travel().await;
            // Nobody listens any more when the process has died.
            let _ = answer.send(result);
        });
        let result = answered.await.unwrap_or(Err(StoreError::Closed));
        self.life.thawed().await;
        result
    }

    async fn travel(&self) {
        let dials = &self.shared.world.dials().store;
        let chance = &self.shared.chance;
        let delay = chance.delay(dials.delay_max);
        if chance.hits(dials.delayed) && !delay.is_zero() {
            sleep(delay).await;
        }
        // Now and then it waits for a lock, or for a disk.
        if self.shared.fails(dials.busy / 10.0) {
            sleep(chance.delay(PATIENCE)).await;
        }
    }

    async fn find_out(&self, error: &StoreError) {
        match error {
            StoreError::Slow { .. } => sleep(PATIENCE).await,
            StoreError::Away { .. } => sleep(self.shared.chance.delay(FINDS_OUT_IN)).await,
            _ => {}
        }
    }

    fn fate(&self, lost_reply: f64) -> Fate {
        let shared = &self.shared;
        let dials = &shared.world.dials().store;
        let (is_busy, is_lost) = (shared.fails(dials.busy), shared.fails(lost_reply));
        let late = shared.chance.delay(DONE_LATE_BY);
        let kind = shared.chance.below(4);
        let is_late = shared.chance.hits(0.5);
        let is_away = shared.world.is_faulty() && shared.cluster().members[self.index].is_away();
        if is_away {
            let why = "it does not answer".to_owned();
            return Fate::Refused(StoreError::Away { shard: self.name.to_string(), why });
        }
        if is_busy {
            shared.world.count("calls refused by a shard");
            return Fate::Refused(self.error(kind));
        }
        if is_lost {
            shared.world.count("answers of a shard lost");
            let error = self.error(kind);
            return if is_late { Fate::DoneLate(error, late) } else { Fate::Unheard(error) };
        }
        Fate::Done
    }

    fn error(&self, kind: u64) -> StoreError {
        let (shard, why) = (self.name.to_string(), "the simulator says so".to_owned());
        match kind {
            0 => StoreError::Busy { why },
            1 => StoreError::Full { why },
            2 => StoreError::Slow { shard, limit_ms: PATIENCE.as_millis() as u64 },
            _ => StoreError::Away { shard, why },
        }
    }

    pub(super) fn line(&self, what: std::fmt::Arguments<'_>) {
        self.shared.world.line(&self.name, what);
    }
}
