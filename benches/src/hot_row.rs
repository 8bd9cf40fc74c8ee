//! What many a shop does instead: one hot row of Postgres, decremented while there is something
//! left, one durable transaction for each order. For comparison with the durable orders; there is
//! no goal.

use crate::figures::Figures;
use crate::machine::{self, Seats};
use crate::options::Options;
use crate::shards::Shards;
use anyhow::Context;
use std::path::Path;

const SECONDS: u32 = 2;
const CLIENTS: [u32; 4] = [1, 4, 16, 32];
const TABLE: &str = "CREATE TABLE stock (id INT PRIMARY KEY, n BIGINT NOT NULL); \
                     INSERT INTO stock VALUES (1, 1000000000000)";
const ORDER: &str = "UPDATE stock SET n = n - 1 WHERE id = 1 AND n >= 1;\n";

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let seats = Seats::choose();
    let seconds = options.seconds.unwrap_or(SECONDS);
    let shards = Shards::start(1);
    shards.sit_on(seats.server);
    let [database] = &shards.databases(1)[..] else { unreachable!("one was asked for") };
    database.psql(TABLE);
    let scratch = options.scratch()?;
    let script = scratch.path().join("order.sql");
    std::fs::write(&script, ORDER)?;
    let mut rates = [const { Vec::new() }; CLIENTS.len()];
    for _ in 0..options.rounds {
        for (clients, rates) in CLIENTS.into_iter().zip(&mut rates) {
            rates.push(round(&database.url(), &script, clients, seconds, seats.client)?);
        }
    }
    let mut figures = Figures::new("One hot row of Postgres");
    figures.note(machine::describe());
    figures.note(shards.describe());
    figures.note(format!(
        "{}; pgbench, prepared, `UPDATE … WHERE n >= 1`, a transaction each; {} rounds of \
         {seconds} s",
        seats.describe(),
        options.rounds,
    ));
    for (clients, rates) in CLIENTS.into_iter().zip(&rates) {
        figures.row(format!("{clients} clients"), "orders/s", rates);
    }
    Ok(figures)
}

/// Transactions per second.
fn round(url: &str, script: &Path, clients: u32, seconds: u32, cpu: usize) -> anyhow::Result<f64> {
    let output = machine::command_on(cpu, Path::new("pgbench"))
        .args(["--no-vacuum", "--protocol", "prepared", "--jobs", "1"])
        .args(["--client", &clients.to_string(), "--time", &seconds.to_string()])
        .arg("--file")
        .arg(script)
        .arg(url)
        .output()
        .context("pgbench could not be started; Debian's package is postgresql")?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).with_context(|| {
        format!("pgbench says {text:?} {}", String::from_utf8_lossy(&output.stderr))
    })
}

/// The rate in what pgbench prints: `tps = 2512.34 (without initial connection time)`.
fn parse(text: &str) -> Option<f64> {
    let rate = text.lines().find_map(|line| line.strip_prefix("tps = "))?;
    rate.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read() {
        let text = "latency average = 0.4 ms\ntps = 2512.34 (without initial connection time)\n";
        assert_eq!(parse(text), Some(2512.34));
        assert_eq!(parse("nothing"), None);
    }
}
