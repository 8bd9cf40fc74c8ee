//! A Redis of our own, and its best at the same task: a Lua check-and-decrement, every write synced
//! before its answer, pipelined by 32, measured by Redis' own load generator.

use crate::machine::{self, Seats};
use crate::server::free_address;
use anyhow::{Context, bail};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
/// Commands that one connection has in flight.
pub(crate) const PIPELINE: u32 = 32;
/// Numbers of connections that are tried; the best one is used.
const CONNECTIONS: [u32; 5] = [16, 32, 64, 128, 256];
/// The sale: take units when there are enough.
const SCRIPT: &str = "local n = tonumber(redis.call('GET', KEYS[1])) \
                      if n and n >= tonumber(ARGV[1]) then \
                      redis.call('DECRBY', KEYS[1], ARGV[1]) return 1 end return 0";

/// A running Redis; it is ended when this is dropped.
pub(crate) struct Redis {
    child: Child,
    address: SocketAddr,
    seats: Seats,
    script: String,
}

impl Redis {
    /// Starts one with its append-only file below `scratch`, synced at every write.
    pub(crate) fn start(scratch: &Path, seats: Seats) -> anyhow::Result<Self> {
        let address = free_address()?;
        let log = File::create(scratch.join("redis.log"))?;
        let child = machine::command_on(seats.server, Path::new("redis-server"))
            .args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
            .args(["--appendonly", "yes", "--appendfsync", "always"])
            .args(["--auto-aof-rewrite-percentage", "0"])
            .args(["--port", &address.port().to_string()])
            .arg("--dir")
            .arg(scratch)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn()
            .context("redis-server could not be started; Debian's package is redis-server")?;
        let mut redis = Self { child, address, seats, script: String::new() };
        redis.wait_until_ready()?;
        redis.ask(&["SET", "stock", "1000000000000"])?;
        redis.script = redis.ask(&["SCRIPT", "LOAD", SCRIPT])?;
        Ok(redis)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while self.ask(&["PING"]).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("redis-server ended with {status}");
            }
            if began.elapsed() > PATIENCE {
                bail!("redis-server does not answer");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// One command over a connection of its own; a simple or a bulk string comes back.
    fn ask(&self, words: &[&str]) -> anyhow::Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        stream.write_all(command.as_bytes())?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.starts_with('$') {
            line.clear();
            reader.read_line(&mut line)?;
        }
        if line.starts_with('-') || line.is_empty() {
            bail!("Redis answers {words:?} with {line:?}");
        }
        Ok(line.trim().to_owned())
    }

    /// The number of connections with which it is fastest here.
    pub(crate) fn best_connections(&self) -> anyhow::Result<u32> {
        let mut best = (0.0, CONNECTIONS[0]);
        for connections in CONNECTIONS {
            let rate = self.measure(connections, PIPELINE, 300_000)?;
            if rate > best.0 {
                best = (rate, connections);
            }
        }
        Ok(best.1)
    }

    /// Orders per second, with so many in flight on each connection.
    pub(crate) fn measure(
        &self,
        connections: u32,
        pipeline: u32,
        orders: u64,
    ) -> anyhow::Result<f64> {
        let output = machine::command_on(self.seats.client, Path::new("redis-benchmark"))
            .args(["-h", "127.0.0.1", "-p", &self.address.port().to_string()])
            .args(["-c", &connections.to_string(), "-n", &orders.to_string()])
            .args(["-P", &pipeline.to_string(), "--csv"])
            .args(["EVALSHA", &self.script, "1", "stock", "1"])
            .output()
            .context("redis-benchmark could not be started; Debian's package is redis-tools")?;
        let text = String::from_utf8_lossy(&output.stdout);
        parse_rate(&text).with_context(|| format!("redis-benchmark says {text:?}"))
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        machine::cpu_seconds(self.child.id()).unwrap_or(0.0)
    }

    /// Its version, as it tells it.
    pub(crate) fn version() -> anyhow::Result<String> {
        let output = Command::new("redis-server").arg("--version").output();
        let output = output.context("redis-server is missing; Debian's package is redis-server")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="));
        Ok(version.unwrap_or("unknown").to_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Its data is thrown away, so there is nothing to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rate in the last line of redis-benchmark's CSV: `"name","rate",…`.
fn parse_rate(csv: &str) -> Option<f64> {
    let line = csv.lines().rfind(|line| line.starts_with('"'))?;
    let fields: Vec<&str> = line.split("\",\"").collect();
    fields.get(1)?.trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let new =
            "\"test\",\"rps\",\"avg_latency_ms\"\n\"EVALSHA x 1 stock 1\",\"289017.34\",\"3.2\"\n";
        for (csv, want) in [
            (new, Some(289_017.34)),
            ("\"EVALSHA\",\"1.50\"\n", Some(1.5)),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(parse_rate(csv), want, "{csv}");
        }
    }
}
