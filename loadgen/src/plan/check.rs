//! What in a plan cannot be, found before anything is sent.

use super::{ATTEMPTS_MAX, Amount, CONCURRENCY_MAX, IDLE_MAX, Pace, Plan, Stage, THREADS_MAX};
use crate::credentials::Credentials;
use crate::target::{Target, TargetError};
use doorbuster_protocol::{ProductId, Quantity, limits};
use std::time::Duration;

/// The longest run.
const DURATION_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Attempts per second.
const RATE_MIN: f64 = 0.001;
const RATE_MAX: f64 = 1e9;

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
        let is_rate = |rate: f64| (RATE_MIN..=RATE_MAX).contains(&rate);
        let is_time = |time: Duration| !time.is_zero() && time <= DURATION_MAX;
        let (is_paced, is_enough) = (
            match self.pace {
                Pace::Open { rate } => is_rate(rate),
                Pace::Closed => true,
            } && self.stages.iter().all(Stage::has_sound_rates),
            match self.amount {
                Amount::Attempts(attempts) => (1..=ATTEMPTS_MAX).contains(&attempts),
                Amount::Duration(duration) => is_time(duration),
            } && self.stages.iter().all(|stage| is_time(stage.duration))
                && self.planned_attempts() <= ATTEMPTS_MAX as f64,
        );
        let rules = [
            (is_paced, "the rate", "0.001 to 1 000 000 000 attempts per second"),
            (is_enough, "the amount", "1 to 2^40 attempts, or a duration of at most 7 days"),
            (self.stages_ask(), "the rate of one of the stages", "more than nothing"),
            (
                self.warm_up.is_zero()
                    || self.planned_time().is_none_or(|time| self.warm_up < time),
                "the warm-up",
                "shorter than the run of which it is the first part",
            ),
            (
                (1..=CONCURRENCY_MAX).contains(&self.concurrency),
                "the number of connections",
                "1 to 65 536",
            ),
            (self.idle <= IDLE_MAX, "the number of idle connections", "at most 1 048 576"),
            (
                self.idle == 0 || matches!(self.target, Target::Http(_)),
                "idle connections",
                "over HTTP",
            ),
            (
                self.sources.is_none() || self.is_on_loopback_over_http(),
                "the target of connections with source addresses",
                "an IPv4 loopback address over HTTP",
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
            (
                self.zipf.is_none_or(|exponent| (0.0..=10.0).contains(&exponent)),
                "the exponent of Zipf's law",
                "0 to 10",
            ),
            (
                self.zipf.is_none() || self.products.len() > 1,
                "the number of products under Zipf's law",
                "at least 2 (--products N)",
            ),
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

    /// How long the run is to take, where the plan says it.
    fn planned_time(&self) -> Option<Duration> {
        match (self.stages.as_slice(), self.amount, self.pace) {
            ([], Amount::Duration(duration), _) => Some(duration),
            ([], Amount::Attempts(_), Pace::Closed) => None,
            ([], Amount::Attempts(attempts), Pace::Open { rate }) => {
                Duration::try_from_secs_f64(attempts as f64 / rate).ok()
            }
            (stages, ..) => Some(stages.iter().map(|stage| stage.duration).sum()),
        }
    }

    /// Whether stages that may rest for a while ask for anything at all.
    fn stages_ask(&self) -> bool {
        self.stages.is_empty() || self.planned_attempts() > 0.0
    }

    /// How many attempts the run is to make; 0 where the plan does not say it.
    fn planned_attempts(&self) -> f64 {
        let attempts = |stage: &Stage| stage.mean_rate() * stage.duration.as_secs_f64();
        match (self.stages.as_slice(), self.amount, self.pace) {
            ([], Amount::Attempts(attempts), _) => attempts as f64,
            ([], Amount::Duration(time), Pace::Open { rate }) => rate * time.as_secs_f64(),
            ([], Amount::Duration(_), Pace::Closed) => 0.0,
            (stages, ..) => stages.iter().map(attempts).sum(),
        }
    }

    fn is_on_loopback_over_http(&self) -> bool {
        match &self.target {
            Target::Http(http) => http.address().is_ipv4() && self.target.check_local().is_ok(),
            Target::Binary(..) => false,
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

impl Stage {
    /// A stage may rest, and a ramp begin or end at rest.
    fn has_sound_rates(&self) -> bool {
        let is_sound = |rate: f64| rate == 0.0 || (RATE_MIN..=RATE_MAX).contains(&rate);
        is_sound(self.from) && is_sound(self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Retrying;
    use doorbuster_protocol::handshake::PreSharedKey;

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
        let stage = |rate: f64, seconds: u64| Stage::steady(rate, Duration::from_secs(seconds));
        check("", |plan| plan.stages = vec![stage(1.0, 1), stage(5.0, 2)]);
        check("the rate", |plan| plan.stages = vec![stage(1.0, 1), stage(-1.0, 2)]);
        check("the amount", |plan| plan.stages = vec![stage(1.0, 0)]);
        check("", |plan| plan.stages = vec![stage(0.0, 1), stage(5.0, 2)]);
        check("the amount", |plan| plan.stages = vec![stage(1e9, 3_600)]);
        check("the amount", |plan| {
            plan.pace = Pace::Open { rate: 1e9 };
            plan.amount = Amount::Duration(Duration::from_secs(3_600));
        });
        check("one of the stages", |plan| plan.stages = vec![stage(0.0, 1)]);
        check("the rate", |plan| {
            plan.stages = vec![Stage::ramp(1.0, f64::INFINITY, Duration::from_secs(1))];
        });
        check("Retry-After", |plan| plan.retrying = Some(Retrying { budget: 0.1, honour: 2.0 }));
        check("the amount", |plan| plan.amount = Amount::Attempts(0));
        check("the amount", |plan| plan.amount = Amount::Duration(Duration::ZERO));
        check("connections", |plan| plan.concurrency = 0);
        let second = Duration::from_secs(1);
        check("", |plan| plan.warm_up = second);
        check("the warm-up", |plan| {
            (plan.warm_up, plan.amount) = (second, Amount::Duration(second));
        });
        check("the warm-up", |plan| {
            (plan.warm_up, plan.pace) = (second, Pace::Open { rate: 1_000.0 });
        });
        check("the warm-up", |plan| {
            (plan.warm_up, plan.stages) = (second, vec![stage(5.0, 1)]);
        });
        let sources = crate::Sources::parse("4").ok();
        check("", |plan| (plan.sources, plan.idle) = (sources, 9));
        check("IPv4 loopback", |plan| {
            (plan.sources, plan.allow_remote) = (sources, true);
            plan.target = Target::http("192.0.2.1:1".parse().expect("an address"));
        });
        check("over HTTP", |plan| {
            plan.idle = 1;
            let seeds = vec!["127.0.0.1:1".parse().expect("an address")];
            plan.target = Target::Binary(seeds, PreSharedKey::new([7; 32]));
        });
        check("idle", |plan| plan.idle = IDLE_MAX + 1);
        check("threads", |plan| plan.threads = 65);
        check("buyers", |plan| plan.buyers = 0);
        check("products", |plan| plan.products.clear());
        check("Zipf", |plan| plan.zipf = Some(1.0));
        let two = || vec!["product-1".to_owned(), "product-2".to_owned()];
        check("", |plan| (plan.products, plan.zipf) = (two(), Some(1.0)));
        check("Zipf", |plan| (plan.products, plan.zipf) = (two(), Some(f64::NAN)));
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
