//! The administrators' address: metrics, health and readiness of this process.

use super::Role;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::metrics::{self, Counted};
use doorbuster_edge::admin::{Admin, AdminPages};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};

/// Serves the page; `None` when the configuration says `off`.
pub(crate) fn start(
    config: &Config,
    counted: Counted,
) -> Result<Option<(Role, SocketAddr)>, Failure> {
    let Some(address) = config.admin else { return Ok(None) };
    let edge = counted.edge.clone();
    let pages = AdminPages {
        metrics: Arc::new(move || metrics::render(&counted)),
        // An engine serves when it has started; an edge is ready when it reaches every core.
        ready: Arc::new(move || edge.as_ref().is_none_or(|edge| edge.is_ready())),
    };
    let admin = TcpListener::bind(address)
        .and_then(|listener| Admin::start(listener, pages))
        .map_err(|error| failure(address, &error))?;
    let bound = admin.address();
    let (stop, stopping) = mpsc::channel::<()>();
    let role = Role {
        name: "admin",
        stop: Box::new(move || drop(stop)),
        join: Box::new(move || {
            let _ = stopping.recv();
            admin.join().map_err(|error| {
                Failure::because(Exit::Failure, "the admin address stopped", &error)
            })
        }),
    };
    Ok(Some((role, bound)))
}

fn failure(address: SocketAddr, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::AddrInUse => Exit::AddressInUse,
        _ => Exit::Failure,
    };
    Failure::new(exit, format!("cannot listen on {address} for the admin pages")).why(error).next(
        "find its user with `ss -ltnp`, take another address with --admin (port 0 is a free one), \
         or do without: --admin off",
    )
}
