//! Before the load: is anybody there, and do the products exist?

use crate::attempt::Attempts;
use crate::binary::BinaryLane;
use crate::http::HttpLane;
use crate::plan::{Plan, Prepare};
use crate::run::LoadError;
use crate::target::Target;
use doorbuster_protocol::command::Define;
use doorbuster_protocol::{Currency, Timestamp};
use std::io;
use std::sync::Arc;
use tokio::task::LocalSet;

/// Defines the plan's products, and fails early when nobody answers (unless the plan waits).
pub(crate) fn prepare(plan: &Plan) -> Result<(), LoadError> {
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
                let mut lane = HttpLane::new(Arc::new(target.clone()), plan.request_timeout);
                let connected = lane.connect().await;
                connected.map_err(|error: io::Error| unreachable(error.to_string()))?;
                match plan.prepare {
                    Some(prepare) => define_over_http(plan, prepare, &mut lane).await,
                    None => Ok(()),
                }
            }
            Target::Binary(seeds, key) => {
                let mut lane = BinaryLane::new(seeds.clone(), key.clone(), plan);
                lane.connect().await.map_err(unreachable)?;
                match plan.prepare {
                    Some(prepare) => define_over_binary(plan, prepare, &mut lane).await,
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
) -> Result<(), LoadError> {
    let admin = plan.credentials.admin();
    for product in &plan.products {
        let body = serde_json::json!({
            "name": product,
            "price": prepare.price,
            "currency": "USD",
            "stock": prepare.stock,
            "limitPerUser": prepare.limit_per_buyer,
            "holdSeconds": prepare.hold_seconds,
            "waitlistCapacity": prepare.waitlist_capacity,
        });
        let defined = lane.define(product, &admin, body.to_string().as_bytes()).await;
        defined.map_err(|reason| LoadError::Prepare { product: product.clone(), reason })?;
    }
    Ok(())
}

async fn define_over_binary(
    plan: &Plan,
    prepare: Prepare,
    lane: &mut BinaryLane,
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
        lane.define(define).await.map_err(failed)?;
    }
    Ok(())
}
