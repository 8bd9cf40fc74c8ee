//! Steps through the tables of one shard, for audits.

use crate::error::StoreError;
use crate::postgres::row::{self, get, number, optional_time};
use crate::postgres::session::Session;
use crate::postgres::types::Uuid;
use crate::rows::{Checkpoint, DeadLetter, OrderRow, ProductRow};
use crate::store::PAGE_ROWS_MAX;
use doorbuster_protocol::{Epoch, OrderId, PartitionId, ProductId, Sequence};
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

fn limited(limit: u32) -> i64 {
    i64::from(limit.clamp(1, PAGE_ROWS_MAX))
}

/// A step through orders by id.
pub(super) async fn orders(
    session: &mut Session,
    patience: Duration,
    partition: Option<PartitionId>,
    after: Option<OrderId>,
    limit: u32,
) -> Result<Vec<OrderRow>, StoreError> {
    // Bytes 7 and 8 of an id are `0x8000 | partition`, big-endian.
    let sql = format!(
        "{} WHERE ($1::uuid IS NULL OR o.id > $1)
           AND ($2::bytea IS NULL OR substring(uuid_send(o.id) FROM 7 FOR 2) = $2)
         ORDER BY o.id LIMIT $3",
        row::SELECT_ORDERS
    );
    let after = after.map(|order| Uuid(*order.as_bytes()));
    let place = partition.map(|partition| (0x8000 | partition.get()).to_be_bytes().to_vec());
    let limit = limited(limit);
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
        [(&after, Type::UUID), (&place, Type::BYTEA), (&limit, Type::INT8)];
    session.ask(patience, &sql, &values).await?.iter().map(row::order).collect()
}

/// A step through products by id.
pub(super) async fn products(
    session: &mut Session,
    patience: Duration,
    after: Option<ProductId>,
    limit: u32,
) -> Result<Vec<ProductRow>, StoreError> {
    let sql = format!(
        "{} WHERE ($1::uuid IS NULL OR p.id > $1) AND p.created_at IS NOT NULL
         ORDER BY p.id LIMIT $2",
        row::SELECT_PRODUCTS
    );
    let after = after.map(|product| Uuid(*product.as_bytes()));
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&after, Type::UUID), (&limited(limit), Type::INT8)];
    session.ask(patience, &sql, &values).await?.iter().map(row::product).collect()
}

/// A step through the dead letters.
pub(super) async fn dead_letters(
    session: &mut Session,
    patience: Duration,
    after: Option<(PartitionId, Sequence, u32)>,
    limit: u32,
) -> Result<Vec<DeadLetter>, StoreError> {
    let sql = "SELECT partition, sequence, line, at, reason, change FROM dead_letters
               WHERE (partition, sequence, line) > ($1, $2, $3)
               ORDER BY partition, sequence, line LIMIT $4";
    let (partition, sequence, line) = after.map_or((-1, 0, 0), |(partition, sequence, line)| {
        (partition.get() as i16, sequence.get() as i64, line as i32)
    });
    let values: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 4] = [
        (&partition, Type::INT2),
        (&sequence, Type::INT8),
        (&line, Type::INT4),
        (&limited(limit), Type::INT8),
    ];
    session.ask(patience, sql, &values).await?.iter().map(dead_letter).collect()
}

fn dead_letter(row: &Row) -> Result<DeadLetter, StoreError> {
    let line: i32 = get(row, 2)?;
    Ok(DeadLetter {
        partition: partition(row, 0)?,
        sequence: Sequence::new(number(get(row, 1)?)?),
        line: u32::try_from(line).map_err(|_| row::damaged("a line"))?,
        at: optional_time(row, 3)?,
        reason: get(row, 4)?,
        change: get(row, 5)?,
    })
}

/// All checkpoints in order of partition. A transaction that is still being committed, of a
/// connection that broke, holds its checkpoints: they are waited for, so that the answer stands.
pub(super) async fn checkpoints(
    session: &mut Session,
    patience: Duration,
) -> Result<Vec<Checkpoint>, StoreError> {
    let sql = "SELECT partition, epoch, sequence FROM checkpoints ORDER BY partition FOR SHARE";
    session.ask(patience, sql, &[]).await?.iter().map(checkpoint).collect()
}

/// From the columns partition, epoch, sequence.
pub(super) fn checkpoint(row: &Row) -> Result<Checkpoint, StoreError> {
    let epoch: i64 = get(row, 1)?;
    Ok(Checkpoint {
        partition: partition(row, 0)?,
        epoch: Epoch::new(u32::try_from(epoch).map_err(|_| row::damaged("an epoch"))?),
        sequence: Sequence::new(number(get(row, 2)?)?),
    })
}

fn partition(row: &Row, column: usize) -> Result<PartitionId, StoreError> {
    let number: i16 = get(row, column)?;
    let number = u16::try_from(number).ok().and_then(PartitionId::new);
    number.ok_or_else(|| row::damaged("a partition"))
}
