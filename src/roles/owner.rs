//! Whose store an edge asks: known when the engine tells of its data directory.
//!
//! A store of another data directory would answer with other buyers' orders, so that meeting one
//! ends the process. A shard that is away or that nobody has claimed is looked at again.

use super::store::owned_by;
use super::{Role, runtime};
use crate::exit::Failure;
use doorbuster_client::{ClientOptions, EngineClient};
use doorbuster_persistence::Store;
use doorbuster_persistence::store::StoreIdentity;
use doorbuster_protocol::handshake::PreSharedKey;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// Between tries to reach the engine, and between looks at shards that did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts looking; once every shard is known to be the engine's, it only waits to be stopped.
pub(crate) fn start(engine: Vec<SocketAddr>, key: PreSharedKey, store: Arc<dyn Store>) -> Role {
    let (stop, stopping) = oneshot::channel::<()>();
    let thread = thread::Builder::new()
        .name("owner".to_owned())
        .spawn(move || {
            LocalSet::new().block_on(&runtime(), async {
                tokio::select! {
                    _ = stopping => Ok(()),
                    Err(failure) = look(&engine, &key, store.as_ref()) => Err(failure),
                }
            })
        })
        .unwrap_or_else(|error| panic!("cannot start the owner's thread: {error}"));
    Role {
        name: "store watch",
        stop: Box::new(move || {
            // An error means that it has ended already.
            let _ = stop.send(());
        }),
        join: Box::new(move || thread.join().expect("a panic would have ended the process")),
    }
}

/// Ends with a failure or not at all.
async fn look(
    engine: &[SocketAddr],
    key: &PreSharedKey,
    store: &dyn Store,
) -> Result<std::convert::Infallible, Failure> {
    let identity = loop {
        match EngineClient::connect(engine, key, ClientOptions::default()).await {
            Ok(client) => {
                let (directory, partitions) = (client.directory(), client.partitions());
                break StoreIdentity { directory, partitions };
            }
            // Whoever serves buyers says so.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    while !owned_by(store, identity).await? {
        tokio::time::sleep(PAUSE).await;
    }
    std::future::pending().await
}
