//! One partition as a pure state machine: [`decide`] reads and answers, [`apply`] alone changes.
//!
//! There is no clock, no await and no randomness in here, and nothing depends on the order of a hash
//! table. Time comes in as an argument and stands in every event, so replaying the events of a log
//! gives the live state again, digest for digest. There is no I/O but behind one seam, [`Shelf`], which
//! keeps bytes and gives the same ones back, or ends the process: it changes no answer.
//!
//! | module | what it owns |
//! |---|---|
//! | [`state`](State) | the parts put together, and every question that changes nothing |
//! | `decide` | the rules: place, confirm, cancel, expire, define, restock, withdraw, pause |
//! | `matching` | whom freed units go to, and until when |
//! | `apply` | what each fact does, and the assertions after it |
//! | `product` | terms, counters, queue of holds and waitlist of one product |
//! | `order`, `list` | order records in one slab, and the queues that run through them |
//! | `order_index`, `key_index` | the two ways to find an order: by id, by idempotency key |
//! | `receipts` | what is kept of orders for their keys, and the seam to where it lies |
//! | `buyers` | how many units each buyer has of each product |
//! | `spread` | a hash table that grows part by part |
//! | `tickets` | exact places on a waitlist |
//! | `digest`, [`snapshot`] | the state as one number, and as bytes |
//! | `invariants` | everything that must hold, checked from the ground up |
//! | `twin` | the same rules once more, naively: for tests and the simulator |

mod apply;
mod buyers;
#[cfg(test)]
mod contradiction_test;
mod decide;
mod digest;
#[cfg(test)]
mod fixture;
mod invariants;
mod key_index;
mod list;
mod matching;
mod order;
mod order_index;
mod product;
mod receipts;
#[cfg(test)]
mod replay_test;
pub mod snapshot;
mod spread;
mod state;
mod tickets;
#[cfg(any(test, feature = "twin"))]
pub mod twin;
#[cfg(test)]
mod twin_test;

pub use apply::{Contradiction, apply, replay};
pub use decide::{Decision, decide};
pub use product::Level;
pub use receipts::{PAGE_BYTES_MAX, ReceiptsLost, Shelf};
pub use state::{State, Totals};
