//! What one buyer does: orders, asks again with the same key when in doubt, pays, gives back, lets
//! go, looks; sometimes twice at once, sometimes with another body under an old key.

use super::caller::{Caller, Came};
use super::wares;
use crate::chance::Chance;
use doorbuster_protocol::command::{Ask, Command, Place, Read};
use doorbuster_protocol::outcome::{OrderStatus, OrderView};
use doorbuster_protocol::{BuyerId, IdempotencyKey, OrderId, Outcome};
use std::time::Duration;
use tokio::time::sleep;

/// How often a request is repeated while its fate is unknown.
const TRIES_MAX: u32 = 6;
/// Orders that a buyer remembers, to come back to them much later.
const REMEMBERED_MAX: usize = 32;

struct Buyer<'a> {
    caller: &'a Caller,
    chance: &'a Chance,
    buyer: BuyerId,
    number: u64,
    keys: u64,
    /// What was ordered, with which body, and what it became.
    remembered: Vec<(Place, Option<OrderId>)>,
}

/// Acts until no operation is left.
pub(super) async fn run(caller: &Caller, number: u64, chance: &Chance) {
    let mut buyer = Buyer {
        caller,
        chance,
        buyer: wares::buyer(number),
        number,
        // Another life must not use the keys of the one before.
        keys: chance.below(1 << 40) << 16,
        remembered: Vec::new(),
    };
    let pace = *chance.pick(&[1, 20, 200, 2_000]);
    while caller.workload().take() {
        sleep(chance.delay(Duration::from_millis(pace))).await;
        match chance.below(20) {
            0..13 => buyer.order().await,
            13..15 => buyer.come_back().await,
            15..17 => buyer.ask_again().await,
            17..19 => buyer.look_at_product().await,
            _ => buyer.pry().await,
        }
    }
}

impl Buyer<'_> {
    fn patience(&self) -> Option<Duration> {
        match self.chance.below(4) {
            0 => None,
            1 => Some(Duration::from_millis(50)),
            _ => Some(Duration::from_secs(5)),
        }
    }

    async fn order(&mut self) {
        let product = self.caller.workload().0.wares.pick(self.chance);
        self.keys += 1;
        let key = match self.chance.below(5) {
            0 => IdempotencyKey::NONE,
            _ => wares::key(self.buyer, product, self.keys),
        };
        let place = Place {
            product,
            buyer: self.buyer,
            key,
            quantity: wares::quantity(self.chance),
            waitlist: self.chance.below(2) == 0,
        };
        let view = if !key.is_none() && self.chance.below(8) == 0 {
            // The same request twice at once: an impatient finger.
            let (first, second) = tokio::join!(biased; self.insist(place), self.insist(place));
            first.or(second)
        } else {
            self.insist(place).await
        };
        if self.remembered.len() == REMEMBERED_MAX {
            self.remembered.remove(0);
        }
        self.remembered.push((place, view.map(|view| view.order)));
        if let Some(view) = view {
            self.follow(&view).await;
        }
    }

    /// Asks for an order, and again with its key while it is not known what became of it.
    async fn insist(&self, place: Place) -> Option<OrderView> {
        for tried in 0..TRIES_MAX {
            match self.caller.place(place, self.patience()).await {
                Came::Outcome(
                    Outcome::Placed(view) | Outcome::Replayed(view) | Outcome::Queued(view),
                ) => return Some(view),
                Came::Outcome(_) => return None,
                // Without a key, asking again might buy twice.
                Came::Unknown if place.key.is_none() => return None,
                Came::NotDone | Came::Unknown => {}
            }
            let pause = Duration::from_millis(100 << tried);
            sleep(pause.mul_f64(0.5 + self.chance.fraction())).await;
        }
        None
    }

    /// What becomes of an order.
    async fn follow(&self, view: &OrderView) {
        let order = view.order;
        sleep(self.chance.delay(Duration::from_secs(3))).await;
        match (view.status, self.chance.below(10)) {
            (OrderStatus::Queued, 0..3) => self.cancel(order).await,
            (OrderStatus::Queued, 3..8) => {
                if let Some(now) = self.look_at(order).await
                    && now.status == OrderStatus::Pending
                {
                    self.pay(order).await;
                }
            }
            (OrderStatus::Pending, 0..4) => self.pay(order).await,
            (OrderStatus::Pending, 4..6) => self.cancel(order).await,
            (OrderStatus::Pending, 6) => {
                tokio::join!(biased; self.pay(order), self.cancel(order));
            }
            _ => {}
        }
    }

    async fn until_known(&self, command: Command) {
        for tried in 0..TRIES_MAX {
            if let Came::Outcome(_) = self.caller.ask(Ask::Command(command), self.patience()).await
            {
                return;
            }
            sleep(Duration::from_millis(100 << tried)).await;
        }
    }

    async fn pay(&self, order: OrderId) {
        self.until_known(Command::Confirm { order }).await;
    }

    async fn cancel(&self, order: OrderId) {
        let buyer = (self.chance.below(4) > 0).then_some(self.buyer);
        self.until_known(Command::Cancel { order, buyer }).await;
    }

    async fn look_at(&self, order: OrderId) -> Option<OrderView> {
        let read = Ask::Read(Read::Order { order, buyer: Some(self.buyer) });
        match self.caller.ask(read, self.patience()).await {
            Came::Outcome(Outcome::Order(view)) => Some(view),
            _ => None,
        }
    }

    async fn look_at_product(&self) {
        let product = self.caller.workload().0.wares.pick(self.chance);
        self.caller.ask(Ask::Read(Read::Product { product }), self.patience()).await;
    }

    /// Comes back to an order of long ago: to look, to pay late, to give back twice.
    async fn come_back(&self) {
        let Some((_, Some(order))) = self.some_remembered() else { return };
        match self.chance.below(3) {
            0 => self.pay(order).await,
            1 => self.cancel(order).await,
            _ => {
                self.look_at(order).await;
            }
        }
    }

    /// Sends an old request again with its key; sometimes with another body.
    async fn ask_again(&self) {
        let Some((mut place, _)) = self.some_remembered() else { return };
        if place.key.is_none() {
            return;
        }
        if self.chance.below(4) == 0 {
            place.waitlist = !place.waitlist;
        }
        self.insist(place).await;
    }

    /// Asks for what is somebody else's.
    async fn pry(&self) {
        let Some((_, Some(order))) = self.some_remembered() else { return };
        let buyer = Some(wares::buyer(self.number + 1));
        let ask = match self.chance.below(2) {
            0 => Ask::Read(Read::Order { order, buyer }),
            _ => Ask::Command(Command::Cancel { order, buyer }),
        };
        self.caller.ask(ask, self.patience()).await;
    }

    fn some_remembered(&self) -> Option<(Place, Option<OrderId>)> {
        let index = self.chance.below(self.remembered.len() as u64) as usize;
        self.remembered.get(index).copied()
    }
}
