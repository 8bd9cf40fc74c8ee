//! wrk, the client of HTTP comparisons: the same program, with the same requests, for both sides.
//! It costs less for each request than the load generator does, so that it is the server that is
//! measured.

use crate::machine;
use anyhow::{Context, bail, ensure};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connections: enough to keep a server busy.
pub(crate) const CONNECTIONS: u32 = 256;
const SCRIPT: &str = include_str!("wrk.lua");

/// The requests, and who sends them.
pub(crate) struct Wrk {
    script: PathBuf,
    tokens: PathBuf,
    path: String,
    cpu: usize,
}

/// What came back.
pub(crate) struct Answers {
    pub(crate) rate: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// CPU time of the client for each request, in microseconds.
    pub(crate) client_cpu_us: f64,
    pub(crate) requests: u64,
}

/// What every answer has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Of the 200s.
    Success,
    /// Of the 400s: whoever asks for what is sold out.
    Refusal,
}

impl Wrk {
    /// Orders of `product`, by the buyers of these tokens in turn, from one CPU.
    pub(crate) fn new(
        scratch: &Path,
        product: &str,
        tokens: &[String],
        cpu: usize,
    ) -> anyhow::Result<Self> {
        let name = format!("{product}-{}", tokens.len());
        let (script, file) = (scratch.join("wrk.lua"), scratch.join(format!("{name}.tokens")));
        fs::write(&script, SCRIPT)?;
        fs::write(&file, tokens.join("\n"))?;
        Ok(Self { script, tokens: file, path: format!("/orders/flash-sale/{product}"), cpu })
    }

    /// Sends them in a closed loop, for whole seconds.
    pub(crate) fn run(
        &self,
        address: SocketAddr,
        time: Duration,
        expected: Expected,
    ) -> anyhow::Result<Answers> {
        let cpu_before = machine::ended_children_cpu_seconds();
        let output = machine::command_on(self.cpu, Path::new("wrk"))
            .args(["-t", "1", "-c", &CONNECTIONS.to_string()])
            .args(["-d", &format!("{}s", time.as_secs()), "--timeout", "10s", "-s"])
            .arg(&self.script)
            .arg(format!("http://{address}"))
            .arg("--")
            .arg(&self.tokens)
            .args([&self.path, &format!("{:x}", fastrand::u64(..))])
            .output()
            .context("wrk could not be started; Debian's package is wrk")?;
        let cpu = machine::ended_children_cpu_seconds() - cpu_before;
        let text = String::from_utf8_lossy(&output.stdout);
        let found = parse(&text).with_context(|| {
            format!("wrk says {text:?} {}", String::from_utf8_lossy(&output.stderr))
        })?;
        let [requests, duration_us, refused, failed, p50_us, p99_us] = found;
        ensure!(requests > 0 && failed == 0, "{failed} requests were not answered:\n{text}");
        match expected {
            Expected::Success if refused > 0 => bail!("{refused} of {requests} were refused"),
            Expected::Refusal if refused < requests => {
                bail!("only {refused} of {requests} were refused")
            }
            _ => {}
        }
        Ok(Answers {
            rate: requests as f64 * 1e6 / duration_us as f64,
            p50_ms: p50_us as f64 / 1e3,
            p99_ms: p99_us as f64 / 1e3,
            client_cpu_us: cpu * 1e6 / requests as f64,
            requests,
        })
    }
}

/// The numbers that the script prints in the end.
fn parse(text: &str) -> Option<[u64; 6]> {
    let line = text.lines().find_map(|line| line.strip_prefix("found "))?;
    let numbers: Vec<u64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_last_line_is_read() {
        let text = "Running 3s test @ http://127.0.0.1:1\nfound 600 3000000 0 0 1200 4000\n";
        assert_eq!(parse(text), Some([600, 3_000_000, 0, 0, 1_200, 4_000]));
        assert_eq!(parse("found 1 2\n"), None);
        assert_eq!(parse("Running\n"), None);
    }
}
