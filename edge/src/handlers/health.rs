//! `GET /health`: the process lives. `GET /ready`: it can take orders.

use crate::problem::{Code, Problem};
use crate::service::Answer;

pub(crate) fn health() -> Answer {
    Answer::ok(br#"{"status":"ok"}"#.to_vec())
}

pub(crate) fn ready(is_ready: bool) -> Result<Answer, Problem> {
    if is_ready {
        return Ok(Answer::ok(br#"{"status":"ready"}"#.to_vec()));
    }
    Err(Problem::new(
        Code::Unavailable,
        "Not every core of the engine is connected: it starts, replays its log, or has lost a \
         partition, or this edge stops",
    )
    .retry_after(1))
}
