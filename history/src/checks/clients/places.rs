//! The places that orders were told to have on the waitlist.
//!
//! An order's place is one more than those that came before it and still wait; it only ever
//! improves. So a place that was told is in order when it lies between the places at the two ends of
//! the time in which it was told. All of them are counted together, along the log, with a tree of
//! sums over everybody who ever waited.

use super::Case;
use crate::books::ProductNumber;
use crate::ids::{OrderId, Position};
use crate::verdict::{Findings, Kind};
use std::collections::BTreeMap;

/// A place that an operation was told, between two events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) operation: u64,
    pub(super) product: ProductNumber,
    pub(super) order: OrderId,
    /// Its number among all that ever waited.
    pub(super) turn: u32,
    pub(super) told: u32,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Sums of the first entries of a list that changes (a Fenwick tree).
struct Sums(Vec<u32>);

impl Sums {
    fn add(&mut self, index: usize, value: i32) {
        let mut at = index + 1;
        while at < self.0.len() {
            self.0[at] = self.0[at].wrapping_add_signed(value);
            at += at & at.wrapping_neg();
        }
    }
    /// The sum of the entries before `index`.
    fn before(&self, index: usize) -> u32 {
        let (mut at, mut sum) = (index, 0);
        while at > 0 {
            sum += self.0[at];
            at &= at - 1;
        }
        sum
    }
}

pub(super) fn check(case: Case<'_>, places: Vec<Place>, found: &mut Findings) {
    let mut by_product: BTreeMap<ProductNumber, Vec<Place>> = BTreeMap::new();
    for place in places {
        by_product.entry(place.product).or_default().push(place);
    }
    for (product, places) in by_product {
        check_product(case, product, &places, found);
    }
}

fn check_product(case: Case<'_>, product: ProductNumber, places: &[Place], found: &mut Findings) {
    let book = &case.books.products[product as usize];
    // Everybody comes and goes, and after that is asked who is still there.
    let mut moves: Vec<(u64, usize, i32)> = Vec::with_capacity(2 * book.turns.len());
    for (index, turn) in book.turns.iter().enumerate() {
        moves.push((turn.came, index, 1));
        if turn.left != u64::MAX {
            moves.push((turn.left, index, -1));
        }
    }
    moves.sort_unstable();
    let mut asked: Vec<(u64, usize, bool)> = Vec::with_capacity(2 * places.len());
    for (index, place) in places.iter().enumerate() {
        asked.push((place.first, index, true));
        asked.push((place.last, index, false));
    }
    asked.sort_unstable();
    let mut sums = Sums(vec![0; book.turns.len() + 1]);
    let mut moves = moves.into_iter().peekable();
    let mut at = vec![(0, 0); places.len()];
    for (sequence, index, is_first) in asked {
        while let Some((_, turn, value)) = moves.next_if(|(when, ..)| *when <= sequence) {
            sums.add(turn, value);
        }
        let place = sums.before(places[index].turn as usize) + 1;
        if is_first {
            at[index].0 = place;
        } else {
            at[index].1 = place;
        }
    }
    for (place, (first, last)) in places.iter().zip(at) {
        if (last..=first).contains(&place.told) {
            continue;
        }
        let Place { operation, order, told, .. } = *place;
        let events = [place.first, place.last]
            .map(|sequence| Position { partition: book.first.partition, sequence });
        let what = format!("operation {operation} was told that order {order} is number {told}");
        let why =
            format!("it was number {first} at event {} and {last} at {}", events[0], events[1]);
        found.add(Kind::StaleRead, &[operation], &events, (what, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_a_list() {
        let mut list = [0i32; 37];
        let mut sums = Sums(vec![0; 38]);
        for step in 0..500usize {
            let index = step * 7 % 37;
            let value = if list[index] == 0 { 1 } else { -1 };
            list[index] += value;
            sums.add(index, value);
            let upto = step * 11 % 38;
            assert_eq!(sums.before(upto) as i32, list[..upto].iter().sum::<i32>());
        }
    }
}
