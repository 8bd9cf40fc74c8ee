//! The validated configuration: values in range, of the types that the roles take.
//!
//! A [`Config`] that exists is usable; everything that could be wrong with a text was said before.

use super::log_filter::log_filter;
use super::raw::{Given, Problem, RawConfig};
use super::stores::{self, StoreChoice};
use super::units;
use doorbuster_edge::{AddressLimit, RateLimit, SignatureAlgorithm};
use doorbuster_protocol::limits;
use doorbuster_protocol::routing::PartitionCount;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// Every setting, with its meaning.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Where buyers are served.
    pub(crate) http: SocketAddr,
    /// Where the admin pages are served, if anywhere.
    pub(crate) admin: Option<SocketAddr>,
    /// Where results live.
    pub(crate) store: StoreChoice,
    /// Engine cores; `None` lets the machine decide.
    pub(crate) cores: Option<usize>,
    /// Edge threads; `None` lets the machine decide.
    pub(crate) edge_threads: Option<usize>,
    /// Partitions of a new data directory.
    pub(crate) partitions: PartitionCount,
    /// Where core 0 listens; `None` lets the role decide.
    pub(crate) engine_listen: Option<SocketAddr>,
    /// Cores of the engine to ask first.
    pub(crate) engine: Vec<SocketAddr>,
    /// Bytes of one log segment.
    pub(crate) segment_bytes: u64,
    /// Log bytes that may wait for the store.
    pub(crate) high_water_bytes: u64,
    /// Bytes of memory held for orders to come; `None`: none.
    pub(crate) reserve_bytes_max: Option<u64>,
    /// How long the edge waits for the engine.
    pub(crate) order_timeout: Duration,
    /// How long a new order may wait for its turn.
    pub(crate) order_wait_max: Option<Duration>,
    /// Requests per edge thread and core that may wait.
    pub(crate) in_flight_max: usize,
    /// Bytes of a request body.
    pub(crate) body_bytes_max: usize,
    /// How long a client may take for its request head.
    pub(crate) header_timeout: Duration,
    /// How long a client may take for a body.
    pub(crate) body_timeout: Duration,
    /// Bytes per second of a body, at the least.
    pub(crate) body_rate_min: Option<NonZeroU32>,
    /// How long a connection may rest.
    pub(crate) idle_timeout: Duration,
    /// How long a client may take to take its answer.
    pub(crate) write_timeout: Duration,
    /// Connections of all edge threads; `None` lets the machine decide.
    pub(crate) connections_max: Option<usize>,
    /// Connections of one client address.
    pub(crate) connections_per_address: AddressLimit,
    /// How often one address may come with tokens that are not valid.
    pub(crate) bad_token_rate_limit: Option<RateLimit>,
    /// How often one buyer may ask.
    pub(crate) rate_limit: Option<RateLimit>,
    /// How often one address may ask without a token.
    pub(crate) anonymous_rate_limit: Option<RateLimit>,
    /// Who signs bearer tokens, when it is not the local secret.
    pub(crate) token_issuer_key: Option<IssuerKey>,
    /// What tokens must name as their issuer.
    pub(crate) token_issuer: Option<String>,
    /// What must be among their audiences.
    pub(crate) token_audience: Option<String>,
    /// The secret of bearer tokens, when it is not the data directory's.
    pub(crate) token_secret: Option<Secret>,
    /// The key of the binary protocol, when it is not the data directory's.
    pub(crate) engine_key: Option<[u8; 32]>,
    /// How log lines look.
    pub(crate) log_format: LogFormat,
    /// Which log lines are written.
    pub(crate) log_level: String,
}

/// A public key that bearer tokens are checked with, and its one algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IssuerKey {
    /// The algorithm.
    pub(crate) algorithm: SignatureAlgorithm,
    /// A PEM file.
    pub(crate) file: PathBuf,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// JSON under systemd, else pretty.
    Auto,
    /// For eyes.
    Pretty,
    /// One JSON object a line.
    Json,
}

/// Bytes that are never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(Vec<u8>);

impl Secret {
    /// The shortest secret that HS256 should be used with (RFC 7518, section 3.2).
    pub(crate) const BYTES_MIN: usize = 32;

    /// `None` when there are fewer than [`Secret::BYTES_MIN`] bytes.
    pub(crate) fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= Self::BYTES_MIN).then_some(Self(bytes))
    }
    /// The bytes.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The smallest segment: a batch must fit one.
const SEGMENT_BYTES_MIN: u64 = 2 * limits::BATCH_BYTES_MAX as u64;
const SEGMENT_BYTES_MAX: u64 = 4 << 30;
/// More connections than any process may have open files.
const CONNECTIONS_MAX: usize = 1 << 30;
const BYTE_RATE_MAX: u32 = 16 << 20;

impl Config {
    /// Gives every text its meaning; all problems at once when some have none.
    pub(crate) fn validate(raw: &RawConfig) -> Result<Self, Vec<Problem>> {
        let mut texts = Texts { raw, problems: Vec::new() };
        let config = Self {
            data: texts.one("data", |text| Ok(PathBuf::from(text))),
            http: texts.one("http", address),
            admin: texts.one("admin", |text| unless("off", text, address)),
            store: stores::choice(&mut texts),
            cores: texts.one("cores", |text| {
                unless("auto", text, |text| in_range(text, 1, usize::from(limits::CORES_MAX)))
            }),
            edge_threads: texts
                .one("edge-threads", |text| unless("auto", text, |text| in_range(text, 1, 1024))),
            partitions: texts.one("partitions", partitions),
            engine_listen: texts.one("engine-listen", |text| unless("auto", text, address)),
            engine: texts.all("engine", address),
            segment_bytes: texts.one("segment-size", segment_bytes),
            high_water_bytes: texts.one("high-water", units::size),
            reserve_bytes_max: texts.one("memory-reserve", |text| unless("off", text, units::size)),
            order_timeout: texts.one("order-timeout", time_out),
            order_wait_max: texts.one("order-wait", |text| unless("off", text, time_out)),
            in_flight_max: texts
                .one("in-flight", |text| in_range(text, 1, limits::IN_FLIGHT_PER_CONNECTION_MAX)),
            body_bytes_max: texts.one("body-size", body_bytes),
            header_timeout: texts.one("header-timeout", time_out),
            body_timeout: texts.one("body-timeout", time_out),
            body_rate_min: texts.one("body-rate", |text| unless("off", text, byte_rate)),
            idle_timeout: texts.one("idle-timeout", time_out),
            write_timeout: texts.one("write-timeout", time_out),
            connections_max: texts.one("connections", |text| {
                unless("auto", text, |text| in_range(text, 1, CONNECTIONS_MAX))
            }),
            connections_per_address: texts.one("connections-per-address", address_limit),
            bad_token_rate_limit: texts
                .one("bad-token-rate-limit", |text| unless("off", text, rate_limit)),
            rate_limit: texts.one("rate-limit", |text| unless("off", text, rate_limit)),
            anonymous_rate_limit: texts
                .one("anonymous-rate-limit", |text| unless("off", text, rate_limit)),
            token_issuer_key: texts.issuer_key(),
            token_issuer: texts.optional("token-issuer", |text| Ok(text.to_owned())),
            token_audience: texts.optional("token-audience", |text| Ok(text.to_owned())),
            token_secret: texts.optional("token-secret", |text| {
                Secret::new(text.as_bytes().to_vec())
                    .ok_or_else(|| "a signing secret has at least 32 bytes".to_owned())
            }),
            engine_key: texts.optional("engine-key", |text| {
                parse_key(text).ok_or_else(|| "an engine key is 64 hex digits".to_owned())
            }),
            log_format: texts.one("log-format", log_format),
            log_level: texts.one("log-level", |text| log_filter(text).map(|_| text.to_owned())),
        };
        if texts.problems.is_empty() { Ok(config) } else { Err(texts.problems) }
    }
}

/// Takes texts out of the raw configuration and gathers what is wrong with them. In place of a
/// wrong value it goes on with the default, so that one mistake does not hide the next.
pub(super) struct Texts<'a> {
    raw: &'a RawConfig,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Texts<'a> {
    pub(super) fn given(&self, name: &str) -> &'a Given {
        self.raw.get(name)
    }

    pub(super) fn one<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let given = self.raw.get(name);
        let text = given.values.last().map_or(given.setting.default, String::as_str);
        parse(text).unwrap_or_else(|problem| {
            self.report(given, problem);
            parse(given.setting.default)
                .unwrap_or_else(|problem| panic!("the default of `{name}` is valid: {problem}"))
        })
    }

    pub(super) fn all<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let given = self.raw.get(name);
        let mut values = Vec::new();
        for text in &given.values {
            match parse(text) {
                Ok(value) => values.push(value),
                Err(problem) => self.report(given, problem),
            }
        }
        values
    }

    /// A setting that may be given several times, of which today's build takes one.
    pub(super) fn only<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let given = self.raw.get(name);
        if given.values.len() > 1 {
            self.report(given, format!("this build takes one `{name}`, not several"));
        }
        self.one(name, parse)
    }

    fn optional<T>(&mut self, name: &str, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let given = self.raw.get(name);
        match parse(given.values.last()?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.report(given, problem);
                None
            }
        }
    }

    /// Two settings that only make sense together.
    fn issuer_key(&mut self) -> Option<IssuerKey> {
        let algorithm = self.one("token-algorithm", |text| match text {
            "HS256" => Ok(None),
            other => other
                .parse::<SignatureAlgorithm>()
                .map(Some)
                .map_err(|error| format!("{error}, or HS256 with the local secret")),
        });
        let file = self.optional("token-public-key", |text| Ok(PathBuf::from(text)));
        match (algorithm, file) {
            (None, None) => None,
            (Some(algorithm), Some(file)) => Some(IssuerKey { algorithm, file }),
            (Some(algorithm), None) => {
                let text = format!("tokens signed with {algorithm} need a `token-public-key`");
                self.report(self.raw.get("token-algorithm"), text);
                None
            }
            (None, Some(_)) => {
                let text = "a public key needs the `token-algorithm` that it checks: RS256, PS256, \
                            ES256 or EdDSA";
                self.report(self.raw.get("token-public-key"), text.to_owned());
                None
            }
        }
    }
}

fn unless<T>(
    word: &str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    if text == word { Ok(None) } else { parse(text).map(Some) }
}

pub(super) fn in_range(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = usize::try_from(units::count(text)?).unwrap_or(usize::MAX);
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("`{text}` is out of range: {least} to {most}"))
    }
}

fn partitions(text: &str) -> Result<PartitionCount, String> {
    let count = in_range(text, 1, usize::from(limits::PARTITIONS_MAX))?;
    u16::try_from(count)
        .ok()
        .and_then(PartitionCount::new)
        .ok_or_else(|| format!("`{text}` is out of range"))
}

/// `HOST:PORT`, `:PORT` or `PORT`; a bare port is on loopback.
fn address(text: &str) -> Result<SocketAddr, String> {
    let full = match text.strip_prefix(':').unwrap_or(text) {
        port if port.parse::<u16>().is_ok() => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    full.to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| format!("`{text}` is no address; write one such as 127.0.0.1:8080"))
}

fn segment_bytes(text: &str) -> Result<u64, String> {
    let bytes = units::size(text)?;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) {
        return Err(format!("`{text}` is out of range: a segment has 8MiB to 4GiB"));
    }
    if bytes % 4096 != 0 {
        return Err(format!("`{text}` is no multiple of 4KiB, the unit of the log"));
    }
    Ok(bytes)
}

fn body_bytes(text: &str) -> Result<usize, String> {
    let bytes = usize::try_from(units::size(text)?).unwrap_or(usize::MAX);
    if (64..=1 << 20).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!("`{text}` is out of range: a body has 64 bytes to 1MiB"))
    }
}

pub(super) fn time_out(text: &str) -> Result<Duration, String> {
    let time = units::duration(text)?;
    if (Duration::from_millis(1)..=Duration::from_secs(600)).contains(&time) {
        Ok(time)
    } else {
        Err(format!("`{text}` is out of range: 1ms to 10m"))
    }
}

fn address_limit(text: &str) -> Result<AddressLimit, String> {
    match text {
        "auto" => Ok(AddressLimit::Auto),
        "off" => Ok(AddressLimit::Off),
        _ => in_range(text, 1, CONNECTIONS_MAX).map(|most| AddressLimit::Each(most as u32)),
    }
}

/// `1KiB/s`.
fn byte_rate(text: &str) -> Result<NonZeroU32, String> {
    let size = text
        .strip_suffix("/s")
        .ok_or_else(|| format!("`{text}` is no rate of bytes; write `1KiB/s` or `off`"))?;
    let bytes = units::size(size)?;
    u32::try_from(bytes)
        .ok()
        .and_then(NonZeroU32::new)
        .filter(|rate| rate.get() <= BYTE_RATE_MAX)
        .ok_or_else(|| format!("`{text}` is out of range: 1/s to 16MiB/s"))
}

/// `20/s`, or `20/s burst 100`; without a burst, as many at once as in a second.
fn rate_limit(text: &str) -> Result<RateLimit, String> {
    let (rate, burst) = match text.split_once(" burst ") {
        Some((rate, burst)) => (rate.trim(), Some(burst)),
        None => (text.trim(), None),
    };
    let whole = |text: &str| in_range(text, 1, u32::MAX as usize).map(|number| number as u32);
    let rate = rate
        .strip_suffix("/s")
        .ok_or_else(|| format!("`{text}` is no rate; write `20/s`, `20/s burst 100` or `off`"))?;
    let rate = whole(rate)?;
    let burst = burst.map_or(Ok(rate), whole)?;
    RateLimit::new(rate, burst).map_err(|error| error.to_string())
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is no log format; write auto, pretty or json")),
    }
}

/// 64 hex digits as 32 bytes.
pub(crate) fn parse_key(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut key = [0; 32];
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(name: &'static str, text: &str) -> Result<Config, Vec<Problem>> {
        let flags = vec![(name, vec![text.to_owned()])];
        let (raw, problems) = RawConfig::layer(&flags, |_| None, None);
        assert!(problems.is_empty());
        Config::validate(&raw)
    }

    #[test]
    fn the_defaults_are_valid() {
        let (raw, _) = RawConfig::layer(&vec![], |_| None, None);
        let config = Config::validate(&raw).expect("the defaults are valid");
        assert_eq!(config.http, SocketAddr::from(([127, 0, 0, 1], 8080)));
        assert_eq!(config.partitions.get(), limits::PARTITIONS_DEFAULT);
        assert_eq!(config.cores, None);
        assert!(config.token_secret.is_none());
    }

    #[test]
    fn values_outside_their_range_are_refused() {
        fn check(name: &'static str, good: &[&str], bad: &[&str]) {
            for text in good {
                assert!(validate(name, text).is_ok(), "{name} = {text}");
            }
            for text in bad {
                let problems = validate(name, text).expect_err("out of range");
                assert_eq!(problems.len(), 1, "{name} = {text}: {problems:?}");
                assert_eq!(problems[0].origin.to_string(), format!("--{name}"));
            }
        }
        check("http", &["127.0.0.1:0", ":8080", "8080", "[::1]:80"], &["", "70000", "x:y"]);
        check("admin", &["off", "127.0.0.1:1"], &["on"]);
        check("partitions", &["1", "4096"], &["0", "4097", "x"]);
        check("cores", &["auto", "2"], &["0", "257"]);
        check("segment-size", &["8MiB", "32MiB"], &["1MiB", "9000001", "8GiB"]);
        check("store", &["sqlite", "sqlite:/x/y"], &["mysql", "sqlite:", "mysql://h/d"]);
        check("order-timeout", &["5ms"], &["5", "0s", "1d"]);
        check("order-wait", &["off", "1s"], &["on", "0s"]);
        check("log-format", &["json"], &["xml"]);
        let rates = ["off", "20/s", "20/s burst 100", "1k/s"];
        check("body-rate", &["off", "1KiB/s", "1/s"], &["1KiB", "0/s", "1GiB/s", "x/s"]);
        check("connections", &["auto", "1", "100k"], &["0", "off"]);
        check("connections-per-address", &["auto", "off", "20"], &["0", "-1", "on"]);
        check("rate-limit", &rates, &["20", "0/s", "20/m", "20/s burst", "20/s burst 0"]);
        check("token-algorithm", &["HS256"], &["none", "RS256"]);
        check("token-public-key", &[], &["key.pem"]);
        let key = "0123456789abcdefABCDEF0123456789".repeat(2);
        check("engine-key", &[&key], &["12", &key[1..]]);
        check("token-secret", &["01234567890123456789012345678901"], &["short"]);
    }

    #[test]
    fn a_public_key_goes_with_its_algorithm() {
        let given = |name, text: &str| (name, vec![text.to_owned()]);
        let flags =
            vec![given("token-algorithm", "ES256"), given("token-public-key", "issuer.pem")];
        let (raw, _) = RawConfig::layer(&flags, |_| None, None);
        let config = Config::validate(&raw).expect("valid");
        let expected =
            IssuerKey { algorithm: SignatureAlgorithm::Es256, file: PathBuf::from("issuer.pem") };
        assert_eq!(config.token_issuer_key, Some(expected));
    }

    #[test]
    fn a_secret_is_never_printed() {
        let config = validate("token-secret", "01234567890123456789012345678901").expect("valid");
        assert!(!format!("{config:?}").contains("0123456789"));
    }
}
