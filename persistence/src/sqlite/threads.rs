//! Threads that own a connection each and run jobs on it, so that SQLite's blocking calls never run
//! on a runtime's thread. Queues are bounded; a full one is answered at once.

use crate::error::StoreError;
use crate::store::StoreFuture;
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Jobs that wait for one thread, past which it is busy.
const JOBS_WAITING_MAX: usize = 1_024;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// What a thread may take of a core that others want, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// As much as any: somebody waits for the answer.
    Normal,
    /// What is left: results may reach the store later, orders may not wait for them.
    Background,
}

/// A thread with a connection.
pub(super) struct ConnectionThread {
    jobs: Option<SyncSender<Job>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl ConnectionThread {
    /// Starts the thread; it ends when this is dropped, after the jobs that it has taken.
    pub(super) fn start(
        name: &str,
        mut connection: Connection,
        priority: Priority,
    ) -> Result<Self, StoreError> {
        let (jobs, queue) = sync_channel::<Job>(JOBS_WAITING_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let done = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name(name.into())
            .spawn(move || {
                if priority == Priority::Background {
                    // On Linux this is the niceness of the calling thread alone.
                    let _ = rustix::process::nice(crate::BACKGROUND_NICENESS);
                }
                while let Ok(job) = queue.recv() {
                    job(&mut connection);
                    done.fetch_sub(1, Ordering::Relaxed);
                }
            })
            .map_err(|error| StoreError::Failed { why: format!("no thread to run on: {error}") })?;
        Ok(Self { jobs: Some(jobs), waiting, thread: Some(thread) })
    }

    /// Jobs that wait or run: a measure of load, nothing more.
    pub(super) fn load(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Hands a job over now, and answers when it has run. Dropping the future does not stop it.
    pub(super) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let (answer, answered) = oneshot::channel();
        let handed_over = self.hand_over(Box::new(move |connection| {
            // Whoever asked may have stopped waiting.
            let _ = answer.send(job(connection));
        }));
        Box::pin(async move {
            handed_over?;
            answered.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    /// As [`ConnectionThread::run`], for what changes nothing: when nobody waits for the answer any
    /// more, the question is not looked into. Otherwise a store that is further behind than its
    /// askers are patient would never catch up.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'static, T> {
        let (answer, answered) = oneshot::channel();
        let handed_over = self.hand_over(Box::new(move |connection| {
            if !answer.is_closed() {
                // Whoever asked may have stopped waiting.
                let _ = answer.send(job(connection));
            }
        }));
        Box::pin(async move {
            handed_over?;
            answered.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    fn hand_over(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.jobs.as_ref().ok_or(StoreError::Closed)?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        jobs.try_send(job).map_err(|error| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                TrySendError::Full(_) => {
                    StoreError::Busy { why: format!("{JOBS_WAITING_MAX} questions wait already") }
                }
                TrySendError::Disconnected(_) => StoreError::Closed,
            }
        })
    }
}

impl Drop for ConnectionThread {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}
