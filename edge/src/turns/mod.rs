//! Who may begin: new orders take turns, so that what was begun is finished in time.
//!
//! An overloaded edge that begins everything finishes everything too late. So a new order, before
//! anything is spent on its token or its body, needs a *turn*; how many turns there are at a time is
//! learned from how long they take (`limit`), apart for each core of the engine. Without a free turn
//! it waits in a `line`. While the line moves, it moves in order. When it stands, turns go to
//! whoever came last, and those whose wait has become hopeless are answered `503` (`lane`).
//!
//! **A refusal is not free.** To read a request and write a refusal takes 20 to 40 % of what
//! an order takes, so a thread that refused everybody at once would be busy with nothing else at three
//! to five times its capacity. A thread without time to spare therefore lets the hopeless wait, up to
//! [`EdgeConfig::order_wait_max`](crate::EdgeConfig): each connection then asks about once in that
//! time, whether its client honours `Retry-After` or not, and a connection that waits costs nothing.
//!
//! Requests that anyone may send without a token have a lane of their own, whose goal is stricter:
//! they give way to orders first. Payments, cancels, looks at orders and changes of products need no
//! turn.

mod busy;
mod lane;
mod limit;
mod line;

use crate::metrics::ThreadMetrics;
use crate::problem::{Code, Problem};
use busy::Busy;
use doorbuster_protocol::limits;
use lane::{Entry, Lane, Waits};
use limit::Limit;
use line::{Place, Word};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long the quickest order of a while may be in progress before fewer are let in: longer than most
/// of what the slices of a scheduler or of a quota take away, which is no queue.
const ORDER_GOAL: Duration = Duration::from_millis(50);
/// The same for requests without a token.
const ANONYMOUS_GOAL: Duration = Duration::from_millis(10);
/// How often the lines are looked at while somebody waits.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// `Retry-After` of those who are sent away: spread, so that they do not come back all at once.
const RETRY_SECONDS: [u32; 3] = [1, 2, 3];

/// Who needs a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrant {
    /// A new order, for a product of this core.
    Order {
        /// The core's number.
        core: u16,
    },
    /// A request that anyone may send.
    Anonymous,
}

/// The turns of one thread.
#[derive(Debug)]
pub(crate) struct Turns {
    /// `None`: everybody begins at once.
    waits: Option<Waits>,
    /// Orders for one core that may ever be in progress.
    orders_max: usize,
    anonymous: Rc<Gate>,
    /// By core; made when the core is first asked for.
    orders: RefCell<Vec<Rc<Gate>>>,
    somebody_waits: Notify,
    is_busy: Cell<bool>,
    sent_away: Cell<usize>,
}

/// One lane.
#[derive(Debug)]
struct Gate {
    lane: RefCell<Lane>,
}

impl Turns {
    /// Turns for one thread, `orders_max` of them at the most for orders of one core; nobody waits
    /// longer than `wait_max`. `None`: no turn is waited for.
    pub(crate) fn new(wait_max: Option<Duration>, orders_max: usize) -> Self {
        let waits = wait_max.map(Waits::new);
        Self {
            waits,
            orders_max,
            anonymous: Gate::new(Limit::new(ANONYMOUS_GOAL, limits::TURNS_MAX), waits),
            orders: RefCell::default(),
            somebody_waits: Notify::new(),
            is_busy: Cell::new(false),
            sent_away: Cell::new(0),
        }
    }

    /// Begins to look after those who wait. Must run inside a `LocalSet`.
    pub(crate) fn start(self: &Rc<Self>, shown: Arc<ThreadMetrics>) {
        if self.waits.is_some() {
            tokio::task::spawn_local(keep(Rc::clone(self), shown));
        }
    }

    /// A turn, as soon as there is one; `None` when there will be none in time.
    pub(crate) async fn turn(&self, entrant: Entrant) -> Option<Turn> {
        let gate = match entrant {
            _ if self.waits.is_none() => return Some(Turn { gate: None, since: Instant::now() }),
            Entrant::Anonymous => Rc::clone(&self.anonymous),
            Entrant::Order { core } => self.orders_of(core),
        };
        let since = Instant::now();
        let entry = gate.lane.borrow_mut().enter(since);
        match entry {
            Entry::Now => Some(Turn { gate: Some(gate), since }),
            Entry::Waits(place) => {
                self.somebody_waits.notify_one();
                wait(gate, place).await
            }
        }
    }

    fn orders_of(&self, core: u16) -> Rc<Gate> {
        let mut orders = self.orders.borrow_mut();
        while orders.len() <= usize::from(core) {
            orders.push(Gate::new(Limit::new(ORDER_GOAL, self.orders_max), self.waits));
        }
        Rc::clone(&orders[usize::from(core)])
    }

    /// Whether this thread has no time to spare, and more who wait for their turn than it will get
    /// through: those whose connections it has not accepted yet are better off where they are.
    pub(crate) fn are_pressed(&self) -> bool {
        self.is_busy.get()
            && self.orders.borrow().iter().any(|gate| gate.lane.borrow().is_crowded())
    }

    /// Orders that may be in progress, over all cores.
    fn turns_of_orders(&self) -> usize {
        self.orders.borrow().iter().map(|gate| gate.lane.borrow().most()).sum()
    }

    /// Looks at all lines; how many still wait.
    fn look(&self, now: Instant) -> usize {
        let look = |gate: &Gate| {
            let mut lane = gate.lane.borrow_mut();
            lane.look(now, !self.is_busy.get());
            lane.waiting()
        };
        look(&self.anonymous) + self.orders.borrow().iter().map(|gate| look(gate)).sum::<usize>()
    }

    /// The problem of somebody who gets no turn.
    pub(crate) fn sent_away(&self) -> Problem {
        let count = self.sent_away.replace(self.sent_away.get().wrapping_add(1));
        // Neighbours get different ones, and what is coprime to their number goes round.
        let seconds = RETRY_SECONDS[count % RETRY_SECONDS.len()];
        Problem::new(
            Code::Overloaded,
            "More orders come than can be taken. Nothing was done; wait for the seconds of \
             Retry-After and try again",
        )
        .retry_after(seconds)
    }
}

impl Gate {
    fn new(limit: Limit, waits: Option<Waits>) -> Rc<Self> {
        let waits = waits.unwrap_or_else(|| Waits::new(Duration::MAX));
        Rc::new(Self { lane: RefCell::new(Lane::new(limit, waits)) })
    }
}

/// Waits in the line. Whoever stops waiting gives back what it was given meanwhile.
async fn wait(gate: Rc<Gate>, place: Place) -> Option<Turn> {
    struct Waiting {
        gate: Rc<Gate>,
        place: Option<Place>,
    }
    impl Drop for Waiting {
        fn drop(&mut self) {
            let Some(place) = self.place.take() else { return };
            let mut lane = self.gate.lane.borrow_mut();
            if lane.line().leave(&place) == Some(Word::Called) {
                lane.end(Instant::now());
            }
        }
    }
    let mut waiting = Waiting { gate, place: Some(place) };
    let word = poll_fn(|context| match &waiting.place {
        Some(place) => waiting.gate.lane.borrow_mut().line().poll(place, context),
        None => unreachable!("it is asked until it is told, and no more"),
    })
    .await;
    waiting.place = None;
    let gate = Rc::clone(&waiting.gate);
    (word == Word::Called).then(|| Turn { gate: Some(gate), since: Instant::now() })
}

/// A turn: its owner is one of those in progress until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    /// `None` while it is given back, and where no turns are taken.
    gate: Option<Rc<Gate>>,
    since: Instant,
}

impl Turn {
    /// Waits for something that a client decides how long it takes. Unless it is there already, the
    /// turn is somebody else's meanwhile.
    pub(crate) async fn aside<T>(&mut self, what: impl Future<Output = T>) -> T {
        let mut what = pin!(what);
        let first = poll_fn(|context| Poll::Ready(what.as_mut().poll(context))).await;
        let Poll::Pending = first else {
            return match first {
                Poll::Ready(output) => output,
                Poll::Pending => unreachable!("it was just looked at"),
            };
        };
        let gate = self.gate.take();
        if let Some(gate) = &gate {
            gate.lane.borrow_mut().end(Instant::now());
        }
        let output = what.await;
        if let Some(gate) = &gate {
            gate.lane.borrow_mut().enter_again();
        }
        self.gate = gate;
        self.since = Instant::now();
        output
    }

    /// The engine has answered. `is_event`: the answer had to wait for the disk.
    pub(crate) fn answered(&self, is_event: bool) {
        if let Some(gate) = &self.gate {
            let now = Instant::now();
            gate.lane.borrow_mut().took(now - self.since, is_event, now);
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            gate.lane.borrow_mut().end(Instant::now());
        }
    }
}

/// Looks after the lines while somebody waits in one, and after whether there is time to spare.
async fn keep(turns: Rc<Turns>, shown: Arc<ThreadMetrics>) {
    let mut busy = Busy::of_this_thread(Instant::now());
    loop {
        turns.somebody_waits.notified().await;
        busy.begin(Instant::now());
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = Instant::now();
            turns.is_busy.set(busy.is_busy(now));
            let waiting = turns.look(now);
            shown.set_turns(waiting, turns.turns_of_orders());
            if waiting == 0 {
                break;
            }
        }
        turns.is_busy.set(false);
    }
}

#[cfg(test)]
#[path = "turns_test.rs"]
mod tests;
