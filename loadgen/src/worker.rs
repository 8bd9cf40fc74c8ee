//! One thread: its runtime, its lanes, its pacer.
//!
//! Nothing is shared with other workers but the plan, the counters to watch, and the moment at
//! which all of them begin.

use crate::binary::BinaryLane;
use crate::books::{Books, Seen};
use crate::errand::Errands;
use crate::flow::thread_cpu;
use crate::gate::{Gate, Side};
use crate::http::HttpLane;
use crate::journal::Pen;
use crate::lane::{Lane, Tokens, Wares};
use crate::pacer::{self, Bounds};
use crate::plan::{Amount, Pace, Plan};
use crate::progress::Progress;
use crate::retry::Retries;
use crate::schedule::Schedule;
use crate::target::Target;
use crate::{attempt::Attempts, plan};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Barrier, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::LocalSet;

const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_millis(200);
/// How long an open loop may go on past the end of its schedule to send what is late.
const OVERRUN_MAX: Duration = Duration::from_secs(30);
/// How long jobs may go on past the last slot, beside the times that the plan itself names.
const JOBS_MAX: Duration = Duration::from_secs(60);

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) plan: Arc<Plan>,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) progress: Arc<Progress>,
    /// All workers have their connections, and begin together.
    pub(crate) barrier: Barrier,
    pub(crate) start: OnceLock<Instant>,
    /// Why the run ended early. A lock, because it is taken at most once per worker.
    pub(crate) ended_by: Mutex<Option<String>>,
}

impl Shared {
    /// Slots of the whole run.
    pub(crate) fn slots(plan: &Plan) -> u64 {
        match (plan.amount, plan.pace) {
            _ if !plan.stages.is_empty() => Schedule::stages(&plan.stages, 0, 1).owned(),
            (Amount::Attempts(attempts), _) => attempts,
            (Amount::Duration(duration), Pace::Open { rate }) => Schedule::slots_in(rate, duration),
            (Amount::Duration(_), Pace::Closed) => plan::ATTEMPTS_MAX,
        }
    }

    fn bounds(&self, start: Instant) -> Bounds {
        let plan = &self.plan;
        let patience =
            if plan.tolerate_disconnects { plan.reconnect_patience } else { Duration::ZERO };
        let slots_until = match (plan.amount, plan.pace) {
            _ if !plan.stages.is_empty() => {
                let schedule: Duration = plan.stages.iter().map(|stage| stage.duration).sum();
                start + schedule + OVERRUN_MAX + patience
            }
            (Amount::Duration(duration), Pace::Closed) => start + duration,
            (_, Pace::Open { rate }) => {
                let schedule = Duration::from_secs_f64(Self::slots(plan) as f64 / rate);
                start + schedule + OVERRUN_MAX + patience
            }
            // A closed loop of so many attempts ends when the server has answered them.
            (Amount::Attempts(_), Pace::Closed) => start + Duration::from_secs(7 * 24 * 3_600),
        };
        let looking = plan.follow_queued.map_or(Duration::ZERO, |follow| follow.patience);
        Bounds { slots_until, jobs_for: plan.think_time + looking + patience + JOBS_MAX }
    }

    fn end(&self, why: String) {
        let mut ended_by = self.ended_by.lock().unwrap_or_else(PoisonError::into_inner);
        ended_by.get_or_insert(why);
        drop(ended_by);
        self.progress.stop();
    }
}

/// Runs worker number `worker` to its end, on this thread.
pub(crate) fn work(shared: &Arc<Shared>, worker: usize, journal: Option<Pen>) -> io::Result<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            // The others must not wait for this one for ever.
            shared.barrier.wait();
            return Err(error);
        }
    };
    let local = LocalSet::new();
    local.block_on(&runtime, run(shared, worker, journal))
}

async fn run(shared: &Arc<Shared>, worker: usize, journal: Option<Pen>) -> io::Result<Seen> {
    let plan = &shared.plan;
    let lanes = connect_lanes(shared, worker).await;
    shared.barrier.wait();
    let start = *shared.start.get_or_init(Instant::now);

    let slots = Shared::slots(plan);
    let schedule = match plan.pace {
        _ if !plan.stages.is_empty() => Schedule::stages(&plan.stages, worker, plan.threads),
        Pace::Open { rate } => Schedule::open(rate, slots, worker, plan.threads),
        Pace::Closed => Schedule::closed(slots, worker, plan.threads),
    };
    let books = Rc::new(Books::new(plan, start));
    let (began, cpu_before) = (Instant::now(), thread_cpu());
    let errands = Rc::new(Errands {
        plan: Arc::clone(plan),
        wares: wares(shared),
        gate: Gate::new(schedule, start),
        retries: Retries::new(plan.retries, plan.retrying),
        books: Rc::clone(&books),
        progress: Arc::clone(&shared.progress),
        journal,
        looking_since: Cell::new(None),
    });

    let driven: Vec<_> = lanes
        .into_iter()
        .map(|(lane, side)| {
            let (shared, errands) = (Arc::clone(shared), Rc::clone(&errands));
            tokio::task::spawn_local(async move { drive(lane, side, &errands, &shared).await })
        })
        .collect();
    let pacer = {
        let (errands, bounds) = (Rc::clone(&errands), shared.bounds(start));
        tokio::task::spawn_local(async move {
            let Errands { gate, progress, books, plan, .. } = &*errands;
            pacer::pace(gate, bounds, progress, books, plan.patience).await
        })
    };
    for lane in driven {
        lane.await.expect("a lane does not panic");
    }
    if errands.gate.is_over() {
        pacer.await.expect("the pacer does not panic")?;
    } else {
        // Every lane gave up, so nobody takes what is left.
        pacer.abort();
        let _ = pacer.await;
        books.cut_short(errands.gate.untaken(), Instant::now());
        books.dropped(errands.gate.drop_jobs());
    }
    drop(errands);
    let books = Rc::into_inner(books).expect("lanes and pacer have ended");
    Ok(books.close(thread_cpu().saturating_sub(cpu_before), began.elapsed()))
}

fn wares(shared: &Shared) -> Wares {
    let plan = &shared.plan;
    let body = if plan.waitlist {
        format!(r#"{{"quantity":{},"waitlist":true}}"#, plan.quantity)
    } else {
        format!(r#"{{"quantity":{}}}"#, plan.quantity)
    };
    Wares {
        attempts: Arc::clone(&shared.attempts),
        tokens: Arc::clone(&shared.tokens),
        body: body.into_bytes(),
        quantity: plan.quantity,
        waitlist: plan.waitlist,
    }
}

/// This worker's lanes and what each is for, connected if the server is there.
async fn connect_lanes(shared: &Shared, worker: usize) -> Vec<(Lane, Side)> {
    let plan = &shared.plan;
    let share = |all: usize| all / plan.threads + usize::from(worker < all % plan.threads);
    let (main, apart) = (share(plan.concurrency), share(plan.acting_concurrency));
    let count = main + apart;
    let mut lanes = Vec::with_capacity(count);
    match &plan.target {
        Target::Http(target) => {
            let target = Arc::new(target.clone());
            for index in 0..count {
                let number = worker + index * plan.threads;
                let source = plan.sources.map(|sources| sources.at(number));
                let mut lane = HttpLane::new(Arc::clone(&target), plan.request_timeout, source);
                // A failure shows again when the lane begins, and is dealt with there.
                let _ = lane.connect().await;
                lanes.push(Lane::Http(lane));
            }
        }
        Target::Binary(seeds, key) => {
            let first = BinaryLane::new(seeds.clone(), key.clone(), plan);
            let _ = first.connect().await;
            lanes.extend((1..count).map(|_| Lane::Binary(first.clone())));
            lanes.push(Lane::Binary(first));
        }
    }
    let sides = std::iter::repeat_n(Side::Main, main).chain(std::iter::repeat(Side::Apart));
    lanes.into_iter().zip(sides).collect()
}

/// One lane, from the first piece of work to the last.
async fn drive(mut lane: Lane, side: Side, errands: &Errands, shared: &Shared) {
    let mut standing = None;
    loop {
        if !lane.is_connected() {
            drop(standing.take());
            if !reconnect(&mut lane, errands, shared).await {
                return;
            }
        }
        standing.get_or_insert_with(|| Standing::of(&shared.progress));
        let Some(work) = errands.gate.claim(side).await else { return };
        if !lane.is_connected() {
            // It was closed while there was nothing to do; that is no failure of any request.
            if !reconnect(&mut lane, errands, shared).await {
                errands.run(&mut lane, work).await;
                return errands.gate.done();
            }
        }
        errands.run(&mut lane, work).await;
        errands.gate.done();
    }
}

/// A connection that stands, for whoever watches.
struct Standing<'a>(&'a Progress);

impl<'a> Standing<'a> {
    fn of(progress: &'a Progress) -> Self {
        progress.connected(1);
        Self(progress)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.connected(-1);
    }
}

/// Tries until there is a connection. `false`: the run is over, or nobody wants to wait.
async fn reconnect(lane: &mut Lane, errands: &Errands, shared: &Shared) -> bool {
    let plan = &shared.plan;
    let begun = Instant::now();
    let mut backoff = BACKOFF_MIN;
    loop {
        if errands.gate.is_over() || shared.progress.is_stopped() {
            return false;
        }
        let error = match lane.connect().await {
            Ok(()) => {
                errands.books.tally(Instant::now()).reconnects += 1;
                return true;
            }
            Err(error) => error,
        };
        if !plan.tolerate_disconnects || begun.elapsed() >= plan.reconnect_patience {
            shared.end(format!("{} cannot be reached any more: {error}", plan.target));
            return false;
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}
