//! A whole sale on four Postgres shards: what was sold is what stands in the shards, each buyer's
//! rows are together, and the audit finds nothing.

mod support;

use serde_json::{Value, json};
use std::process::Command;
use support::shards::{Shards, words};
use support::{run, run_well};

fn demo(shards: &Shards, flags: &[&str]) -> Value {
    let stores = shards.flags();
    let arguments = [&["demo", "--json"], flags, &words(&stores)].concat();
    serde_json::from_str(&run_well(&arguments)).expect("the summary is JSON")
}

#[test]
fn what_is_sold_stands_in_four_shards() {
    let shards = Shards::shared(4);
    let summary = demo(&shards, &["--stock", "500", "--buyers", "3000"]);
    assert_eq!(summary["asPromised"], true, "{summary:#}");
    assert_eq!((&summary["sold"], &summary["oversold"]), (&json!(500), &json!(0)));
    assert_eq!(summary["audit"]["storeOrders"], 500);
    assert_eq!(shards.rows().len(), 500);
    assert_eq!(shards.sum("SELECT count(*) FROM order_items"), 500);
    assert_eq!(shards.sum("SELECT count(*) FROM orders WHERE status = 'paid'"), 500);
    shards.are_in_order();
    for database in &shards.0 {
        assert!(database.number("SELECT count(*) FROM orders") > 50, "each has its share");
        // Also one that had no rows of a partition is as far as the others.
        assert_eq!(database.psql("SELECT count(*), min(epoch) > 0 FROM checkpoints"), "16|t");
    }

    // The shards are this sale's: another one is refused, and changes nothing.
    let stores = shards.flags();
    let again = run(&[&["demo", "--stock", "5", "--buyers", "5"], &words(&stores)[..]].concat());
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(7), "{said}");
    assert!(said.contains("why: ") && said.contains("next: "), "{said}");
    assert_eq!(shards.orders(), 500);
}

#[test]
fn what_comes_back_goes_to_the_waitlist() {
    let shards = Shards::shared(4);
    let summary = demo(&shards, &["--stock", "100", "--buyers", "1000", "--waitlist", "500"]);
    assert_eq!(summary["asPromised"], true, "{summary:#}");
    assert_eq!(summary["sold"], 100);
    assert!(summary["servedFromWaitlist"].as_u64() > Some(0), "{summary:#}");
    assert_eq!(summary["audit"]["storeOrders"], shards.rows().len());
    assert_eq!(shards.sum("SELECT count(*) FROM orders WHERE status = 'paid'"), 100);
    shards.are_in_order();
}

#[test]
fn a_script_starts_shards_for_it() {
    // As the help of `demo` says it, but for the numbers.
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/postgres");
    let output = Command::new(script)
        .args(["run", "--fast", "--", env!("CARGO_BIN_EXE_doorbuster"), "demo", "{urls}"])
        .args(["--json", "--stock", "200", "--buyers", "1000"])
        .output()
        .expect("the script runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let summary: Value = serde_json::from_slice(&output.stdout).expect("the summary is JSON");
    assert_eq!((&summary["sold"], &summary["asPromised"]), (&json!(200), &json!(true)));
}
