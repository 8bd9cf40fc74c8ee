//! One request in flight, over either protocol.

use crate::answer::Answer;
use crate::attempt::{Attempt, Attempts};
use crate::binary::BinaryLane;
use crate::errand::Act;
use crate::http::{HttpLane, HttpOrder};
use crate::told;
use doorbuster_history::answer::OrderSeen;
use doorbuster_protocol::OrderId;
use std::borrow::Cow;
use std::sync::Arc;

/// An HTTP connection, or a place in the pipeline of the binary protocol.
pub(crate) enum Lane {
    Http(HttpLane),
    Binary(BinaryLane),
}

/// What every lane of a run needs to know of it.
pub(crate) struct Wares {
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) tokens: Arc<Tokens>,
    /// The body of every order over HTTP.
    pub(crate) body: Vec<u8>,
    pub(crate) quantity: u32,
    pub(crate) waitlist: bool,
}

/// Bearer tokens, made before the run as far as they fit in memory.
pub(crate) struct Tokens {
    pub(crate) credentials: crate::Credentials,
    pub(crate) minted: Vec<String>,
    pub(crate) admin: String,
}

impl Tokens {
    pub(crate) fn buyer(&self, buyer: u64) -> Cow<'_, str> {
        match usize::try_from(buyer).ok().and_then(|buyer| self.minted.get(buyer)) {
            Some(token) => Cow::Borrowed(token),
            None => Cow::Owned(self.credentials.buyer(&Attempts::buyer_name(buyer))),
        }
    }
}

impl Lane {
    /// Whether a request can be sent now.
    pub(crate) fn is_connected(&mut self) -> bool {
        match self {
            Self::Http(lane) => lane.is_connected(),
            Self::Binary(lane) => lane.is_connected(),
        }
    }

    /// Tries to get a connection.
    pub(crate) async fn connect(&mut self) -> Result<(), String> {
        match self {
            Self::Http(lane) => lane.connect().await.map_err(|error| error.to_string()),
            Self::Binary(lane) => lane.connect().await,
        }
    }

    /// Buys. `evidence` gets what the server says about the order, byte by byte.
    pub(crate) async fn place(
        &mut self,
        wares: &Wares,
        attempt: &Attempt,
        evidence: Option<&mut Vec<u8>>,
    ) -> Answer {
        match self {
            Self::Http(lane) => {
                let order = HttpOrder {
                    product: wares.attempts.product(attempt.product).0,
                    token: &wares.tokens.buyer(attempt.buyer),
                    key: &wares.attempts.key(attempt.number),
                    body: &wares.body,
                };
                lane.place(order, evidence).await
            }
            Self::Binary(lane) => lane.place(wares, attempt, evidence).await,
        }
    }

    /// Pays as the payment service, or cancels or looks as the buyer. `evidence` as in buying.
    pub(crate) async fn act(
        &mut self,
        wares: &Wares,
        (act, buyer): (Act, u64),
        order: OrderId,
        evidence: Option<&mut Vec<u8>>,
    ) -> Answer {
        let lane = match self {
            Self::Binary(lane) => {
                return lane.act(act, Attempts::buyer_id(buyer), order, evidence).await;
            }
            Self::Http(lane) => lane,
        };
        let token = match act {
            Act::Pay => Cow::Borrowed(wares.tokens.admin.as_str()),
            Act::Cancel | Act::Look => wares.tokens.buyer(buyer),
        };
        let words = match act {
            Act::Pay => ("PUT", "pay"),
            Act::Cancel => ("PUT", "cancel"),
            Act::Look => ("GET", "status"),
        };
        lane.on_order(words, order, &token, evidence).await
    }

    /// What the evidence of an answer says of an order.
    pub(crate) fn seen(&self, evidence: &[u8]) -> Option<OrderSeen> {
        match self {
            Self::Http(_) => told::order_of_body(evidence),
            Self::Binary(_) => BinaryLane::seen(evidence),
        }
    }
}
