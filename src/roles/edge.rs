//! The edge, as this process runs it.

use super::{Role, Running, cpus};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use doorbuster_edge::{Edge, EdgeConfig, EdgeError, EdgeMetrics, TokenRules};
use doorbuster_persistence::Store;
use doorbuster_protocol::handshake::PreSharedKey;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// How often readiness is looked at during start-up.
const READY_POLL: Duration = Duration::from_millis(2);

/// What others need to know of a running edge.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Its counters.
    pub(crate) metrics: Arc<EdgeMetrics>,
}

/// Starts it; it listens when this returns. `files_of_others` may be opened by the other roles of
/// this process.
pub(crate) fn start(
    config: &Config,
    engine: Vec<SocketAddr>,
    key: PreSharedKey,
    tokens: TokenRules,
    threads: usize,
    store: Arc<dyn Store>,
    files_of_others: usize,
) -> Result<(Role, Started), Failure> {
    let standard = EdgeConfig::new(config.http, engine, key, tokens);
    let edge = Edge::start(
        EdgeConfig {
            threads,
            order_timeout: config.order_timeout,
            order_wait_max: config.order_wait_max,
            in_flight_per_core_max: config.in_flight_max,
            body_bytes_max: config.body_bytes_max,
            header_timeout: config.header_timeout,
            body_timeout: config.body_timeout,
            body_rate_min: config.body_rate_min,
            idle_timeout: config.idle_timeout,
            write_timeout: config.write_timeout,
            connections_per_thread_max: config
                .connections_max
                .map_or(standard.connections_per_thread_max, |all| all.div_ceil(threads)),
            connections_per_address: config.connections_per_address,
            descriptors_reserved: standard.descriptors_reserved
                + config.store.connections_max()
                + files_of_others,
            rate_limit: config.rate_limit,
            anonymous_rate_limit: config.anonymous_rate_limit,
            bad_token_rate_limit: config.bad_token_rate_limit,
            ..standard
        },
        store,
    )
    .map_err(|error| failure(&error))?;
    let started = Started { address: edge.address(), metrics: edge.metrics() };
    let (stop, stopping) = mpsc::channel::<()>();
    let role = Role {
        name: "edge",
        stop: Box::new(move || drop(stop)),
        join: Box::new(move || {
            // Its threads end only when they are told to, or by a panic, which ends the process.
            let _ = stopping.recv();
            edge.join().map_err(|error| failure(&error))
        }),
    };
    Ok((role, started))
}

/// Waits until every thread is connected to every core. Fails when a role ends meanwhile.
pub(crate) fn wait_until_ready(edge: &Started, running: &Running) -> Result<(), Failure> {
    while !edge.metrics.is_ready() {
        running.check()?;
        thread::sleep(READY_POLL);
    }
    Ok(())
}

/// Threads when nobody says how many: the CPUs that `taken` leaves, at least one.
pub(crate) fn threads(config: &Config, taken: usize) -> usize {
    config.edge_threads.unwrap_or_else(|| cpus().saturating_sub(taken).max(1))
}

fn failure(error: &EdgeError) -> Failure {
    let exit = if error.is_address_in_use() { Exit::AddressInUse } else { Exit::Failure };
    let failure = Failure::because(exit, "the edge cannot start", error);
    match exit {
        Exit::AddressInUse => failure.next(
            "find its user with `ss -ltnp`, or take another address with --http (port 0 is a free \
             one)",
        ),
        _ => failure,
    }
}
