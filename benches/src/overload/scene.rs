//! The servers of the scenario, and which of them is short of CPU.

use super::Short;
use super::quota::Quota;
use crate::machine::{self, Seats};
use crate::server::Server;
use std::net::SocketAddr;
use std::path::Path;

/// Running servers, in the order in which they were started.
pub(super) struct Scene {
    servers: Vec<Server>,
    http: SocketAddr,
    // Goes after the servers that are in it.
    _quota: Quota,
}

impl Scene {
    /// Starts them: the servers on the first CPU, and this thread and those that it starts on the
    /// second, so that the generator takes nothing from them.
    pub(super) fn open(
        short: Short,
        percent: u32,
        seats: Seats,
        program: &Path,
        scratch: &Path,
    ) -> anyhow::Result<Self> {
        let quota = Quota::of_one_cpu(percent)?;
        let (servers, http) = match short {
            Short::Server => {
                let (mut server, http) = Server::serve_on(seats.server, program, scratch)?;
                server.wait_until_ready(http)?;
                quota.take_in(server.process())?;
                (vec![server], http)
            }
            Short::Engine => {
                let (engine, address) = Server::engine(program, scratch, seats.server)?;
                quota.take_in(engine.process())?;
                let (edge, http) = Server::edge_on(seats.server, program, scratch, address)?;
                let projector = Server::projector_on(seats.client, program, scratch, address)?;
                (vec![engine, projector, edge], http)
            }
        };
        machine::sit_on(seats.client);
        Ok(Self { servers, http, _quota: quota })
    }

    /// Where buyers are served.
    pub(super) fn http(&self) -> SocketAddr {
        self.http
    }

    /// The secret that signs bearer tokens.
    pub(super) fn token_secret(&self) -> anyhow::Result<Vec<u8>> {
        self.servers[0].token_secret()
    }

    /// What all of them have resident.
    pub(super) fn memory_mib(&self) -> f64 {
        self.servers.iter().filter_map(|server| machine::memory_mib(server.process())).sum()
    }

    /// Ends them in good order, the last one first.
    pub(super) fn close(self) -> anyhow::Result<()> {
        for server in self.servers.into_iter().rev() {
            server.stop()?;
        }
        Ok(())
    }
}
