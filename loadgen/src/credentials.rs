//! Bearer tokens: minted from the server's signing secret, or given.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds that a minted token is good for: longer than a run lasts.
const LIFETIME_SECONDS: u64 = 24 * 3600;

/// Where tokens come from.
#[derive(Clone)]
pub enum Credentials {
    /// There are none; enough for the binary protocol.
    None,
    /// HS256 with the server's signing secret: every buyer has its own token.
    Secret(EncodingKey),
    /// These and no others: all attempts are made by one buyer.
    Tokens {
        /// The buyer's token.
        buyer: String,
        /// The administrator's, to pay.
        admin: Option<String>,
    },
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    iat: u64,
    exp: u64,
}

impl Credentials {
    /// Tokens are minted with the bytes of the signing secret.
    pub fn secret(secret: &[u8]) -> Self {
        Self::Secret(EncodingKey::from_secret(secret))
    }
    /// Tokens are given.
    pub fn tokens(buyer: &str, admin: Option<&str>) -> Self {
        Self::Tokens { buyer: buyer.to_owned(), admin: admin.map(str::to_owned) }
    }
    /// Whether an administrator's token can be had.
    pub fn has_admin(&self) -> bool {
        match self {
            Self::None => false,
            Self::Secret(_) => true,
            Self::Tokens { admin, .. } => admin.is_some(),
        }
    }
    /// The token of the buyer with this name; empty without credentials.
    pub fn buyer(&self, name: &str) -> String {
        match self {
            Self::None => String::new(),
            Self::Secret(key) => mint(key, name, None),
            Self::Tokens { buyer, .. } => buyer.clone(),
        }
    }
    /// The administrator's token; empty when there is none.
    pub fn admin(&self) -> String {
        match self {
            Self::Secret(key) => mint(key, "loadgen", Some("admin")),
            Self::Tokens { admin: Some(admin), .. } => admin.clone(),
            Self::None | Self::Tokens { admin: None, .. } => String::new(),
        }
    }
}

fn mint(key: &EncodingKey, sub: &str, role: Option<&'static str>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = Claims { sub, role, iat: now, exp: now + LIFETIME_SECONDS };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, key)
        .expect("plain claims are signed with a symmetric key")
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Secret(_) => "signing secret (hidden)",
            Self::Tokens { .. } => "tokens (hidden)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{DecodingKey, Validation, decode};
    use serde_json::Value;

    #[test]
    fn minted_tokens_verify() {
        let secret = b"0123456789abcdef0123456789abcdef";
        let credentials = Credentials::secret(secret);
        let check = |token: &str, sub: &str, role: Option<&str>| {
            let key = DecodingKey::from_secret(secret);
            let data = decode::<Value>(token, &key, &Validation::new(Algorithm::HS256));
            let claims = data.expect("a good token").claims;
            assert_eq!(claims["sub"], sub);
            assert_eq!(claims.get("role").and_then(Value::as_str), role);
        };
        check(&credentials.buyer("buyer-1"), "buyer-1", None);
        check(&credentials.admin(), "loadgen", Some("admin"));
        assert!(!format!("{credentials:?}").contains("0123"));
    }
}
