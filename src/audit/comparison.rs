//! The log against the shards, both ways: orders and products side by side in the order of their
//! ids, one at a time.
//!
//! An order belongs to the shard that owns its bucket, a product to every shard. What differs is a
//! divergence, and what of it the log can set right is noted in the [`Mends`].

use super::entry::{Entry, Window};
use super::findings::{Check, Divergence, Findings};
use super::ledger::Books;
use super::letters::{Letters, Subject};
use super::mends::{Mend, Mends, SetBack, Wrong};
use super::orders::Orders;
use super::shards::ShardRows;
use super::version::Version;
use doorbuster_persistence::OrderRow;
use doorbuster_protocol::{OrderId, PartitionId, limits};
use std::io;

/// A comparison in the making.
pub(super) struct Comparison<'a> {
    pub(super) shards: &'a mut [ShardRows],
    pub(super) books: &'a [Books],
    /// The shard that owns each bucket, when it is exactly one.
    owners: Vec<Option<usize>>,
    pub(super) findings: Findings,
    pub(super) mends: Mends,
    /// Orders of the store that are older than the log.
    pub(super) older: u64,
    /// Rows that were passed over, because another shard owns them and they are being moved.
    pub(super) in_transit: u64,
}

impl<'a> Comparison<'a> {
    /// Compares what can be compared without looking at rows: buckets, checkpoints, dead letters.
    pub(super) fn new(
        shards: &'a mut [ShardRows],
        books: &'a [Books],
        letters: &Letters,
    ) -> io::Result<Self> {
        let mut comparison = Self {
            shards,
            books,
            owners: Vec::new(),
            findings: Findings::default(),
            mends: Mends::new()?,
            older: 0,
            in_transit: 0,
        };
        comparison.buckets();
        comparison.checkpoints();
        comparison.dead_letters(letters);
        Ok(comparison)
    }

    /// Compares every order of the log and of the shards.
    pub(super) fn orders(&mut self, log: &mut Orders) -> io::Result<()> {
        let mut entry = log.next()?;
        let mut rows = Vec::new();
        loop {
            let stored = self.shards.iter().filter_map(|shard| shard.orders.peek());
            let stored = stored.map(|row| row.order).min();
            let logged = entry.as_ref().map(|entry| entry.order);
            let Some(order) = logged.into_iter().chain(stored).min() else { return Ok(()) };
            let told = match logged == Some(order) {
                true => std::mem::replace(&mut entry, log.next()?),
                false => None,
            };
            for (index, shard) in self.shards.iter_mut().enumerate() {
                if shard.orders.peek().is_some_and(|row| row.order == order)
                    && let Some(row) = shard.orders.take()?
                {
                    let is_own = shard.buckets.holds(order);
                    match !is_own && shard.in_transit.holds(order) {
                        true => self.in_transit += 1,
                        false => rows.push((index, row)),
                    }
                }
            }
            self.findings.looked(Check::StoreOrders, rows.len() as u64);
            match told {
                Some(entry) => self.order(&entry, &mut rows)?,
                None => self.order_unknown_to_the_log(order, &mut rows)?,
            }
            rows.clear();
        }
    }

    /// An order of the log, and the rows that shards have of it.
    fn order(&mut self, entry: &Entry, rows: &mut Vec<(usize, OrderRow)>) -> io::Result<()> {
        let order = entry.order;
        let Some(home) = self.home_of(order) else {
            for (shard, row) in rows.drain(..) {
                self.content(entry, shard, row)?;
            }
            return Ok(());
        };
        let own = rows.iter().position(|(shard, _)| *shard == home).map(|own| rows.remove(own));
        let is_at_home = own.is_some();
        match own {
            Some((_, row)) => self.content(entry, home, row)?,
            None if entry.created <= self.window(home, order.partition()).before => {
                if rows.is_empty() {
                    let text = "it is not in the store".to_owned();
                    self.order_diverges(home, order, Some(entry), None, text);
                }
                self.mend(home, order, Wrong::Order(Box::new(entry.clone()), None))?;
            }
            None => {}
        }
        for (shard, row) in rows.drain(..) {
            let text = self.says_where(home, shard, is_at_home);
            self.order_diverges(shard, order, Some(entry), Some(row.clone()), text);
            self.mend(shard, order, Wrong::NoOrder(Box::new(row)))?;
        }
        Ok(())
    }

    fn content(&mut self, entry: &Entry, shard: usize, row: OrderRow) -> io::Result<()> {
        let order = entry.order;
        let differences = entry.differences(&row, self.window(shard, order.partition()));
        if differences.is_empty() {
            return Ok(());
        }
        let text = not_the_logs(&differences);
        self.order_diverges(shard, order, Some(entry), Some(row.clone()), text);
        self.mend(shard, order, Wrong::Order(Box::new(entry.clone()), Some(Box::new(row))))
    }

    /// Rows of an order that the log does not have, or does not have any more.
    fn order_unknown_to_the_log(
        &mut self,
        order: OrderId,
        rows: &mut Vec<(usize, OrderRow)>,
    ) -> io::Result<()> {
        let books = self.books.get(order.partition().index()).filter(|_| order.is_sound());
        let is_older = books.is_some_and(|books| order.sequence_bits() < books.first.get());
        if !is_older {
            for (shard, row) in rows.drain(..) {
                let text = "it is in the store only".to_owned();
                self.order_diverges(shard, order, None, Some(row.clone()), text);
                self.mend(shard, order, Wrong::NoOrder(Box::new(row)))?;
            }
            return Ok(());
        }
        self.older += 1;
        let Some(home) = self.home_of(order) else { return Ok(()) };
        let is_at_home = rows.iter().any(|(shard, _)| *shard == home);
        for (shard, row) in rows.drain(..).filter(|(shard, _)| *shard != home) {
            let mut text = self.says_where(home, shard, is_at_home);
            if !is_at_home {
                text.push_str("; the log does not reach back to it, so it has to be moved by hand");
            }
            self.order_diverges(shard, order, None, Some(row.clone()), text);
            if is_at_home {
                self.mend(shard, order, Wrong::NoOrder(Box::new(row)))?;
            }
        }
        Ok(())
    }

    fn says_where(&self, home: usize, shard: usize, is_at_home: bool) -> String {
        let (home, shard) = (&self.shards[home].name, &self.shards[shard].name);
        match is_at_home {
            true => format!("it is on shard {shard}, too; its own shard is {home}"),
            false => format!("it is on shard {shard}; its own shard is {home}, which has it not"),
        }
    }

    fn order_diverges(
        &mut self,
        shard: usize,
        order: OrderId,
        entry: Option<&Entry>,
        row: Option<OrderRow>,
        text: String,
    ) {
        let window = self.window(shard, order.partition());
        let log = entry
            .map(|entry| entry.row_at(window.after).unwrap_or_else(|| entry.row_in(entry.first)));
        let name = self.shards[shard].name.clone();
        self.findings.add(Divergence {
            partition: Some(order.partition()),
            sequence: entry.map(|entry| entry.created),
            order: Some(order),
            log: log.map(Version::from),
            store: row.map(Version::from),
            ..Divergence::in_store(Check::StoreOrders, name, text)
        });
    }

    fn mend(&mut self, shard: usize, order: OrderId, what: Wrong) -> io::Result<()> {
        // A made-up id may name a partition that there is not; any one guards its removal.
        let partition = order.partition();
        let is_known = partition.index() < self.books.len();
        let partition = if is_known { partition } else { self.books[0].partition };
        self.mends.push(&Mend { shard: shard as u16, partition, what })
    }

    fn home_of(&self, order: OrderId) -> Option<usize> {
        self.owners[usize::from(order.bucket())]
    }

    /// Where a shard stood in a partition while it was read.
    pub(super) fn window(&self, shard: usize, partition: PartitionId) -> Window {
        let windows = &self.shards[shard].windows;
        // Only a made-up id names a partition that there is not.
        windows.get(partition.index()).copied().unwrap_or(windows[0])
    }

    fn buckets(&mut self) {
        let mut twice = Vec::new();
        let mut ownerless = Vec::new();
        for bucket in 0..limits::BUYER_BUCKETS {
            let owners = self.shards.iter().enumerate();
            let mut owners = owners.filter(|(_, shard)| shard.buckets.contains(bucket));
            let (first, second) = (owners.next(), owners.next());
            match (first, second) {
                (Some(_), Some(_)) => twice.push(bucket),
                (None, _) => ownerless.push(bucket),
                _ => {}
            }
            let owner = first.filter(|_| second.is_none()).map(|(index, _)| index);
            self.owners.push(owner);
        }
        self.findings.looked(Check::Buckets, u64::from(limits::BUYER_BUCKETS));
        for (buckets, what) in [(twice, "more than one shard owns"), (ownerless, "no shard owns")] {
            if buckets.is_empty() {
                continue;
            }
            let buckets: doorbuster_persistence::BucketSet = buckets.into_iter().collect();
            let text = format!(
                "{what} the buckets {buckets}: name all shards of the store, each once, or finish \
                 moving buckets"
            );
            let divergence = Divergence::in_store(Check::Buckets, String::new(), text);
            self.findings.add(Divergence { shard: None, ..divergence });
        }
    }

    fn checkpoints(&mut self) {
        for (index, shard) in self.shards.iter().enumerate() {
            for (books, window) in self.books.iter().zip(&shard.windows) {
                self.findings.looked(Check::Checkpoints, 1);
                let text = if window.after > books.last {
                    let (from, to) = (window.after, books.last);
                    let (shard, partition) = (index as u16, books.partition);
                    self.mends.checkpoints.push(SetBack { shard, partition, from, to });
                    "the store is ahead of the log: it was filled from another log, or the log lost \
                     its end"
                } else if window.after.next() < books.first {
                    "the store is behind the beginning of the log: what lies between cannot reach it \
                     any more"
                } else {
                    continue;
                };
                self.findings.add(Divergence {
                    partition: Some(books.partition),
                    log: Some(Version::Event(match window.after > books.last {
                        true => books.last,
                        false => books.first,
                    })),
                    store: Some(Version::Event(window.after)),
                    ..Divergence::in_store(Check::Checkpoints, shard.name.clone(), text.to_owned())
                });
            }
        }
    }

    /// What could not be written to the store may be missing in it.
    fn dead_letters(&mut self, letters: &Letters) {
        for shard in self.shards.iter() {
            self.findings.looked(Check::DeadLetters, 1);
            for letter in &shard.letters {
                let subjects = letters.subjects(letter.partition, letter.sequence);
                let subject = subjects.get(letter.line as usize).or(subjects.first());
                let name = shard.name.clone();
                let text = format!("a dead letter: {}", letter.reason);
                let divergence = Divergence::in_store(Check::DeadLetters, name, text);
                self.findings.add(Divergence {
                    partition: Some(letter.partition),
                    sequence: Some(letter.sequence),
                    order: match subject {
                        Some(Subject::Order(order)) => Some(*order),
                        _ => None,
                    },
                    product: match subject {
                        Some(Subject::Product(product)) => Some(*product),
                        _ => None,
                    },
                    store: Some(Version::Letter(letter.change.clone())),
                    ..divergence
                });
            }
            let more = shard.letter_count - shard.letters.len() as u64;
            self.findings.count_more(Check::DeadLetters, more);
        }
    }
}

/// Says which columns differ.
pub(super) fn not_the_logs(columns: &[&str]) -> String {
    match columns {
        [one] => format!("its {one} is not the log's"),
        [first @ .., last] => format!("its {} and {last} are not the log's", first.join(", ")),
        [] => String::new(),
    }
}

#[cfg(test)]
#[path = "comparison_test.rs"]
mod tests;
