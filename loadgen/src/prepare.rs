//! Before the load: is anybody there, and do the products exist?

use crate::attempt::Attempts;
use crate::binary::BinaryLane;
use crate::http::HttpLane;
use crate::journal::Pen;
use crate::plan::{Plan, Prepare};
use crate::run::LoadError;
use crate::target::Target;
use crate::told;
use doorbuster_history::answer::{Answer as Told, ProductSeen};
use doorbuster_history::journal::Called;
use doorbuster_history::operation::Change;
use doorbuster_protocol::command::Define;
use doorbuster_protocol::{Currency, Timestamp};
use std::io;
use std::sync::Arc;
use tokio::task::LocalSet;

/// Defines the plan's products, and fails early when nobody answers (unless the plan waits).
pub(crate) fn prepare(plan: &Plan, journal: Option<&Pen>) -> Result<(), LoadError> {
    if plan.tolerate_disconnects && plan.prepare.is_none() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(LoadError::Worker)?;
    let unreachable =
        |reason: String| LoadError::Unreachable { target: plan.target.to_string(), reason };
    LocalSet::new().block_on(&runtime, async {
        match &plan.target {
            Target::Http(target) => {
                let mut lane = HttpLane::new(Arc::new(target.clone()), plan.request_timeout, None);
                let connected = lane.connect().await;
                connected.map_err(|error: io::Error| unreachable(error.to_string()))?;
                match plan.prepare {
                    Some(prepare) => define_over_http(plan, prepare, &mut lane, journal).await,
                    None => Ok(()),
                }
            }
            Target::Binary(seeds, key) => {
                let mut lane = BinaryLane::new(seeds.clone(), key.clone(), plan);
                lane.connect().await.map_err(unreachable)?;
                match plan.prepare {
                    Some(prepare) => define_over_binary(plan, prepare, &mut lane, journal).await,
                    None => Ok(()),
                }
            }
        }
    })
}

async fn define_over_http(
    plan: &Plan,
    prepare: Prepare,
    lane: &mut HttpLane,
    journal: Option<&Pen>,
) -> Result<(), LoadError> {
    let admin = plan.credentials.admin();
    let attempts = Attempts::new(plan);
    for (index, product) in plan.products.iter().enumerate() {
        let body = serde_json::json!({
            "name": product,
            "price": prepare.price,
            "currency": "USD",
            "stock": prepare.stock,
            "limitPerUser": prepare.limit_per_buyer,
            "holdSeconds": prepare.hold_seconds,
            "waitlistCapacity": prepare.waitlist_capacity,
        });
        // What is not said stays as it is.
        let change = Change { opens_us: None, closes_us: None, ..change_of(prepare) };
        let written = Written::begin(journal, &attempts, index, change);
        let defined = lane.define(product, &admin, body.to_string().as_bytes()).await;
        written.end(defined.as_ref().ok().and_then(|body| told::product_of_body(body)));
        defined.map_err(|reason| LoadError::Prepare { product: product.clone(), reason })?;
    }
    Ok(())
}

async fn define_over_binary(
    plan: &Plan,
    prepare: Prepare,
    lane: &mut BinaryLane,
    journal: Option<&Pen>,
) -> Result<(), LoadError> {
    let attempts = Attempts::new(plan);
    for (index, product) in plan.products.iter().enumerate() {
        let define = Define {
            product: attempts.product(index).1,
            price: Some(prepare.price),
            currency: Some(Currency::USD),
            stock: Some(prepare.stock),
            opens_at: Some(Timestamp::NONE),
            closes_at: Some(Timestamp::NONE),
            limit_per_buyer: Some(prepare.limit_per_buyer),
            hold_seconds: Some(prepare.hold_seconds),
            waitlist_capacity: Some(prepare.waitlist_capacity),
        };
        let failed = |reason: String| LoadError::Prepare { product: product.clone(), reason };
        define.check().map_err(|error| failed(error.to_string()))?;
        let written = Written::begin(journal, &attempts, index, change_of(prepare));
        let defined = lane.define(define).await;
        written.end(defined.as_ref().ok().and_then(told::product_of_view));
        defined.map_err(failed)?;
    }
    Ok(())
}

/// The terms of a definition, as a journal has them.
fn change_of(prepare: Prepare) -> Change {
    Change {
        price: Some(prepare.price),
        currency: doorbuster_history::terms::Currency::parse("USD"),
        stock: Some(prepare.stock),
        opens_us: Some(0),
        closes_us: Some(0),
        limit_per_buyer: Some(prepare.limit_per_buyer),
        hold_seconds: Some(prepare.hold_seconds),
        waitlist_capacity: Some(prepare.waitlist_capacity),
    }
}

/// A definition that is written down, if there is a journal.
struct Written<'a>(Option<(&'a Pen, u64)>);

impl<'a> Written<'a> {
    fn begin(journal: Option<&'a Pen>, attempts: &Attempts, index: usize, change: Change) -> Self {
        let (name, id) = attempts.product(index);
        let called = Called { product: name.to_owned(), ..Called::default() };
        let ask = doorbuster_history::operation::Ask::Define { product: told::product(id), change };
        Self(journal.map(|pen| (pen, pen.sent(ask, called))))
    }

    /// `None`: it failed, and nobody knows whether before or after it was done.
    fn end(self, seen: Option<ProductSeen>) {
        if let Some((pen, number)) = self.0 {
            let answer = seen.map_or(Told::Unknown, |seen| Told::Product(Box::new(seen)));
            pen.answered(number, answer);
        }
    }
}
