//! The engine: state machine, log, storage, and the cores that run them.
