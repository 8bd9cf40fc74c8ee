//! Orders and products as they come from a shard, each with one list of columns that every query
//! selects. A column that does not hold what this program writes is damage.

use crate::error::StoreError;
use crate::postgres::connect;
use crate::postgres::types::{Time, Uuid};
use crate::rows::{OrderItem, OrderRow, ProductRow};
use doorbuster_protocol::command::SaleState;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{BuyerId, Currency, OrderId, ProductId, Quantity, Sequence, Timestamp};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

/// Selects orders `o` with their items; a condition, an order and a limit may follow. The items come
/// in the same statement, so that both are of one state.
pub(super) const SELECT_ORDERS: &str =
    "SELECT o.id, o.user_id, o.total_amount, o.currency, o.status, o.created_at, o.updated_at,
        o.expires_at, o.version, i.products, i.quantities, i.prices
     FROM orders o CROSS JOIN LATERAL (
        SELECT array_agg(l.product_id) AS products, array_agg(l.quantity) AS quantities,
            array_agg(l.price) AS prices
        FROM (SELECT product_id, quantity, price FROM order_items
              WHERE order_id = o.id ORDER BY line) l
     ) i";

/// Selects products `p`; a condition, an order and a limit may follow. Rows without a definition
/// have no `created_at` and must be left out.
pub(super) const SELECT_PRODUCTS: &str =
    "SELECT p.id, p.name, p.description, p.price, p.currency, p.inventory, p.state,
        p.flash_sale_start, p.flash_sale_end, p.limit_per_user, p.hold_seconds,
        p.waitlist_capacity, p.created_at, p.updated_at, p.version
     FROM products p";

/// An order of [`SELECT_ORDERS`].
pub(super) fn order(row: &Row) -> Result<OrderRow, StoreError> {
    let products: Option<Vec<Uuid>> = get(row, 9)?;
    let quantities: Option<Vec<i32>> = get(row, 10)?;
    let prices: Option<Vec<i64>> = get(row, 11)?;
    let lines = products.unwrap_or_default().into_iter();
    let lines = lines.zip(quantities.unwrap_or_default()).zip(prices.unwrap_or_default());
    let items = lines
        .map(|((product, quantity), price)| {
            let quantity = u32::try_from(quantity).ok().and_then(Quantity::new);
            Ok(OrderItem {
                product: ProductId::from_bytes(product.0),
                quantity: quantity.ok_or_else(|| damaged("a quantity"))?,
                unit_price: number(price)?,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(OrderRow {
        order: OrderId::from_bytes(id(row, 0)?),
        buyer: BuyerId::from_bytes(id(row, 1)?),
        total_amount: number(get(row, 2)?)?,
        currency: currency(row, 3)?,
        status: OrderStatus::parse(get(row, 4)?).ok_or_else(|| damaged("a status"))?,
        created_at: time(row, 5)?,
        updated_at: time(row, 6)?,
        expires_at: optional_time(row, 7)?,
        version: Sequence::new(number(get(row, 8)?)?),
        items,
    })
}

/// A product of [`SELECT_PRODUCTS`].
pub(super) fn product(row: &Row) -> Result<ProductRow, StoreError> {
    let small = |column| {
        let value: i64 = get(row, column)?;
        u32::try_from(value).map_err(|_| damaged("a number"))
    };
    let stock: i32 = get(row, 5)?;
    Ok(ProductRow {
        product: ProductId::from_bytes(id(row, 0)?),
        name: get(row, 1)?,
        description: get(row, 2)?,
        price: number(get(row, 3)?)?,
        currency: currency(row, 4)?,
        stock: u32::try_from(stock).map_err(|_| damaged("a stock"))?,
        state: state(get(row, 6)?)?,
        opens_at: optional_time(row, 7)?,
        closes_at: optional_time(row, 8)?,
        limit_per_buyer: small(9)?,
        hold_seconds: small(10)?,
        waitlist_capacity: small(11)?,
        created_at: time(row, 12)?,
        updated_at: time(row, 13)?,
        version: Sequence::new(number(get(row, 14)?)?),
    })
}

/// The word of a state in the tables.
pub(super) const fn state_word(state: SaleState) -> &'static str {
    match state {
        SaleState::Open => "open",
        SaleState::Paused => "paused",
    }
}

fn state(word: &str) -> Result<SaleState, StoreError> {
    match word {
        "open" => Ok(SaleState::Open),
        "paused" => Ok(SaleState::Paused),
        _ => Err(damaged("a state")),
    }
}

/// A column, of the type that this program gave it.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| StoreError::Damaged { why: connect::words(&error) })
}

/// A column that is never negative.
pub(super) fn number(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| damaged("a negative number"))
}

/// A time that is always there.
pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp, StoreError> {
    let time: Time = get(row, column)?;
    time.timestamp().ok_or_else(|| damaged("a time before 1970"))
}

/// A time that may be missing.
pub(super) fn optional_time(row: &Row, column: usize) -> Result<Timestamp, StoreError> {
    let time: Option<Time> = get(row, column)?;
    match time {
        Some(time) => time.timestamp().ok_or_else(|| damaged("a time before 1970")),
        None => Ok(Timestamp::NONE),
    }
}

/// An id.
pub(super) fn id(row: &Row, column: usize) -> Result<[u8; 16], StoreError> {
    get(row, column).map(|Uuid(bytes)| bytes)
}

fn currency(row: &Row, column: usize) -> Result<Currency, StoreError> {
    Currency::parse(get(row, column)?).ok_or_else(|| damaged("a currency"))
}

/// What the store holds and this program never wrote.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged { why: format!("{what} in its tables is out of range") }
}
