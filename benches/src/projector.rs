//! The projector into Postgres shards, next to a bare binary COPY of the same rows into the same
//! tables: same clusters, same number of connections, same orders a transaction, in turns.

use crate::backlog::{Backlog, Buyers, Drain};
use crate::bare::{self, Rows};
use crate::figures::{Figures, figure, ratios};
use crate::goals;
use crate::machine;
use crate::options::Options;
use crate::shards::{Shards, count_rows};
use std::path::Path;

/// The memory that is promised, whatever the backlog.
const MEMORY_GOAL_MIB: f64 = 256.0;
const SHARDS: usize = 4;

/// One pair that is compared.
struct Setting {
    name: &'static str,
    shards: usize,
    buyers: Buyers,
    /// One of so many of the orders asked for.
    share: u64,
    has_goal: bool,
}

/// As many orders for each shard in all of them.
const SETTINGS: [Setting; 3] = [
    Setting { name: "4 shards", shards: SHARDS, buyers: Buyers::Order, share: 1, has_goal: true },
    Setting {
        name: "1 shard",
        shards: 1,
        buyers: Buyers::Order,
        share: SHARDS as u64,
        has_goal: false,
    },
    Setting {
        name: "4 shards, then paid or cancelled",
        shards: SHARDS,
        buyers: Buyers::OrderAndDecide,
        share: 2,
        has_goal: false,
    },
];

/// What the rounds of one side came to.
#[derive(Default)]
struct Columns {
    orders_per_second: Vec<f64>,
    rows_per_second: Vec<f64>,
    postgres_cpu_us: Vec<f64>,
    projector_cpu_s: Vec<f64>,
    engine_cpu_s: Vec<f64>,
    peak_mib: Vec<f64>,
}

impl Columns {
    fn push(&mut self, seconds: f64, orders: u64, rows: u64, postgres_cpu: f64) {
        self.orders_per_second.push(orders as f64 / seconds);
        self.rows_per_second.push(rows as f64 / seconds);
        self.postgres_cpu_us.push(postgres_cpu * 1e6 / orders as f64);
    }

    fn push_drain(&mut self, drain: &Drain, orders: u64) {
        let millions = orders as f64 / 1e6;
        self.projector_cpu_s.push(drain.cpu_seconds / millions);
        self.engine_cpu_s.push(drain.engine_cpu_seconds / millions);
        self.peak_mib.push(drain.peak_mib);
    }

    fn write(&self, name: &str, figures: &mut Figures) {
        figures.row(format!("{name}: orders"), "orders/s", &self.orders_per_second);
        figures.row(format!("{name}: rows"), "rows/s", &self.rows_per_second);
        figures.row(format!("{name}: Postgres CPU per order"), "µs", &self.postgres_cpu_us);
        if self.peak_mib.is_empty() {
            return;
        }
        figures.row(format!("{name}: its CPU per 1 M orders"), "s", &self.projector_cpu_s);
        figures.row(format!("{name}: engine CPU per 1 M orders"), "s", &self.engine_cpu_s);
        figures.row(format!("{name}: peak memory"), "MiB", &self.peak_mib);
    }
}

pub(crate) fn measure(options: &Options) -> anyhow::Result<Figures> {
    let program = options.program()?;
    let shards = Shards::start(SHARDS);
    let mut figures = Figures::new("The projector into Postgres, next to a bare binary COPY");
    figures.note(machine::describe());
    figures.note(shards.describe());
    figures.note(
        "shards, engine, projector and this program share all cores; a projector of its own \
         process, from its launch to the last checkpoint",
    );
    figures.note(
        "the engine has read its log before, and takes no memory for orders to come \
         (`--memory-reserve off`); every order is of a new buyer",
    );
    figures.note(format!(
        "bare: COPY of users, orders and items from memory into the same indexed tables, a \
         connection for each shard, {} orders a transaction; changes through a temporary table",
        figure(bare::BATCH as f64),
    ));
    for setting in &SETTINGS {
        let orders = (options.orders / setting.share).max(1);
        compare(options, &program, &shards, setting, orders, &mut figures)?;
    }
    Ok(figures)
}

fn compare(
    options: &Options,
    program: &Path,
    shards: &Shards,
    setting: &Setting,
    orders: u64,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let backlog = Backlog::fill(program, options.scratch()?, orders, setting.buyers)?;
    // The first drain warms everything up and gives the rows to copy.
    let rows = {
        let databases = shards.databases(setting.shards);
        backlog.make_tables(&databases)?;
        backlog.drain(options.scratch()?.path(), shards, &databases)?;
        databases.iter().map(Rows::read).collect::<anyhow::Result<Vec<_>>>()?
    };
    let count = rows.iter().map(|shard| shard.count).sum();
    let (mut copies, mut drains) = (Columns::default(), Columns::default());
    for _ in 0..options.rounds {
        {
            let databases = shards.databases(setting.shards);
            backlog.make_tables(&databases)?;
            let cpu = shards.cpu_seconds();
            let seconds = bare::copy(&databases, &rows)?.as_secs_f64();
            copies.push(seconds, orders, count, shards.cpu_seconds() - cpu);
            let copied = count_rows(&databases, "orders");
            anyhow::ensure!(copied == orders, "{copied} of {orders} orders were copied");
        }
        let databases = shards.databases(setting.shards);
        backlog.make_tables(&databases)?;
        let scratch = options.scratch()?;
        let drain = backlog.drain(scratch.path(), shards, &databases)?;
        drains.push(drain.time.as_secs_f64(), orders, count, drain.postgres_cpu_seconds);
        drains.push_drain(&drain, orders);
    }
    let name = setting.name;
    figures.note(format!(
        "{name}: {} orders, {} rows; {} rounds after a first drain that does not count",
        figure(orders as f64),
        figure(count as f64),
        options.rounds,
    ));
    copies.write(&format!("{name}, bare"), figures);
    drains.write(&format!("{name}, projector"), figures);
    let ratio = ratios(&drains.rows_per_second, &copies.rows_per_second);
    figures.row(format!("{name}: projector to bare"), "×", &ratio);
    if setting.has_goal {
        let rows = Some((drains.rows_per_second.as_slice(), "rows/s"));
        figures.judge_with(&goals::PROJECTOR_TO_COPY, &ratio, rows);
    }
    let peak = drains.peak_mib.iter().copied().fold(0.0, f64::max);
    figures.promise(
        peak < MEMORY_GOAL_MIB,
        format!("{name}: {peak:.0} MiB at the most; the goal is below {MEMORY_GOAL_MIB} MiB"),
    );
    Ok(())
}
