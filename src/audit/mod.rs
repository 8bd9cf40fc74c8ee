//! The audit: replays the log, proves the invariants from the events alone, compares with the
//! store.
//!
//! It trusts neither the engine's counters nor its rules: it keeps books of its own. It works on a
//! stopped data directory and beside a live engine.
//!
//! | module | what it owns |
//! |---|---|
//! | [`findings`] | what is checked, and what was found |
//! | [`account`], [`ledger`] | one partition's books, kept a second time from the events |
//! | [`books_and_rows`] | the books against the rows of the store |
//! | [`report`] | the findings, for eyes and for programs |

mod account;
mod books_and_rows;
pub(crate) mod findings;
mod ledger;
pub(crate) mod report;

use crate::exit::{Exit, Failure};
use crate::roles;
use books_and_rows::{ProductTerms, Rows};
use doorbuster_engine::directory::DataDirectory;
use doorbuster_engine::log::LogError;
use doorbuster_engine::log::inspect::{Inspector, LoggedEvent, Visitor};
use doorbuster_engine::state_machine::State;
use doorbuster_persistence::store::PAGE_ROWS_MAX;
use doorbuster_persistence::{ProductRow, Store, StoreError};
use doorbuster_protocol::{PartitionId, Sequence};
use findings::{Check, Divergence};
use ledger::Ledger;
use report::Report;
use std::path::Path;

/// Audits the data directory at `data`, and the store when there is one.
pub(crate) fn run(data: &Path, store: Option<&dyn Store>) -> Result<Report, Failure> {
    let directory = DataDirectory::open_read_only(data)
        .map_err(|error| roles::engine::directory_failure(&error))?;
    let mut report = Report::default();
    let store = match store {
        Some(store) if is_claimed(&directory, store)? => Some(store),
        Some(_) => {
            report.notes.push("the store is empty: no projector has filled it yet".to_owned());
            None
        }
        None => {
            report.notes.push("there is no store: only the log was looked at".to_owned());
            None
        }
    };
    let mut products = store.map(|_| ProductTerms::new());
    let mut looked_at = Vec::new();
    for partition in directory.partitions().all() {
        let rows = store
            .map(|store| roles::runtime().block_on(Rows::read(store, partition)))
            .transpose()
            .map_err(|error| roles::store::failure(&error))?;
        let books = replay(&directory, partition, rows.as_ref(), &mut report)?;
        looked_at.extend(rows.map(|rows| (partition, rows.after)));
        // Terms are comparable only where the store stood still.
        products = match (products, books) {
            (Some(mut all), Some(terms)) => {
                all.extend(terms);
                Some(all)
            }
            _ => None,
        };
    }
    if let Some(store) = store {
        audit_products(&directory, store, products, &looked_at, &mut report)?;
        audit_dead_letters(store, &mut report)?;
    }
    Ok(report)
}

/// Whether the store holds this directory's results. Another's are no divergence but a mistake.
fn is_claimed(directory: &DataDirectory, store: &dyn Store) -> Result<bool, Failure> {
    let identity = roles::runtime()
        .block_on(store.identity())
        .map_err(|error| roles::store::failure(&error))?;
    let Some(identity) = identity else { return Ok(false) };
    if (identity.directory, identity.partitions) == (directory.id(), directory.partitions()) {
        return Ok(true);
    }
    Err(roles::store::failure(&StoreError::Foreign {
        stored: format!("{:016x}", identity.directory),
        given: format!("{:016x}", directory.id()),
    }))
}

/// The books of one replay.
struct Books {
    ledger: Ledger,
    /// The event at which the store stands, when it stood still while it was read.
    still: Option<Sequence>,
    products: Option<ProductTerms>,
    had_a_beginning: bool,
}

impl Books {
    fn note_products(&mut self) {
        if self.still == Some(self.ledger.last()) {
            let terms = self.ledger.accounts.iter().map(|(id, it)| (*id, (it.terms, it.state)));
            self.products = Some(terms.collect());
        }
    }
}

impl Visitor for Books {
    fn begin(&mut self, base: &State) {
        self.had_a_beginning = base.sequence() == Sequence::ZERO;
        self.ledger = match self.had_a_beginning {
            true => Ledger::new(base.partition()),
            false => Ledger::opened_with(base),
        };
        self.products = None;
        self.note_products();
    }

    fn event(&mut self, logged: &LoggedEvent, _state: &State) {
        self.ledger.enter(logged.sequence, &logged.event);
        self.note_products();
    }
}

/// Replays one partition, notes what is found, and returns its products at the store's checkpoint.
fn replay(
    directory: &DataDirectory,
    partition: PartitionId,
    rows: Option<&Rows>,
    report: &mut Report,
) -> Result<Option<ProductTerms>, Failure> {
    let mut books = Books {
        ledger: Ledger::new(partition),
        still: rows.filter(|rows| rows.are_still()).map(|rows| rows.after),
        products: None,
        had_a_beginning: true,
    };
    let (state, log) = Inspector::new(directory, partition)
        .replay(&mut books)
        .map_err(|error| log_failure(partition, &error))?;
    let Books { mut ledger, products, had_a_beginning, .. } = books;
    if !had_a_beginning {
        report.notes.push(format!(
            "partition {partition}: the log begins after event {}, with a snapshot; what came \
             before was let go of",
            ledger.first().get() - 1
        ));
    }
    compare_with_state(&mut ledger, partition, &state);
    let totals = &mut report.totals;
    if let Some(rows) = rows {
        books_and_rows::compare(&mut ledger, partition, rows);
        *totals.store_orders.get_or_insert(0) += rows.orders.len() as u64;
        // What follows the last change are acknowledgements of the store itself.
        totals.store_lag += ledger.last_change().get().saturating_sub(rows.after.get());
    }
    totals.partitions += 1;
    totals.events += log.events;
    totals.ends.push((partition, log.last, log.digest));
    totals.orders += ledger.orders.len() as u64;
    let units = |units: i64| u64::try_from(units).unwrap_or(0);
    for account in ledger.accounts.values() {
        totals.products += 1;
        totals.stock += u64::from(account.terms.stock);
        totals.sold += units(account.sold);
        totals.held += units(account.held);
        totals.available += units(account.available);
        totals.oversold += units(account.sold - i64::from(account.terms.stock));
        totals.waiting += u64::from(account.queued);
        totals.served_from_waitlist += account.served_from_waitlist;
    }
    totals.paid_orders += ledger.paid_orders();
    report.findings.merge(ledger.findings);
    Ok(products)
}

/// The engine's own state machine must come to the books' numbers.
fn compare_with_state(ledger: &mut Ledger, partition: PartitionId, state: &State) {
    let mut found = Vec::new();
    let mut seen = 0;
    for view in state.products() {
        seen += 1;
        let counted = [view.stock, view.available, view.held, view.sold, view.waitlist_length];
        let booked = ledger.accounts.get(&view.product).map(|account| {
            let stock = i64::from(account.terms.stock);
            [stock, account.available, account.held, account.sold, i64::from(account.queued)]
        });
        if booked != Some(counted.map(i64::from)) {
            found.push(format!(
                "product {}: stock, available, held, sold, waiting are {counted:?} in the state \
                 machine and {booked:?} in the books",
                view.product
            ));
        }
    }
    if seen != ledger.accounts.len() {
        found.push(format!("{seen} products, {} in the books", ledger.accounts.len()));
    }
    ledger.findings.looked(Check::StateMachine, seen as u64);
    for text in found {
        let sequence = Some(ledger.last());
        ledger.findings.add(Divergence { check: Check::StateMachine, partition, sequence, text });
    }
}

fn audit_products(
    directory: &DataDirectory,
    store: &dyn Store,
    products: Option<ProductTerms>,
    looked_at: &[(PartitionId, Sequence)],
    report: &mut Report,
) -> Result<(), Failure> {
    let (rows, checkpoints) = roles::runtime()
        .block_on(async { Ok((read_products(store).await?, store.checkpoints().await?)) })
        .map_err(|error: StoreError| roles::store::failure(&error))?;
    // The products were read last: by now the store may be past the events that were looked at.
    let is_still = looked_at.iter().all(|(partition, at)| {
        checkpoints.iter().any(|now| (now.partition, now.sequence) == (*partition, *at))
    });
    let Some(products) = products.filter(|_| is_still) else {
        report.notes.push("the store moved while it was read: products were not compared".into());
        return Ok(());
    };
    let partitions = directory.partitions();
    report.findings.looked(Check::StoreProducts, rows.len() as u64);
    books_and_rows::compare_products(&products, &rows, |it| partitions.partition_of(it))
        .into_iter()
        .for_each(|divergence| report.findings.add(divergence));
    Ok(())
}

async fn read_products(store: &dyn Store) -> Result<Vec<ProductRow>, StoreError> {
    let mut rows: Vec<ProductRow> = Vec::new();
    loop {
        let after = rows.last().map(|row| row.product);
        let page = store.scan_products(after, PAGE_ROWS_MAX).await?;
        if page.is_empty() {
            return Ok(rows);
        }
        rows.extend(page);
    }
}

/// What could not be written to the store is missing in it.
fn audit_dead_letters(store: &dyn Store, report: &mut Report) -> Result<(), Failure> {
    let letters = roles::runtime()
        .block_on(store.dead_letters(None, PAGE_ROWS_MAX))
        .map_err(|error| roles::store::failure(&error))?;
    for letter in letters {
        report.findings.add(Divergence {
            check: Check::StoreOrders,
            partition: letter.partition,
            sequence: Some(letter.sequence),
            text: format!("a dead letter: {}: {}", letter.reason, letter.change),
        });
    }
    Ok(())
}

/// What to say when a log cannot be read to its end.
pub(crate) fn log_failure(partition: PartitionId, error: &LogError) -> Failure {
    let exit = match error {
        LogError::Damaged { .. } => Exit::DamagedLog,
        _ => Exit::Failure,
    };
    Failure::because(exit, format!("the log of partition {partition} cannot be read"), error)
}
