//! Buckets of buyers move from two shards to four while buyers order, look and list: no request
//! fails, every list is complete afterwards, and a move that is killed is finished by the next one.
//!
//! `DOORBUSTER_MOVE_KILLS=50` kills more moves, `DOORBUSTER_SEED=…` at the same moments.

mod support;

use doorbuster_loadgen::journal::Entry;
use doorbuster_loadgen::{Credentials, Pace, Prepare};
use doorbuster_persistence::BucketSet;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;
use support::http::Client;
use support::load::Load;
use support::shards::{Shards, words};
use support::{Server, doorbuster, run_well, seed, token_secret, wait_until};

const BUYERS: u64 = 400;
/// Orders per second.
const RATE: f64 = 300.0;
/// Clients that list and read.
const READERS: u64 = 3;
/// Moves that are killed.
const KILLS: u64 = 10;
/// After what they have said they are: none of it, or one of their steps.
const STEPS: [&str; 5] = ["", "copied", "carried", "switched", "verified"];
/// How long after that.
const KILL_MS: std::ops::Range<u64> = 0..40;
/// How long after a start that has said nothing yet.
const START_MS: std::ops::Range<u64> = 20..300;

/// A sale that has two of four shards, and knows nothing of the others.
struct Sale {
    shards: Shards,
    server: Server,
    load: Load,
}

fn buyer(number: u64) -> String {
    format!("buyer-{number:08}")
}

impl Sale {
    fn start(data: &Path) -> Self {
        let shards = Shards::shared(4);
        let (one, two) = (shards.0[0].url(), shards.0[1].url());
        let server = Server::start_with(data, "127.0.0.1:0", &["--store", &one, "--store", &two]);
        let load = Load::start(server.http, data, |plan| {
            plan.pace = Pace::Open { rate: RATE };
            plan.buyers = BUYERS;
            plan.products = ["lamp", "vase", "rug"].map(str::to_owned).to_vec();
            (plan.pay, plan.cancel) = (0.3, 0.2);
            plan.prepare = Some(Prepare {
                stock: 100_000_000,
                price: 1_999,
                limit_per_buyer: 0,
                hold_seconds: 3,
                waitlist_capacity: 0,
            });
        });
        wait_until("there is something to move", || shards.0[0].number(COUNT) > 100);
        Self { shards, server, load }
    }

    /// `project --move-buckets BUCKETS --to` a shard, as somebody who knows the first `known`.
    fn move_buckets(&self, buckets: &str, to: usize, known: usize) -> Vec<String> {
        let data = self.server.data().to_str().expect("UTF-8");
        let mut arguments: Vec<String> =
            ["project", "--data", data, "--move-buckets", buckets, "--to"]
                .map(str::to_owned)
                .to_vec();
        arguments.push(format!("shard-{to}={}", self.shards.0[to].url()));
        for database in &self.shards.0[..known] {
            arguments.extend(["--store".to_owned(), database.url()]);
        }
        arguments
    }

    /// Ends the load and looks whether everything is where it belongs.
    fn ends_well(self, data: &Path, readers: &Readers) {
        readers.stop.store(true, Ordering::Relaxed);
        let Self { shards, server, load } = self;
        let (report, acknowledged) = load.stop();
        assert_eq!((report.errors, report.retries), (0, 0), "{report}");
        shards.wait_until_filled(data, server.admin);
        let owned: Vec<_> = shards.buckets().iter().map(BucketSet::to_string).collect();
        assert_eq!(owned, ["0-255", "512-767", "256-511", "768-1023"]);
        shards.are_in_order();
        shards.hold(&acknowledged);
        lists_are_complete(&server, &acknowledged);
        assert!(server.stop().success());

        // With the configuration of before, the shards that joined are found; and it is said.
        let (one, two) = (shards.0[0].url(), shards.0[1].url());
        let server = Server::start_with(data, "127.0.0.1:0", &["--store", &one, "--store", &two]);
        wait_until("it warns of shards that it was not told of", || {
            let log = server.log();
            log.contains("WARN") && log.contains("shard-2") && log.contains("shard-3")
        });
        lists_are_complete(&server, &acknowledged);
        assert!(server.stop().success());
        // With all of them in the configuration too.
        let server = Server::start_with(data, "127.0.0.1:0", &words(&shards.flags()));
        lists_are_complete(&server, &acknowledged);
        assert!(server.stop().success());
    }
}

const COUNT: &str = "SELECT count(*) FROM orders";

/// Each buyer's list has every order that the buyer was promised.
fn lists_are_complete(server: &Server, acknowledged: &[Entry]) {
    let mut promised: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entry in acknowledged {
        promised.entry(&entry.buyer).or_default().insert(&entry.order_id);
    }
    let secret = Credentials::secret(&token_secret(server.data()));
    let mut client = server.client();
    for (buyer, orders) in promised {
        let token = secret.buyer(buyer);
        let mut listed = BTreeSet::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/orders/user/{buyer}?limit=100{cursor}");
            let page = client.call("GET", &path, Some(&token), None);
            assert_eq!(page.status, 200, "{page:?}");
            for order in page.body["orders"].as_array().expect("orders") {
                let order = order["orderId"].as_str().expect("an order").to_owned();
                assert!(listed.insert(order), "an order is listed twice: {page:?}");
            }
            let Some(next) = page.body["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let missing: Vec<_> = orders.into_iter().filter(|id| !listed.contains(*id)).collect();
        assert!(missing.is_empty(), "the list of {buyer} lacks {missing:?}");
    }
}

/// Buyers who look at their lists and their orders until they are stopped.
#[derive(Default)]
struct Readers {
    stop: AtomicBool,
    answers: AtomicU64,
}

impl Readers {
    /// Reads on: each buyer's list never loses an order that it had, and each order is found.
    fn read(&self, server: &Server, reader: u64) {
        let secret = Credentials::secret(&token_secret(server.data()));
        let mut random = fastrand::Rng::new();
        let mut client = Client::connect(server.http);
        let mut known: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        while !self.stop.load(Ordering::Relaxed) {
            let number = random.u64(..BUYERS / READERS) * READERS + reader;
            let token = secret.buyer(&buyer(number));
            let path = format!("/orders/user/{}?limit=100", buyer(number));
            let list = client.call("GET", &path, Some(&token), None);
            assert_eq!(list.status, 200, "{list:?}");
            let orders = list.body["orders"].as_array().expect("orders");
            let orders: Vec<_> =
                orders.iter().filter_map(|order| order["orderId"].as_str()).collect();
            let before = known.entry(number).or_default();
            let is_whole = list.body["nextCursor"].is_null();
            let lost = before.iter().find(|order| is_whole && !orders.contains(&order.as_str()));
            assert_eq!(lost, None, "the list of {} was longer before", buyer(number));
            before.extend(orders.iter().map(|&order| order.to_owned()));
            if let Some(order) = random.choice(&orders) {
                let read = client.call("GET", &format!("/orders/{order}"), Some(&token), None);
                assert_eq!(read.status, 200, "{read:?}");
            }
            self.answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs `act` beside readers; none of them may see anything fail.
fn beside_readers(sale: Sale, data: &Path, act: impl FnOnce(&Sale, &Readers)) {
    let readers = Readers::default();
    thread::scope(|scope| {
        let (readers, server) = (&readers, &sale.server);
        let threads: Vec<_> =
            (0..READERS).map(|reader| scope.spawn(move || readers.read(server, reader))).collect();
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&sale, readers)));
        readers.stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("no request of a reader failed");
        }
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    eprintln!("{} lists were read", readers.answers.load(Ordering::Relaxed));
    sale.ends_well(data, &readers);
}

#[test]
fn two_shards_become_four_under_load() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    beside_readers(Sale::start(&data), &data, |sale, readers| {
        for (buckets, to) in [("256-511", 2), ("768-1023", 3)] {
            let arguments = sale.move_buckets(buckets, to, to);
            let said = run_well(&words(&arguments));
            eprint!("{said}");
            for step in ["copied", "switched", "verified", "dropped"] {
                assert!(said.contains(step), "no `{step}` in: {said}");
            }
            // Sales and looks go on with it.
            let (orders, looks) = (sale.load.progress.accepted(), &readers.answers);
            let before = looks.load(Ordering::Relaxed);
            wait_until("orders are placed and lists are read", || {
                sale.load.progress.accepted() > orders + 100
                    && looks.load(Ordering::Relaxed) > before + 50
            });
            let arrived = &sale.shards.0[to];
            assert!(arrived.number(COUNT) > 0, "the new shard has them");
        }
        // The same again changes nothing, and says so.
        let arguments = sale.move_buckets("256-511", 2, 4);
        let said = run_well(&words(&arguments));
        assert!(said.contains("already"), "{said}");
    });
}

#[test]
fn a_move_that_is_killed_is_finished_by_the_next_one() {
    let kills = std::env::var("DOORBUSTER_MOVE_KILLS")
        .map_or(KILLS, |text| text.parse().expect("DOORBUSTER_MOVE_KILLS is a number"));
    let mut random = fastrand::Rng::with_seed(seed("DOORBUSTER_SEED"));
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    beside_readers(Sale::start(&data), &data, |sale, _| {
        let moves = [("256-511", 0, 2), ("768-1023", 1, 3)];
        // Where each is going: a move that came to its end is followed by the way back.
        let mut goals = moves.map(|(_, _, to)| to);
        let mut deck = Vec::new();
        for _ in 0..kills {
            if deck.is_empty() {
                // Dealt like cards, so that a short run has each of them.
                deck.extend((0..moves.len()).flat_map(|it| STEPS.map(|step| (it, step))));
                random.shuffle(&mut deck);
            }
            let (which, step) = deck.pop().expect("it was filled");
            let (buckets, home, away) = moves[which];
            let mut child = start_move(&sale.move_buckets(buckets, goals[which], 2));
            let after = if step.is_empty() { START_MS } else { KILL_MS };
            let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
            // A move that has less left to do says less, and ends.
            while !step.is_empty()
                && let Some(Ok(line)) = said.next()
                && !line.contains(step)
            {}
            thread::sleep(Duration::from_millis(random.u64(after)));
            let _ = child.kill();
            let ended = child.wait().expect("it ends");
            eprintln!("{buckets} to shard {}, after `{step}`: {ended}", goals[which]);
            assert!(ended.success() || ended.code().is_none(), "it failed by itself: {ended}");
            if ended.success() {
                goals[which] = home + away - goals[which];
            }
        }
        for ((buckets, ..), to) in moves.into_iter().zip(goals) {
            eprint!("{}", run_well(&words(&sale.move_buckets(buckets, to, 2))));
        }
        for (buckets, _, to) in moves {
            eprint!("{}", run_well(&words(&sale.move_buckets(buckets, to, 2))));
        }
    });
}

fn start_move(arguments: &[String]) -> Child {
    let mut command = doorbuster();
    command.args(arguments).stdout(Stdio::piped()).spawn().expect("the binary starts")
}
