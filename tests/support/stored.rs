//! The tables of a store, whichever it is, changed and read behind its back.

use super::shards::Shards;
use rusqlite::Connection;
use std::path::PathBuf;
use std::time::Duration;

/// A store as its databases.
pub enum Stored {
    /// One file.
    Sqlite(PathBuf),
    /// Some shards.
    Postgres(Shards),
}

impl Stored {
    /// How it is named on the command line.
    pub fn flags(&self) -> Vec<String> {
        match self {
            Self::Sqlite(_) => Vec::new(),
            Self::Postgres(shards) => shards.flags(),
        }
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        match self {
            Self::Sqlite(_) => 1,
            Self::Postgres(shards) => shards.0.len(),
        }
    }

    /// SQL in the store's own words: `ID(…)` is an id, `LATER(column)` a time a little later, `NOW`
    /// some time, `STOCK` and `ITEM_PRICE` are columns.
    fn dialect(&self, sql: &str) -> String {
        let is_sqlite = matches!(self, Self::Sqlite(_));
        let pick = |sqlite: &str, postgres: &str| {
            if is_sqlite { sqlite.to_owned() } else { postgres.to_owned() }
        };
        let sql = sql.replace("STOCK", &pick("stock", "inventory"));
        let sql = sql.replace("ITEM_PRICE", &pick("unit_price", "price"));
        let sql = sql.replace("ITEM_COLUMNS", &pick("", ", created_at"));
        let sql = sql.replace("ITEM_VALUES", &pick("", ", now()"));
        let sql =
            sql.replace("NOW", &pick("1700000000000000", "TIMESTAMPTZ '2023-11-14 22:13:20Z'"));
        let sql = within(&sql, "LATER", |column| {
            pick(&format!("{column} + 1000"), &format!("{column} + INTERVAL '1 ms'"))
        });
        within(&sql, "ID", |id| {
            pick(&format!("X'{}'", id.replace('-', "")), &format!("'{id}'::uuid"))
        })
    }

    /// Runs statements on a shard.
    pub fn execute(&self, shard: usize, sql: &str) {
        let sql = self.dialect(sql);
        match self {
            Self::Sqlite(_) => {
                let done = self.connection().execute_batch(&sql);
                done.unwrap_or_else(|error| panic!("{error}: {sql}"));
            }
            Self::Postgres(shards) => {
                shards.0[shard].psql(&sql);
            }
        }
    }

    /// The rows of a query on a shard, each column as text.
    pub fn rows(&self, shard: usize, sql: &str) -> Vec<Vec<String>> {
        let sql = self.dialect(sql);
        match self {
            Self::Sqlite(_) => {
                let connection = self.connection();
                let mut statement = connection.prepare(&sql).expect("a query");
                let columns = statement.column_count();
                let rows = statement.query_map([], |row| {
                    (0..columns).map(|column| Ok(text(row.get_ref(column)?))).collect()
                });
                rows.expect("rows").map(|row| row.expect("a row")).collect()
            }
            Self::Postgres(shards) => shards.0[shard].rows(&sql),
        }
    }

    /// Each order and its shard, in order of id.
    pub fn orders(&self) -> Vec<(String, usize)> {
        let of = |shard| {
            let rows = self.rows(shard, "SELECT id FROM orders");
            rows.into_iter().map(move |row| (row[0].clone(), shard))
        };
        let mut orders: Vec<_> = (0..self.shards()).flat_map(of).collect();
        orders.sort();
        orders
    }

    /// Everything that a projector writes.
    pub fn everything(&self) -> Vec<Vec<String>> {
        let queries = [
            "SELECT id, user_id, total_amount, currency, status, created_at, updated_at, \
             expires_at, version FROM orders ORDER BY id",
            "SELECT order_id, line, product_id, quantity, ITEM_PRICE FROM order_items \
             ORDER BY order_id, line",
            "SELECT id, price, currency, STOCK, state, limit_per_user, hold_seconds, \
             waitlist_capacity, created_at, updated_at, version FROM products ORDER BY id",
            "SELECT partition, sequence FROM checkpoints ORDER BY partition",
            "SELECT partition, sequence, line, reason FROM dead_letters ORDER BY 1, 2, 3",
        ];
        let of = |shard| queries.into_iter().flat_map(move |sql| self.rows(shard, sql));
        (0..self.shards()).flat_map(of).collect()
    }

    fn connection(&self) -> Connection {
        let Self::Sqlite(path) = self else { panic!("a store in a file") };
        let connection = Connection::open(path).expect("a store");
        connection.busy_timeout(Duration::from_secs(30)).expect("a time");
        connection
    }
}

/// Replaces each `name(argument)`.
fn within(sql: &str, name: &str, replace: impl Fn(&str) -> String) -> String {
    let opening = format!("{name}(");
    let mut parts = sql.split(opening.as_str());
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (argument, rest) = part.split_once(')').expect("it is closed");
        out += &replace(argument);
        out += rest;
    }
    out
}

fn text(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            match hex.len() {
                32 => {
                    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                    parts.join("-")
                }
                _ => hex,
            }
        }
    }
}
