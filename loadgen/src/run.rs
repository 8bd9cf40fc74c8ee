//! Carries a plan out, from the check to the report.

use crate::attempt::Attempts;
use crate::books::Seen;
use crate::idle::Idle;
use crate::journal::{self, Pen};
use crate::lane::Tokens;
use crate::plan::{Plan, PlanError};
use crate::prepare;
use crate::progress::Progress;
use crate::report::Report;
use crate::worker::{self, Shared};
use crate::{Credentials, Target};
use std::io;
use std::sync::{Arc, Barrier, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

/// Tokens that are minted before the run; those of further buyers are minted as they come.
const MINTED_MAX: u64 = 1 << 18;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan cannot be.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Nobody is there.
    #[error("{target} does not answer: {reason}. Is the server running, and is this its address?")]
    Unreachable {
        /// What was to be loaded.
        target: String,
        /// What the system said.
        reason: String,
    },
    /// A product could not be defined.
    #[error("product `{product}` could not be defined: {reason}")]
    Prepare {
        /// Which product.
        product: String,
        /// What the server said.
        reason: String,
    },
    /// The journal could not be written.
    #[error("the journal {path} cannot be written: {source}")]
    Journal {
        /// Where.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// A thread or its runtime could not be started.
    #[error("a worker could not be started: {0}")]
    Worker(#[source] io::Error),
}

/// Carries `plan` out and reports. Blocks until it is done; `progress` can be watched, and stopped,
/// from another thread.
pub fn run(plan: Plan, progress: Arc<Progress>) -> Result<Report, LoadError> {
    plan.check()?;
    let asks_engine = matches!(plan.target, Target::Binary(..));
    let journal = match &plan.journal {
        Some(path) => {
            let failed = |source| LoadError::Journal { path: path.display().to_string(), source };
            let writer = journal::Writer::create(path, asks_engine).map_err(failed)?;
            Some((writer, path.clone()))
        }
        None => None,
    };
    let pen = |worker| journal.as_ref().map(|(writer, _)| writer.pen(worker, plan.threads + 1));
    let pens: Vec<Option<Pen>> = (0..plan.threads).map(pen).collect();
    // Who prepares has a pen like a worker.
    prepare::prepare(&plan, pen(plan.threads).as_ref())?;
    let attempts = Arc::new(Attempts::new(&plan));
    let tokens = Arc::new(mint(&plan));
    let plan = Arc::new(plan);
    let idle = Idle::open(&plan, &tokens, &progress).map_err(LoadError::Worker)?;
    let slots = Shared::slots(&plan);
    if slots < crate::plan::ATTEMPTS_MAX {
        progress.add_planned(slots);
    }
    let threads = plan.threads;
    let shared = Arc::new(Shared {
        plan,
        attempts,
        tokens,
        progress,
        barrier: Barrier::new(threads),
        start: OnceLock::new(),
        ended_by: Mutex::new(None),
    });
    let workers = work(&shared, pens);
    let idle = idle.map(Idle::finish).transpose().map_err(LoadError::Worker)?;
    let workers = workers?;
    if let Some((writer, path)) = journal {
        let failed = |source| LoadError::Journal { path: path.display().to_string(), source };
        writer.finish().map_err(failed)?;
    }
    let ended_by = shared.ended_by.lock().unwrap_or_else(PoisonError::into_inner).take();
    let start = shared.start.get().copied().unwrap_or_else(Instant::now);
    let mut seen = Seen::nothing(&shared.plan, start);
    for worker in &workers {
        seen.merge(worker);
    }
    seen.idle = idle;
    Ok(Report::new(&shared.plan, &seen, ended_by))
}

/// All workers, each with its pen, on threads of their own; what each of them saw.
fn work(shared: &Arc<Shared>, pens: Vec<Option<Pen>>) -> Result<Vec<Seen>, LoadError> {
    let threads = pens.len();
    let spawn = |worker: usize, journal: Option<Pen>| {
        let shared = Arc::clone(shared);
        std::thread::Builder::new()
            .name(format!("load-{worker}"))
            .spawn(move || worker::work(&shared, worker, journal))
    };
    let mut running = Vec::with_capacity(threads);
    for (worker, pen) in pens.into_iter().enumerate() {
        match spawn(worker, pen) {
            Ok(thread) => running.push(thread),
            Err(error) => {
                // Those that run already wait for all the others: stand in for them.
                shared.progress.stop();
                for _ in running.len()..threads {
                    let shared = Arc::clone(shared);
                    // Not even a thread for that: there is no way on.
                    std::thread::Builder::new()
                        .spawn(move || shared.barrier.wait())
                        .map_err(LoadError::Worker)?;
                }
                return Err(LoadError::Worker(error));
            }
        }
    }
    let join = |thread: JoinHandle<io::Result<Seen>>| {
        thread.join().expect("a worker does not panic").map_err(LoadError::Worker)
    };
    running.into_iter().map(join).collect()
}

/// Tokens of the first buyers, minted by as many threads as the load has.
fn mint(plan: &Plan) -> Tokens {
    let credentials = plan.credentials.clone();
    let is_wanted =
        matches!((&plan.target, &credentials), (Target::Http(_), Credentials::Secret(_)));
    let wanted = plan.buyers.min(Shared::slots(plan)).min(MINTED_MAX);
    let count = if is_wanted { wanted } else { 0 };
    let mut minted = vec![String::new(); count as usize];
    let share = minted.len().div_ceil(plan.threads).max(1);
    std::thread::scope(|scope| {
        for (part, tokens) in minted.chunks_mut(share).enumerate() {
            let credentials = &credentials;
            scope.spawn(move || {
                for (index, token) in tokens.iter_mut().enumerate() {
                    let buyer = (part * share + index) as u64;
                    *token = credentials.buyer(&Attempts::buyer_name(buyer));
                }
            });
        }
    });
    Tokens { admin: credentials.admin(), credentials, minted }
}
