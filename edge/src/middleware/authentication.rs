//! Who asks: the bearer token of a request, verified once per token and thread.
//!
//! What was verified is remembered under the token's own bytes, in two generations: when the young
//! one is full, the old one goes. So the memory is bounded and a token in use stays.
//!
//! A new token of an address from which too many came that were none is verified in spare time.

use super::rate_limit::RateLimits;
use super::spare_time::SpareTime;
use crate::limits::GENERATION_TOKENS_MAX;
use crate::metrics::{Rejected, ThreadMetrics};
use crate::problem::{Code, Problem};
use crate::token::{Identity, TokenError, TokenKey, TokenRules, Verifier};
use doorbuster_protocol::Timestamp;
use hyper::{HeaderMap, header};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

/// Verifies the tokens of one thread.
#[derive(Debug)]
pub(crate) struct Authentication {
    verifier: Verifier,
    /// Where tokens come from, for those who have none.
    source: &'static str,
    verified: RefCell<Generations>,
    spare: SpareTime,
}

/// Where a token comes from. It matters for one that was not seen before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) limits: &'a RateLimits,
    pub(crate) metrics: &'a ThreadMetrics,
    pub(crate) address: IpAddr,
    /// Whether its connection has brought a token that was none.
    pub(crate) has_brought_bad: &'a Cell<bool>,
    pub(crate) now: Instant,
}

/// Hashed several times as fast as the standard way. Its stronger promise is not needed, as only
/// tokens with a good signature are ever put in.
type Known = HashMap<Box<[u8]>, Identity, foldhash::fast::RandomState>;

#[derive(Debug, Default)]
struct Generations {
    young: Known,
    old: Known,
}

impl Authentication {
    /// For tokens as `rules` want them; an error when no token can be checked with those.
    pub(crate) fn new(rules: &TokenRules) -> Result<Self, TokenError> {
        let source = match rules.key {
            TokenKey::Secret(_) => "`doorbuster token` prints a token",
            TokenKey::Public(_) => "Get a token where you sign in",
        };
        let verifier = Verifier::new(rules)?;
        Ok(Self { verifier, source, verified: RefCell::default(), spare: SpareTime::default() })
    }

    /// Who asks with these headers, which come from `origin`.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        origin: Origin<'_>,
    ) -> Result<Identity, Problem> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            let what = "There is no Authorization header. Send `Authorization: Bearer TOKEN`";
            return Err(self.missing(what));
        };
        let Some(token) = bearer(value.as_bytes()) else {
            let what = "The Authorization header is not of the form `Bearer TOKEN`";
            return Err(self.missing(what));
        };
        let now_seconds = now.micros() / 1_000_000;
        if let Some(identity) = self.verified.borrow_mut().get(token) {
            if identity.until_seconds >= now_seconds {
                return Ok(identity);
            }
            return Err(refused(&TokenError::Expired));
        }
        let identity = self.verify(token, origin)?;
        self.verified.borrow_mut().insert(token, identity);
        Ok(identity)
    }

    /// Looks at a new token, if its origin is good enough or there is time.
    fn verify(&self, token: &[u8], origin: Origin<'_>) -> Result<Identity, Problem> {
        let Origin { limits, metrics, address, has_brought_bad, now } = origin;
        let too_many = limits.admit_new_token(address, now).err();
        let is_one_too_many = too_many.is_some();
        let began = Instant::now();
        if let Some(problem) = too_many
            && !self.spare.is_there(began, has_brought_bad.get())
        {
            metrics.rejected(Rejected::BadTokens);
            return Err(problem);
        }
        let verdict = self.verifier.verify(token);
        if is_one_too_many {
            self.spare.spend(began, began.elapsed());
        }
        verdict.map_err(|error| {
            has_brought_bad.set(true);
            limits.token_was_bad(address, now);
            if is_one_too_many {
                metrics.rejected(Rejected::BadTokens);
            }
            refused(&error)
        })
    }

    fn missing(&self, what: &str) -> Problem {
        Problem::new(Code::Unauthenticated, format!("{what}. {}", self.source))
            .header("Bearer realm=\"doorbuster\"")
    }
}

impl Generations {
    fn get(&mut self, token: &[u8]) -> Option<Identity> {
        if let Some(identity) = self.young.get(token) {
            return Some(*identity);
        }
        let (token, identity) = self.old.remove_entry(token)?;
        self.put(token, identity);
        Some(identity)
    }

    fn insert(&mut self, token: &[u8], identity: Identity) {
        self.put(token.into(), identity);
    }

    fn put(&mut self, token: Box<[u8]>, identity: Identity) {
        if self.young.len() >= GENERATION_TOKENS_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, identity);
    }
}

/// Passes administrators only.
pub(crate) fn require_admin(identity: &Identity) -> Result<(), Problem> {
    if identity.admin {
        return Ok(());
    }
    Err(Problem::new(
        Code::Forbidden,
        "This needs a token with `role: admin`. `doorbuster token --admin` prints one",
    ))
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

fn refused(error: &TokenError) -> Problem {
    if let TokenError::Crypto(_) = error {
        tracing::error!(%error, "tokens cannot be verified");
    }
    Problem::new(Code::Unauthenticated, format!("{error}. Ask for a new token"))
        .header("Bearer realm=\"doorbuster\", error=\"invalid_token\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EdgeConfig, RateLimit};
    use crate::metrics::EdgeMetrics;
    use crate::token::{TokenSecret, mint};
    use doorbuster_protocol::handshake::PreSharedKey;
    use hyper::header::HeaderValue;
    use std::time::Duration;

    fn secret() -> TokenSecret {
        TokenSecret::new([9; 32]).unwrap()
    }

    fn with(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        headers
    }

    /// An address, with a limit of bad tokens or none, and what is counted of it.
    struct Place {
        limits: RateLimits,
        metrics: EdgeMetrics,
    }

    impl Place {
        fn with(limit: Option<RateLimit>) -> Self {
            let anywhere = "127.0.0.1:0".parse().unwrap();
            let key = PreSharedKey::new([1; 32]);
            let config = EdgeConfig {
                bad_token_rate_limit: limit,
                ..EdgeConfig::new(anywhere, vec![anywhere], key, secret())
            };
            Self { limits: RateLimits::new(&config), metrics: EdgeMetrics::new(1) }
        }

        /// Asks on a connection of this address.
        fn ask(
            &self,
            authentication: &Authentication,
            headers: &HeaderMap,
            now: Timestamp,
            has_brought_bad: &Cell<bool>,
        ) -> Result<Identity, Problem> {
            let origin = Origin {
                limits: &self.limits,
                metrics: &self.metrics.thread(0),
                address: "192.0.2.1".parse().unwrap(),
                has_brought_bad,
                now: Instant::now(),
            };
            authentication.identify(headers, now, origin)
        }

        fn bad_tokens(&self) -> u64 {
            let rejected = self.metrics.snapshot().rejected;
            rejected.iter().find(|(reason, _)| *reason == "bad-tokens").unwrap().1
        }
    }

    fn ask(
        authentication: &Authentication,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Identity, Problem> {
        Place::with(None).ask(authentication, headers, now, &Cell::new(false))
    }

    #[test]
    fn past_the_limit_of_an_address_new_tokens_are_looked_at_in_spare_time() {
        let authentication = Authentication::new(&secret().into()).unwrap();
        let place = Place::with(RateLimit::new(1, 2).ok());
        let (forger, buyer) = (Cell::new(false), Cell::new(false));
        let check = |value: &str, from: &Cell<bool>, expected: Option<Code>, counted: u64| {
            let answer = place.ask(&authentication, &with(value), crate::time::now(), from);
            assert_eq!(answer.err().map(|problem| problem.code()), expected, "{value}");
            assert_eq!(place.bad_tokens(), counted, "{value}");
        };
        let good = |name: &str| {
            format!("Bearer {}", mint(&secret(), name, false, Duration::from_secs(60)).unwrap())
        };
        for _ in 0..20 {
            let answer =
                place.ask(&authentication, &with("Bearer x.y.z"), crate::time::now(), &forger);
            assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated);
        }
        assert!(place.bad_tokens() > 0, "the address is past its limit");
        let counted = place.bad_tokens();
        check(&good("ann"), &buyer, None, counted);
        assert!(forger.get() && !buyer.get());
        // No time for an hour.
        authentication.spare.spend(Instant::now() + Duration::from_secs(3_600), Duration::ZERO);
        check("Bearer x.y.z", &forger, Some(Code::RateLimited), counted + 1);
        check(&good("bob"), &buyer, Some(Code::RateLimited), counted + 2);
        // Who is known costs nothing, and what is not even a token is refused for what it is.
        check(&good("ann"), &buyer, None, counted + 2);
        check("Basic YTpi", &forger, Some(Code::Unauthenticated), counted + 2);
    }

    #[test]
    fn without_a_limit_every_token_is_looked_at() {
        let authentication = Authentication::new(&secret().into()).unwrap();
        authentication.spare.spend(Instant::now() + Duration::from_secs(3_600), Duration::ZERO);
        let place = Place::with(None);
        for _ in 0..100 {
            let (headers, from) = (with("Bearer x.y.z"), Cell::new(true));
            let answer = place.ask(&authentication, &headers, crate::time::now(), &from);
            assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated);
        }
        assert_eq!(place.bad_tokens(), 0);
    }

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        let authentication = Authentication::new(&secret().into()).unwrap();
        let token = mint(&secret(), "ann", false, Duration::from_secs(60)).unwrap();
        let now = crate::time::now();
        for value in
            [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER  {token}")]
        {
            ask(&authentication, &with(&value), now).unwrap();
        }
        for value in ["", "Bearer", "Bearer ", "Basic YTpi", &token, &format!("Token {token}")] {
            let problem = ask(&authentication, &with(value), now).unwrap_err();
            assert_eq!(problem.code(), Code::Unauthenticated, "{value:?}");
        }
        assert!(ask(&authentication, &HeaderMap::new(), now).is_err());
    }

    #[test]
    fn a_remembered_token_still_expires() {
        let authentication = Authentication::new(&secret().into()).unwrap();
        let token = mint(&secret(), "ann", false, Duration::from_secs(60)).unwrap();
        let headers = with(&format!("Bearer {token}"));
        let now = crate::time::now();
        let identity = ask(&authentication, &headers, now).unwrap();
        assert_eq!(ask(&authentication, &headers, now), Ok(identity));
        assert!(ask(&authentication, &headers, now.plus_seconds(70)).is_err());
    }

    #[test]
    fn the_memory_is_bounded_and_keeps_what_is_used() {
        let mut generations = Generations::default();
        let identity = Identity {
            buyer: doorbuster_protocol::BuyerId::from_bytes([1; 16]),
            admin: false,
            until_seconds: 0,
        };
        for number in 0..5 * GENERATION_TOKENS_MAX {
            generations.insert(&number.to_le_bytes(), identity);
            if number > 0 {
                assert!(generations.get(&0_usize.to_le_bytes()).is_some(), "after {number}");
            }
            assert!(generations.young.len() <= GENERATION_TOKENS_MAX);
            assert!(generations.old.len() <= GENERATION_TOKENS_MAX);
        }
    }
}
