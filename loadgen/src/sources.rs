//! Addresses of this machine that connections come from.
//!
//! A connection is told apart by both its ends, and one address has some 28 000 ports to connect
//! from. All of 127.0.0.0/8 is this machine, so with more addresses there are more connections; and a
//! server that counts connections by address sees several clients instead of one.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// The first of the addresses that are taken when only their number is given. 127.0.0.1 is left to
/// others.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
/// The most addresses; that is connections enough for anything.
const COUNT_MAX: u32 = 65_536;

/// Loopback addresses in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    first: Ipv4Addr,
    count: u32,
}

impl Sources {
    /// Reads `8` (so many addresses), `127.0.0.2-127.0.0.9` or `127.0.1.0/24`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{text}` are no source addresses: {why}");
        let form = "write a number, FIRST-LAST or ADDRESS/BITS, such as 8 or 127.0.0.2-127.0.0.9";
        let address = |text: &str| text.trim().parse::<Ipv4Addr>().map_err(|_| wrong(form));
        let (first, count) = if let Some((first, last)) = text.split_once('-') {
            let (first, last) = (address(first)?, address(last)?);
            let beyond = u64::from(last.to_bits()) + 1;
            (first, beyond.saturating_sub(first.to_bits().into()))
        } else if let Some((network, bits)) = text.split_once('/') {
            let bits = bits.trim().parse::<u32>().ok().filter(|bits| *bits <= 32);
            let bits = bits.ok_or_else(|| wrong(form))?;
            let size = 1u64 << (32 - bits);
            let first = u64::from(address(network)?.to_bits()) & !(size - 1);
            (Ipv4Addr::from_bits(first as u32), size)
        } else {
            (FIRST, text.trim().parse::<u64>().map_err(|_| wrong(form))?)
        };
        let count = u32::try_from(count).ok().filter(|count| (1..=COUNT_MAX).contains(count));
        let count = count.ok_or_else(|| wrong("there may be 1 to 65 536 of them"))?;
        let last = first.to_bits().checked_add(count - 1).map(Ipv4Addr::from_bits);
        if !first.is_loopback() || !last.is_some_and(|last| last.is_loopback()) {
            return Err(wrong("only those of this machine, 127.0.0.0/8, can be taken"));
        }
        Ok(Self { first, count })
    }

    /// The address of a connection of this number: round and round.
    pub(crate) fn at(&self, number: usize) -> IpAddr {
        let offset = (number as u64 % u64::from(self.count)) as u32;
        IpAddr::V4(Ipv4Addr::from_bits(self.first.to_bits() + offset))
    }
}

impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.at(self.count as usize - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_taken_in_turn() {
        let check = |text: &str, want: &str| {
            assert_eq!(
                Sources::parse(text).map(|it| it.to_string()),
                Ok(want.to_owned()),
                "{text}"
            );
        };
        check("1", "127.0.1.1-127.0.1.1");
        check("300", "127.0.1.1-127.0.2.44");
        check("127.0.0.2-127.0.0.9", "127.0.0.2-127.0.0.9");
        check("127.0.3.7/30", "127.0.3.4-127.0.3.7");
        let sources = Sources::parse("127.0.0.2-127.0.0.4").expect("addresses");
        let taken: Vec<String> = (0..4).map(|number| sources.at(number).to_string()).collect();
        assert_eq!(taken, ["127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.2"]);
    }

    #[test]
    fn what_is_not_this_machine_is_refused() {
        for (text, why) in [
            ("0", "1 to 65 536"),
            ("65537", "1 to 65 536"),
            ("127.0.0.9-127.0.0.2", "1 to 65 536"),
            ("127.0.0.0/8", "1 to 65 536"),
            ("10.0.0.1-10.0.0.9", "of this machine"),
            ("127.255.255.250-128.0.0.3", "of this machine"),
            ("255.255.255.255-255.255.255.255", "of this machine"),
            ("127.0.0.1/33", "write a number"),
            ("some", "write a number"),
            ("", "write a number"),
        ] {
            let error = Sources::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
