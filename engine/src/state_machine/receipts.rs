//! What is kept of an order for its idempotency key when every consumer has the order.
//!
//! Receipts come in the order in which their orders became final, and go in that order when their
//! time is over: a queue of records. Hardly any is looked at in between, because who repeats a
//! request does so within moments. So they are cut into pages, and full pages go to a [`Shelf`]. A page
//! comes back for such a request, for a new key that has 32 bits in common with an old one (the index
//! compares no more), and when its time is over.

use super::order::{Order, RECORD_BYTES};
use doorbuster_protocol::{Timestamp, limits};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;

/// The most bytes of a page.
pub const PAGE_BYTES_MAX: usize = 4096;
/// Records of a page. In tests few, so that there are many pages.
const RECORDS: u64 = if cfg!(test) { 3 } else { (PAGE_BYTES_MAX / RECORD_BYTES) as u64 };
const PAGE_BYTES: usize = RECORDS as usize * RECORD_BYTES;
const _: () = assert!(PAGE_BYTES <= PAGE_BYTES_MAX);

/// Where pages lie that are hardly ever read again. Nothing on it outlives the process.
pub trait Shelf: std::fmt::Debug + Send {
    /// Keeps `page` at `place`. Places are small numbers, used again and again.
    fn put(&mut self, place: u32, page: Vec<u8>);
    /// Reads the page at `place` back into `page`, which is as long. An error says that it is lost.
    fn get(&self, place: u32, page: &mut [u8]) -> io::Result<()>;
    /// The page at `place` is not needed any more.
    fn forget(&mut self, place: u32);
    /// Lets go of memory that is not needed any more. To be called now and then.
    fn settle(&mut self);
}

/// Why a core ends by a panic that is no bug: the shelf has lost what it was given. The log and its
/// snapshots have not, so that a restart mends it; an answer without it would be a guess.
#[derive(Debug)]
pub struct ReceiptsLost(pub io::Error);

/// Memory.
#[derive(Debug, Default)]
struct InMemory(Vec<Vec<u8>>);

impl Shelf for InMemory {
    fn put(&mut self, place: u32, page: Vec<u8>) {
        let place = place as usize;
        self.0.resize_with(self.0.len().max(place + 1), Vec::new);
        self.0[place] = page;
    }
    fn get(&self, place: u32, page: &mut [u8]) -> io::Result<()> {
        page.copy_from_slice(&self.0[place as usize]);
        Ok(())
    }
    fn forget(&mut self, place: u32) {
        self.0[place as usize] = Vec::new();
    }
    fn settle(&mut self) {}
}

/// Which receipt: they are counted as they come, in 31 bits; a partition holds far fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiptNumber(u32);

const NUMBERS: u64 = 1 << 31;
const _: () = assert!((limits::ORDERS_PER_PARTITION_MAX as u64) < NUMBERS);

impl ReceiptNumber {
    fn of(number: u64) -> Self {
        Self((number % NUMBERS) as u32)
    }
    /// From 31 bits.
    pub(super) fn from_bits(bits: u32) -> Self {
        debug_assert!(u64::from(bits) < NUMBERS, "receipts are counted in 31 bits");
        Self(bits)
    }
    pub(super) fn bits(self) -> u32 {
        self.0
    }
}

/// All receipts of a partition, the oldest first.
#[derive(Debug)]
pub(super) struct Receipts {
    shelf: Box<dyn Shelf>,
    /// Where the full pages lie, the oldest first.
    pages: VecDeque<u32>,
    /// Places that were used and are free, in the order in which they came free: then the pages of the
    /// queue lie one behind the other.
    free: VecDeque<u32>,
    /// The number of the first page's first record; without pages, of the tail's.
    begin: u64,
    /// The number of the oldest receipt, which lies in the first page or, without any, in the tail.
    oldest: u64,
    /// The number that the next one gets.
    end: u64,
    /// When the oldest one's order became final.
    oldest_at: Timestamp,
    /// The first page once its receipts go, or nothing.
    head: Vec<u8>,
    /// The last records, fewer than a page.
    tail: Vec<u8>,
}

impl Default for Receipts {
    fn default() -> Self {
        Self::on(Box::new(InMemory::default()))
    }
}

impl Receipts {
    pub(super) fn on(shelf: Box<dyn Shelf>) -> Self {
        Self {
            shelf,
            pages: VecDeque::new(),
            free: VecDeque::new(),
            begin: 0,
            oldest: 0,
            end: 0,
            oldest_at: Timestamp::NONE,
            head: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        (self.end - self.oldest) as usize
    }
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// When the oldest one's order became final; `None` when there is none.
    pub(super) fn oldest_at(&self) -> Option<Timestamp> {
        (!self.is_empty()).then_some(self.oldest_at)
    }

    /// Adds what is kept of an order that became final after all that are here.
    pub(super) fn push(&mut self, order: &Order) -> ReceiptNumber {
        let number = self.end;
        if self.is_empty() {
            self.oldest_at = order.updated_at;
        }
        self.tail.reserve_exact(PAGE_BYTES - self.tail.len());
        order.encode_receipt(&mut self.tail);
        self.end += 1;
        if self.tail.len() == PAGE_BYTES {
            // Where none is free, as many are in use as there are pages.
            let place = self.free.pop_front().unwrap_or(self.pages.len() as u32);
            self.shelf.put(place, std::mem::take(&mut self.tail));
            self.pages.push_back(place);
        }
        ReceiptNumber::of(number)
    }

    /// Takes the oldest one out.
    pub(super) fn pop(&mut self) -> Option<(ReceiptNumber, Order)> {
        if self.is_empty() {
            return None;
        }
        let number = ReceiptNumber::of(self.oldest);
        if self.head.is_empty()
            && let Some(place) = self.pages.front()
        {
            self.head = self.page(*place);
        }
        let order = self.at(self.oldest);
        self.oldest += 1;
        if self.oldest == self.begin + RECORDS
            && let Some(place) = self.pages.pop_front()
        {
            self.shelf.forget(place);
            self.free.push_back(place);
            self.begin = self.oldest;
            self.head = self.pages.front().map_or_else(Vec::new, |next| self.page(*next));
        }
        if self.is_empty() {
            self.begin = self.oldest;
            self.tail.clear();
        } else {
            self.oldest_at = self.at(self.oldest).updated_at;
        }
        Some((number, order))
    }

    /// One that is here. Out of line, because hardly anybody asks, and everybody comes past.
    #[cold]
    pub(super) fn get(&self, number: ReceiptNumber) -> Order {
        let after_oldest = u64::from(number.0).wrapping_sub(self.oldest) % NUMBERS;
        assert!(after_oldest < self.len() as u64, "only receipts that are here are asked for");
        self.at(self.oldest + after_oldest)
    }

    fn at(&self, number: u64) -> Order {
        let (page, index) = ((number - self.begin) / RECORDS, (number - self.begin) % RECORDS);
        let page = match self.pages.get(page as usize) {
            None => Cow::Borrowed(&self.tail),
            Some(_) if page == 0 && !self.head.is_empty() => Cow::Borrowed(&self.head),
            Some(place) => Cow::Owned(self.page(*place)),
        };
        let record = &page.as_chunks().0[index as usize];
        let (order, _) = Order::decode(record).expect("a receipt is an order's record");
        order
    }

    /// Panics with [`ReceiptsLost`].
    fn page(&self, place: u32) -> Vec<u8> {
        self.try_page(place).unwrap_or_else(|error| std::panic::panic_any(ReceiptsLost(error)))
    }

    fn try_page(&self, place: u32) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE_BYTES];
        self.shelf.get(place, &mut page).map(|()| page)
    }

    pub(super) fn settle(&mut self) {
        self.shelf.settle();
    }

    /// Shows every record, the oldest first.
    pub(super) fn try_each<E: From<io::Error>>(
        &self,
        mut see: impl FnMut(ReceiptNumber, &[u8; RECORD_BYTES]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut number = self.begin;
        let pages = self.pages.iter().map(|place| self.try_page(*place).map(Cow::Owned));
        for page in pages.chain([Ok(Cow::Borrowed(&self.tail))]) {
            for record in page?.as_chunks().0 {
                if number >= self.oldest {
                    see(ReceiptNumber::of(number), record)?;
                }
                number += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "receipts_test.rs"]
mod tests;
