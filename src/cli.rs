//! The command line: what can be typed, and the help that explains it.
//!
//! Settings (flags that also stand in the environment and the file) come from the table in
//! [`crate::config::settings`]; what belongs to one command alone stands here.

use crate::config::settings::Role;
use crate::config::stores::{NamedUrl, named_url};
use crate::config::{self, units};
use crate::exit;
use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use doorbuster_persistence::BucketSet;
use std::path::PathBuf;
use std::time::Duration;

/// A flash-sale engine: an acknowledged order is never lost, a unit is never sold twice.
///
/// Without a subcommand it serves: everything in one process, on an embedded store.
#[derive(Debug, Parser)]
#[command(
    name = "doorbuster",
    version,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = AFTER_HELP,
    after_long_help = format!("{AFTER_HELP}\n\n{}", exit::table()),
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Serving is the default.
    #[command(flatten)]
    pub(crate) serve: Serve,
}

const AFTER_HELP: &str = "\
Examples:
  doorbuster                                serve on http://127.0.0.1:8080, data in ./data
  doorbuster demo                           a whole sale in a minute, audited at the end
  doorbuster token --user ann               a bearer token for the buyer `ann`
  doorbuster audit --data ./data            prove that nothing was oversold or lost

`doorbuster COMMAND --help` explains each command, `--help` also lists the exit codes.";

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything in one process, by default on an embedded store (the default command)
    #[command(after_help = SERVE_HELP, after_long_help = with_codes(SERVE_HELP))]
    Serve(Serve),
    /// A throwaway sale under real load, watched live, ended by an audit
    #[command(after_help = DEMO_HELP, after_long_help = with_codes(DEMO_HELP))]
    Demo(Demo),
    /// An engine node alone
    #[command(after_help = ENGINE_HELP, after_long_help = with_codes(ENGINE_HELP))]
    Engine(EngineSettings),
    /// An HTTP edge alone
    #[command(after_help = EDGE_HELP, after_long_help = with_codes(EDGE_HELP))]
    Edge(EdgeSettings),
    /// A projector alone
    #[command(after_help = PROJECT_HELP, after_long_help = with_codes(PROJECT_HELP))]
    Project(Box<Project>),
    /// Print a bearer token
    #[command(after_help = TOKEN_HELP, after_long_help = with_codes(TOKEN_HELP))]
    Token(Token),
    /// Look into a log: read-only, also on a live directory
    #[command(after_help = LOG_HELP, after_long_help = with_codes(LOG_HELP))]
    #[command(subcommand)]
    Log(Log),
    /// Replay the log, prove the invariants, compare with the store
    #[command(after_help = AUDIT_HELP, after_long_help = with_codes(AUDIT_HELP))]
    Audit(Audit),
    /// Write, check and show configurations
    #[command(after_help = CONFIG_HELP, after_long_help = with_codes(CONFIG_HELP))]
    #[command(subcommand)]
    Config(Config),
}

fn with_codes(examples: &str) -> String {
    format!("{examples}\n\n{}", exit::table())
}

const SERVE_HELP: &str = "\
Examples:
  doorbuster serve --http 127.0.0.1:0 --json        a free port, told as one line of JSON
  doorbuster serve --data /var/lib/doorbuster --config /etc/doorbuster.toml";
const DEMO_HELP: &str = "\
Examples:
  doorbuster demo --stock 10000 --buyers 200000     every buyer tries once or more
  doorbuster demo --stock 1000 --buyers 50000 --waitlist 5000
  doorbuster demo --rate 10k --seconds 30 --json    a fixed rate, the summary as JSON
  scripts/postgres run -- doorbuster demo {urls}    on four Postgres shards, made for it";
const ENGINE_HELP: &str = "\
Examples:
  doorbuster engine --data ./data --engine-listen 127.0.0.1:7400";
const EDGE_HELP: &str = "\
Examples:
  doorbuster edge --engine 127.0.0.1:7400 --data ./data --http 127.0.0.1:8080

On another machine than the engine's: DOORBUSTER_ENGINE_KEY and DOORBUSTER_TOKEN_SECRET hold the
secrets that stand in the engine's data directory (secrets/engine.key, secrets/token.secret).";
const PROJECT_HELP: &str = "\
Examples:
  doorbuster project --engine 127.0.0.1:7400 --data ./data
  doorbuster project --migrate --store postgres://…@db0/shop --store postgres://…@db1/shop
  doorbuster project --move-buckets 0-255 --to postgres://…@db2/shop --store postgres://…@db0/shop …

Buckets are moved while sales and projectors run; it ends when the new shard has taken over and the
old one has let go. Add the new shard to the configuration of every role afterwards.";
const TOKEN_HELP: &str = "\
Examples:
  curl -H \"Authorization: Bearer $(doorbuster token --user ann)\" …
  doorbuster token --user ops --admin --ttl 1h";
const LOG_HELP: &str = "\
Examples:
  doorbuster log verify --data ./data
  doorbuster log dump --partition 3 --limit 10 --json
  doorbuster log tail";
const AUDIT_HELP: &str = "\
Examples:
  doorbuster audit --data ./data
  doorbuster audit --data ./data --json | jq .divergences
  doorbuster audit --data ./data --repair           set the store right from the log
  doorbuster audit --data ./data --store postgres://…@db0/shop --store postgres://…@db1/shop

Name every shard of the store. Temporary files, about 400 bytes for each order, go to TMPDIR.";
const CONFIG_HELP: &str = "\
Examples:
  doorbuster config init > doorbuster.toml
  doorbuster config check --config doorbuster.toml
  doorbuster config show --origin --config doorbuster.toml";

/// Settings of one role, as clap arguments made from the table.
macro_rules! settings {
    ($(#[$doc:meta])* $name:ident, $role:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name(pub(crate) config::Given);

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(config::given($role, matches)))
            }
            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }

        impl Args for $name {
            fn augment_args(command: clap::Command) -> clap::Command {
                command.args(config::arguments($role))
            }
            fn augment_args_for_update(command: clap::Command) -> clap::Command {
                Self::augment_args(command)
            }
        }
    };
}

settings!(/** Settings of `serve`. */ ServeSettings, Role::Serve);
settings!(/** Settings of `engine`. */ EngineSettings, Role::Engine);
settings!(/** Settings of `edge`. */ EdgeSettings, Role::Edge);
settings!(/** Settings of `project`. */ ProjectSettings, Role::Project);
settings!(/** Settings of `token`. */ TokenSettings, Role::Token);
settings!(/** Settings of `log`. */ LogSettings, Role::Log);
settings!(/** Settings of `audit`. */ AuditSettings, Role::Audit);
settings!(/** Settings of `config`. */ AnySettings, Role::Any);

/// `serve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Serve {
    /// Print the addresses as one line of JSON instead of the banner
    #[arg(long, env = "DOORBUSTER_JSON")]
    pub(crate) json: bool,
    /// The settings.
    #[command(flatten)]
    pub(crate) settings: ServeSettings,
}

/// `demo`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Demo {
    /// Units on sale
    #[arg(long, default_value = "10000", value_parser = parse_u32, env = "DOORBUSTER_DEMO_STOCK")]
    pub(crate) stock: u32,
    /// Buyers, each with a limit of one unit
    #[arg(long, default_value = "100000", value_parser = parse_u32, env = "DOORBUSTER_DEMO_BUYERS")]
    pub(crate) buyers: u32,
    /// Orders per second, from the intended time on (open loop). Default: as fast as it goes
    #[arg(long, value_parser = units::count, env = "DOORBUSTER_DEMO_RATE")]
    pub(crate) rate: Option<u64>,
    /// Stop sending after so many seconds. Default: when every buyer has had a turn
    #[arg(long, value_parser = units::count, env = "DOORBUSTER_DEMO_SECONDS")]
    pub(crate) seconds: Option<u64>,
    /// Let so many buyers queue up; a share of the winners then cancels or does not pay, and what
    /// comes back goes to the waitlist, in order. 1000 places when no number follows
    #[arg(long, value_name = "PLACES", num_args = 0..=1, default_value = "0",
          default_missing_value = "1000", value_parser = parse_u32,
          env = "DOORBUSTER_DEMO_WAITLIST")]
    pub(crate) waitlist: u32,
    /// The seed of everything random, to run the same sale again
    #[arg(long, env = "DOORBUSTER_DEMO_SEED")]
    pub(crate) seed: Option<u64>,
    /// Print the summary as JSON, and no live line
    #[arg(long, env = "DOORBUSTER_DEMO_JSON")]
    pub(crate) json: bool,
    /// Fill these empty Postgres shards, `[NAME=]postgres://…` once for each, instead of a SQLite file
    #[arg(
        long,
        value_name = "STORE",
        value_delimiter = ',',
        env = "DOORBUSTER_DEMO_STORE",
        hide_env_values = true
    )]
    pub(crate) store: Vec<String>,
    /// Keep the data directory and say where it is
    #[arg(long, env = "DOORBUSTER_DEMO_KEEP")]
    pub(crate) keep: bool,
}

/// `project`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Project {
    /// Bring the tables of every Postgres shard up to this version, and end
    #[arg(long, conflicts_with = "move_buckets", env = "DOORBUSTER_PROJECT_MIGRATE")]
    pub(crate) migrate: bool,
    /// Move these buckets of buyers to the shard of --to, while sales run, and end
    #[arg(long, value_name = "RANGES", requires = "to", env = "DOORBUSTER_PROJECT_MOVE_BUCKETS")]
    pub(crate) move_buckets: Option<BucketSet>,
    /// The shard that buckets are moved to: one of --store, or a new and empty one
    #[arg(long, value_name = "[NAME=]URL", requires = "move_buckets", value_parser = named_url,
          env = "DOORBUSTER_PROJECT_TO", hide_env_values = true)]
    pub(crate) to: Option<NamedUrl>,
    /// The settings.
    #[command(flatten)]
    pub(crate) settings: ProjectSettings,
}

/// `token`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Token {
    /// Whom the token is for: a name or a UUID
    #[arg(long, value_name = "NAME|UUID", env = "DOORBUSTER_TOKEN_USER")]
    pub(crate) user: String,
    /// Let it administer: define products, confirm payments
    #[arg(long, env = "DOORBUSTER_TOKEN_ADMIN")]
    pub(crate) admin: bool,
    /// How long it is good for
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = units::duration,
          env = "DOORBUSTER_TOKEN_TTL")]
    pub(crate) ttl: Duration,
    /// The settings.
    #[command(flatten)]
    pub(crate) settings: TokenSettings,
}

/// `log`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Log {
    /// Read every frame and every event, and say whether all of them are sound
    #[command(after_help = LOG_HELP, after_long_help = with_codes(LOG_HELP))]
    Verify(LogSelection),
    /// Segments, snapshots, bytes and events of each partition
    #[command(after_help = LOG_HELP, after_long_help = with_codes(LOG_HELP))]
    Stats(LogSelection),
    /// Print events as lines, oldest first
    #[command(after_help = LOG_HELP, after_long_help = with_codes(LOG_HELP))]
    Dump(LogDump),
    /// Print the last events, then new ones as they become durable
    #[command(after_help = LOG_HELP, after_long_help = with_codes(LOG_HELP))]
    Tail(LogTail),
}

/// Which log, and how to print it.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogSelection {
    /// Only this partition
    #[arg(long, value_name = "N", env = "DOORBUSTER_LOG_PARTITION")]
    pub(crate) partition: Option<u16>,
    /// Print JSON
    #[arg(long, env = "DOORBUSTER_LOG_JSON")]
    pub(crate) json: bool,
    /// The settings.
    #[command(flatten)]
    pub(crate) settings: LogSettings,
}

/// `log dump`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogDump {
    /// Which log.
    #[command(flatten)]
    pub(crate) selection: LogSelection,
    /// The first sequence to print
    #[arg(long, value_name = "SEQUENCE", default_value = "1", env = "DOORBUSTER_LOG_FROM")]
    pub(crate) from: u64,
    /// Print at most so many events of each partition
    #[arg(long, value_parser = units::count, env = "DOORBUSTER_LOG_LIMIT")]
    pub(crate) limit: Option<u64>,
}

/// `log tail`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogTail {
    /// Which log.
    #[command(flatten)]
    pub(crate) selection: LogSelection,
    /// How many of the last events of each partition to begin with
    #[arg(long, value_parser = units::count, default_value = "10", env = "DOORBUSTER_LOG_LINES")]
    pub(crate) lines: u64,
    /// End after the last events instead of waiting for new ones
    #[arg(long, env = "DOORBUSTER_LOG_ONCE")]
    pub(crate) once: bool,
}

/// `audit`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Audit {
    /// Print the findings as JSON
    #[arg(long, env = "DOORBUSTER_AUDIT_JSON")]
    pub(crate) json: bool,
    /// Set the store right from the log where the two differ, and audit it again
    #[arg(long, env = "DOORBUSTER_AUDIT_REPAIR")]
    pub(crate) repair: bool,
    /// Let the engine's state machine replay partitions of up to so many orders beside the books; it
    /// takes about 200 bytes of memory for each
    #[arg(long, value_name = "N", value_parser = units::count, default_value = "2m",
          env = "DOORBUSTER_AUDIT_STATE_ORDERS_MAX")]
    pub(crate) state_orders_max: u64,
    /// The settings.
    #[command(flatten)]
    pub(crate) settings: AuditSettings,
}

/// `config`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Config {
    /// Print a commented file with every setting at its default
    #[command(after_help = CONFIG_HELP, after_long_help = with_codes(CONFIG_HELP))]
    Init(ConfigInit),
    /// Say whether file, environment and flags make a valid configuration
    #[command(after_help = CONFIG_HELP, after_long_help = with_codes(CONFIG_HELP))]
    Check(AnySettings),
    /// Print what is in effect; secrets are redacted
    #[command(after_help = CONFIG_HELP, after_long_help = with_codes(CONFIG_HELP))]
    Show(ConfigShow),
}

/// `config init`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigInit {
    /// Write to this new file instead of standard output
    #[arg(long, value_name = "FILE", env = "DOORBUSTER_CONFIG_OUTPUT")]
    pub(crate) output: Option<PathBuf>,
}

/// `config show`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConfigShow {
    /// Say where each value came from: default, file, environment or flag
    #[arg(long, env = "DOORBUSTER_CONFIG_ORIGIN")]
    pub(crate) origin: bool,
    /// Print JSON
    #[arg(long, env = "DOORBUSTER_CONFIG_JSON")]
    pub(crate) json: bool,
    /// The settings.
    #[command(flatten)]
    pub(crate) settings: AnySettings,
}

fn parse_u32(text: &str) -> Result<u32, String> {
    u32::try_from(units::count(text)?).map_err(|_| format!("`{text}` is too large"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_a_variable() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
                let has_variable = argument.get_env().is_some() || help.contains("[env: ");
                assert!(has_variable || ["help", "version"].contains(&id), "--{id} has none");
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn the_help_names_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        for exit in exit::Exit::ALL {
            assert!(help.contains(exit.meaning()), "{}", exit.meaning());
        }
    }

    #[test]
    fn serving_is_the_default_and_takes_the_same_flags() {
        for line in [&["doorbuster", "--http", ":0"][..], &["doorbuster", "serve", "--http", ":0"]]
        {
            let cli = Cli::try_parse_from(line).expect("a valid line");
            let serve = match cli.command {
                Some(Command::Serve(serve)) => serve,
                None => cli.serve,
                Some(other) => panic!("{other:?}"),
            };
            assert_eq!(serve.settings.0.flags, [("http", vec![":0".to_owned()])]);
        }
    }
}
