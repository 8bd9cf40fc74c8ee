//! Tokens that are taken, and all the ways in which one is not.

use super::*;
use serde_json::{Value, json};

fn secret() -> TokenSecret {
    TokenSecret::new(*b"0123456789abcdef0123456789abcdef").unwrap()
}

fn signed(claims: &Value, algorithm: Algorithm, secret: &[u8]) -> String {
    let key = EncodingKey::from_secret(secret);
    jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
}

fn ours(claims: &Value) -> String {
    signed(claims, Algorithm::HS256, secret().bytes())
}

/// Base64url without padding, for tokens that no library would make.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
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

#[test]
fn a_minted_token_names_its_buyer_and_role() {
    let verifier = Verifier::new(&secret().into()).unwrap();
    let check = |subject: &str, admin: bool| {
        let token = mint(&secret(), subject, admin, Duration::from_secs(60)).unwrap();
        let identity = verifier.verify(token.as_bytes()).unwrap();
        assert_eq!(identity.buyer, BuyerId::parse(subject).unwrap());
        assert_eq!(identity.admin, admin);
        assert!(identity.until_seconds >= get_current_timestamp() + 60);
    };
    check("ann", false);
    check("ann", true);
    check("6ba7b810-9dad-41d1-80b4-00c04fd430c8", false);
    let unnamed = mint(&secret(), "two words", false, Duration::from_secs(60));
    assert_eq!(unnamed, Err(TokenError::Subject));
}

#[test]
fn bad_tokens_are_refused() {
    let verifier = Verifier::new(&secret().into()).unwrap();
    let check = |name: &str, token: &str, expected: &[TokenError]| {
        let refusal = verifier.verify(token.as_bytes()).expect_err(name);
        assert!(expected.contains(&refusal), "{name}: {refusal:?}");
    };
    let now = get_current_timestamp();
    let good = json!({"sub": "ann", "exp": now + 60});
    let unsigned = format!(
        "{}.{}.",
        base64(br#"{"alg":"none","typ":"JWT"}"#),
        base64(good.to_string().as_bytes())
    );
    let mut flipped = ours(&good).into_bytes();
    let middle = flipped.len() / 2;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    let any_refusal = [TokenError::Invalid, TokenError::Algorithm, TokenError::Claims];

    check("empty", "", &[TokenError::Invalid]);
    check("no dots", "abc", &[TokenError::Invalid]);
    check("three empty parts", "..", &any_refusal);
    check("algorithm none", &unsigned, &any_refusal);
    check("algorithm none, capital", &unsigned.replacen("bm9uZS", "Tm9uZS", 1), &any_refusal);
    check(
        "another algorithm",
        &signed(&good, Algorithm::HS384, secret().bytes()),
        &[TokenError::Algorithm],
    );
    check("another key", &signed(&good, Algorithm::HS256, &[7; 32]), &[TokenError::Invalid]);
    check("a flipped letter", std::str::from_utf8(&flipped).unwrap(), &any_refusal);
    check("too long", &"a".repeat(TOKEN_BYTES_MAX + 1), &[TokenError::Invalid]);
    check("expired", &ours(&json!({"sub": "ann", "exp": now - 60})), &[TokenError::Expired]);
    check(
        "not yet",
        &ours(&json!({"sub": "ann", "exp": now + 90, "nbf": now + 60})),
        &[TokenError::NotYet],
    );
    for (name, claims) in [
        ("no exp", json!({"sub": "ann"})),
        ("string exp", json!({"sub": "ann", "exp": (now + 60).to_string()})),
        ("null exp", json!({"sub": "ann", "exp": null})),
        ("no sub", json!({"exp": now + 60})),
        ("numeric sub", json!({"sub": 5, "exp": now + 60})),
        ("string nbf", json!({"sub": "ann", "exp": now + 60, "nbf": "soon"})),
    ] {
        check(name, &ours(&claims), &[TokenError::Claims]);
    }
    check(
        "foreign audience",
        &ours(&json!({"sub": "ann", "exp": now + 60, "aud": "others"})),
        &[TokenError::Audience],
    );
    for subject in ["", "two words", "a/b"] {
        let token = ours(&json!({"sub": subject, "exp": now + 60}));
        check(subject, &token, &[TokenError::Subject]);
    }
}

#[test]
fn only_the_very_word_makes_an_administrator() {
    let verifier = Verifier::new(&secret().into()).unwrap();
    for role in ["Admin", "admin ", "user", ""] {
        let exp = get_current_timestamp() + 60;
        let token = ours(&json!({"sub": "ann", "exp": exp, "role": role}));
        assert!(!verifier.verify(token.as_bytes()).unwrap().admin, "{role:?}");
    }
}

#[test]
fn issuer_and_audience_are_required_when_configured() {
    let rules = |issuer: Option<&str>, audience: Option<&str>| TokenRules {
        issuer: issuer.map(str::to_owned),
        audience: audience.map(str::to_owned),
        ..secret().into()
    };
    let both = rules(Some("idp"), Some("shop"));
    let check = |rules: &TokenRules, claims: &str, expected: Result<(), TokenError>| {
        let mut all = json!({"sub": "ann", "exp": get_current_timestamp() + 60});
        let more: serde_json::Map<String, Value> = serde_json::from_str(claims).unwrap();
        all.as_object_mut().unwrap().extend(more);
        let verdict = Verifier::new(rules).unwrap().verify(ours(&all).as_bytes());
        assert_eq!(verdict.map(|_| ()), expected, "{claims}");
    };
    check(&both, r#"{"iss": "idp", "aud": "shop"}"#, Ok(()));
    check(&both, r#"{"iss": "idp", "aud": ["other", "shop"]}"#, Ok(()));
    check(&both, r#"{"iss": "else", "aud": "shop"}"#, Err(TokenError::Issuer));
    check(&both, r#"{"iss": "idp ", "aud": "shop"}"#, Err(TokenError::Issuer));
    check(&both, r#"{"iss": 5, "aud": "shop"}"#, Err(TokenError::Issuer));
    check(&both, r#"{"aud": "shop"}"#, Err(TokenError::Issuer));
    check(&both, r#"{"iss": "idp", "aud": "other"}"#, Err(TokenError::Audience));
    check(&both, r#"{"iss": "idp", "aud": ["other"]}"#, Err(TokenError::Audience));
    check(&both, r#"{"iss": "idp", "aud": []}"#, Err(TokenError::Audience));
    check(&both, r#"{"iss": "idp", "aud": null}"#, Err(TokenError::Audience));
    check(&both, r#"{"iss": "idp"}"#, Err(TokenError::Audience));
    let issuer = rules(Some("idp"), None);
    check(&issuer, r#"{"iss": "idp"}"#, Ok(()));
    check(&issuer, r#"{"iss": "idp", "aud": "shop"}"#, Err(TokenError::Audience));
    check(&rules(None, Some("shop")), r#"{"iss": "any", "aud": "shop"}"#, Ok(()));
    // What the rules mint obeys them.
    let token = both.mint("ann", true, Duration::from_secs(60)).unwrap();
    assert!(Verifier::new(&both).unwrap().verify(token.as_bytes()).unwrap().admin);
}

#[test]
fn claims_that_are_not_read_here_may_be_anything() {
    let verifier = Verifier::new(&secret().into()).unwrap();
    let exp = get_current_timestamp() + 60;
    let token = ours(&json!({"sub": "ann", "exp": exp, "iat": 1.5, "jti": 7, "scope": ["a"]}));
    verifier.verify(token.as_bytes()).unwrap();
}
