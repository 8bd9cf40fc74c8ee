//! What one buyer does: orders, asks again with the same key when in doubt, pays, gives back, lets
//! go, looks; sometimes twice at once, sometimes with another body under an old key, sometimes from
//! two devices.

use super::caller::{Caller, Came};
use super::memory::Attempt;
use super::wares;
use crate::chance::Chance;
use doorbuster_protocol::command::{Ask, Command, Place, Read};
use doorbuster_protocol::outcome::{OrderStatus, OrderView};
use doorbuster_protocol::{BuyerId, IdempotencyKey, OrderId, Outcome};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::sleep;

/// How often a request is repeated while its fate is unknown.
const TRIES_MAX: u32 = 6;
/// Orders that leave in one turn, when everybody wants one at once.
const RUSH_MAX: u64 = 24;

struct Buyer<'a> {
    caller: &'a Caller,
    chance: &'a Chance,
    buyer: BuyerId,
    number: u64,
}

/// Acts as buyer `number` until no operation is left.
pub(super) async fn run(caller: &Caller, number: u64, chance: &Chance) {
    let buyer = Buyer { caller, chance, buyer: wares::buyer(number), number };
    buyer.begin_life().await;
    let pace = *chance.pick(&[1, 20, 200, 2_000]);
    while caller.workload().take().await {
        sleep(chance.delay(Duration::from_millis(pace))).await;
        match chance.below(24) {
            0..12 => buyer.order().await,
            12 => buyer.rush().await,
            13..16 => buyer.ask_again().await,
            16..18 => buyer.finish_open().await,
            18..21 => buyer.come_back().await,
            21..23 => buyer.look_at_product().await,
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

    /// A new attempt, with a key of its own, with one that was used before, or without.
    fn attempt(&self) -> Place {
        let product = self.caller.workload().wares().pick(self.chance);
        let mut memory = self.caller.workload().memory(self.number);
        let key = match self.chance.below(12) {
            0..2 => IdempotencyKey::NONE,
            2 => wares::key(self.buyer, product, memory.some_key(self.chance)),
            _ => wares::key(self.buyer, product, memory.next_key()),
        };
        Place {
            product,
            buyer: self.buyer,
            key,
            quantity: wares::quantity(self.chance),
            waitlist: self.chance.below(2) == 0,
        }
    }

    async fn order(&self) {
        let place = self.attempt();
        self.caller.workload().memory(self.number).begins(place);
        let view = if !place.key.is_none() && self.chance.below(8) == 0 {
            // The same request twice at once: an impatient finger.
            let (first, second) = tokio::join!(biased; self.insist(place), self.insist(place));
            first.or(second)
        } else {
            self.insist(place).await
        };
        if let Some(view) = view {
            self.follow(&view).await;
        }
    }

    /// Many orders in one turn, for nobody in particular.
    async fn rush(&self) {
        let count = self.chance.between(2, RUSH_MAX);
        let places: Vec<Place> = (0..count).map(|_| self.attempt()).collect();
        for place in &places {
            self.caller.workload().memory(self.number).begins(*place);
        }
        let patience = self.patience();
        let all = places.iter().map(|place| async move {
            let came = self.caller.place(*place, patience).await;
            self.remember(place, &came);
        });
        join_all(all).await;
    }

    /// Asks for an order, and again with its key while it is not known what became of it.
    async fn insist(&self, place: Place) -> Option<OrderView> {
        for tried in 0..TRIES_MAX {
            let came = self.caller.place(place, self.patience()).await;
            self.remember(&place, &came);
            match came {
                Came::Outcome(outcome) => return view_of(&outcome),
                // Without a key, asking again might buy twice.
                Came::Unknown if place.key.is_none() => return None,
                Came::NotDone | Came::Unknown => {}
            }
            let pause = Duration::from_millis(100 << tried);
            sleep(pause.mul_f64(0.5 + self.chance.fraction())).await;
        }
        None
    }

    /// What is answered is known from now on; what is not stays open.
    fn remember(&self, place: &Place, came: &Came) {
        let Came::Outcome(outcome) = came else { return };
        let view = view_of(outcome);
        let order = view.map(|view| view.order);
        self.caller.workload().memory(self.number).ends(place, order);
        if let Some(order) = order {
            self.caller.workload().hears_of(order);
        }
    }

    /// What becomes of an order.
    async fn follow(&self, view: &OrderView) {
        let order = view.order;
        sleep(self.chance.delay(Duration::from_secs(3))).await;
        match (view.status, self.chance.below(12)) {
            (OrderStatus::Queued, 0..3) => self.cancel(order).await,
            (OrderStatus::Queued, 3..9) => {
                if let Some(now) = self.look_at(order).await
                    && now.status == OrderStatus::Pending
                {
                    self.pay(order).await;
                }
            }
            (OrderStatus::Queued, 9) => self.pay(order).await,
            (OrderStatus::Pending, 0..4) => self.pay(order).await,
            (OrderStatus::Pending, 4..6) => self.cancel(order).await,
            (OrderStatus::Pending, 6) => {
                tokio::join!(biased; self.pay(order), self.cancel(order));
            }
            (OrderStatus::Pending, 7) => self.at_the_deadline(view).await,
            _ => {}
        }
    }

    /// Pays or gives back in the very moment in which the hold runs out.
    async fn at_the_deadline(&self, view: &OrderView) {
        let left_us = view.expires_at.micros().saturating_sub(self.caller.now_us());
        let left = Duration::from_micros(left_us).min(Duration::from_secs(40));
        let early = self.chance.delay(Duration::from_millis(20));
        sleep(left.saturating_sub(early)).await;
        match self.chance.below(2) {
            0 => self.pay(view.order).await,
            _ => self.cancel(view.order).await,
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
        let product = self.caller.workload().wares().pick(self.chance);
        self.caller.ask(Ask::Read(Read::Product { product }), self.patience()).await;
    }

    /// Comes back to an order of long ago: to look, to pay late, to give back twice.
    async fn come_back(&self) {
        let Some(Attempt { order: Some(order), .. }) = self.some_attempt() else { return };
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
        let Some(Attempt { mut place, .. }) = self.some_attempt() else { return };
        if place.key.is_none() {
            return;
        }
        match self.chance.below(6) {
            0 => place.waitlist = !place.waitlist,
            1 => place.quantity = wares::quantity(self.chance),
            _ => {}
        }
        self.insist(place).await;
    }

    /// Asks again for all that the life before has left open. Other devices of the buyer may be
    /// waiting for the same answers.
    async fn begin_life(&self) {
        let open = self.caller.workload().memory(self.number).open();
        self.caller.workload().count("asked again by the next life", open.len());
        join_all(open.into_iter().map(|place| self.insist(place))).await;
    }

    /// Asks again for what nobody knows the fate of, mostly because somebody gave up.
    async fn finish_open(&self) {
        let open = self.caller.workload().memory(self.number).open().first().copied();
        if let Some(place) = open {
            self.insist(place).await;
        }
    }

    /// Asks for what is somebody else's.
    async fn pry(&self) {
        let Some(order) = self.caller.workload().some_order(self.chance) else { return };
        let buyer = Some(self.buyer);
        let ask = match self.chance.below(2) {
            0 => Ask::Read(Read::Order { order, buyer }),
            _ => Ask::Command(Command::Cancel { order, buyer }),
        };
        self.caller.ask(ask, self.patience()).await;
    }

    fn some_attempt(&self) -> Option<Attempt> {
        self.caller.workload().memory(self.number).some(self.chance)
    }
}

/// The order that an attempt made, now or before.
fn view_of(outcome: &Outcome) -> Option<OrderView> {
    match outcome {
        Outcome::Placed(view) | Outcome::Replayed(view) | Outcome::Queued(view) => Some(*view),
        _ => None,
    }
}
