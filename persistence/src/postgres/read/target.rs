//! One server that is asked: a pool of connections, bounded in its size and in how many wait for
//! it, behind a circuit breaker.

use super::breaker::{Guarded, Verdict};
use super::connection::{self, Answer, Connection, Question, Unanswered};
use super::health::TargetHealth;
use crate::error::StoreError;
use crate::postgres::connect;
use crate::postgres::options::PostgresOptions;
use crate::postgres::url::ShardUrl;
use deadpool::Runtime;
use deadpool::managed::{
    Manager, Metrics, Object, Pool, PoolError, RecycleError, RecycleResult, Timeouts,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// How many questions may wait for each connection of a pool: more than that would wait for longer
/// than anybody does.
const WAITING_PER_CONNECTION: usize = 32;
/// How much longer than the server's own limit an answer is waited for.
const GRACE: Duration = Duration::from_millis(250);

/// What a server must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Complete: a replica is not taken for it.
    Primary,
    /// Anything: what its answers are worth is for the asker to see.
    Replica,
}

/// A primary or a replica, or a pooler before one.
pub(super) struct Target {
    shard: Arc<str>,
    role: Role,
    pool: Pool<Connector>,
    breaker: Guarded,
    statement_timeout: Duration,
    begin: String,
    waiting_max: usize,
    answers: AtomicU64,
    failures: AtomicU64,
}

impl Target {
    /// Nothing is connected yet.
    pub(super) fn new(
        shard: &Arc<str>,
        role: Role,
        url: &ShardUrl,
        options: &PostgresOptions,
    ) -> Self {
        let connections = match role {
            Role::Primary => options.pool_size.max(1),
            Role::Replica => options.replica_pool_size.max(1),
        };
        let connector = Connector {
            shard: Arc::clone(shard),
            url: url.clone(),
            limit: options.connect_timeout,
        };
        // Connecting has its own limit.
        let timeouts =
            Timeouts { wait: Some(options.statement_timeout), create: None, recycle: None };
        let pool = Pool::builder(connector)
            .max_size(connections)
            .timeouts(timeouts)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime can have timeouts");
        Self {
            shard: Arc::clone(shard),
            role,
            pool,
            breaker: Guarded::new(&options.breaker),
            statement_timeout: options.statement_timeout,
            begin: connection::begin(options.statement_timeout),
            waiting_max: connections * WAITING_PER_CONNECTION,
            answers: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Puts a question, when the breaker lets it through.
    pub(super) async fn ask(&self, question: Question<'_>) -> Result<Answer, StoreError> {
        let asking = self.breaker.admit().map_err(|wait| {
            let wait_ms = wait.as_millis();
            let why = format!("it failed several times in a row, and rests {wait_ms} ms longer");
            StoreError::Away { shard: self.shard.to_string(), why }
        })?;
        let answer = self.ask_now(question).await;
        let verdict = match &answer {
            Ok(_) => Verdict::Answered,
            Err(StoreError::Away { .. } | StoreError::Slow { .. }) => Verdict::Failed,
            // No connection was free: it was not asked.
            Err(StoreError::Busy { .. }) => Verdict::Unknown,
            Err(_) => Verdict::Answered,
        };
        asking.settle(verdict);
        let count = if answer.is_ok() { &self.answers } else { &self.failures };
        count.fetch_add(1, Ordering::Relaxed);
        answer
    }

    /// Whether it is left alone because it failed.
    pub(super) fn is_open(&self) -> bool {
        self.breaker.is_open()
    }

    /// Connections and counts.
    pub(super) fn health(&self) -> TargetHealth {
        let status = self.pool.status();
        TargetHealth {
            connections: status.size as u64,
            connections_max: status.max_size as u64,
            in_use: (status.size - status.available + status.waiting) as u64,
            is_open: self.is_open(),
            answers: self.answers.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    async fn ask_now(&self, question: Question<'_>) -> Result<Answer, StoreError> {
        let connection = self.connection().await?;
        let limit = self.statement_timeout + GRACE;
        let asked = connection.ask(&self.begin, question);
        match tokio::time::timeout(limit, asked).await {
            Ok(Ok(answer)) if self.role == Role::Primary && answer.witness.is_replica => {
                // Perhaps another host of the URL is the primary: the next one that connects finds
                // out.
                Object::take(connection).cut();
                let why = "what answers at its URL is a replica, which may lack what was written \
                           last. After a failover this passes when the URL leads to the new primary";
                Err(StoreError::Away { shard: self.shard.to_string(), why: why.into() })
            }
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(Unanswered::Sql(error))) => Err(self.failure(&error)),
            Ok(Err(Unanswered::Senseless(why))) => {
                Err(StoreError::Damaged { why: format!("shard {}: {why}", self.shard) })
            }
            Err(_) => {
                // The server should have given up by itself: who knows when this one answers.
                Object::take(connection).cut();
                Err(self.slow())
            }
        }
    }

    async fn connection(&self) -> Result<Object<Connector>, StoreError> {
        let busy = |why: &str| StoreError::Busy { why: format!("shard {}: {why}", self.shard) };
        if self.pool.status().waiting >= self.waiting_max {
            return Err(busy("too many questions wait for a connection"));
        }
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(_) => busy("no connection became free in time"),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                StoreError::Closed
            }
        })
    }

    fn failure(&self, error: &tokio_postgres::Error) -> StoreError {
        match error.code() {
            Some(&SqlState::QUERY_CANCELED) => self.slow(),
            _ => connect::failure(&self.shard, error),
        }
    }

    fn slow(&self) -> StoreError {
        let limit_ms = self.statement_timeout.as_millis() as u64;
        StoreError::Slow { shard: self.shard.to_string(), limit_ms }
    }
}

/// Makes connections for the pool, and takes back only those that are whole.
pub(super) struct Connector {
    shard: Arc<str>,
    url: ShardUrl,
    limit: Duration,
}

impl Manager for Connector {
    type Type = Connection;
    type Error = StoreError;

    async fn create(&self) -> Result<Connection, StoreError> {
        Connection::open(&self.shard, &self.url, self.limit).await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<StoreError> {
        match connection.is_closed() {
            true => Err(RecycleError::message("the connection is closed")),
            false => Ok(()),
        }
    }
}
