//! After the switch: whether the target has every row that the source still has; then the source's
//! rows are dropped.
//!
//! The source no longer changes these rows, the target does: a row that is newer there is as good as
//! one that is the same.

use super::capture::array;
use super::{Endpoint, copy, ids_literal};
use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::types::Uuid;
use doorbuster_protocol::OrderId;
use std::collections::HashMap;
use tokio_postgres::types::Type;

/// Orders looked at, or dropped, in one step.
const STEP_ROWS: i64 = 5_000;

/// Everything that a shop can tell of an order, as one text.
const ORDER: &str = "SELECT o.id, o.version, md5(concat_ws('|', o.user_id, o.total_amount,
        o.currency, o.status, o.payment_method, o.shipping_address, o.created_at, o.updated_at,
        o.expires_at,
        (SELECT string_agg(concat_ws(',', i.line, i.product_id, i.quantity, i.price), ';'
            ORDER BY i.line) FROM order_items i WHERE i.order_id = o.id)))
    FROM orders o";

/// Compares; the number of orders that agree, or the first that do not.
pub(super) async fn compare(
    source: &Endpoint,
    target: &Endpoint,
    buckets: &BucketSet,
) -> Result<Result<u64, Vec<OrderId>>, StoreError> {
    let theirs = array(buckets);
    let page = format!(
        "{ORDER} WHERE ($1::uuid IS NULL OR o.id > $1)
         AND order_bucket(o.id) = ANY ('{theirs}') ORDER BY o.id LIMIT $2"
    );
    let (mut after, mut agree, mut differ): (Option<Uuid>, _, _) = (None, 0, Vec::new());
    loop {
        let rows = source.query(&page, &[(&after, Type::UUID), (&STEP_ROWS, Type::INT8)]).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.get(0));
        let ids: Vec<[u8; 16]> = rows.iter().map(|row| row.get::<_, Uuid>(0).0).collect();
        let there = format!("{ORDER} WHERE o.id = ANY ({})", ids_literal(&ids));
        let there: HashMap<[u8; 16], (i64, String)> = target
            .query(&there, &[])
            .await?
            .iter()
            .map(|row| (row.get::<_, Uuid>(0).0, (row.get(1), row.get(2))))
            .collect();
        for (row, id) in rows.iter().zip(ids) {
            let (version, content): (i64, String) = (row.get(1), row.get(2));
            match there.get(&id) {
                Some((newer, _)) if *newer > version => agree += 1,
                Some((same, theirs)) if (*same, theirs) == (version, &content) => agree += 1,
                _ => differ.push(OrderId::from_bytes(id)),
            }
        }
        if differ.len() > 100 {
            break;
        }
    }
    Ok(if differ.is_empty() { Ok(agree) } else { Err(differ) })
}

/// Drops the source's rows of `buckets`, a step at a time; the number of orders.
pub(super) async fn drop_rows(source: &Endpoint, buckets: &BucketSet) -> Result<u64, StoreError> {
    let theirs = array(buckets);
    let page = format!(
        "SELECT id FROM orders WHERE ($1::uuid IS NULL OR id > $1)
         AND order_bucket(id) = ANY ('{theirs}') ORDER BY id LIMIT $2"
    );
    let (mut after, mut dropped): (Option<Uuid>, _) = (None, 0);
    loop {
        let rows = source.query(&page, &[(&after, Type::UUID), (&STEP_ROWS, Type::INT8)]).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.get(0));
        let ids: Vec<[u8; 16]> = rows.iter().map(|row| row.get::<_, Uuid>(0).0).collect();
        source
            .execute(&format!("DELETE FROM orders WHERE id = ANY ({})", ids_literal(&ids)))
            .await?;
        dropped += ids.len() as u64;
    }
    let mut after = None;
    while let Some((last, users)) = copy::users_of(source, buckets, after).await? {
        if !users.is_empty() {
            let ids = ids_literal(&users);
            source.execute(&format!("DELETE FROM users WHERE id = ANY ({ids})")).await?;
        }
        after = Some(last);
    }
    Ok(dropped)
}
