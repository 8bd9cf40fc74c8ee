//! `project --move-buckets RANGES --to URL`: buckets of buyers from shard to shard, while sales run.

use super::project::shards;
use crate::config::Config;
use crate::config::stores::NamedUrl;
use crate::exit::{Exit, Failure};
use crate::roles::store;
use doorbuster_persistence::BucketSet;
use doorbuster_persistence::postgres::{
    MoveStep, PostgresOptions, PostgresStore, ShardOptions, WhenAway,
};

/// Moves them, telling each step. It may be broken off and run again at any time.
pub(super) fn run(
    config: &Config,
    key: [u8; 32],
    buckets: BucketSet,
    to: &NamedUrl,
) -> Result<Exit, Failure> {
    let options = PostgresOptions {
        key: Some(key),
        migrate: true,
        away: WhenAway::Refuse,
        ..shards(config, "--move-buckets")?.clone()
    };
    if buckets.is_empty() {
        return Err(Failure::new(Exit::Usage, "no buckets are to be moved")
            .next("write ranges from 0 to 1023, such as --move-buckets 0-255"));
    }
    let to = ShardOptions { name: to.name.clone(), ..ShardOptions::new(to.url.clone()) };
    let moved = PostgresStore::move_buckets(options, buckets, to, &tell)
        .map_err(|error| store::failure(&error))?;
    let text = match moved.from.is_empty() {
        true => format!("buckets {buckets} were on {} already\n", moved.to),
        false => format!(
            "buckets {buckets} are on {} now. If it is new, add it to the configuration of every \
             role, after the others: running ones have found it already\n",
            moved.to
        ),
    };
    super::print(&text)
}

fn tell(step: MoveStep) {
    let text = match step {
        MoveStep::Copied { from, buckets, orders } => {
            format!("{from}: copied {orders} orders of buckets {buckets}")
        }
        MoveStep::CaughtUp { from, changes } => {
            format!("{from}: carried {changes} changes over that came meanwhile")
        }
        MoveStep::Switched { from, held_up } => format!(
            "{from}: switched; results waited for {} ms, sales and queries did not",
            held_up.as_millis()
        ),
        MoveStep::Verified { from, orders } => {
            format!("{from}: verified {orders} orders against the new shard")
        }
        MoveStep::Dropped { from, orders } => format!("{from}: dropped {orders} orders"),
    };
    // A reader that has gone away does not stop a move.
    let _ = super::print(&format!("{text}\n"));
}
