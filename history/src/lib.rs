//! Proves that a sale kept its promises: from what its clients saw, what its log holds, and what its
//! store holds, and from nothing else.
//!
//! Nothing here is shared with the engine. The rules of a sale are written a second time, in other
//! words and over other structures, so that a mistake in the one is not made by the other.
//!
//! [`check`] takes a [`History`] and says in a [`Verdict`] which promises were broken, by which
//! operations and events, and why. It takes time in proportion to the history, and a logarithm.
//!
//! | module | what it owns |
//! |---|---|
//! | [`operation`] · [`answer`] | what a client asked, when, and what it was told |
//! | [`event`] | the facts of the log |
//! | [`row`] | the rows of the store |
//! | [`ids`] · [`terms`] | the words that these share |
//! | [`history`] | all of it together, and how far clocks may differ |
//! | [`journal`] · [`log_lines`] · [`row_lines`] | the same as lines of JSON, in files |
//! | [`rfc3339`] | times in those lines |
//! | `books` | the log replayed: what was the case after every event |
//! | `checks` | the promises, one to a file |
//! | [`verdict`] | what was found |

pub mod answer;
pub mod event;
pub mod history;
pub mod ids;
pub mod journal;
pub mod log_lines;
pub mod operation;
pub mod rfc3339;
pub mod row;
pub mod row_lines;
pub mod terms;
pub mod verdict;

mod books;
mod checks;

pub use checks::check;
pub use history::{Allowance, History, Others};
pub use verdict::{Kind, Verdict, Violation};
