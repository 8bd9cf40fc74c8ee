//! The sharded store: PostgreSQL databases, each with the results of some buckets of buyers.

mod connect;
mod options;
mod row;
mod types;
mod url;

pub use options::{BreakerOptions, PostgresOptions, ShardOptions, WhenAway};
pub use url::{ShardUrl, UrlError};
