//! Sockets of a core: the listener, and connections with one reading and one writing task each.
//!
//! This module moves bytes and counts what is in flight. What a message means is decided in `core`.

pub(crate) mod connection;
pub(crate) mod listener;

pub(crate) use connection::{Connection, Connections};
