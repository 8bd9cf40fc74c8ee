//! Bearer tokens: any bytes, and tokens put together from a header, claims and a signature that is
//! right, of another key or algorithm, of somebody's public key taken as a secret, or none at all.
//!
//! Nothing is taken that was not signed with the verifier's key by the verifier's algorithm, to the
//! letter, whatever the token's header asks for (`alg`, `kid`, `jwk`, …); what is taken names its
//! buyer and a time that has not passed; and a token as it should be is taken.

use crate::Seed;
use crate::script::Script;
use doorbuster_edge::token::Verifier;
use doorbuster_edge::{PublicKey, SignatureAlgorithm, TokenKey, TokenRules, TokenSecret};
use doorbuster_protocol::BuyerId;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::Value;
use sha2::Sha256;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Keys that the edge's own tests sign with.
#[allow(dead_code, unreachable_pub, reason = "the edge's tests use what is not used here")]
#[path = "../../edge/src/token/key/test_keys.rs"]
mod test_keys;

/// What tokens are made of.
pub const WORDS: &[&str] = &[
    "{\"alg\":\"HS256\"}",
    "\"alg\":\"none\"",
    "\"alg\":\"RS256\"",
    "\"kid\":\"../../dev/null\"",
    "\"jwk\":{}",
    "\"crit\":[\"exp\"]",
    "\"typ\":\"JWT\"",
    "\"b64\":false",
    "\"sub\":\"ann\"",
    "\"exp\":4102444800",
    "\"exp\":\"4102444800\"",
    "\"nbf\":0",
    "\"aud\":[\"x\"]",
    "\"role\":\"admin\"",
    "eyJhbGciOiJub25lIn0",
    ".",
];

const SECRET: [u8; 32] = *b"0123456789abcdef0123456789abcdef";
/// A claim set that is in order, until 2100.
const CLAIMS: &str = r#"{"sub":"ann","exp":4102444800,"role":"admin"}"#;

/// The algorithms that are pinned, each with its verifier.
static VERIFIERS: LazyLock<[(Algorithm, Verifier); 4]> = LazyLock::new(|| {
    let secret = TokenSecret::new(SECRET).expect("long enough");
    let public = |algorithm, pem| {
        TokenKey::Public(PublicKey::from_pem(algorithm, pem).expect("a key of the edge's tests"))
    };
    let verifier =
        |key: TokenKey| Verifier::new(&TokenRules::from(key)).expect("the cryptography works");
    [
        (Algorithm::HS256, verifier(TokenKey::Secret(secret))),
        (Algorithm::ES256, verifier(public(SignatureAlgorithm::Es256, test_keys::P256_PUBLIC))),
        (Algorithm::EdDSA, verifier(public(SignatureAlgorithm::EdDsa, test_keys::ED25519_PUBLIC))),
        (Algorithm::RS256, verifier(public(SignatureAlgorithm::Rs256, test_keys::RSA_PUBLIC))),
    ]
});

/// Tokens that were signed with the private keys; their messages are all that was.
static SIGNED: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256]
        .map(|algorithm| message(standard_header(algorithm).as_bytes(), CLAIMS.as_bytes()))
        .into()
});

/// One input: whose verifier, how the token is made, its parts.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let which = script.below(VERIFIERS.len());
    let (algorithm, verifier) = &VERIFIERS[which];
    let (token, is_in_order) = match script.below(8) {
        0 => (script.rest().to_vec(), false),
        way => made(&mut script, *algorithm, way),
    };
    let verdict = verifier.verify(&token);
    assert!(!is_in_order || verdict.is_ok(), "a token as it should be: {verdict:?}");
    let Ok(identity) = verdict else { return };
    let text = String::from_utf8(token).expect("a token is ASCII");
    let (message, signature) = text.rsplit_once('.').expect("a token has a signature");
    let signed = match algorithm {
        Algorithm::HS256 => signature == hs256(&SECRET, message),
        _ => SIGNED.contains(message),
    };
    assert!(signed, "nobody signed this: {text}");
    let (header, claims) = message.split_once('.').expect("a token has three parts");
    let header = part(header);
    assert_eq!(header["alg"], format!("{algorithm:?}"), "the algorithm is pinned");
    let claims = part(claims);
    let buyer = claims["sub"].as_str().and_then(|name| BuyerId::parse(name).ok());
    assert_eq!(Some(identity.buyer), buyer, "the buyer is the subject");
    assert_eq!(identity.admin, claims["role"] == "admin");
    let exp = claims["exp"].as_u64().expect("a time to end is a number");
    assert_eq!(identity.until_seconds, exp.saturating_add(5));
    assert!(identity.until_seconds > jsonwebtoken::get_current_timestamp() - 60, "it has ended");
}

/// A token by parts, and whether it is one that has to be taken.
fn made(script: &mut Script<'_>, algorithm: Algorithm, way: usize) -> (Vec<u8>, bool) {
    let (header, has_own_header) = match script.below(4) {
        0 => (standard_header(algorithm), true),
        1 => (standard_header([Algorithm::HS256, Algorithm::RS256][script.below(2)]), false),
        2 => {
            let more = String::from_utf8_lossy(script.bytes(255)).into_owned();
            (format!("{{\"alg\":\"{algorithm:?}\",{more}}}"), false)
        }
        _ => (String::from_utf8_lossy(script.bytes(255)).into_owned(), false),
    };
    let (claims, has_own_claims) = match script.below(3) {
        0 => (CLAIMS.as_bytes().to_vec(), true),
        1 => {
            let more = String::from_utf8_lossy(script.bytes(255)).into_owned();
            (format!("{{\"exp\":4102444800,{more}}}").into_bytes(), false)
        }
        _ => (script.bytes(255).to_vec(), false),
    };
    let message = message(header.as_bytes(), &claims);
    let is_secret = algorithm == Algorithm::HS256;
    let signature = match way {
        1 if is_secret => hs256(&SECRET, &message),
        // The one that the key's owner has signed.
        1 if has_own_header && has_own_claims => sign(algorithm, &message),
        2 => hs256(&[7; 32], &message),
        // Key confusion: the public key as a secret (RFC 8725, section 2.1).
        3 => hs256(public_key(algorithm).as_bytes(), &message),
        4 => String::new(),
        5 => hs256(&[], &message),
        6 => sign(
            algorithm,
            &self::message(standard_header(algorithm).as_bytes(), CLAIMS.as_bytes()),
        ),
        _ => base64(script.bytes(255)),
    };
    let is_in_order = has_own_header && has_own_claims && matches!(way, 1 | 6);
    (format!("{message}.{signature}").into_bytes(), is_in_order)
}

fn standard_header(algorithm: Algorithm) -> String {
    format!("{{\"typ\":\"JWT\",\"alg\":\"{algorithm:?}\"}}")
}

fn message(header: &[u8], claims: &[u8]) -> String {
    format!("{}.{}", base64(header), base64(claims))
}

fn public_key(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::ES256 => test_keys::P256_PUBLIC,
        Algorithm::EdDSA => test_keys::ED25519_PUBLIC,
        _ => test_keys::RSA_PUBLIC,
    }
}

/// Signs one of [`SIGNED`] with the private key, or with the secret.
fn sign(algorithm: Algorithm, message: &str) -> String {
    let der = |text| pem::parse(text).expect("a key of the edge's tests").into_contents();
    let key = match algorithm {
        Algorithm::HS256 => return hs256(&SECRET, message),
        Algorithm::ES256 => EncodingKey::from_ec_der(&der(test_keys::P256_PRIVATE)),
        Algorithm::EdDSA => EncodingKey::from_ed_der(&der(test_keys::ED25519_PRIVATE)),
        _ => EncodingKey::from_rsa_der(&der(test_keys::RSA_PRIVATE)),
    };
    jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).expect("it can sign")
}

fn hs256(secret: &[u8], message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes any key length");
    mac.update(message.as_bytes());
    base64(&mac.finalize().into_bytes())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64url without padding (RFC 7515, section 2).
fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..=chunk.len() {
            out.push(ALPHABET[(bits >> (18 - 6 * place)) as usize & 63] as char);
        }
    }
    out
}

/// A part of a token that was taken, as JSON.
fn part(text: &str) -> Value {
    let mut bytes = Vec::new();
    for chunk in text.as_bytes().chunks(4) {
        let letter = |byte: &u8| ALPHABET.iter().position(|letter| letter == byte);
        let bits = chunk.iter().fold(0, |bits, byte| {
            bits << 6 | letter(byte).expect("a part of a token is base64url") as u32
        }) << (6 * (4 - chunk.len()));
        bytes.extend(&bits.to_be_bytes()[1..chunk.len()]);
    }
    serde_json::from_slice(&bytes).expect("a part of a token is JSON")
}

/// Tokens of every way to make them, for every verifier.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for which in 0..4_u8 {
        for way in 1..8_u8 {
            seeds.push((format!("made-{which}-{way}"), vec![which, way, 0, 0]));
        }
        let (algorithm, _) = &VERIFIERS[usize::from(which)];
        let message = message(standard_header(*algorithm).as_bytes(), CLAIMS.as_bytes());
        let token = format!("{message}.{}", sign(*algorithm, &message));
        seeds.push((format!("token-{which}"), [&[which, 0], token.as_bytes()].concat()));
        seeds.push((format!("unsigned-{which}"), [&[which, 0], message.as_bytes(), b"."].concat()));
    }
    for (number, word) in WORDS.iter().enumerate() {
        let length = [word.len() as u8];
        let word = word.as_bytes();
        let header = [&[0, 1, 2], &length[..], word, &[0]].concat();
        seeds.push((format!("header-{number}"), header));
        let claims = [&[0, 1, 0, 1], &length[..], word].concat();
        seeds.push((format!("claims-{number}"), claims));
    }
    seeds
}
