//! One million events: live, replayed twice, and through a snapshot in the middle: one digest.

use super::fixture::{START, partition};
use super::{State, apply, decide, snapshot};
use doorbuster_protocol::command::{Define, Place};
use doorbuster_protocol::event::Event;
use doorbuster_protocol::record::Reader;
use doorbuster_protocol::{
    BuyerId, Command, IdempotencyKey, OrderId, Outcome, ProductId, Quantity, Sequence,
};

const EVENTS: usize = 1_000_000;

fn id(number: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    bytes
}

/// Sells for a while: most buyers get a hold or queue up, some pay, some cancel, the rest expires,
/// and the store follows. Returns the state and the log of a million events.
fn sell(random: &mut fastrand::Rng) -> (State, Vec<u8>) {
    let mut state = State::new(partition());
    let mut log = Vec::new();
    let mut now = START;
    let mut late: Vec<OrderId> = Vec::new();
    for number in 0..4 {
        let define = Define {
            price: Some(number),
            stock: Some(100_000 << number),
            limit_per_buyer: Some(5),
            hold_seconds: Some(5),
            waitlist_capacity: Some(2_000),
            ..Define::new(ProductId::from_bytes(id(number)))
        };
        run(&mut state, &mut log, &Command::Define(define), now);
    }
    while state.sequence().get() < EVENTS as u64 {
        now = now.plus_micros(random.u64(0..40));
        let command = match random.u8(..) {
            0..150 => Command::Place(Place {
                product: ProductId::from_bytes(id(random.u64(0..4))),
                buyer: BuyerId::from_bytes(id(random.u64(0..200_000))),
                key: IdempotencyKey::from_bytes(id(random.u64(1..u64::MAX))),
                quantity: Quantity::new(random.u32(1..4)).expect("in range"),
                waitlist: random.bool(),
            }),
            150..200 if !late.is_empty() => {
                Command::Confirm { order: late.swap_remove(random.usize(0..late.len())) }
            }
            200..240 if !late.is_empty() => Command::Cancel {
                order: late.swap_remove(random.usize(0..late.len())),
                buyer: None,
            },
            255 => Command::Acknowledge { consumer: 0, through: state.sequence() },
            _ => Command::Expire,
        };
        let outcome = run(&mut state, &mut log, &command, now);
        if let Some(Outcome::Placed(view) | Outcome::Queued(view)) = outcome {
            late.push(view.order);
        }
    }
    (state, log)
}

fn run(
    state: &mut State,
    log: &mut Vec<u8>,
    command: &Command,
    now: doorbuster_protocol::Timestamp,
) -> Option<Outcome> {
    let decision = decide(state, command, now);
    let event = decision.event?;
    event.encode(log);
    apply(state, &event);
    Some(decision.outcome)
}

/// Applies events up to `last`.
fn replay(state: &mut State, log: &mut Reader<'_>, last: Sequence) {
    while state.sequence() < last {
        let event = Event::decode(log).expect("a sound event");
        apply(state, &event);
    }
}

#[test]
fn a_million_events_have_one_digest() {
    let seed = fastrand::u64(..);
    let seed = std::env::var("DOORBUSTER_SEED").map_or(seed, |text| text.parse().expect("a seed"));
    println!("replay: DOORBUSTER_SEED={seed} cargo nextest run a_million_events");
    let (live, log) = sell(&mut fastrand::Rng::with_seed(seed));
    let digest = live.digest();
    assert_eq!(live.sequence(), Sequence::new(EVENTS as u64));
    let totals = live.totals();
    assert!(totals.sold > 0 && totals.held > 0 && totals.receipts > 0, "{totals:?}");

    for _ in 0..2 {
        let mut replayed = State::new(partition());
        replay(&mut replayed, &mut Reader::new(&log), live.sequence());
        assert_eq!(replayed.digest(), digest);
    }

    let mut rest = Reader::new(&log);
    let mut first_half = State::new(partition());
    replay(&mut first_half, &mut rest, Sequence::new(EVENTS as u64 / 2));
    let mut bytes = Vec::new();
    snapshot::write(&first_half, &mut bytes).expect("memory takes it");
    let mut second_half = snapshot::read(&mut bytes.as_slice(), partition()).expect("sound bytes");
    assert_eq!(second_half.digest(), first_half.digest());
    replay(&mut second_half, &mut rest, live.sequence());
    assert!(rest.is_empty());
    assert_eq!(second_half.digest(), digest);
    assert_eq!(second_half.totals(), totals);
    second_half.check_invariants();
}
