//! One long-lived connection to a shard, made when it is needed and made again when it broke.
//!
//! Whoever uses it takes it out and puts it back when it is known to be between transactions. So a
//! connection that somebody gave up in the middle of something is closed, and never used again.

use crate::error::StoreError;
use crate::postgres::connect::{connect, failure};
use crate::postgres::url::ShardUrl;
use futures_util::future::try_join4;
use std::time::Duration;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

/// A connection, or the way to one.
#[derive(Debug)]
pub(super) struct Session {
    shard: String,
    url: ShardUrl,
    connect_timeout: Duration,
    client: Option<Client>,
}

impl Session {
    pub(super) const fn new(shard: String, url: ShardUrl, connect_timeout: Duration) -> Self {
        Self { shard, url, connect_timeout, client: None }
    }

    /// The connection, between two transactions.
    pub(super) async fn take(&mut self) -> Result<Client, StoreError> {
        match self.client.take() {
            Some(client) if !client.is_closed() => Ok(client),
            _ => connect(&self.shard, &self.url, self.connect_timeout).await,
        }
    }

    /// Gives it back. It must be between two transactions.
    pub(super) fn put_back(&mut self, client: Client) {
        self.client = Some(client);
    }

    /// One statement in a transaction of its own, within `limit`.
    pub(super) async fn ask(
        &mut self,
        limit: Duration,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.take().await?;
        let timeouts = timeouts(limit);
        // The server's limit ends with the transaction, so that a pooler may be in between.
        let asked = try_join4(
            client.batch_execute("BEGIN"),
            client.batch_execute(&timeouts),
            client.query_typed(sql, values),
            client.batch_execute("COMMIT"),
        );
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(((), (), rows, ()))) => {
                self.put_back(client);
                Ok(rows)
            }
            Ok(Err(error)) => Err(failure(&self.shard, &error)),
            Err(_) => Err(slow(&self.shard, limit)),
        }
    }
}

/// What bounds a transaction on the server: also one whose client is gone without a word, which
/// would keep its locks otherwise.
pub(super) fn timeouts(limit: Duration) -> String {
    let limit_ms = limit.as_millis().max(1);
    format!(
        "SET LOCAL statement_timeout = {limit_ms}; SET LOCAL lock_timeout = {limit_ms};
         SET LOCAL idle_in_transaction_session_timeout = {limit_ms}; SET LOCAL jit = off"
    )
}

/// A shard that did not answer in time.
pub(super) fn slow(shard: &str, limit: Duration) -> StoreError {
    StoreError::Slow { shard: shard.to_owned(), limit_ms: limit.as_millis() as u64 }
}
