//! A shard's URL at rest in its peers: sealed with the key that engine, edges and projectors share,
//! so that a running role finds a shard it was not told of, and a dump of a database tells nobody
//! its password.
//!
//! AES-256-GCM with a random nonce in front; the key is HKDF-SHA-256 of the shared key, so that the
//! key of the protocol is used for nothing else.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

const SALT: &[u8] = b"doorbuster store peers";
const INFO: &[u8] = b"shard url, AES-256-GCM";

/// Seals a URL.
pub(in crate::postgres) fn seal(key: &[u8; 32], url: &str) -> Vec<u8> {
    let mut text = url.as_bytes().to_vec();
    let nonce = cipher(key)
        .seal_in_place_append_tag(Aad::empty(), &mut text)
        .expect("a URL is far shorter than what may be sealed");
    let mut sealed = nonce.as_ref().to_vec();
    sealed.append(&mut text);
    sealed
}

/// Opens what was sealed with the same key; `None` for anything else.
pub(in crate::postgres) fn open(key: &[u8; 32], sealed: &[u8]) -> Option<String> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = text.to_vec();
    let url = cipher(key).open_in_place(nonce, Aad::empty(), &mut text).ok()?;
    String::from_utf8(url.to_vec()).ok()
}

fn cipher(key: &[u8; 32]) -> RandomizedNonceKey {
    let mut derived = [0; 32];
    Salt::new(HKDF_SHA256, SALT)
        .extract(key)
        .expand(&[INFO], HKDF_SHA256)
        .and_then(|material| material.fill(&mut derived))
        .expect("32 bytes can be derived");
    RandomizedNonceKey::new(&AES_256_GCM, &derived).expect("the key has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_opens_what_it_sealed() {
        let url = "postgres://u:hunter2@db:5432/shop";
        let sealed = seal(&[7; 32], url);
        assert_eq!(open(&[7; 32], &sealed).as_deref(), Some(url));
        assert_ne!(sealed, seal(&[7; 32], url), "each has a nonce of its own");
        assert!(!sealed.windows(7).any(|bytes| bytes == b"hunter2"));
        let mut altered = sealed.clone();
        *altered.last_mut().expect("not empty") ^= 1;
        for (key, bytes) in [([8; 32], &sealed[..]), ([7; 32], &altered), ([7; 32], &sealed[..9])] {
            assert_eq!(open(&key, bytes), None);
        }
    }
}
