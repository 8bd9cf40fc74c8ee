//! The products of the log against those of every shard.

use super::account::Edition;
use super::comparison::{Comparison, not_the_logs};
use super::entry::Window;
use super::findings::{Check, Divergence};
use super::mends::{Mend, Wrong};
use super::spill::Sorted;
use super::version::Version;
use doorbuster_persistence::ProductRow;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{PartitionId, ProductId, Sequence};
use std::io;

impl Comparison<'_> {
    /// Compares every product of the log and of the shards.
    pub(super) fn products(
        &mut self,
        mut sorted: Sorted<{ Edition::BYTES }>,
        partitions: PartitionCount,
    ) -> io::Result<()> {
        let mut edition = sorted.next()?.map(|bytes| Edition::decode(&bytes));
        loop {
            let stored = self.shards.iter().filter_map(|shard| shard.products.peek());
            let stored = stored.map(|row| row.product).min();
            let logged = edition.as_ref().map(|edition| edition.product);
            let Some(product) = logged.into_iter().chain(stored).min() else { return Ok(()) };
            let partition = partitions.partition_of(product);
            let oldest = self.oldest_checkpoint(partition);
            let mut editions = Vec::new();
            while let Some(this) = edition.take_if(|edition| edition.product == product) {
                // No shard needs more than one that all of them are past.
                if this.since <= oldest {
                    editions.clear();
                }
                editions.push(this);
                edition = sorted.next()?.map(|bytes| Edition::decode(&bytes));
            }
            for shard in 0..self.shards.len() {
                let rows = &mut self.shards[shard].products;
                let is_next = rows.peek().is_some_and(|row| row.product == product);
                let row = if is_next { rows.take()? } else { None };
                self.findings.looked(Check::StoreProducts, u64::from(row.is_some()));
                self.product(shard, partition, product, &editions, row)?;
            }
        }
    }

    fn oldest_checkpoint(&self, partition: PartitionId) -> Sequence {
        let shards = 0..self.shards.len();
        shards.map(|shard| self.window(shard, partition).before).min().unwrap_or_default()
    }

    fn product(
        &mut self,
        shard: usize,
        partition: PartitionId,
        product: ProductId,
        editions: &[Edition],
        row: Option<ProductRow>,
    ) -> io::Result<()> {
        let window = self.window(shard, partition);
        if editions.first().is_some_and(|first| !first.tells_of(window.before)) {
            return Ok(());
        }
        let expected = edition_at(editions, window.after);
        let text = match (&row, expected) {
            (Some(_), None) if editions.is_empty() => "it is in the store only".to_owned(),
            (None, _) if editions.first().is_some_and(|first| first.since <= window.before) => {
                "it is not in the store".to_owned()
            }
            (Some(row), _) if !has_been(editions, row, window) => {
                let expected = expected.or(editions.first());
                let columns = expected.map(|edition| edition.differences(row)).unwrap_or_default();
                not_the_logs(if columns.is_empty() { &["version"] } else { &columns })
            }
            _ => return Ok(()),
        };
        let stored = row.clone().map(Box::new);
        let log = expected.or(editions.first()).map(|edition| edition.row(row.as_ref()));
        let name = self.shards[shard].name.clone();
        self.findings.add(Divergence {
            partition: Some(partition),
            sequence: None,
            product: Some(product),
            log: log.map(Version::from),
            store: row.map(Version::from),
            ..Divergence::in_store(Check::StoreProducts, name, text)
        });
        let what = match (editions, stored) {
            ([], Some(stored)) => Wrong::NoProduct(stored),
            (_, stored) => Wrong::Product(editions.to_vec(), stored),
        };
        self.mends.push(&Mend { shard: shard as u16, partition, what })
    }
}

/// The edition after event `at`.
pub(super) fn edition_at(editions: &[Edition], at: Sequence) -> Option<&Edition> {
    editions.iter().take_while(|edition| edition.since <= at).last()
}

/// Whether some event of the window, or the row's own version, left the product as the row has it.
fn has_been(editions: &[Edition], row: &ProductRow, window: Window) -> bool {
    editions.iter().enumerate().any(|(index, edition)| {
        let until = editions.get(index + 1).map(|next| next.since);
        let is_in_window =
            edition.since <= window.after && until.is_none_or(|until| until > window.before);
        let is_ahead = edition.since > window.after && row.version == edition.version;
        (is_in_window || is_ahead) && edition.differences(row).is_empty()
    })
}
