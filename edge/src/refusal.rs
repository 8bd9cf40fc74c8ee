//! What each refusal of the engine, of the way to it, and of the store says to a client.

use crate::config::RateLimit;
use crate::framing::Refusal;
use crate::problem::{Code, Extra, Problem};
use doorbuster_client::ClientError;
use doorbuster_persistence::StoreError;
use doorbuster_protocol::{Outcome, Timestamp};

/// Seconds after which to look whether a paused sale goes on.
const PAUSE_RETRY_SECONDS: u32 = 5;
/// Seconds after which a busy or lost part of the system is worth another try.
const BUSY_RETRY_SECONDS: u32 = 1;

/// The problem of an outcome that is no success of what was asked. `now` counts down to an opening.
pub(crate) fn of_outcome(outcome: &Outcome, now: Timestamp) -> Problem {
    match outcome {
        Outcome::SoldOut => sold_out(),
        Outcome::LimitExceeded { limit } => Problem::new(
            Code::PurchaseLimit,
            "With this order the buyer would have more units than one buyer may. Order fewer, or \
             cancel an earlier order",
        )
        .with(Extra::Limit(*limit)),
        Outcome::NotOpen { opens_at } => {
            Problem::new(Code::SaleNotOpen, "The sale has not opened yet. Try again at `opensAt`")
                .with(Extra::OpensAt(*opens_at))
                .retry_after(seconds_until(*opens_at, now))
        }
        Outcome::Paused { opens_at } => Problem::new(
            Code::SalePaused,
            "The sale is paused and takes no new orders. Try again in a while",
        )
        .with(Extra::OpensAt(*opens_at))
        .retry_after(PAUSE_RETRY_SECONDS),
        Outcome::Ended { closes_at } => {
            Problem::new(Code::SaleEnded, "The sale is over and takes no more orders")
                .with(Extra::ClosesAt(*closes_at))
        }
        Outcome::ProductNotFound => Problem::new(
            Code::ProductNotFound,
            "No product has this id or name. `GET /products` lists them",
        ),
        Outcome::OrderNotFound => order_not_found(),
        Outcome::OrderFinal(status) => order_final(*status),
        Outcome::NotPayable => Problem::new(
            Code::OrderQueued,
            "The order is on the waitlist and holds no units yet, so there is nothing to pay. Wait \
             until its status is `pending`",
        ),
        Outcome::KeyMismatch => Problem::new(
            Code::IdempotencyMismatch,
            "This Idempotency-Key was used with another body. Send the first body again to get its \
             answer, or take a new key for a new order",
        ),
        Outcome::StockCommitted { committed } => Problem::new(
            Code::StockCommitted,
            format!(
                "{committed} units are sold or held, and the stock cannot go below that. Withdraw \
                 fewer, or wait for holds to run out"
            ),
        )
        .with(Extra::Committed(*committed)),
        Outcome::StockTooLarge => Problem::invalid(
            "stock",
            format!(
                "The stock would be more than {} units, the most that a product can have",
                doorbuster_protocol::limits::STOCK_MAX
            ),
        ),
        Outcome::DefinitionIncomplete => {
            Problem::invalid("price", "A new product needs `price` and `stock`")
        }
        Outcome::CurrencyFixed => Problem::new(
            Code::CurrencyFixed,
            "A product's currency cannot change once it exists. Make another product",
        ),
        Outcome::WindowReversed => Problem::invalid(
            "closesAt",
            "The sale would close before it opens. `closesAt` must be after `opensAt`",
        ),
        Outcome::Full => {
            tracing::warn!("a partition is at one of its limits of products, orders or buyers");
            overloaded("The partition of this product is full. Nothing was done; try again later")
        }
        Outcome::Overloaded => overloaded(
            "The log has no room for now: the disk is full, or the store is too far behind. Nothing was \
             done; try again",
        ),
        Outcome::Unavailable | Outcome::WrongOwner { .. } => unavailable(
            "The partition takes no requests at the moment. Nothing was done; try again",
        ),
        Outcome::DeadlinePassed => Problem::new(
            Code::Timeout,
            "The engine looked at this too late to be of use. Nothing was done; try again",
        )
        .retry_after(BUSY_RETRY_SECONDS),
        Outcome::Placed(_)
        | Outcome::Replayed(_)
        | Outcome::Queued(_)
        | Outcome::Paid(_)
        | Outcome::Cancelled(_)
        | Outcome::Order(_)
        | Outcome::Product(_) => {
            tracing::error!(?outcome, "the engine answered something that was not asked");
            Problem::new(
                Code::Internal,
                "The engine's answer does not fit the request. Ask for the order or the product to \
                 see what stands, and report this with the requestId",
            )
        }
    }
}

/// The problem of a request that the engine's client could not bring to an answer.
pub(crate) fn of_client(error: &ClientError) -> Problem {
    match error {
        ClientError::Overloaded => {
            overloaded("Too many requests wait for the engine already. Nothing was sent; try again")
        }
        ClientError::Lost => unavailable(
            "The connection to the engine broke before the answer came, so the request may or may \
             not have been done. Retry with the same Idempotency-Key: that is always safe, and says \
             which",
        ),
        _ => unavailable("The engine cannot be reached. Nothing was done; try again"),
    }
}

/// The problem of an answer that did not come in time.
pub(crate) fn overdue() -> Problem {
    Problem::new(
        Code::Timeout,
        "The answer did not come in time, so the request may or may not have been done. Retry with \
         the same Idempotency-Key: that is always safe, and says which",
    )
    .retry_after(BUSY_RETRY_SECONDS)
}

/// The problem of an edge that has no engine yet.
pub(crate) fn not_connected() -> Problem {
    unavailable("The engine is not connected yet. Nothing was done; try again")
}

/// The problem of a store that does not answer a query.
pub(crate) fn of_store(error: &StoreError) -> Problem {
    // A shard that is away is said once, by whoever keeps watch over it, and not with each request.
    match error {
        StoreError::Away { .. } => tracing::debug!(%error, "the store did not answer"),
        _ => tracing::warn!(%error, "the store did not answer"),
    }
    unavailable("The store cannot answer now; orders and stock are not affected. Try again")
}

/// Nothing is left, and nobody can queue up.
pub(crate) fn sold_out() -> Problem {
    Problem::new(
        Code::SoldOut,
        "Nothing is left of this product. Units that are given back may come on sale again; send \
         `waitlist: true` to queue up where there is a waitlist",
    )
}

/// The bytes can be read in more ways than one, or in none.
pub(crate) fn of_framing(refusal: Refusal) -> Problem {
    let code = match refusal.status() {
        414 => Code::PathTooLong,
        431 => Code::HeadersTooLarge,
        505 => Code::HttpVersion,
        _ => Code::InvalidRequest,
    };
    Problem::new(code, refusal.detail()).about(refusal.field()).closing()
}

/// The thread has as many connections as it may have, and none that rests.
pub(crate) fn too_many_connections() -> Problem {
    overloaded("Too many connections are open. Try again, or reuse one").closing()
}

/// The client's address has as many connections as it may have.
pub(crate) fn too_many_of_address(most: u32) -> Problem {
    let detail = format!(
        "This address has {most} connections open, the most that one may have. Reuse them, or close \
         some"
    );
    Problem::new(Code::RateLimited, detail).retry_after(BUSY_RETRY_SECONDS).closing()
}

/// Too many tokens came from the address that were none, and there is no time for more of them; one
/// that may be good is looked at again in `wait_us`.
pub(crate) fn too_many_bad_tokens(limit: RateLimit, wait_us: u64) -> Problem {
    let detail = "Too many tokens came from this address that are not valid, and there is no time \
                  to look at a new one now. Wait for the seconds of Retry-After and try again";
    Problem::new(Code::RateLimited, detail).used_up(limit.burst(), whole_seconds(wait_us))
}

/// The source has used up its rate limit, and may ask again in `wait_us`.
pub(crate) fn rate_limited(limit: RateLimit, wait_us: u64) -> Problem {
    let (per_second, burst) = (limit.per_second(), limit.burst());
    let detail = format!(
        "More requests came than {burst} at once and {per_second} per second after. Nothing was \
         done; wait for the seconds of Retry-After and try again"
    );
    Problem::new(Code::RateLimited, detail).used_up(burst, whole_seconds(wait_us))
}

/// There is no such order, or it is somebody else's.
pub(crate) fn order_not_found() -> Problem {
    Problem::new(Code::OrderNotFound, "No order of this buyer has this id")
}

/// The order has come to its end.
pub(crate) fn order_final(status: doorbuster_protocol::outcome::OrderStatus) -> Problem {
    Problem::new(
        Code::OrderFinal,
        format!("The order is {} and cannot change any more", status.as_str()),
    )
    .with(Extra::OrderStatus(status))
}

fn overloaded(detail: &'static str) -> Problem {
    Problem::new(Code::Overloaded, detail).retry_after(BUSY_RETRY_SECONDS)
}

fn unavailable(detail: &'static str) -> Problem {
    Problem::new(Code::Unavailable, detail).retry_after(BUSY_RETRY_SECONDS)
}

/// Whole seconds from `now` to `at`, at least 1.
fn seconds_until(at: Timestamp, now: Timestamp) -> u32 {
    whole_seconds(at.micros_since(now))
}

/// Microseconds in whole seconds, rounded up, at least 1.
fn whole_seconds(micros: u64) -> u32 {
    u32::try_from(micros.div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
#[path = "refusal_test.rs"]
mod tests;
