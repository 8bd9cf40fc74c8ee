//! The short way for the tokens that this system signs itself: one of two headers, one signature,
//! claims of its own and no others.
//!
//! A general verifier makes its key anew for every token and reads header and claims into texts and
//! maps of their own, which is most of what an order of an unknown buyer costs an edge. What is taken
//! here is taken there, and means the same; what is not plain here is left to it.

use super::{Identity, LEEWAY_SECONDS, TokenError, TokenSecret, buyer_of};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::get_current_timestamp;
use serde::Deserialize;

/// `{"typ":"JWT","alg":"HS256"}`, as tokens are signed here, and with its members the other way
/// round, as others sign them.
const HEADERS: [&[u8]; 2] =
    [b"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9", b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"];
/// Bytes of a signature, and the room that decoding one asks for.
const SIGNATURE_BYTES: usize = 32;
const SIGNATURE_ROOM: usize = 33;
/// Bytes of claims that are read here. A name of the longest kind leaves room for the other claims.
const CLAIMS_BYTES_MAX: usize = 320;

/// Claims that this system signs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainClaims<'a> {
    #[serde(borrow)]
    sub: &'a str,
    exp: u64,
    #[serde(rename = "iat")]
    _iat: Option<u64>,
    #[serde(borrow)]
    role: Option<&'a str>,
}

/// Checks tokens with the local secret.
pub(super) struct LocalVerifier(hmac::Key);

impl LocalVerifier {
    pub(super) fn new(secret: &TokenSecret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()))
    }

    /// Who the token stands for, or why it is refused; `None`: it must be looked at in full.
    pub(super) fn verify(&self, token: &[u8]) -> Option<Result<Identity, TokenError>> {
        let (rest, signature) = split_last_dot(token)?;
        let header = HEADERS.iter().find(|header| rest.starts_with(header))?;
        let (b'.', claims) = rest[header.len()..].split_first()? else { return None };
        let mut bytes = [0; SIGNATURE_ROOM];
        if URL_SAFE_NO_PAD.decode_slice(signature, &mut bytes).ok()? != SIGNATURE_BYTES {
            return None;
        }
        if hmac::verify(&self.0, rest, &bytes[..SIGNATURE_BYTES]).is_err() {
            return Some(Err(TokenError::Invalid));
        }
        let mut bytes = [0; CLAIMS_BYTES_MAX];
        let length = URL_SAFE_NO_PAD.decode_slice(claims, &mut bytes).ok()?;
        let claims: PlainClaims<'_> = serde_json::from_slice(&bytes[..length]).ok()?;
        if claims.exp < get_current_timestamp().saturating_sub(LEEWAY_SECONDS) {
            return None;
        }
        Some(buyer_of(claims.sub, claims.exp, claims.role))
    }
}

fn split_last_dot(token: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memrchr(b'.', token)?;
    Some((&token[..at], &token[at + 1..]))
}

#[cfg(test)]
#[path = "local_test.rs"]
mod tests;
