//! What the signatures of tokens are checked with: the local secret, or a public key of whoever
//! signs them elsewhere. The key brings its algorithm: one key never checks by two.
//!
//! A key that cannot check anything is refused when it is read, so it is found at start.

use super::SECRET_BYTES_MIN;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Bits of an RSA key. Fewer are not safe any more (RFC 7518 §3.3), and more are not implemented.
const RSA_BITS: RangeInclusive<usize> = 2_048..=8_192;

/// The secret that signs tokens. Its bytes are never shown.
#[derive(Clone)]
pub struct TokenSecret(Vec<u8>);

impl TokenSecret {
    /// `None` when there are fewer than [`SECRET_BYTES_MIN`] bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        (bytes.len() >= SECRET_BYTES_MIN).then_some(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the text of something that is meant to be public.
    pub(super) fn is_public(&self) -> bool {
        pem::parse_many(&self.0).is_ok_and(|documents| {
            documents.iter().any(|document| !document.tag().contains("PRIVATE"))
        })
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// What signatures are checked with.
#[derive(Clone, Debug)]
pub enum TokenKey {
    /// HS256 with the local secret, which also signs.
    Secret(TokenSecret),
    /// Another algorithm with the signer's public key.
    Public(PublicKey),
}

impl TokenKey {
    /// The name of its algorithm, as in a token's `alg`.
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Public(key) => key.algorithm.as_str(),
        }
    }

    pub(super) fn decoding(&self) -> (Algorithm, DecodingKey) {
        match self {
            Self::Secret(secret) => (Algorithm::HS256, DecodingKey::from_secret(&secret.0)),
            Self::Public(PublicKey { algorithm, der }) => match algorithm {
                SignatureAlgorithm::Rs256 => (Algorithm::RS256, DecodingKey::from_rsa_der(der)),
                SignatureAlgorithm::Ps256 => (Algorithm::PS256, DecodingKey::from_rsa_der(der)),
                SignatureAlgorithm::Es256 => (Algorithm::ES256, DecodingKey::from_ec_der(der)),
                SignatureAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_der(der)),
            },
        }
    }
}

/// Algorithms that sign with a private key and are checked with a public one (RFC 7518 §3.1,
/// RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// Its name, as in a token's `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The keys that it is checked with.
    const fn keys(self) -> &'static str {
        match self {
            Self::Rs256 | Self::Ps256 => "an RSA key of 2048 to 8192 bits",
            Self::Es256 => "an EC key on the curve P-256",
            Self::EdDsa => "an Ed25519 key",
        }
    }

    /// Whether this DER is one of those keys.
    fn takes(self, der: &[u8]) -> bool {
        match self {
            Self::Rs256 | Self::Ps256 => rsa::PublicKey::from_der(der).is_ok_and(|key| {
                RSA_BITS.contains(&bits(key.modulus().big_endian_without_leading_zero()))
            }),
            Self::Es256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der).is_ok(),
            Self::EdDsa => ParsedPublicKey::new(&ED25519, der).is_ok(),
        }
    }
}

/// Bits of a number whose first byte is not 0.
fn bits(big_endian: &[u8]) -> usize {
    let first = big_endian.first().copied().unwrap_or_default();
    (big_endian.len() * 8).saturating_sub(first.leading_zeros() as usize)
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SignatureAlgorithm {
    type Err = KeyError;

    /// Reads the very name that stands in tokens.
    fn from_str(name: &str) -> Result<Self, KeyError> {
        let known = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name);
        known.ok_or_else(|| KeyError::Algorithm(name.to_owned()))
    }
}

/// Why a text is no key for an algorithm.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No algorithm has this name.
    #[error("{0:?} is no algorithm of public keys here: use RS256, PS256, ES256 or EdDSA")]
    Algorithm(String),
    /// The text is damaged, or another format.
    #[error("the public key is not PEM ({0}): it begins with `-----BEGIN PUBLIC KEY-----`")]
    NotPem(String),
    /// There is more than one document.
    #[error("the PEM text has {0} documents: leave only the public key that signs tokens")]
    Several(usize),
    /// A private key is not needed here, and should not be here.
    #[error(
        "the PEM text is a private key, which belongs to the signer alone: give its public key, as \
         `openssl pkey -in KEY.pem -pubout` prints it"
    )]
    Private,
    /// A document of another type.
    #[error(
        "the PEM text is of the type {0:?}, not a PUBLIC KEY; of a certificate, \
         `openssl x509 -in CERTIFICATE.pem -noout -pubkey` prints it"
    )]
    Type(String),
    /// A key of another kind or size than the algorithm needs, or a damaged one.
    #[error("the public key does not fit {algorithm}, which needs {}", .algorithm.keys())]
    Unfit {
        /// What it should check.
        algorithm: SignatureAlgorithm,
    },
}

/// A public key and the one algorithm that it checks.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: SignatureAlgorithm,
    /// `SubjectPublicKeyInfo` (RFC 5280 §4.1), or for RSA also `RSAPublicKey` (RFC 8017 §A.1.1).
    der: Vec<u8>,
}

impl PublicKey {
    /// Reads one PEM document (RFC 7468): `PUBLIC KEY`, or for RSA also `RSA PUBLIC KEY`.
    pub fn from_pem(algorithm: SignatureAlgorithm, text: &str) -> Result<Self, KeyError> {
        let not_pem = |error: pem::PemError| KeyError::NotPem(error.to_string());
        let mut documents = pem::parse_many(text).map_err(not_pem)?;
        let document = match (documents.pop(), documents.len()) {
            (Some(document), 0) => document,
            (Some(_), others) => return Err(KeyError::Several(others + 1)),
            (None, _) => return Err(KeyError::NotPem("no document begins in it".to_owned())),
        };
        match document.tag() {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
            private if private.contains("PRIVATE KEY") => return Err(KeyError::Private),
            other => return Err(KeyError::Type(other.to_owned())),
        }
        let der = document.into_contents();
        if !algorithm.takes(&der) {
            return Err(KeyError::Unfit { algorithm });
        }
        Ok(Self { algorithm, der })
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.algorithm)
    }
}

#[cfg(test)]
mod test_keys;

#[cfg(test)]
#[path = "key_test.rs"]
mod tests;
