//! The projector, on a thread of its own.

use super::{Role, runtime};
use crate::exit::{Exit, Failure};
use doorbuster_persistence::Store;
use doorbuster_persistence::projector::{self, ProjectorConfig, ProjectorMetrics};
use doorbuster_protocol::handshake::PreSharedKey;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use tokio::sync::watch;

/// Starts it. It reconnects for as long as it takes, so this cannot fail.
pub(crate) fn start(
    engine: Vec<SocketAddr>,
    key: PreSharedKey,
    store: Arc<dyn Store>,
) -> (Role, Arc<ProjectorMetrics>) {
    let metrics = Arc::new(ProjectorMetrics::new());
    let counters = Arc::clone(&metrics);
    let (stop, stopping) = watch::channel(false);
    let thread = thread::Builder::new()
        .name("projector".to_owned())
        .spawn(move || {
            let config = ProjectorConfig::new(engine, key);
            runtime().block_on(projector::run(config, store, counters, stopping))
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
