//! Keys that fit and keys that do not; tokens by every algorithm, and the ways to pass off one
//! algorithm's token as another's.

use super::test_keys::*;
use super::*;
use crate::token::{TokenError, TokenRules, Verifier};
use SignatureAlgorithm::{EdDsa, Es256, Ps256, Rs256};
use jsonwebtoken::{EncodingKey, Header, get_current_timestamp};
use serde_json::json;

fn signed(algorithm: Algorithm, key: &EncodingKey) -> String {
    let claims = json!({"sub": "ann", "exp": get_current_timestamp() + 60});
    jsonwebtoken::encode(&Header::new(algorithm), &claims, key).unwrap()
}

/// A token as the holder of the private key signs it.
fn token(algorithm: Algorithm) -> String {
    let der = |text: &str| pem::parse(text).unwrap().into_contents();
    let key = match algorithm {
        Algorithm::RS256 | Algorithm::RS384 | Algorithm::PS256 => {
            EncodingKey::from_rsa_der(&der(RSA_PRIVATE))
        }
        Algorithm::ES256 => EncodingKey::from_ec_der(&der(P256_PRIVATE)),
        _ => EncodingKey::from_ed_der(&der(ED25519_PRIVATE)),
    };
    signed(algorithm, &key)
}

fn verifier(algorithm: SignatureAlgorithm, text: &str) -> Verifier {
    let key = PublicKey::from_pem(algorithm, text).unwrap();
    Verifier::new(&TokenKey::Public(key).into()).unwrap()
}

#[test]
fn every_algorithm_takes_tokens_of_its_key_and_no_others() {
    let tokens = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA]
        .map(|algorithm| (algorithm, token(algorithm)));
    let check = |algorithm: SignatureAlgorithm, text: &str| {
        let verifier = verifier(algorithm, text);
        for (signed_by, token) in &tokens {
            let verdict = verifier.verify(token.as_bytes()).map(|identity| identity.admin);
            let is_own = format!("{signed_by:?}") == algorithm.as_str();
            let expected = if is_own { Ok(false) } else { Err(TokenError::Algorithm) };
            assert_eq!(verdict, expected, "{signed_by:?} with {algorithm}");
        }
    };
    check(Rs256, RSA_PUBLIC);
    check(Rs256, RSA_PUBLIC_PKCS1);
    check(Ps256, RSA_PUBLIC);
    check(Ps256, RSA_PUBLIC_PKCS1);
    check(Es256, P256_PUBLIC);
    check(EdDsa, ED25519_PUBLIC);
}

#[test]
fn another_key_and_another_hash_are_refused() {
    let check = |verifier: &Verifier, token: &str, expected: TokenError| {
        assert_eq!(verifier.verify(token.as_bytes()), Err(expected), "{verifier:?}");
    };
    check(&verifier(Rs256, OTHER_RSA_PUBLIC), &token(Algorithm::RS256), TokenError::Invalid);
    check(&verifier(Ps256, OTHER_RSA_PUBLIC), &token(Algorithm::PS256), TokenError::Invalid);
    check(&verifier(Rs256, RSA_PUBLIC), &token(Algorithm::RS384), TokenError::Algorithm);
    for (algorithm, text, signed_by) in [
        (Rs256, RSA_PUBLIC, Algorithm::RS256),
        (Ps256, RSA_PUBLIC, Algorithm::PS256),
        (Es256, P256_PUBLIC, Algorithm::ES256),
        (EdDsa, ED25519_PUBLIC, Algorithm::EdDSA),
    ] {
        let token = token(signed_by);
        let verifier = verifier(algorithm, text);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        check(&verifier, &format!("{signed}."), TokenError::Invalid);
        let first = if signature.starts_with('A') { "B" } else { "A" };
        check(&verifier, &format!("{signed}.{first}{}", &signature[1..]), TokenError::Invalid);
        // An ECDSA signature of two zeros passed once in a well-known implementation.
        check(&verifier, &format!("{signed}.{}", "A".repeat(86)), TokenError::Invalid);
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    // An attacker knows the public key. A verifier that went by the token's own header would take
    // it for the secret of HS256.
    for (algorithm, text) in
        [(Rs256, RSA_PUBLIC), (Ps256, RSA_PUBLIC), (Es256, P256_PUBLIC), (EdDsa, ED25519_PUBLIC)]
    {
        let verifier = verifier(algorithm, text);
        let der = pem::parse(text).unwrap().into_contents();
        for secret in [text.as_bytes(), text.trim_end().as_bytes(), &der] {
            let forged = signed(Algorithm::HS256, &EncodingKey::from_secret(secret));
            let verdict = verifier.verify(forged.as_bytes());
            assert_eq!(verdict, Err(TokenError::Algorithm), "{algorithm}");
        }
        // The other way round: a token by the private key, and the public key's DER for a secret.
        let secret = TokenSecret::new(der).unwrap_or_else(|| TokenSecret::new([7; 32]).unwrap());
        let by_secret = Verifier::new(&secret.into()).unwrap();
        let verdict = by_secret.verify(token(Algorithm::RS256).as_bytes());
        assert_eq!(verdict, Err(TokenError::Algorithm), "{algorithm}");
    }
    for text in [RSA_PUBLIC, RSA_PUBLIC_PKCS1, P256_PUBLIC, ED25519_PUBLIC, CERTIFICATE] {
        let rules = TokenRules::from(TokenSecret::new(text).unwrap());
        assert_eq!(Verifier::new(&rules).unwrap_err(), TokenError::PublicSecret, "{text}");
    }
}

#[test]
fn unsigned_tokens_are_refused() {
    let token = token(Algorithm::RS256);
    let claims = token.split('.').nth(1).unwrap();
    let verifier = verifier(Rs256, RSA_PUBLIC);
    // {"alg":"none"}, {"alg":"None"}, {"alg":""}, {}
    for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJOb25lIn0", "eyJhbGciOiIifQ", "e30"] {
        for signature in ["", token.rsplit('.').next().unwrap()] {
            let unsigned = format!("{header}.{claims}.{signature}");
            assert!(verifier.verify(unsigned.as_bytes()).is_err(), "{unsigned}");
        }
    }
}

#[test]
fn an_issuer_and_an_audience_go_with_any_key() {
    let key = PublicKey::from_pem(EdDsa, ED25519_PUBLIC).unwrap();
    let rules = TokenRules {
        issuer: Some("idp".to_owned()),
        audience: Some("shop".to_owned()),
        ..TokenKey::Public(key).into()
    };
    let verifier = Verifier::new(&rules).unwrap();
    let private = EncodingKey::from_ed_der(pem::parse(ED25519_PRIVATE).unwrap().contents());
    let check = |iss: &str, aud: &str, expected: Result<(), TokenError>| {
        let exp = get_current_timestamp() + 60;
        let claims = json!({"sub": "ann", "exp": exp, "iss": iss, "aud": aud});
        let token =
            jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &private).unwrap();
        assert_eq!(verifier.verify(token.as_bytes()).map(|_| ()), expected, "{iss} {aud}");
    };
    check("idp", "shop", Ok(()));
    check("other", "shop", Err(TokenError::Issuer));
    check("idp", "other", Err(TokenError::Audience));
    // It lacks both, and either may be named.
    let neither = verifier.verify(token(Algorithm::EdDSA).as_bytes());
    assert!(matches!(neither, Err(TokenError::Issuer | TokenError::Audience)), "{neither:?}");
    let minted = rules.mint("ann", false, std::time::Duration::from_secs(60));
    assert_eq!(minted, Err(TokenError::NoSigningKey));
}

#[test]
fn keys_that_cannot_work_are_found_when_they_are_read() {
    let check = |algorithm: SignatureAlgorithm, text: &str, expected: KeyError| {
        let error = PublicKey::from_pem(algorithm, text).unwrap_err();
        assert_eq!(error, expected, "{algorithm}: {text}");
    };
    for algorithm in SignatureAlgorithm::ALL {
        let fits = match algorithm {
            Rs256 | Ps256 => RSA_PUBLIC,
            Es256 => P256_PUBLIC,
            EdDsa => ED25519_PUBLIC,
        };
        for text in [RSA_PUBLIC, SMALL_RSA_PUBLIC, P256_PUBLIC, P384_PUBLIC, ED25519_PUBLIC] {
            if text != fits {
                check(algorithm, text, KeyError::Unfit { algorithm });
            }
        }
        check(algorithm, RSA_PRIVATE, KeyError::Private);
        check(algorithm, P256_PRIVATE, KeyError::Private);
        check(algorithm, ED25519_PRIVATE, KeyError::Private);
        check(algorithm, CERTIFICATE, KeyError::Type("CERTIFICATE".to_owned()));
        check(algorithm, &format!("{fits}{fits}"), KeyError::Several(2));
        let empty = "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n";
        check(algorithm, empty, KeyError::Unfit { algorithm });
        for text in ["", "MIIB", &fits[..fits.len() - 30], &fits.replacen("M", "*", 1)] {
            let error = PublicKey::from_pem(algorithm, text).unwrap_err();
            assert!(matches!(error, KeyError::NotPem(_)), "{error}");
        }
        // A text around the key does no harm, and neither do the line ends of another system.
        PublicKey::from_pem(algorithm, &format!("Our key:\n{fits}")).unwrap();
        PublicKey::from_pem(algorithm, &fits.replace('\n', "\r\n")).unwrap();
    }
}

#[test]
fn algorithms_are_called_by_their_very_names() {
    for algorithm in SignatureAlgorithm::ALL {
        assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
    }
    for name in ["", "rs256", "RS384", "HS256", "none", "EdDSA "] {
        let refused = name.parse::<SignatureAlgorithm>();
        assert_eq!(refused, Err(KeyError::Algorithm(name.to_owned())));
    }
}

#[test]
fn a_secret_has_a_least_length_and_is_not_shown() {
    assert!(TokenSecret::new([1; 31]).is_none());
    assert_eq!(format!("{:?}", TokenSecret::new([1; 32])), "Some(TokenSecret(…))");
    let key = PublicKey::from_pem(EdDsa, ED25519_PUBLIC).unwrap();
    assert_eq!(format!("{:?}", TokenKey::Public(key)), "Public(PublicKey(EdDSA))");
}
