//! Waiting longer each time, with some chance in it so that many do not come back at once.

use std::time::Duration;
use tokio::sync::watch;

/// The process stops.
#[derive(Debug)]
pub(super) struct Stopped;

/// Pauses that double up to a bound.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) const fn new(first: Duration, max: Duration) -> Self {
        Self { first, next: first, max }
    }

    /// Something worked: the next pause is the first again.
    pub(super) const fn reset(&mut self) {
        self.next = self.first;
    }

    /// Pauses for half to all of the next pause; fails at once when the process stops.
    pub(super) async fn wait(
        &mut self,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<(), Stopped> {
        let pause = self.next.mul_f64(fastrand::f64() / 2.0 + 0.5);
        self.next = (self.next * 2).min(self.max);
        tokio::select! {
            biased;
            () = stopped(shutdown) => Err(Stopped),
            () = tokio::time::sleep(pause) => Ok(()),
        }
    }
}

/// Waits until the process stops: `true` was sent, or nobody is left who could send it.
pub(super) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which says the same.
    let _ = shutdown.wait_for(|stops| *stops).await;
}
