//! Staged rows into the tables, set by set.
//!
//! The plain way takes for granted that every move finds its order: one statement whose count proves
//! it. The careful way takes nothing for granted, neither that what is made is not there yet, and
//! tells which folds it settled. What neither settles is for `exact`.

use crate::postgres::types::Uuid;
use crate::postgres::write::Refusal;
use doorbuster_protocol::OrderId;
use std::collections::HashSet;
use std::ops::Range;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// Settings of every batch's transaction. Without these joins the plan of a merge never depends on
/// how large the tables are believed to be, which grow faster than anybody analyzes them. What is
/// answered is durable, whatever the database's default: the engine's log is trimmed on the strength
/// of it. A trigger that the shop defers speaks while the row can still be told.
pub(super) const SETTINGS: &str = "SET LOCAL enable_hashjoin = off;
    SET LOCAL enable_mergejoin = off; SET LOCAL client_min_messages = error;
    SELECT set_config('synchronous_commit', 'on', true)
        WHERE current_setting('synchronous_commit') = 'off';
    SET CONSTRAINTS ALL IMMEDIATE";

const ORDERS: &str = "INSERT INTO orders (id, user_id, total_amount, currency, status, created_at,
        updated_at, expires_at, version)
    SELECT id, user_id, total_amount, currency, status, created_at, updated_at, expires_at, version
    FROM pg_temp.staged_results_1 WHERE user_id IS NOT NULL";
const ITEMS: &str =
    "INSERT INTO order_items (order_id, line, product_id, quantity, price, created_at)
    SELECT id, line, product_id, quantity, price, created_at
    FROM pg_temp.staged_results_1 WHERE product_id IS NOT NULL";
const MOVES: &str = "UPDATE orders o SET status = s.status, updated_at = s.updated_at,
        expires_at = coalesce(s.expires_at, o.expires_at), version = s.version
    FROM pg_temp.staged_results_1 s
    WHERE o.id = s.id AND o.version < s.first
      AND o.status IN (s.before_1, s.before_2, s.before_3)";

/// Merges what is staged when that is only moves; how many found their orders. When those are not
/// all, the transaction must go back to before it.
pub(super) async fn moves(client: &Client) -> Result<u64, tokio_postgres::Error> {
    client.execute_typed(MOVES, &[]).await
}

/// Merges some seats of what is staged; the orders that were settled by it. Those that are not are
/// as they were.
pub(super) async fn carefully(
    client: &Client,
    seats: &Range<usize>,
) -> Result<HashSet<OrderId>, Refusal> {
    let (first, end) = (seats.start as i32, seats.end as i32);
    let of_seats: [(&(dyn ToSql + Sync), Type); 2] = [(&first, Type::INT4), (&end, Type::INT4)];
    // The first of a buyer may be outside of these seats.
    let sql = "INSERT INTO users (id, created_at, updated_at)
               SELECT DISTINCT ON (user_id) user_id, created_at, created_at
               FROM pg_temp.staged_results_1
               WHERE user_id IS NOT NULL AND seat >= $1 AND seat < $2
               ORDER BY user_id, seat ON CONFLICT (id) DO NOTHING";
    client.execute_typed(sql, &of_seats).await?;
    let sql = format!(
        "{ORDERS} AND seat >= $1 AND seat < $2 ORDER BY seat
         ON CONFLICT (id) DO NOTHING RETURNING id"
    );
    let made = client.query_typed(&sql, &of_seats).await?;
    let made: Vec<Uuid> = made.iter().map(|row| row.get(0)).collect();
    let sql = format!("{ITEMS} AND id = ANY ($1)");
    client.execute_typed(&sql, &[(&made, Type::UUID_ARRAY)]).await?;
    let sql = format!("{MOVES} AND s.seat >= $1 AND s.seat < $2 RETURNING o.id");
    let moved = client.query_typed(&sql, &of_seats).await?;
    let moved = moved.iter().map(|row| row.get::<_, Uuid>(0));
    Ok(made.into_iter().chain(moved).map(|id| OrderId::from_bytes(id.0)).collect())
}
