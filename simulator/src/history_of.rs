//! The words of the protocol in the words of the history checker, which knows none of ours.

use doorbuster_history::answer::{Answer, OrderSeen, ProductSeen, Refusal};
use doorbuster_history::event as theirs;
use doorbuster_history::ids::{BuyerId, KeyId, OrderId, Position, ProductId};
use doorbuster_history::operation::{Ask, Change};
use doorbuster_history::row::{OrderRow, ProductRow};
use doorbuster_history::terms::{self, Currency, SaleState, Status};
use doorbuster_persistence as persistence;
use doorbuster_protocol as ours;
use doorbuster_protocol::command::{Command, Define, Read};
use doorbuster_protocol::event::{Event, Fact, Matched};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, ProductView};
use doorbuster_protocol::{Outcome, PartitionId, Sequence};

/// A product's id.
pub fn product(id: ours::ProductId) -> ProductId {
    ProductId::new(u128::from_be_bytes(*id.as_bytes()))
}
fn buyer(id: ours::BuyerId) -> BuyerId {
    BuyerId::new(u128::from_be_bytes(*id.as_bytes()))
}
/// An order's id.
pub fn order(id: ours::OrderId) -> OrderId {
    OrderId::new(u128::from_be_bytes(*id.as_bytes()))
}
fn key(key: ours::IdempotencyKey) -> Option<KeyId> {
    (!key.is_none()).then(|| KeyId::new(u128::from_be_bytes(*key.as_bytes())))
}
fn currency(currency: ours::Currency) -> Currency {
    Currency::parse(currency.as_str()).expect("a currency is three capital letters")
}
fn state(state: ours::command::SaleState) -> SaleState {
    match state {
        ours::command::SaleState::Open => SaleState::Open,
        ours::command::SaleState::Paused => SaleState::Paused,
    }
}

/// The status of an order that an engine knows.
fn status(status: OrderStatus) -> Status {
    match status {
        OrderStatus::Queued => Status::Queued,
        OrderStatus::Pending => Status::Pending,
        OrderStatus::Cancelled => Status::Cancelled,
        OrderStatus::Expired => Status::Expired,
        OrderStatus::Paid
        | OrderStatus::Shipped
        | OrderStatus::Completed
        | OrderStatus::Refunded => Status::Paid,
    }
}

fn terms(terms: ours::event::Terms) -> terms::Terms {
    terms::Terms {
        price: terms.price,
        currency: currency(terms.currency),
        stock: terms.stock,
        opens_us: terms.opens_at.micros(),
        closes_us: terms.closes_at.micros(),
        limit_per_buyer: terms.limit_per_buyer,
        hold_seconds: terms.hold_seconds,
        waitlist_capacity: terms.waitlist_capacity,
    }
}

/// What a request asks.
pub fn ask(asked: &ours::command::Ask) -> Ask {
    use ours::command::Ask as Asked;
    match *asked {
        Asked::Read(Read::Order { order: id, buyer: whose }) => {
            Ask::LookAtOrder { order: order(id), buyer: whose.map(buyer) }
        }
        Asked::Read(Read::Product { product: id }) => Ask::LookAtProduct { product: product(id) },
        Asked::Command(Command::Place(place)) => Ask::Place {
            product: product(place.product),
            buyer: buyer(place.buyer),
            key: key(place.key),
            quantity: place.quantity.get(),
            waitlist: place.waitlist,
        },
        Asked::Command(Command::Confirm { order: id }) => Ask::Pay { order: order(id) },
        Asked::Command(Command::Cancel { order: id, buyer: whose }) => {
            Ask::Cancel { order: order(id), buyer: whose.map(buyer) }
        }
        Asked::Command(Command::Define(define)) => {
            Ask::Define { product: product(define.product), change: change(&define) }
        }
        Asked::Command(Command::Restock { product: id, units }) => {
            Ask::Restock { product: product(id), units }
        }
        Asked::Command(Command::Withdraw { product: id, units }) => {
            Ask::Withdraw { product: product(id), units }
        }
        Asked::Command(Command::SetState { product: id, state: wanted }) => {
            Ask::SetState { product: product(id), state: state(wanted) }
        }
        Asked::Command(Command::Expire | Command::Acknowledge { .. }) => {
            unreachable!("clients do not ask for it")
        }
    }
}

fn change(define: &Define) -> Change {
    Change {
        price: define.price,
        currency: define.currency.map(currency),
        stock: define.stock,
        opens_us: define.opens_at.map(ours::Timestamp::micros),
        closes_us: define.closes_at.map(ours::Timestamp::micros),
        limit_per_buyer: define.limit_per_buyer,
        hold_seconds: define.hold_seconds,
        waitlist_capacity: define.waitlist_capacity,
    }
}

/// What an outcome tells its client.
pub fn answer(outcome: &Outcome) -> Answer {
    let order = |view: &OrderView, replayed| Answer::Order { seen: Box::new(seen(view)), replayed };
    let refused = Answer::Refused;
    match outcome {
        Outcome::Placed(view)
        | Outcome::Queued(view)
        | Outcome::Paid(view)
        | Outcome::Cancelled(view)
        | Outcome::Order(view) => order(view, false),
        Outcome::Replayed(view) => order(view, true),
        Outcome::Product(view) => Answer::Product(Box::new(product_seen(view))),
        Outcome::SoldOut => refused(Refusal::SoldOut),
        Outcome::LimitExceeded { .. } => refused(Refusal::PurchaseLimit),
        Outcome::NotOpen { .. } => refused(Refusal::SaleNotOpen),
        Outcome::Paused { .. } => refused(Refusal::SalePaused),
        Outcome::Ended { .. } => refused(Refusal::SaleEnded),
        Outcome::ProductNotFound => refused(Refusal::ProductNotFound),
        Outcome::OrderNotFound => refused(Refusal::OrderNotFound),
        Outcome::OrderFinal(end) => refused(Refusal::OrderFinal(Some(status(*end)))),
        Outcome::NotPayable => refused(Refusal::OrderQueued),
        Outcome::KeyMismatch => refused(Refusal::IdempotencyMismatch),
        Outcome::StockCommitted { committed } => refused(Refusal::StockCommitted(Some(*committed))),
        Outcome::StockTooLarge => refused(Refusal::StockTooLarge),
        Outcome::DefinitionIncomplete => refused(Refusal::DefinitionIncomplete),
        Outcome::CurrencyFixed => refused(Refusal::CurrencyFixed),
        Outcome::WindowReversed => refused(Refusal::WindowReversed),
        Outcome::Full => refused(Refusal::Other("full".to_owned())),
        Outcome::Overloaded
        | Outcome::Unavailable
        | Outcome::DeadlinePassed
        | Outcome::WrongOwner { .. } => Answer::NotDone(format!("{outcome:?}")),
    }
}

/// What a refusal is counted as.
pub fn counted_as(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::SoldOut => "refused: sold out",
        Refusal::PurchaseLimit => "refused: over the limit",
        Refusal::SaleNotOpen => "refused: not open",
        Refusal::SalePaused => "refused: paused",
        Refusal::SaleEnded => "refused: ended",
        Refusal::ProductNotFound => "refused: no such product",
        Refusal::OrderNotFound => "refused: no such order",
        Refusal::OrderFinal(_) => "refused: order has ended",
        Refusal::OrderQueued => "refused: order waits",
        Refusal::IdempotencyMismatch => "refused: other body",
        Refusal::StockCommitted(_) => "refused: units committed",
        Refusal::StockTooLarge => "refused: stock too large",
        Refusal::DefinitionIncomplete => "refused: incomplete",
        Refusal::CurrencyFixed => "refused: currency fixed",
        Refusal::WindowReversed => "refused: window reversed",
        Refusal::Other(_) => "refused: otherwise",
    }
}

fn seen(view: &OrderView) -> OrderSeen {
    OrderSeen {
        order: order(view.order),
        status: status(view.status),
        product: Some(product(view.product)),
        buyer: Some(buyer(view.buyer)),
        quantity: Some(view.quantity.get()),
        unit_price: Some(view.unit_price),
        created_us: Some(view.created_at.micros()),
        updated_us: Some(view.updated_at.micros()),
        expires_us: Some(view.expires_at.micros()),
        position: Some(view.position),
    }
}

fn product_seen(view: &ProductView) -> ProductSeen {
    ProductSeen {
        product: product(view.product),
        terms: terms::Terms {
            price: view.price,
            currency: currency(view.currency),
            stock: view.stock,
            opens_us: view.opens_at.micros(),
            closes_us: view.closes_at.micros(),
            limit_per_buyer: view.limit_per_buyer,
            hold_seconds: view.hold_seconds,
            waitlist_capacity: view.waitlist_capacity,
        },
        state: state(view.state),
        available: view.available,
        held: view.held,
        sold: view.sold,
        waiting: view.waitlist_length,
    }
}

/// The row of an order.
pub fn order_row(row: &persistence::OrderRow) -> OrderRow {
    let [item] = row.items.as_slice() else { panic!("order {} has several lines", row.order) };
    OrderRow {
        order: order(row.order),
        product: product(item.product),
        buyer: buyer(row.buyer),
        quantity: item.quantity.get(),
        unit_price: item.unit_price,
        total_amount: row.total_amount,
        currency: currency(row.currency),
        status: status(row.status),
        created_us: row.created_at.micros(),
        updated_us: row.updated_at.micros(),
        expires_us: row.expires_at.micros(),
    }
}

/// The row of a product.
pub fn product_row(row: &persistence::ProductRow) -> ProductRow {
    ProductRow {
        product: product(row.product),
        terms: terms::Terms {
            price: row.price,
            currency: currency(row.currency),
            stock: row.stock,
            opens_us: row.opens_at.micros(),
            closes_us: row.closes_at.micros(),
            limit_per_buyer: row.limit_per_buyer,
            hold_seconds: row.hold_seconds,
            waitlist_capacity: row.waitlist_capacity,
        },
        state: state(row.state),
        created_us: row.created_at.micros(),
        updated_us: row.updated_at.micros(),
    }
}

/// An event of the log.
pub fn event(partition: PartitionId, sequence: Sequence, event: &Event) -> theirs::Event {
    let position = Position { partition: partition.get(), sequence: sequence.get() };
    let released = |released: &ours::event::Released| theirs::Released {
        order: order(released.order),
        product: product(released.product),
        quantity: released.quantity.get(),
        served: served(&released.matched),
    };
    let fact = match &event.fact {
        Fact::Placed(placed) => theirs::Fact::Ordered(theirs::Ordered {
            order: order(placed.order),
            product: product(placed.product),
            buyer: buyer(placed.buyer),
            key: key(placed.key),
            quantity: placed.quantity.get(),
            unit_price: placed.unit_price,
            currency: currency(placed.currency),
            waitlist: placed.waitlist,
            standing: theirs::Standing::Held { expires_us: placed.expires_at.micros() },
        }),
        Fact::Queued(queued) => theirs::Fact::Ordered(theirs::Ordered {
            order: order(queued.order),
            product: product(queued.product),
            buyer: buyer(queued.buyer),
            key: key(queued.key),
            quantity: queued.quantity.get(),
            unit_price: queued.unit_price,
            currency: currency(queued.currency),
            waitlist: true,
            standing: theirs::Standing::Waiting { position: queued.position },
        }),
        Fact::Paid { order: id, product: of, quantity } => theirs::Fact::Paid {
            order: order(*id),
            product: product(*of),
            quantity: quantity.get(),
        },
        Fact::Cancelled(back) => theirs::Fact::Cancelled(released(back)),
        Fact::Expired(back) => theirs::Fact::Expired(released(back)),
        Fact::Defined { product: of, terms: new, matched } => theirs::Fact::Defined {
            product: product(*of),
            terms: terms(*new),
            served: served(matched),
        },
        Fact::Restocked { product: of, units, matched } => theirs::Fact::Restocked {
            product: product(*of),
            units: *units,
            served: served(matched),
        },
        Fact::Withdrawn { product: of, units } => {
            theirs::Fact::Withdrawn { product: product(*of), units: *units }
        }
        Fact::StateSet { product: of, state: new } => {
            theirs::Fact::StateSet { product: product(*of), state: state(*new) }
        }
        Fact::Acknowledged { consumer, through } => {
            theirs::Fact::Acknowledged { consumer: *consumer, through: through.get() }
        }
    };
    theirs::Event { position, at_us: event.at.micros(), fact }
}

fn served(matched: &Matched) -> theirs::Served {
    theirs::Served {
        orders: matched.orders.iter().copied().map(order).collect(),
        expires_us: matched.expires_at.micros(),
    }
}
