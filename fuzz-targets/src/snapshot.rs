//! The bytes of a state: as they are, and with checksums that were made good, so that every check
//! behind them is reached.
//!
//! Any bytes are refused or are a state. What is one can be written and read again, digest for
//! digest, a look through it shows the same orders, and it goes on: every command is decided, and
//! what is decided is applied.

use crate::Seed;
use crate::sale::{Sale, partition};
use crate::script::Script;
use doorbuster_engine::state_machine::snapshot::{SnapshotVisitor, read, visit, write};
use doorbuster_engine::state_machine::{State, apply, decide};
use doorbuster_protocol::command::{Define, Place, SaleState};
use doorbuster_protocol::outcome::{OrderView, ProductView};
use doorbuster_protocol::{
    BuyerId, Command, IdempotencyKey, ProductId, Quantity, Timestamp, limits,
};

/// Where the checksum of the header stands (see the layout in `state_machine::snapshot`).
const HEADER_CRC_AT: usize = 118;

/// Where its sequence stands.
const SEQUENCE_AT: usize = 14;
/// An order's id has 40 bits of a sequence, and is looked for in every lap of them: with a sequence
/// that no log comes to (these are 2^48 events of one partition) reading takes half a minute.
const SEQUENCE_TRIED_MAX: u64 = 1 << 48;

/// One input: whether checksums are made good, what happens to the state, then its bytes.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let is_mended = script.flag();
    let commands = script.array::<8>();
    let mut bytes = script.rest().to_vec();
    if is_mended {
        mend(&mut bytes);
    }
    if sequence_of(&bytes).is_some_and(|sequence| sequence > SEQUENCE_TRIED_MAX) {
        return;
    }
    let mut orders = Orders::default();
    let visited = visit(&mut bytes.as_slice(), partition(), &mut orders);
    let Ok(state) = read(&mut bytes.as_slice(), partition()) else { return };
    assert_eq!(visited.expect("what is read can be shown"), state.sequence());
    assert!(state.orders().eq(orders.0), "a look through shows the orders of the state");

    let mut again = Vec::new();
    write(&state, &mut again).expect("memory takes it");
    let restored = read(&mut again.as_slice(), partition()).expect("it was written just now");
    assert_eq!(restored.digest(), state.digest(), "what is written is read");
    go_on(state, commands);
}

/// The sequence that the header says.
fn sequence_of(bytes: &[u8]) -> Option<u64> {
    let bytes = bytes.get(SEQUENCE_AT..)?.first_chunk()?;
    Some(u64::from_le_bytes(*bytes))
}

/// Makes both checksums good.
fn mend(bytes: &mut [u8]) {
    if bytes.len() < HEADER_CRC_AT + 8 {
        return;
    }
    let crc = crc32c::crc32c(&bytes[..HEADER_CRC_AT]).to_le_bytes();
    bytes[HEADER_CRC_AT..HEADER_CRC_AT + 4].copy_from_slice(&crc);
    let end = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&crc);
}

#[derive(Default)]
struct Orders(Vec<OrderView>);

impl SnapshotVisitor for Orders {
    fn product(&mut self, _: &ProductView) {}
    fn order(&mut self, order: &OrderView) {
        self.0.push(*order);
    }
    fn units(&mut self, _: ProductId, _: BuyerId, _: u32) {}
}

/// Everything that can be asked of a state's first product and orders.
fn go_on(mut state: State, choices: [u8; 8]) {
    for choice in choices {
        let product = state.products().next().map(|view| view.product);
        let product = product.unwrap_or(ProductId::from_bytes([1; 16]));
        let order = state.orders().nth(usize::from(choice >> 4)).map(|view| view.order);
        let command = match (choice % 9, order) {
            (0, Some(order)) => Command::Confirm { order },
            (1, Some(order)) => Command::Cancel { order, buyer: None },
            (2, _) => Command::Expire,
            (3, _) => Command::Acknowledge { consumer: choice >> 4, through: state.sequence() },
            (4, _) => Command::Restock { product, units: u32::from(choice >> 4) + 1 },
            (5, _) => Command::Withdraw { product, units: u32::from(choice >> 4) + 1 },
            (6, _) => Command::SetState { product, state: SaleState::Open },
            (7, _) => Command::Define(Define {
                price: Some(1),
                stock: Some(u32::from(choice)),
                waitlist_capacity: Some(limits::WAITLIST_MAX),
                ..Define::new(product)
            }),
            _ => Command::Place(Place {
                product,
                buyer: BuyerId::from_bytes([choice; 16]),
                key: IdempotencyKey::from_bytes([choice; 16]),
                quantity: Quantity::ONE,
                waitlist: true,
            }),
        };
        let now = state.last_at().max(Timestamp::from_micros(1_700_000_000_000_000));
        if let Some(event) = decide(&state, &command, now.plus_seconds(u32::from(choice))).event {
            apply(&mut state, &event);
        }
    }
    state.digest();
}

/// States of a sale, from the first event on.
pub fn seeds() -> Vec<Seed> {
    let mut sale = Sale::new(11);
    let mut seeds = Vec::new();
    for number in 0..24_u8 {
        let mut bytes = vec![number & 1, 0, 1, 2, 3, 4, 5, 7, 8];
        write(&sale.state, &mut bytes).expect("memory takes it");
        seeds.push((format!("state-{number}"), bytes));
        sale.events(1 + u32::from(number));
    }
    seeds
}
