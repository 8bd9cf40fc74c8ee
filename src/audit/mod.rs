//! The audit: replays the log, proves the invariants from the events alone, compares with the store,
//! and sets the store right when it is asked to.
//!
//! It trusts neither the engine's counters nor its rules: it keeps books of its own. It works on a
//! stopped data directory and beside a live engine and a live projector. Its memory does not grow
//! with the orders: what has to be seen in another order than the log's is sorted in temporary
//! files.
//!
//! | module | what it owns |
//! |---|---|
//! | [`findings`], [`version`] | what is checked, what was found, and both sides of it |
//! | [`account`], [`ledger`] | one partition's books, kept a second time from the events |
//! | [`order_event`], [`orders`], [`entry`] | what happened to each order, and its history |
//! | [`spill`], [`spills`], [`spool`], [`row_bytes`] | sorting and keeping what does not fit into memory |
//! | [`state_machine`] | the engine's own replay against the books |
//! | [`shards`], [`letters`] | the store as it was read |
//! | [`comparison`], [`product_comparison`] | log and shards side by side |
//! | [`mends`], [`repair_plan`], [`since`], [`repair`] | what is to be set right, and doing it |
//! | [`report`], [`repair_report`] | the findings, for eyes and for programs |

mod account;
mod comparison;
mod entry;
pub(crate) mod findings;
mod ledger;
mod letters;
mod mends;
mod order_event;
mod orders;
mod product_comparison;
pub(crate) mod repair;
mod repair_plan;
mod repair_report;
pub(crate) mod report;
mod row_bytes;
mod shards;
mod since;
mod spill;
mod spills;
mod spool;
mod state_machine;
pub(crate) mod version;

use crate::exit::{Exit, Failure};
use crate::roles;
use comparison::Comparison;
use doorbuster_engine::directory::DataDirectory;
use doorbuster_engine::log::LogError;
use doorbuster_engine::log::inspect::Inspector;
use doorbuster_persistence::Store;
use doorbuster_protocol::PartitionId;
use ledger::{Books, Ledger};
use letters::Letters;
use mends::Mends;
use orders::Orders;
use report::{Report, ShardTotals};
use shards::{Reading, ShardRows};
use spills::Spills;
use std::io;
use std::path::Path;

/// Orders of a partition up to which the engine's state machine replays its log, too.
pub(crate) const STATE_ORDERS_MAX: u64 = 2_000_000;

/// Audits the data directory at `data`, and the store when there is one. Nothing is written.
pub(crate) fn run(data: &Path, store: Option<&dyn Store>) -> Result<Report, Failure> {
    run_within(data, store, STATE_ORDERS_MAX)
}

/// The same, with another bound of orders for the state machine.
pub(crate) fn run_within(
    data: &Path,
    store: Option<&dyn Store>,
    state_orders_max: u64,
) -> Result<Report, Failure> {
    look(data, store, state_orders_max).map(|look| look.report)
}

/// What an audit found, and what it takes to set it right.
struct Look {
    directory: DataDirectory,
    report: Report,
    books: Vec<Books>,
    letters: Letters,
    shards: Vec<ShardRows>,
    mends: Option<Mends>,
}

fn look(data: &Path, store: Option<&dyn Store>, state_orders_max: u64) -> Result<Look, Failure> {
    let directory = DataDirectory::open_read_only(data)
        .map_err(|error| roles::engine::directory_failure(&error))?;
    let mut report = Report::default();
    let mut letters = Letters::default();
    let mut shards = match store {
        Some(store) => read_store(store, &directory, &mut letters, &mut report)?,
        None => {
            report.notes.push("there is no store: only the log was looked at".to_owned());
            Vec::new()
        }
    };
    // The log is read after the store: it has everything that the store can have.
    let mut spills = Spills::new();
    let mut books = Vec::new();
    for partition in directory.partitions().all() {
        books.push(read_log(&directory, partition, &mut spills, &mut letters, &mut report)?);
    }
    let Spills { orders, products, units } = spills;
    let room = |error| no_room(&error);
    let mut orders =
        orders.finish().and_then(|sorted| Orders::new(sorted, units, &books)).map_err(room)?;
    let mut mends = None;
    if shards.is_empty() {
        while orders.next().map_err(room)?.is_some() {}
    } else {
        let compare = || -> io::Result<_> {
            let mut comparison = Comparison::new(&mut shards, &books, &letters)?;
            comparison.orders(&mut orders)?;
            comparison.products(products.finish()?, directory.partitions())?;
            let Comparison { findings, mends, older, in_transit, .. } = comparison;
            Ok((findings, mends, older, in_transit))
        };
        let (findings, found, older, in_transit) = compare().map_err(room)?;
        mends = Some(found);
        report.findings.merge(findings);
        report.totals.store_orders =
            Some(shards.iter().map(|shard| shard.order_count).sum::<u64>() - in_transit);
        let mut note = |count: u64, what: &str| {
            if count > 0 {
                report.notes.push(format!("{} {what}", doorbuster_loadgen::units::number(count)));
            }
        };
        note(older, "orders of the store are older than the log: only their shard was looked at");
        note(in_transit, "rows of buckets that are being moved were left out on the other shard");
    }
    let mut outcome = orders.outcome;
    let partitions = directory.partitions();
    let partition_of = |product| partitions.partition_of(product);
    let check = || -> io::Result<_> {
        orders::check_limits(outcome.units.finish()?, &mut outcome.findings, partition_of)?;
        orders::check_keys(outcome.keys.finish()?, &mut outcome.findings)
    };
    check().map_err(room)?;
    report.findings.merge(outcome.findings);
    for books in &mut books {
        report.findings.merge(std::mem::take(&mut books.findings));
    }
    report.totals.orders = outcome.orders;
    report.totals.paid_orders = outcome.paid;
    sum(&books, &shards, &mut report);
    let by_partition = &outcome.by_partition;
    state_machine::compare(&directory, &books, by_partition, state_orders_max, &mut report)?;
    Ok(Look { directory, report, books, letters, shards, mends })
}

/// Reads the shards; none when no projector has filled them yet.
fn read_store(
    store: &dyn Store,
    directory: &DataDirectory,
    letters: &mut Letters,
    report: &mut Report,
) -> Result<Vec<ShardRows>, Failure> {
    match shards::read(store, directory, letters)? {
        Reading::Empty => {
            report.notes.push("the store is empty: no projector has filled it yet".to_owned());
            Ok(Vec::new())
        }
        Reading::Shards(shards, unclaimed) => {
            for name in unclaimed {
                report.notes.push(format!("shard {name} is empty: no projector has filled it yet"));
            }
            Ok(shards)
        }
    }
}

/// Keeps the books of one partition.
fn read_log(
    directory: &DataDirectory,
    partition: PartitionId,
    spills: &mut Spills,
    letters: &mut Letters,
    report: &mut Report,
) -> Result<Books, Failure> {
    let mut ledger = Ledger::new(partition, spills, letters);
    let extent = Inspector::new(directory, partition)
        .read(&mut ledger)
        .map_err(|error| log_failure(partition, &error))?;
    let books = ledger.close();
    report.totals.events += extent.events;
    if extent.first.get() > 1 {
        report.notes.push(format!(
            "partition {partition}: the log begins after event {}, with a snapshot; what came \
             before was let go of",
            extent.first.get() - 1
        ));
    }
    Ok(books)
}

/// The sums of a report, but for those of the orders.
fn sum(books: &[Books], shards: &[ShardRows], report: &mut Report) {
    let totals = &mut report.totals;
    let units = |units: i64| u64::try_from(units).unwrap_or(0);
    for books in books {
        totals.partitions += 1;
        for account in books.accounts.values() {
            totals.products += 1;
            totals.stock += u64::from(account.terms.stock);
            totals.sold += units(account.sold);
            totals.held += units(account.held);
            totals.available += units(account.available);
            totals.oversold += units(account.sold - i64::from(account.terms.stock));
            totals.waiting += u64::from(account.queued);
            totals.served_from_waitlist += account.served_from_waitlist;
        }
        let windows = shards.iter().map(|shard| shard.windows[books.partition.index()].after);
        if let Some(behind) = windows.min() {
            // What follows the last change are acknowledgements of the store itself.
            totals.store_lag += books.last_change.get().saturating_sub(behind.get());
        }
    }
    for shard in shards {
        totals.shards.push(ShardTotals {
            name: shard.name.clone(),
            buckets: shard.buckets.to_string(),
            orders: shard.order_count,
            products: shard.product_count,
        });
    }
}

/// What to say when a log cannot be read to its end.
pub(crate) fn log_failure(partition: PartitionId, error: &LogError) -> Failure {
    let exit = match error {
        LogError::Damaged { .. } => Exit::DamagedLog,
        _ => Exit::Failure,
    };
    Failure::because(exit, format!("the log of partition {partition} cannot be read"), error)
}

/// What to say when temporary files cannot be used.
pub(crate) fn no_room(error: &io::Error) -> Failure {
    let place = std::env::temp_dir();
    let what = format!("the audit cannot use temporary files in {}", place.display());
    Failure::new(Exit::Failure, what)
        .why(error)
        .next("free space there, about 400 bytes for each order, or name another place in TMPDIR")
}
