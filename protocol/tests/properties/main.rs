//! Properties that hold for all values and for all bytes: what is written is read back, and what
//! nobody wrote is refused without a panic.
//!
//! A failing case is shrunk and printed together with the seed that replays it.

mod arbitrary;
mod hostile;
mod round_trips;
