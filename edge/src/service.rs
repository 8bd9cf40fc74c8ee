//! From a request to its answer: id, route, handler, headers, counters.

use crate::body;
use crate::connection::ConnectionState;
use crate::handlers::{health, orders, products};
use crate::metrics::{OrderResult, OrderType, Rejected};
use crate::middleware::authentication::Origin;
use crate::middleware::request_id;
use crate::problem::{Code, Problem};
use crate::refusal;
use crate::router::{Action, NoAction, Resource};
use crate::token::Identity;
use crate::turns::{Entrant, Turn};
use crate::worker::Worker;
use bytes::Bytes;
use doorbuster_client::ClientError;
use doorbuster_persistence::StoreError;
use doorbuster_protocol::command::{Ask, Request as EngineRequest};
use doorbuster_protocol::{OrderId, Outcome, PartitionId, ProductId, Timestamp};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response, StatusCode};
use std::cell::Cell;
use std::convert::Infallible;
use std::fmt::Write;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// The header of an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Bytes of the path of an order.
const LOCATION_BYTES: usize = "/orders/".len() + 36;

/// A request on its way through a handler.
pub(crate) struct Call<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) head: &'a Parts,
    /// When its headers were complete, by the clock of the world.
    pub(crate) now: Timestamp,
    started: Instant,
    /// How long its body took to arrive: a client's time, which is not counted as the engine's.
    body_took: Cell<Duration>,
    connection: &'a ConnectionState,
    body: Cell<Option<Incoming>>,
}

/// What a handler answers when all is well.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    /// For the `Location` of a new order.
    pub(crate) order: Option<OrderId>,
    /// Whether it was given before, to the same key.
    pub(crate) is_replay: bool,
}

impl Answer {
    /// 200 with a document.
    pub(crate) fn ok(body: Vec<u8>) -> Self {
        Self::with(StatusCode::OK, body)
    }

    /// A status with a document.
    pub(crate) fn with(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, body, order: None, is_replay: false }
    }
}

impl Call<'_> {
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// Who asks: an administrator, or a buyer who does not ask too often. Each request asks once.
    pub(crate) fn identify(&self) -> Result<Identity, Problem> {
        let (worker, limits) = (self.worker, &self.worker.rate_limits);
        let origin = Origin {
            limits,
            metrics: &worker.metrics,
            address: self.connection.peer,
            has_brought_bad: &self.connection.has_brought_bad_token,
            now: self.started.into_std(),
        };
        let identity = worker.authentication.identify(self.headers(), self.now, origin)?;
        if !identity.admin {
            self.limited(limits.admit_buyer(identity.buyer, self.started.into_std()))?;
        }
        Ok(identity)
    }

    /// Passes a client without a token that does not ask too often.
    fn admit_anonymous(&self) -> Result<(), Problem> {
        let limits = &self.worker.rate_limits;
        self.limited(limits.admit_address(self.connection.peer, self.started.into_std()))
    }

    /// Waits for the turn that a new order, or a client without a token, needs.
    pub(crate) async fn turn(&self, entrant: Entrant) -> Result<Turn, Problem> {
        let turns = &self.worker.turns;
        match turns.turn(entrant).await {
            Some(turn) => Ok(turn),
            None => {
                self.worker.metrics.rejected(Rejected::Shed);
                Err(turns.sent_away())
            }
        }
    }

    fn limited(&self, admission: Result<(), Problem>) -> Result<(), Problem> {
        admission.inspect_err(|_| self.worker.metrics.rejected(Rejected::RateLimited))
    }

    /// The JSON body, as bytes within bounds.
    pub(crate) async fn json_body(&self) -> Result<Bytes, Problem> {
        body::require_json(self.headers())?;
        self.whole_body().await
    }

    /// Takes in a body that counts for nothing: what is not sent whole is not done.
    pub(crate) async fn no_body(&self) -> Result<(), Problem> {
        self.whole_body().await.map(drop)
    }

    async fn whole_body(&self) -> Result<Bytes, Problem> {
        let Some(incoming) = self.body.take() else { return Ok(Bytes::new()) };
        if incoming.is_end_stream() {
            return Ok(Bytes::new());
        }
        // Not from the request's begin: it may have waited for a turn meanwhile.
        let began = Instant::now();
        self.connection.awaits_body(Some(began));
        let body = body::read(incoming, &self.connection.alarm, self.worker.body_limits()).await;
        self.connection.awaits_body(None);
        self.body_took.set(began.elapsed());
        let metrics = &self.worker.metrics;
        body.map_err(|problem| match self.connection.refused() {
            Some(refusal) => {
                metrics.rejected(Rejected::Malformed);
                refusal::of_framing(refusal)
            }
            None => {
                if problem.code() == Code::RequestTimeout {
                    metrics.rejected(Rejected::SlowBody);
                }
                problem
            }
        })
    }

    /// The partition of a product.
    pub(crate) fn partition_of(&self, product: ProductId) -> Result<PartitionId, Problem> {
        let client = self.worker.engine.client().ok_or_else(|| self.not_connected())?;
        Ok(client.partitions().partition_of(product))
    }

    /// The turn of a new order for a product. Without an engine there are none: that is found out
    /// by whoever asks it.
    pub(crate) async fn order_turn(&self, product: ProductId) -> Result<Turn, Problem> {
        let engine = self.worker.engine.client();
        let core = engine.and_then(|engine| {
            let partition = engine.partitions().partition_of(product);
            engine.owner_of(partition)
        });
        self.turn(Entrant::Order { core: core.unwrap_or_default() }).await
    }

    /// The partition of an order; an order of a partition that does not exist is not found.
    pub(crate) fn partition_of_order(&self, order: OrderId) -> Result<PartitionId, Problem> {
        let client = self.worker.engine.client().ok_or_else(|| self.not_connected())?;
        let partition = order.partition();
        if partition.get() < client.partitions().get() {
            Ok(partition)
        } else {
            Err(refusal::order_not_found())
        }
    }

    /// Sends a question to the engine at once; the answer comes when the future is awaited.
    pub(crate) fn ask(
        &self,
        partition: PartitionId,
        ask: Ask,
    ) -> impl Future<Output = Result<Outcome, Problem>> {
        let time = self.body_took.get() + self.worker.config.order_timeout;
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let request = EngineRequest { partition, deadline: self.now.plus_micros(micros), ask };
        let answer = self.worker.engine.client().map(|client| client.submit(request));
        async move {
            let answer = answer.ok_or_else(|| self.not_connected())?;
            match self.connection.alarm.within(self.deadline(), answer).await {
                Ok(Ok(outcome)) => Ok(outcome),
                Ok(Err(error)) => {
                    let metrics = &self.worker.metrics;
                    match error {
                        ClientError::Overloaded => metrics.rejected(Rejected::Overloaded),
                        ClientError::Unavailable => metrics.rejected(Rejected::Unavailable),
                        // Thousands may be lost with one connection, which has said so once.
                        ClientError::Lost => tracing::debug!(%error, "a request was in flight"),
                        _ => tracing::warn!(%error, "a request to the engine failed"),
                    }
                    Err(refusal::of_client(&error))
                }
                Err(_) => Err(refusal::overdue()),
            }
        }
    }

    /// The answer of the store, in time.
    pub(crate) async fn query<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Problem> {
        match self.connection.alarm.within(self.deadline(), answer).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(refusal::of_store(&error)),
            Err(_) => Err(refusal::overdue()),
        }
    }

    /// The problem of an outcome that is no success of what was asked.
    pub(crate) fn refuse(&self, outcome: &Outcome) -> Problem {
        refusal::of_outcome(outcome, self.now)
    }

    fn deadline(&self) -> Instant {
        self.started + self.body_took.get() + self.worker.config.order_timeout
    }

    fn not_connected(&self) -> Problem {
        self.worker.metrics.rejected(Rejected::Unavailable);
        refusal::not_connected()
    }
}

/// Answers one request. It cannot fail: every failure is an answer.
pub(crate) async fn answer(
    worker: Rc<Worker>,
    connection: Rc<ConnectionState>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    connection.request_begins();
    let (head, body) = request.into_parts();
    let request_id = worker.request_ids.of(&head.headers);
    let resource = Resource::of(head.uri.path());
    let call = Call {
        worker: &worker,
        head: &head,
        now: crate::time::now(),
        started: Instant::now(),
        body_took: Cell::new(Duration::ZERO),
        connection: &connection,
        body: Cell::new(Some(body)),
    };
    let outcome = handle(&call, resource).await;
    let mut response = match outcome {
        Ok(answer) => respond(answer),
        Err(problem) => {
            let closes = problem.closes();
            let mut response = problem.into_response(request_id.to_str().unwrap_or_default());
            if !closes && !settle_body(&call).await {
                close(&mut response);
            }
            response
        }
    };
    response.headers_mut().insert(request_id::HEADER, request_id);
    worker.metrics.request(resource.route(), response.status().as_u16());
    connection.request_ends();
    Ok(response)
}

/// Takes what is left of a body out of the way. `false`: the connection cannot go on.
async fn settle_body(call: &Call<'_>) -> bool {
    if call.headers().contains_key(header::EXPECT) {
        // Asking for a body only to throw it away would be worse than a new connection.
        return call.body.take().is_none();
    }
    call.no_body().await.is_ok()
}

async fn handle(call: &Call<'_>, resource: Resource<'_>) -> Result<Answer, Problem> {
    let action = resource.action(&call.head.method).map_err(refuse_route)?;
    if !action.is_anonymous() {
        return act(call, action).await;
    }
    call.admit_anonymous()?;
    let turn = call.turn(Entrant::Anonymous).await?;
    let answer = act(call, action).await;
    if answer.is_ok() {
        turn.answered(false);
    }
    answer
}

async fn act(call: &Call<'_>, action: Action<'_>) -> Result<Answer, Problem> {
    match action {
        Action::PlaceFlashSaleOrder(product) => {
            let answer = orders::place_flash_sale(call, product).await;
            count_order(call, OrderType::FlashSale, answer)
        }
        Action::PlaceOrder => {
            let answer = orders::place(call).await;
            count_order(call, OrderType::Regular, answer)
        }
        // Rarer and larger: kept out of the state of every order, which is made and moved for each.
        Action::ReadOrder(order) => Box::pin(orders::read(call, order)).await,
        Action::ReadOrderStatus(order) => Box::pin(orders::read_status(call, order)).await,
        Action::CancelOrder(order) => Box::pin(orders::cancel(call, order)).await,
        Action::PayOrder(order) => Box::pin(orders::pay(call, order)).await,
        Action::ListOrders(user) => Box::pin(orders::list(call, user)).await,
        Action::ListProducts => Box::pin(products::list(call)).await,
        Action::ListFlashSale => Box::pin(products::list_flash_sale(call)).await,
        Action::ReadProduct(product) => Box::pin(products::read(call, product)).await,
        Action::DefineProduct(product) => Box::pin(products::define(call, product)).await,
        Action::ChangeInventory(product) => {
            Box::pin(products::change_inventory(call, product)).await
        }
        Action::ChangeState(product) => Box::pin(products::change_state(call, product)).await,
        Action::Health => Ok(health::health()),
        Action::Ready => health::ready(call.worker.is_ready()),
    }
}

fn refuse_route(reason: NoAction) -> Problem {
    match reason {
        NoAction::UnknownPath => Problem::new(
            Code::NotFound,
            "No resource has this path. Orders are under /orders, products under /products",
        ),
        NoAction::WrongMethod(allowed) => {
            Problem::new(Code::MethodNotAllowed, format!("This path takes {allowed}"))
                .header(allowed)
        }
    }
}

fn count_order(
    call: &Call<'_>,
    kind: OrderType,
    answer: Result<Answer, Problem>,
) -> Result<Answer, Problem> {
    let result = match &answer {
        Ok(answer) if answer.is_replay => OrderResult::Replayed,
        Ok(answer) if answer.status == StatusCode::ACCEPTED => OrderResult::Queued,
        Ok(_) => OrderResult::Pending,
        Err(problem) => OrderResult::Refused(problem.code()),
    };
    call.worker.metrics.order(kind, result);
    call.worker.metrics.order_took(call.started.elapsed());
    answer
}

fn respond(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(order) = answer.order {
        let mut location = String::with_capacity(LOCATION_BYTES);
        write!(location, "/orders/{order}").expect("a text takes all letters");
        let location = HeaderValue::from_maybe_shared(Bytes::from(location));
        let location = location.expect("an id is printable");
        headers.insert(header::LOCATION, location);
    }
    if answer.is_replay {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

fn close(response: &mut Response<Full<Bytes>>) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}
