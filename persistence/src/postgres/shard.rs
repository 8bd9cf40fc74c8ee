//! One shard: its connections, what it says of itself, and the `Shard` trait.
//!
//! A shard that was away when the store was opened is looked at when it is first needed: only then
//! is it known to be the one that is meant.

use crate::buckets::BucketSet;
use crate::error::StoreError;
use crate::postgres::connect::connect;
use crate::postgres::core::Core;
use crate::postgres::identity::{self, Standing};
use crate::postgres::options::{PostgresOptions, ShardOptions};
use crate::postgres::read::Reads;
use crate::postgres::runtimes::{Handles, run};
use crate::postgres::session::Session;
use crate::postgres::{claim, repair, scan, schema, write};
use crate::rows::{Checkpoint, DeadLetter, OrderRow, ProductRow};
use crate::store::{Batch, Repair, Shard, StoreFuture, StoreIdentity, Written};
use doorbuster_protocol::{OrderId, PartitionId, ProductId, Sequence};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// How long a shard that could not be looked at is left alone.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// How long a shard is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a connection to a host.
    pub(super) connect: Duration,
    /// For a transaction.
    pub(super) write: Duration,
}

/// One shard, as all share it who use it.
#[derive(Clone)]
pub(super) struct PostgresShard(Arc<Inner>);

pub(super) struct Inner {
    pub(super) name: String,
    pub(super) options: ShardOptions,
    pub(super) share: BucketSet,
    pub(super) patience: Patience,
    pub(super) reads: Reads,
    migrate: bool,
    handles: Handles,
    /// What it said of itself last, and what it is dealt until it is claimed. Held for moments.
    state: RwLock<State>,
    /// Batches and whatever else must wait its turn with them.
    pub(super) writer: Mutex<Session>,
    /// Questions of audits, claims and the catalog.
    pub(super) side: Mutex<Session>,
    /// Whoever looks at it; the last failure and when that was.
    looking: Mutex<Option<(Instant, StoreError)>>,
    pub(super) store: Weak<Core>,
}

#[derive(Debug)]
struct State {
    standing: Option<Standing>,
    dealt: BucketSet,
}

impl PostgresShard {
    /// A shard that nobody has looked at.
    pub(super) fn new(
        name: String,
        options: ShardOptions,
        share: BucketSet,
        all: &PostgresOptions,
        handles: &Handles,
        store: Weak<Core>,
    ) -> Self {
        let session =
            || Mutex::new(Session::new(name.clone(), options.url.clone(), all.connect_timeout));
        let reads = {
            let _on = handles.reads.enter();
            Reads::new(&name, &options, all)
        };
        let patience = Patience { connect: all.connect_timeout, write: all.write_timeout };
        let state = RwLock::new(State { standing: None, dealt: share });
        let (writer, side) = (session(), session());
        Self(Arc::new(Inner {
            name,
            options,
            share,
            patience,
            reads,
            migrate: all.migrate,
            handles: handles.clone(),
            state,
            writer,
            side,
            looking: Mutex::new(None),
            store,
        }))
    }

    pub(super) fn reads(&self) -> &Reads {
        &self.0.reads
    }

    pub(super) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    fn write_run<T, W>(&self, work: impl FnOnce(Arc<Inner>) -> W) -> StoreFuture<'static, T>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        run(&self.0.handles.writes, work(Arc::clone(&self.0)))
    }
}

impl Inner {
    /// What it said of itself last.
    pub(super) fn standing(&self) -> Option<Standing> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).standing.clone()
    }

    pub(super) fn set_standing(&self, standing: Standing) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).standing = Some(standing);
    }

    pub(super) fn set_dealt(&self, dealt: BucketSet) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).dealt = dealt;
    }

    /// Host, port and database.
    pub(super) fn place(&self) -> String {
        self.options.url.place()
    }

    /// Connects, sees to the tables, and asks what it is.
    pub(super) async fn look(&self) -> Result<(Client, Standing), StoreError> {
        let (name, url) = (&self.name, &self.options.url);
        let client = connect(name, url, self.patience.connect).await?;
        schema::prepare(name, url, &client, self.migrate, self.patience.connect).await?;
        let standing = identity::standing(name, &client).await?;
        Ok((client, standing))
    }

    /// Makes sure that it is the shard that is meant.
    pub(super) async fn verify(&self) -> Result<(), StoreError> {
        if self.standing().is_some() {
            return Ok(());
        }
        let mut last = self.looking.lock().await;
        if self.standing().is_some() {
            return Ok(());
        }
        if let Some((at, error)) = &*last
            && at.elapsed() < LOOK_PAUSE
        {
            return Err(error.clone());
        }
        let store = self.store.upgrade().ok_or(StoreError::Closed)?;
        let looked = match self.look().await {
            Ok((_, standing)) => store.admit(self, standing),
            Err(error) => Err(error),
        };
        if let Err(error) = looked {
            *last = Some((Instant::now(), error.clone()));
            return Err(error);
        }
        // It may have handed buckets on to shards that nobody has named.
        if let Err(error) = store.settle().await {
            tracing::warn!(shard = self.name, %error, "not all owners of buckets are known");
        }
        Ok(())
    }
}

impl Shard for PostgresShard {
    fn name(&self) -> &str {
        &self.0.name
    }

    fn buckets(&self) -> BucketSet {
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        match &state.standing {
            Some(standing) if standing.is_claimed() => standing.buckets,
            _ => state.dealt,
        }
    }

    fn in_transit(&self) -> BucketSet {
        self.0.standing().map_or(BucketSet::NONE, |standing| standing.in_transit)
    }

    fn claim(&self, identity: StoreIdentity) -> StoreFuture<'_, ()> {
        self.write_run(|shard| async move { claim::claim(&shard, identity).await })
    }

    fn identity(&self) -> StoreFuture<'_, Option<StoreIdentity>> {
        self.write_run(|shard| async move {
            shard.verify().await?;
            let sql = format!("SELECT {} FROM shard", identity::COLUMNS);
            let rows = shard.side.lock().await.ask(shard.patience.write, &sql, &[]).await?;
            let row = rows.first().ok_or_else(|| identity::empty(&shard.name))?;
            Ok(Standing::of(row)?.identity)
        })
    }

    fn checkpoints(&self) -> StoreFuture<'_, Vec<Checkpoint>> {
        self.write_run(|shard| async move {
            shard.verify().await?;
            // With the batches, so that the answer stands after every write asked for before.
            scan::checkpoints(&mut *shard.writer.lock().await, shard.patience.write).await
        })
    }

    fn write(&self, batch: Arc<Batch>) -> StoreFuture<'_, Written> {
        self.write_run(|shard| async move {
            shard.verify().await?;
            let mut session = shard.writer.lock().await;
            write::write(&mut session, &shard.name, shard.patience.write, &batch).await
        })
    }

    fn scan_orders(
        &self,
        partition: Option<PartitionId>,
        after: Option<OrderId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<OrderRow>> {
        self.write_run(move |shard| async move {
            shard.verify().await?;
            let mut side = shard.side.lock().await;
            scan::orders(&mut side, shard.patience.write, partition, after, limit).await
        })
    }

    fn scan_products(
        &self,
        after: Option<ProductId>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ProductRow>> {
        self.write_run(move |shard| async move {
            shard.verify().await?;
            let mut side = shard.side.lock().await;
            scan::products(&mut side, shard.patience.write, after, limit).await
        })
    }

    fn dead_letters(
        &self,
        after: Option<(PartitionId, Sequence, u32)>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<DeadLetter>> {
        self.write_run(move |shard| async move {
            shard.verify().await?;
            let mut side = shard.side.lock().await;
            scan::dead_letters(&mut side, shard.patience.write, after, limit).await
        })
    }

    fn repair(&self, repair: Arc<Repair>) -> StoreFuture<'_, ()> {
        self.write_run(|shard| async move {
            shard.verify().await?;
            let mut session = shard.writer.lock().await;
            repair::repair(&mut session, &shard.name, shard.patience.write, &repair).await
        })
    }
}
