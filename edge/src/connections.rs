//! The open connections of a thread, and who has to go when there is no room for another.

use crate::connection::ConnectionState;
use crate::limits::LET_GO_SHARE;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The open connections of a thread.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: RefCell<HashMap<u64, Rc<ConnectionState>>>,
    /// How many of them were told to go and have not gone yet.
    leaving: Cell<usize>,
    next: Cell<u64>,
    closed: Notify,
}

impl Connections {
    pub(crate) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Those that stay.
    pub(crate) fn staying(&self) -> usize {
        self.len() - self.leaving.get()
    }

    /// Notes a connection, and gives the number under which it is taken out.
    pub(crate) fn add(&self, state: Rc<ConnectionState>) -> u64 {
        let number = self.next.replace(self.next.get() + 1);
        self.open.borrow_mut().insert(number, state);
        number
    }

    pub(crate) fn remove(&self, number: u64) {
        let state = self.open.borrow_mut().remove(&number);
        if state.is_some_and(|state| state.is_let_go()) {
            self.leaving.set(self.leaving.get() - 1);
        }
        self.closed.notify_one();
    }

    /// Lets those go that wait without a request to be answered, in the order of
    /// [`Waiting`](crate::connection::Waiting) and the longest first. How many.
    pub(crate) fn make_room(&self, time_to_ask: Duration) -> usize {
        let (open, now) = (self.open.borrow(), Instant::now());
        let mut waiting: Vec<_> = open
            .iter()
            .filter_map(|(number, state)| Some((state.waiting(now, time_to_ask)?, *number)))
            .collect();
        let count = (open.len() / LET_GO_SHARE).max(1).min(waiting.len());
        if count == 0 {
            return 0;
        }
        waiting.select_nth_unstable(count - 1);
        for (_, number) in &waiting[..count] {
            open[number].let_go();
        }
        self.leaving.set(self.leaving.get() + count);
        count
    }

    /// Waits until fewer than `most` are open, those included that are on their way out.
    pub(crate) async fn fewer_than(&self, most: usize) {
        while self.len() >= most {
            self.closed.notified().await;
        }
    }

    /// Asks all to end after the request that they are in, and waits until they have.
    pub(crate) async fn drain(&self) {
        for state in self.open.borrow().values() {
            state.stop();
        }
        self.fewer_than(1).await;
    }
}
