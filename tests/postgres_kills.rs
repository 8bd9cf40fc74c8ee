//! Projector, Postgres backends and Postgres itself are killed at random moments under load, again
//! and again: every order of the log has its row once, and no checkpoint ever goes back.
//!
//! `DOORBUSTER_POSTGRES_KILLS=200` makes it longer, `DOORBUSTER_SEED=…` takes the same choices.

mod support;

use doorbuster_loadgen::{Pace, Prepare};
use doorbuster_postgres_harness::{Clusters, Options};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use support::history::{judge, rows_of_shards};
use support::http::Client;
use support::load::Load;
use support::role::Role;
use support::seed;
use support::shards::{Shards, words};
use support::wait_until;

const KILLS: u64 = 20;
/// Orders per second.
const RATE: f64 = 1_000.0;
/// From results that reach the shards again to the next kill.
const LOAD_MS: std::ops::Range<u64> = 0..250;
/// How long a killed server or projector stays away.
const AWAY_MS: std::ops::Range<u64> = 0..400;
/// How long a batch that was found is let go on before its backend is ended.
const INTO_BATCH_MS: std::ops::Range<u64> = 0..6;

/// How those are counted.
const BACKEND: &str = "backend of a batch: ";
/// Ends the backend of a batch that has written and has not committed: it has a transaction id.
/// Says in which statement it was; the loop gives up after some seconds without a batch.
const END_A_BATCH: &str = "
CREATE FUNCTION pg_temp.end_a_batch(of_database TEXT, after_ms FLOAT) RETURNS TEXT
LANGUAGE plpgsql AS $$
DECLARE
    victim pg_stat_activity;
    now pg_stat_activity;
BEGIN
    FOR tries IN 1..3000 LOOP
        PERFORM pg_stat_clear_snapshot();
        SELECT * INTO victim FROM pg_stat_activity
            WHERE datname = of_database AND backend_xid IS NOT NULL
            AND application_name = 'doorbuster' LIMIT 1;
        IF FOUND THEN
            PERFORM pg_sleep(after_ms / 1000);
            PERFORM pg_stat_clear_snapshot();
            SELECT * INTO now FROM pg_stat_activity
                WHERE pid = victim.pid AND backend_xid = victim.backend_xid;
            IF FOUND THEN
                PERFORM pg_terminate_backend(now.pid);
                RETURN now.state || ' · ' || split_part(ltrim(now.query, E' \\n'), ' ', 1);
            END IF;
        END IF;
        PERFORM pg_sleep(0.001);
    END LOOP;
    RETURN 'no batch';
END $$;";

/// What is killed.
struct Sale {
    data: PathBuf,
    core: String,
    stores: Vec<String>,
    projector: Option<Role>,
}

impl Sale {
    /// Starts the projector.
    fn project(&mut self) {
        let flags = ["project", "--engine", &self.core];
        let flags = [&flags, &words(&self.stores)[..]].concat();
        self.projector = Some(Role::start(&self.data, &flags, "projecting"));
    }

    fn kill_projector(&mut self) {
        self.projector = None;
    }

    fn admin(&self) -> SocketAddr {
        let projector = self.projector.as_ref().expect("it runs");
        projector.admin.expect("it has an admin page")
    }
}

/// Where every partition stood in every shard.
#[derive(Default)]
struct Checkpoints(BTreeMap<(usize, u16), u64>);

impl Checkpoints {
    /// Takes those of now, none of which may have gone back.
    fn look(&mut self, shards: &Shards) {
        for (place, now) in shards.checkpoints() {
            let before = self.0.insert(place, now).unwrap_or(0);
            assert!(now >= before, "shard and partition {place:?} went back: {before}, then {now}");
        }
    }

    fn sum(&self) -> u64 {
        self.0.values().sum()
    }
}

#[test]
fn every_result_arrives_once_whatever_is_killed() {
    let kills = std::env::var("DOORBUSTER_POSTGRES_KILLS")
        .map_or(KILLS, |text| text.parse().expect("DOORBUSTER_POSTGRES_KILLS is a number"));
    let mut random = fastrand::Rng::with_seed(seed("DOORBUSTER_SEED"));
    let clusters = Clusters::private(&Options { shards: 4, ..Options::default() });
    let shards = Shards::of(&clusters);
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");

    // Nothing of the log is let go of, so that the audit compares every order.
    let log = ["--segment-size", "1GiB"];
    let engine = ["engine", "--cores", "1", "--engine-listen", "127.0.0.1:0"];
    let engine = Role::start(&data, &[&engine, &log[..]].concat(), "listening");
    let core = engine.address.expect("the engine listens").to_string();
    let stores = shards.flags();
    let mut sale = Sale { data: data.clone(), core: core.clone(), stores, projector: None };
    sale.project();
    let edge = ["edge", "--engine", &core, "--http", "127.0.0.1:0", "--edge-threads", "1"];
    let edge = [&edge, &words(&sale.stores)[..]].concat();
    let edge = Role::start(&data, &edge, "the edge listens");
    let http = edge.address.expect("the edge listens");
    let load = load(http, &data);

    let mut seen = Checkpoints::default();
    let mut killed: BTreeMap<String, u64> = BTreeMap::new();
    let mut deck: Vec<u8> = Vec::new();
    for _ in 0..kills {
        let before = seen.sum();
        wait_until("results reach the shards", || {
            seen.look(&shards);
            seen.sum() > before
        });
        thread::sleep(Duration::from_millis(random.u64(LOAD_MS)));
        let shard = random.usize(..shards.0.len());
        let away = Duration::from_millis(random.u64(AWAY_MS));
        if deck.is_empty() {
            // Dealt like cards, so that a short run has each of them too.
            deck.extend(0..8);
            random.shuffle(&mut deck);
        }
        let what = match deck.pop().expect("it was filled") {
            0 | 1 => {
                sale.kill_projector();
                thread::sleep(away);
                sale.project();
                "projector".to_owned()
            }
            2..=4 => end_a_batch(&shards, shard, random.u64(INTO_BATCH_MS)),
            5 => {
                shards.0[shard].terminate_backends("true");
                "all backends of a shard".to_owned()
            }
            6 => {
                clusters.shards()[shard].stop_immediate();
                thread::sleep(away);
                clusters.shards()[shard].start();
                "server".to_owned()
            }
            _ => {
                clusters.shards()[shard].stop_immediate();
                sale.kill_projector();
                // With one shard down, the other three are filled.
                sale.project();
                thread::sleep(away);
                clusters.shards()[shard].start();
                "server and projector".to_owned()
            }
        };
        *killed.entry(what).or_default() += 1;
        assert!(load.is_running(), "the sale goes on");
    }
    eprintln!("{kills} kills: {killed:#?}");
    let is_inside = |what: &String| what.starts_with(BACKEND) && !what.ends_with("no batch");
    assert!(kills < KILLS || killed.keys().any(is_inside), "none was in the middle of a batch");
    let journal = load.journal().to_owned();
    let (report, acknowledged) = load.stop();
    assert_eq!(report.errors, 0, "nobody noticed anything: {report}");
    let audit = shards.wait_until_filled(&data, sale.admin());
    seen.look(&shards);
    assert_eq!(audit["divergenceCount"], 0, "{audit:#}");
    shards.hold(&acknowledged);
    shards.are_in_order();
    judge(&data, &[&journal], Some(rows_of_shards(&shards.urls())));
}

/// Buyers who pay, cancel, come twice and let holds run out.
fn load(http: SocketAddr, data: &Path) -> Load {
    wait_until("the edge is ready", || {
        Client::connect(http).call("GET", "/ready", None, None).status == 200
    });
    Load::start(http, data, |plan| {
        plan.pace = Pace::Open { rate: RATE };
        plan.buyers = 20_000;
        plan.products = ["lamp", "vase", "rug"].map(str::to_owned).to_vec();
        plan.duplicates = 0.05;
        (plan.pay, plan.cancel) = (0.4, 0.2);
        plan.prepare = Some(Prepare {
            stock: 100_000_000,
            price: 1_999,
            limit_per_buyer: 0,
            hold_seconds: 5,
            waitlist_capacity: 0,
        });
    })
}

/// Ends the backend of a batch between its first write and its COMMIT; what it was doing.
fn end_a_batch(shards: &Shards, shard: usize, after_ms: u64) -> String {
    let database = &shards.0[shard];
    let name = database.name();
    let sql = format!("{END_A_BATCH} SELECT pg_temp.end_a_batch('{name}', {after_ms})");
    format!("{BACKEND}{}", database.server().psql(&sql))
}
