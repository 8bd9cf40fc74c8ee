//! A crowd on one product: 200 000 attempts over 64 connections for 10 000 units, many of them
//! sent twice. Exactly 10 000 buyers win, one unit each.

mod support;

use doorbuster_loadgen::{Amount, Credentials, Plan, Prepare, Progress, Target, journal};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;
use support::{Server, seed, token_secret, verify_and_audit};

const STOCK: u32 = 10_000;
const ATTEMPTS: u64 = 200_000;
/// Fewer buyers than attempts: a third of them comes back after an answer, whatever it was.
const BUYERS: u64 = 150_000;

#[test]
fn ten_thousand_units_have_ten_thousand_winners() {
    let home = tempfile::tempdir().expect("a directory");
    let server = Server::start(&home.path().join("data"));
    let list = home.path().join("acknowledged.jsonl");
    let plan = Plan {
        amount: Amount::Attempts(ATTEMPTS),
        concurrency: 64,
        buyers: BUYERS,
        products: vec!["crowded".to_owned()],
        duplicates: 0.2,
        credentials: Credentials::secret(&token_secret(server.data())),
        prepare: Some(Prepare {
            stock: STOCK,
            price: 1_999,
            limit_per_buyer: 1,
            hold_seconds: 3_600,
            waitlist_capacity: 0,
        }),
        journal: Some(list.clone()),
        seed: seed("DOORBUSTER_SEED"),
        ..Plan::new(Target::http(server.http))
    };
    let report = doorbuster_loadgen::run(plan, Arc::new(Progress::default())).expect("a report");
    assert_eq!((report.attempts, report.violations), (ATTEMPTS, 0), "{report}");
    assert!(report.is_clean(), "{report}");
    assert!(report.replayed > 0, "duplicates were answered with the first answer: {report}");

    let entries = journal::read(&list).expect("the list of acknowledged orders");
    let orders: HashSet<_> = entries.iter().map(|entry| entry.order_id.as_str()).collect();
    let buyers: HashSet<_> = entries.iter().map(|entry| entry.buyer.as_str()).collect();
    assert_eq!((orders.len(), buyers.len()), (STOCK as usize, STOCK as usize));

    let product = server.product("crowded");
    assert_eq!((&product["available"], &product["held"]), (&json!(0), &json!(STOCK)), "{product}");
    assert!(server.stop().success());
    let audit = verify_and_audit(&home.path().join("data"));
    assert_eq!((&audit["orders"], &audit["oversold"]), (&json!(STOCK), &json!(0)));
}
