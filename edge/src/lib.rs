//! The HTTP edge. It holds no truth.
mod alarm;
mod body;
mod json;
mod middleware;
mod problem;
mod router;
mod time;
pub mod token;
