//! Which rows of a staged set cannot stand.
//!
//! Halves in the order of events, each merged in a savepoint of its own; a half that breaks a rule
//! of the tables is taken back and halved again. So a few bad rows among thousands cost a few dozen
//! statements. What is left in the end, few orders at a time, goes the exact way.

use crate::postgres::types::Uuid;
use crate::postgres::write::fold::{Fold, Folded};
use crate::postgres::write::{Refusal, Tally, exact, merge};
use std::collections::HashMap;
use std::ops::Range;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// A set this small is not halved again.
const EXACT_MAX: usize = 4;

/// Writes everything that is staged.
pub(super) async fn write<'a>(
    client: &Client,
    folded: &Folded<'a>,
    tally: &mut Tally<'a>,
) -> Result<(), Refusal> {
    let mut ranges: Vec<_> = std::iter::once(0..folded.orders.len()).collect();
    while let Some(seats) = ranges.pop() {
        client.batch_execute("SAVEPOINT half").await?;
        match settle(client, folded, &seats, tally).await {
            Ok(()) => client.batch_execute("RELEASE SAVEPOINT half").await?,
            Err(Refusal::Poison(_)) => {
                client.batch_execute("ROLLBACK TO SAVEPOINT half; RELEASE SAVEPOINT half").await?;
                if seats.len() <= EXACT_MAX {
                    for fold in staged(folded, &seats) {
                        exact::write(client, folded.changes_of(fold), tally).await?;
                    }
                } else {
                    let middle = seats.start + seats.len() / 2;
                    ranges.push(middle..seats.end);
                    ranges.push(seats.start..middle);
                }
            }
            Err(failed) => return Err(failed),
        }
    }
    Ok(())
}

/// Merges a set. Poison only before anything is counted.
async fn settle<'a>(
    client: &Client,
    folded: &Folded<'a>,
    seats: &Range<usize>,
    tally: &mut Tally<'a>,
) -> Result<(), Refusal> {
    let settled = merge::carefully(client, seats).await?;
    let mut rows = 0;
    let mut left = Vec::new();
    for fold in staged(folded, seats) {
        match settled.contains(&fold.order) {
            true => rows += u64::from(fold.len),
            false => left.push(fold),
        }
    }
    tally.rows += rows;
    if left.is_empty() {
        return Ok(());
    }
    // Most of these are there already, when a checkpoint was set back: nothing is left to do.
    let ids: Vec<_> = left.iter().map(|fold| Uuid(*fold.order.as_bytes())).collect();
    let sql = "SELECT id, version FROM orders WHERE id = ANY ($1)";
    let stored = client.query_typed(sql, &[(&ids, Type::UUID_ARRAY)]).await?;
    let stored: HashMap<[u8; 16], i64> =
        stored.iter().map(|row| (row.get::<_, Uuid>(0).0, row.get(1))).collect();
    for fold in left {
        let version = stored.get(fold.order.as_bytes());
        if version.is_none_or(|version| *version < fold.version.get() as i64) {
            exact::write(client, folded.changes_of(fold), tally).await?;
        }
    }
    Ok(())
}

fn staged<'a, 'f>(
    folded: &'f Folded<'a>,
    seats: &Range<usize>,
) -> impl Iterator<Item = &'f Fold<'a>> {
    folded.orders[seats.clone()].iter().filter(|fold| !fold.is_exact)
}
