//! "Sold out": too few units were free, or somebody waited already; and whoever would have waited
//! found no place.

use super::{Wanted, unjustified};
use crate::books::product::{Level, ProductBook};
use crate::books::{Books, ProductNumber};
use crate::checks::clients::sweep::Judged;
use crate::checks::clients::window::Window;
use std::collections::HashMap;

/// For every product that somebody was refused: how many units could be had at once, over time.
pub(super) struct SoldOut<'a> {
    books: &'a Books,
    by_product: HashMap<(ProductNumber, bool), Least>,
}

impl<'a> SoldOut<'a> {
    pub(super) fn new(books: &'a Books) -> Self {
        Self { books, by_product: HashMap::new() }
    }

    pub(super) fn judge(
        &mut self,
        product: ProductNumber,
        wanted: Wanted,
        window: Window,
    ) -> Judged {
        let book = &self.books.products[product as usize];
        let least = self.by_product.entry((product, wanted.waitlist)).or_insert_with(|| {
            let free = |level: &Level| free_for(book, level, wanted.waitlist);
            Least::of(book.levels.iter().map(free))
        });
        let first = book.level_at(window.first).unwrap_or(0);
        let found = least.first_below(first, wanted.quantity).map(|index| &book.levels[index]);
        if let Some(level) = found.filter(|level| level.sequence <= window.last) {
            return Judged::At(window.at(window.first.max(level.sequence)));
        }
        let Level { available, waiting, edition, .. } = book.levels[first];
        let capacity = book.editions[edition as usize].terms.waitlist_capacity;
        let why = format!(
            "at the first {available} units were free, {waiting} orders of {capacity} waited, and \
             it was sold out at no time after"
        );
        unjustified(window, &why)
    }
}

/// Units that somebody can have at once; no end of them for those who find a place to wait.
fn free_for(book: &ProductBook, level: &Level, waitlist: bool) -> u32 {
    let capacity = book.editions[level.edition as usize].terms.waitlist_capacity;
    if waitlist && level.waiting < capacity {
        u32::MAX
    } else if level.waiting > 0 {
        0
    } else {
        u32::try_from(level.available.max(0)).unwrap_or(u32::MAX)
    }
}

/// A list that can be asked where from an index on it is below a value first: a tree of minima.
struct Least {
    tree: Vec<u32>,
    leaves: usize,
}

impl Least {
    fn of(values: impl ExactSizeIterator<Item = u32>) -> Self {
        let leaves = values.len().next_power_of_two();
        let mut tree = vec![u32::MAX; 2 * leaves];
        for (index, value) in values.enumerate() {
            tree[leaves + index] = value;
        }
        for node in (1..leaves).rev() {
            tree[node] = tree[2 * node].min(tree[2 * node + 1]);
        }
        Self { tree, leaves }
    }

    /// The first index from `from` on whose value is below `bound`.
    fn first_below(&self, from: usize, bound: u32) -> Option<usize> {
        if from >= self.leaves {
            return None;
        }
        let mut node = self.leaves + from;
        // Up to the right, until some subtree has one; then down to its first.
        while self.tree[node] >= bound {
            while node % 2 == 1 {
                node /= 2;
            }
            if node == 0 {
                return None;
            }
            node += 1;
        }
        while node < self.leaves {
            node = if self.tree[2 * node] < bound { 2 * node } else { 2 * node + 1 };
        }
        Some(node - self.leaves)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_below_is_found() {
        let mut random = fastrand::Rng::with_seed(7);
        for count in [0, 1, 2, 3, 8, 33] {
            let list: Vec<u32> = (0..count).map(|_| random.u32(0..10)).collect();
            let least = Least::of(list.iter().copied());
            for from in 0..count + 2 {
                for bound in 0..11 {
                    let found = (from..count).find(|index| list[*index] < bound);
                    assert_eq!(least.first_below(from, bound), found, "{list:?} {from} {bound}");
                }
            }
        }
    }
}
