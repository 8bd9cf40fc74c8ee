//! More connections than the server has descriptors for: those go that rest, and buyers who come
//! are served.

use super::attack::{Attack, Target};
use super::attackers::Kind;
use super::support::load::Load;
use super::support::metrics::Metrics;
use super::support::{Server, doorbuster_after, or_skip, verify_and_audit, wait_until};
use doorbuster_loadgen::{Pace, Prepare};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::json;
use std::net::TcpStream;
use std::time::Duration;

/// Open files of the server. Its engine has about a hundred.
const FILES: u64 = 640;
/// Open files of the server that a crowd comes to, and how many come.
const FILES_OF_CROWD: usize = 1_600;
const CROWD: usize = 3_600;
const ATTACKERS: usize = 1_500;
const BUYERS: u64 = 40;

#[test]
fn who_comes_is_served_although_others_hold_all_connections() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let command = doorbuster_after(&format!("ulimit -n {FILES}"));
    let flags = ["--cores", "1", "--edge-threads", "1"];
    let server = Server::start_as(command, &data, "127.0.0.1:0", &flags);
    server.define("scarce", &json!({ "price": 100, "currency": "USD", "stock": 100_000 }));
    let load = Load::start(server.http, &data, |plan| {
        plan.products = vec!["honest".to_owned()];
        plan.pace = Pace::Open { rate: 100.0 };
        plan.concurrency = 4;
        plan.prepare = Some(Prepare {
            stock: 1_000_000,
            price: 100,
            limit_per_buyer: 0,
            hold_seconds: 3_600,
            waitlist_capacity: 0,
        });
    });
    let target = Target {
        http: server.http,
        bearer: format!("Bearer {}", server.token("mallory")),
        product: "scarce".to_owned(),
        pause: Duration::from_secs(1),
    };
    let attack = Attack::start(Kind::Idle, ATTACKERS, &target);
    let let_go = || Metrics::of(server.admin).sum(r#"edge_rejected_total{reason="let-go"}"#);
    wait_until("connections are let go", || let_go() > ATTACKERS as f64 / 4.0);
    for number in 0..BUYERS {
        let token = server.token(&format!("buyer-{number}"));
        let answer = server.client().buy("scarce", &token, None, false);
        assert_eq!(answer.status, 201, "{answer:?}");
    }
    let tally = attack.stop();
    assert!(tally.get(|tally| &tally.opened) >= ATTACKERS as u64);
    let page = Metrics::of(server.admin);
    assert_eq!(
        page.sum(r#"edge_rejected_total{reason="connections"}"#),
        0.0,
        "nobody stood outside"
    );
    assert!(!server.log().contains("cannot be accepted"), "it never ran out of descriptors");
    load.stop();
    assert!(server.stop().success());
    verify_and_audit(&data);
}

#[test]
fn those_who_are_let_go_leave_descriptors_for_those_who_come() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let Some(()) = or_skip(can_open(CROWD as u64 + 200)) else { return };
    let command = doorbuster_after(&format!("ulimit -n {FILES_OF_CROWD}"));
    let flags = ["--cores", "1", "--edge-threads", "1"];
    let server = Server::start_as(command, &data, "127.0.0.1:0", &flags);
    // All of them wait in the listener's queue, and so are let in, and let go, as fast as can be.
    server.signal(Signal::STOP);
    let crowd: Vec<_> =
        (0..CROWD).map(|_| TcpStream::connect(server.http).expect("the kernel keeps it")).collect();
    server.signal(Signal::CONT);
    let let_go = || Metrics::of(server.admin).sum(r#"edge_rejected_total{reason="let-go"}"#);
    wait_until("all have been let in", || let_go() > (CROWD - FILES_OF_CROWD) as f64);
    assert_eq!(server.client().call("GET", "/health", None, None).status, 200);
    drop(crowd);
    assert!(!server.log().contains("cannot be accepted"), "it never ran out of descriptors");
    assert!(server.stop().success());
}

/// Lets this process open so many files, and the kernel keep as many connections for a server.
fn can_open(files: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < files) {
        let raised = Rlimit { current: Some(files), maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised)
            .map_err(|error| format!("{files} open files are not allowed here: {error}"))?;
    }
    let kept = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    match kept.trim().parse::<u64>() {
        Ok(kept) if kept < CROWD as u64 => {
            Err(format!("net.core.somaxconn is {kept}; {CROWD} are to wait"))
        }
        _ => Ok(()),
    }
}
