//! Connections that are held open beside the load and do nothing: the crowd that waits for the door
//! to open.
//!
//! Each looks at a product once, so that it is a keep-alive connection like that of a browser, and
//! then rests. It is not made again when the server closes it: how many were cut is what one wants to
//! know. All of them live on one thread, and cost a few hundred bytes each.

use crate::http::HttpLane;
use crate::lane::Tokens;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::target::{HttpTarget, Target};
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// Connections that are made at the same time.
const MADE_AT_ONCE: usize = 128;
/// How often they are looked after.
const LOOKED_AFTER_EVERY: Duration = Duration::from_millis(100);

/// What became of the idle connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IdleReport {
    /// Connections to hold.
    pub wanted: u64,
    /// Those that were made and answered.
    pub opened: u64,
    /// Those that stood at the end.
    pub stood: u64,
    /// Those that the server closed in between.
    pub cut: u64,
    /// Why the first that failed was not made.
    pub failure: Option<String>,
}

/// The idle connections of a run, on a thread of their own.
pub(crate) struct Idle {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<IdleReport>>,
}

impl Idle {
    /// Makes them all, and returns when they stand. `None`: the plan has none.
    pub(crate) fn open(
        plan: &Arc<Plan>,
        tokens: &Arc<Tokens>,
        progress: &Arc<Progress>,
    ) -> io::Result<Option<Self>> {
        if plan.idle == 0 {
            return Ok(None);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let (opened, all_opened) = channel();
        let until = Arc::clone(&is_over);
        let (plan, tokens, progress) = (Arc::clone(plan), Arc::clone(tokens), Arc::clone(progress));
        let thread = std::thread::Builder::new().name("idle".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            LocalSet::new().block_on(&runtime, async {
                let opening = open_all(plan, tokens, Arc::clone(&progress));
                let (mut report, streams) = opening.await;
                drop(opened);
                let stood = hold(streams, &progress, &until).await;
                report.stood = stood;
                report.cut = report.opened - stood;
                Ok(report)
            })
        })?;
        // It fails when the thread has dropped its end, which is what is waited for.
        let _: Result<(), _> = all_opened.recv();
        Ok(Some(Self { is_over, thread }))
    }

    /// Lets go of them, and says what became of them.
    pub(crate) fn finish(self) -> io::Result<IdleReport> {
        self.is_over.store(true, Relaxed);
        self.thread.join().expect("the thread of idle connections does not panic")
    }
}

/// Connections that are being made.
struct Opening {
    plan: Arc<Plan>,
    tokens: Arc<Tokens>,
    progress: Arc<Progress>,
    target: Arc<HttpTarget>,
    next: Cell<usize>,
    streams: RefCell<Vec<TcpStream>>,
    failure: RefCell<Option<String>>,
}

impl Opening {
    /// Makes one after the other, until there are enough.
    async fn make(&self) {
        let plan = &self.plan;
        while self.next.get() < plan.idle && !self.progress.is_stopped() {
            let number = self.next.replace(self.next.get() + 1);
            let source = plan.sources.map(|sources| sources.at(number));
            let lane = HttpLane::new(Arc::clone(&self.target), plan.request_timeout, source);
            let token = self.tokens.buyer(number as u64 % plan.buyers);
            match lane.rest_after_a_look(&plan.products[0], &token).await {
                Ok(stream) => {
                    self.streams.borrow_mut().push(stream);
                    self.progress.add_idle(1);
                }
                Err(why) => _ = self.failure.borrow_mut().get_or_insert(why),
            }
        }
    }
}

async fn open_all(
    plan: Arc<Plan>,
    tokens: Arc<Tokens>,
    progress: Arc<Progress>,
) -> (IdleReport, Vec<TcpStream>) {
    let Target::Http(target) = &plan.target else { return Default::default() };
    let opening = Rc::new(Opening {
        target: Arc::new(target.clone()),
        tokens,
        progress,
        next: Cell::new(0),
        streams: RefCell::new(Vec::with_capacity(plan.idle)),
        failure: RefCell::new(None),
        plan,
    });
    let makers: Vec<_> = (0..MADE_AT_ONCE)
        .map(|_| {
            let opening = Rc::clone(&opening);
            tokio::task::spawn_local(async move { opening.make().await })
        })
        .collect();
    for maker in makers {
        maker.await.expect("a maker does not panic");
    }
    let streams = opening.streams.take();
    let report = IdleReport {
        wanted: opening.plan.idle as u64,
        opened: streams.len() as u64,
        failure: opening.failure.take(),
        ..IdleReport::default()
    };
    (report, streams)
}

/// Holds them until the end; how many still stand.
async fn hold(mut streams: Vec<TcpStream>, progress: &Progress, is_over: &AtomicBool) -> u64 {
    loop {
        let is_last = is_over.load(Relaxed);
        let before = streams.len();
        // No system call: the runtime knows whether anything arrived.
        streams.retain(|stream| {
            let seen = stream.try_read(&mut [0]);
            matches!(seen, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
        });
        progress.cut_idle((before - streams.len()) as u64);
        if is_last {
            return streams.len() as u64;
        }
        tokio::time::sleep(LOOKED_AFTER_EVERY).await;
    }
}
