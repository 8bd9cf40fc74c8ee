//! A sale from the empty directory to the audit: everything runs in this process, and the load
//! comes in over HTTP like anybody's.

use super::PRODUCT;
use super::live::Live;
use crate::audit::{self, report::Report as AuditReport};
use crate::cli::Demo;
use crate::config::raw::RawConfig;
use crate::config::settings::variable;
use crate::config::{self, Config};
use crate::exit::{Exit, Failure};
use crate::logging;
use crate::metrics::Stock;
use crate::roles::everything::{self, Everything};
use crate::secrets::Secrets;
use crate::signals::Signals;
use doorbuster_loadgen::{
    Amount, Credentials, FollowQueued, LoadError, Pace, Plan, Prepare, Progress, Report, Target,
};
use doorbuster_protocol::session::StockLevel;
use doorbuster_protocol::{ProductId, limits};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// Connections of the load generator.
const CONNECTIONS: usize = 64;
/// The share of attempts that are sent twice with one key, as impatient buyers do.
const DUPLICATES: f64 = 0.02;
/// With a waitlist: the share of winners that cancel; as many again let their hold run out.
const GIVE_BACK: f64 = 0.1;
/// How long a hold lasts in a sale with a waitlist: short, so that one sees holds expire.
const HOLD_SECONDS: u32 = 4;
/// How often a waiting buyer looks whether it has become a hold.
const LOOK_EVERY: Duration = Duration::from_millis(750);
/// How long anything after the load may stand still before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Rounds in which those who were refused may try again for what came back.
const ROUNDS_MAX: u64 = 8;

/// What a sale came to.
#[derive(Debug)]
pub(crate) struct Sold {
    /// Units on sale.
    pub(crate) stock: u32,
    /// Buyers that tried.
    pub(crate) buyers: u64,
    /// Places on the waitlist.
    pub(crate) waitlist: u32,
    /// The load: the sale, then the rounds for what came back.
    pub(crate) loads: Vec<Report>,
    /// The audit.
    pub(crate) audit: AuditReport,
    /// The data directory, when it was kept.
    pub(crate) kept: Option<PathBuf>,
}

impl Sold {
    /// Buyers that wanted a unit and did not give theirs back.
    pub(crate) fn demand(&self) -> u64 {
        let totals = &self.audit.totals;
        let gave_back = totals.orders - totals.paid_orders - totals.waiting;
        self.buyers.saturating_sub(gave_back)
    }
    /// Units that must be sold.
    pub(crate) fn must_sell(&self) -> u64 {
        u64::from(self.stock).min(self.demand())
    }
    /// Whether exactly that was sold, every order is in the store, and nothing disagrees.
    pub(crate) fn is_as_promised(&self) -> bool {
        let totals = &self.audit.totals;
        self.audit.is_clean()
            && totals.oversold == 0
            && totals.sold == self.must_sell()
            && totals.store_orders == Some(totals.orders)
            && totals.store_lag == 0
            && self.loads.iter().all(Report::is_clean)
    }
}

/// Sells and audits.
pub(crate) fn run(arguments: &Demo) -> Result<Sold, Failure> {
    let directory =
        tempfile::Builder::new().prefix("doorbuster-demo-").tempdir().map_err(|error| {
            Failure::new(Exit::Failure, "cannot make a temporary directory")
                .why(error)
                .next("name a place with room in TMPDIR")
        })?;
    let config = configuration(&directory.path().join("data"), &arguments.store)?;
    logging::start(config.log_format, &config.log_level);
    let signals = Signals::take().map_err(|error| crate::commands::no_signals(&error))?;
    let everything = everything::start(&config, false)?;
    let sale = Sale { arguments, config, everything, signals };
    let loads = sale.sell().and_then(|loads| sale.wait_for_the_store().map(|()| loads));
    let Sale { config, everything: Everything { running, store, .. }, .. } = sale;
    // Also after a failure: nothing is left running in a directory that is about to go.
    let stopped = running.stop();
    let loads = loads?;
    stopped?;
    let audit = audit::run(&config.data, Some(store.store.as_ref()))?;
    let kept = arguments.keep.then(|| directory.keep());
    let attempts: u64 = loads[0].attempts;
    Ok(Sold {
        stock: arguments.stock,
        buyers: attempts.min(u64::from(arguments.buyers)),
        waitlist: arguments.waitlist,
        loads,
        audit,
        kept,
    })
}

fn configuration(data: &Path, store: &[String]) -> Result<Config, Failure> {
    let flag = |name, value: &str| (name, vec![value.to_owned()]);
    let data = data.to_str().ok_or_else(|| {
        Failure::new(Exit::Failure, "the temporary directory's name is no UTF-8")
            .next("name another place in TMPDIR")
    })?;
    let mut flags = vec![flag("data", data), flag("http", "127.0.0.1:0"), flag("admin", "off")];
    if !store.is_empty() {
        flags.push(("store", store.to_vec()));
    }
    // A shop of its own: of the environment's settings, only those count that say how it runs.
    let environment = |name: &str| {
        let counts = ["cores", "edge-threads", "log-level"].map(variable);
        std::env::var(name).ok().filter(|_| counts.iter().any(|it| it == name))
    };
    if environment(&variable("log-level")).is_none() {
        flags.push(flag("log-level", "warn"));
    }
    let (raw, problems) = RawConfig::layer(&flags, environment, None);
    assert!(problems.is_empty(), "there is no file");
    Config::validate(&raw).map_err(|problems| config::refusal(&problems))
}

/// A sale while it runs.
struct Sale<'a> {
    arguments: &'a Demo,
    config: Config,
    everything: Everything,
    signals: Signals,
}

impl Sale<'_> {
    /// The sale, and rounds for what came back after it, until all is sold or nobody is left.
    fn sell(&self) -> Result<Vec<Report>, Failure> {
        let secret = Secrets::of(&self.config.data).token_secret(&self.config)?;
        let target = Target::http(self.everything.http);
        let plan = plan(self.arguments, target, secret.expose());
        let mut rest = Plan {
            pace: Pace::Closed,
            amount: Amount::Attempts(plan.buyers),
            prepare: None,
            waitlist: false,
            pay: 1.0,
            cancel: 0.0,
            follow_queued: None,
            ..plan.clone()
        };
        let mut loads = vec![self.load(plan)?];
        for _ in 1..ROUNDS_MAX {
            let level = self.wait_for("all holds to end", |level| level.held == 0)?;
            let everyone_has_one = u64::from(level.sold) >= rest.buyers;
            if level.available == 0 || everyone_has_one || self.arguments.waitlist == 0 {
                break;
            }
            rest.seed = rest.seed.wrapping_add(1);
            loads.push(self.load(rest.clone())?);
        }
        Ok(loads)
    }

    /// Carries a plan out, with a live line. Once nothing is left to win, nobody keeps on waiting.
    fn load(&self, plan: Plan) -> Result<Report, Failure> {
        let progress = Arc::new(Progress::default());
        let is_timed = matches!(plan.amount, Amount::Duration(_));
        let stock = &self.everything.stock;
        let live = Live::start(self.arguments, Arc::clone(&progress), stock.clone());
        let worker = {
            let progress = Arc::clone(&progress);
            thread::spawn(move || doorbuster_loadgen::run(plan, progress))
        };
        while !worker.is_finished() {
            if let Err(failure) = self.check() {
                progress.stop();
                live.finish();
                return Err(failure);
            }
            let all_tried = progress.planned() > 0 && progress.attempts() >= progress.planned();
            let is_sold =
                level(stock).is_some_and(|level| level.stock > 0 && level.sold == level.stock);
            if all_tried && is_sold && !is_timed {
                progress.stop();
            }
            thread::sleep(POLL);
        }
        live.finish();
        let report = worker.join().expect("a panic would have ended the process");
        report.map_err(|error| load_failure(&error))
    }

    /// Waits until the level is as wanted, as long as it still moves.
    fn wait_for(
        &self,
        what: &str,
        is_wanted: impl Fn(&StockLevel) -> bool,
    ) -> Result<StockLevel, Failure> {
        let mut last = (None, Instant::now());
        loop {
            self.check()?;
            let now = level(&self.everything.stock);
            if let Some(level) = now.filter(&is_wanted) {
                return Ok(level);
            }
            if now != last.0 {
                last = (now, Instant::now());
            }
            if last.1.elapsed() > PATIENCE {
                return Err(stuck(what));
            }
            thread::sleep(POLL);
        }
    }

    /// Waits until the store has every durable event, as long as it still comes nearer.
    fn wait_for_the_store(&self) -> Result<(), Failure> {
        let mut last = (u64::MAX, Instant::now());
        loop {
            self.check()?;
            let lag = self.store_lag()?;
            if lag == 0 {
                return Ok(());
            }
            if lag != last.0 {
                last = (lag, Instant::now());
            }
            if last.1.elapsed() > PATIENCE {
                return Err(stuck("the store to catch up"));
            }
            thread::sleep(POLL);
        }
    }

    fn store_lag(&self) -> Result<u64, Failure> {
        let mut lag = 0;
        for shard in self.everything.store.store.shards() {
            let checkpoints = crate::roles::runtime()
                .block_on(shard.checkpoints())
                .map_err(|error| crate::roles::store::failure(&error))?;
            // A store that nobody wrote to yet has no checkpoints, and lacks everything.
            let reached = checkpoints.iter().map(|checkpoint| checkpoint.sequence.get());
            lag += (self.everything.engine.metrics.partitions.iter())
                .zip(reached.chain(std::iter::repeat(0)))
                .map(|(partition, reached)| {
                    partition.durable.load(Ordering::Relaxed).saturating_sub(reached)
                })
                .sum::<u64>();
        }
        Ok(lag)
    }

    /// Fails when a role has ended or somebody wants the sale to end.
    fn check(&self) -> Result<(), Failure> {
        self.everything.running.check()?;
        match self.signals.have_come() {
            true => Err(Failure::new(Exit::Interrupted, "the sale was interrupted")),
            false => Ok(()),
        }
    }
}

fn plan(arguments: &Demo, target: Target, secret: &[u8]) -> Plan {
    let buyers = u64::from(arguments.buyers).max(1);
    let has_waitlist = arguments.waitlist > 0;
    let given_back = if has_waitlist { GIVE_BACK } else { 0.0 };
    let seconds = arguments.seconds.map(Duration::from_secs);
    Plan {
        pace: match arguments.rate {
            Some(rate) => Pace::Open { rate: rate as f64 },
            None => Pace::Closed,
        },
        amount: match seconds {
            Some(seconds) => Amount::Duration(seconds),
            None => Amount::Attempts(buyers),
        },
        concurrency: CONNECTIONS,
        buyers,
        products: vec![PRODUCT.to_owned()],
        waitlist: has_waitlist,
        duplicates: DUPLICATES,
        pay: 1.0 - 2.0 * given_back,
        cancel: given_back,
        follow_queued: has_waitlist
            .then_some(FollowQueued { every: LOOK_EVERY, patience: PATIENCE }),
        credentials: Credentials::secret(secret),
        prepare: Some(Prepare {
            stock: arguments.stock,
            price: 1_999,
            limit_per_buyer: 1,
            hold_seconds: if has_waitlist { HOLD_SECONDS } else { limits::HOLD_SECONDS_DEFAULT },
            waitlist_capacity: arguments.waitlist.min(limits::WAITLIST_MAX),
        }),
        seed: arguments.seed.unwrap_or_else(seed),
        ..Plan::new(target)
    }
}

fn seed() -> u64 {
    getrandom::u64().unwrap_or(1)
}

fn load_failure(error: &LoadError) -> Failure {
    match error {
        LoadError::Plan(_) => Failure::because(Exit::Usage, "the load could not be made", error)
            .next("`doorbuster demo --help` says what each number may be"),
        _ => Failure::because(Exit::Failure, "the load could not be made", error),
    }
}

/// The product's level, once the engine has pushed one.
pub(super) fn level(stock: &Stock) -> Option<StockLevel> {
    let product = ProductId::parse(PRODUCT).expect("the name is a name");
    stock.of(product)
}

fn stuck(what: &str) -> Failure {
    Failure::new(Exit::Failure, format!("waited in vain for {what}"))
        .why(format!("nothing moved for {} s", PATIENCE.as_secs()))
        .next("run it again with DOORBUSTER_LOG_LEVEL=debug --keep, and report it")
}
