//! The store of results, and the projector that fills it exactly once.
