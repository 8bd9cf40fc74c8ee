//! The threads of a store: one runtime answers readers, one writes, with what is left of a core.
//!
//! Every future of the store only waits for work that runs here, so that callers may be on any
//! runtime, and a future that is dropped leaves no transaction open half-way.

use crate::error::StoreError;
use crate::store::StoreFuture;
use std::sync::mpsc;
use tokio::runtime::{Builder, Handle, Runtime};

/// Threads that write: batches of several shards are encoded side by side.
const WRITE_THREADS_MAX: usize = 2;

/// Both runtimes. Dropping it abandons what they do: connections close, and servers take back what
/// was not committed.
#[derive(Debug)]
pub(super) struct Runtimes {
    reads: Option<Runtime>,
    writes: Option<Runtime>,
    handles: Handles,
}

/// Where work is handed to.
#[derive(Clone, Debug)]
pub(super) struct Handles {
    pub(super) reads: Handle,
    pub(super) writes: Handle,
}

impl Runtimes {
    pub(super) fn start(shards: usize) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Failed {
            why: format!("no threads to run on: {error}"),
        };
        let reads = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("store-read")
            .enable_all()
            .build()
            .map_err(failed)?;
        let writes = Builder::new_multi_thread()
            .worker_threads(shards.clamp(1, WRITE_THREADS_MAX))
            .thread_name("store-write")
            .on_thread_start(|| {
                // On Linux this is the niceness of the calling thread alone.
                let _ = rustix::process::nice(crate::BACKGROUND_NICENESS);
            })
            .enable_all()
            .build()
            .map_err(failed)?;
        let handles = Handles { reads: reads.handle().clone(), writes: writes.handle().clone() };
        Ok(Self { reads: Some(reads), writes: Some(writes), handles })
    }

    pub(super) const fn handles(&self) -> &Handles {
        &self.handles
    }
}

impl Drop for Runtimes {
    fn drop(&mut self) {
        // A runtime must not be waited for on a thread of another one, where stores may be dropped.
        for runtime in [self.reads.take(), self.writes.take()].into_iter().flatten() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `work` on `runtime`, at once, whoever waits for it.
pub(super) fn run<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> StoreFuture<'static, T> {
    let task = runtime.spawn(work);
    Box::pin(async move {
        match task.await {
            Ok(answer) => answer,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            Err(_) => Err(StoreError::Closed),
        }
    })
}

/// Runs `work` on `runtime` and blocks for it, also where blocking on a runtime is forbidden.
pub(super) fn wait<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let (answer, answered) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Somebody waits for it for as long as it takes.
        let _ = answer.send(work.await);
    });
    answered.recv().unwrap_or(Err(StoreError::Closed))
}
