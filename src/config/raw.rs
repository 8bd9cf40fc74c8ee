//! The raw configuration: every setting's text and where it came from.
//!
//! A flag beats the environment, the environment beats the file, the file beats the default.
//! Nothing is interpreted here; [`super::validated`] does that.

use super::file;
use super::settings::{SETTINGS, Setting};
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody gave one.
    Default,
    /// The configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// Its column, from 1.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => write!(f, "--{name}"),
        }
    }
}

impl Origin {
    /// The kind of origin, as one word.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Environment(_) => "env",
            Self::Flag(_) => "flag",
        }
    }
}

/// Something that is wrong with the configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where.
    pub(crate) origin: Origin,
    /// What.
    pub(crate) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text)
    }
}

/// The texts of one setting, and where they came from.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The setting.
    pub(crate) setting: &'static Setting,
    /// Its values; several only for a setting that takes several, none when it has no default.
    pub(crate) values: Vec<String>,
    /// Where they came from.
    pub(crate) origin: Origin,
}

/// Flags of the command line: the name of a setting, and its values.
pub(crate) type Flags = Vec<(&'static str, Vec<String>)>;

/// Every setting's text, in the order of the table.
#[derive(Clone, Debug)]
pub(crate) struct RawConfig(Vec<Given>);

impl RawConfig {
    /// Lays flags over the environment over the file over the defaults. An empty variable counts
    /// as not set.
    pub(crate) fn layer(
        flags: &Flags,
        environment: impl Fn(&str) -> Option<String>,
        file: Option<(&Path, &str)>,
    ) -> (Self, Vec<Problem>) {
        let (entries, problems) = match file {
            Some((path, text)) => file::parse(path, text),
            None => (vec![], vec![]),
        };
        let given = SETTINGS.iter().map(|setting| {
            if let Some((name, values)) = flags.iter().find(|(name, _)| *name == setting.name) {
                return Given { setting, values: values.clone(), origin: Origin::Flag(name) };
            }
            let variable = setting.variable();
            if let Some(text) = environment(&variable).filter(|text| !text.is_empty()) {
                let values = match setting.many {
                    true => list(&text),
                    false => vec![text],
                };
                return Given { setting, values, origin: Origin::Environment(variable) };
            }
            if let Some(entry) = entries.iter().find(|entry| entry.setting.name == setting.name) {
                let (values, origin) = (entry.values.clone(), entry.origin.clone());
                return Given { setting, values, origin };
            }
            let default = Some(setting.default.to_owned()).filter(|text| !text.is_empty());
            Given { setting, values: default.into_iter().collect(), origin: Origin::Default }
        });
        (Self(given.collect()), problems)
    }

    /// The settings, in the order of the table.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Given> {
        self.0.iter()
    }

    /// One setting. Panics when the table has none of this name.
    pub(crate) fn get(&self, name: &str) -> &Given {
        self.0
            .iter()
            .find(|given| given.setting.name == name)
            .unwrap_or_else(|| panic!("the table of settings has no `{name}`"))
    }
}

/// A list in one text, with commas between. Those within a URL of several hosts
/// (`postgres://a,b/db`) part nothing: what follows them begins no value of its own.
fn list(text: &str) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    for piece in text.split(',').map(str::trim) {
        let begins_a_value = piece.contains("://") || piece.starts_with("sqlite");
        match values.last_mut() {
            Some(url) if url.contains("://") && !begins_a_value => {
                url.push(',');
                url.push_str(piece);
            }
            _ => values.push(piece.to_owned()),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        fn check(flag: bool, environment: bool, file: bool, value: &str, kind: &str) {
            let flags = if flag { vec![("http", vec!["flag".to_owned()])] } else { vec![] };
            let path = Path::new("x.toml");
            let (raw, problems) = RawConfig::layer(
                &flags,
                |name| (environment && name == "DOORBUSTER_HTTP").then(|| "env".to_owned()),
                file.then_some((path, "http = \"file\"")),
            );
            assert!(problems.is_empty());
            let given = raw.get("http");
            assert_eq!((given.values[0].as_str(), given.origin.kind()), (value, kind));
        }
        check(true, true, true, "flag", "flag");
        check(false, true, true, "env", "env");
        check(false, false, true, "file", "file");
        check(false, false, false, "127.0.0.1:8080", "default");
    }

    #[test]
    fn a_variable_can_hold_a_list() {
        let (raw, _) = RawConfig::layer(
            &vec![],
            |name| (name == "DOORBUSTER_ENGINE").then(|| "a:1, b:2".to_owned()),
            None,
        );
        assert_eq!(raw.get("engine").values, ["a:1", "b:2"]);
    }

    #[test]
    fn a_list_may_hold_urls_of_several_hosts() {
        fn check(text: &str, expected: &[&str]) {
            assert_eq!(list(text), expected, "{text}");
        }
        check("sqlite", &["sqlite"]);
        check("postgres://a/x, postgres://b/x", &["postgres://a/x", "postgres://b/x"]);
        check("postgres://a,b:2/x,n=postgres://c/x", &["postgres://a,b:2/x", "n=postgres://c/x"]);
    }
}
