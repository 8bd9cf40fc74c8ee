//! `decide` and `apply` in process, on one core: what a partition can do when nothing else costs
//! anything. Its peer is the bare hash-map work of the same entries, in the same rounds.

use crate::figures::{Figures, figure, ratios};
use crate::goals;
use crate::machine;
use crate::options::Options;
use doorbuster_engine::state_machine::{State, apply, decide};
use doorbuster_protocol::command::{Define, Place};
use doorbuster_protocol::{BuyerId, Command, IdempotencyKey, Outcome, PartitionId, ProductId};
use doorbuster_protocol::{Quantity, Timestamp};
use hashbrown::HashTable;
use std::hint::black_box;
use xxhash_rust::xxh3::xxh3_64;

/// Commands that one batch decides with the same time, as the engine does.
const BATCH: usize = 256;

const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// One round in one fresh state, and in fresh tables.
struct Round {
    accepted: Rate,
    replayed: Rate,
    refused: Rate,
    one_map: Rate,
    both_maps: Rate,
}

/// The kernel's time is known in ticks of 10 ms only, so of less CPU time than this, in seconds, none
/// is left out.
const SHORTEST_S: f64 = 0.5;

/// Orders per second of the thread's CPU time.
struct Rate {
    /// Of the time that is its own. The kernel's is that for the first touch of memory, which is the
    /// machine's affair, and differs by ten times from one hour to the next.
    own: f64,
    /// Of all of it.
    with_first_touches: f64,
}

struct Timer {
    all: f64,
    system: f64,
}

impl Timer {
    fn start() -> Self {
        Self { all: machine::thread_cpu_seconds(), system: machine::thread_system_seconds() }
    }

    fn rate(&self, orders: usize) -> Rate {
        let all = machine::thread_cpu_seconds() - self.all;
        let system = machine::thread_system_seconds() - self.system;
        let rate = |seconds: f64| orders as f64 / seconds;
        let own = if all < SHORTEST_S { all } else { all - system };
        Rate { own: rate(own), with_first_touches: rate(all) }
    }
}

/// Places an order for each of so many buyers, with a key; asks again; asks when all is sold.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let seats = machine::Seats::choose();
    let product = ProductId::parse("bench")?;
    let mut random = fastrand::Rng::with_seed(7);
    let orders: Vec<Place> = (0..options.buyers).map(|_| order(product, &mut random)).collect();
    // On a thread of its own: what is measured after this must not inherit its seat.
    let rounds: Vec<Round> = std::thread::scope(|scope| {
        let measured = scope.spawn(|| {
            machine::sit_on(seats.client);
            (0..options.rounds).map(|_| round(product, &orders)).collect()
        });
        measured.join().expect("every decision is as expected")
    });

    let mut figures = Figures::new("Decisions of one core, in process");
    figures.note(machine::describe());
    figures.note(format!(
        "{} buyers, one order each, with an idempotency key; decide and apply, {} rounds on CPU {}; by \
         the thread's own CPU time, in which neighbours on the machine do not count",
        figure(f64::from(options.buyers)),
        options.rounds,
        seats.client,
    ));
    figures.note(
        "the kernel's time is left out, for both sides, nearly all of it for the first touch of \
         memory: it is the machine's affair, and differs by ten times from hour to hour; a row has the \
         rate with it; of less than half a second nothing is left out",
    );
    figures.note(
        "one map: two look-ups and an insert of an order's bytes by its key into a hashbrown table \
         that grows with it, hashed by XXH3 as the engine does; the goal is about this one",
    );
    figures.note(
        "both maps: the key is looked up and inserted in one table, the buyer in another, as the \
         engine has to",
    );
    let column = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
    let accepted = column(|round| round.accepted.own);
    let one_map = column(|round| round.one_map.own);
    let both_maps = column(|round| round.both_maps.own);
    figures.row("accepted orders", "decisions/s", &accepted);
    figures.row("replays of the same keys", "decisions/s", &column(|round| round.replayed.own));
    figures.row("refusals, sold out", "decisions/s", &column(|round| round.refused.own));
    figures.row("bare, one map", "orders/s", &one_map);
    figures.row("bare, both maps", "orders/s", &both_maps);
    let with = column(|round| round.accepted.with_first_touches);
    figures.row("accepted orders, with first touches", "decisions/s", &with);
    let with = column(|round| round.one_map.with_first_touches);
    figures.row("bare, one map, with first touches", "orders/s", &with);
    figures.row("accepted orders, to both maps", "×", &ratios(&accepted, &both_maps));
    let ratio = ratios(&accepted, &one_map);
    figures.row("accepted orders, to one map", "×", &ratio);
    figures.judge_with(&goals::DECISIONS_TO_HASH_MAP, &ratio, Some((&accepted, "/s")));
    figures.judge(&goals::DECISIONS, &accepted);
    Ok(figures)
}

fn order(product: ProductId, random: &mut fastrand::Rng) -> Place {
    Place {
        product,
        buyer: BuyerId::from_bytes(random.u128(..).to_be_bytes()),
        key: IdempotencyKey::from_bytes(random.u128(1..).to_be_bytes()),
        quantity: Quantity::ONE,
        waitlist: false,
    }
}

fn round(product: ProductId, orders: &[Place]) -> Round {
    let mut state = State::new(PartitionId::new(0).expect("in range"));
    let define = Command::Define(Define {
        price: Some(1_999),
        stock: Some(orders.len() as u32),
        limit_per_buyer: Some(1),
        ..Define::new(product)
    });
    let defined = decide(&state, &define, START);
    apply(&mut state, &defined.event.expect("a new product is an event"));
    let accepted = run(&mut state, orders, |outcome| matches!(outcome, Outcome::Placed(_)));
    let replayed = run(&mut state, orders, |outcome| matches!(outcome, Outcome::Replayed(_)));
    let refused = {
        // Those who come when all is sold: nobody has seen them, nor their keys.
        let mut random = fastrand::Rng::with_seed(8);
        let late: Vec<Place> = orders.iter().map(|_| order(product, &mut random)).collect();
        run(&mut state, &late, |outcome| matches!(outcome, Outcome::SoldOut))
    };
    drop(state);
    let one_map = one_map(orders);
    Round { accepted, replayed, refused, one_map, both_maps: both_maps(orders) }
}

/// Decisions per second. Every outcome must be as expected.
fn run(state: &mut State, orders: &[Place], is_expected: fn(&Outcome) -> bool) -> Rate {
    let timer = Timer::start();
    for (batch, orders) in orders.chunks(BATCH).enumerate() {
        let now = START.plus_micros(100 * batch as u64);
        for order in orders {
            let decision = decide(state, &Command::Place(*order), now);
            assert!(is_expected(&decision.outcome), "unexpected: {:?}", decision.outcome);
            if let Some(event) = &decision.event {
                apply(state, event);
            }
        }
        // The engine tells its edges after each batch.
        black_box(state.take_changed_products());
    }
    timer.rate(orders.len())
}

/// What any table would have to keep of an order: whose it is, by which key, of what, until when.
#[derive(Clone, Copy)]
#[expect(dead_code, reason = "its bytes are what counts")]
struct Entry {
    key: IdempotencyKey,
    buyer: BuyerId,
    expires_at: Timestamp,
    quantity: Quantity,
    product: u32,
}

impl Entry {
    fn of(order: &Place) -> Self {
        let Place { key, buyer, quantity, .. } = *order;
        Self { key, buyer, expires_at: START, quantity, product: 0 }
    }
}

fn hash_of(bytes: &[u8; 16]) -> u64 {
    xxh3_64(bytes)
}

/// Orders per second: is the key there, is the buyer there, insert.
fn one_map(orders: &[Place]) -> Rate {
    let timer = Timer::start();
    let mut entries: HashTable<Entry> = HashTable::new();
    for order in orders {
        let hash = hash_of(order.key.as_bytes());
        let seen = entries.find(hash, |entry| entry.key == order.key).is_some();
        let buyer = hash_of(order.buyer.as_bytes());
        let known = entries.find(buyer, |entry| entry.buyer == order.buyer).is_some();
        assert!(!seen && !known, "nobody comes twice");
        entries.insert_unique(hash, Entry::of(order), |entry| hash_of(entry.key.as_bytes()));
    }
    black_box(&entries);
    timer.rate(orders.len())
}

/// Orders per second: look the key and the buyer up in a table each, and insert into both.
fn both_maps(orders: &[Place]) -> Rate {
    let timer = Timer::start();
    let mut entries: HashTable<Entry> = HashTable::new();
    let mut buyers: HashTable<(BuyerId, u32)> = HashTable::new();
    for order in orders {
        let hash = hash_of(order.key.as_bytes());
        let buyer = hash_of(order.buyer.as_bytes());
        let seen = entries.find(hash, |entry| entry.key == order.key).is_some();
        let known = buyers.find(buyer, |(other, _)| *other == order.buyer).is_some();
        assert!(!seen && !known, "nobody comes twice");
        entries.insert_unique(hash, Entry::of(order), |entry| hash_of(entry.key.as_bytes()));
        let units = (order.buyer, order.quantity.get());
        buyers.insert_unique(buyer, units, |(buyer, _)| hash_of(buyer.as_bytes()));
    }
    black_box((&entries, &buyers));
    timer.rate(orders.len())
}
