//! What Doorbuster's roles agree on: ids, commands, outcomes, events, frames, and the session.
//!
//! No I/O and no runtime live here; every byte comes in and goes out through the caller.
//! `README.md` beside this crate specifies the wire well enough to write a client in another
//! language.
//!
//! | module | what it owns |
//! |---|---|
//! | [`limits`] | every bound of the system, checked against its neighbours at compile time |
//! | [`ids`] | product, buyer, order and partition ids; names become ids; order ids route themselves |
//! | [`units`] | timestamps, sequences, epochs, quantities, money |
//! | [`routing`] | product → partition, buyer → bucket |
//! | [`command`] | what a partition can be asked, and its wire records |
//! | [`outcome`] | what it answers, and its wire records |
//! | [`event`] | what the log holds: facts, as rkyv archives of a frozen layout |
//! | [`record`] | little-endian reading and writing with bounds |
//! | [`frame`] | the 32-byte header and its checks |
//! | [`handshake`] | messages and proofs of the opening exchange |
//! | [`session`] | the sans-I/O state machines of both ends |

pub mod command;
pub mod event;
pub mod frame;
pub mod handshake;
pub mod ids;
pub mod limits;
pub mod outcome;
pub mod record;
pub mod routing;
pub mod session;
pub mod units;

pub use command::{Command, Request};
pub use event::{Event, Fact};
pub use ids::{BuyerId, IdempotencyKey, OrderId, PartitionId, ProductId};
pub use outcome::Outcome;
pub use units::{Currency, Epoch, Quantity, Sequence, Timestamp};
