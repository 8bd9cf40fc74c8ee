//! What the administrator does: defines every product, whatever it takes, and then changes stock,
//! terms and state for as long as anybody buys; and pays and cancels what others ordered, as the
//! payment service and the hotline do.

use super::caller::{Caller, Came};
use super::wares;
use crate::chance::Chance;
use doorbuster_protocol::command::{Ask, Command, Read, SaleState};
use doorbuster_protocol::{Timestamp, limits};
use std::time::Duration;
use tokio::time::sleep;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(5));

/// Acts until no operation is left.
pub(super) async fn run(caller: &Caller, chance: &Chance) {
    for define in caller.workload().wares().definitions() {
        // Defining again changes nothing, so trying again is safe.
        while !matches!(
            caller.ask(Ask::Command(Command::Define(*define)), PATIENCE).await,
            Came::Outcome(_)
        ) {
            sleep(Duration::from_millis(200)).await;
        }
    }
    // The longest pause between two acts.
    let pace = Duration::from_millis(*chance.pick(&[100, 500, 2_000]));
    while !caller.workload().is_used_up() {
        sleep(chance.delay(pace)).await;
        let ask = match chance.below(3) {
            0 => with_an_order(caller, chance),
            _ => with_a_product(caller, chance),
        };
        caller.ask(ask, PATIENCE).await;
    }
}

fn with_an_order(caller: &Caller, chance: &Chance) -> Ask {
    let Some(order) = caller.workload().some_order(chance) else {
        return with_a_product(caller, chance);
    };
    match chance.below(5) {
        0..3 => Ask::Command(Command::Confirm { order }),
        3 => Ask::Command(Command::Cancel { order, buyer: None }),
        _ => Ask::Read(Read::Order { order, buyer: None }),
    }
}

fn with_a_product(caller: &Caller, chance: &Chance) -> Ask {
    let product = caller.workload().wares().pick(chance);
    let units = *chance.pick(&[1, 2, 5, 50]);
    let command = match chance.below(20) {
        0..6 => Command::Restock { product, units },
        6..9 => Command::Withdraw { product, units },
        9 => Command::SetState { product, state: SaleState::Paused },
        10..14 => Command::SetState { product, state: SaleState::Open },
        14..18 => {
            let now = Timestamp::from_micros(caller.now_us());
            Command::Define(wares::changed_terms(product, now, chance))
        }
        18 => Command::Restock { product, units: limits::STOCK_MAX },
        _ => return Ask::Read(Read::Product { product }),
    };
    Ask::Command(command)
}
