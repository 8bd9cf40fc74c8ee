//! Which shard is asked for which bucket, from what the shards say of themselves and, for those that
//! say nothing yet, from the configuration. Pure: no database is asked here.

use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::identity::Standing;
use doorbuster_protocol::limits::BUYER_BUCKETS;

/// What is known of a shard.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    /// Its name.
    pub(super) name: String,
    /// What the configuration gives it at its first claim.
    pub(super) share: BucketSet,
    /// What it says of itself; `None` while it is away and never was asked.
    pub(super) standing: Option<Standing>,
}

/// Whose each bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deal {
    /// What each shard is asked for, and given when it is claimed now.
    pub(super) buckets: Vec<BucketSet>,
    /// What nobody has.
    pub(super) missing: BucketSet,
    /// What those that are away are asked for only because nobody who answers has it: a peer may.
    pub(super) presumed: BucketSet,
}

impl Deal {
    /// The shard of a bucket.
    pub(super) fn owner_of(&self, bucket: u16) -> Option<usize> {
        self.buckets.iter().position(|buckets| buckets.contains(bucket))
    }
}

/// Deals the buckets out: first what claimed shards own, then the shares of those that are not
/// claimed yet, then what is left to those that are away.
pub(super) fn deal(seats: &[Seat]) -> Result<Deal, StoreError> {
    let mut buckets = vec![BucketSet::NONE; seats.len()];
    let mut taken = BucketSet::NONE;
    let standing = |index: usize| seats[index].standing.as_ref();
    let is_claimed = |index: &usize| standing(*index).is_some_and(Standing::is_claimed);
    let mut claimed: Vec<_> = (0..seats.len()).filter(is_claimed).collect();
    // Where a move was interrupted and two own a bucket, the one with the newer map has it.
    let version = |index: usize| standing(index).map_or(0, |standing| standing.map_version);
    claimed.sort_by_key(|index| std::cmp::Reverse(version(*index)));
    for (place, index) in claimed.iter().enumerate() {
        let owned = seats[*index].standing.as_ref().map_or(BucketSet::NONE, |seat| seat.buckets);
        for other in &claimed[..place] {
            let both = buckets[*other].intersection(&owned);
            if !both.is_empty() && version(*other) == version(*index) {
                return Err(owned_twice(&seats[*other].name, &seats[*index].name, &both));
            }
        }
        buckets[*index] = owned.difference(&taken);
        taken = taken.union(&owned);
    }
    let mut presumed = BucketSet::NONE;
    for is_away in [false, true] {
        for (index, seat) in seats.iter().enumerate().filter(|(index, _)| !is_claimed(index)) {
            if seat.standing.is_none() == is_away {
                buckets[index] = seat.share.difference(&taken);
                taken = taken.union(&seat.share);
                if is_away {
                    presumed = presumed.union(&buckets[index]);
                }
            }
        }
    }
    let mut missing = BucketSet::ALL.difference(&taken);
    // What nobody else has, one that is away must have: asking there answers that it is away.
    if let Some(index) = seats.iter().position(|seat| seat.standing.is_none()) {
        buckets[index] = buckets[index].union(&missing);
        presumed = presumed.union(&std::mem::replace(&mut missing, BucketSet::NONE));
    }
    Ok(Deal { buckets, missing, presumed })
}

/// The shard of each bucket, for looking it up.
pub(super) fn index(deal: &Deal) -> Vec<Option<usize>> {
    (0..BUYER_BUCKETS).map(|bucket| deal.owner_of(bucket)).collect()
}

fn owned_twice(one: &str, other: &str, both: &BucketSet) -> StoreError {
    StoreError::Misconfigured {
        what: format!("shards {one} and {other} of the store both own buckets {both}"),
        next: "One of them is a copy of another, or was restored from an old backup: name the \
               shard whose rows are right, and audit it"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreIdentity;
    use doorbuster_protocol::routing::PartitionCount;

    fn set(text: &str) -> BucketSet {
        text.parse().expect("buckets")
    }

    fn unclaimed(share: &str) -> Seat {
        let standing = Some(Standing::unclaimed([0; 16]));
        Seat { name: "u".into(), share: set(share), standing }
    }

    fn away(share: &str) -> Seat {
        Seat { name: "a".into(), share: set(share), standing: None }
    }

    fn claimed(share: &str, owned: &str, map_version: i64) -> Seat {
        let partitions = PartitionCount::new(4).expect("in range");
        let standing = Standing {
            identity: Some(StoreIdentity { directory: 1, partitions }),
            buckets: set(owned),
            map_version,
            ..Standing::unclaimed([0; 16])
        };
        Seat { name: "c".into(), share: set(share), standing: Some(standing) }
    }

    #[test]
    fn buckets_are_dealt_to_those_who_have_them() {
        fn check(what: &str, seats: &[Seat], dealt: &[&str], missing: &str) {
            let deal = deal(seats).expect(what);
            let buckets: Vec<_> = deal.buckets.iter().map(ToString::to_string).collect();
            assert_eq!(
                (buckets, deal.missing.to_string()),
                (owned(dealt), missing.into()),
                "{what}"
            );
        }
        fn owned(dealt: &[&str]) -> Vec<String> {
            dealt.iter().map(ToString::to_string).collect()
        }
        let (low, high) = ("0-511", "512-1023");
        check("new", &[unclaimed(low), unclaimed(high)], &[low, high], "none");
        check("away", &[unclaimed(low), away(high)], &[low, high], "none");
        check("claimed", &[claimed(low, low, 0), claimed(high, high, 0)], &[low, high], "none");
        let joins = [claimed("0-341", low, 0), claimed("342-682", high, 0), unclaimed("683-1023")];
        check("a spare", &joins, &[low, high, "none"], "none");
        let lost = [claimed(low, low, 0), unclaimed(high)];
        check("one was replaced", &lost, &[low, high], "none");
        let moved = [claimed(low, "0-255", 1), claimed(high, high, 0)];
        check("a peer has some", &moved, &["0-255", high], "256-511");
        let moved_away = [claimed(low, "0-255", 1), away(high)];
        check("the one that is away has more", &moved_away, &["0-255", "256-1023"], "none");
        let interrupted = [claimed(low, low, 3), claimed(high, "256-1023", 4)];
        check("an interrupted move", &interrupted, &["0-255", "256-1023"], "none");
    }

    #[test]
    fn two_owners_of_one_version_are_refused() {
        let seats = [claimed("0-511", "0-511", 2), claimed("512-1023", "500-1023", 2)];
        let error = deal(&seats).expect_err("both own 500-511").to_string();
        assert!(error.contains("500-511"), "{error}");
    }
}
