//! What is to be done: target, pace, amount, buyers, products, behaviours.
//!
//! A [`Plan`] is plain data; [`Plan::check`] says what in it cannot be, before anything is sent.

mod check;
mod stage;

pub use check::PlanError;
pub use stage::Stage;

use crate::credentials::Credentials;
use crate::slo::Slo;
use crate::sources::Sources;
use crate::target::Target;
use std::path::PathBuf;
use std::time::Duration;

/// The most requests in flight, over all threads.
pub const CONCURRENCY_MAX: usize = 65_536;
/// The most idle connections.
pub const IDLE_MAX: usize = 1 << 20;
/// The most threads.
pub const THREADS_MAX: usize = 256;
/// The most attempts of one run.
pub const ATTEMPTS_MAX: u64 = 1 << 40;

/// When attempts are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// At a fixed rate, whatever the server does. Latency counts from the intended send time.
    Open {
        /// Attempts per second, over all threads.
        rate: f64,
    },
    /// The next attempt as soon as an answer is there.
    Closed,
}

/// How a crowd retries, instead of everybody in the same way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retrying {
    /// Retries of orders for each attempt: 0.1 lets one be sent again for every ten that are made.
    pub budget: f64,
    /// Share of the clients that wait as long as `Retry-After` says; the others only back off.
    pub honour: f64,
}

/// When it is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// After this many attempts.
    Attempts(u64),
    /// After this time.
    Duration(Duration),
}

/// How queued orders are watched until they become pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowQueued {
    /// Time between two looks at one order.
    pub every: Duration,
    /// How long after the last attempt they are still watched.
    pub patience: Duration,
}

/// A product to define before the load starts, for every product of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// Units of each product.
    pub stock: u32,
    /// Price of one unit in minor units.
    pub price: u64,
    /// Units that one buyer may have; 0: no limit.
    pub limit_per_buyer: u32,
    /// Seconds until an unpaid order expires.
    pub hold_seconds: u32,
    /// Standing orders that may wait.
    pub waitlist_capacity: u32,
}

/// What is to be done. [`Plan::new`] gives defaults; the fields are there to be changed.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is loaded.
    pub target: Target,
    /// Whether targets on other machines are allowed.
    pub allow_remote: bool,
    /// When attempts are made.
    pub pace: Pace,
    /// Stages of an open loop that follow each other. When there are any, they say what `pace` and
    /// `amount` would, and are reported one by one.
    pub stages: Vec<Stage>,
    /// How long an attempt of an open loop waits for a connection to come free before it is given up;
    /// `None`: for ever.
    pub patience: Option<Duration>,
    /// When it is enough.
    pub amount: Amount,
    /// The first so much time of the run, in which requests are sent and judged, but count in no
    /// rate, no latency and no threshold.
    pub warm_up: Duration,
    /// What the run must keep to; the report says whether it did.
    pub slos: Vec<Slo>,
    /// Requests in flight at the most, over all threads: HTTP connections, or pipelined requests
    /// of the binary protocol.
    pub concurrency: usize,
    /// Requests in flight beside those, for payments, cancels and looks only; 0: they share.
    pub acting_concurrency: usize,
    /// Connections that are held open beside the load, and do nothing.
    pub idle: usize,
    /// Addresses of this machine that connections come from; `None`: the system decides.
    pub sources: Option<Sources>,
    /// Threads, each with its own runtime and connections.
    pub threads: usize,
    /// Buyers; attempt *n* is made by buyer *n* modulo this.
    pub buyers: u64,
    /// Products, each a UUID or a name.
    pub products: Vec<String>,
    /// The exponent of Zipf's law over the products, the first of which is wanted the most; `None`:
    /// attempts are spread evenly over them.
    pub zipf: Option<f64>,
    /// Units per order.
    pub quantity: u32,
    /// Whether to queue up when sold out.
    pub waitlist: bool,
    /// Share of attempts that are sent twice with the same key, half of those in parallel.
    pub duplicates: f64,
    /// Share of the winners that pay.
    pub pay: f64,
    /// Share of the winners that cancel. The rest leaves the hold alone.
    pub cancel: f64,
    /// Time between winning and paying or cancelling.
    pub think_time: Duration,
    /// Whether queued orders are watched until they are pending (and then paid, by `pay`).
    pub follow_queued: Option<FollowQueued>,
    /// Times that an attempt without a clear answer (lost connection, 503) is sent again.
    pub retries: u32,
    /// How; `None`: everybody backs off and looks at nothing.
    pub retrying: Option<Retrying>,
    /// Time until an answer is given up.
    pub request_timeout: Duration,
    /// Whether a server that goes away is waited for. Otherwise it ends the run.
    pub tolerate_disconnects: bool,
    /// How long it is waited for.
    pub reconnect_patience: Duration,
    /// Bearer tokens of buyers and administrator; the binary protocol needs none.
    pub credentials: Credentials,
    /// Products to define first.
    pub prepare: Option<Prepare>,
    /// Where everything that is sent and answered is written, as JSON lines.
    pub journal: Option<PathBuf>,
    /// Decides every choice and every idempotency key: the same seed asks for the same orders.
    pub seed: u64,
}

impl Plan {
    /// A closed loop of one attempt for each of 1000 buyers, who leave their holds alone.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            allow_remote: false,
            pace: Pace::Closed,
            stages: Vec::new(),
            patience: None,
            amount: Amount::Attempts(1_000),
            warm_up: Duration::ZERO,
            slos: Vec::new(),
            concurrency: 64,
            acting_concurrency: 0,
            idle: 0,
            sources: None,
            threads: 1,
            buyers: 1_000,
            products: vec!["demo".to_owned()],
            zipf: None,
            quantity: 1,
            waitlist: false,
            duplicates: 0.0,
            pay: 0.0,
            cancel: 0.0,
            think_time: Duration::ZERO,
            follow_queued: None,
            retries: 0,
            retrying: None,
            request_timeout: Duration::from_secs(10),
            tolerate_disconnects: false,
            reconnect_patience: Duration::from_secs(30),
            credentials: Credentials::None,
            prepare: None,
            journal: None,
            seed: fastrand::u64(..),
        }
    }

    /// Each of `buyers` once.
    #[must_use]
    pub fn buyers_once(mut self, buyers: u64) -> Self {
        self.buyers = buyers;
        self.amount = Amount::Attempts(buyers);
        self
    }
}
