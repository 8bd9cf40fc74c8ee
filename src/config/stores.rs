//! The store as the settings name it: one SQLite file, or Postgres shards with all that belongs to
//! them.
//!
//! A shard is named, or numbered by its place; its pooler and its replica are given the same way.

use super::raw::{Given, Problem};
use super::show::without_password;
use super::units;
use super::validated::{Texts, in_range, time_out};
use doorbuster_persistence::BucketSet;
use doorbuster_persistence::postgres::{BreakerOptions, PostgresOptions, ShardOptions, ShardUrl};
use std::path::PathBuf;

/// Where results live.
#[derive(Clone, Debug)]
pub(crate) enum StoreChoice {
    /// A SQLite file; `None` is the one in the data directory.
    Sqlite(Option<PathBuf>),
    /// Postgres shards. What depends on the role (migrating, the key) is filled in by it.
    Postgres(Box<PostgresOptions>),
}

impl StoreChoice {
    /// Connections that asking and writing it may take.
    pub(crate) fn connections_max(&self) -> usize {
        match self {
            Self::Sqlite(_) => 0,
            Self::Postgres(options) => {
                options.shards.len() * (options.pool_size + options.replica_pool_size + 2)
            }
        }
    }
}

/// Shards of one store, so that a pool of each fits into a process.
const SHARDS_MAX: usize = 256;
const NAME_CHARS_MAX: usize = 40;

/// `[NAME=]URL`.
#[derive(Clone, Debug)]
pub(crate) struct NamedUrl {
    /// The name, when one was given.
    pub(crate) name: Option<String>,
    /// The URL.
    pub(crate) url: ShardUrl,
}

/// The store of the settings.
pub(super) fn choice(texts: &mut Texts<'_>) -> StoreChoice {
    let given = texts.given("store");
    let is_postgres = |text: &String| text.contains("://");
    if !given.values.iter().any(is_postgres) {
        return texts.only("store", sqlite);
    }
    let urls = texts.all("store", named_url);
    let mut shards: Vec<ShardOptions> = urls
        .into_iter()
        .map(|NamedUrl { name, url }| ShardOptions { name, url, reads: None, replica: None })
        .collect();
    if shards.len() > SHARDS_MAX {
        texts.report(given, format!("a store has at most {SHARDS_MAX} shards"));
    }
    for (name, of) in [
        (
            "store-reads",
            (|shard| &mut shard.reads) as fn(&mut ShardOptions) -> &mut Option<ShardUrl>,
        ),
        ("store-replica", |shard| &mut shard.replica),
    ] {
        let urls = texts.all(name, named_url);
        let given = texts.given(name);
        deal_out(&mut shards, urls, of, |problem| texts.report(given, problem));
    }
    // Without a valid shard there is nothing to go on with, and a problem was reported.
    if shards.is_empty() {
        return StoreChoice::Sqlite(None);
    }
    let count = shards.len();
    let buckets = texts.one("store-buckets", |text| match text {
        "even" => Ok(None),
        ranges => bucket_table(ranges, count).map(Some),
    });
    let pool = |text: &str| in_range(text, 1, 1_000);
    let failures = |text: &str| in_range(text, 1, 1_000_000).map(|count| count as u32);
    StoreChoice::Postgres(Box::new(PostgresOptions {
        buckets,
        pool_size: texts.one("store-pool", pool),
        replica_pool_size: texts.one("store-replica-pool", pool),
        connect_timeout: texts.one("store-connect-timeout", time_out),
        statement_timeout: texts.one("store-timeout", time_out),
        write_timeout: texts.one("store-write-timeout", time_out),
        replica_lag_max: texts.one("store-replica-lag", units::duration),
        breaker: BreakerOptions {
            failures: texts.one("store-breaker-failures", failures),
            pause: texts.one("store-breaker-pause", time_out),
        },
        ..PostgresOptions::new(shards)
    }))
}

fn sqlite(text: &str) -> Result<StoreChoice, String> {
    match text.split_once(':') {
        None if text == "sqlite" => Ok(StoreChoice::Sqlite(None)),
        Some(("sqlite", path)) if !path.is_empty() => {
            Ok(StoreChoice::Sqlite(Some(PathBuf::from(path))))
        }
        _ => Err(format!(
            "`{}` is no store; write `sqlite`, `sqlite:PATH` or `postgres://…`",
            without_password(text)
        )),
    }
}

/// A URL with or without the name of its shard. What is wrong is said without the URL: it may hold
/// a password.
pub(crate) fn named_url(text: &str) -> Result<NamedUrl, String> {
    let (before, _) = text.split_once("://").ok_or_else(|| {
        let text = without_password(text);
        format!("`{text}` is no Postgres shard; all values are shards, or none is: postgres://…")
    })?;
    let (name, url) = match before.split_once('=') {
        Some((name, _)) => (Some(name), &text[name.len() + 1..]),
        None => (None, text),
    };
    if let Some(name) = name {
        let is_name = (1..=NAME_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !is_name {
            return Err(format!(
                "`{name}` is no name of a shard: write up to {NAME_CHARS_MAX} of a-z, 0-9 and `-`"
            ));
        }
    }
    let url = url.parse::<ShardUrl>().map_err(|error| error.to_string())?;
    Ok(NamedUrl { name: name.map(str::to_owned), url })
}

/// Gives each URL to the shard that it names, or to the one at its place.
fn deal_out(
    shards: &mut [ShardOptions],
    urls: Vec<NamedUrl>,
    of: fn(&mut ShardOptions) -> &mut Option<ShardUrl>,
    mut report: impl FnMut(String),
) {
    for (place, NamedUrl { name, url }) in urls.into_iter().enumerate() {
        let default = |index: usize| format!("shard-{index}");
        let found = match &name {
            Some(name) => shards
                .iter()
                .enumerate()
                .position(|(index, shard)| shard.name.as_ref().unwrap_or(&default(index)) == name),
            None => (place < shards.len()).then_some(place),
        };
        let wanted = name.unwrap_or_else(|| default(place));
        match found.map(|index| of(&mut shards[index])) {
            Some(free @ None) => *free = Some(url),
            Some(Some(_)) => report(format!("shard {wanted} is given twice")),
            None => report(format!("there is no shard {wanted} among the values of `store`")),
        }
    }
}

/// Ranges for each shard; each bucket in exactly one of them.
fn bucket_table(text: &str, shards: usize) -> Result<Vec<BucketSet>, String> {
    let table: Vec<BucketSet> = text
        .split(';')
        .map(|ranges| ranges.parse::<BucketSet>().map_err(|error| error.to_string()))
        .collect::<Result<_, _>>()?;
    if table.len() != shards {
        return Err(format!(
            "buckets for {} shards, but there are {shards}: write ranges for each, with `;` between",
            table.len()
        ));
    }
    let mut dealt = BucketSet::NONE;
    for buckets in &table {
        let twice = dealt.intersection(buckets);
        if !twice.is_empty() {
            return Err(format!("buckets {twice} are given to two shards"));
        }
        dealt = dealt.union(buckets);
    }
    let left = BucketSet::ALL.difference(&dealt);
    match left.is_empty() {
        true => Ok(table),
        false => Err(format!("buckets {left} are given to no shard")),
    }
}

/// Adds a problem to those that a setting has.
impl Texts<'_> {
    pub(super) fn report(&mut self, given: &Given, text: String) {
        self.problems.push(Problem { origin: given.origin.clone(), text });
    }
}

#[cfg(test)]
mod tests {
    use super::super::raw::RawConfig;
    use super::super::validated::Config;
    use super::*;

    type Flag<'a> = (&'static str, &'a [&'a str]);

    fn validate(flags: &[Flag<'_>]) -> Result<StoreChoice, String> {
        let flags = flags
            .iter()
            .map(|(name, values)| (*name, values.iter().map(|&text| text.to_owned()).collect()))
            .collect();
        let (raw, _) = RawConfig::layer(&flags, |_| None, None);
        Config::validate(&raw).map(|config| config.store).map_err(|problems| {
            problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        })
    }

    const TWO: Flag<'static> = ("store", &["postgres://u:hunter2@a/x", "east=postgres://u@b/x"]);

    #[test]
    fn poolers_and_replicas_go_to_their_shards() {
        let by_name = ("store-replica", &["east=postgres://r/x"][..]);
        let by_place = ("store-reads", &["postgres://p/x"][..]);
        let choice = validate(&[TWO, by_name, by_place]).expect("valid");
        let StoreChoice::Postgres(options) = choice else { panic!("{choice:?}") };
        let has = |of: fn(&ShardOptions) -> bool| options.shards.iter().map(of).collect::<Vec<_>>();
        assert_eq!(has(|shard| shard.replica.is_some()), [false, true]);
        assert_eq!(has(|shard| shard.reads.is_some()), [true, false]);
        assert_eq!(options.shards[1].name.as_deref(), Some("east"));
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_without_its_secrets() {
        fn check(flags: &[Flag<'_>], expected: &str) {
            let refused = validate(flags).expect_err("it does not fit");
            assert!(refused.contains(expected), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
        }
        check(&[("store", &["sqlite", "postgres://u@a/x"])], "all values are shards");
        check(&[("store", &["mysql://u:hunter2@a/x"])], "--store");
        check(&[("store", &["postgres://u:hunter2@a:port/x"])], "--store");
        check(&[("store", &["East=postgres://a/x"])], "no name of a shard");
        check(&[TWO, ("store-replica", &["west=postgres://r/x"])], "no shard west");
        check(&[TWO, ("store-buckets", &["0-1023"])], "there are 2");
        check(&[TWO, ("store-buckets", &["0-511; 512-1022"])], "buckets 1023 are given to no");
        check(&[TWO, ("store-buckets", &["0-512; 512-1023"])], "buckets 512 are given to two");
        check(&[TWO, ("store-buckets", &["0-511; 512-x"])], "names no buckets");
    }
}
