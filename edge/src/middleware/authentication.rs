//! Who asks: the bearer token of a request, verified once per token and thread.
//!
//! What was verified is remembered under the token's own bytes, in two generations: when the young
//! one is full, the old one goes. So the memory is bounded and a token in use stays.

use crate::problem::{Code, Problem};
use crate::token::{Identity, TokenError, TokenKey, TokenRules, Verifier};
use doorbuster_protocol::Timestamp;
use hyper::{HeaderMap, header};
use std::cell::RefCell;
use std::collections::HashMap;

/// Tokens of one generation.
const GENERATION_TOKENS_MAX: usize = 8_192;

/// Verifies the tokens of one thread.
#[derive(Debug)]
pub(crate) struct Authentication {
    verifier: Verifier,
    /// Where tokens come from, for those who have none.
    source: &'static str,
    verified: RefCell<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<[u8]>, Identity>,
    old: HashMap<Box<[u8]>, Identity>,
}

impl Authentication {
    /// For tokens as `rules` want them; an error when no token can be checked with those.
    pub(crate) fn new(rules: &TokenRules) -> Result<Self, TokenError> {
        let source = match rules.key {
            TokenKey::Secret(_) => "`doorbuster token` prints a token",
            TokenKey::Public(_) => "Get a token where you sign in",
        };
        Ok(Self { verifier: Verifier::new(rules)?, source, verified: RefCell::default() })
    }

    /// Who asks with these headers. A token that is new passes `admit` before it is looked at, and
    /// goes to `failed` when it turns out to be none: checking a signature is what costs here.
    pub(crate) fn identify(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        admit: impl FnOnce() -> Result<(), Problem>,
        failed: impl FnOnce(),
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
        admit()?;
        let identity = self.verifier.verify(token).map_err(|error| {
            failed();
            refused(&error)
        })?;
        self.verified.borrow_mut().insert(token, identity);
        Ok(identity)
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
    use crate::token::{TokenSecret, mint};
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

    fn ask(
        authentication: &Authentication,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Identity, Problem> {
        authentication.identify(headers, now, || Ok(()), || {})
    }

    #[test]
    fn only_new_tokens_are_looked_at_and_only_bad_ones_count() {
        let authentication = Authentication::new(&secret().into()).unwrap();
        let token = mint(&secret(), "ann", false, Duration::from_secs(60)).unwrap();
        let now = crate::time::now();
        let check = |value: &str, is_shut: bool, expected: Option<Code>, failures: u32| {
            let failed = std::cell::Cell::new(0);
            let admit = || match is_shut {
                true => Err(Problem::new(Code::RateLimited, "")),
                false => Ok(()),
            };
            let fail = || failed.set(failed.get() + 1);
            let answer = authentication.identify(&with(value), now, admit, fail);
            assert_eq!(answer.err().map(|problem| problem.code()), expected, "{value}");
            assert_eq!(failed.get(), failures, "{value}");
        };
        let good = format!("Bearer {token}");
        check("Bearer x.y.z", false, Some(Code::Unauthenticated), 1);
        check("Bearer x.y.z", true, Some(Code::RateLimited), 0);
        check(&good, true, Some(Code::RateLimited), 0);
        check(&good, false, None, 0);
        // It is known now, and costs nothing.
        check(&good, true, None, 0);
        // What is not even a token is refused for what it is.
        check("Basic YTpi", true, Some(Code::Unauthenticated), 0);
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
