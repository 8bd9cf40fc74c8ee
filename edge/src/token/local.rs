//! The short way for the tokens that this system signs itself: one of two headers, one signature,
//! claims of its own and no others.
//!
//! A general verifier makes its key anew for every token and reads header and claims into texts and
//! maps of their own, which is most of what an order of an unknown buyer costs an edge. What is taken
//! here is taken there, and means the same; what is not plain here is left to it.

use super::{Identity, LEEWAY_SECONDS, TokenError, TokenSecret, buyer_of};
use aws_lc_rs::hmac;
use jsonwebtoken::get_current_timestamp;
use serde::Deserialize;

/// `{"typ":"JWT","alg":"HS256"}`, as tokens are signed here, and with its members the other way
/// round, as others sign them.
const HEADERS: [&[u8]; 2] =
    [b"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9", b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"];
/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 32;
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
        let mut bytes = [0; SIGNATURE_BYTES];
        if decode(signature, &mut bytes)? != SIGNATURE_BYTES {
            return None;
        }
        if hmac::verify(&self.0, rest, &bytes).is_err() {
            return Some(Err(TokenError::Invalid));
        }
        let mut bytes = [0; CLAIMS_BYTES_MAX];
        let length = decode(claims, &mut bytes)?;
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

/// Reads base64url without padding (RFC 4648 §5); how many bytes came of it. `None` when it is not
/// spelt as whoever encodes those bytes would, or when there is no room for it.
fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let length = text.len() / 4 * 3 + [0, 0, 1, 2][text.len() % 4];
    if length > out.len() || text.len() % 4 == 1 {
        return None;
    }
    let mut seen = 0;
    for (four, three) in text.chunks(4).zip(out.chunks_mut(3)) {
        let mut bits = 0;
        for letter in four {
            let value = VALUES[usize::from(*letter)];
            seen |= value;
            bits = bits << 6 | u32::from(value);
        }
        bits <<= 6 * (4 - four.len());
        let whole = four.len() - 1;
        let [_, first, second, third] = bits.to_be_bytes();
        for (byte, decoded) in three.iter_mut().zip(&[first, second, third][..whole]) {
            *byte = *decoded;
        }
        let is_canonical = bits & ((1 << (24 - 8 * whole)) - 1) == 0;
        if !is_canonical {
            return None;
        }
    }
    (seen < NO_LETTER).then_some(length)
}

/// Above every value of a letter, and a bit of its own.
const NO_LETTER: u8 = 64;

/// The six bits of each letter.
const VALUES: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut values = [NO_LETTER; 256];
    let mut at = 0;
    while at < alphabet.len() {
        values[alphabet[at] as usize] = at as u8;
        at += 1;
    }
    values
};

#[cfg(test)]
#[path = "local_test.rs"]
mod tests;
