//! How many connections each client address has open, over all threads of an edge.

use crate::config::AddressLimit;
use crate::middleware::rate_limit::source_of;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Parts of the table, so that threads seldom meet.
const PARTS: usize = 16;

/// The connections of each address. A lock, because threads share an address's connections; it is
/// taken when one opens and when it closes, and never on the way of a request.
#[derive(Debug)]
pub(crate) struct Addresses {
    limit: AddressLimit,
    open: [Mutex<HashMap<u128, u32>>; PARTS],
}

/// The place of one connection, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat(Option<(Arc<Addresses>, u128)>);

/// The address has as many connections as it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crowded {
    pub(crate) most: u32,
}

impl Addresses {
    pub(crate) fn new(limit: AddressLimit) -> Arc<Self> {
        Arc::new(Self { limit, open: Default::default() })
    }

    /// A place for one more connection of `address`.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Seat, Crowded> {
        let Some(most) = self.limit.of(address) else { return Ok(Seat(None)) };
        let source = source_of(address);
        let mut part = self.part(source).lock().unwrap_or_else(PoisonError::into_inner);
        let open = part.entry(source).or_insert(0);
        if *open >= most {
            return Err(Crowded { most });
        }
        *open += 1;
        Ok(Seat(Some((Arc::clone(self), source))))
    }

    fn part(&self, source: u128) -> &Mutex<HashMap<u128, u32>> {
        // The bits in which addresses differ: the last of IPv4, those before the 64th of IPv6.
        &self.open[((source >> 64) ^ source) as usize % PARTS]
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some((addresses, source)) = self.0.take() else { return };
        let mut part = addresses.part(source).lock().unwrap_or_else(PoisonError::into_inner);
        let open = part.get_mut(&source).expect("who has a seat is counted");
        *open -= 1;
        if *open == 0 {
            part.remove(&source);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_seats() {
        let check = |limit: AddressLimit, address: &str, neighbour: &str, seats: Option<u32>| {
            let (address, neighbour) = (address.parse().unwrap(), neighbour.parse().unwrap());
            let addresses = Addresses::new(limit);
            let most = seats.unwrap_or(5_000);
            let mut taken: Vec<Seat> =
                (0..most).map(|_| addresses.enter(address).unwrap()).collect();
            match seats {
                None => drop(addresses.enter(address).unwrap()),
                Some(most) => {
                    assert_eq!(addresses.enter(address).unwrap_err(), Crowded { most });
                    drop(addresses.enter(neighbour).unwrap());
                    drop(taken.pop());
                    drop(addresses.enter(address).unwrap());
                }
            }
            drop(taken);
            let counted = addresses.open.iter().map(|part| part.lock().unwrap().len());
            assert_eq!(counted.sum::<usize>(), 0, "{address}: nobody is left in the table");
        };
        let auto = Some(AddressLimit::AUTO);
        check(AddressLimit::Auto, "203.0.113.7", "203.0.113.8", auto);
        check(AddressLimit::Auto, "127.0.0.1", "127.0.0.2", None);
        check(AddressLimit::Auto, "::1", "::2", None);
        check(AddressLimit::Each(3), "127.0.0.1", "127.0.0.2", Some(3));
        check(AddressLimit::Each(3), "2001:db8::1", "2001:db8:0:1::1", Some(3));
        check(AddressLimit::Off, "203.0.113.7", "203.0.113.8", None);
    }

    #[test]
    fn an_address_is_one_however_it_is_written() {
        let addresses = Addresses::new(AddressLimit::Each(1));
        let _seat = addresses.enter("203.0.113.7".parse().unwrap()).unwrap();
        assert!(addresses.enter("::ffff:203.0.113.7".parse().unwrap()).is_err());
        let _seat = addresses.enter("2001:db8::1".parse().unwrap()).unwrap();
        // One customer has 64 bits to himself.
        assert!(addresses.enter("2001:db8::ffff:1".parse().unwrap()).is_err());
    }
}
