//! The command line of a load, and the plan that it stands for.

use anyhow::{Context, anyhow, bail};
use clap::Args;
use doorbuster_loadgen::target::HttpTarget;
use doorbuster_loadgen::units::{parse_count, parse_number, parse_time};
use doorbuster_loadgen::{
    Amount, Credentials, FollowQueued, Pace, Plan, Prepare, Slo, Sources, Stage, Target,
};
use doorbuster_protocol::handshake::PreSharedKey;
use std::fs;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a load is asked for.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The HTTP server
    #[arg(value_name = "URL", default_value = "http://127.0.0.1:8080", conflicts_with = "engine")]
    url: String,
    /// Load an engine over the binary protocol instead: any of its cores (repeatable)
    #[arg(long, value_name = "HOST:PORT")]
    engine: Vec<String>,
    /// Allow targets that are not this machine
    #[arg(long)]
    allow_remote: bool,

    /// Open loop: so many attempts per second. Without it, closed loop: as fast as answers come
    #[arg(long, value_name = "PER SECOND", value_parser = parse_number)]
    rate: Option<f64>,
    /// Open loop in stages that follow each other: TIME:RATE, or TIME:FROM..TO for a ramp
    #[arg(
        long,
        value_name = "TIME:RATE,…",
        value_parser = parse_stages,
        conflicts_with_all = ["rate", "attempts", "duration"]
    )]
    stages: Option<Stages>,
    /// Buyers
    #[arg(long, value_name = "N", default_value = "1000", value_parser = parse_count)]
    buyers: u64,
    /// Attempts. Default: one per buyer
    #[arg(long, value_name = "N", value_parser = parse_count, conflicts_with = "duration")]
    attempts: Option<u64>,
    /// Go on for a time instead
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    duration: Option<Duration>,
    /// The first so much time of the run counts in no rate, no latency and no threshold
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time)]
    warm_up: Duration,
    /// Requests in flight at the most: connections, or pipelined requests
    #[arg(short = 'c', long, value_name = "N", default_value = "64", value_parser = parse_count)]
    connections: u64,
    /// Hold so many idle keep-alive connections open beside them (HTTP)
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_count)]
    idle: u64,
    /// Connect from so many addresses of this machine, or from these: for more connections than
    /// one address has ports (28 000), or for a server that counts by address
    #[arg(long, value_name = "N|FIRST-LAST|NET/BITS", value_parser = Sources::parse)]
    source_addresses: Option<Sources>,
    /// Threads
    #[arg(short = 't', long, value_name = "N", default_value_t = 1)]
    threads: usize,

    /// What to buy: a name or a UUID (repeatable)
    #[arg(long, value_name = "NAME|UUID", conflicts_with = "products")]
    product: Vec<String>,
    /// Buy `product-1` to `product-N`
    #[arg(long, value_name = "N", value_parser = parse_count)]
    products: Option<u64>,
    /// Some products are wanted more than others: Zipf's law with this exponent, most wanted first
    #[arg(long, value_name = "EXPONENT")]
    zipf: Option<f64>,
    /// Units per order
    #[arg(long, value_name = "N", default_value_t = 1)]
    quantity: u32,
    /// Queue up when sold out
    #[arg(long)]
    waitlist: bool,
    /// Look at queued orders until they are pending, then do what winners do
    #[arg(long, requires = "waitlist")]
    follow_queued: bool,
    /// Share of attempts to send twice with the same key (0 to 1); the answers must agree
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    duplicates: f64,
    /// Share of winners that pay
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pay: f64,
    /// Share of winners that cancel
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    cancel: f64,
    /// Time between winning and paying or cancelling
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_time)]
    think_time: Duration,

    /// Define every product first, with this stock
    #[arg(long, value_name = "UNITS", value_parser = parse_count)]
    stock: Option<u64>,
    /// … and this price in minor units
    #[arg(long, value_name = "MINOR UNITS", default_value_t = 1999, requires = "stock")]
    price: u64,
    /// … and this limit per buyer (0: none)
    #[arg(long, value_name = "UNITS", default_value_t = 1, requires = "stock")]
    limit: u32,
    /// … and this time to pay
    #[arg(long, value_name = "SECONDS", default_value_t = 600, requires = "stock")]
    hold_seconds: u32,
    /// … and so many places on the waitlist
    #[arg(long, value_name = "PLACES", default_value_t = 0, requires = "stock")]
    waitlist_capacity: u32,

    /// The server's data directory: its secrets sign the tokens
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The signing secret, 64 hex digits in a file
    #[arg(long, value_name = "FILE", conflicts_with = "engine")]
    secret_file: Option<PathBuf>,
    /// The key of the binary protocol, 64 hex digits in a file
    #[arg(long, value_name = "FILE", requires = "engine")]
    key_file: Option<PathBuf>,
    /// One bearer token for all attempts
    #[arg(long, value_name = "TOKEN", env = "DOORBUSTER_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// An administrator's token, to pay and to define products
    #[arg(long, value_name = "TOKEN", env = "DOORBUSTER_ADMIN_TOKEN", hide_env_values = true)]
    admin_token: Option<String>,

    /// Give an answer up after this time
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    timeout: Duration,
    /// Send an attempt again, so often at the most, when there is no clear answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: u32,
    /// Wait for a server that goes away, and go on
    #[arg(long)]
    tolerate_disconnects: bool,
    /// Write all that is sent and answered to this file, for `doorbuster-history check`
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// The same seed asks for the same orders under the same keys. Default: random
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// What the run must keep to, such as 'p95<5ms' or 'errors<0.1%' (repeatable); else it ends
    /// with 99. Measures: p50 p90 p95 p99 p99.9 max mean (of all orders, or of a class:
    /// accepted.p99), errors, refused, accepted (numbers or %), rate
    #[arg(long, value_name = "MEASURE<BOUND", value_parser = Slo::parse)]
    slo: Vec<Slo>,
    /// Write the result to this file, as JSON, for `report` and `compare`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Write a page with charts to this file; it needs nothing else
    #[arg(long, value_name = "OUT.html")]
    pub(crate) html: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// A live line instead of a live screen
    #[arg(long)]
    pub(crate) no_tui: bool,
    /// Nothing live at all
    #[arg(short = 'q', long)]
    pub(crate) quiet: bool,
}

impl Load {
    /// The plan that these arguments stand for; what it asks is checked when it is run.
    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        let mut plan = Plan::new(self.target()?);
        plan.allow_remote = self.allow_remote;
        plan.pace = self.rate.map_or(Pace::Closed, |rate| Pace::Open { rate });
        plan.buyers = self.buyers;
        plan.amount = match (self.duration, self.attempts) {
            (Some(duration), _) => Amount::Duration(duration),
            (None, attempts) => Amount::Attempts(attempts.unwrap_or(self.buyers)),
        };
        plan.stages = self.stages.clone().map_or_else(Vec::new, |stages| stages.0);
        plan.warm_up = self.warm_up;
        plan.slos.clone_from(&self.slo);
        plan.concurrency = usize::try_from(self.connections)?;
        plan.idle = usize::try_from(self.idle)?;
        plan.sources = self.source_addresses;
        plan.threads = self.threads;
        plan.products = match (self.products, self.product.as_slice()) {
            (Some(count), _) if count > 1_000_000 => bail!("at most 1 000 000 products"),
            (Some(count), _) => (1..=count).map(|number| format!("product-{number}")).collect(),
            (None, []) => vec!["demo".to_owned()],
            (None, named) => named.to_vec(),
        };
        plan.zipf = self.zipf;
        plan.quantity = self.quantity;
        plan.waitlist = self.waitlist;
        plan.follow_queued = self.follow_queued.then_some(FollowQueued {
            every: Duration::from_millis(250),
            patience: Duration::from_secs(5),
        });
        (plan.duplicates, plan.pay, plan.cancel) = (self.duplicates, self.pay, self.cancel);
        plan.think_time = self.think_time;
        plan.prepare = match self.stock {
            None => None,
            Some(stock) => Some(Prepare {
                stock: u32::try_from(stock).context("the stock is too large")?,
                price: self.price,
                limit_per_buyer: self.limit,
                hold_seconds: self.hold_seconds,
                waitlist_capacity: self.waitlist_capacity,
            }),
        };
        plan.credentials = self.credentials()?;
        plan.request_timeout = self.timeout;
        plan.retries = self.retries;
        plan.tolerate_disconnects = self.tolerate_disconnects;
        plan.journal = self.journal.clone();
        plan.seed = self.seed.unwrap_or(plan.seed);
        Ok(plan)
    }

    fn target(&self) -> anyhow::Result<Target> {
        if self.engine.is_empty() {
            return Ok(Target::Http(HttpTarget::parse(&self.url)?));
        }
        let mut seeds: Vec<SocketAddr> = Vec::new();
        for engine in &self.engine {
            let addresses = engine.to_socket_addrs();
            seeds.extend(addresses.with_context(|| format!("`{engine}` is no HOST:PORT"))?);
        }
        let file = self.file("engine.key", self.key_file.as_deref()).ok_or_else(|| {
            anyhow!("the binary protocol needs its key: --data DIR or --key-file FILE")
        })?;
        let key = PreSharedKey::from_hex(read(&file)?.trim())
            .with_context(|| format!("{} does not hold 64 hex digits", file.display()))?;
        Ok(Target::Binary(seeds, key))
    }

    fn credentials(&self) -> anyhow::Result<Credentials> {
        if let Some(token) = &self.token {
            return Ok(Credentials::tokens(token, self.admin_token.as_deref()));
        }
        if !self.engine.is_empty() {
            return Ok(Credentials::None);
        }
        match self.file("token.secret", self.secret_file.as_deref()) {
            None => Ok(Credentials::None),
            Some(file) => {
                let secret = parse_hex(read(&file)?.trim());
                let secret = secret
                    .with_context(|| format!("{} does not hold hex digits", file.display()))?;
                Ok(Credentials::secret(&secret))
            }
        }
    }

    /// The file that was named, or the data directory's.
    fn file(&self, name: &str, named: Option<&Path>) -> Option<PathBuf> {
        let in_data = || self.data.as_ref().map(|data| data.join("secrets").join(name));
        named.map(Path::to_path_buf).or_else(in_data)
    }
}

/// All of `--stages`. A type of its own, as `clap` takes a `Vec` for an option that is repeated.
#[derive(Clone, Debug)]
struct Stages(Vec<Stage>);

fn parse_stages(text: &str) -> Result<Stages, String> {
    Stage::parse_list(text).map(Stages)
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| {
        format!(
            "cannot read {} (is this the data directory of a server that has been started?)",
            file.display()
        )
    })
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Arguments;
    use super::*;
    use clap::Parser;

    #[test]
    fn secrets_are_read() {
        for (text, want) in [("00ff", Some(vec![0, 255])), ("0", None), ("zz", None), ("", None)] {
            assert_eq!(parse_hex(text), want, "{text}");
        }
    }

    #[test]
    fn arguments_become_a_plan() {
        let data = tempfile::tempdir().expect("a directory");
        fs::create_dir(data.path().join("secrets")).expect("a directory");
        for name in ["token.secret", "engine.key"] {
            let path = data.path().join("secrets").join(name);
            fs::write(path, "ab".repeat(32) + "\n").expect("written");
        }
        let directory = data.path().to_str().expect("text");
        let plan = |arguments: &[&str]| {
            let all = ["doorbuster-loadgen"].iter().chain(arguments).copied();
            Arguments::try_parse_from(all).map_err(anyhow::Error::from).and_then(|a| a.load.plan())
        };
        let open = plan(&["--data", directory, "--rate", "10k", "--duration", "30s", "--pay", "1"]);
        let open = open.expect("a plan");
        assert_eq!(open.pace, Pace::Open { rate: 10_000.0 });
        assert_eq!(open.amount, Amount::Duration(Duration::from_secs(30)));
        open.check().expect("it can be carried out");
        let rush = plan(&["--data", directory, "--stages", "1m:500,10s:500..20k"]).expect("a plan");
        assert_eq!(rush.stages[1], Stage::ramp(500.0, 20_000.0, Duration::from_secs(10)));
        rush.check().expect("it can be carried out");
        for other in [["--rate", "5"], ["--attempts", "5"], ["--duration", "5s"]] {
            let both = [&["--data", directory, "--stages", "1m:500"], &other[..]].concat();
            let error = plan(&both).expect_err("only one of them");
            assert!(error.to_string().contains("cannot be used with"), "{error}");
        }
        let binary = plan(&["--data", directory, "--engine", "127.0.0.1:7400", "--products", "3"]);
        let binary = binary.expect("a plan");
        assert_eq!(binary.target.to_string(), "binary 127.0.0.1:7400");
        assert_eq!(binary.products, ["product-1", "product-2", "product-3"]);
        binary.check().expect("it can be carried out");
        // What would have no effect is refused, and not passed over.
        for (alone, with) in [
            (&["--limit", "5"][..], &["--stock", "5"][..]),
            (&["--price", "5"], &["--stock", "5"]),
            (&["--hold-seconds", "5"], &["--stock", "5"]),
            (&["--waitlist-capacity", "5"], &["--stock", "5"]),
            (&["--engine", "127.0.0.1:7400", "http://127.0.0.1:1"], &[]),
            (&["--engine", "127.0.0.1:7400", "--secret-file", "x"], &[]),
            (&["--key-file", "x"], &[]),
        ] {
            assert!(plan(&[&["--data", directory], alone].concat()).is_err(), "{alone:?}");
            if !with.is_empty() {
                let both = plan(&[&["--data", directory], alone, with].concat());
                both.unwrap_or_else(|error| panic!("{alone:?} {with:?}: {error}"));
            }
        }
        let uneven = plan(&["--data", directory, "--products", "3", "--zipf", "1.1"]);
        uneven.expect("a plan").check().expect("it can be carried out");
        let remote = plan(&["--data", directory, "http://192.0.2.1:80"]).expect("a plan");
        assert!(remote.check().is_err());
        assert!(plan(&["--engine", "127.0.0.1:7400"]).is_err(), "the key is missing");
        assert!(plan(&["--data", "/nonexistent"]).is_err());
        assert!(plan(&["--attempts", "1", "--duration", "1s"]).is_err());
    }
}
