//! A connection, and how a question is put to it.
//!
//! A question travels as some messages in one packet: `BEGIN` with the statement's timeout and a look
//! at the server, the query, what the shard owns, and `COMMIT`. It takes one round trip; the timeout
//! holds behind a transaction pooler too, where a setting of the session would not; and since all of
//! it is sent at once, a caller that goes away leaves no transaction open.
//!
//! Every answer says who gave it and how far its log reached then. Behind one URL there may be
//! several servers, and a primary may become a replica: what a look at the server said a moment ago
//! is no proof for this answer.

use super::lag::Position;
use super::queries::{OWNED, Query, WITNESS};
use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::connect;
use crate::postgres::url::ShardUrl;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, SimpleQueryMessage, SimpleQueryRow};

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// The query.
    pub(super) query: &'static Query,
    /// Its parameters, of its types.
    pub(super) values: &'a [&'a (dyn ToSql + Sync)],
    /// Whether the answer is worth something only from the owner of certain buckets.
    pub(super) of_owner: bool,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// Who answered. Whatever it says was so before the rows were read.
    pub(super) witness: Witness,
    /// The rows.
    pub(super) rows: Vec<Row>,
    /// The buckets that the shard owned after the rows were read, where that was asked; `None` when
    /// it was never claimed.
    pub(super) owned: Option<BucketSet>,
}

/// Who a server is, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    /// Whether it is a replica.
    pub(super) is_replica: bool,
    /// How far its log reaches; of a replica's, what is replayed.
    pub(super) position: Option<Position>,
    /// The random id that the shard was given when it was made.
    pub(super) database: Box<str>,
    /// Its name, once it was claimed.
    pub(super) name: Option<Box<str>>,
}

/// Begins a transaction in which no statement takes longer than `limit`.
pub(super) fn begin(limit: Duration) -> String {
    // Zero would be no limit at all.
    let limit_ms = limit.as_millis().clamp(1, i32::MAX as u128);
    format!("BEGIN READ ONLY; SET LOCAL statement_timeout = {limit_ms}; {WITNESS}")
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// The server said so, or the connection broke.
    Sql(tokio_postgres::Error),
    /// The answer is nothing that a shard of ours says.
    Senseless(String),
}

impl From<tokio_postgres::Error> for Unanswered {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

/// A connection, and the task that drives it.
pub(super) struct Connection {
    client: Client,
    task: AbortHandle,
}

impl Connection {
    /// A new one.
    pub(super) async fn open(
        shard: &str,
        url: &ShardUrl,
        limit: Duration,
    ) -> Result<Self, StoreError> {
        let (client, task) = connect::connect_with_task(shard, url, limit).await?;
        Ok(Self { client, task })
    }

    /// Whether it broke.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Closes it without waiting for what it was asked. The server notices when it answers.
    pub(super) fn cut(self) {
        self.task.abort();
    }

    /// Asks only who is there. `Ok(None)`: something that is no shard. After an error the connection
    /// may be in a transaction, and is good for nothing.
    pub(super) async fn witness(
        &self,
        limit: Duration,
    ) -> Result<Option<Witness>, tokio_postgres::Error> {
        let messages = self.client.simple_query(&format!("{}; COMMIT", begin(limit))).await?;
        Ok(witness(&messages))
    }

    /// Puts a question. The error is the first of what went wrong.
    pub(super) async fn ask(
        &self,
        begin: &str,
        question: Question<'_>,
    ) -> Result<Answer, Unanswered> {
        let Question { query, values, of_owner } = question;
        assert_eq!(values.len(), query.types.len(), "{}: parameters and their types", query.name);
        let sql = query.sql();
        let values: Vec<_> = values.iter().copied().zip(query.types.iter().cloned()).collect();
        let owned = async {
            match of_owner {
                true => self.client.simple_query(OWNED).await,
                false => Ok(Vec::new()),
            }
        };
        // The first poll of each sends its message, and nothing is awaited in between. `COMMIT`
        // stands alone: behind a statement that fails in the same message it would not run.
        let (begun, rows, owned, _) = tokio::join!(
            biased;
            self.client.simple_query(begin),
            self.client.query_typed(&sql, &values),
            owned,
            self.client.simple_query("COMMIT"),
        );
        let senseless =
            |what: &str| Unanswered::Senseless(format!("{what} is not what it should be"));
        let witness = witness(&begun?).ok_or_else(|| senseless("its table `shard`"))?;
        let rows = rows?;
        let owned = match first_row(&owned?).and_then(|row| row.get(0)) {
            Some(text) => Some(text.parse().map_err(|_| senseless("its list of buckets"))?),
            None => None,
        };
        Ok(Answer { witness, rows, owned })
    }
}

fn witness(messages: &[SimpleQueryMessage]) -> Option<Witness> {
    let row = first_row(messages)?;
    Some(Witness {
        is_replica: row.get(0)? == "t",
        // A replica that has replayed nothing tells none.
        position: row.get(1).and_then(|text| text.parse().ok()),
        database: row.get(2)?.into(),
        name: row.get(3).map(Into::into),
    })
}

fn first_row(messages: &[SimpleQueryMessage]) -> Option<&SimpleQueryRow> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}
