//! Which buyers a shard holds: a set of the 1024 buckets of `routing::bucket_of`.
//!
//! In text it is ranges, `0-255,512`, or `none`; the configuration and the shards themselves spell
//! it so.

use doorbuster_protocol::{OrderId, limits};
use std::fmt;
use std::str::FromStr;

const BUCKETS: u16 = limits::BUYER_BUCKETS;
const WORDS: usize = BUCKETS as usize / 64;

const _: () = assert!(BUCKETS.is_multiple_of(64), "buckets fill whole words");

/// A set of buckets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BucketSet([u64; WORDS]);

impl BucketSet {
    /// No bucket.
    pub const NONE: Self = Self([0; WORDS]);
    /// Every bucket.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// The share of shard `index` of `shards` when buckets are dealt out evenly: runs that follow
    /// each other, whose lengths differ by at most one.
    pub fn share(index: usize, shards: usize) -> Self {
        assert!(index < shards && shards <= usize::from(BUCKETS), "each shard has a bucket");
        let bound = |index: usize| (index * usize::from(BUCKETS) / shards) as u16;
        (bound(index)..bound(index + 1)).collect()
    }

    /// Whether `bucket` is in it. Panics past the last bucket.
    pub fn contains(&self, bucket: u16) -> bool {
        self.0[usize::from(bucket / 64)] >> (bucket % 64) & 1 == 1
    }
    /// Whether the order's buyer is in it.
    pub fn holds(&self, order: OrderId) -> bool {
        self.contains(order.bucket())
    }
    /// Puts `bucket` in. Panics past the last bucket.
    pub fn insert(&mut self, bucket: u16) {
        self.0[usize::from(bucket / 64)] |= 1 << (bucket % 64);
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }
    /// How many there are.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
    /// Its buckets, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..BUCKETS).filter(|bucket| self.contains(*bucket))
    }
    /// What is in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & b)
    }
    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a | b)
    }
    /// What is in this and not in the other.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    fn zip(&self, other: &Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|word| combine(self.0[word], other.0[word])))
    }

    /// Runs of buckets that follow each other, first and last.
    pub fn ranges(&self) -> Vec<(u16, u16)> {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for bucket in self.iter() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == bucket => *last = bucket,
                _ => ranges.push((bucket, bucket)),
            }
        }
        ranges
    }
}

impl FromIterator<u16> for BucketSet {
    fn from_iter<I: IntoIterator<Item = u16>>(buckets: I) -> Self {
        let mut set = Self::NONE;
        buckets.into_iter().for_each(|bucket| set.insert(bucket));
        set
    }
}

impl fmt::Display for BucketSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("none");
        }
        for (index, (first, last)) in self.ranges().into_iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for BucketSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that names no buckets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no buckets: write ranges from 0 to 1023, such as 0-255,512, or `none`")]
pub struct BucketError(String);

impl FromStr for BucketSet {
    type Err = BucketError;

    fn from_str(text: &str) -> Result<Self, BucketError> {
        let text = text.trim();
        if text == "none" {
            return Ok(Self::NONE);
        }
        let bucket = |word: &str| {
            let digits = word.trim();
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<u16> = is_number.then(|| digits.parse().ok()).flatten();
            number.filter(|number| *number < BUCKETS).ok_or_else(|| BucketError(text.to_owned()))
        };
        let mut set = Self::NONE;
        for range in text.split(',') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (bucket(first)?, bucket(last)?);
            if first > last {
                return Err(BucketError(text.to_owned()));
            }
            (first..=last).for_each(|bucket| set.insert(bucket));
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_survives_its_text() {
        fn check(text: &str, len: u32, printed: &str) {
            let set: BucketSet = text.parse().expect("buckets");
            assert_eq!((set.len(), set.to_string().as_str()), (len, printed), "{text}");
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        check("none", 0, "none");
        check("0-1023", 1024, "0-1023");
        check("5, 3 ,4,1023", 4, "3-5,1023");
        check("0-255,256-300", 301, "0-300");
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in ["", "1024", "5-3", "0-1024", "a", "1,,2", "-1", "1-", "+1", "0-2-3"] {
            assert_eq!(text.parse::<BucketSet>(), Err(BucketError(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn shares_are_even_and_complete() {
        for shards in [1, 2, 3, 4, 7, 1024] {
            let shares: Vec<_> = (0..shards).map(|i| BucketSet::share(i, shards)).collect();
            let all = shares.iter().fold(BucketSet::NONE, |all, share| {
                assert!(all.intersection(share).is_empty());
                all.union(share)
            });
            assert_eq!(all, BucketSet::ALL);
            let lengths = shares.iter().map(BucketSet::len);
            assert!(lengths.clone().max() <= lengths.min().map(|least| least + 1));
        }
        let (first, half) = (BucketSet::share(0, 4), BucketSet::share(0, 2));
        assert_eq!(half.difference(&first).to_string(), "256-511");
    }
}
