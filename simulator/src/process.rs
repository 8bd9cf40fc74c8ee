//! A process: some tasks that live, stand still and die together.
//!
//! A killed process loses every task at whatever await it is, and with it all that they own; a
//! frozen one is not polled until it is thawed, like one that was sent SIGSTOP. What a process holds
//! outside its memory (sockets, files, a store's connection) asks it whether it lives.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

const RUNNING: u8 = 0;
const FROZEN: u8 = 1;
const DEAD: u8 = 2;

/// Whether a process runs: for sockets and the like, which may have to be `Send`.
#[derive(Clone, Debug)]
pub struct Life(Arc<LifeState>);

#[derive(Debug, Default)]
struct LifeState {
    state: AtomicU8,
    /// Who waits for a thaw or for the end.
    waiting: Mutex<Vec<Waker>>,
}

impl Life {
    fn new() -> Self {
        Self(Arc::default())
    }
    /// Whether it was killed or has ended.
    pub fn is_dead(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == DEAD
    }
    /// Whether it stands still.
    pub fn is_frozen(&self) -> bool {
        self.0.state.load(Ordering::Relaxed) == FROZEN
    }
    /// Ready while the process runs or is dead; pending, and woken later, while it is frozen.
    pub fn poll_thawed(&self, context: &mut Context<'_>) -> Poll<()> {
        if !self.is_frozen() {
            return Poll::Ready(());
        }
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(context.waker().clone());
        Poll::Pending
    }
    /// Waits while the process is frozen.
    pub async fn thawed(&self) {
        std::future::poll_fn(|context| self.poll_thawed(context)).await;
    }
    fn become_(&self, state: u8) {
        self.0.state.store(state, Ordering::Relaxed);
        let waiting =
            std::mem::take(&mut *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        for waker in waiting {
            waker.wake();
        }
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;
/// Empty while the task is polled, and when it has ended.
type Slot = Rc<RefCell<Option<Task>>>;

/// A process. A clone is another handle of the same one; a restart is a new process.
#[derive(Clone)]
pub struct Process {
    name: Rc<str>,
    life: Life,
    tasks: Rc<RefCell<Vec<Slot>>>,
    spawned: Rc<Cell<usize>>,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Process({}, {} tasks)", self.name, self.tasks.borrow().len())
    }
}

impl Process {
    /// A process without tasks.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), life: Life::new(), tasks: Rc::default(), spawned: Rc::default() }
    }
    /// Its name, for traces.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Whether it runs, for what it holds outside.
    pub fn life(&self) -> &Life {
        &self.life
    }
    /// Whether it was killed.
    pub fn is_dead(&self) -> bool {
        self.life.is_dead()
    }

    /// Runs a task in it, on the `LocalSet` of the run. In a dead process it is dropped at once.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        if self.is_dead() {
            return;
        }
        let slot: Slot = Rc::new(RefCell::new(Some(Box::pin(task))));
        self.spawned.set(self.spawned.get() + 1);
        let mut tasks = self.tasks.borrow_mut();
        if self.spawned.get().is_multiple_of(64) {
            // Slots of ended tasks are shared by nobody.
            tasks.retain(|slot| Rc::strong_count(slot) > 1);
        }
        tasks.push(Rc::clone(&slot));
        drop(tasks);
        tokio::task::spawn_local(Gated { life: self.life.clone(), slot });
    }

    /// Ends it: every task is dropped where it stands, in the order in which they were spawned.
    pub fn kill(&self) {
        if self.is_dead() {
            return;
        }
        self.life.become_(DEAD);
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        for slot in tasks {
            // Outside the borrow: dropping a task may drop handles of this process. One that is
            // being polled right now is dropped when its poll returns.
            let task = slot.borrow_mut().take();
            drop(task);
        }
    }

    /// Stops polling it.
    pub fn freeze(&self) {
        if !self.is_dead() {
            self.life.become_(FROZEN);
        }
    }
    /// Goes on polling it.
    pub fn thaw(&self) {
        if self.life.is_frozen() {
            self.life.become_(RUNNING);
        }
    }
}

/// A task that is polled only while its process runs.
struct Gated {
    life: Life,
    slot: Slot,
}

impl Future for Gated {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.life.is_dead() {
            return Poll::Ready(());
        }
        if self.life.poll_thawed(context).is_pending() {
            return Poll::Pending;
        }
        // Taken out, so that the task may kill its own process.
        let Some(mut task) = self.slot.borrow_mut().take() else { return Poll::Ready(()) };
        if task.as_mut().poll(context).is_ready() || self.life.is_dead() {
            return Poll::Ready(());
        }
        *self.slot.borrow_mut() = Some(task);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::task::LocalSet;
    use tokio::time::sleep;

    fn count(process: &Process) -> Rc<Cell<u32>> {
        let counted = Rc::new(Cell::new(0));
        let counter = Rc::clone(&counted);
        process.spawn(async move {
            loop {
                sleep(Duration::from_millis(10)).await;
                counter.set(counter.get() + 1);
            }
        });
        counted
    }

    #[tokio::test(start_paused = true)]
    async fn a_frozen_process_stands_still_and_a_killed_one_lets_go() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let process = Process::new("engine");
                let counted = count(&process);
                sleep(Duration::from_millis(105)).await;
                assert_eq!(counted.get(), 10);
                process.freeze();
                sleep(Duration::from_millis(100)).await;
                assert_eq!(counted.get(), 10);
                process.thaw();
                sleep(Duration::from_millis(50)).await;
                assert!((14..=16).contains(&counted.get()), "{}", counted.get());
                process.kill();
                assert_eq!(Rc::strong_count(&counted), 1, "its memory is gone");
                process.spawn(async { unreachable!("a dead process runs nothing") });
                sleep(Duration::from_millis(50)).await;
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_may_kill_its_own_process() {
        let local = LocalSet::new();
        local
            .run_until(async {
                let process = Process::new("engine");
                let counted = count(&process);
                process.spawn({
                    let process = process.clone();
                    async move {
                        process.kill();
                        sleep(Duration::from_millis(1)).await;
                        unreachable!("it is dead");
                    }
                });
                sleep(Duration::from_millis(100)).await;
                assert_eq!((counted.get(), Rc::strong_count(&counted)), (0, 1));
            })
            .await;
    }
}
