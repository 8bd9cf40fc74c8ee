//! The secrets of a data directory: what signs bearer tokens, and the key of the binary protocol.
//!
//! Both are 32 random bytes, made at the first start, kept as hex in files that only their owner
//! may read. They are never printed. A secret in the configuration stands in place of the file.

use crate::config::validated::IssuerKey;
use crate::config::validated::parse_key;
use crate::config::{Config, Secret};
use crate::exit::{Exit, Failure};
use doorbuster_edge::{PublicKey, TokenKey, TokenRules, TokenSecret};
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const TOKEN_SECRET: &str = "token.secret";
const ENGINE_KEY: &str = "engine.key";

/// The secrets of one data directory, by path.
#[derive(Clone, Debug)]
pub(crate) struct Secrets(PathBuf);

impl Secrets {
    /// The secrets of the data directory at `data`.
    pub(crate) fn of(data: &Path) -> Self {
        Self(data.join("secrets"))
    }

    /// Makes what is missing. The data directory exists and is locked by the caller.
    pub(crate) fn make_missing(&self) -> Result<(), Failure> {
        let made = rustix::fs::mkdir(&self.0, Mode::from_raw_mode(0o700));
        if let Err(error) = made
            && error != rustix::io::Errno::EXIST
        {
            return Err(cannot_write(&self.0, &error.into()));
        }
        for name in [TOKEN_SECRET, ENGINE_KEY] {
            let path = self.0.join(name);
            if !path.exists() {
                write_random(&self.0, &path).map_err(|error| cannot_write(&path, &error))?;
            }
        }
        Ok(())
    }

    /// What signs bearer tokens: the configuration's, else the directory's.
    pub(crate) fn token_secret(&self, config: &Config) -> Result<Secret, Failure> {
        match &config.token_secret {
            Some(secret) => Ok(secret.clone()),
            // The bytes themselves are the secret, not their hex digits.
            None => Ok(Secret::new(self.read(TOKEN_SECRET)?.to_vec())
                .expect("a secret of the data directory has 32 bytes")),
        }
    }

    /// What bearer tokens must show: the signature of the local secret, or of somebody whose public
    /// key the configuration names.
    pub(crate) fn token_rules(&self, config: &Config) -> Result<TokenRules, Failure> {
        let key = match &config.token_issuer_key {
            Some(issuer) => TokenKey::Public(read_public_key(issuer)?),
            None => {
                let secret = self.token_secret(config)?;
                let secret = TokenSecret::new(secret.expose());
                TokenKey::Secret(secret.expect("a secret of this program is long enough"))
            }
        };
        let (issuer, audience) = (config.token_issuer.clone(), config.token_audience.clone());
        Ok(TokenRules { key, issuer, audience })
    }

    /// The key of the binary protocol: the configuration's, else the directory's.
    pub(crate) fn engine_key(&self, config: &Config) -> Result<[u8; 32], Failure> {
        config.engine_key.map_or_else(|| self.read(ENGINE_KEY), Ok)
    }

    fn read(&self, name: &str) -> Result<[u8; 32], Failure> {
        let path = self.0.join(name);
        let text = fs::read_to_string(&path).map_err(|error| {
            let exit = match error.kind() {
                io::ErrorKind::NotFound => Exit::NoDataDirectory,
                _ => Exit::Failure,
            };
            Failure::new(exit, format!("cannot read the secret {}", path.display())).why(error).next(
                "name the data directory with --data (its first start makes the secrets), or give \
                 the secret itself in DOORBUSTER_TOKEN_SECRET or DOORBUSTER_ENGINE_KEY",
            )
        })?;
        parse_key(&text).ok_or_else(|| {
            Failure::new(Exit::Failure, format!("{} is no secret", path.display()))
                .why("it should hold 64 hex digits")
                .next(
                    "restore the file from a backup; after deleting it, a new one is made at the \
                       next start and every token that was printed before is void",
                )
        })
    }
}

fn read_public_key(issuer: &IssuerKey) -> Result<PublicKey, Failure> {
    let IssuerKey { algorithm, file } = issuer;
    let what = format!("{} is no public key for bearer tokens", file.display());
    let next = "name the PEM file of the issuer's public key with --token-public-key";
    let text = fs::read_to_string(file)
        .map_err(|error| Failure::new(Exit::Configuration, &what).why(error).next(next))?;
    PublicKey::from_pem(*algorithm, &text)
        .map_err(|error| Failure::new(Exit::Configuration, &what).why(error).next(next))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("cannot write {}", path.display()))
        .why(error)
        .next("make the data directory writable for this user, or choose another with --data")
}

/// Written beside, synced, then renamed: a secret is there whole or not at all.
fn write_random(directory: &Path, path: &Path) -> io::Result<()> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    text.push('\n');
    let unfinished = path.with_extension("new");
    let mut file = fs::File::from(rustix::fs::open(
        &unfinished,
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o600),
    )?);
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::raw::RawConfig;
    use std::os::unix::fs::PermissionsExt;

    fn default_config() -> Config {
        let (raw, _) = RawConfig::layer(&vec![], |_| None, None);
        Config::validate(&raw).expect("the defaults are valid")
    }

    #[test]
    fn secrets_are_made_once_and_only_their_owner_reads_them() {
        let data = tempfile::tempdir().expect("a directory");
        let secrets = Secrets::of(data.path());
        secrets.make_missing().expect("made");
        let config = default_config();
        let first = secrets.token_secret(&config).expect("there");
        let key = secrets.engine_key(&config).expect("there");
        assert_ne!(first.expose(), key);
        secrets.make_missing().expect("nothing to do");
        assert!(secrets.token_secret(&config).expect("there") == first);
        for name in [TOKEN_SECRET, ENGINE_KEY] {
            let path = data.path().join("secrets").join(name);
            let mode = fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_missing_and_a_damaged_secret_are_told_apart() {
        let data = tempfile::tempdir().expect("a directory");
        let secrets = Secrets::of(data.path());
        let missing = secrets.engine_key(&default_config()).expect_err("missing");
        assert_eq!(missing.exit(), Exit::NoDataDirectory);
        secrets.make_missing().expect("made");
        fs::write(data.path().join("secrets").join(ENGINE_KEY), "half").expect("written");
        let damaged = secrets.engine_key(&default_config()).expect_err("damaged");
        assert_eq!(damaged.exit(), Exit::Failure);
    }
}
