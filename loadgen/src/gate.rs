//! Who takes the next piece of work: one gate per worker, in front of all its lanes.
//!
//! A slot of the schedule can be taken once the pacer has released it, by whichever lane is free
//! first; a slot that nobody could take in time keeps its due time. Jobs (second sends, retries,
//! payments, looks at queued orders) stand in the same order by their due times, so that neither
//! starves the other. Jobs that lanes of their own do, and no others, stand apart. The run is over
//! when no slot is left, no job waits, and no lane is at work on something that could make another.

use crate::schedule::Schedule;
use std::cell::RefCell;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Due times that slots which nobody took are told by, at the most.
const GROUPS_MAX: u64 = 1 << 20;

/// A piece of work.
#[derive(Debug)]
pub(crate) enum Work<J> {
    /// The slot with this number, over the whole run; its latency counts from `due`.
    Slot { number: u64, due: Instant },
    /// Something that an earlier piece of work asked for.
    Job(J),
}

/// Which jobs a lane does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Slots, and jobs that any lane does.
    Main,
    /// Jobs that stand apart.
    Apart,
}

struct Later<J> {
    due: Instant,
    order: u64,
    job: J,
}

impl<J> PartialEq for Later<J> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<J> Eq for Later<J> {}
impl<J> PartialOrd for Later<J> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<J> Ord for Later<J> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

struct Inner<J> {
    schedule: Schedule,
    start: Instant,
    /// Slots taken.
    taken: u64,
    /// Slots whose time has come.
    released: u64,
    /// Slots that will ever be released; falls to `taken` when the run is stopped.
    slots: u64,
    /// By side.
    jobs: [BinaryHeap<Reverse<Later<J>>>; 2],
    /// Jobs ever pushed: among jobs of one time the first pushed goes first.
    pushed: u64,
    /// Pieces of work that lanes are at.
    under_way: u64,
}

/// What the gate can do for a lane right now.
enum Next<J> {
    Work(Work<J>),
    Wait,
    Over,
}

/// The gate of one worker. `J` is what a job says.
pub(crate) struct Gate<J> {
    inner: RefCell<Inner<J>>,
    /// Wakes lanes, by side.
    lanes: [Notify; 2],
    /// Wakes the pacer, when something earlier than it sleeps for was pushed.
    pacer: Notify,
}

impl<J> Gate<J> {
    pub(crate) fn new(schedule: Schedule, start: Instant) -> Self {
        let released = if schedule.is_paced() { 0 } else { schedule.owned() };
        Self {
            inner: RefCell::new(Inner {
                slots: schedule.owned(),
                schedule,
                start,
                taken: 0,
                released,
                jobs: [BinaryHeap::new(), BinaryHeap::new()],
                pushed: 0,
                under_way: 0,
            }),
            lanes: [Notify::new(), Notify::new()],
            pacer: Notify::new(),
        }
    }

    /// The next piece of work for a lane of this side, when its time has come; `None` when all is
    /// over. Whoever takes one says [`Gate::done`] when nothing more will follow from it.
    pub(crate) async fn claim(&self, side: Side) -> Option<Work<J>> {
        loop {
            match self.next(side) {
                Next::Work(work) => return Some(work),
                Next::Over => return None,
                Next::Wait => self.lanes[side as usize].notified().await,
            }
        }
    }

    fn next(&self, side: Side) -> Next<J> {
        let inner = &mut *self.inner.borrow_mut();
        let now = Instant::now();
        let has_slot = side == Side::Main && inner.taken < inner.released;
        let slot_due = has_slot.then(|| match inner.schedule.is_paced() {
            true => inner.start + inner.schedule.due(inner.taken),
            false => now,
        });
        let jobs = &inner.jobs[side as usize];
        let job_due = jobs.peek().map(|Reverse(job)| job.due).filter(|due| *due <= now);
        let work = match (slot_due, job_due) {
            (None, None) if inner.is_over() => return Next::Over,
            (None, None) => return Next::Wait,
            (Some(due), None) => inner.take_slot(due),
            // A closed loop's slots are always due now: there, jobs go first.
            (Some(slot), Some(job)) if slot < job => inner.take_slot(slot),
            (_, Some(_)) => {
                let Reverse(later) = inner.jobs[side as usize].pop().expect("it was just seen");
                Work::Job(later.job)
            }
        };
        inner.under_way += 1;
        Next::Work(work)
    }

    /// A piece of work has come to its end.
    pub(crate) fn done(&self) {
        let is_over = {
            let inner = &mut *self.inner.borrow_mut();
            assert!(inner.under_way > 0, "only work that was taken comes to its end");
            inner.under_way -= 1;
            inner.is_over()
        };
        if is_over {
            self.wake_lanes();
            self.pacer.notify_one();
        }
    }

    /// Adds a job that is to be done at `due` by a lane of this side.
    pub(crate) fn push(&self, job: J, due: Instant, side: Side) {
        {
            let inner = &mut *self.inner.borrow_mut();
            inner.pushed += 1;
            inner.jobs[side as usize].push(Reverse(Later { due, order: inner.pushed, job }));
        }
        if due <= Instant::now() {
            self.lanes[side as usize].notify_one();
        } else {
            self.pacer.notify_one();
        }
    }

    /// Gives up slots that are due since longer than `patience` and that no lane had time for; the
    /// times at which they were due.
    pub(crate) fn give_up(&self, patience: Duration) -> impl Iterator<Item = Instant> {
        let inner = &mut *self.inner.borrow_mut();
        let (start, from) = (inner.start, inner.taken);
        let due =
            start.elapsed().checked_sub(patience).map_or(0, |due| inner.schedule.released(due));
        inner.taken = due.clamp(from, inner.released.max(from));
        let schedule = inner.schedule.clone();
        (from..inner.taken).map(move |slot| start + schedule.due(slot))
    }

    /// Releases what is due by now, and says when to come again (`None`: never).
    pub(crate) fn release(&self) -> Option<Instant> {
        let (wakes, wakes_apart, next) = {
            let inner = &mut *self.inner.borrow_mut();
            let now = Instant::now();
            let due = inner.schedule.released(now - inner.start).min(inner.slots);
            let slots = due.saturating_sub(inner.released);
            inner.released = inner.released.max(due);
            let slot = (inner.released < inner.slots)
                .then(|| inner.start + inner.schedule.due(inner.released));
            let jobs = inner.jobs.each_ref().map(|jobs| jobs.peek().map(|Reverse(job)| job.due));
            let [is_due, is_due_apart] = jobs.map(|job| job.is_some_and(|due| due <= now));
            // A due job that no lane has taken yet will be seen by the next lane that comes free.
            let jobs =
                jobs.into_iter().flatten().map(|due| due.max(now + Duration::from_millis(1)));
            let next = if inner.is_over() { None } else { slot.into_iter().chain(jobs).min() };
            (slots + u64::from(is_due), is_due_apart, next)
        };
        for _ in 0..wakes.min(1 << 16) {
            self.lanes[Side::Main as usize].notify_one();
        }
        if wakes_apart {
            self.lanes[Side::Apart as usize].notify_one();
        }
        next
    }

    /// Until a job was pushed that may be due before what the pacer waits for.
    pub(crate) async fn pushed(&self) {
        self.pacer.notified().await;
    }

    /// Slots whose time has come, and slots that were taken.
    pub(crate) fn slots(&self) -> (u64, u64) {
        let inner = self.inner.borrow();
        (inner.released, inner.taken)
    }

    /// Whether nothing is left, and nothing can come.
    pub(crate) fn is_over(&self) -> bool {
        self.inner.borrow().is_over()
    }

    /// Whether all slots are taken and answered or at work.
    pub(crate) fn slots_are_taken(&self) -> bool {
        let inner = self.inner.borrow();
        inner.taken >= inner.slots
    }

    /// No further slots; jobs go on.
    pub(crate) fn close_slots(&self) {
        let had_slots = {
            let inner = &mut *self.inner.borrow_mut();
            let had_slots = inner.slots > inner.taken;
            inner.slots = inner.taken;
            inner.released = inner.taken;
            had_slots
        };
        if had_slots {
            self.wake_lanes();
        }
    }

    /// Jobs that nobody will do are dropped.
    pub(crate) fn drop_jobs(&self) -> usize {
        let dropped = {
            let inner = &mut *self.inner.borrow_mut();
            inner.jobs.iter_mut().map(|jobs| jobs.drain().count()).sum()
        };
        if dropped > 0 {
            self.wake_lanes();
        }
        dropped
    }

    /// Slots whose time came and that nobody took, oldest first: due times, and how many slots each
    /// stands for. A rate that nothing can keep up with leaves billions of them.
    pub(crate) fn untaken(&self) -> impl Iterator<Item = (Instant, u64)> + use<J> {
        let inner = self.inner.borrow();
        // A closed loop's slots have no time of their own: nobody waited for them.
        let end = if inner.schedule.is_paced() { inner.released } else { inner.taken };
        let (first, start, schedule) = (inner.taken, inner.start, inner.schedule.clone());
        let group = (end - first).div_ceil(GROUPS_MAX).max(1);
        (first..end).step_by(group as usize).map(move |first| {
            let slots = group.min(end - first);
            (start + schedule.due(first + slots / 2), slots)
        })
    }

    fn wake_lanes(&self) {
        for lanes in &self.lanes {
            lanes.notify_waiters();
        }
    }
}

impl<J> Inner<J> {
    fn take_slot(&mut self, due: Instant) -> Work<J> {
        let number = self.schedule.number(self.taken);
        self.taken += 1;
        Work::Slot { number, due }
    }

    fn is_over(&self) -> bool {
        let has_jobs = self.jobs.iter().any(|jobs| !jobs.is_empty());
        self.taken >= self.slots && !has_jobs && self.under_way == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(slots: u64) -> Gate<&'static str> {
        Gate::new(Schedule::closed(slots, 0, 1), Instant::now())
    }

    fn take(gate: &Gate<&'static str>) -> String {
        take_on(gate, Side::Main)
    }

    fn take_on(gate: &Gate<&'static str>, side: Side) -> String {
        match gate.next(side) {
            Next::Work(Work::Slot { number, .. }) => format!("slot {number}"),
            Next::Work(Work::Job(job)) => job.to_owned(),
            Next::Wait => "wait".to_owned(),
            Next::Over => "over".to_owned(),
        }
    }

    #[test]
    fn slots_then_the_end() {
        let gate = closed(2);
        assert_eq!([take(&gate), take(&gate), take(&gate)], ["slot 0", "slot 1", "wait"]);
        gate.done();
        assert!(!gate.is_over(), "one is still at work");
        gate.done();
        assert_eq!(take(&gate), "over");
    }

    #[test]
    fn a_job_keeps_the_run_alive_and_waits_for_its_time() {
        let gate = closed(1);
        assert_eq!(take(&gate), "slot 0");
        gate.push("much later", Instant::now() + Duration::from_secs(3_600), Side::Main);
        gate.push("now", Instant::now(), Side::Main);
        gate.done();
        assert_eq!([take(&gate), take(&gate)], ["now", "wait"]);
        gate.done();
        assert!(!gate.is_over());
        assert_eq!(gate.drop_jobs(), 1);
        assert_eq!(take(&gate), "over");
    }

    #[test]
    fn jobs_of_one_time_keep_their_order() {
        let gate = closed(1);
        let due = Instant::now();
        for job in ["a", "b", "c"] {
            gate.push(job, due, Side::Main);
        }
        assert_eq!([take(&gate), take(&gate), take(&gate)], ["a", "b", "c"]);
        assert_eq!(take(&gate), "slot 0");
    }

    #[test]
    fn an_open_loop_gives_out_what_is_released_with_its_due_time() {
        let start = Instant::now() - Duration::from_secs(1);
        let gate: Gate<&str> = Gate::new(Schedule::open(10.0, 1_000, 0, 1), start);
        assert!(matches!(gate.next(Side::Main), Next::Wait));
        let again = gate.release().expect("more slots come");
        let (released, _) = gate.slots();
        assert!(released >= 11, "slot 0 and one every tenth of a second: {released}");
        assert!(again > start + Duration::from_secs(1));
        let Next::Work(Work::Slot { number, due }) = gate.next(Side::Main) else {
            panic!("a slot is due")
        };
        assert_eq!((number, due), (0, start));
        assert_eq!(gate.untaken().map(|(_, slots)| slots).sum::<u64>(), released - 1);
        gate.close_slots();
        gate.done();
        assert!(gate.is_over());
    }

    #[test]
    fn billions_that_nobody_took_are_told_in_groups() {
        let start = Instant::now() - Duration::from_secs(3);
        let gate: Gate<&str> = Gate::new(Schedule::open(1e9, 2_000_000_000, 0, 1), start);
        gate.release();
        let (mut groups, mut slots, mut last) = (0, 0, start);
        for (due, times) in gate.untaken() {
            assert!(due >= last && due < start + Duration::from_secs(2));
            (groups, slots, last) = (groups + 1, slots + times, due);
        }
        assert!(groups <= GROUPS_MAX, "{groups}");
        assert_eq!(slots, 2_000_000_000);
    }

    #[test]
    fn jobs_that_stand_apart_are_left_to_lanes_of_their_own() {
        let gate = closed(1);
        gate.push("pay", Instant::now(), Side::Apart);
        assert_eq!([take(&gate), take(&gate)], ["slot 0", "wait"]);
        assert_eq!([take_on(&gate, Side::Apart), take_on(&gate, Side::Apart)], ["pay", "wait"]);
        gate.done();
        gate.push("cancel", Instant::now(), Side::Apart);
        gate.done();
        assert!(!gate.is_over());
        assert_eq!(take_on(&gate, Side::Apart), "cancel");
        gate.done();
        assert!(gate.is_over());
    }

    #[test]
    fn slots_that_nobody_had_time_for_are_given_up() {
        let start = Instant::now() - Duration::from_secs(1);
        let gate: Gate<&str> = Gate::new(Schedule::open(10.0, 1_000, 0, 1), start);
        gate.release();
        let due: Vec<Instant> = gate.give_up(Duration::from_millis(500)).collect();
        assert!((6..=7).contains(&due.len()), "those of the first half second: {}", due.len());
        assert_eq!(due[..2], [start, start + Duration::from_millis(100)]);
        assert_eq!(gate.give_up(Duration::from_secs(2)).count(), 0);
        let Next::Work(Work::Slot { number, .. }) = gate.next(Side::Main) else { panic!("a slot") };
        assert_eq!(number, due.len() as u64);
    }
}
