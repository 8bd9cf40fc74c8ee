//! Watching an engine: every event that became durable, judged by a naive twin as it comes.
//!
//! It lives outside of the engine's process. What it saw become durable has to be there after every
//! restart; what a restart finds beyond that was written and not answered, and counts from then on.

use crate::world::World;
use doorbuster_engine::log::LogIdentity;
use doorbuster_engine::log::inspect::Inspector;
use doorbuster_engine::partition::{Batch, Partition};
use doorbuster_engine::state_machine::State;
use doorbuster_engine::state_machine::twin::Twin;
use doorbuster_engine::storage::MemoryDisk;
use doorbuster_protocol::event::{Event, Events, Fact};
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::{OrderId, PartitionId, Sequence, Timestamp};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Whoever watches. A clone is another handle of the same one.
#[derive(Clone)]
pub struct Observer(Rc<Shared>);

struct Shared {
    world: World,
    /// Processes that were started.
    processes: Cell<u64>,
    partitions: Vec<RefCell<Record>>,
    /// Who is told that the store's consumer was logged to have events.
    acknowledged: RefCell<Option<Acknowledged>>,
}

type Acknowledged = Box<dyn Fn(PartitionId, Sequence)>;

/// What is known of a partition.
struct Record {
    twin: Twin,
    /// All durable events, from the first on.
    events: Vec<Event>,
    holds: BTreeMap<OrderId, Hold>,
    /// When the last batch was taken to be written, and when it was durable; of a process that has
    /// committed nothing yet, when it had recovered.
    taken: Instant,
    committed: Instant,
}

/// A hold, as far as it is known by a clock that nobody steps.
struct Hold {
    /// It was not decided before.
    since: Instant,
    process: u64,
    lasts: Duration,
}

/// When something was decided, as far as that is known.
#[derive(Clone, Copy)]
struct Decided {
    earliest: Instant,
    latest: Instant,
    /// In which process; [`UNKNOWN`] for what a restart has found.
    process: u64,
}

/// No process has this number.
const UNKNOWN: u64 = 0;

impl Record {
    fn new(id: PartitionId) -> Self {
        let now = Instant::now();
        let holds = BTreeMap::new();
        Self { twin: Twin::new(id), events: Vec::new(), holds, taken: now, committed: now }
    }

    /// No hold ends before its time: within one process whatever wall clocks do, from one to the
    /// next by no more than those are stepped (`None`: by who knows how much).
    fn time_holds(
        &mut self,
        event: &Event,
        decided: Decided,
        stepped_max: Option<Duration>,
    ) -> Result<(), String> {
        let mut begin = |order, until: Timestamp| {
            let lasts = Duration::from_micros(until.micros().saturating_sub(event.at.micros()));
            let hold = Hold { since: decided.earliest, process: decided.process, lasts };
            self.holds.insert(order, hold);
        };
        match &event.fact {
            Fact::Placed(placed) => begin(placed.order, placed.expires_at),
            Fact::Defined { matched, .. } | Fact::Restocked { matched, .. } => {
                matched.orders.iter().for_each(|order| begin(*order, matched.expires_at));
            }
            Fact::Cancelled(released) | Fact::Expired(released) => {
                let matched = &released.matched;
                matched.orders.iter().for_each(|order| begin(*order, matched.expires_at));
            }
            _ => {}
        }
        let Fact::Expired(released) = &event.fact else { return Ok(()) };
        let Some(Hold { since, process, lasts }) = self.holds.remove(&released.order) else {
            return Ok(());
        };
        let is_same = process == decided.process && process != UNKNOWN;
        let slack = match stepped_max {
            _ if is_same => Duration::ZERO,
            Some(stepped_max) => stepped_max,
            None => return Ok(()),
        };
        let lasted = decided.latest.duration_since(since);
        // A core's time goes faster by at most 1/2000, and a wall clock drifts by as much.
        let faster = if is_same { lasts / 2_000 } else { lasts / 1_000 };
        if lasted + faster + slack + Duration::from_millis(1) < lasts {
            let order = released.order;
            return Err(format!("the hold of {order} lasted {lasted:?} and not {lasts:?}"));
        }
        Ok(())
    }
}

impl Observer {
    /// Nothing has happened yet.
    pub fn new(world: &World, partitions: PartitionCount) -> Self {
        let record = |id| RefCell::new(Record::new(id));
        Self(Rc::new(Shared {
            world: world.clone(),
            processes: Cell::new(0),
            partitions: partitions.all().map(record).collect(),
            acknowledged: RefCell::default(),
        }))
    }

    /// Every durable event of a partition, from the first on.
    pub fn events(&self, partition: PartitionId) -> Vec<Event> {
        self.0.partitions[partition.index()].borrow().events.clone()
    }
    /// The last durable event of a partition.
    pub fn durable(&self, partition: PartitionId) -> Sequence {
        self.0.partitions[partition.index()].borrow().twin.sequence()
    }

    /// From now on `told` hears how far the log says that the store is.
    pub fn tell_acknowledgements(&self, told: impl Fn(PartitionId, Sequence) + 'static) {
        *self.0.acknowledged.borrow_mut() = Some(Box::new(told));
    }

    /// A process begins.
    pub fn begin(&self) {
        self.0.processes.set(self.0.processes.get() + 1);
    }

    /// A batch became durable that was taken to be written at this time.
    pub fn committed(&self, partition: &Partition, batch: &Batch, taken: Instant) {
        let id = partition.id();
        let process = self.0.processes.get();
        let decided = {
            let mut record = self.0.partitions[id.index()].borrow_mut();
            // While nothing is written, a batch is taken in the moment in which it begins, unless
            // the process stands still; else it gathers from when the one before was taken.
            let is_at_once =
                record.committed < taken && self.0.world.dials().process.freeze_every.is_none();
            let earliest = if is_at_once { taken } else { record.taken };
            (record.taken, record.committed) = (taken, Instant::now());
            Decided { earliest, latest: taken, process }
        };
        for event in Events::new(&batch.events, batch.first, batch.count) {
            match event {
                Ok((sequence, event)) => self.add(id, sequence, event, decided),
                Err(error) => self.broken(id, &format!("an event cannot be read: {error}")),
            }
        }
        self.compare(partition.state());
    }

    /// A restart has found this in the log on `disk`.
    pub fn recovered(&self, state: &State, disk: &MemoryDisk, identity: LogIdentity) {
        let id = state.partition();
        let known = self.durable(id);
        if state.sequence() < known {
            let found = state.sequence();
            return self.broken(id, &format!("{known} was durable, and {found} was recovered"));
        }
        let now = Instant::now();
        let earliest = self.0.partitions[id.index()].borrow().taken;
        let decided = Decided { earliest, latest: now, process: UNKNOWN };
        for event in Inspector::of(disk.clone(), identity).events(known.next()) {
            match event {
                Ok(event) if event.sequence <= known => {}
                Ok(event) => self.add(id, event.sequence, event.event, decided),
                Err(error) => {
                    return self.broken(id, &format!("what was recovered cannot be read: {error}"));
                }
            }
        }
        if self.durable(id) != state.sequence() {
            let (found, read) = (state.sequence(), self.durable(id));
            return self.broken(id, &format!("recovered {found}, and the log ends at {read}"));
        }
        let mut record = self.0.partitions[id.index()].borrow_mut();
        (record.taken, record.committed) = (now, now);
        drop(record);
        self.compare(state);
        state.check_invariants();
    }

    /// The log on `disk` tells the same, read by other means.
    pub fn audit(&self, disk: &MemoryDisk, identity: LogIdentity) {
        let id = identity.partition;
        for event in Inspector::of(disk.clone(), identity).events(Sequence::new(1)) {
            let Ok(event) = event else {
                return self.broken(id, &format!("the log cannot be read: {event:?}"));
            };
            let record = self.0.partitions[id.index()].borrow();
            let known = record.events.get(event.sequence.get() as usize - 1);
            // What is written and not acknowledged is in the log, and not known here.
            if known.is_some_and(|known| *known != event.event) {
                drop(record);
                return self.broken(id, &format!("event {} is not what it was", event.sequence));
            }
        }
    }

    fn add(&self, id: PartitionId, sequence: Sequence, event: Event, decided: Decided) {
        let who = &format!("partition {id}");
        self.0.world.line(who, format_args!("{sequence} {event:?}"));
        self.0.world.count("events");
        if let Fact::Acknowledged { consumer: 0, through } = &event.fact
            && let Some(told) = &*self.0.acknowledged.borrow()
        {
            told(id, *through);
        }
        let mut record = self.0.partitions[id.index()].borrow_mut();
        let early = record.time_holds(&event, decided, self.stepped_max());
        let replayed = early.and_then(|()| record.twin.replay(sequence, &event));
        record.events.push(event);
        drop(record);
        if let Err(why) = replayed {
            self.broken(id, &why);
        }
    }

    /// How far the engine's wall clock may have been moved; `None`: nobody knows.
    fn stepped_max(&self) -> Option<Duration> {
        let clock = &self.0.world.dials().clock;
        // When the run heals it is set right.
        let drift = self.0.world.began().elapsed().mul_f64(clock.drift_ppm_max as f64 / 1e6);
        let offset = Duration::from_micros(clock.offset_us_max);
        clock.step_every.is_none().then_some(offset + drift + Duration::from_millis(100))
    }

    /// Compares a state with the twin, when it is no further than what is durable.
    fn compare(&self, state: &State) {
        let record = self.0.partitions[state.partition().index()].borrow();
        if record.twin.sequence() == state.sequence() {
            record.twin.compare(state);
        }
    }

    fn broken(&self, id: PartitionId, why: &str) {
        self.0.world.broken(format!("partition {id}: {why}"));
    }
}
