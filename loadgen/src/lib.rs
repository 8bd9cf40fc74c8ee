//! The load generator: open and closed loop, over HTTP and the binary protocol.
