//! Every setting, once: its name, what it means, its default, and which roles take it.
//!
//! One name has three spellings: the flag `--edge-threads`, the variable `DOORBUSTER_EDGE_THREADS`,
//! and the key `edge-threads` of the file. Flags, `--help`, `config init`, `config show` and the
//! reading of the file all come from this table.

/// A way to run that takes settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything in one process.
    Serve,
    /// An engine node alone.
    Engine,
    /// An edge alone.
    Edge,
    /// A projector alone.
    Project,
    /// Printing a token.
    Token,
    /// Reading a log.
    Log,
    /// Comparing log and store.
    Audit,
    /// `config`: every setting.
    Any,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    /// Its name, in kebab case.
    pub(crate) name: &'static str,
    /// What stands for its value in `--help`.
    pub(crate) value: &'static str,
    /// Its default, as one would write it; empty when there is none.
    pub(crate) default: &'static str,
    /// What it means, in a sentence or two.
    pub(crate) about: &'static str,
    /// Which roles take it.
    pub(crate) roles: &'static [Role],
    /// Whether the short help shows it.
    pub(crate) basic: bool,
    /// Whether it may be given more than once (a list in the file).
    pub(crate) many: bool,
    /// A secret has no flag, since command lines can be read by everyone, and is never shown.
    pub(crate) secret: bool,
}

use Role::{Audit, Edge, Engine, Log, Project, Serve, Token};

const NONE: Setting = Setting {
    name: "",
    value: "",
    default: "",
    about: "",
    roles: &[Serve, Engine, Edge, Project],
    basic: false,
    many: false,
    secret: false,
};

/// All settings, in the order in which people meet them.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        name: "data",
        value: "DIR",
        default: "./data",
        about: "The data directory: logs, snapshots, the embedded store and the secrets",
        roles: &[Serve, Engine, Edge, Project, Token, Log, Audit],
        basic: true,
        ..NONE
    },
    Setting {
        name: "http",
        value: "ADDRESS",
        default: "127.0.0.1:8080",
        about: "Where buyers are served. Port 0 takes a free one",
        roles: &[Serve, Edge],
        basic: true,
        ..NONE
    },
    Setting {
        name: "admin",
        value: "ADDRESS|off",
        default: "127.0.0.1:8081",
        about: "Where /metrics and /health are served",
        basic: true,
        ..NONE
    },
    Setting {
        name: "store",
        value: "STORE",
        default: "sqlite",
        about: "Where results live for queries: `sqlite` (a file in the data directory), \
                `sqlite:PATH`, or Postgres shards: `[NAME=]postgres://USER:PASSWORD@HOST/DATABASE`, \
                once for each. Shards without a name are shard-0, shard-1, … in order",
        roles: &[Serve, Edge, Project, Audit],
        many: true,
        basic: true,
        ..NONE
    },
    Setting {
        name: "store-buckets",
        value: "RANGES;…|even",
        default: "even",
        about: "Which of the buyers' buckets 0 to 1023 each new shard owns, in the order of the \
                shards: `0-511; 512-1023`. Fixed when the shards are first used; later they know it \
                themselves, and `project --move-buckets` changes it",
        roles: &[Serve, Edge, Project, Audit],
        ..NONE
    },
    Setting {
        name: "store-reads",
        value: "URL",
        about: "Where a shard's primary is asked, when not directly: a PgBouncer in transaction \
                mode, as `[NAME=]postgres://…`, in the order of the shards or by name",
        roles: &[Serve, Edge],
        many: true,
        ..NONE
    },
    Setting {
        name: "store-replica",
        value: "URL",
        about: "A shard's streaming replica, as `[NAME=]postgres://…`, in the order of the shards \
                or by name. It answers what need not be of this moment",
        roles: &[Serve, Edge],
        many: true,
        ..NONE
    },
    Setting {
        name: "store-replica-lag",
        value: "TIME",
        default: "2s",
        about: "How far a replica may be behind and still be asked",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "store-pool",
        value: "COUNT",
        default: "8",
        about: "Connections to each shard's primary for queries, at most; writing takes one more",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "store-replica-pool",
        value: "COUNT",
        default: "8",
        about: "Connections to each shard's replica, at most",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "store-connect-timeout",
        value: "TIME",
        default: "1s",
        about: "How long connecting to a shard may take",
        roles: &[Serve, Edge, Project, Audit],
        ..NONE
    },
    Setting {
        name: "store-timeout",
        value: "TIME",
        default: "1500ms",
        about: "How long a shard may take for a query",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "store-write-timeout",
        value: "TIME",
        default: "30s",
        about: "How long a shard may take for one statement of a batch",
        roles: &[Serve, Project, Audit],
        ..NONE
    },
    Setting {
        name: "store-breaker-failures",
        value: "COUNT",
        default: "5",
        about: "After so many failures in a row a shard is not asked for a while: its buyers' lists \
                are answered 503 at once",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "store-breaker-pause",
        value: "TIME",
        default: "1s",
        about: "How long such a shard is left alone before it is tried again",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "cores",
        value: "N|auto",
        default: "auto",
        about: "Engine cores, each a pinned thread. auto: half of the CPUs when serving, all of \
                them as an engine",
        roles: &[Serve, Engine],
        basic: true,
        ..NONE
    },
    Setting {
        name: "edge-threads",
        value: "N|auto",
        default: "auto",
        about: "Edge threads. auto: the CPUs that the engine leaves, all of them as an edge",
        roles: &[Serve, Edge],
        basic: true,
        ..NONE
    },
    Setting {
        name: "partitions",
        value: "N",
        default: "16",
        about: "Partitions of a new data directory, at most 4096. Fixed at its making; later \
                starts ignore it",
        roles: &[Serve, Engine],
        basic: true,
        ..NONE
    },
    Setting {
        name: "engine-listen",
        value: "ADDRESS|auto",
        default: "auto",
        about: "Where core 0 listens for edges and projectors; core i listens i ports higher. \
                auto: free loopback ports when serving, 127.0.0.1:7400 as an engine",
        roles: &[Serve, Engine],
        ..NONE
    },
    Setting {
        name: "engine",
        value: "ADDRESS",
        default: "127.0.0.1:7400",
        about: "Any core of the engine; the others are learned from it",
        roles: &[Edge, Project],
        many: true,
        basic: true,
        ..NONE
    },
    Setting {
        name: "segment-size",
        value: "SIZE",
        default: "32MiB",
        about: "Bytes of one log segment",
        roles: &[Serve, Engine],
        ..NONE
    },
    Setting {
        name: "high-water",
        value: "SIZE",
        default: "4GiB",
        about: "Log bytes that may wait for the store in one partition; past it new orders are \
                refused as overloaded",
        roles: &[Serve, Engine],
        ..NONE
    },
    Setting {
        name: "memory-reserve",
        value: "SIZE|off",
        default: "1GiB",
        about: "Memory that is held at the most for orders to come: as much as the units on sale \
                would need, but never more than an eighth of what the machine has left. It is \
                taken while there is little to do, and given back as orders come, 32 MiB at a \
                time. off: none; a sale waits until the system has found its memory",
        roles: &[Serve, Engine],
        ..NONE
    },
    Setting {
        name: "order-timeout",
        value: "TIME",
        default: "2s",
        about: "How long the edge waits for the engine before it answers 503 `timeout`",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "order-wait",
        value: "TIME|off",
        default: "1500ms",
        about: "How long a new order may wait for its turn when more come than can be served, at \
                most three quarters of `order-timeout`; then it is answered 503 `overloaded`. off: \
                orders take no turns",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "in-flight",
        value: "COUNT",
        default: "4096",
        about: "Requests per edge thread and core that may wait for an answer; past it 503 at once",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "body-size",
        value: "SIZE",
        default: "16KiB",
        about: "The largest request body that the edge takes",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "header-timeout",
        value: "TIME",
        default: "5s",
        about: "How long a client may take to send its request head",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "body-timeout",
        value: "TIME",
        default: "5s",
        about: "How long a client may take to send a body",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "body-rate",
        value: "SIZE/s|off",
        default: "1KiB/s",
        about: "The least that must arrive of a body in each second after its first",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "idle-timeout",
        value: "TIME",
        default: "75s",
        about: "How long a connection may rest between requests",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "write-timeout",
        value: "TIME",
        default: "10s",
        about: "How long a client may take to take its answer",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "connections",
        value: "COUNT|auto",
        default: "auto",
        about: "Open connections of buyers, over all edge threads. When there are more, those go \
                that have rested longest. auto: what the limit of open files (ulimit -n) leaves, \
                16384 for each thread at the most",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "connections-per-address",
        value: "COUNT|auto|off",
        default: "auto",
        about: "Open connections of one client address; more are answered 429. auto: 1024, and any \
                number from this machine. Behind a proxy on another machine, which is one address \
                for all of its clients, set it to `off`",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "bad-token-rate-limit",
        value: "N/s|off",
        default: "1k/s",
        about: "How often one client address may come with tokens that are not valid. Past it, \
                tokens from there that were not seen before are looked at in a quarter of a \
                thread's time, and answered 429 when that is used up",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "rate-limit",
        value: "N/s|off",
        default: "off",
        about: "How often one buyer may ask: `20/s`, or `20/s burst 100`. Administrators are exempt",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "anonymous-rate-limit",
        value: "N/s|off",
        default: "off",
        about: "How often one client address may ask without a token, for edges that clients reach \
                without a proxy",
        roles: &[Serve, Edge],
        ..NONE
    },
    Setting {
        name: "token-algorithm",
        value: "NAME",
        default: "HS256",
        about: "How bearer tokens are signed: HS256 with the secret, or RS256, PS256, ES256, EdDSA \
                by an issuer whose public key is given",
        roles: &[Serve, Edge, Token],
        ..NONE
    },
    Setting {
        name: "token-public-key",
        value: "FILE",
        about: "The public key of that issuer, a PEM file",
        roles: &[Serve, Edge, Token],
        ..NONE
    },
    Setting {
        name: "token-issuer",
        value: "TEXT",
        about: "What bearer tokens must name as `iss`",
        roles: &[Serve, Edge, Token],
        ..NONE
    },
    Setting {
        name: "token-audience",
        value: "TEXT",
        about: "What must be among the `aud` of bearer tokens",
        roles: &[Serve, Edge, Token],
        ..NONE
    },
    Setting {
        name: "token-secret",
        value: "TEXT",
        about: "The HS256 secret that signs bearer tokens, at least 32 bytes. Default: a random \
                one in the data directory, made at the first start",
        roles: &[Serve, Edge, Token],
        secret: true,
        ..NONE
    },
    Setting {
        name: "engine-key",
        value: "HEX",
        about: "The key that edges and projectors prove to the engine, 64 hex digits. Default: a \
                random one in the data directory, made at the first start",
        secret: true,
        ..NONE
    },
    Setting {
        name: "log-format",
        value: "auto|pretty|json",
        default: "auto",
        about: "How log lines look. auto: JSON under systemd, else pretty",
        ..NONE
    },
    Setting {
        name: "log-level",
        value: "LEVEL",
        default: "info",
        about: "error, warn, info, debug, trace, or a tracing filter such as `info,glommio=warn`",
        ..NONE
    },
];

impl Setting {
    /// Its environment variable.
    pub(crate) fn variable(&self) -> String {
        variable(self.name)
    }
    /// Whether `role` takes it.
    pub(crate) fn is_for(&self, role: Role) -> bool {
        role == Role::Any || self.roles.contains(&role)
    }
}

/// The environment variable of a name.
pub(crate) fn variable(name: &str) -> String {
    format!("DOORBUSTER_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// The setting of this name.
pub(crate) fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_kebab_case() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            assert!(
                setting.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{}",
                setting.name
            );
            assert!(SETTINGS[..index].iter().all(|other| other.name != setting.name));
            assert!(!setting.about.is_empty() && !setting.about.ends_with('.'), "{}", setting.name);
        }
    }
}
