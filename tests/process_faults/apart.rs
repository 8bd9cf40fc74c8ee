//! Engine, edge and projector in processes of their own, each of which is killed, frozen and
//! started again while the others run.

use crate::shop::Shop;
use crate::support::http::Client;
use crate::support::role::Role;
use crate::support::{doorbuster, wait_until};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Engine,
    Edge,
    Projector,
}

impl Part {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Engine, Self::Edge, Self::Projector];
}

/// How engine and edge are started at first.
pub(crate) struct Start<'a> {
    /// The command of the engine.
    pub(crate) engine: Command,
    /// More flags of the engine, also when it is started again.
    pub(crate) engine_flags: &'a [&'a str],
    /// The command of the edge.
    pub(crate) edge: Command,
    /// More flags of the edge, also when it is started again.
    pub(crate) edge_flags: &'a [&'a str],
}

impl Default for Start<'_> {
    fn default() -> Self {
        let (engine, edge) = (doorbuster(), doorbuster());
        Self { engine, engine_flags: &[], edge, edge_flags: &[] }
    }
}

/// A shop in parts.
pub(crate) struct Apart {
    data: PathBuf,
    /// Where the engine's one core listens.
    core: SocketAddr,
    http: SocketAddr,
    engine: Option<Role>,
    edge: Option<Role>,
    projector: Option<Role>,
    engine_flags: Vec<String>,
    edge_flags: Vec<String>,
}

impl Apart {
    /// Starts all of them; returns when orders can be placed.
    pub(crate) fn start(data: &Path, start: Start<'_>) -> Self {
        let owned = |flags: &[&str]| flags.iter().copied().map(String::from).collect::<Vec<_>>();
        let (engine_flags, edge_flags) = (owned(start.engine_flags), owned(start.edge_flags));
        let free = "127.0.0.1:0";
        let engine = start_engine(start.engine, data, free, &engine_flags);
        let core = engine.address.expect("the engine listens");
        let edge = start_edge(start.edge, data, core, free, &edge_flags);
        let http = edge.address.expect("the edge listens");
        let projector = start_projector(data, core);
        let shop = Self {
            data: data.to_owned(),
            core,
            http,
            engine: Some(engine),
            edge: Some(edge),
            projector: Some(projector),
            engine_flags,
            edge_flags,
        };
        wait_until("the edge is ready", || shop.is_ready());
        shop
    }

    /// Whether the edge says that it can take orders.
    pub(crate) fn is_ready(&self) -> bool {
        is_ready(self.http)
    }

    /// Starts one more edge beside the first.
    pub(crate) fn another_edge(&self) -> Role {
        let edge = start_edge(doorbuster(), &self.data, self.core, "127.0.0.1:0", &self.edge_flags);
        let http = edge.address.expect("the edge listens");
        wait_until("the other edge is ready", || is_ready(http));
        edge
    }

    /// Where the engine's core listens.
    pub(crate) fn core(&self) -> SocketAddr {
        self.core
    }

    /// The engine's process id.
    pub(crate) fn engine_pid(&self) -> u32 {
        self.engine.as_ref().expect("it runs").pid()
    }

    /// Where the engine's metrics are.
    pub(crate) fn engine_admin(&self) -> SocketAddr {
        self.engine.as_ref().and_then(|engine| engine.admin).expect("it has an admin page")
    }

    fn part(&mut self, part: Part) -> &mut Option<Role> {
        match part {
            Part::Engine => &mut self.engine,
            Part::Edge => &mut self.edge,
            Part::Projector => &mut self.projector,
        }
    }

    /// Ends one at once, and starts it again where it was.
    pub(crate) fn kill(&mut self, part: Part) {
        drop(self.part(part).take());
        let (data, core) = (&self.data, self.core);
        let role = match part {
            Part::Engine => start_engine(doorbuster(), data, &core.to_string(), &self.engine_flags),
            Part::Edge => {
                start_edge(doorbuster(), data, core, &self.http.to_string(), &self.edge_flags)
            }
            Part::Projector => start_projector(data, core),
        };
        *self.part(part) = Some(role);
    }

    /// Stops one where it stands.
    pub(crate) fn freeze(&mut self, part: Part) {
        self.part(part).as_ref().expect("it runs").signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&mut self, part: Part) {
        self.part(part).as_ref().expect("it runs").signal(Signal::CONT);
    }
}

impl Shop for Apart {
    fn http(&self) -> SocketAddr {
        self.http
    }
    fn projector(&self) -> SocketAddr {
        let projector = self.projector.as_ref().expect("it runs");
        projector.admin.expect("it has an admin page")
    }
    fn data(&self) -> PathBuf {
        self.data.clone()
    }
    fn end(mut self) {
        // Who serves others ends after them.
        for part in [Part::Edge, Part::Projector, Part::Engine] {
            let mut role = self.part(part).take().expect("it runs");
            role.signal(Signal::TERM);
            let mut status = None;
            wait_until("it has drained", || {
                status = role.try_wait();
                status.is_some()
            });
            assert!(status.is_some_and(|status| status.success()), "{part:?}: {status:?}");
        }
    }
}

fn is_ready(http: SocketAddr) -> bool {
    Client::connect(http).call("GET", "/ready", None, None).status == 200
}

fn start_engine(command: Command, data: &Path, listen: &str, flags: &[String]) -> Role {
    let arguments = ["engine", "--cores", "1", "--engine-listen", listen];
    let flags = flags.iter().map(String::as_str);
    let arguments: Vec<&str> = arguments.into_iter().chain(flags).collect();
    Role::start_as(command, data, &arguments, "listening")
}

fn start_edge(
    command: Command,
    data: &Path,
    core: SocketAddr,
    http: &str,
    flags: &[String],
) -> Role {
    let core = core.to_string();
    let arguments = ["edge", "--engine", &core, "--http", http, "--edge-threads", "1"];
    let flags = flags.iter().map(String::as_str);
    let arguments: Vec<&str> = arguments.into_iter().chain(flags).collect();
    Role::start_as(command, data, &arguments, "the edge listens")
}

fn start_projector(data: &Path, core: SocketAddr) -> Role {
    Role::start(data, &["project", "--engine", &core.to_string()], "projecting")
}
