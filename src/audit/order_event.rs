//! What an event did to one order, as a record that sorts by order and then by event.

use doorbuster_protocol::event::{Event, Fact, Matched};
use doorbuster_protocol::outcome::{OrderStatus, OrderView};
use doorbuster_protocol::{
    BuyerId, Currency, IdempotencyKey, OrderId, ProductId, Quantity, Sequence, Timestamp,
};

/// Bytes of a record.
pub(super) const BYTES: usize = 16 + 8 + 1 + 8 + 8 + 16 + 4 + BIRTH_BYTES;
const BIRTH_BYTES: usize = 16 + 16 + 8 + 3 + 4 + 8 + 1;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OrderEvent {
    pub(super) order: OrderId,
    pub(super) sequence: Sequence,
    pub(super) what: What,
    pub(super) at: Timestamp,
    /// When the hold that the event gives runs out; none when it gives none.
    pub(super) expires_at: Timestamp,
    pub(super) product: ProductId,
    /// Zero when the event does not say: orders that are served from the waitlist.
    pub(super) units: u32,
    pub(super) birth: Option<Birth>,
}

/// What happened to the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A snapshot has it; the log does not reach back to its making.
    Opened = 1,
    Placed = 2,
    Queued = 3,
    /// It left the waitlist for a hold.
    Served = 4,
    Paid = 5,
    Cancelled = 6,
    Expired = 7,
}

impl What {
    const ALL: [Self; 7] = [
        Self::Opened,
        Self::Placed,
        Self::Queued,
        Self::Served,
        Self::Paid,
        Self::Cancelled,
        Self::Expired,
    ];
}

/// What only the beginning of an order tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Birth {
    pub(super) buyer: BuyerId,
    pub(super) key: IdempotencyKey,
    pub(super) unit_price: u64,
    pub(super) currency: Currency,
    /// Units that one buyer could have then; 0: no limit.
    pub(super) limit: u32,
    /// When it was made.
    pub(super) created_at: Timestamp,
    /// Its status in a snapshot.
    pub(super) status: OrderStatus,
}

impl OrderEvent {
    /// An order as a snapshot of event `opened` has it.
    pub(super) fn opened(view: &OrderView, opened: Sequence) -> Self {
        Self {
            order: view.order,
            sequence: opened,
            what: What::Opened,
            at: view.updated_at,
            expires_at: view.expires_at,
            product: view.product,
            units: view.quantity.get(),
            birth: Some(Birth {
                buyer: view.buyer,
                key: IdempotencyKey::NONE,
                unit_price: view.unit_price,
                currency: view.currency,
                limit: 0,
                created_at: view.created_at,
                status: view.status,
            }),
        }
    }

    /// Its units, when the event says them and they are in range.
    pub(super) fn quantity(&self) -> Option<Quantity> {
        Quantity::new(self.units)
    }

    /// Its bytes.
    pub(super) fn encode(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let mut rest = &mut bytes[..];
        let mut put = |field: &[u8]| {
            let (place, behind) = std::mem::take(&mut rest).split_at_mut(field.len());
            place.copy_from_slice(field);
            rest = behind;
        };
        put(self.order.as_bytes());
        put(&self.sequence.get().to_be_bytes());
        put(&[self.what as u8]);
        put(&self.at.micros().to_be_bytes());
        put(&self.expires_at.micros().to_be_bytes());
        put(self.product.as_bytes());
        put(&self.units.to_be_bytes());
        if let Some(birth) = &self.birth {
            put(birth.buyer.as_bytes());
            put(birth.key.as_bytes());
            put(&birth.unit_price.to_be_bytes());
            put(&birth.currency.bytes());
            put(&birth.limit.to_be_bytes());
            put(&birth.created_at.micros().to_be_bytes());
            put(&[birth.status.code()]);
        }
        bytes
    }

    /// Reads what [`OrderEvent::encode`] wrote.
    pub(super) fn decode(bytes: &[u8; BYTES]) -> Self {
        let mut rest = &bytes[..];
        let (order, sequence) = (OrderId::from_bytes(take(&mut rest)), take_u64(&mut rest));
        let [what] = take(&mut rest);
        let what = What::ALL.into_iter().find(|it| *it as u8 == what).expect(OWN);
        let (at, expires_at) = (take_time(&mut rest), take_time(&mut rest));
        let product = ProductId::from_bytes(take(&mut rest));
        let units = u32::from_be_bytes(take(&mut rest));
        let has_birth = matches!(what, What::Opened | What::Placed | What::Queued);
        let birth = has_birth.then(|| Birth {
            buyer: BuyerId::from_bytes(take(&mut rest)),
            key: IdempotencyKey::from_bytes(take(&mut rest)),
            unit_price: take_u64(&mut rest),
            currency: Currency::new(take(&mut rest)).expect(OWN),
            limit: u32::from_be_bytes(take(&mut rest)),
            created_at: take_time(&mut rest),
            status: OrderStatus::from_code(take::<1>(&mut rest)[0]).expect(OWN),
        });
        let sequence = Sequence::new(sequence);
        Self { order, sequence, what, at, expires_at, product, units, birth }
    }
}

/// Shows `sink` what an event did to each of its orders. `limit_of` tells how many units of a
/// product one buyer could have then.
pub(super) fn each_of(
    sequence: Sequence,
    event: &Event,
    limit_of: impl Fn(ProductId) -> u32,
    mut sink: impl FnMut(OrderEvent),
) {
    let (at, expires_at) = (event.at, Timestamp::NONE);
    let change = |order, what, product, units| {
        let birth = None;
        OrderEvent { order, sequence, what, at, expires_at, product, units, birth }
    };
    let mut served = |product: ProductId, matched: &Matched| {
        for order in &matched.orders {
            let served = change(*order, What::Served, product, 0);
            sink(OrderEvent { expires_at: matched.expires_at, ..served });
        }
    };
    match &event.fact {
        Fact::Placed(it) => sink(OrderEvent {
            expires_at: it.expires_at,
            birth: Some(Birth {
                buyer: it.buyer,
                key: it.key,
                unit_price: it.unit_price,
                currency: it.currency,
                limit: limit_of(it.product),
                created_at: at,
                status: OrderStatus::Pending,
            }),
            ..change(it.order, What::Placed, it.product, it.quantity.get())
        }),
        Fact::Queued(it) => sink(OrderEvent {
            birth: Some(Birth {
                buyer: it.buyer,
                key: it.key,
                unit_price: it.unit_price,
                currency: it.currency,
                limit: limit_of(it.product),
                created_at: at,
                status: OrderStatus::Queued,
            }),
            ..change(it.order, What::Queued, it.product, it.quantity.get())
        }),
        Fact::Paid { order, product, quantity } => {
            sink(change(*order, What::Paid, *product, quantity.get()));
        }
        Fact::Cancelled(it) => {
            served(it.product, &it.matched);
            sink(change(it.order, What::Cancelled, it.product, it.quantity.get()));
        }
        Fact::Expired(it) => {
            served(it.product, &it.matched);
            sink(change(it.order, What::Expired, it.product, it.quantity.get()));
        }
        Fact::Defined { product, matched, .. } | Fact::Restocked { product, matched, .. } => {
            served(*product, matched);
        }
        Fact::Withdrawn { .. } | Fact::StateSet { .. } | Fact::Acknowledged { .. } => {}
    }
}

/// Why reading a record of our own cannot fail.
const OWN: &str = "a record is read as it was written";

/// The next `N` bytes of a record.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (field, behind) = rest.split_first_chunk::<N>().expect(OWN);
    *rest = behind;
    *field
}

/// The next big-endian number of a record.
pub(super) fn take_u64(rest: &mut &[u8]) -> u64 {
    u64::from_be_bytes(take(rest))
}

/// The next time of a record.
pub(super) fn take_time(rest: &mut &[u8]) -> Timestamp {
    Timestamp::from_micros(take_u64(rest))
}
