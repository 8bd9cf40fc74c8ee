//! What is asked of a shard for the edge, in SQL. Every query of it stands in [`ALL`], so that a
//! test can have each explained.
//!
//! Each is one statement over indexes, whatever the answer's size: the items of orders come in
//! arrays beside their order. Parameters have the types that are written beside them, and nothing
//! is prepared under a name, so that any connection of a transaction pooler serves.

use crate::postgres::row::{SELECT_ORDERS, SELECT_PRODUCTS};
use tokio_postgres::types::Type;

/// A query, how it is called in tests, and the types of its parameters.
#[derive(Debug)]
pub struct Query {
    /// What it is for.
    pub name: &'static str,
    select: &'static str,
    which: &'static str,
    /// Types of `$1`, `$2`, …
    pub types: &'static [Type],
}

impl Query {
    /// Its text.
    pub fn sql(&self) -> String {
        format!("{} {}", self.select, self.which)
    }
}

/// One order: id.
pub(super) const ORDER: Query =
    Query { name: "order", select: SELECT_ORDERS, which: "WHERE o.id = $1", types: &[Type::UUID] };

/// The newest orders of a buyer: buyer, rows.
pub(super) const ORDERS_FIRST: Query = Query {
    name: "orders of a buyer, first page",
    select: SELECT_ORDERS,
    which: "WHERE o.user_id = $1 ORDER BY o.created_at DESC, o.id DESC LIMIT $2",
    types: &[Type::UUID, Type::INT8],
};

/// The orders of a buyer after one: buyer, rows, that one's time and id.
pub(super) const ORDERS_AFTER: Query = Query {
    name: "orders of a buyer, after a cursor",
    select: SELECT_ORDERS,
    which: "WHERE o.user_id = $1 AND (o.created_at, o.id) < ($3, $4)
            ORDER BY o.created_at DESC, o.id DESC LIMIT $2",
    types: &[Type::UUID, Type::INT8, Type::TIMESTAMPTZ, Type::UUID],
};

/// One defined product: id.
pub(super) const PRODUCT: Query = Query {
    name: "product",
    select: SELECT_PRODUCTS,
    which: "WHERE p.id = $1 AND p.created_at IS NOT NULL",
    types: &[Type::UUID],
};

/// The newest products: rows.
pub(super) const PRODUCTS_FIRST: Query = Query {
    name: "products, first page",
    select: SELECT_PRODUCTS,
    which: "WHERE p.created_at IS NOT NULL ORDER BY p.created_at DESC, p.id DESC LIMIT $1",
    types: &[Type::INT8],
};

/// The products after one: rows, that one's time and id.
pub(super) const PRODUCTS_AFTER: Query = Query {
    name: "products, after a cursor",
    select: SELECT_PRODUCTS,
    which: "WHERE p.created_at IS NOT NULL AND (p.created_at, p.id) < ($2, $3)
            ORDER BY p.created_at DESC, p.id DESC LIMIT $1",
    types: &[Type::INT8, Type::TIMESTAMPTZ, Type::UUID],
};

/// What people call a product, defined or not: id.
pub(super) const CATALOG: Query = Query {
    name: "catalog entry",
    select: "SELECT p.name, p.description FROM products p",
    which: "WHERE p.id = $1 AND (p.name IS NOT NULL OR p.description IS NOT NULL)",
    types: &[Type::UUID],
};

/// Every query that reads orders and products for the edge.
pub const ALL: &[Query] =
    &[ORDER, ORDERS_FIRST, ORDERS_AFTER, PRODUCT, PRODUCTS_FIRST, PRODUCTS_AFTER, CATALOG];

/// Who answers, and how far: whether it is a replica, how far its log reaches (for a replica, what
/// of it is replayed), and which database it is. `shard` has one row.
pub(super) const WITNESS: &str = "SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
       id, name
     FROM shard";

/// Which buckets it owns; nothing before it was claimed. Asked after the rows were read: what it
/// still owns then, it owned when they were.
pub(super) const OWNED: &str = "SELECT buckets FROM shard WHERE name IS NOT NULL";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_has_a_type_and_is_used() {
        for query @ Query { name, types, .. } in ALL {
            let sql = query.sql();
            for number in 1..=types.len() {
                assert!(sql.contains(&format!("${number}")), "{name} does not use ${number}");
            }
            assert!(!sql.contains(&format!("${}", types.len() + 1)), "{name} has more parameters");
        }
    }

    #[test]
    fn names_tell_queries_apart() {
        for (index, query) in ALL.iter().enumerate() {
            assert!(ALL[..index].iter().all(|other| other.name != query.name), "{}", query.name);
        }
    }
}
