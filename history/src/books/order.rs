//! One order, and where it stood after every event.

use super::{OrderNumber, ProductNumber};
use crate::ids::{BuyerId, KeyId, OrderId, Position};
use crate::terms::{Currency, Status};

/// An event of an order, in the order's partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) sequence: u64,
    pub(crate) at_us: u64,
}

/// One order.
#[derive(Debug)]
pub(crate) struct OrderBook {
    pub(crate) id: OrderId,
    pub(crate) product: ProductNumber,
    pub(crate) buyer: BuyerId,
    pub(crate) key: Option<KeyId>,
    pub(crate) quantity: u32,
    pub(crate) unit_price: u64,
    pub(crate) currency: Currency,
    pub(crate) waitlist: bool,
    /// The event that made it.
    pub(crate) made: Position,
    pub(crate) made_us: u64,
    /// Its place on the waitlist when it was made; 0 when its units were held at once.
    pub(crate) place: u32,
    /// When its hold runs out, once it has one.
    pub(crate) expires_us: u64,
    /// Its number among all that ever waited for the product.
    pub(crate) turn: u32,
    /// When the waitlist came to it.
    pub(crate) served: Option<Step>,
    pub(crate) ended: Option<(Status, Step)>,
    /// The order that the same key made before.
    pub(crate) previous_of_key: Option<OrderNumber>,
}

impl OrderBook {
    /// Whether it was on the waitlist at first.
    pub(crate) fn has_waited(&self) -> bool {
        self.place != 0
    }

    /// Where it stands after the last event.
    pub(crate) fn status(&self) -> Status {
        self.status_after(u64::MAX).expect("it was made")
    }

    /// Where it stood after an event; `None` before it was made.
    pub(crate) fn status_after(&self, sequence: u64) -> Option<Status> {
        if sequence < self.made.sequence {
            return None;
        }
        match (self.ended, self.served) {
            (Some((status, step)), _) if step.sequence <= sequence => Some(status),
            (_, Some(step)) if step.sequence <= sequence => Some(Status::Pending),
            _ if self.has_waited() => Some(Status::Queued),
            _ => Some(Status::Pending),
        }
    }

    /// When it last changed, as of an event.
    pub(crate) fn updated_after(&self, sequence: u64) -> u64 {
        let steps = [self.ended.map(|(_, step)| step), self.served];
        let last = steps.into_iter().flatten().find(|step| step.sequence <= sequence);
        last.map_or(self.made_us, |step| step.at_us)
    }

    /// When its hold runs or ran out, as of an event; 0 while it had none.
    pub(crate) fn expires_after(&self, sequence: u64) -> u64 {
        match (self.has_waited(), self.served) {
            (false, _) => self.expires_us,
            (true, Some(step)) if step.sequence <= sequence => self.expires_us,
            (true, _) => 0,
        }
    }

    /// The last event after which it had this status; `None` when it never had it.
    pub(crate) fn last_with(&self, status: Status) -> Option<u64> {
        let end = self.ended.map(|(_, step)| step.sequence);
        let served = self.served.map(|step| step.sequence);
        match status {
            Status::Queued if self.has_waited() => {
                Some(served.or(end).map_or(u64::MAX, |next| next - 1))
            }
            Status::Pending if !self.has_waited() || served.is_some() => {
                Some(end.map_or(u64::MAX, |next| next - 1))
            }
            Status::Paid | Status::Cancelled | Status::Expired => {
                self.ended.filter(|(ended, _)| *ended == status).map(|_| u64::MAX)
            }
            Status::Queued | Status::Pending => None,
        }
    }

    /// The first event after which it had this status.
    pub(crate) fn first_with(&self, status: Status) -> Option<u64> {
        match status {
            Status::Queued => self.has_waited().then_some(self.made.sequence),
            Status::Pending if self.has_waited() => self.served.map(|step| step.sequence),
            Status::Pending => Some(self.made.sequence),
            Status::Paid | Status::Cancelled | Status::Expired => {
                self.ended.filter(|(ended, _)| *ended == status).map(|(_, step)| step.sequence)
            }
        }
    }
}
