//! What came back for one request, in words that both protocols share.

use doorbuster_protocol::outcome::{OrderStatus, Outcome};
use doorbuster_protocol::{OrderId, outcome::OrderView};
use std::borrow::Cow;
use std::time::Duration;

/// Which histogram a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Class {
    Accepted,
    Replayed,
    Queued,
    SoldOut,
    Limit,
    /// Another business refusal.
    Refused,
    /// No proper answer: connection lost, timed out, 5xx, nonsense.
    Failed,
    Pay,
    Cancel,
    Look,
}

impl Class {
    pub(crate) const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Replayed,
        Self::Queued,
        Self::SoldOut,
        Self::Limit,
        Self::Refused,
        Self::Failed,
        Self::Pay,
        Self::Cancel,
        Self::Look,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Replayed => "replayed",
            Self::Queued => "queued",
            Self::SoldOut => "soldOut",
            Self::Limit => "limit",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Pay => "pay",
            Self::Cancel => "cancel",
            Self::Look => "look",
        }
    }

    /// Whether this is an answer to an attempt to buy.
    pub(crate) const fn is_order(self) -> bool {
        matches!(
            self,
            Self::Accepted
                | Self::Replayed
                | Self::Queued
                | Self::SoldOut
                | Self::Limit
                | Self::Refused
        )
    }
}

/// How the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// An order stands.
    Order {
        order: OrderId,
        status: OrderStatus,
        /// The server says that this is the first answer again.
        replayed: bool,
    },
    /// The server declines, for good, under this code.
    Refused(Cow<'static, str>),
    /// No clear answer: whether it was done is unknown, or it can be tried again.
    Failed(Failure),
}

/// Why there is no clear answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What to count it under.
    pub(crate) code: Cow<'static, str>,
    /// Whether the connection is gone.
    pub(crate) is_disconnect: bool,
    /// Whether the same request may be sent again with a hope of a better answer.
    pub(crate) can_retry: bool,
    /// Whether it is certain that the request was not done.
    pub(crate) nothing_was_done: bool,
    /// Whether this is 429 or 503 over HTTP.
    pub(crate) is_busy: bool,
    /// When it wants to be asked again, if it says so.
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    pub(crate) const TIMED_OUT: Self = Self::lost("no-answer", true);
    pub(crate) const DISCONNECTED: Self = Self::lost("disconnected", true);
    pub(crate) const NONSENSE: Self = Self::lost("nonsense", false);

    const fn lost(code: &'static str, can_retry: bool) -> Self {
        let code = Cow::Borrowed(code);
        Self {
            code,
            is_disconnect: true,
            can_retry,
            nothing_was_done: false,
            is_busy: false,
            retry_after: None,
        }
    }

    /// The server says that it cannot now, and leaves open whether it did.
    pub(crate) fn busy(code: impl Into<Cow<'static, str>>) -> Self {
        let code = code.into();
        Self { code, is_disconnect: false, ..Self::TIMED_OUT }
    }
    /// The server says that it cannot now, and that nothing was done.
    pub(crate) fn not_done(code: impl Into<Cow<'static, str>>) -> Self {
        Self { nothing_was_done: true, ..Self::busy(code) }
    }
    /// The server says that it failed.
    pub(crate) fn broken(code: impl Into<Cow<'static, str>>) -> Self {
        Self { can_retry: false, ..Self::busy(code) }
    }
}

impl Answer {
    /// Which histogram an answer to an attempt to buy belongs to.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Order { replayed: true, .. } => Class::Replayed,
            Self::Order { status: OrderStatus::Queued, .. } => Class::Queued,
            Self::Order { .. } => Class::Accepted,
            Self::Refused(code) if code == "sold-out" => Class::SoldOut,
            Self::Refused(code) if code == "purchase-limit" => Class::Limit,
            Self::Refused(_) => Class::Refused,
            Self::Failed(_) => Class::Failed,
        }
    }

    /// What an outcome of the binary protocol says.
    pub(crate) fn of_outcome(outcome: &Outcome) -> Self {
        let order = |view: &OrderView, replayed: bool| Self::Order {
            order: view.order,
            status: view.status,
            replayed,
        };
        let refused = |code: &'static str| Self::Refused(Cow::Borrowed(code));
        match outcome {
            Outcome::Placed(view)
            | Outcome::Queued(view)
            | Outcome::Paid(view)
            | Outcome::Cancelled(view)
            | Outcome::Order(view) => order(view, false),
            Outcome::Replayed(view) => order(view, true),
            Outcome::SoldOut => refused("sold-out"),
            Outcome::LimitExceeded { .. } => refused("purchase-limit"),
            Outcome::NotOpen { .. } => refused("sale-not-open"),
            Outcome::Paused { .. } => refused("sale-paused"),
            Outcome::Ended { .. } => refused("sale-ended"),
            Outcome::ProductNotFound => refused("product-not-found"),
            Outcome::OrderNotFound => refused("order-not-found"),
            Outcome::OrderFinal(_) => refused("order-final"),
            Outcome::NotPayable => refused("order-queued"),
            Outcome::KeyMismatch => refused("idempotency-mismatch"),
            Outcome::Product(_)
            | Outcome::StockCommitted { .. }
            | Outcome::StockTooLarge
            | Outcome::DefinitionIncomplete
            | Outcome::CurrencyFixed
            | Outcome::WindowReversed => refused("invalid-request"),
            Outcome::Full => {
                Self::Failed(Failure { can_retry: false, ..Failure::not_done("full") })
            }
            Outcome::Overloaded => Self::Failed(Failure::not_done("overloaded")),
            Outcome::Unavailable => Self::Failed(Failure::not_done("unavailable")),
            Outcome::DeadlinePassed => Self::Failed(Failure::not_done("timeout")),
            Outcome::WrongOwner { .. } => {
                Self::Failed(Failure { can_retry: false, ..Failure::not_done("wrong-owner") })
            }
        }
    }
}
