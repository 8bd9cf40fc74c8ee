//! The table of the contract: status, code and members of every refusal.

use super::*;
use doorbuster_protocol::outcome::OrderStatus;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::from_micros(1_900_000_000_000_000);

fn check(outcome: Outcome, status: u16, code: &str, members: &[(&str, Value)]) {
    let problem = of_outcome(&outcome, NOW);
    assert_eq!(problem.code().status().as_u16(), status, "{outcome:?}");
    let document: Value = serde_json::from_slice(&problem.document("r")).unwrap();
    assert_eq!(document["status"], status, "{outcome:?}");
    assert_eq!(document["code"], code, "{outcome:?}");
    assert_eq!(document["type"], format!("urn:doorbuster:problem:{code}"), "{outcome:?}");
    for name in ["title", "detail", "requestId"] {
        assert!(document[name].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
    for (name, value) in members {
        assert_eq!(&document[name], value, "{outcome:?}: {name}");
    }
}

#[test]
fn every_refusal_has_its_status_and_code() {
    let at = Timestamp::from_micros(1_900_000_090_000_001);
    let written = json!("2030-03-17T17:48:10.000001Z");
    check(Outcome::SoldOut, 409, "sold-out", &[]);
    check(
        Outcome::LimitExceeded { limit: 2 },
        409,
        "purchase-limit",
        &[("limitPerUser", json!(2))],
    );
    check(Outcome::NotOpen { opens_at: at }, 409, "sale-not-open", &[("opensAt", written.clone())]);
    check(Outcome::Paused { opens_at: at }, 409, "sale-paused", &[("opensAt", written.clone())]);
    check(
        Outcome::Paused { opens_at: Timestamp::NONE },
        409,
        "sale-paused",
        &[("opensAt", Value::Null)],
    );
    check(Outcome::Ended { closes_at: at }, 410, "sale-ended", &[("closesAt", written)]);
    check(Outcome::ProductNotFound, 404, "product-not-found", &[]);
    check(Outcome::OrderNotFound, 404, "order-not-found", &[]);
    check(
        Outcome::OrderFinal(OrderStatus::Paid),
        409,
        "order-final",
        &[("orderStatus", json!("paid"))],
    );
    check(Outcome::NotPayable, 409, "order-queued", &[]);
    check(Outcome::KeyMismatch, 422, "idempotency-mismatch", &[]);
    check(
        Outcome::StockCommitted { committed: 7 },
        409,
        "stock-committed",
        &[("committed", json!(7))],
    );
    check(Outcome::StockTooLarge, 400, "invalid-request", &[("field", json!("stock"))]);
    check(Outcome::DefinitionIncomplete, 400, "invalid-request", &[("field", json!("price"))]);
    check(Outcome::CurrencyFixed, 409, "currency-fixed", &[]);
    check(Outcome::WindowReversed, 400, "invalid-request", &[("field", json!("closesAt"))]);
    check(Outcome::Full, 503, "overloaded", &[]);
    check(Outcome::Overloaded, 503, "overloaded", &[]);
    check(Outcome::Unavailable, 503, "unavailable", &[]);
    check(Outcome::WrongOwner { core: 1 }, 503, "unavailable", &[]);
    check(Outcome::DeadlinePassed, 503, "timeout", &[]);
}

#[test]
fn what_passes_says_when_to_try_again() {
    let check = |problem: Problem, seconds: &str| {
        let response = problem.into_response("r");
        assert_eq!(response.headers()["retry-after"], seconds);
    };
    let opens_at = NOW.plus_micros(90_000_001);
    check(of_outcome(&Outcome::NotOpen { opens_at }, NOW), "91");
    check(of_outcome(&Outcome::NotOpen { opens_at: NOW }, NOW), "1");
    check(of_outcome(&Outcome::Paused { opens_at: NOW }, NOW), "5");
    for outcome in [
        Outcome::Full,
        Outcome::Overloaded,
        Outcome::Unavailable,
        Outcome::WrongOwner { core: 0 },
        Outcome::DeadlinePassed,
    ] {
        check(of_outcome(&outcome, NOW), "1");
    }
    for error in [ClientError::Overloaded, ClientError::Unavailable, ClientError::Lost] {
        check(of_client(&error), "1");
    }
    check(overdue(), "1");
    let limit = RateLimit::new(10, 20).unwrap();
    check(rate_limited(limit, 1), "1");
    check(rate_limited(limit, 1_000_001), "2");
    check(not_connected(), "1");
    check(of_store(&StoreError::Closed), "1");
}

#[test]
fn an_unknown_end_says_that_a_retry_is_safe() {
    for problem in [of_client(&ClientError::Lost), overdue()] {
        let document = String::from_utf8(problem.document("r")).unwrap();
        assert!(document.contains("the same Idempotency-Key"), "{document}");
    }
}
