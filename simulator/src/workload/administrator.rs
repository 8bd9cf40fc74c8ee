//! What the administrator does: defines every product, whatever it takes, and then changes stock,
//! terms and state for as long as anybody buys.

use super::caller::{Caller, Came};
use super::wares;
use crate::chance::Chance;
use doorbuster_protocol::command::{Ask, Command, Read, SaleState};
use std::time::Duration;
use tokio::time::sleep;

/// The longest pause between two acts.
const PACE: Duration = Duration::from_secs(2);
const PATIENCE: Option<Duration> = Some(Duration::from_secs(5));

/// Acts until no operation is left.
pub(super) async fn run(caller: &Caller, chance: &Chance) {
    for define in caller.workload().0.wares.definitions() {
        // Defining again changes nothing, so trying again is safe.
        while !matches!(
            caller.ask(Ask::Command(Command::Define(*define)), PATIENCE).await,
            Came::Outcome(_)
        ) {
            sleep(Duration::from_millis(200)).await;
        }
    }
    while !caller.workload().is_used_up() {
        sleep(chance.delay(PACE)).await;
        let product = caller.workload().0.wares.pick(chance);
        let units = *chance.pick(&[1, 2, 5, 50]);
        let command = match chance.below(10) {
            0..4 => Command::Restock { product, units },
            4..6 => Command::Withdraw { product, units },
            6 => Command::SetState { product, state: SaleState::Paused },
            7 => Command::SetState { product, state: SaleState::Open },
            _ => Command::Define(wares::changed_terms(product, chance)),
        };
        caller.ask(Ask::Command(command), PATIENCE).await;
        if chance.below(4) == 0 {
            caller.ask(Ask::Read(Read::Product { product }), PATIENCE).await;
        }
    }
}
