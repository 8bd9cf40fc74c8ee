//! The load generator over the binary protocol, against a core made of the same session code.

mod support;

use doorbuster_loadgen::{FollowQueued, LoadError, Pace, Plan, Progress, Report, Target, run};
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::outcome::OrderStatus;
use std::sync::Arc;
use std::time::Duration;
use support::Shop;
use support::binary_server::BinaryServer;

const KEY: [u8; 32] = [9; 32];

fn plan_for(server: &BinaryServer, key: [u8; 32]) -> Plan {
    let mut plan = Plan::new(Target::Binary(vec![server.address()], PreSharedKey::new(key)));
    plan.concurrency = 256;
    plan
}

fn carry_out(plan: Plan) -> Report {
    let seed = plan.seed;
    let report = run(plan, Arc::new(Progress::default()));
    report.unwrap_or_else(|error| panic!("seed {seed}: {error}"))
}

#[test]
fn a_sale_ends_with_as_many_winners_as_units() {
    fn check(threads: usize, pace: Pace) {
        let server = BinaryServer::start(Shop::new(500, 0), &PreSharedKey::new(KEY));
        let mut plan = plan_for(&server, KEY).buyers_once(5_000);
        (plan.duplicates, plan.pay) = (0.3, 0.5);
        (plan.threads, plan.pace) = (threads, pace);
        let report = carry_out(plan);
        assert!(report.is_clean(), "{report}");
        assert_eq!((report.attempts, report.winners), (5_000, 500), "{report}");
        assert_eq!(report.accepted, 500, "{report}");
        assert!(report.replayed > 0 && report.paid > 0, "{report}");
        let shop = server.shop.lock().expect("no panic under the lock");
        assert_eq!(shop.orders.len(), 500);
        assert_eq!(shop.count(OrderStatus::Paid), report.paid);
    }
    check(1, Pace::Closed);
    check(2, Pace::Closed);
    check(1, Pace::Open { rate: 50_000.0 });
}

#[test]
fn queued_orders_are_followed() {
    let server = BinaryServer::start(Shop::new(100, 50), &PreSharedKey::new(KEY));
    let mut plan = plan_for(&server, KEY).buyers_once(300);
    (plan.waitlist, plan.cancel) = (true, 0.5);
    plan.follow_queued = Some(FollowQueued {
        every: Duration::from_millis(5),
        patience: Duration::from_millis(500),
    });
    let report = carry_out(plan);
    assert!(report.is_clean() && report.promoted > 0, "{report}");
    let shop = server.shop.lock().expect("no panic under the lock");
    assert_eq!(shop.count(OrderStatus::Cancelled), report.cancelled);
}

#[test]
fn a_server_that_forgets_keys_is_caught() {
    let server = BinaryServer::start(Shop::forgetful(10_000), &PreSharedKey::new(KEY));
    let mut plan = plan_for(&server, KEY).buyers_once(200);
    plan.duplicates = 0.5;
    let report = carry_out(plan);
    assert!(report.violations > 0 && !report.is_clean(), "{report}");
}

#[test]
fn a_wrong_key_is_said_before_anything_is_sent() {
    let server = BinaryServer::start(Shop::new(1, 0), &PreSharedKey::new(KEY));
    let error = run(plan_for(&server, [1; 32]), Arc::default()).expect_err("the key is wrong");
    assert!(matches!(error, LoadError::Unreachable { .. }), "{error}");
    assert!(server.shop.lock().expect("no panic under the lock").orders.is_empty());
}
