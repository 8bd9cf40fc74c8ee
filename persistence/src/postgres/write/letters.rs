//! Dead letters: what could not be written, with the cause, in the transaction that wrote the rest.

use crate::postgres::types::Time;
use crate::postgres::write::Refusal;
use crate::store::{Change, RowChange};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// Bytes of a dead letter's reason and description that are kept.
const TEXT_BYTES_MAX: usize = 4_096;

/// Writes them. Those that are there from before a checkpoint was set back stay as they are.
pub(super) async fn bury(client: &Client, letters: &[(&Change, String)]) -> Result<(), Refusal> {
    if letters.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Change) -> i64| -> Vec<i64> {
        letters.iter().map(|(change, _)| of(change)).collect()
    };
    let partitions = column(|change| i64::from(change.partition.get()));
    let sequences = column(|change| change.sequence.get() as i64);
    let lines = column(|change| i64::from(change.line));
    // A time out of range may be the very reason.
    let times: Vec<_> = letters.iter().map(|(change, _)| Time::nearest(change.at)).collect();
    let reasons: Vec<_> = letters.iter().map(|(_, reason)| cut(reason.clone())).collect();
    let descriptions: Vec<_> = letters.iter().map(|(change, _)| description(change)).collect();
    let events: Vec<_> = letters.iter().map(|(change, _)| event(change)).collect();
    let sql = "INSERT INTO dead_letters (partition, sequence, line, at, reason, change, event)
               SELECT p::int2, s, l::int4, a, r, c, e
               FROM unnest($1, $2, $3, $4, $5, $6, $7) AS d (p, s, l, a, r, c, e)
               ON CONFLICT (partition, sequence, line) DO NOTHING";
    let values: [(&(dyn ToSql + Sync), Type); 7] = [
        (&partitions, Type::INT8_ARRAY),
        (&sequences, Type::INT8_ARRAY),
        (&lines, Type::INT8_ARRAY),
        (&times, Type::TIMESTAMPTZ_ARRAY),
        (&reasons, Type::TEXT_ARRAY),
        (&descriptions, Type::TEXT_ARRAY),
        (&events, Type::BYTEA_ARRAY),
    ];
    client.execute_typed(sql, &values).await?;
    Ok(())
}

fn event(change: &Change) -> Option<&[u8]> {
    match &change.row {
        RowChange::Unreadable { bytes, .. } => Some(bytes),
        _ => None,
    }
}

fn description(change: &Change) -> String {
    match event(change) {
        Some(bytes) => format!("an event of {} bytes", bytes.len()),
        None => cut(format!("{:?}", change.row)),
    }
}

/// Text that Postgres takes: bounded, and without the one character that it does not know.
fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}
