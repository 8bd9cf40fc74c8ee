//! What a shard says of itself, and whether that is what the configuration expects of it.
//!
//! Each database has a random id of its own from its first migration on, and from its first claim a
//! name, the data directory whose results it holds, and its buckets. So a URL that leads to another
//! shard, to another cluster's or twice to the same one is found out before anything is written.

use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::connect::failure;
use crate::postgres::row::{damaged, get, id};
use crate::store::StoreIdentity;
use doorbuster_protocol::routing::PartitionCount;
use tokio_postgres::{Client, Row};

/// What stands in a shard's table `shard`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// The database's id.
    pub(super) id: [u8; 16],
    /// The shard's name; `None` before its first claim.
    pub(super) name: Option<String>,
    /// Whose results these are; `None` before the first claim.
    pub(super) identity: Option<StoreIdentity>,
    /// What it owns.
    pub(super) buckets: BucketSet,
    /// What it may hold without owning it.
    pub(super) in_transit: BucketSet,
    /// Grows with every change of its buckets.
    pub(super) map_version: i64,
}

impl Standing {
    /// Of a database that was just migrated.
    #[cfg(test)]
    pub(super) const fn unclaimed(id: [u8; 16]) -> Self {
        Self {
            id,
            name: None,
            identity: None,
            buckets: BucketSet::NONE,
            in_transit: BucketSet::NONE,
            map_version: 0,
        }
    }

    /// Whether it is bound to a data directory.
    pub(super) const fn is_claimed(&self) -> bool {
        self.identity.is_some()
    }

    /// From the columns of [`COLUMNS`].
    pub(super) fn of(row: &Row) -> Result<Self, StoreError> {
        let set = |column| {
            let text: &str = get(row, column)?;
            text.parse().map_err(|_| damaged("a set of buckets"))
        };
        let cluster: Option<&str> = get(row, 2)?;
        let partitions: Option<i32> = get(row, 3)?;
        let identity = match (cluster, partitions) {
            (Some(cluster), Some(partitions)) => {
                let directory = u64::from_str_radix(cluster, 16);
                let partitions = u16::try_from(partitions).ok().and_then(PartitionCount::new);
                Some(StoreIdentity {
                    directory: directory.map_err(|_| damaged("the id of a data directory"))?,
                    partitions: partitions.ok_or_else(|| damaged("a number of partitions"))?,
                })
            }
            _ => None,
        };
        Ok(Self {
            id: id(row, 0)?,
            name: get(row, 1)?,
            identity,
            buckets: set(4)?,
            in_transit: set(5)?,
            map_version: get(row, 6)?,
        })
    }
}

/// What [`Standing::of`] reads.
pub(super) const COLUMNS: &str = "id, name, cluster, partitions, buckets, in_transit, map_version";

/// Asks a shard.
pub(super) async fn standing(shard: &str, client: &Client) -> Result<Standing, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM shard");
    let rows = client.query_typed(&sql, &[]).await.map_err(|error| failure(shard, &error))?;
    let row = rows.first().ok_or_else(|| empty(shard))?;
    Standing::of(row)
}

/// A table `shard` without its row.
pub(super) fn empty(shard: &str) -> StoreError {
    StoreError::Damaged { why: format!("the table `shard` of {shard} has no row") }
}

/// A shard as it is checked: its name, where it is, and what it says of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checked<'a> {
    pub(super) name: &'a str,
    pub(super) place: &'a str,
    pub(super) standing: &'a Standing,
}

/// Whether each shard is the one that is meant, and all are of one cluster.
pub(super) fn check(shards: &[Checked<'_>]) -> Result<(), StoreError> {
    for (index, shard) in shards.iter().enumerate() {
        for other in &shards[..index] {
            if shard.standing.id == other.standing.id {
                return Err(same_database(other, shard));
            }
        }
    }
    for shard in shards {
        check_name(shard)?;
    }
    let mut of_cluster: Option<(&Checked<'_>, StoreIdentity)> = None;
    for shard in shards {
        let Some(identity) = shard.standing.identity else { continue };
        match of_cluster {
            Some((first, known)) if known != identity => {
                return Err(two_clusters(first, known, shard, identity));
            }
            Some(_) => {}
            None => of_cluster = Some((shard, identity)),
        }
    }
    Ok(())
}

fn check_name(shard: &Checked<'_>) -> Result<(), StoreError> {
    let Checked { name, place, standing } = shard;
    match &standing.name {
        Some(stored) if stored != name => Err(StoreError::Misconfigured {
            what: format!("the URL of shard {name} ({place}) leads to shard {stored}"),
            next: format!(
                "Put the URLs into the order of their shards, or name this one: --store \
                 {stored}=postgres://…"
            ),
        }),
        _ => Ok(()),
    }
}

fn same_database(one: &Checked<'_>, other: &Checked<'_>) -> StoreError {
    let next = "Give every shard a database of its own. If one was made by copying another's \
                files, make it anew: createdb, then doorbuster project --migrate";
    StoreError::Misconfigured {
        what: format!(
            "the URLs of shards {} ({}) and {} ({}) lead to the same database",
            one.name, one.place, other.name, other.place
        ),
        next: next.into(),
    }
}

fn two_clusters(
    one: &Checked<'_>,
    of_one: StoreIdentity,
    other: &Checked<'_>,
    of_other: StoreIdentity,
) -> StoreError {
    StoreError::Misconfigured {
        what: format!(
            "shard {} ({}) holds results of data directory {}, and shard {} ({}) those of {}",
            one.name,
            one.place,
            words(of_one),
            other.name,
            other.place,
            words(of_other)
        ),
        next: "Correct the URL that leads to another installation's shard".into(),
    }
}

/// An identity as messages spell it.
pub(super) fn words(identity: StoreIdentity) -> String {
    format!("{:016x} with {} partitions", identity.directory, identity.partitions.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shards_that_are_meant_pass() {
        fn standing(id: u8, name: Option<&str>, directory: u64) -> Standing {
            let partitions = PartitionCount::new(4).expect("in range");
            Standing {
                name: name.map(Into::into),
                identity: name.map(|_| StoreIdentity { directory, partitions }),
                ..Standing::unclaimed([id; 16])
            }
        }
        fn check(standings: &[Standing], refusal: Option<&str>) {
            let names = ["a", "b"];
            let checked: Vec<_> = (standings.iter().zip(names))
                .map(|(standing, name)| Checked { name, place: "db:1/x", standing })
                .collect();
            match (super::check(&checked), refusal) {
                (Ok(()), None) => {}
                (Err(error), Some(words)) => {
                    assert!(error.to_string().contains(words), "{error}");
                }
                (result, _) => panic!("{standings:?}: {result:?}, not {refusal:?}"),
            }
        }
        let (fresh, a, b) =
            (standing(1, None, 0), standing(2, Some("a"), 7), standing(3, Some("b"), 7));
        check(&[fresh.clone(), b.clone()], None);
        check(&[a.clone(), b.clone()], None);
        check(&[fresh.clone(), fresh], Some("same database"));
        check(&[a.clone(), a.clone()], Some("same database"));
        check(&[b, a.clone()], Some("leads to shard b"));
        check(&[a, standing(4, Some("b"), 8)], Some("another installation"));
    }
}
