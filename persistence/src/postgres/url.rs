//! Where a database is, as an operator writes it: `postgres://user:password@host:port/database` or
//! `host=… user=… …`, several hosts and `target_session_attrs` included.
//!
//! Nothing that prints one shows the password: not `Debug`, not `Display`, not the refusal of a text
//! that is none.

use crate::postgres::tls::Encryption;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// What the servers see as the name of the program.
const APPLICATION_NAME: &str = "doorbuster";
/// The port of a host that names none.
const PORT_DEFAULT: u16 = 5432;
/// How long a silent peer is believed to be there: a host that is gone sends no reset.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// The URL of one database.
#[derive(Clone, PartialEq, Eq)]
pub struct ShardUrl {
    config: Config,
    encryption: Encryption,
    text: String,
}

/// Text that names no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is no Postgres URL: {0}. Write postgres://user:password@host:port/database, with @ / : ? \
     # and % in a password as %40 %2F %3A %3F %23 and %25"
)]
pub struct UrlError(String);

impl ShardUrl {
    /// How to connect, giving up on a host after `limit`.
    pub(super) fn config(&self, limit: Duration) -> Config {
        let mut config = self.config.clone();
        config.connect_timeout(limit);
        config.keepalives_idle(SILENCE_MAX / 2);
        config.tcp_user_timeout(SILENCE_MAX);
        if config.get_application_name().is_none() {
            config.application_name(APPLICATION_NAME);
        }
        config
    }

    /// How its connections are encrypted.
    pub(super) const fn encryption(&self) -> &Encryption {
        &self.encryption
    }

    /// How many hosts are tried in turn.
    pub(super) fn hosts(&self) -> usize {
        self.config.get_hosts().len().max(self.config.get_hostaddrs().len())
    }

    /// Host, port and database, for messages.
    pub fn place(&self) -> String {
        let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        format!("{}/{database}", self.hosts_and_ports())
    }

    /// Everything, the password included: only to be sealed.
    pub(super) fn expose(&self) -> &str {
        &self.text
    }

    fn hosts_and_ports(&self) -> String {
        let ports = self.config.get_ports();
        let port = |index: usize| match ports {
            [] => PORT_DEFAULT,
            [only] => *only,
            _ => ports.get(index).copied().unwrap_or(PORT_DEFAULT),
        };
        let named = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let mut hosts: Vec<_> = named.collect();
        if hosts.is_empty() {
            hosts = self.config.get_hostaddrs().iter().map(ToString::to_string).collect();
        }
        let pairs = hosts.iter().enumerate().map(|(index, host)| format!("{host}:{}", port(index)));
        pairs.collect::<Vec<_>>().join(",")
    }
}

impl FromStr for ShardUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        if !is_url && text.contains("://") {
            return Err(UrlError("its scheme is not postgres".into()));
        }
        let (rest, verifies, authorities) = without_verification(text, is_url)?;
        let config: Config = rest.parse().map_err(|error| UrlError(cause(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(UrlError("it names no host".into()));
        }
        let encryption = match (verifies, config.get_ssl_mode()) {
            (true, _) => Encryption::Verified { authorities },
            (false, _) if authorities.is_some() => {
                return Err(UrlError("its sslrootcert is only used by sslmode=verify-full".into()));
            }
            (false, SslMode::Disable) => Encryption::Off,
            (false, _) => Encryption::Unverified,
        };
        Ok(Self { config, encryption, text: text.to_owned() })
    }
}

/// Takes out what the parser does not know: whether the server is verified, and by whose certificates.
/// What is left asks for encryption instead.
fn without_verification(
    text: &str,
    is_url: bool,
) -> Result<(String, bool, Option<PathBuf>), UrlError> {
    let (mut verifies, mut authorities) = (false, None);
    let mut keep = |pair: &str| -> Result<bool, UrlError> {
        match pair.split_once('=') {
            Some(("sslmode", "verify-full")) => verifies = true,
            Some(("sslmode", "verify-ca")) => {
                return Err(UrlError("of sslmode=verify-ca only verify-full is known".into()));
            }
            Some(("sslmode", "allow")) => {
                return Err(UrlError("in place of sslmode=allow write prefer or disable".into()));
            }
            Some(("sslrootcert", path)) => authorities = Some(PathBuf::from(path)),
            _ => return Ok(true),
        }
        Ok(false)
    };
    let mut kept = Vec::new();
    // In a URL the options follow a question mark; what stands before may have an equals sign, too.
    let (head, pairs) = match (is_url, text.split_once('?')) {
        (true, Some((head, options))) => (head, options.split('&').collect::<Vec<_>>()),
        (true, None) => (text, Vec::new()),
        (false, _) => ("", text.split(' ').collect()),
    };
    for pair in pairs {
        if keep(pair)? {
            kept.push(pair);
        }
    }
    if verifies {
        kept.push("sslmode=require");
    }
    let rest = match is_url {
        true if kept.is_empty() => head.to_owned(),
        true => format!("{head}?{}", kept.join("&")),
        false => kept.join(" "),
    };
    Ok((rest, verifies, authorities))
}

/// What the parser says, unless it repeats more than the name of an option: that may be a password.
fn cause(error: &tokio_postgres::Error) -> String {
    let said = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    let is_option = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    match said.split('`').skip(1).step_by(2).all(is_option) && !said.is_empty() {
        true => said,
        false => "it cannot be read".into(),
    }
}

impl fmt::Display for ShardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            let secret = if self.config.get_password().is_some() { ":***" } else { "" };
            write!(f, "{user}{secret}@")?;
        }
        f.write_str(&self.place())
    }
}

impl fmt::Debug for ShardUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        fn check(text: &str, shown: &str) {
            let url: ShardUrl = text.parse().expect("a URL");
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(url.expose(), text);
        }
        check("postgres://shop:hunter2@db:6000/sale", "postgres://shop:***@db:6000/sale");
        check("postgresql://shop@db/sale", "postgres://shop@db:5432/sale");
        check("postgres://shop:a%40b@db", "postgres://shop:***@db:5432/shop");
        check(
            "postgres://shop:hunter2@a:1,b:2/sale?target_session_attrs=read-write",
            "postgres://shop:***@a:1,b:2/sale",
        );
        check("host=/run/pg user=shop password=hunter2", "postgres://shop:***@/run/pg:5432/shop");
        check("hostaddr=::1 user=shop dbname=sale", "postgres://shop@::1:5432/sale");
    }

    #[test]
    fn the_ways_to_encrypt_are_those_of_libpq() {
        fn check(options: &str, encryption: &Encryption, mode: SslMode) {
            for text in [
                format!("postgres://shop@db/sale?{}", options.replace(' ', "&")),
                format!("host=db user=shop dbname=sale {options}"),
            ] {
                let url: ShardUrl = text.parse().expect("a URL");
                assert_eq!((url.encryption(), url.config.get_ssl_mode()), (encryption, mode));
                assert_eq!(url.place(), "db:5432/sale");
            }
        }
        let verified =
            |path: Option<&str>| Encryption::Verified { authorities: path.map(Into::into) };
        check("connect_timeout=3", &Encryption::Unverified, SslMode::Prefer);
        check("sslmode=prefer", &Encryption::Unverified, SslMode::Prefer);
        check("sslmode=disable", &Encryption::Off, SslMode::Disable);
        check("sslmode=require", &Encryption::Unverified, SslMode::Require);
        check("sslmode=verify-full", &verified(None), SslMode::Require);
        let both = "sslrootcert=/etc/ca.pem sslmode=verify-full keepalives=1";
        check(both, &verified(Some("/etc/ca.pem")), SslMode::Require);
    }

    #[test]
    fn what_is_no_url_is_refused_without_showing_it() {
        fn check(text: &str, why: &str) {
            let error = text.parse::<ShardUrl>().expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        check("", "no host");
        check("hunter2", "unexpected EOF");
        check("mysql://shop:hunter2@db/sale", "scheme");
        check("postgre//shop:hunter2@db/sale?sslmode=disable", "cannot be read");
        check("postgres://shop:hunter2@db:hunter2/sale", "port");
        check("postgres://shop:hunter2@db/sale?sslmode=verify-ca", "verify-full");
        check("postgres://shop:hunter2@db/sale?sslmode=maybe", "sslmode");
        check("postgres://shop:hunter2@db/sale?sslrootcert=/ca.pem", "verify-full");
        check("postgres://shop:hunter2@db/sale?flavour=vanilla", "flavour");
        check("user=shop password=hunter2", "no host");
    }
}
