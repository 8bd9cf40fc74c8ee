//! The engine: state machine, log, storage, and the cores that run them.
//!
//! | module | what it owns |
//! |---|---|
//! | [`state_machine`] | what a partition decides and remembers; pure |

pub mod state_machine;
