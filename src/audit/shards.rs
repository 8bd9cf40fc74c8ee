//! The store as it was read: the rows of each shard, and where the shard stood before and after.
//!
//! A live store moves while it is read. So each shard's checkpoints are read before and after its
//! rows, and a row must stand as the log had it at some event in between. The rows wait in temporary
//! files until the log has been read, which is read last: so it has everything that a row can have.

use super::entry::Window;
use super::letters::Letters;
use super::no_room;
use super::row_bytes::Row;
use super::spool::{Spool, Spooled};
use crate::exit::{Exit, Failure};
use crate::roles;
use doorbuster_engine::directory::DataDirectory;
use doorbuster_persistence::store::PAGE_ROWS_MAX;
use doorbuster_persistence::{
    BucketSet, DeadLetter, OrderRow, ProductRow, Shard, Store, StoreError, StoreIdentity,
};
use doorbuster_protocol::record::Reader;
use doorbuster_protocol::{PartitionId, Sequence};
use std::io;
use std::sync::Arc;

/// Readings that were begun anew because buckets went to another shard meanwhile, before giving up.
const ATTEMPTS_MAX: u32 = 5;
/// Dead letters of a shard whose rows are looked up; those past it are only counted.
const LETTERS_KEPT_MAX: usize = 100_000;

/// A shard as it was read.
pub(super) struct ShardRows {
    pub(super) shard: Arc<dyn Shard>,
    pub(super) name: String,
    pub(super) buckets: BucketSet,
    /// Buckets whose rows may stand here though another shard owns them.
    pub(super) in_transit: BucketSet,
    /// Where it stood, for each partition.
    pub(super) windows: Vec<Window>,
    pub(super) orders: Cursor<OrderRow>,
    pub(super) order_count: u64,
    pub(super) products: Cursor<ProductRow>,
    pub(super) product_count: u64,
    /// The first of its dead letters.
    pub(super) letters: Vec<DeadLetter>,
    pub(super) letter_count: u64,
}

/// What there is of a store.
pub(super) enum Reading {
    /// No projector has filled it yet.
    Empty,
    /// Its shards, and the names of those that no projector has filled yet.
    Shards(Vec<ShardRows>, Vec<String>),
}

/// Reads every shard.
pub(super) fn read(
    store: &dyn Store,
    directory: &DataDirectory,
    letters: &mut Letters,
) -> Result<Reading, Failure> {
    let runtime = roles::runtime();
    let identity = StoreIdentity { directory: directory.id(), partitions: directory.partitions() };
    for _ in 0..ATTEMPTS_MAX {
        let reading = runtime.block_on(read_once(store, identity)).map_err(Trouble::failure)?;
        if let Some(reading) = reading {
            if let Reading::Shards(shards, _) = &reading {
                let all = shards.iter().flat_map(|shard| &shard.letters);
                all.for_each(|letter| letters.ask(letter.partition, letter.sequence));
            }
            return Ok(reading);
        }
    }
    Err(Failure::new(Exit::Failure, "the store cannot be audited now")
        .why("buckets went from one shard to another each time that it was read")
        .next("audit it when they have been moved"))
}

/// Why a shard could not be read.
pub(super) enum Trouble {
    Store(StoreError),
    Room(io::Error),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Room(error)
    }
}

impl Trouble {
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::Store(error) => roles::store::failure(&error),
            Self::Room(error) => no_room(&error),
        }
    }
}

/// `None` when buckets moved meanwhile.
async fn read_once(store: &dyn Store, identity: StoreIdentity) -> Result<Option<Reading>, Trouble> {
    store.refresh().await?;
    let shards = store.shards();
    let owned = |shards: &[Arc<dyn Shard>]| -> Vec<_> {
        shards.iter().map(|shard| (shard.name().to_owned(), shard.buckets())).collect()
    };
    let before = owned(&shards);
    let (mut read, mut unclaimed) = (Vec::new(), Vec::new());
    for shard in shards {
        match shard.identity().await? {
            None => unclaimed.push(shard.name().to_owned()),
            Some(found) if found == identity => {
                read.push(read_shard(shard, identity).await?);
            }
            Some(found) => {
                let (stored, given) = (found.directory, identity.directory);
                let (stored, given) = (format!("{stored:016x}"), format!("{given:016x}"));
                return Err(StoreError::Foreign { stored, given }.into());
            }
        }
    }
    if read.is_empty() {
        return Ok(Some(Reading::Empty));
    }
    store.refresh().await?;
    // A move may have begun or ended meanwhile.
    for shard in &mut read {
        shard.in_transit = shard.in_transit.union(&shard.shard.in_transit());
    }
    Ok((owned(&store.shards()) == before).then_some(Reading::Shards(read, unclaimed)))
}

async fn read_shard(shard: Arc<dyn Shard>, identity: StoreIdentity) -> Result<ShardRows, Trouble> {
    let partitions: Vec<_> = identity.partitions.all().collect();
    let in_transit = shard.in_transit();
    let before = checkpoints(shard.as_ref(), &partitions).await?;
    let orders = spool_orders(shard.as_ref()).await?;
    let products = spool_products(shard.as_ref()).await?;
    let (letters, letter_count) = dead_letters(shard.as_ref()).await?;
    let after = checkpoints(shard.as_ref(), &partitions).await?;
    let windows = before.into_iter().zip(after);
    Ok(ShardRows {
        name: shard.name().to_owned(),
        buckets: shard.buckets(),
        in_transit,
        windows: windows.map(|(before, after)| Window { before, after }).collect(),
        order_count: orders.len(),
        orders: Cursor::new(orders.finish()?)?,
        product_count: products.len(),
        products: Cursor::new(products.finish()?)?,
        letters,
        letter_count,
        shard,
    })
}

/// The checkpoint of each partition.
async fn checkpoints(
    shard: &dyn Shard,
    partitions: &[PartitionId],
) -> Result<Vec<Sequence>, StoreError> {
    let mut sequences = vec![None; partitions.len()];
    for checkpoint in shard.checkpoints().await? {
        if let Some(place) = sequences.get_mut(checkpoint.partition.index()) {
            *place = Some(checkpoint.sequence);
        }
    }
    let both = sequences.into_iter().zip(partitions);
    both.map(|(sequence, partition)| {
        sequence.ok_or(StoreError::NoCheckpoint { partition: *partition })
    })
    .collect()
}

async fn spool_orders(shard: &dyn Shard) -> Result<Spool, Trouble> {
    let (mut spool, mut bytes, mut last) = (Spool::new()?, Vec::new(), None);
    loop {
        let page = shard.scan_orders(None, last, PAGE_ROWS_MAX).await?;
        if page.is_empty() {
            return Ok(spool);
        }
        for row in &page {
            in_order(last < Some(row.order), shard)?;
            last = Some(row.order);
            bytes.clear();
            row.encode(&mut bytes);
            spool.push(&bytes)?;
        }
    }
}

async fn spool_products(shard: &dyn Shard) -> Result<Spool, Trouble> {
    let (mut spool, mut bytes, mut last) = (Spool::new()?, Vec::new(), None);
    loop {
        let page = shard.scan_products(last, PAGE_ROWS_MAX).await?;
        if page.is_empty() {
            return Ok(spool);
        }
        for row in &page {
            in_order(last < Some(row.product), shard)?;
            last = Some(row.product);
            bytes.clear();
            row.encode(&mut bytes);
            spool.push(&bytes)?;
        }
    }
}

fn in_order(is_so: bool, shard: &dyn Shard) -> Result<(), StoreError> {
    if is_so {
        return Ok(());
    }
    let why = format!("a scan of shard {} is not in the order of ids", shard.name());
    Err(StoreError::Damaged { why })
}

/// The first dead letters, and how many there are.
async fn dead_letters(shard: &dyn Shard) -> Result<(Vec<DeadLetter>, u64), StoreError> {
    let (mut letters, mut count, mut last) = (Vec::new(), 0, None);
    loop {
        let page = shard.dead_letters(last, PAGE_ROWS_MAX).await?;
        let Some(newest) = page.last() else { return Ok((letters, count)) };
        last = Some((newest.partition, newest.sequence, newest.line));
        count += page.len() as u64;
        let room = LETTERS_KEPT_MAX - letters.len();
        letters.extend(page.into_iter().take(room));
    }
}

/// The rows of a shard in the order of their ids.
pub(super) struct Cursor<R> {
    spooled: Spooled,
    next: Option<R>,
}

impl<R: Row> Cursor<R> {
    fn new(spooled: Spooled) -> io::Result<Self> {
        let mut cursor = Self { spooled, next: None };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Of rows at hand.
    #[cfg(test)]
    pub(super) fn of(rows: &[R]) -> io::Result<Self> {
        let mut spool = Spool::new()?;
        for row in rows {
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            spool.push(&bytes)?;
        }
        Self::new(spool.finish()?)
    }

    /// The row that comes next.
    pub(super) fn peek(&self) -> Option<&R> {
        self.next.as_ref()
    }

    /// Takes the row that comes next.
    pub(super) fn take(&mut self) -> io::Result<Option<R>> {
        let row = self.next.take();
        self.advance()?;
        Ok(row)
    }

    fn advance(&mut self) -> io::Result<()> {
        self.next = match self.spooled.next()? {
            Some(bytes) => Some(R::decode(&mut Reader::new(bytes)).map_err(io::Error::other)?),
            None => None,
        };
        Ok(())
    }
}
