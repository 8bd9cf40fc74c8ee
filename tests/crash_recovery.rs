//! Killed at random moments under load, again and again: whatever was acknowledged is there after
//! every restart, nothing is sold twice, the same key still means the same order, and every answer,
//! refusals included, was right at some time between the request and the answer.
//!
//! `DOORBUSTER_CRASH_CYCLES=1000` makes it longer, `DOORBUSTER_SEED=…` kills at the same delays.

mod support;

use doorbuster_history::verdict::Looked;
use doorbuster_loadgen::{Amount, Credentials, FollowQueued, Plan, Progress, Target, journal};
use serde_json::json;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use support::history::{embedded_rows, judge};
use support::{Server, doorbuster, run_well, seed, token_secret, verify_and_audit};

const CYCLES: u64 = 50;
/// How long the load runs between two kills.
const LOAD_MS: std::ops::Range<u64> = 20..500;
/// How long a start may last that is killed before it is ready.
const START_MS: std::ops::Range<u64> = 1..80;
/// Sold out early, so that most cycles try to sell beyond it.
const FEW: u32 = 500;
const MANY: u32 = 100_000_000;
/// Held for a second only, so that units come back to those who wait.
const BRIEF: u32 = 40;
/// How often somebody who waits looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Orders that are asked for again with their key at the end.
const KEYS_TRIED: usize = 400;

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_sold_twice() {
    let cycles = std::env::var("DOORBUSTER_CRASH_CYCLES")
        .map_or(CYCLES, |text| text.parse().expect("DOORBUSTER_CRASH_CYCLES is a number"));
    let seed = seed("DOORBUSTER_SEED");
    let mut random = fastrand::Rng::with_seed(seed);
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let list = home.path().join("journal.jsonl");

    let mut server = Server::start(&data);
    let terms = |stock: u32| json!({ "price": 100, "stock": stock, "holdSeconds": 3600 });
    server.define("few", &terms(FEW));
    server.define("many", &terms(MANY));
    let mut brief = terms(BRIEF);
    brief["holdSeconds"] = json!(1);
    brief["limitPerUser"] = json!(2);
    brief["waitlistCapacity"] = json!(BRIEF);
    server.define("brief", &brief);
    let http = server.http.to_string();
    let progress = Arc::new(Progress::default());
    let load = {
        let (progress, list) = (Arc::clone(&progress), list.clone());
        let secret = token_secret(&data);
        let target = Target::http(server.http);
        thread::spawn(move || {
            let plan = Plan {
                amount: Amount::Duration(Duration::from_secs(3_600)),
                concurrency: 32,
                buyers: 5_000,
                products: ["few", "many", "brief"].map(str::to_owned).to_vec(),
                waitlist: true,
                follow_queued: Some(FollowQueued { every: LOOK_EVERY, patience: LOOK_EVERY }),
                duplicates: 0.1,
                pay: 0.4,
                cancel: 0.2,
                retries: 1_000,
                tolerate_disconnects: true,
                credentials: Credentials::secret(&secret),
                journal: Some(list),
                seed,
                ..Plan::new(target)
            };
            doorbuster_loadgen::run(plan, progress).expect("a report")
        })
    };
    for cycle in 1..=cycles {
        let before = progress.answers();
        support::wait_until("the load is answered", || progress.answers() > before);
        thread::sleep(Duration::from_millis(random.u64(LOAD_MS)));
        server.kill();
        run_well(&["log", "verify", "--data", data.to_str().expect("UTF-8")]);
        if random.u8(..) < 64 {
            kill_while_starting(&data, &http, random.u64(START_MS));
        }
        if cycle % 10 == 0 {
            verify_and_audit(&data);
        }
        server = Server::start_with(&data, &http, &[]);
    }
    progress.stop();
    let report = load.join().expect("no panic");
    assert_eq!(report.violations, 0, "{report}");
    assert!(report.is_clean(), "{report}");

    let acknowledged = journal::read(&list).expect("the list of acknowledged orders");
    eprintln!("{cycles} kills, {} acknowledgements", acknowledged.len());
    assert!(acknowledged.len() as u64 > cycles, "there was a load");
    same_key_same_order(&server, &acknowledged, &mut random);
    assert!(server.stop().success());
    let audit = verify_and_audit(&data);
    assert_eq!(audit["oversold"], 0);
    let verdict = judge(&data, &[&list], Some(embedded_rows(&data)));
    let Looked { refused, waited, read, .. } = verdict.looked;
    assert!(refused > cycles && waited > 0 && read > 0, "there was all of it: {verdict}");
}

/// Starts a server and kills it in the middle of its recovery.
fn kill_while_starting(data: &Path, http: &str, after_ms: u64) {
    let mut child = doorbuster()
        .args(["serve", "--http", http, "--admin", "off", "--data"])
        .arg(data)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    thread::sleep(Duration::from_millis(after_ms));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
}

fn same_key_same_order(
    server: &Server,
    acknowledged: &[journal::Entry],
    random: &mut fastrand::Rng,
) {
    let mut client = server.client();
    let secret = Credentials::secret(&token_secret(server.data()));
    for _ in 0..KEYS_TRIED {
        let entry = &acknowledged[random.usize(..acknowledged.len())];
        let token = secret.buyer(&entry.buyer);
        let again = client.buy(&entry.product, &token, Some(&entry.key), true);
        assert_eq!(again.order(), entry.order_id, "{again:?}");
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{again:?}");
    }
}
