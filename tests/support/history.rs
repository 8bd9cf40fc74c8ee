//! What clients saw, the log and the store, judged together.

use super::run_well;
use super::stored::Stored;
use doorbuster_history::answer::Answer;
use doorbuster_history::event::Event;
use doorbuster_history::journal::{self, Line};
use doorbuster_history::row::{OrderRow, ProductRow, Rows};
use doorbuster_history::terms::{Currency, SaleState, Terms};
use doorbuster_history::{Allowance, History, Verdict, log_lines};
use doorbuster_persistence::postgres::{PostgresOptions, PostgresStore, ShardOptions};
use doorbuster_persistence::{self as persistence, SqliteStore, Store};
use doorbuster_protocol::command::SaleState as EngineState;
use std::collections::HashSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

const PAGE_ROWS: u32 = 10_000;
/// Room between the numbers of operations of two journals.
const JOURNAL_BITS: u32 = 40;

/// Judges journals of loads against the log of `data`, from its first event on, and against the
/// rows of a store that has everything. Nothing may be found.
pub fn judge(data: &Path, journals: &[&Path], rows: Option<Rows>) -> Verdict {
    let verdict = judge_by(Allowance::default(), data, journals, rows);
    verdict.expect("the log has its beginning")
}

/// The same by another allowance. `None`: the log no longer has its beginning, without which
/// nothing can be judged.
pub fn judge_by(
    allowance: Allowance,
    data: &Path,
    journals: &[&Path],
    rows: Option<Rows>,
) -> Option<Verdict> {
    let mut history = History { rows, ..History::default() };
    let mut asks_engine = false;
    for (index, path) in journals.iter().enumerate() {
        let file = File::open(path).expect("a journal");
        let lines = journal::read_lines(BufReader::new(file)).expect("a journal");
        asks_engine |=
            lines.iter().any(|line| matches!(line, Line::Begun(begun) if begun.asks_engine));
        let base = (index as u64) << JOURNAL_BITS;
        history.operations.extend(journal::operations(lines, base).expect("a journal"));
    }
    assert!(
        history.operations.iter().any(|operation| operation.answer != Answer::Unknown),
        "somebody was answered"
    );
    history.events = events(data);
    let mut partitions = HashSet::new();
    let mut first = history.events.iter().filter(|it| partitions.insert(it.position.partition));
    if let Some(later) = first.find(|event| event.position.sequence != 1) {
        eprintln!("the log begins at {}: what clients saw is not judged", later.position);
        return None;
    }
    let allowance = Allowance { orders_leave: asks_engine, ..allowance };
    let verdict = doorbuster_history::check(&history, &allowance);
    eprintln!("{verdict}");
    assert!(verdict.is_clean(), "a promise was broken");
    Some(verdict)
}

/// The events of a log, as far back as it goes.
pub fn events(data: &Path) -> Vec<Event> {
    let dump = run_well(&["log", "dump", "--json", "--data", data.to_str().expect("UTF-8")]);
    log_lines::read(dump.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

/// The rows of a store, whichever it is.
pub fn rows_of_stored(store: &Stored) -> Rows {
    match store {
        Stored::Sqlite(file) => rows_of(&SqliteStore::open(file).expect("the store")),
        Stored::Postgres(shards) => rows_of_shards(&shards.urls()),
    }
}

/// The rows of the embedded store of `data`.
pub fn embedded_rows(data: &Path) -> Rows {
    rows_of_stored(&Stored::Sqlite(data.join("store.sqlite")))
}

/// The rows of a store of shards.
pub fn rows_of_shards(urls: &[String]) -> Rows {
    let shard = |url: &String| ShardOptions::new(url.parse().expect("a URL"));
    let options = PostgresOptions::new(urls.iter().map(shard).collect());
    rows_of(&PostgresStore::open(options).expect("the shards"))
}

fn rows_of(store: &dyn Store) -> Rows {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut rows = Rows::default();
    for (index, shard) in store.shards().into_iter().enumerate() {
        let mut after = None;
        loop {
            let page = runtime.block_on(shard.scan_orders(None, after, PAGE_ROWS)).expect("rows");
            let Some(last) = page.last() else { break };
            after = Some(last.order);
            rows.orders.extend(page.iter().map(order_row));
        }
        if index > 0 {
            // Every shard has all products.
            continue;
        }
        let mut after = None;
        loop {
            let page = runtime.block_on(shard.scan_products(after, PAGE_ROWS)).expect("rows");
            let Some(last) = page.last() else { break };
            after = Some(last.product);
            rows.products.extend(page.iter().map(product_row));
        }
    }
    rows
}

fn order_row(row: &persistence::OrderRow) -> OrderRow {
    let [item] = row.items.as_slice() else { panic!("order {} has several lines", row.order) };
    OrderRow {
        order: number(row.order.as_bytes()).into(),
        product: number(item.product.as_bytes()).into(),
        buyer: number(row.buyer.as_bytes()).into(),
        quantity: item.quantity.get(),
        unit_price: item.unit_price,
        total_amount: row.total_amount,
        currency: currency(row.currency),
        status: serde_json::from_value(row.status.as_str().into()).unwrap_or_else(|error| {
            panic!("order {} is {}: {error}", row.order, row.status.as_str())
        }),
        created_us: row.created_at.micros(),
        updated_us: row.updated_at.micros(),
        expires_us: row.expires_at.micros(),
    }
}

fn product_row(row: &persistence::ProductRow) -> ProductRow {
    ProductRow {
        product: number(row.product.as_bytes()).into(),
        terms: Terms {
            price: row.price,
            currency: currency(row.currency),
            stock: row.stock,
            opens_us: row.opens_at.micros(),
            closes_us: row.closes_at.micros(),
            limit_per_buyer: row.limit_per_buyer,
            hold_seconds: row.hold_seconds,
            waitlist_capacity: row.waitlist_capacity,
        },
        state: match row.state {
            EngineState::Open => SaleState::Open,
            EngineState::Paused => SaleState::Paused,
        },
        created_us: row.created_at.micros(),
        updated_us: row.updated_at.micros(),
    }
}

fn number(bytes: &[u8; 16]) -> u128 {
    u128::from_be_bytes(*bytes)
}

fn currency(currency: doorbuster_protocol::Currency) -> Currency {
    Currency::parse(currency.as_str()).expect("a currency")
}
