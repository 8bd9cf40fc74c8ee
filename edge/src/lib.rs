//! The HTTP edge: it turns requests into commands for the engine and queries for the store, and
//! their answers into documents. It holds no truth.
//!
//! Each thread is an edge of its own: a listener that shares the port, a current-thread runtime, a
//! connection to every core, a memory of verified tokens. Nothing is locked on the way of an order.
//!
//! | module | what it owns |
//! |---|---|
//! | [`config`] | what an edge is told: addresses, secrets, bounds, times |
//! | `limits` | the bounds that cannot be set |
//! | [`server`] | threads, listeners, start and stop |
//! | `connection` | one HTTP connection: its times, its end |
//! | `wire` | its socket, with an eye on what comes in |
//! | [`framing`] | which bytes are requests that can be read in one way only |
//! | `admission` | who gets a connection, who has to go for it |
//! | `farewell` | last answers, given without hyper |
//! | `connections` | the open connections of a thread, and who has to go |
//! | `addresses` | how many connections each client address has |
//! | `descriptors` | how many connections the process has descriptors for |
//! | `worker` | what one thread has |
//! | `service` | from a request to its answer |
//! | `turns` | who may begin when more comes than can be done |
//! | `names` | the ids of product names that were asked for of late |
//! | `router` | which resource a path names, which methods it takes |
//! | `middleware` | who asks, how often, and the request's id |
//! | `handlers` | what each route does: orders, products, health |
//! | `body` | reading bodies within bounds, and what they may say |
//! | `engine_link` | one thread's way to the engine; readiness, pushed stock levels |
//! | `refusal` | what each refusal says to a client |
//! | `problem` | RFC 9457 problem documents |
//! | `render`, `json` | orders and products as JSON |
//! | [`time`] | times as RFC 3339, read and written |
//! | [`token`] | minting and verifying bearer tokens; secrets and public keys for it |
//! | [`metrics`] | counters per thread, and their sums |
//! | [`admin`] | the administrators' address: metrics, health, readiness |
//! | `alarm` | one timer for a whole connection |
//! | `fuzzing` | the parsers, for the fuzz targets alone |

pub mod admin;
pub mod config;
pub mod framing;
#[doc(hidden)]
pub mod fuzzing;
pub mod metrics;
pub mod server;
pub mod time;
pub mod token;

mod addresses;
mod admission;
mod alarm;
mod body;
mod connection;
mod connections;
mod descriptors;
mod engine_link;
mod farewell;
mod handlers;
mod json;
mod limits;
mod middleware;
mod names;
mod problem;
mod refusal;
mod render;
mod router;
mod service;
mod turns;
mod wire;
mod worker;

pub use admin::{Admin, AdminPages};
pub use config::{AddressLimit, EdgeConfig, RateLimit, RateLimitError};
pub use metrics::{EdgeMetrics, EdgeSnapshot};
pub use server::{Edge, EdgeError};
pub use token::{PublicKey, SignatureAlgorithm, TokenKey, TokenRules, TokenSecret};
