//! What a request brings: reading it within bounds, and what it may say.

pub(crate) mod order;
pub(crate) mod product;
mod read;
mod scalar;

pub(crate) use read::{BodyLimits, read, require_json};
