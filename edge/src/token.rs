//! Bearer tokens: JWTs signed with HS256 and the local secret.
//!
//! A token names its buyer in `sub` (a UUID or a name), may carry `role: "admin"`, and must carry a
//! numeric `exp`. The algorithm is pinned: what the token's own header asks for counts for nothing.

use doorbuster_protocol::BuyerId;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use jsonwebtoken::{errors::ErrorKind, get_current_timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Fewest bytes of a secret: as many as the hash has (RFC 7518 §3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// Seconds that clocks may disagree.
const LEEWAY_SECONDS: u64 = 5;
/// Bytes of a token, past which it is not even looked at.
const TOKEN_BYTES_MAX: usize = 4_096;

/// The secret that signs tokens. Its bytes are never shown.
#[derive(Clone)]
pub struct TokenSecret(Vec<u8>);

impl TokenSecret {
    /// `None` when there are fewer than [`SECRET_BYTES_MIN`] bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() >= SECRET_BYTES_MIN).then_some(Self(bytes))
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// Why a token is not taken, or could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no JWT, or its signature is not ours.
    #[error("the token is malformed or its signature does not match")]
    Invalid,
    /// It asks for another algorithm than HS256.
    #[error("the token is not signed with HS256")]
    Algorithm,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come (`nbf`).
    #[error("the token is not valid yet")]
    NotYet,
    /// A claim is missing, has the wrong type, or an audience is named.
    #[error(
        "the token's claims are not those of a token of this system: it needs `sub` and a numeric `exp`"
    )]
    Claims,
    /// Its `sub` can be no buyer.
    #[error("the token's `sub` is neither a UUID nor a name of 1 to 128 printable characters")]
    Subject,
    /// No cryptography is built in, or more than one.
    #[error("the cryptography of tokens does not work in this build: {0}")]
    Crypto(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
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

/// Signs a token for `subject` (a UUID or a name) that is good for `ttl`.
pub fn mint(
    secret: &TokenSecret,
    subject: &str,
    admin: bool,
    ttl: Duration,
) -> Result<String, TokenError> {
    BuyerId::parse(subject).map_err(|_| TokenError::Subject)?;
    let now = get_current_timestamp();
    let claims = Claims {
        sub: subject.to_owned(),
        exp: now.saturating_add(ttl.as_secs()),
        iat: Some(now),
        role: admin.then(|| "admin".to_owned()),
    };
    let key = EncodingKey::from_secret(&secret.0);
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|error| TokenError::Crypto(error.to_string()))
}

/// Checks tokens. One per thread; it holds no lock and no state.
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(HS256)")
    }
}

impl Verifier {
    /// A verifier for tokens of `secret`. It signs and verifies one at once, so that a build
    /// without working cryptography is found at start and not at the first order.
    pub fn new(secret: &TokenSecret) -> Result<Self, TokenError> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["exp", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        let verifier = Self { key: DecodingKey::from_secret(&secret.0), validation };
        let probe = mint(secret, "probe", false, Duration::from_secs(60))?;
        verifier.verify(probe.as_bytes()).map_err(|error| TokenError::Crypto(error.to_string()))?;
        Ok(verifier)
    }

    /// Who the token stands for.
    pub fn verify(&self, token: &[u8]) -> Result<Identity, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| explain(error.kind()))?
            .claims;
        let buyer = BuyerId::parse(&claims.sub).map_err(|_| TokenError::Subject)?;
        let until_seconds = claims.exp.saturating_add(LEEWAY_SECONDS);
        Ok(Identity { buyer, admin: claims.role.as_deref() == Some("admin"), until_seconds })
    }
}

fn explain(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYet,
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => TokenError::Algorithm,
        ErrorKind::MissingRequiredClaim(_)
        | ErrorKind::InvalidClaimFormat(_)
        | ErrorKind::InvalidAudience
        | ErrorKind::Json(_) => TokenError::Claims,
        ErrorKind::Provider(error) => TokenError::Crypto(error.to_string()),
        _ => TokenError::Invalid,
    }
}

#[cfg(test)]
#[path = "token_test.rs"]
mod tests;
