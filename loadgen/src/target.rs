//! Where the load goes, and the refusal to load a machine that is not this one.
//!
//! A load generator pointed at the wrong address is a weapon, so only loopback addresses are taken
//! unless the plan says otherwise in so many words.

use doorbuster_protocol::handshake::PreSharedKey;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

/// What is loaded.
#[derive(Clone, Debug)]
pub enum Target {
    /// An HTTP edge.
    Http(HttpTarget),
    /// Engine cores, over the binary protocol. Any core's address does: it tells the others.
    Binary(Vec<SocketAddr>, PreSharedKey),
}

/// An HTTP edge: its address, and the name by which it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTarget {
    address: SocketAddr,
    host: String,
    base: String,
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Something other than `http://`.
    #[error("`{0}` is no address that can be loaded: write http://HOST:PORT (TLS is not spoken)")]
    Scheme(String),
    /// No address stands behind the host.
    #[error("`{host}` does not resolve: {reason}. Write an address such as 127.0.0.1:8080")]
    Unresolved {
        /// The host and port.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Another machine, and nobody said that this is meant.
    #[error(
        "{0} is not this machine. Only loopback addresses are loaded, so that a slip of the \
         fingers harms nobody; if it is yours to load, say --allow-remote"
    )]
    Remote(SocketAddr),
}

impl HttpTarget {
    /// The edge at `address`.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, host: address.to_string(), base: String::new() }
    }

    /// From `http://host[:port][/base]`; the scheme may be left out.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(TargetError::Scheme(url.to_owned())),
            None => url,
        };
        let (host, base) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if host.is_empty() || host.contains(['@', ' ', '?', '#']) || base.contains([' ', '?', '#'])
        {
            return Err(TargetError::Scheme(url.to_owned()));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let unresolved =
            |reason: String| TargetError::Unresolved { host: with_port.clone(), reason };
        let address = with_port
            .to_socket_addrs()
            .map_err(|error| unresolved(error.to_string()))?
            .min_by_key(SocketAddr::is_ipv6)
            .ok_or_else(|| unresolved("no address".to_owned()))?;
        Ok(Self { address, host: host.to_owned(), base: base.trim_end_matches('/').to_owned() })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// What stands in the `Host` header.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// What stands before every path; mostly nothing.
    pub fn base(&self) -> &str {
        &self.base
    }
}

impl Target {
    /// The HTTP edge at `address`.
    pub fn http(address: SocketAddr) -> Self {
        Self::Http(HttpTarget::new(address))
    }

    /// Whether every address is this machine; the first that is not, otherwise.
    pub fn check_local(&self) -> Result<(), TargetError> {
        let remote = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
        let found = match self {
            Self::Http(http) => Some(http.address).filter(remote),
            Self::Binary(seeds, _) => seeds.iter().copied().find(|seed| remote(seed)),
        };
        found.map_or(Ok(()), |address| Err(TargetError::Remote(address)))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(http) => write!(f, "http://{}{}", http.host, http.base),
            Self::Binary(seeds, _) => {
                f.write_str("binary ")?;
                for (index, seed) in seeds.iter().enumerate() {
                    write!(f, "{}{seed}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        fn check(url: &str, want: Option<(&str, &str, &str)>) {
            let got = HttpTarget::parse(url).ok();
            let got = got.as_ref().map(|t| (t.address().to_string(), t.host(), t.base()));
            let got = got.as_ref().map(|(address, host, base)| (address.as_str(), *host, *base));
            assert_eq!(got, want, "{url}");
        }
        check("http://127.0.0.1:8080", Some(("127.0.0.1:8080", "127.0.0.1:8080", "")));
        check("127.0.0.1:8080/", Some(("127.0.0.1:8080", "127.0.0.1:8080", "")));
        check("http://127.0.0.1/api/v1/", Some(("127.0.0.1:80", "127.0.0.1", "/api/v1")));
        check("http://[::1]:81", Some(("[::1]:81", "[::1]:81", "")));
        check("https://127.0.0.1:8080", None);
        check("ftp://127.0.0.1", None);
        check("http://", None);
        check("http://127.0.0.1:1/?a", None);
        check("http://a b:1", None);
    }

    #[test]
    fn another_machine_is_refused() {
        fn check(address: &str, is_local: bool) {
            let target = Target::http(address.parse().expect("an address"));
            assert_eq!(target.check_local().is_ok(), is_local, "{address}");
        }
        check("127.0.0.1:1", true);
        check("127.9.8.7:1", true);
        check("[::1]:1", true);
        check("[::ffff:127.0.0.1]:1", true);
        check("192.0.2.1:1", false);
        check("[2001:db8::1]:1", false);
        check("0.0.0.0:1", false);
    }

    #[test]
    fn one_remote_core_is_enough_to_refuse() {
        let seeds = vec![
            "127.0.0.1:1".parse().expect("an address"),
            "192.0.2.7:1".parse().expect("an address"),
        ];
        let target = Target::Binary(seeds, PreSharedKey::new([7; 32]));
        let error = target.check_local().expect_err("it is remote");
        assert!(error.to_string().contains("--allow-remote"), "{error}");
    }
}
