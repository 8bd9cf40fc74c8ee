//! Requests over the binary protocol: many lanes share one client, which frames together whatever
//! they send in one turn.

use crate::answer::{Answer, Failure};
use crate::attempt::{Attempt, Attempts};
use crate::errand::Act;
use crate::lane::Wares;
use crate::plan::Plan;
use crate::told;
use doorbuster_client::{ClientError, ClientOptions, EngineClient};
use doorbuster_history::answer::OrderSeen;
use doorbuster_protocol::Timestamp;
use doorbuster_protocol::command::{Ask, Define, Place, Read};
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::outcome::{ProductView, Reply};
use doorbuster_protocol::record::Reader;
use doorbuster_protocol::{BuyerId, Command, OrderId, Outcome, PartitionId, Quantity, Request};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Mutex;

/// How much longer than the request's deadline its answer is waited for.
const GRACE: Duration = Duration::from_secs(1);

/// One request in flight. Clones share the client.
#[derive(Clone)]
pub(crate) struct BinaryLane(Rc<Link>);

struct Link {
    seeds: Vec<SocketAddr>,
    key: PreSharedKey,
    timeout: Duration,
    in_flight_max: usize,
    client: RefCell<Option<EngineClient>>,
    /// One lane makes the first connection; the others wait for it.
    connecting: Mutex<()>,
}

impl BinaryLane {
    pub(crate) fn new(seeds: Vec<SocketAddr>, key: PreSharedKey, plan: &Plan) -> Self {
        Self(Rc::new(Link {
            seeds,
            key,
            timeout: plan.request_timeout,
            in_flight_max: (plan.concurrency + plan.acting_concurrency).div_ceil(plan.threads),
            client: RefCell::new(None),
            connecting: Mutex::new(()),
        }))
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0.client.borrow().as_ref().is_some_and(EngineClient::is_connected)
    }

    /// The first connection; later ones are made by the client itself.
    pub(crate) async fn connect(&self) -> Result<(), String> {
        let link = &self.0;
        let _only_one = link.connecting.lock().await;
        if self.is_connected() {
            return Ok(());
        }
        if link.client.borrow().is_some() {
            return Err("the connection was lost".to_owned());
        }
        let options = ClientOptions {
            in_flight_per_core_max: link.in_flight_max,
            connect_timeout: link.timeout,
            silence_max: link.timeout,
            ..ClientOptions::default()
        };
        let connecting = EngineClient::connect(&link.seeds, &link.key, options);
        match connecting.await {
            Ok(client) => {
                *link.client.borrow_mut() = Some(client);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    pub(crate) async fn place(
        &self,
        wares: &Wares,
        attempt: &Attempt,
        evidence: Option<&mut Vec<u8>>,
    ) -> Answer {
        let buyer = Attempts::buyer_id(attempt.buyer);
        let product = wares.attempts.product(attempt.product).1;
        let place = Place {
            product,
            buyer,
            key: wares.attempts.key_hash(attempt, buyer),
            quantity: Quantity::new(wares.quantity).expect("the plan was checked"),
            waitlist: wares.waitlist,
        };
        let partition = |client: &EngineClient| client.partitions().partition_of(product);
        let outcome = self.ask(partition, Ask::Command(Command::Place(place))).await;
        answered(&outcome, evidence)
    }

    pub(crate) async fn act(
        &self,
        act: Act,
        buyer: BuyerId,
        order: OrderId,
        evidence: Option<&mut Vec<u8>>,
    ) -> Answer {
        let buyer = Some(buyer);
        let ask = match act {
            Act::Pay => Ask::Command(Command::Confirm { order }),
            Act::Cancel => Ask::Command(Command::Cancel { order, buyer }),
            Act::Look => Ask::Read(Read::Order { order, buyer }),
        };
        let outcome = self.ask(|_| order.partition(), ask).await;
        answered(&outcome, evidence)
    }

    /// What the evidence of an answer says of an order.
    pub(crate) fn seen(evidence: &[u8]) -> Option<OrderSeen> {
        match Reply::decode(&mut Reader::new(evidence)).ok()?.outcome {
            Outcome::Order(view) => told::order_of_view(&view),
            _ => None,
        }
    }

    pub(crate) async fn define(&self, define: Define) -> Result<ProductView, String> {
        let partition = |client: &EngineClient| client.partitions().partition_of(define.product);
        match self.ask(partition, Ask::Command(Command::Define(define))).await {
            Ok(Outcome::Product(view)) => Ok(view),
            Ok(other) => Err(format!("{other:?}")),
            Err(failure) => Err(failure.code.into_owned()),
        }
    }

    async fn ask(
        &self,
        partition: impl FnOnce(&EngineClient) -> PartitionId,
        ask: Ask,
    ) -> Result<Outcome, Failure> {
        let answered = {
            let client = self.0.client.borrow();
            let client = client.as_ref().ok_or(Failure::DISCONNECTED)?;
            let deadline = deadline_after(self.0.timeout);
            client.submit(Request { partition: partition(client), deadline, ask })
        };
        match tokio::time::timeout(self.0.timeout + GRACE, answered).await {
            Ok(Ok(outcome)) => Ok(outcome),
            Ok(Err(error)) => Err(failure_of(&error)),
            Err(_) => Err(Failure { is_disconnect: false, ..Failure::TIMED_OUT }),
        }
    }
}

/// The answer in an outcome; what it says about the order goes into the evidence.
fn answered(outcome: &Result<Outcome, Failure>, evidence: Option<&mut Vec<u8>>) -> Answer {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(failure) => return Answer::Failed(failure.clone()),
    };
    if let (
        Some(evidence),
        Outcome::Placed(view)
        | Outcome::Queued(view)
        | Outcome::Replayed(view)
        | Outcome::Paid(view)
        | Outcome::Cancelled(view)
        | Outcome::Order(view),
    ) = (evidence, outcome)
    {
        evidence.clear();
        Reply { correlation: 0, outcome: Outcome::Order(*view) }.encode(evidence);
    }
    Answer::of_outcome(outcome)
}

fn failure_of(error: &ClientError) -> Failure {
    match error {
        ClientError::Overloaded => Failure::not_done("overloaded"),
        ClientError::Unavailable => Failure::not_done("unavailable"),
        _ => Failure::DISCONNECTED,
    }
}

/// The time at which a request is not worth doing any more.
fn deadline_after(timeout: Duration) -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros((now + timeout).as_micros() as u64)
}
