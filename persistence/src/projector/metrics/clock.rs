//! The time of day, which counts how long shards have been away: the one thing here that neither
//! comes in nor is tokio's clock.

use doorbuster_protocol::Timestamp;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time of day: this machine's, or another in its place.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl WallClock {
    /// The clock that `now` reads.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time; the engine's events carry the time by its own clock.
    pub(in crate::projector) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl Default for WallClock {
    /// This machine's clock.
    fn default() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
        })
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WallClock").field(&self.now()).finish()
    }
}
