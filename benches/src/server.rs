//! A child `doorbuster`, from its launch to its end.

use crate::machine;
use anyhow::{Context, anyhow, bail};
use doorbuster_protocol::handshake::PreSharedKey;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks at whether it is ready.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A running server; it is ended when this is dropped.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Everything in one process: `doorbuster serve`. Returns it with its HTTP address.
    pub(crate) fn serve(program: &Path, scratch: &Path) -> anyhow::Result<(Self, SocketAddr)> {
        let mut command = Command::new(program);
        command.args(["serve", "--json", "--http", "127.0.0.1:0", "--admin", "off"]);
        command.stdout(Stdio::piped());
        let mut server = Self::spawn(command, scratch)?;
        let stdout = server.child.stdout.take().expect("it was piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: serde_json::Value = serde_json::from_str(&line)
            .map_err(|_| anyhow!("the server did not start: {}", server.complaint()))?;
        let http = ready["http"].as_str().and_then(|http| http.parse().ok());
        Ok((server, http.context("the server did not say its HTTP address")?))
    }

    /// An engine alone, with one core, on one CPU. Returns it with its address.
    pub(crate) fn engine(
        program: &Path,
        scratch: &Path,
        cpu: usize,
    ) -> anyhow::Result<(Self, SocketAddr)> {
        let address = free_address()?;
        let mut command = machine::command_on(cpu, program);
        command.args(["engine", "--cores", "1", "--admin", "off", "--engine-listen"]);
        command.arg(address.to_string()).stdout(Stdio::null());
        let mut server = Self::spawn(command, scratch)?;
        server.wait_until("it listens", || TcpStream::connect(address).is_ok())?;
        Ok((server, address))
    }

    fn spawn(mut command: Command, scratch: &Path) -> anyhow::Result<Self> {
        let (data, log) = (scratch.join("data"), scratch.join("log"));
        let stderr = File::create(&log)?;
        let child = command
            .arg("--data")
            .arg(&data)
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .with_context(|| format!("{command:?} could not be started"))?;
        Ok(Self { child, data, log })
    }

    /// Waits for something that a starting server does; fails when it ends or takes too long.
    fn wait_until(&mut self, what: &str, mut holds: impl FnMut() -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        while !holds() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}: {}", self.complaint());
            }
            if began.elapsed() > PATIENCE {
                bail!("waited in vain until {what}: {}", self.complaint());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits until `GET /ready` says 200.
    pub(crate) fn wait_until_ready(&mut self, http: SocketAddr) -> anyhow::Result<()> {
        self.wait_until("it is ready", || is_ready(http))
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

/// A loopback address that nobody listens on right now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn is_ready(http: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(http)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
