//! Tests that every store must pass, as a function that any of them can be run through.
//!
//! ```no_run
//! # use doorbuster_persistence::{conformance, SqliteStore, Store};
//! # use std::sync::Arc;
//! # async fn check() {
//! let fresh = || {
//!     let path = std::env::temp_dir().join("some-fresh.db");
//!     let open: conformance::Open = Box::new(move || {
//!         let path = path.clone();
//!         Box::pin(async move { Ok(Arc::new(SqliteStore::open(path)?) as Arc<dyn Store>) })
//!     });
//!     open
//! };
//! conformance::run(fresh, 42).await;
//! # }
//! ```
//!
//! Everything here panics on the first divergence, with the seed where chance had a hand.

mod cases;
mod history;
mod model;
mod pages;
mod repairs;
mod shards;
mod versions;

pub use history::{History, Step, batches};
pub use model::{Model, defined};
pub use shards::{
    checkpoints, claim, dead_letters, scan_orders, scan_products, share, write, write_each,
};

use crate::store::{Store, StoreFuture, StoreIdentity};
use doorbuster_protocol::PartitionId;
use doorbuster_protocol::routing::PartitionCount;
use std::sync::Arc;

/// Opens one and the same data, again and again.
pub type Open = Box<dyn Fn() -> StoreFuture<'static, Arc<dyn Store>>>;

/// Partitions of the stores that are tested.
const PARTITIONS: u16 = 4;

/// Runs every test, each on a store of its own that `fresh` gives. `seed` drives the random ones.
pub async fn run(mut fresh: impl FnMut() -> Open, seed: u64) {
    println!("conformance, seed {seed}");
    cases::claims(&fresh()).await;
    cases::a_batch_is_written_once(&fresh()).await;
    cases::a_refused_batch_leaves_nothing(&fresh()).await;
    cases::an_older_epoch_is_fenced(&fresh()).await;
    cases::poison_becomes_dead_letters(&fresh()).await;
    cases::statuses_follow_the_order_of_life(&fresh()).await;
    cases::catalog_and_definition_in_either_order(&fresh()).await;
    cases::what_is_written_survives_reopening(&fresh()).await;
    cases::a_batch_for_other_buckets_is_refused(&fresh()).await;
    versions::changes_that_a_row_has_already_are_skipped(&fresh(), seed).await;
    repairs::a_repair_sets_everything_right(&fresh(), seed).await;
    repairs::a_repair_for_another_checkpoint_is_refused(&fresh()).await;
    pages::orders_page_newest_first(&fresh(), seed).await;
    pages::products_page_newest_first(&fresh(), seed).await;
    pages::scans_give_everything_once(&fresh(), seed).await;
    history::random_histories_match_the_model(&fresh(), seed).await;
}

/// The identity of the stores that are tested.
fn identity() -> StoreIdentity {
    let partitions = PartitionCount::new(PARTITIONS).expect("the count is in range");
    StoreIdentity { directory: 0xD00B_0057_0000_0001, partitions }
}

fn partition(number: u16) -> PartitionId {
    PartitionId::new(number).expect("the number is in range")
}

/// A store that is bound to [`identity`].
async fn claimed(open: &Open) -> Arc<dyn Store> {
    let store = open().await.expect("the store opens");
    claim(&*store, identity()).await.expect("a fresh store can be claimed");
    store
}
