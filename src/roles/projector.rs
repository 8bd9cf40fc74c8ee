//! The projector, on a thread of its own.

use super::{Role, runtime};
use crate::exit::{Exit, Failure};
use doorbuster_persistence::Store;
use doorbuster_persistence::projector::{self, ProjectorConfig, ProjectorError, ProjectorMetrics};
use doorbuster_protocol::handshake::PreSharedKey;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::watch;

/// How long a sale goes on between tries to reach a store that failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// What the end of a projector means to its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtFailure {
    /// The process has nothing else to do: it ends.
    End,
    /// The process sells: a store that failed after it had worked stops nothing but trimming.
    SellOn,
}

/// Starts it. It reconnects for as long as it takes, so this cannot fail.
pub(crate) fn start(
    engine: Vec<SocketAddr>,
    key: PreSharedKey,
    store: Arc<dyn Store>,
    at_failure: AtFailure,
) -> (Role, Arc<ProjectorMetrics>) {
    let metrics = Arc::new(ProjectorMetrics::new());
    let counters = Arc::clone(&metrics);
    let (stop, stopping) = watch::channel(false);
    let thread = thread::Builder::new()
        .name("projector".to_owned())
        .spawn(move || {
            if at_failure == AtFailure::SellOn {
                // Results may reach the store later; orders may not wait for them.
                let _ = rustix::process::nice(doorbuster_persistence::BACKGROUND_NICENESS);
            }
            let config = ProjectorConfig::new(engine, key);
            runtime().block_on(project(config, store, counters, stopping, at_failure))
        })
        .unwrap_or_else(|error| panic!("cannot start the projector's thread: {error}"));
    let role = Role {
        name: "projector",
        stop: Box::new(move || {
            // An error means that it has ended already.
            let _ = stop.send(true);
        }),
        join: Box::new(move || {
            let ended = thread.join().expect("a panic would have ended the process");
            ended.map_err(|error| {
                Failure::because(Exit::StoreUnusable, "the projector cannot go on", &error)
            })
        }),
    };
    (role, metrics)
}

async fn project(
    config: ProjectorConfig,
    store: Arc<dyn Store>,
    metrics: Arc<ProjectorMetrics>,
    mut stopping: watch::Receiver<bool>,
    at_failure: AtFailure,
) -> Result<(), ProjectorError> {
    loop {
        let (store, counters) = (Arc::clone(&store), Arc::clone(&metrics));
        let ended = projector::run(config.clone(), store, counters, stopping.clone()).await;
        // A store that never worked is a mistake of the configuration: that ends the process.
        let has_worked = metrics.connections() > 0;
        match ended {
            Err(error) if at_failure == AtFailure::SellOn && has_worked => {
                tracing::error!(
                    %error,
                    "results do not reach the store; orders go on from the log, and it is tried again"
                );
                let told = stopping.wait_for(|stop| *stop);
                if tokio::time::timeout(STORE_PAUSE, told).await.is_ok() {
                    return Ok(());
                }
            }
            ended => return ended,
        }
    }
}
