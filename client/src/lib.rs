//! The tokio shell around the protocol's session: one connection to one core, or to all of them.
