//! Stopped where it stands and let go on seconds later: a whole server, and each role while the
//! others run. Nobody hangs on a frozen engine, and nobody is harmed by a frozen neighbour.

use crate::apart::{Apart, Part, Start};
use crate::shop::Shop;
use crate::support::metrics::Metrics;
use crate::support::{Server, seed, wait_until};
use crate::trial::{Trial, dial, times};
use crate::witness::Came;
use rustix::process::Signal;
use std::thread;
use std::time::{Duration, Instant};

fn durations(seed_variable: &str) -> impl Iterator<Item = Duration> {
    let mut random = fastrand::Rng::with_seed(seed(seed_variable));
    let range = dial(1_500..1_501, 5_000..30_000);
    (0..times(1, 6)).map(move |_| Duration::from_millis(random.u64(range.clone())))
}

#[test]
fn a_whole_server_frozen() {
    let mut trial = Trial::of("server frozen");
    let data = trial.data();
    let flags = ["--cores", "1", "--edge-threads", "1", "--order-timeout", "500ms"];
    let server = Server::start_with(&data, "127.0.0.1:0", &flags);
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, None);
    let witness = trial.witness(server.http, &data);
    for frozen in durations("DOORBUSTER_SEED") {
        trial.until_sold(&load, Instant::now());
        server.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(50));
        let before = load.progress.accepted();
        thread::sleep(frozen);
        assert_eq!(load.progress.accepted(), before, "it is frozen");
        server.signal(Signal::CONT);
        trial.fault();
        trial.until_sold(&load, Instant::now());
    }
    trial.close(server, load, witness);
}

#[test]
fn a_frozen_engine_makes_edges_refuse_and_nobody_hang() {
    let mut trial = Trial::of("engine frozen, edge alive");
    let data = trial.data();
    let start = Start { edge_flags: &["--order-timeout", "500ms"], ..Start::default() };
    let mut shop = Apart::start(&data, start);
    trial.open_sale(shop.http(), &data);
    let load = trial.load(shop.http(), &data, None);
    let witness = trial.witness(shop.http(), &data);
    for frozen in durations("DOORBUSTER_SEED") {
        trial.until_sold(&load, Instant::now());
        shop.freeze(Part::Engine);
        let begun = Instant::now();
        thread::sleep(frozen);
        // While it stands still: so it is the edge's own time that ends the wait.
        wait_until("it is refused again and again", || {
            witness.seen().since(begun).filter(|it| it.came != Came::Order).count() >= 2
        });
        // Past the time after which a silent core counts as lost, the edge says so of itself.
        let is_ready = shop.is_ready();
        shop.thaw(Part::Engine);
        trial.fault();
        trial.until_sold(&load, Instant::now());
        let seen = witness.seen();
        for sighting in seen.since(begun) {
            let is_answer = matches!(sighting.came, Came::Order | Came::Refusal(503, _));
            assert!(is_answer, "{sighting:?}");
        }
        let is_lost = frozen > Duration::from_secs(15);
        assert!(!(is_lost && is_ready), "an edge without an engine is not ready");
    }
    trial.close(shop, load, witness);
}

#[test]
fn a_frozen_projector_stops_no_order() {
    let mut trial = Trial::of("projector frozen");
    let data = trial.data();
    let mut shop = Apart::start(&data, Start::default());
    trial.open_sale(shop.http(), &data);
    let load = trial.load(shop.http(), &data, None);
    let witness = trial.witness(shop.http(), &data);
    for frozen in durations("DOORBUSTER_SEED") {
        trial.until_sold(&load, Instant::now());
        shop.freeze(Part::Projector);
        let (begun, before) = (Instant::now(), load.progress.accepted());
        thread::sleep(frozen);
        wait_until("the sale goes on", || load.progress.accepted() > before + 100);
        shop.thaw(Part::Projector);
        trial.fault();
        trial.until_sold(&load, Instant::now());
        let seen = witness.seen();
        assert_eq!(seen.since(begun).find(|it| it.came != Came::Order).map(|it| &it.came), None);
    }
    trial.close(shop, load, witness);
}

#[test]
fn a_frozen_edge_harms_no_other_edge() {
    let mut trial = Trial::of("edge frozen, other edge alive");
    let data = trial.data();
    let mut shop = Apart::start(&data, Start::default());
    trial.open_sale(shop.http(), &data);
    let other = shop.another_edge();
    let load = trial.load(shop.http(), &data, None);
    let witness = trial.witness(other.address.expect("it listens"), &data);
    for frozen in durations("DOORBUSTER_SEED") {
        trial.until_sold(&load, Instant::now());
        shop.freeze(Part::Edge);
        let begun = Instant::now();
        thread::sleep(frozen);
        wait_until("others order on", || witness.seen().since(begun).count() > 10);
        let engine = Metrics::of(shop.engine_admin());
        shop.thaw(Part::Edge);
        trial.fault();
        trial.until_sold(&load, Instant::now());
        assert!(engine.sum("engine_connections") >= 2.0, "the frozen one is still connected");
        let seen = witness.seen();
        assert_eq!(seen.since(begun).find(|it| it.came != Came::Order).map(|it| &it.came), None);
    }
    let testimony = trial.close(shop, load, witness);
    assert!(testimony.refusals().is_empty(), "{:?}", testimony.refusals());
    drop(other);
}
