//! One timer for a whole connection, set again only when it has rung.
//!
//! A deadline per request would put every request through the runtime's timer wheel. Here a wait
//! looks whether the alarm that is set rings early enough; when it rings too early, whoever waits
//! then sets it to its own deadline. So a busy connection touches the wheel once per timeout.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The timer of one connection. All who wait on it belong to one task.
#[derive(Debug)]
pub(crate) struct Alarm(RefCell<Pin<Box<Sleep>>>);

/// The deadline passed before the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overdue;

impl Alarm {
    /// An alarm that rings in `delay` at first.
    pub(crate) fn new(delay: Duration) -> Self {
        Self(RefCell::new(Box::pin(tokio::time::sleep(delay))))
    }

    /// Ready once `deadline` has passed; the task is woken then.
    pub(crate) fn poll(&self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let mut sleep = self.0.borrow_mut();
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(context).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// The output of `future`, or [`Overdue`] once `deadline` has passed.
    pub(crate) async fn within<F: Future>(
        &self,
        deadline: Instant,
        future: F,
    ) -> Result<F::Output, Overdue> {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            self.poll(context, deadline).map(|()| Err(Overdue))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_ready_wins_and_what_is_late_is_overdue() {
        let alarm = Alarm::new(Duration::from_secs(600));
        let past = Instant::now();
        assert_eq!(alarm.within(past, async { 1 }).await, Ok(1));
        assert_eq!(alarm.within(past, std::future::pending::<()>()).await, Err(Overdue));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn an_early_alarm_is_set_again() {
        let alarm = Alarm::new(Duration::ZERO);
        let started = Instant::now();
        let deadline = started + Duration::from_millis(5);
        assert_eq!(alarm.within(deadline, std::future::pending::<()>()).await, Err(Overdue));
        assert!(Instant::now() >= deadline, "it never rings early");
    }
}
