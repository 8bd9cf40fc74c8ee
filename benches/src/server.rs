//! A child `doorbuster`, from its launch to its end.

use crate::machine;
use crate::pipeline;
use anyhow::{Context, anyhow, bail};
use doorbuster_protocol::ProductId;
use doorbuster_protocol::handshake::PreSharedKey;
use std::borrow::BorrowMut;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long a store may be behind after the load's end.
const STORE_PATIENCE: Duration = Duration::from_secs(300);
/// Time between two looks at it: each costs the server a page of metrics.
const STORE_LOOK_EVERY: Duration = Duration::from_millis(100);
/// Rows of free ports that are looked for.
const ROWS_MAX: usize = 100;
/// Where they begin: below the ports that the system gives to clients, each of which stays in use for
/// a minute after its connection.
const ROW_PORTS: Range<u16> = 20_000..32_000;
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Names the shards: the environment, since command lines can be read by everyone.
const STORE: &str = "DOORBUSTER_STORE";

/// A running server; it is ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    log: PathBuf,
    /// Where an engine alone shows its metrics.
    admin: Option<SocketAddr>,
}

/// Whether an engine holds memory for orders to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserve {
    /// As much as it wants, and whoever starts it waits for that.
    Full,
    Off,
}

/// Where a `doorbuster serve` listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Serving {
    /// For buyers.
    pub(crate) http: SocketAddr,
    /// For whoever looks at the metrics.
    pub(crate) admin: SocketAddr,
}

impl Server {
    /// Everything in one process: `doorbuster serve`, on the embedded store. Returns it with its
    /// HTTP address.
    pub(crate) fn serve(program: &Path, scratch: &Path) -> anyhow::Result<(Self, SocketAddr)> {
        Self::serve_by(Command::new(program), scratch)
    }

    /// The same on one CPU.
    pub(crate) fn serve_on(
        cpu: usize,
        program: &Path,
        scratch: &Path,
    ) -> anyhow::Result<(Self, SocketAddr)> {
        Self::serve_by(machine::command_on(cpu, program), scratch)
    }

    fn serve_by(mut command: Command, scratch: &Path) -> anyhow::Result<(Self, SocketAddr)> {
        command.args(["serve", "--json", "--http", "127.0.0.1:0", "--admin", "off"]);
        let (server, ready) = Self::spawn_serving(command, scratch)?;
        Ok((server, address_in(&ready, "http")?))
    }

    /// The same over the shards of `store`, or the embedded one, with metrics and more arguments.
    pub(crate) fn serve_with(
        program: &Path,
        scratch: &Path,
        store: Option<&str>,
        arguments: &[&str],
    ) -> anyhow::Result<(Self, Serving)> {
        let mut command = Command::new(program);
        command.args(["serve", "--json", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(arguments).envs(store.map(|store| (STORE, store)));
        let (server, ready) = Self::spawn_serving(command, scratch)?;
        let http = address_in(&ready, "http")?;
        Ok((server, Serving { http, admin: address_in(&ready, "admin")? }))
    }

    fn spawn_serving(
        mut command: Command,
        scratch: &Path,
    ) -> anyhow::Result<(Self, serde_json::Value)> {
        command.stdout(Stdio::piped());
        let mut server = Self::spawn(command, scratch, "serve")?;
        let stdout = server.child.stdout.take().expect("it was piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready = serde_json::from_str(&line)
            .map_err(|_| anyhow!("the server did not start: {}", server.complaint()))?;
        Ok((server, ready))
    }

    /// An engine alone, with one core, on one CPU. Returns it with its address.
    pub(crate) fn engine(
        program: &Path,
        scratch: &Path,
        cpu: usize,
    ) -> anyhow::Result<(Self, SocketAddr)> {
        Self::engine_with(program, scratch, cpu, &[])
    }

    /// The same with more arguments. It listens before it has read its log, and answers after.
    pub(crate) fn engine_with(
        program: &Path,
        scratch: &Path,
        cpu: usize,
        arguments: &[&str],
    ) -> anyhow::Result<(Self, SocketAddr)> {
        Self::spawn_engine(machine::command_on(cpu, program), scratch, 1, arguments)
    }

    /// The same with products on sale, and when this returns it has all the memory for their orders
    /// that it is to hold.
    pub(crate) fn engine_on_sale(
        program: &Path,
        scratch: &Path,
        cpu: usize,
        reserve: Reserve,
        products: &[ProductId],
    ) -> anyhow::Result<(Self, SocketAddr)> {
        let arguments: &[&str] = match reserve {
            Reserve::Full => &[],
            Reserve::Off => &["--memory-reserve", "off"],
        };
        let (mut server, address) = Self::engine_with(program, scratch, cpu, arguments)?;
        pipeline::define(address, &server.engine_key()?, products)?;
        if reserve == Reserve::Full {
            server.wait_for_reserve()?;
        }
        Ok((server, address))
    }

    /// An engine alone, with so many cores, placed as it is in `serve`; its first core's address.
    pub(crate) fn free_engine(
        program: &Path,
        scratch: &Path,
        cores: usize,
        arguments: &[&str],
    ) -> anyhow::Result<(Self, SocketAddr)> {
        Self::spawn_engine(Command::new(program), scratch, cores, arguments)
    }

    fn spawn_engine(
        mut command: Command,
        scratch: &Path,
        cores: usize,
        arguments: &[&str],
    ) -> anyhow::Result<(Self, SocketAddr)> {
        // The port behind those of the cores is for the metrics.
        let address = free_addresses(cores + 1)?;
        let admin = SocketAddr::new(address.ip(), address.port() + cores as u16);
        command.args(["engine", "--cores", &cores.to_string()]);
        command.args(["--engine-listen", &address.to_string()]);
        command.args(["--admin", &admin.to_string()]).args(arguments).stdout(Stdio::null());
        let mut server = Self::spawn(command, scratch, "engine")?;
        server.admin = Some(admin);
        server.wait_until("it listens", || Ok(TcpStream::connect(address).is_ok()))?;
        Ok((server, address))
    }

    /// An edge alone, with one thread, for the engine that uses the same directory. Returns it with
    /// its HTTP address.
    pub(crate) fn edge(
        program: &Path,
        scratch: &Path,
        engine: SocketAddr,
    ) -> anyhow::Result<(Self, SocketAddr)> {
        Self::edge_with(program, scratch, engine, &[])
    }

    /// The same with more arguments.
    pub(crate) fn edge_with(
        program: &Path,
        scratch: &Path,
        engine: SocketAddr,
        arguments: &[&str],
    ) -> anyhow::Result<(Self, SocketAddr)> {
        let mut command = Command::new(program);
        command.arg("edge").args(arguments);
        Self::edge_by(command, scratch, engine)
    }

    /// The same on one CPU.
    pub(crate) fn edge_on(
        cpu: usize,
        program: &Path,
        scratch: &Path,
        engine: SocketAddr,
    ) -> anyhow::Result<(Self, SocketAddr)> {
        let mut command = machine::command_on(cpu, program);
        command.arg("edge");
        Self::edge_by(command, scratch, engine)
    }

    fn edge_by(
        mut command: Command,
        scratch: &Path,
        engine: SocketAddr,
    ) -> anyhow::Result<(Self, SocketAddr)> {
        let http = free_address()?;
        command.args(["--edge-threads", "1", "--admin", "off", "--engine"]);
        command.arg(engine.to_string()).arg("--http").arg(http.to_string()).stdout(Stdio::null());
        let mut server = Self::spawn(command, scratch, "edge")?;
        server.wait_until_ready(http)?;
        Ok((server, http))
    }

    /// A projector alone, from the engine that uses the same directory into the shards of `store`.
    pub(crate) fn projector(
        program: &Path,
        scratch: &Path,
        engine: SocketAddr,
        store: &str,
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        command.args(["project", "--admin", "off", "--engine"]).arg(engine.to_string());
        Self::spawn(command.env(STORE, store).stdout(Stdio::null()), scratch, "projector")
    }

    /// A projector into the embedded store, on one CPU.
    pub(crate) fn projector_on(
        cpu: usize,
        program: &Path,
        scratch: &Path,
        engine: SocketAddr,
    ) -> anyhow::Result<Self> {
        let mut command = machine::command_on(cpu, program);
        command.args(["project", "--admin", "off", "--engine"]).arg(engine.to_string());
        Self::spawn(command.stdout(Stdio::null()), scratch, "projector")
    }

    /// The data directory lies below `scratch`, and what the child logs beside it.
    fn spawn(
        mut command: impl BorrowMut<Command>,
        scratch: &Path,
        role: &str,
    ) -> anyhow::Result<Self> {
        let (data, log) = (scratch.join("data"), scratch.join(format!("{role}.log")));
        let command = command.borrow_mut();
        let child = command
            .arg("--data")
            .arg(&data)
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .with_context(|| format!("{role} could not be started"))?;
        Ok(Self { child, data, log, admin: None })
    }

    /// MiB that an engine alone holds for orders to come.
    pub(crate) fn reserve_mib(&self) -> anyhow::Result<f64> {
        let admin = self.admin.context("only an engine alone has such metrics here")?;
        Ok(reserve(admin)?.0 / f64::from(1 << 20))
    }

    /// Waits until an engine alone, with units on sale, holds all the memory that it wants to. In
    /// vain where the machine has too little left.
    fn wait_for_reserve(&mut self) -> anyhow::Result<()> {
        let admin = self.admin.context("only an engine alone has such metrics here")?;
        self.wait_until("it holds the memory for orders to come that it wants to", || {
            Ok(reserve(admin).is_ok_and(|(held, wanted)| wanted > 0.0 && held >= wanted))
        })
    }

    /// Waits for something that a starting server does; fails when it ends or takes too long.
    fn wait_until(
        &mut self,
        what: &str,
        holds: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        self.wait_for((LOOK_EVERY, PATIENCE), what, holds)
    }

    /// Waits until a store has what the server sold, as `holds` says.
    pub(crate) fn wait_for_store(
        &mut self,
        holds: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        self.wait_for((STORE_LOOK_EVERY, STORE_PATIENCE), "the store has everything", holds)
    }

    fn wait_for(
        &mut self,
        (look_every, patience): (Duration, Duration),
        what: &str,
        mut holds: impl FnMut() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let began = Instant::now();
        while !holds()? {
            self.check()?;
            if began.elapsed() > patience {
                bail!("waited in vain until {what}: {}", self.complaint());
            }
            std::thread::sleep(look_every);
        }
        Ok(())
    }

    /// Waits until `GET /ready` says 200.
    pub(crate) fn wait_until_ready(&mut self, http: SocketAddr) -> anyhow::Result<()> {
        self.wait_until("it is ready", || Ok(is_ready(http)))
    }

    /// The last lines that it logged.
    fn complaint(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<&str>>().join("\n")
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Fails when it has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended with {status}: {}", self.complaint()),
            None => Ok(()),
        }
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// CPU time so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        machine::cpu_seconds(self.process()).unwrap_or(0.0)
    }

    /// The secret that signs bearer tokens.
    pub(crate) fn token_secret(&self) -> anyhow::Result<Vec<u8>> {
        let hex = self.secret("token.secret")?;
        let pairs = (0..hex.len() / 2).map(|at| hex.get(2 * at..2 * at + 2));
        let bytes = pairs.map(|pair| u8::from_str_radix(pair?, 16).ok());
        bytes.collect::<Option<Vec<u8>>>().context("the signing secret is not hexadecimal")
    }

    /// The key of the binary protocol.
    pub(crate) fn engine_key(&self) -> anyhow::Result<PreSharedKey> {
        PreSharedKey::from_hex(&self.secret("engine.key")?).context("the engine's key is no key")
    }

    fn secret(&self, name: &str) -> anyhow::Result<String> {
        let path = self.data.join("secrets").join(name);
        let text = fs::read_to_string(&path);
        Ok(text.with_context(|| format!("cannot read {}", path.display()))?.trim().to_owned())
    }

    /// Ends it in good order, and waits.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        machine::terminate(self.process());
        let began = Instant::now();
        while self.child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                bail!("the server does not end: {}", self.complaint());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The first of so many ports in a row that nobody listens on.
fn free_addresses(count: usize) -> anyhow::Result<SocketAddr> {
    for _ in 0..ROWS_MAX {
        let first = fastrand::u16(ROW_PORTS);
        let mut row = (first..).take(count).map(|port| TcpListener::bind((LOOPBACK, port)));
        if row.all(|port| port.is_ok()) {
            return Ok((LOOPBACK, first).into());
        }
    }
    bail!("there are no {count} free ports in a row")
}

/// A loopback address that nobody listens on right now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((LOOPBACK, 0))?.local_addr()?)
}

/// Bytes that an engine holds for orders to come, and bytes that it is to hold.
fn reserve(admin: SocketAddr) -> anyhow::Result<(f64, f64)> {
    let metrics = get(admin, "/metrics").context("the metrics do not answer")?;
    let of = |name: &str| -> anyhow::Result<f64> {
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.parse().ok());
        value.with_context(|| format!("no `{name}` in the metrics"))
    };
    Ok((of("engine_reserve_bytes ")?, of("engine_reserve_wanted_bytes ")?))
}

fn is_ready(http: SocketAddr) -> bool {
    get(http, "/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// The whole answer to one request over a connection of its own.
pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn address_in(ready: &serde_json::Value, name: &str) -> anyhow::Result<SocketAddr> {
    let address = ready[name].as_str().and_then(|address| address.parse().ok());
    address.with_context(|| format!("the server did not say its address `{name}`"))
}

/// Runs a command of `doorbuster` to its end, and returns what it printed.
pub(crate) fn command(
    program: &Path,
    arguments: &[&str],
    scratch: &Path,
    store: Option<&str>,
) -> anyhow::Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).arg("--data").arg(scratch.join("data"));
    command.envs(store.map(|store| (STORE, store)));
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("doorbuster {} ended with {}: {said}", arguments.join(" "), output.status);
    }
    Ok(String::from_utf8(output.stdout)?)
}
