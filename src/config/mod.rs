//! Configuration: a raw one gathered from flags, environment, file and defaults, and a validated
//! one that the roles run on.
//!
//! | module | what it owns |
//! |---|---|
//! | [`settings`] | the table of every setting |
//! | [`mod@file`] | the TOML file, with line and column of every mistake |
//! | [`raw`] | who wins: flag, environment, file, default |
//! | [`validated`] | values with a meaning and in range |
//! | [`stores`] | the store: one file, or shards and what belongs to them |
//! | [`show`] | a configuration as text: `config init` and `config show` |
//! | [`spelling`] | what a misspelled setting may have meant |
//! | [`mod@log_filter`] | what is logged |
//! | [`units`] | numbers as people write them |

mod file;
mod log_filter;
pub(crate) mod raw;
pub(crate) mod settings;
pub(crate) mod show;
mod spelling;
pub(crate) mod stores;
pub(crate) mod units;
pub(crate) mod validated;

pub(crate) use log_filter::log_filter;
pub(crate) use stores::StoreChoice;
pub(crate) use validated::{Config, LogFormat, Secret};

use crate::exit::{Exit, Failure};
use raw::{Flags, Origin, Problem, RawConfig};
use settings::Role;
use std::path::{Path, PathBuf};

/// The settings that one command line gave: flags, and the file that it names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// The flags.
    pub(crate) flags: Flags,
    /// `--config` or `DOORBUSTER_CONFIG`.
    pub(crate) file: Option<PathBuf>,
}

/// Reads the file, lays the layers over each other, and gives the texts a meaning.
pub(crate) fn load(given: &Given) -> Result<Config, Failure> {
    let (raw, mut problems) = read(given)?;
    match Config::validate(&raw) {
        Ok(config) if problems.is_empty() => Ok(config),
        Ok(_) => Err(refusal(&problems)),
        Err(more) => {
            problems.extend(more);
            Err(refusal(&problems))
        }
    }
}

/// Reads the file and lays the layers over each other.
pub(crate) fn read(given: &Given) -> Result<(RawConfig, Vec<Problem>), Failure> {
    let text = match &given.file {
        Some(path) => Some((path.as_path(), read_file(path)?)),
        None => None,
    };
    let file = text.as_ref().map(|(path, text)| (*path, text.as_str()));
    Ok(RawConfig::layer(&given.flags, |name| std::env::var(name).ok(), file))
}

fn read_file(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::new(Exit::Configuration, format!("cannot read {}", path.display()))
            .why(error)
            .next("write one with: doorbuster config init > doorbuster.toml")
    })
}

/// All problems as one failure: a wrong flag alone is wrong usage, anything else is configuration.
pub(crate) fn refusal(problems: &[Problem]) -> Failure {
    let only_flags = problems.iter().all(|problem| matches!(problem.origin, Origin::Flag(_)));
    let exit = if only_flags { Exit::Usage } else { Exit::Configuration };
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Failure::new(exit, "the configuration is wrong")
        .why(lines.join("\n"))
        .next("mend it, then see what is in effect with: doorbuster config show --origin")
}

/// The arguments of the settings that a role takes, for clap.
pub(crate) fn arguments(role: Role) -> Vec<clap::Arg> {
    let mut arguments: Vec<clap::Arg> = settings::SETTINGS
        .iter()
        .filter(|setting| setting.is_for(role) && !setting.secret)
        .map(|setting| {
            let many = if setting.many { "; repeatable" } else { "" };
            clap::Arg::new(setting.name)
                .long(setting.name)
                .value_name(setting.value)
                .help(format!(
                    "{}{many} [default: {}] [env: {}]",
                    setting.about,
                    setting.default,
                    setting.variable()
                ))
                .action(clap::ArgAction::Append)
                .hide_short_help(!setting.basic)
        })
        .collect();
    arguments.push(
        clap::Arg::new("config")
            .long("config")
            .value_name("FILE")
            .help("A configuration file in TOML; `config init` writes one [env: DOORBUSTER_CONFIG]")
            .value_parser(clap::value_parser!(PathBuf)),
    );
    arguments
}

/// What a parsed command line gave of them. A flag that is repeated without need: the last counts.
pub(crate) fn given(role: Role, matches: &clap::ArgMatches) -> Given {
    let flags = settings::SETTINGS
        .iter()
        .filter(|setting| setting.is_for(role) && !setting.secret)
        .filter_map(|setting| {
            let values = matches.get_many::<String>(setting.name)?.cloned().collect();
            Some((setting.name, values))
        })
        .collect();
    let file = matches.get_one::<PathBuf>("config").cloned().or_else(|| {
        std::env::var_os("DOORBUSTER_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from)
    });
    Given { flags, file }
}
