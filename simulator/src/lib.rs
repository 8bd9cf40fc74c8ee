//! The simulator: engine, client, projector and store on one thread, in simulated time, from one
//! seed, with every fault that a disk, a network, a clock, a process or a store can have.
//!
//! | module | what it owns |
//! |---|---|
//! | [`world`] | what all parts of a run share |
//! | [`dials`] | sizes and probabilities of a run, drawn from its seed |
//! | [`chance`] | chance that a seed decides |
//! | [`network`] | listeners and connections, and how they break |
//! | [`projector_node`] | the projector as a process |
//! | [`store`] | shards of results, and how they fail |
//! | [`process`] | tasks that live, stand still and die together |
//! | [`clock`] | the wall clock of a machine |
//! | [`trace`] | what happened, line by line, and its hash |

pub mod chance;
pub mod clock;
pub mod dials;
pub mod network;
pub mod process;
pub mod projector_node;
pub mod store;
pub mod trace;
pub mod world;
