//! The simulator: engine, client, projector and store on one thread, in simulated time, from one
//! seed, with every fault that a disk, a network, a clock, a process or a store can have.
//!
//! | module | what it owns |
//! |---|---|
//! | [`run`] | one run from its seed to its verdict |
//! | [`seeds`] | many runs; a broken one reduced to what it needs |
//! | [`kept`] | runs that found a bug, with their dials |
//! | [`report`] | what runs came to |
//! | [`world`] | what all parts of a run share |
//! | [`dials`] | sizes and probabilities of a run, drawn from its seed |
//! | [`nemesis`] | what happens to a run, and when |
//! | [`engine_node`] · [`observer`] · [`disk`] | the engine's machine, who watches it, its disk |
//! | [`projector_node`] · [`store`] | the projector's machine, and the shards that it fills |
//! | [`workload`] | what clients do |
//! | [`network`] | what is between them |
//! | [`judge`] · [`history_of`] | the end of a run before the history checker |
//! | [`chance`] · [`process`] · [`clock`] · [`trace`] · [`panics`] | what all of it is made of |

pub mod chance;
pub mod clock;
pub mod dials;
pub mod disk;
pub mod engine_node;
pub mod history_of;
pub mod judge;
pub mod kept;
pub mod nemesis;
pub mod network;
pub mod observer;
pub mod panics;
pub mod process;
pub mod projector_node;
pub mod report;
pub mod run;
pub mod seeds;
pub mod store;
pub mod trace;
pub mod workload;
pub mod world;
