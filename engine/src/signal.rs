//! A wake-up between tasks of one executor: whoever waits is woken by the next `raise`.
//!
//! It carries no data and counts nothing. A waiter checks its condition, and waits only while the
//! condition does not hold; since one thread runs both sides, nothing can slip in between.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// The wake-up.
#[derive(Debug, Default)]
pub struct Signal {
    raised: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Wakes every task that waits now.
    pub fn raise(&self) {
        self.raised.set(self.raised.get() + 1);
        // Taken out first: a waker may run code that waits again.
        let mut woken = std::mem::take(&mut *self.waiting.borrow_mut());
        for waker in woken.drain(..) {
            waker.wake();
        }
        let mut waiting = self.waiting.borrow_mut();
        if waiting.is_empty() {
            *waiting = woken;
        }
    }

    /// Ends with the next [`Signal::raise`] after this call.
    pub fn wait(&self) -> Wait<'_> {
        Wait { signal: self, seen: self.raised.get() }
    }
}

/// The future of [`Signal::wait`].
#[derive(Debug)]
pub struct Wait<'a> {
    signal: &'a Signal,
    seen: u64,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.signal.raised.get() != self.seen {
            return Poll::Ready(());
        }
        let mut waiting = self.signal.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waiter_is_woken_once_and_then_ready() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        let signal = Signal::default();
        signal.raise();
        let mut wait = signal.wait();
        assert_eq!(Pin::new(&mut wait).poll(&mut context), Poll::Pending, "an old raise is over");
        assert_eq!(Pin::new(&mut wait).poll(&mut context), Poll::Pending);
        signal.raise();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(Pin::new(&mut wait).poll(&mut context), Poll::Ready(()));
    }

    #[test]
    fn a_raise_before_the_first_poll_counts() {
        let mut context = Context::from_waker(Waker::noop());
        let signal = Signal::default();
        let mut wait = signal.wait();
        signal.raise();
        assert_eq!(Pin::new(&mut wait).poll(&mut context), Poll::Ready(()));
    }
}
