//! The short way next to the long one: it may leave a token to it, and never differs from it.

use super::*;
use crate::token::{TokenRules, Verifier};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

fn secret() -> TokenSecret {
    TokenSecret::new(*b"0123456789abcdef0123456789abcdef").unwrap()
}

fn signed(claims: &serde_json::Value) -> Vec<u8> {
    let key = EncodingKey::from_secret(secret().bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap().into_bytes()
}

/// What the long way says of a token, and whether the short way says so, too.
fn check(name: &str, token: &[u8], is_short: bool) -> Result<Identity, TokenError> {
    let in_full = Verifier::new(&TokenRules::from(secret())).unwrap().verify_in_full(token);
    let verdict = LocalVerifier::new(&secret()).verify(token);
    assert_eq!(verdict.is_some(), is_short, "{name}: {verdict:?}");
    if let Some(verdict) = verdict {
        assert_eq!(verdict, in_full, "{name}");
    }
    in_full
}

#[test]
fn what_is_plain_is_taken_and_means_the_same() {
    let exp = get_current_timestamp() + 60;
    for (name, claims) in [
        ("as minted", json!({"sub": "ann", "exp": exp, "iat": exp - 60})),
        ("an administrator", json!({"sub": "ann", "exp": exp, "iat": exp, "role": "admin"})),
        ("another role", json!({"sub": "ann", "exp": exp, "role": "admin "})),
        ("no role", json!({"sub": "ann", "exp": exp, "role": null})),
        ("no end", json!({"sub": "ann", "exp": u64::MAX})),
        ("a UUID", json!({"sub": "6ba7b810-9dad-41d1-80b4-00c04fd430c8", "exp": exp})),
        ("the longest name", json!({"sub": "n".repeat(128), "exp": exp})),
    ] {
        check(name, &signed(&claims), true).expect(name);
    }
    let no_buyer = signed(&json!({"sub": "two words", "exp": exp}));
    assert_eq!(check("no buyer", &no_buyer, true), Err(TokenError::Subject));
}

#[test]
fn what_is_not_plain_is_left_to_the_long_way() {
    let now = get_current_timestamp();
    for (name, claims) in [
        ("expired", json!({"sub": "ann", "exp": now - 60})),
        ("not before", json!({"sub": "ann", "exp": now + 60, "nbf": now + 30})),
        ("an audience", json!({"sub": "ann", "exp": now + 60, "aud": "others"})),
        ("an issuer", json!({"sub": "ann", "exp": now + 60, "iss": "others"})),
        ("an id", json!({"sub": "ann", "exp": now + 60, "jti": "7"})),
        ("no end", json!({"sub": "ann"})),
        ("half a second", json!({"sub": "ann", "exp": now as f64 + 60.5})),
        ("nobody", json!({"exp": now + 60})),
        ("an escape", json!({"sub": "an\u{1}n", "exp": now + 60})),
        ("much", json!({"sub": "n".repeat(300), "exp": now + 60})),
    ] {
        let _ = check(name, &signed(&claims), false);
    }
    for (name, token) in [("nothing", ""), ("dots", ".."), ("a header alone", "eyJ0eXAi.x.y")] {
        check(name, token.as_bytes(), false).expect_err(name);
    }
}

/// Every byte changed in turn, and every place cut: neither way takes what was not signed.
#[test]
fn nothing_else_has_the_signature() {
    let long = Verifier::new(&TokenRules::from(secret())).unwrap();
    let short = LocalVerifier::new(&secret());
    let good = signed(&json!({"sub": "ann", "exp": get_current_timestamp() + 60}));
    for at in 0..good.len() {
        assert!(!matches!(short.verify(&good[..at]), Some(Ok(_))), "cut at {at}");
        for other in [b'A', b'B', b'_', b'.', b'=', b'+', 0, 0xFF] {
            let mut bad = good.clone();
            bad[at] = other;
            if bad == good {
                continue;
            }
            let verdict = short.verify(&bad);
            assert!(!matches!(verdict, Some(Ok(_))), "byte {at} as {other}: {verdict:?}");
            long.verify(&bad).expect_err("nobody signed it");
        }
    }
}
