//! One scenario's run: how long and under which load, what came of it, and the settling of accounts
//! at its end, after which nothing may be missing.
//!
//! With `DOORBUSTER_FAULTS_TABLE=FILE` each run leaves a line there: what `scripts/faults` prints.

use crate::shop::Shop;
use crate::support::history::{judge_by, rows_of_stored};
use crate::support::http::Client;
use crate::support::load::Load;
use crate::support::stored::Stored;
use crate::support::{is_alive, run_well, skip, token, token_secret, wait_until};
use crate::witness::{PRODUCT, Testimony, Witness};
use doorbuster_history::Allowance;
use doorbuster_loadgen::journal::Entry;
use doorbuster_loadgen::{Credentials, Pace, Plan};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Sold out early, so that most of a run tries to sell beyond it.
const FEW: (&str, u32) = ("few", 200);
const MANY: (&str, u32) = (PRODUCT, 100_000_000);
/// How long it may be until orders are placed again, where a scenario says nothing else.
const RECOVERY_MAX: Duration = Duration::from_secs(30);
/// What the load, and the witness, asked and were told.
const LOAD_JOURNAL: &str = "load.jsonl";
const WITNESS_JOURNAL: &str = "witness.jsonl";
/// Orders that are asked for again with their key at the end.
const KEYS_TRIED: usize = 200;

/// What the names of runs' directories begin with; the process id of the test follows.
const PREFIX: &str = "doorbuster-trial-";

/// Whether the long forms are asked for.
pub(crate) fn is_long() -> bool {
    std::env::var("DOORBUSTER_FAULTS").is_ok_and(|form| form == "long")
}

/// How much of something: in `scripts/test`, and in `scripts/faults`.
pub(crate) fn dial<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// How often something is done; in the long form `DOORBUSTER_FAULTS_TIMES=N` multiplies it.
pub(crate) fn times(short: u32, long: u32) -> u32 {
    let factor = std::env::var("DOORBUSTER_FAULTS_TIMES");
    let factor: u32 = factor.map_or(1, |text| text.parse().expect("a number of times"));
    dial(short, long * factor)
}

/// A run.
pub(crate) struct Trial {
    home: TempDir,
    scenario: &'static str,
    /// How often the fault was made.
    faults: u64,
    load: String,
    acknowledged: usize,
    lost: u64,
    oversold: u64,
    refused: BTreeMap<String, u64>,
    /// Whether the history checker has judged it: not once the log had lost its beginning.
    is_judged: Option<bool>,
    /// How far the engine's clock may be from that of the clients.
    skew: Duration,
    /// The longest time from the end of a fault to the next order.
    recovery: Option<Duration>,
    /// What that may be, where the machine does nothing else.
    recovery_max: Duration,
    is_settled: bool,
    skipped: Option<String>,
}

impl Trial {
    /// Begins one.
    pub(crate) fn of(scenario: &'static str) -> Self {
        Self::within(scenario, &std::env::temp_dir())
    }

    /// Begins one in memory, where a machine has files in memory: for what writes much, and ends by
    /// a signal, which no page cache notices.
    pub(crate) fn in_memory(scenario: &'static str) -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::within(scenario, memory) } else { Self::of(scenario) }
    }

    fn within(scenario: &'static str, parent: &Path) -> Self {
        eprintln!("=== {scenario}");
        // A killed run leaves its directory; in memory nobody else would ever remove it.
        for entry in fs::read_dir(parent).expect("a directory").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner =
                name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
            if owner.is_some_and(|pid| !is_alive(pid)) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let home = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
        Self {
            home: home.expect("a directory"),
            scenario,
            faults: 0,
            load: String::new(),
            acknowledged: 0,
            lost: 0,
            oversold: 0,
            refused: BTreeMap::new(),
            is_judged: None,
            skew: Duration::ZERO,
            recovery: None,
            recovery_max: RECOVERY_MAX,
            is_settled: false,
            skipped: None,
        }
    }

    /// What the scenario needs of the machine; without it the run is over, and says why.
    pub(crate) fn needs<T>(&mut self, needed: Result<T, String>) -> Option<T> {
        needed
            .map_err(|why| {
                skip(&why);
                self.skipped = Some(why);
            })
            .ok()
    }

    /// A path in a directory of its own, which goes with it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The usual data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Puts the products on sale.
    pub(crate) fn open_sale(&self, http: SocketAddr, data: &Path) {
        let admin = token(data, "ops", true);
        for (product, stock) in [FEW, MANY] {
            let terms = json!({
                "price": 100, "currency": "USD", "stock": stock, "holdSeconds": 3600,
                "waitlistCapacity": 50,
            });
            let path = format!("/products/{product}");
            let answer = Client::connect(http).call("PUT", &path, Some(&admin), Some(&terms));
            assert!(answer.status == 200 || answer.status == 201, "{answer:?}");
        }
    }

    /// Buyers at `rate` orders per second, or as fast as answers come; they pay, cancel, send
    /// twice, and come again when they are not answered.
    pub(crate) fn load(&mut self, http: SocketAddr, data: &Path, rate: Option<f64>) -> Load {
        const CONCURRENCY: usize = 32;
        self.load = match rate {
            Some(rate) => format!("{rate}/s"),
            None => format!("{CONCURRENCY} buyers"),
        };
        let journal = self.path(LOAD_JOURNAL);
        Load::start(http, data, |plan: &mut Plan| {
            plan.pace = rate.map_or(Pace::Closed, |rate| Pace::Open { rate });
            plan.concurrency = rate.map_or(CONCURRENCY, |_| 4 * CONCURRENCY);
            plan.buyers = 100_000;
            plan.products = vec![FEW.0.to_owned(), MANY.0.to_owned()];
            (plan.duplicates, plan.pay, plan.cancel) = (0.1, 0.4, 0.2);
            plan.retries = 1_000_000;
            plan.request_timeout = Duration::from_secs(3);
            plan.tolerate_disconnects = true;
            plan.reconnect_patience = Duration::from_secs(120);
            plan.journal = Some(journal);
        })
    }

    /// Somebody who watches, and buys on.
    pub(crate) fn witness(&self, http: SocketAddr, data: &Path) -> Witness {
        Witness::send(http, data, "witness", &self.path(WITNESS_JOURNAL))
    }

    /// The engine's clock may be so far from that of the clients.
    pub(crate) fn clocks_differ(&mut self, by: Duration) {
        self.skew = by;
    }

    /// The fault was made once more.
    pub(crate) fn fault(&mut self) {
        self.faults += 1;
    }

    /// Waits until an order is placed; `ended` is when the fault did.
    pub(crate) fn until_sold(&mut self, load: &Load, ended: Instant) {
        let before = load.progress.accepted();
        wait_until("orders are placed again", || load.progress.accepted() > before);
        self.recovered(ended);
    }

    /// Everything is as it was; `ended` is when the fault did.
    pub(crate) fn recovered(&mut self, ended: Instant) {
        self.recovery = self.recovery.max(Some(ended.elapsed()));
    }

    /// Recovery may take so long at the most, which is asserted in the long form alone: that one has
    /// the machine to itself.
    pub(crate) fn recovers_within(&mut self, time: Duration) {
        self.recovery_max = time;
    }

    /// Ends the load, and settles everything: see [`Trial::settle`].
    pub(crate) fn close(&mut self, shop: impl Shop, load: Load, witness: Witness) -> Testimony {
        let (acknowledged, testimony) = self.end_load(load, witness);
        let store = Stored::Sqlite(shop.data().join("store.sqlite"));
        self.settle(shop, &store, &acknowledged);
        testimony
    }

    /// Ends the load: what was promised to it and to the witness, and what that one saw.
    pub(crate) fn end_load(&mut self, load: Load, witness: Witness) -> (Vec<Entry>, Testimony) {
        let (report, mut acknowledged) = load.stop();
        let testimony = witness.stop();
        eprintln!("{}: {:?}, {report}", self.scenario, testimony.refusals());
        for (refusal, times) in testimony.refusals() {
            *self.refused.entry(refusal).or_default() += times;
        }
        acknowledged.extend(testimony.acknowledged.iter().cloned());
        (acknowledged, testimony)
    }

    /// Each key gives its order again; the store gets everything; log and store are sound, fit each
    /// other, sold no unit twice; every acknowledged order stands where its buyer was told; and the
    /// history checker finds that every answer was right at its time.
    pub(crate) fn settle(&mut self, shop: impl Shop, store: &Stored, acknowledged: &[Entry]) {
        self.acknowledged += acknowledged.len();
        assert!(!acknowledged.is_empty(), "there was a load");
        let data = shop.data();
        same_key_same_order(shop.http(), &data, acknowledged);
        wait_until("the store has everything", || shop.has_stored_all());
        shop.end();

        let path = data.to_str().expect("UTF-8");
        run_well(&["log", "verify", "--data", path]);
        let flags = store.flags();
        let flags = flags.iter().map(String::as_str);
        let audit: Vec<&str> =
            ["audit", "--json", "--data", path].into_iter().chain(flags).collect();
        let audit: Value = serde_json::from_str(&run_well(&audit)).expect("the audit prints JSON");
        self.oversold += audit["oversold"].as_u64().expect("a count");
        let missing = missing(store, acknowledged);
        self.lost += missing.len() as u64;
        let first = &missing[..missing.len().min(5)];
        let is_sound = self.lost == 0 && self.oversold == 0;
        assert!(is_sound, "{} lost, {} oversold: {first:#?}", self.lost, self.oversold);
        self.judge(&data, store);
        let (took, most) = (self.recovery.unwrap_or_default(), self.recovery_max);
        assert!(
            !is_long() || took <= most,
            "orders were placed again after {took:?}, not {most:?}"
        );
        self.is_settled = true;
    }

    fn judge(&mut self, data: &Path, store: &Stored) {
        let usual = Allowance::default();
        let skew_us = usual.engine_skew_us + self.skew.as_micros() as u64;
        let allowance = Allowance { engine_skew_us: skew_us, ..usual };
        let journals = [self.path(LOAD_JOURNAL), self.path(WITNESS_JOURNAL)];
        let journals = [journals[0].as_path(), journals[1].as_path()];
        let verdict = judge_by(allowance, data, &journals, Some(rows_of_stored(store)));
        // Of several sales each has to be judged.
        self.is_judged = Some(verdict.is_some() && self.is_judged != Some(false));
    }

    fn line(&self) -> String {
        let refused: Vec<_> =
            self.refused.iter().map(|(what, times)| format!("{what} {times}")).collect();
        let recovery = self.recovery.map(|recovery| format!("{:.2} s", recovery.as_secs_f64()));
        let verdict = match &self.skipped {
            Some(why) => format!("skipped: {why}"),
            None if self.is_settled && !std::thread::panicking() => "held".to_owned(),
            None => "FAILED".to_owned(),
        };
        let history = match self.is_judged {
            Some(true) => "judged",
            Some(false) => "trimmed",
            None => "-",
        };
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        [
            self.scenario.to_owned(),
            self.faults.to_string(),
            or_none(self.load.clone()),
            self.acknowledged.to_string(),
            self.lost.to_string(),
            self.oversold.to_string(),
            history.to_owned(),
            or_none(refused.join(", ")),
            recovery.unwrap_or_else(|| "-".to_owned()),
            verdict,
        ]
        .join("\t")
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let line = self.line();
        eprintln!("=== {line}");
        let Some(table) = std::env::var_os("DOORBUSTER_FAULTS_TABLE") else { return };
        let file = OpenOptions::new().create(true).append(true).open(table);
        if let Err(error) = file.and_then(|mut file| writeln!(file, "{line}")) {
            eprintln!("{error}");
        }
    }
}

/// Acknowledged orders that the store does not have, or has elsewhere than the buyer was told.
fn missing(store: &Stored, acknowledged: &[Entry]) -> Vec<String> {
    let rows =
        (0..store.shards()).flat_map(|shard| store.rows(shard, "SELECT id, status FROM orders"));
    let pair = |row: Vec<String>| {
        let [order, status] = row.try_into().expect("two columns");
        (order, status)
    };
    let rows: HashMap<String, String> = rows.map(pair).collect();
    let mut missing = Vec::new();
    for entry in acknowledged {
        let told = entry.status.as_str();
        match rows.get(&entry.order_id) {
            None => missing.push(format!("{} is gone, was {told}", entry.order_id)),
            Some(_) if ["pending", "queued"].contains(&told) => {}
            Some(status) if status == told => {}
            Some(status) => missing.push(format!("{} was {told}, is {status}", entry.order_id)),
        }
    }
    missing
}

/// Orders of the load and of the witnesses, asked for again with their keys.
fn same_key_same_order(http: SocketAddr, data: &Path, acknowledged: &[Entry]) {
    let secret = Credentials::secret(&token_secret(data));
    let mut client = Client::connect(http);
    let step = acknowledged.len().div_ceil(KEYS_TRIED);
    // The last ones are those that a fault may have caught on their way.
    let last = acknowledged.len().saturating_sub(KEYS_TRIED);
    for entry in acknowledged.iter().step_by(step).chain(&acknowledged[last..]) {
        let token = secret.buyer(&entry.buyer);
        let again = client.buy(&entry.product, &token, Some(&entry.key), false);
        assert_eq!((again.status, again.order()), (201, entry.order_id.clone()), "{again:?}");
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:?}");
    }
}
