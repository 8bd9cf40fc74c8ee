//! Orders: placed, read, paid, cancelled, listed. The engine answers for an order while it holds
//! it, the store after.

use super::products::parse_product;
use super::{page, parameter};
use crate::body::order::{OrderBody, parse_flash_sale, parse_items};
use crate::metrics::{OrderResult, OrderType, Rejected};
use crate::middleware::authentication::require_admin;
use crate::problem::{Code, Problem};
use crate::service::{Answer, Call};
use crate::token::Identity;
use crate::turns::Turn;
use crate::{refusal, render};
use doorbuster_persistence::{Freshness, OrderRow};
use doorbuster_protocol::command::{Ask, Command, Place, Read};
use doorbuster_protocol::ids::IdError;
use doorbuster_protocol::outcome::{OrderStatus, OrderView};
use doorbuster_protocol::{BuyerId, IdempotencyKey, OrderId, Outcome, ProductId, limits};
use hyper::StatusCode;
use hyper::header::HeaderName;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// `POST /orders/flash-sale/{product}`
pub(crate) async fn place_flash_sale(call: &Call<'_>, product: &str) -> Result<Answer, Problem> {
    // The path alone says whose turn it is, before the token and the body cost anything. What is
    // wrong with it is said to those who may know.
    let product = parse_product(call, product);
    let turn = match &product {
        Ok(product) => Some(call.order_turn(*product).await?),
        Err(_) => None,
    };
    let identity = call.identify()?;
    let product = product?;
    let mut turn = turn.expect("a product has turns");
    let order = parse_flash_sale(&turn.aside(call.json_body()).await?, product)?;
    place_order(call, &identity, &order, &turn).await
}

/// `POST /orders`
pub(crate) async fn place(call: &Call<'_>) -> Result<Answer, Problem> {
    let identity = call.identify()?;
    // Only the body says for which product it is.
    let order = parse_items(&call.json_body().await?)?;
    let turn = call.order_turn(order.product).await?;
    place_order(call, &identity, &order, &turn).await
}

async fn place_order(
    call: &Call<'_>,
    identity: &Identity,
    order: &OrderBody,
    turn: &Turn,
) -> Result<Answer, Problem> {
    let OrderBody { product, quantity, waitlist } = *order;
    let key = idempotency_key(call, identity.buyer, product)?;
    let place = Place { product, buyer: identity.buyer, key, quantity, waitlist };
    if call.worker.engine.answers_sold_out(&place) {
        call.worker.metrics.rejected(Rejected::SoldOut);
        return Err(refusal::sold_out());
    }
    let partition = call.partition_of(product)?;
    let outcome = call.ask(partition, Ask::Command(Command::Place(place))).await?;
    turn.answered(matches!(outcome, Outcome::Placed(_) | Outcome::Queued(_)));
    match outcome {
        Outcome::Placed(view) | Outcome::Queued(view) => Ok(placed(&view, false)),
        Outcome::Replayed(view) => Ok(placed(&view, true)),
        refused => Err(call.refuse(&refused)),
    }
}

fn placed(view: &OrderView, is_replay: bool) -> Answer {
    let status = match view.status {
        OrderStatus::Queued => StatusCode::ACCEPTED,
        _ => StatusCode::CREATED,
    };
    Answer { order: Some(view.order), is_replay, ..Answer::with(status, render::placed(view)) }
}

fn idempotency_key(
    call: &Call<'_>,
    buyer: BuyerId,
    product: ProductId,
) -> Result<IdempotencyKey, Problem> {
    let mut values = call.headers().get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(IdempotencyKey::NONE) };
    if values.next().is_some() || !(1..=limits::KEY_BYTES_MAX).contains(&value.len()) {
        let most = limits::KEY_BYTES_MAX;
        return Err(Problem::invalid(
            "Idempotency-Key",
            format!("Send one Idempotency-Key of 1 to {most} characters, or none"),
        ));
    }
    Ok(IdempotencyKey::new(buyer, product, value.as_bytes()))
}

/// `GET /orders/{id}`
pub(crate) async fn read(call: &Call<'_>, order: &str) -> Result<Answer, Problem> {
    match find(call, order).await? {
        Found::Live(view) => Ok(Answer::ok(render::order(&view))),
        Found::Stored(row) => Ok(Answer::ok(render::stored_order(&row))),
    }
}

/// `GET /orders/{id}/status`
pub(crate) async fn read_status(call: &Call<'_>, order: &str) -> Result<Answer, Problem> {
    match find(call, order).await? {
        Found::Live(view) => Ok(Answer::ok(render::status(&view))),
        Found::Stored(row) => Ok(Answer::ok(render::stored_status(&row))),
    }
}

/// Who knew the order.
enum Found {
    Live(OrderView),
    Stored(OrderRow),
}

async fn find(call: &Call<'_>, order: &str) -> Result<Found, Problem> {
    let identity = call.identify()?;
    let order = parse_order(order)?;
    let buyer = owner(&identity);
    // Nobody misses what is their own; whoever looks into others' may see it a moment later.
    let freshness = if buyer.is_some() { Freshness::Latest } else { Freshness::Recent };
    let partition = call.partition_of_order(order)?;
    match call.ask(partition, Ask::Read(Read::Order { order, buyer })).await? {
        Outcome::Order(view) => Ok(Found::Live(view)),
        Outcome::OrderNotFound => {
            Ok(Found::Stored(find_stored(call, order, buyer, freshness).await?))
        }
        refused => Err(call.refuse(&refused)),
    }
}

/// An order that the engine has let go; somebody else's is not found.
async fn find_stored(
    call: &Call<'_>,
    order: OrderId,
    buyer: Option<BuyerId>,
    freshness: Freshness,
) -> Result<OrderRow, Problem> {
    let row = call.query(call.worker.store.order(order, freshness)).await?;
    row.filter(|row| buyer.is_none_or(|buyer| buyer == row.buyer))
        .ok_or_else(refusal::order_not_found)
}

/// `PUT /orders/{id}/cancel`
pub(crate) async fn cancel(call: &Call<'_>, order: &str) -> Result<Answer, Problem> {
    let identity = call.identify()?;
    let order = parse_order(order)?;
    call.no_body().await?;
    let buyer = owner(&identity);
    let answer = finish(call, order, buyer, Command::Cancel { order, buyer }).await;
    count(call, OrderType::Cancellation, OrderResult::Cancelled, answer)
}

/// `PUT /orders/{id}/pay`
pub(crate) async fn pay(call: &Call<'_>, order: &str) -> Result<Answer, Problem> {
    let identity = call.identify()?;
    require_admin(&identity)?;
    let order = parse_order(order)?;
    call.no_body().await?;
    let answer = finish(call, order, None, Command::Confirm { order }).await;
    count(call, OrderType::Payment, OrderResult::Paid, answer)
}

async fn finish(
    call: &Call<'_>,
    order: OrderId,
    buyer: Option<BuyerId>,
    command: Command,
) -> Result<Answer, Problem> {
    let partition = call.partition_of_order(order)?;
    match call.ask(partition, Ask::Command(command)).await? {
        Outcome::Paid(view) | Outcome::Cancelled(view) => Ok(Answer::ok(render::order(&view))),
        // What only the store knows is over: the engine lets an order go after its end.
        Outcome::OrderNotFound => {
            let row = find_stored(call, order, buyer, Freshness::Latest).await?;
            Err(refusal::order_final(row.status))
        }
        refused => Err(call.refuse(&refused)),
    }
}

fn count(
    call: &Call<'_>,
    kind: OrderType,
    done: OrderResult,
    answer: Result<Answer, Problem>,
) -> Result<Answer, Problem> {
    let result = match &answer {
        Ok(_) => done,
        Err(problem) => OrderResult::Refused(problem.code()),
    };
    call.worker.metrics.order(kind, result);
    answer
}

/// `GET /orders/user/{userId}`
pub(crate) async fn list(call: &Call<'_>, user: &str) -> Result<Answer, Problem> {
    let identity = call.identify()?;
    let buyer = BuyerId::parse(&parameter(user, "userId")?)
        .map_err(|error| Problem::invalid("userId", format!("The path names no buyer: {error}")))?;
    if buyer != identity.buyer && !identity.admin {
        return Err(Problem::new(
            Code::Forbidden,
            "These are another buyer's orders. Ask for those of the token's own `sub`",
        ));
    }
    let (limit, cursor) = page(call)?;
    let is_own = buyer == identity.buyer;
    let freshness = if is_own { Freshness::Latest } else { Freshness::Recent };
    let orders = call.worker.store.orders_of(buyer, cursor, limit, freshness);
    let found = call.query(orders).await?;
    let next = found.next.map(|cursor| cursor.to_string());
    Ok(Answer::ok(render::orders(&found.rows, next)))
}

/// Whose order it must be; an administrator's may be anybody's.
fn owner(identity: &Identity) -> Option<BuyerId> {
    (!identity.admin).then_some(identity.buyer)
}

/// What is no UUID is a mistake; a UUID that cannot be an order's is just not there.
fn parse_order(segment: &str) -> Result<OrderId, Problem> {
    parameter(segment, "orderId")?.parse().map_err(|error| match error {
        IdError::Order => refusal::order_not_found(),
        IdError::Uuid | IdError::Name => {
            Problem::invalid("orderId", "The path names no order: an order's id is a UUID")
        }
    })
}
