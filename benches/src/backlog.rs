//! A log that nobody has read yet: filled once by an engine, then drained by a projector as often
//! as is wanted, each time a copy of it.

use crate::machine;
use crate::recovery;
use crate::server::{self, Server};
use crate::shards::{Shards, block_on, connect, count_rows, store_of};
use anyhow::{Context, ensure};
use doorbuster_loadgen::{Plan, Prepare, Target};
use doorbuster_postgres_harness::Database;
use doorbuster_protocol::limits;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_postgres::Client;

/// Products of a sale: enough to touch every partition.
const PRODUCTS: usize = 64;
/// Requests in flight while the log is filled.
const CONCURRENCY: usize = 1_024;
/// After all orders have been placed, in a log in which they are paid or cancelled.
const THINK_TIME: Duration = Duration::from_secs(10);
/// Time between two looks at the checkpoints.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Longer than any sound drain takes.
const PATIENCE: Duration = Duration::from_secs(900);

/// What the buyers of a log do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buyers {
    /// Each places an order.
    Order,
    /// Afterwards each pays or cancels as well.
    OrderAndDecide,
}

/// An engine's data directory with orders that no store has.
pub(crate) struct Backlog {
    scratch: TempDir,
    program: PathBuf,
    pub(crate) orders: u64,
    /// The last event of each partition.
    ends: Vec<i64>,
}

/// What one drain came to.
pub(crate) struct Drain {
    /// From the launch of the projector until every shard has every event.
    pub(crate) time: Duration,
    /// CPU time of the projector's process, in seconds.
    pub(crate) cpu_seconds: f64,
    /// CPU time of the shards, in seconds.
    pub(crate) postgres_cpu_seconds: f64,
    /// CPU time of the engine, in seconds.
    pub(crate) engine_cpu_seconds: f64,
    /// The most memory that the projector had, in MiB.
    pub(crate) peak_mib: f64,
}

impl Backlog {
    /// Lets distinct buyers order, one unit each, from an engine that no projector follows.
    pub(crate) fn fill(
        program: &Path,
        scratch: TempDir,
        orders: u64,
        buyers: Buyers,
    ) -> anyhow::Result<Self> {
        let (engine, address) = Server::free_engine(program, scratch.path(), 1, &[])?;
        let target = Target::Binary(vec![address], engine.engine_key()?);
        let mut plan = Plan::new(target).buyers_once(orders);
        plan.concurrency = CONCURRENCY;
        plan.products = (0..PRODUCTS).map(|number| format!("bench-{number}")).collect();
        if buyers == Buyers::OrderAndDecide {
            (plan.pay, plan.cancel, plan.think_time) = (0.5, 0.5, THINK_TIME);
        }
        plan.prepare = Some(Prepare {
            stock: limits::STOCK_MAX,
            price: 1_999,
            limit_per_buyer: 1,
            // None runs out while the log is drained.
            hold_seconds: limits::HOLD_SECONDS_MAX,
            waitlist_capacity: 0,
        });
        let report = doorbuster_loadgen::run(plan, Arc::default())?;
        ensure!(report.is_clean() && report.accepted == orders, "the log is not filled:\n{report}");
        if buyers == Buyers::OrderAndDecide {
            let decided = report.paid + report.cancelled;
            ensure!(decided == orders, "{decided} of {orders} buyers decided:\n{report}");
        }
        engine.stop()?;
        let stats = server::command(program, &["log", "stats", "--json"], scratch.path(), None)?;
        let stats: Value = serde_json::from_str(&stats)?;
        let partitions = stats["partitions"].as_array().context("a log has partitions")?;
        let ends = partitions.iter().map(|partition| partition["lastSequence"].as_i64());
        let ends = ends.collect::<Option<Vec<_>>>().context("a partition has a last event")?;
        Ok(Self { scratch, program: program.to_owned(), orders, ends })
    }

    /// Makes the tables of empty databases.
    pub(crate) fn make_tables(&self, databases: &[Database]) -> anyhow::Result<()> {
        let store = store_of(databases);
        let migrate = ["project", "--migrate"];
        server::command(&self.program, &migrate, self.scratch.path(), Some(&store))?;
        Ok(())
    }

    /// Starts an engine on a copy of the log in `scratch`, and a projector that brings it into
    /// databases with tables, which are among the shards.
    pub(crate) fn drain(
        &self,
        scratch: &Path,
        shards: &Shards,
        databases: &[Database],
    ) -> anyhow::Result<Drain> {
        let copied = Command::new("cp")
            .args(["-a", "--sparse=always"])
            .arg(self.scratch.path().join("data"))
            .arg(scratch)
            .status()?;
        ensure!(copied.success(), "the log could not be copied");
        // Its products are still on sale, and it would take memory for all that may be ordered yet.
        let arguments = ["--memory-reserve", "off"];
        let (mut engine, address) = Server::free_engine(&self.program, scratch, 1, &arguments)?;
        // It answers when it has read its log, which is another measurement.
        let key = engine.engine_key()?;
        recovery::wait_until_it_answers(&mut engine, address, &key, Instant::now())?;
        let (drain, engine) = block_on(async {
            let mut watchers = Vec::new();
            for database in databases {
                watchers.push(connect(&database.url()).await?);
            }
            let (engine_cpu, postgres_cpu) = (engine.cpu_seconds(), shards.cpu_seconds());
            let began = Instant::now();
            let store = store_of(databases);
            let mut projector = Server::projector(&self.program, scratch, address, &store)?;
            for watcher in &watchers {
                while !self.is_drained(watcher).await? {
                    projector.check()?;
                    ensure!(began.elapsed() < PATIENCE, "the projector does not come to an end");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
            let drain = Drain {
                time: began.elapsed(),
                cpu_seconds: projector.cpu_seconds(),
                postgres_cpu_seconds: shards.cpu_seconds() - postgres_cpu,
                engine_cpu_seconds: engine.cpu_seconds() - engine_cpu,
                peak_mib: machine::peak_memory_mib(projector.process()).unwrap_or(0.0),
            };
            projector.stop()?;
            Ok((drain, engine))
        })?;
        engine.stop()?;
        let stored = count_rows(databases, "orders");
        ensure!(stored == self.orders, "{stored} of {} orders reached the shards", self.orders);
        Ok(drain)
    }

    async fn is_drained(&self, shard: &Client) -> anyhow::Result<bool> {
        let rows = shard.query("SELECT sequence FROM checkpoints ORDER BY partition", &[]).await?;
        // Before the projector's first look there is no checkpoint.
        let is_there = |(row, end): (&tokio_postgres::Row, &i64)| row.get::<_, i64>(0) >= *end;
        Ok(rows.len() == self.ends.len() && rows.iter().zip(&self.ends).all(is_there))
    }
}
