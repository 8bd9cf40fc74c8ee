//! The ids of the product names that were asked for of late.
//!
//! An id is the hash of a name, which takes longer than all else that is read of a path, and in a sale
//! thousands of orders name the same few products. A name has one place that it may be kept in, so the
//! memory is bounded, and whoever asks for names without end makes each cost what it costs anyway.

use doorbuster_protocol::ProductId;
use doorbuster_protocol::ids::IdError;
use doorbuster_protocol::limits::NAME_BYTES_MAX;
use foldhash::fast::RandomState;
use std::cell::RefCell;
use std::fmt;
use std::hash::BuildHasher;

/// Names that are kept.
const NAMES_KEPT: usize = 256;

/// The names that one thread knows.
pub(crate) struct ProductNames {
    hashing: RandomState,
    kept: RefCell<Vec<Option<Kept>>>,
}

#[derive(Clone)]
struct Kept {
    name: Box<str>,
    product: ProductId,
}

impl Default for ProductNames {
    fn default() -> Self {
        Self { hashing: RandomState::default(), kept: RefCell::new(vec![None; NAMES_KEPT]) }
    }
}

impl fmt::Debug for ProductNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProductNames(…)")
    }
}

impl ProductNames {
    /// The product of a name or a UUID.
    pub(crate) fn parse(&self, name: &str) -> Result<ProductId, IdError> {
        if name.len() > NAME_BYTES_MAX {
            return ProductId::parse(name);
        }
        let place = self.hashing.hash_one(name) as usize % NAMES_KEPT;
        let mut kept = self.kept.borrow_mut();
        match &kept[place] {
            Some(known) if *known.name == *name => Ok(known.product),
            _ => {
                let product = ProductId::parse(name)?;
                kept[place] = Some(Kept { name: name.into(), product });
                Ok(product)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_would_be_computed() {
        let names = ProductNames::default();
        for round in 0..3 {
            for number in 0..2 * NAMES_KEPT {
                let name = format!("lamp-{number}");
                assert_eq!(names.parse(&name), ProductId::parse(&name), "{round} {name}");
                assert_eq!(names.parse(&name), ProductId::parse(&name), "{round} {name}");
            }
        }
        for name in ["", "a b", &"n".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(names.parse(name), Err(IdError::Name), "{name:?}");
        }
    }
}
