//! What is to be done: target, pace, amount, buyers, products, behaviours.
//!
//! A [`Plan`] is plain data; [`Plan::check`] says what in it cannot be, before anything is sent.

use crate::credentials::Credentials;
use crate::target::{Target, TargetError};
use doorbuster_protocol::{ProductId, Quantity, limits};
use std::path::PathBuf;
use std::time::Duration;

/// The most requests in flight, over all threads.
pub const CONCURRENCY_MAX: usize = 65_536;
/// The most threads.
pub const THREADS_MAX: usize = 256;
/// The most attempts of one run.
pub const ATTEMPTS_MAX: u64 = 1 << 40;

/// The longest run.
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

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

/// A part of an open loop with a rate of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// Attempts per second, over all threads.
    pub rate: f64,
    /// How long it lasts.
    pub duration: Duration,
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
    /// Requests in flight at the most, over all threads: HTTP connections, or pipelined requests
    /// of the binary protocol.
    pub concurrency: usize,
    /// Requests in flight beside those, for payments, cancels and looks only; 0: they share.
    pub acting_concurrency: usize,
    /// Threads, each with its own runtime and connections.
    pub threads: usize,
    /// Buyers; attempt *n* is made by buyer *n* modulo this.
    pub buyers: u64,
    /// Products, each a UUID or a name; attempts are spread evenly over them.
    pub products: Vec<String>,
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

/// What in a plan cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The target is refused.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A number is out of its range.
    #[error("{what} must be {range}")]
    OutOfRange {
        /// Which number.
        what: &'static str,
        /// What it may be.
        range: &'static str,
    },
    /// A product is neither a UUID nor a name.
    #[error("`{name}` is no product: {reason}")]
    Product {
        /// What was given.
        name: String,
        /// Why not.
        reason: String,
    },
    /// The plan needs a token that cannot be made.
    #[error("{what} needs {need}")]
    Credentials {
        /// What is planned.
        what: &'static str,
        /// What has to be given.
        need: &'static str,
    },
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
            concurrency: 64,
            acting_concurrency: 0,
            threads: 1,
            buyers: 1_000,
            products: vec!["demo".to_owned()],
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

    /// The first thing in the plan that cannot be.
    pub fn check(&self) -> Result<(), PlanError> {
        if !self.allow_remote {
            self.target.check_local()?;
        }
        self.check_numbers()?;
        for name in &self.products {
            ProductId::parse(name).map_err(|error| PlanError::Product {
                name: name.clone(),
                reason: error.to_string(),
            })?;
        }
        self.check_credentials()
    }

    fn check_numbers(&self) -> Result<(), PlanError> {
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        let is_rate = |rate: f64| rate.is_finite() && (0.001..=1e9).contains(&rate);
        let is_time = |time: Duration| !time.is_zero() && time <= DURATION_MAX;
        let (is_paced, is_enough) = (
            match self.pace {
                Pace::Open { rate } => is_rate(rate),
                Pace::Closed => true,
            } && self.stages.iter().all(|stage| is_rate(stage.rate)),
            match self.amount {
                Amount::Attempts(attempts) => (1..=ATTEMPTS_MAX).contains(&attempts),
                Amount::Duration(duration) => is_time(duration),
            } && self.stages.iter().all(|stage| is_time(stage.duration)),
        );
        let rules = [
            (is_paced, "the rate", "0.001 to 1 000 000 000 attempts per second"),
            (is_enough, "the amount", "1 to 2^40 attempts, or a duration of at most 7 days"),
            (
                (1..=CONCURRENCY_MAX).contains(&self.concurrency),
                "the number of connections",
                "1 to 65 536",
            ),
            (
                self.acting_concurrency <= CONCURRENCY_MAX,
                "the number of connections for payments and cancels",
                "at most 65 536",
            ),
            ((1..=THREADS_MAX).contains(&self.threads), "the number of threads", "1 to 256"),
            (self.threads <= self.concurrency, "the number of threads", "at most the connections"),
            ((1..=ATTEMPTS_MAX).contains(&self.buyers), "the number of buyers", "1 to 2^40"),
            (
                (self.concurrency + self.acting_concurrency).div_ceil(self.threads.max(1))
                    <= self.pipeline_max(),
                "the number of requests in flight of one thread",
                "at most 16 384 over the binary protocol",
            ),
            (!self.products.is_empty(), "the number of products", "at least 1"),
            (Quantity::new(self.quantity).is_some(), "the quantity", "1 to 1 000"),
            (is_share(self.duplicates), "the share of duplicates", "0 to 1"),
            (is_share(self.pay), "the share that pays", "0 to 1"),
            (is_share(self.cancel), "the share that cancels", "0 to 1"),
            (
                self.pay + self.cancel <= 1.0 + 1e-9,
                "the shares that pay and cancel",
                "at most 1 together",
            ),
            (!self.request_timeout.is_zero(), "the request timeout", "more than nothing"),
            (
                self.retrying.is_none_or(|how| is_share(how.honour) && is_share(how.budget)),
                "the budget of retries and the share that honours Retry-After",
                "0 to 1",
            ),
            (
                self.follow_queued.is_none_or(|follow| !follow.every.is_zero()),
                "the time between looks at a queued order",
                "more than nothing",
            ),
            (
                self.prepare.is_none_or(|prepare| prepare.stock <= limits::STOCK_MAX),
                "the stock",
                "at most 1 000 000 000",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, what, range)) => Err(PlanError::OutOfRange { what, range }),
            None => Ok(()),
        }
    }

    /// Requests that one thread may have in flight.
    fn pipeline_max(&self) -> usize {
        match self.target {
            Target::Http(_) => CONCURRENCY_MAX,
            Target::Binary(..) => limits::IN_FLIGHT_PER_CONNECTION_MAX,
        }
    }

    fn check_credentials(&self) -> Result<(), PlanError> {
        let Target::Http(_) = self.target else { return Ok(()) };
        if self.journal.is_some() && matches!(self.credentials, Credentials::Tokens { .. }) {
            let need = "the signing secret: with one token for all, nobody knows who buys";
            return Err(PlanError::Credentials { what: "a journal", need });
        }
        let need = "the server's signing secret (--data DIR or --secret-file FILE), or a token";
        if matches!(self.credentials, Credentials::None) {
            return Err(PlanError::Credentials { what: "ordering over HTTP", need });
        }
        if !self.credentials.has_admin() && self.pay > 0.0 {
            let need = "the signing secret, or --admin-token";
            return Err(PlanError::Credentials { what: "paying over HTTP", need });
        }
        if !self.credentials.has_admin() && self.prepare.is_some() {
            let need = "the signing secret, or --admin-token";
            return Err(PlanError::Credentials { what: "defining a product over HTTP", need });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Plan {
        let mut plan = Plan::new(Target::http("127.0.0.1:1".parse().expect("an address")));
        plan.credentials = Credentials::secret(b"0123456789abcdef0123456789abcdef");
        plan
    }

    #[test]
    fn what_cannot_be_is_named() {
        fn check(want: &str, change: impl FnOnce(&mut Plan)) {
            let mut plan = sound();
            change(&mut plan);
            let got = plan.check().map_or_else(|error| error.to_string(), |()| String::new());
            assert!(got.contains(want) && want.is_empty() == got.is_empty(), "{want:?}: {got:?}");
        }
        check("", |_| {});
        check("the rate", |plan| plan.pace = Pace::Open { rate: 0.0 });
        check("the rate", |plan| plan.pace = Pace::Open { rate: f64::NAN });
        let stage =
            |rate: f64, seconds: u64| Stage { rate, duration: Duration::from_secs(seconds) };
        check("", |plan| plan.stages = vec![stage(1.0, 1), stage(5.0, 2)]);
        check("the rate", |plan| plan.stages = vec![stage(1.0, 1), stage(-1.0, 2)]);
        check("the amount", |plan| plan.stages = vec![stage(1.0, 0)]);
        check("Retry-After", |plan| plan.retrying = Some(Retrying { budget: 0.1, honour: 2.0 }));
        check("the amount", |plan| plan.amount = Amount::Attempts(0));
        check("the amount", |plan| plan.amount = Amount::Duration(Duration::ZERO));
        check("connections", |plan| plan.concurrency = 0);
        check("threads", |plan| plan.threads = 65);
        check("buyers", |plan| plan.buyers = 0);
        check("products", |plan| plan.products.clear());
        check("`a b`", |plan| plan.products.push("a b".to_owned()));
        check("quantity", |plan| plan.quantity = 1_001);
        check("duplicates", |plan| plan.duplicates = 1.5);
        check("together", |plan| (plan.pay, plan.cancel) = (0.6, 0.6));
        check("signing secret", |plan| plan.credentials = Credentials::None);
        check("--admin-token", |plan| {
            plan.credentials = Credentials::tokens("abc", None);
            plan.pay = 1.0;
        });
        check("nobody knows who buys", |plan| {
            plan.credentials = Credentials::tokens("abc", None);
            plan.journal = Some("journal.jsonl".into());
        });
        check("--allow-remote", |plan| {
            plan.target = Target::http("192.0.2.1:1".parse().expect("an address"));
        });
        check("", |plan| {
            plan.target = Target::http("192.0.2.1:1".parse().expect("an address"));
            plan.allow_remote = true;
        });
    }
}
