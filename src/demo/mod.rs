//! The throwaway sale of `demo`.
//!
//! | module | what it owns |
//! |---|---|
//! | [`sale`] | the sale from the empty directory to the audit |
//! | [`live`] | the line that shows how it goes |
//! | [`summary`] | what it came to, for eyes and for programs |

pub(crate) mod live;
pub(crate) mod sale;
pub(crate) mod summary;

/// The product on sale.
pub(crate) const PRODUCT: &str = "doorbuster";
