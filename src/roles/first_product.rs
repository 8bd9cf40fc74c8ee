//! The product that a new data directory comes with, so that its first order is one line away.

use super::runtime;
use crate::exit::{Exit, Failure};
use doorbuster_client::{ClientError, ClientOptions, EngineClient};
use doorbuster_persistence::{CatalogEntry, Store};
use doorbuster_protocol::command::{Ask, Command, Define, Request};
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::{Currency, Outcome, ProductId, Timestamp};
use std::net::SocketAddr;
use tokio::task::LocalSet;

/// The name that stands in its path.
pub(crate) const NAME: &str = "demo";
/// Its units.
const STOCK: u32 = 100;
/// Its price, in cents.
const PRICE: u64 = 1_999;

/// Defines it, through the same protocol and the same store as an administrator would.
pub(crate) fn define(
    engine: &[SocketAddr],
    key: &PreSharedKey,
    store: &dyn Store,
) -> Result<(), Failure> {
    let product = ProductId::parse(NAME).expect("the name is a name");
    let outcome = LocalSet::new().block_on(&runtime(), async {
        store
            .put_catalog(CatalogEntry {
                product,
                name: Some("Demo lamp".to_owned()),
                description: Some(
                    "A lamp that nobody ships. Buy it as often as you like".to_owned(),
                ),
            })
            .await
            .map_err(|error| super::store::failure(&error))?;
        submit_define(engine, key, product).await.map_err(|error| {
            Failure::because(Exit::Failure, "the demo product could not be defined", &error)
        })
    })?;
    match outcome {
        Outcome::Product(_) => Ok(()),
        other => Err(Failure::new(Exit::Failure, "the demo product could not be defined")
            .why(format!("the engine answered {other:?}"))),
    }
}

async fn submit_define(
    engine: &[SocketAddr],
    key: &PreSharedKey,
    product: ProductId,
) -> Result<Outcome, ClientError> {
    let client = EngineClient::connect(engine, key, ClientOptions::default()).await?;
    client.connected().await;
    let terms = Define {
        price: Some(PRICE),
        currency: Some(Currency::USD),
        stock: Some(STOCK),
        ..Define::new(product)
    };
    let partition = client.partitions().partition_of(product);
    let ask = Ask::Command(Command::Define(terms));
    client.submit(Request { partition, deadline: Timestamp::NONE, ask }).await
}
