//! Bearer tokens: JWTs signed with HS256 and the local secret, or by somebody else whose public key
//! is known.
//!
//! A token names its buyer in `sub` (a UUID or a name), may carry `role: "admin"`, and must carry a
//! numeric `exp`. The algorithm is pinned by the configuration: what the token's own header asks
//! for counts for nothing.

mod key;
mod local;

pub use key::{KeyError, PublicKey, SignatureAlgorithm, TokenKey, TokenSecret};

use crate::limits::TOKEN_BYTES_MAX;
use doorbuster_protocol::BuyerId;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use jsonwebtoken::{errors::ErrorKind, get_current_timestamp};
use local::LocalVerifier;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Fewest bytes of a secret: as many as the hash has (RFC 7518 §3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Seconds that clocks may disagree.
const LEEWAY_SECONDS: u64 = 5;

/// What a bearer token must show to be taken.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// What its signature is checked with, and so by which algorithm.
    pub key: TokenKey,
    /// What it must name as `iss`; `None`: anything, or nothing.
    pub issuer: Option<String>,
    /// What must be among its `aud`; `None`: it must name no audience (RFC 7519 §4.1.3).
    pub audience: Option<String>,
}

impl From<TokenSecret> for TokenRules {
    fn from(secret: TokenSecret) -> Self {
        TokenKey::Secret(secret).into()
    }
}

impl From<TokenKey> for TokenRules {
    fn from(key: TokenKey) -> Self {
        Self { key, issuer: None, audience: None }
    }
}

/// Why a token is not taken, or could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no JWT, or its signature is not ours.
    #[error("the token is malformed or its signature does not match")]
    Invalid,
    /// It asks for another algorithm than the configured one.
    #[error("the token is signed with an algorithm that is not taken here")]
    Algorithm,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come (`nbf`).
    #[error("the token is not valid yet")]
    NotYet,
    /// It does not come from the required issuer.
    #[error("the token's `iss` is not the issuer whose tokens are taken here")]
    Issuer,
    /// It is meant for somebody else.
    #[error("the token's `aud` does not name this system")]
    Audience,
    /// A claim is missing or has the wrong type.
    #[error(
        "the token's claims are not those of a token of this system: it needs `sub` and a numeric `exp`"
    )]
    Claims,
    /// Its `sub` can be no buyer.
    #[error("the token's `sub` is neither a UUID nor a name of 1 to 128 printable characters")]
    Subject,
    /// There is only a public key to check tokens with, and none to sign them.
    #[error(
        "tokens are signed elsewhere: only a public key is configured here, which cannot sign. Ask \
         the issuer for a token"
    )]
    NoSigningKey,
    /// The secret is something that everybody may know.
    #[error(
        "the token secret is the text of a public key or a certificate, with which anybody could \
         sign tokens. Configure it as the public key, with its algorithm"
    )]
    PublicSecret,
    /// No cryptography is built in, or more than one.
    #[error("the cryptography of tokens does not work in this build: {0}")]
    Crypto(String),
}

/// What is read of a token here; its verification reads the other claims.
#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    #[serde(default)]
    role: Option<String>,
}

/// What is written into a token.
#[derive(Debug, Serialize)]
struct MintedClaims<'a> {
    sub: &'a str,
    exp: u64,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

/// Who a token stands for, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The buyer.
    pub buyer: BuyerId,
    /// Whether the token carries `role: "admin"`.
    pub admin: bool,
    /// Seconds since the epoch after which it counts no more, leeway included.
    pub until_seconds: u64,
}

/// Signs a token for `subject` (a UUID or a name) that is good for `ttl`, where nothing but the
/// secret is asked of tokens.
pub fn mint(
    secret: &TokenSecret,
    subject: &str,
    admin: bool,
    ttl: Duration,
) -> Result<String, TokenError> {
    sign(secret, subject, admin, ttl, [None, None])
}

impl TokenRules {
    /// Signs a token for `subject` (a UUID or a name) that is good for `ttl` and obeys these rules.
    /// [`TokenError::NoSigningKey`] when their key is a public one.
    pub fn mint(&self, subject: &str, admin: bool, ttl: Duration) -> Result<String, TokenError> {
        let TokenKey::Secret(secret) = &self.key else { return Err(TokenError::NoSigningKey) };
        sign(secret, subject, admin, ttl, [self.issuer.as_deref(), self.audience.as_deref()])
    }
}

fn sign(
    secret: &TokenSecret,
    subject: &str,
    admin: bool,
    ttl: Duration,
    [iss, aud]: [Option<&str>; 2],
) -> Result<String, TokenError> {
    BuyerId::parse(subject).map_err(|_| TokenError::Subject)?;
    let iat = get_current_timestamp();
    let exp = iat.saturating_add(ttl.as_secs());
    let claims = MintedClaims { sub: subject, exp, iat, role: admin.then_some("admin"), iss, aud };
    let key = EncodingKey::from_secret(secret.bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|error| TokenError::Crypto(error.to_string()))
}

/// Checks tokens. One per thread; it holds no lock and no state.
pub struct Verifier {
    /// Where nothing but the local secret is asked for.
    local: Option<LocalVerifier>,
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifier({:?})", self.validation.algorithms)
    }
}

impl Verifier {
    /// A verifier for tokens that obey `rules`. It signs and verifies one of its own at once, so
    /// that a build without working cryptography is found at start and not at the first order.
    /// [`TokenError::PublicSecret`] when the secret is none.
    pub fn new(rules: &TokenRules) -> Result<Self, TokenError> {
        if let TokenKey::Secret(secret) = &rules.key
            && secret.is_public()
        {
            return Err(TokenError::PublicSecret);
        }
        let secret = TokenSecret::new([0x5A; SECRET_BYTES_MIN]).expect("it is long enough");
        let probe = mint(&secret, "probe", false, Duration::from_secs(60))?;
        Self::of(&secret.into())
            .verify(probe.as_bytes())
            .map_err(|error| TokenError::Crypto(error.to_string()))?;
        Ok(Self::of(rules))
    }

    fn of(rules: &TokenRules) -> Self {
        let (algorithm, key) = rules.key.decoding();
        let mut validation = Validation::new(algorithm);
        // What must match must also be there, or leaving it out would pass.
        let mut required = vec!["exp", "sub"];
        if let Some(issuer) = &rules.issuer {
            required.push("iss");
            validation.set_issuer(&[issuer]);
        }
        if let Some(audience) = &rules.audience {
            required.push("aud");
            validation.set_audience(&[audience]);
        }
        validation.set_required_spec_claims(&required);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        let local = match rules {
            TokenRules { key: TokenKey::Secret(secret), issuer: None, audience: None } => {
                Some(LocalVerifier::new(secret))
            }
            _ => None,
        };
        Self { local, key, validation }
    }

    /// Who the token stands for.
    pub fn verify(&self, token: &[u8]) -> Result<Identity, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let local = self.local.as_ref().and_then(|local| local.verify(token));
        local.unwrap_or_else(|| self.verify_in_full(token))
    }

    fn verify_in_full(&self, token: &[u8]) -> Result<Identity, TokenError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| explain(error.kind()))?
            .claims;
        buyer_of(&claims.sub, claims.exp, claims.role.as_deref())
    }
}

/// Who sound claims stand for.
fn buyer_of(sub: &str, exp: u64, role: Option<&str>) -> Result<Identity, TokenError> {
    let buyer = BuyerId::parse(sub).map_err(|_| TokenError::Subject)?;
    let until_seconds = exp.saturating_add(LEEWAY_SECONDS);
    Ok(Identity { buyer, admin: role == Some("admin"), until_seconds })
}

fn explain(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYet,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => TokenError::Issuer,
        ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::Json(_) => TokenError::Claims,
        ErrorKind::Provider(error) => TokenError::Crypto(error.to_string()),
        _ => TokenError::Invalid,
    }
}

#[cfg(test)]
#[path = "token_test.rs"]
mod tests;
