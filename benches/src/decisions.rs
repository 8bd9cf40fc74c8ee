//! `decide` and `apply` in process, on one core: what a partition can do when nothing else costs
//! anything.

use crate::Options;
use crate::figures::{Figures, figure, median};
use crate::machine;
use doorbuster_engine::state_machine::{State, apply, decide};
use doorbuster_protocol::command::{Define, Place};
use doorbuster_protocol::{BuyerId, Command, IdempotencyKey, Outcome, PartitionId, ProductId};
use doorbuster_protocol::{Quantity, Timestamp};
use std::time::Instant;

/// Decisions per second and core that are promised.
const GOAL: f64 = 3_000_000.0;
/// Commands that one batch decides with the same time, as the engine does.
const BATCH: usize = 256;

const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// One round in one fresh state.
struct Round {
    accepted: f64,
    replayed: f64,
    refused: f64,
}

/// Places an order for each of a million buyers, with a key; asks again; asks when all is sold.
pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let seats = machine::Seats::choose();
    let product = ProductId::parse("bench")?;
    let mut random = fastrand::Rng::with_seed(7);
    let orders: Vec<Command> = (0..options.buyers).map(|_| order(product, &mut random)).collect();
    let late: Vec<Command> = (0..options.buyers).map(|_| order(product, &mut random)).collect();
    // On a thread of its own: what is measured after this must not inherit its seat.
    let rounds: Vec<Round> = std::thread::scope(|scope| {
        let measured = scope.spawn(|| {
            machine::sit_on(seats.client);
            (0..options.rounds).map(|_| round(product, &orders, &late)).collect()
        });
        measured.join().expect("every decision is as expected")
    });

    let mut figures = Figures::new("Decisions of one core, in process");
    figures.note(machine::describe());
    figures.note(format!(
        "{} buyers, one order each, with an idempotency key; decide and apply, {} rounds on CPU {}",
        figure(f64::from(options.buyers)),
        options.rounds,
        seats.client,
    ));
    let column = |of: fn(&Round) -> f64| rounds.iter().map(of).collect::<Vec<f64>>();
    let accepted = column(|round| round.accepted);
    figures.row("accepted orders", "decisions/s", &accepted);
    figures.row("replays of the same keys", "decisions/s", &column(|round| round.replayed));
    figures.row("refusals, sold out", "decisions/s", &column(|round| round.refused));
    let got = median(&accepted);
    figures.goal(
        got >= GOAL,
        format!("{} accepted orders/s; the goal is {}", figure(got), figure(GOAL)),
    );
    Ok(figures)
}

fn order(product: ProductId, random: &mut fastrand::Rng) -> Command {
    Command::Place(Place {
        product,
        buyer: BuyerId::from_bytes(random.u128(..).to_be_bytes()),
        key: IdempotencyKey::from_bytes(random.u128(1..).to_be_bytes()),
        quantity: Quantity::ONE,
        waitlist: false,
    })
}

fn round(product: ProductId, orders: &[Command], late: &[Command]) -> Round {
    let mut state = State::new(PartitionId::new(0).expect("in range"));
    let define = Command::Define(Define {
        price: Some(1_999),
        stock: Some(orders.len() as u32),
        limit_per_buyer: Some(1),
        ..Define::new(product)
    });
    let defined = decide(&state, &define, START);
    apply(&mut state, &defined.event.expect("a new product is an event"));
    Round {
        accepted: run(&mut state, orders, |outcome| matches!(outcome, Outcome::Placed(_))),
        replayed: run(&mut state, orders, |outcome| matches!(outcome, Outcome::Replayed(_))),
        refused: run(&mut state, late, |outcome| matches!(outcome, Outcome::SoldOut)),
    }
}

/// Decisions per second. Every outcome must be as expected.
fn run(state: &mut State, commands: &[Command], is_expected: fn(&Outcome) -> bool) -> f64 {
    let began = Instant::now();
    for (batch, commands) in commands.chunks(BATCH).enumerate() {
        let now = START.plus_micros(100 * batch as u64);
        for command in commands {
            let decision = decide(state, command, now);
            assert!(is_expected(&decision.outcome), "unexpected: {:?}", decision.outcome);
            if let Some(event) = &decision.event {
                apply(state, event);
            }
        }
        // The engine tells its edges after each batch.
        std::hint::black_box(state.take_changed_products());
    }
    commands.len() as f64 / began.elapsed().as_secs_f64()
}
