//! The demo ends by itself, sells exactly what there is, and proves it.

mod support;

use serde_json::{Value, json};
use support::run_well;

fn demo(flags: &[&str]) -> Value {
    let arguments: Vec<_> = ["demo", "--json"].iter().chain(flags).copied().collect();
    serde_json::from_str(&run_well(&arguments)).expect("the summary is JSON")
}

#[test]
fn a_sale_sells_exactly_its_stock() {
    let summary = demo(&["--stock", "500", "--buyers", "3000"]);
    assert_eq!(summary["asPromised"], true, "{summary:#}");
    assert_eq!((&summary["sold"], &summary["oversold"]), (&json!(500), &json!(0)));
    assert_eq!(summary["audit"]["storeOrders"], 500);
    assert!(summary["latency"]["p99Us"].as_u64() > Some(0), "{summary:#}");
}

#[test]
fn what_comes_back_goes_to_the_waitlist() {
    let summary = demo(&["--stock", "100", "--buyers", "1000", "--waitlist", "500"]);
    assert_eq!(summary["asPromised"], true, "{summary:#}");
    assert_eq!(summary["sold"], 100);
    assert!(summary["servedFromWaitlist"].as_u64() > Some(0), "{summary:#}");
}

#[test]
fn more_stock_than_buyers_is_no_failure() {
    let summary = demo(&["--stock", "1k", "--buyers", "200", "--seed", "7"]);
    assert_eq!((&summary["sold"], &summary["mustSell"]), (&json!(200), &json!(200)));
}
