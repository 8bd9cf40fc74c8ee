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
    /// When each hold was seen to begin, in which process, and how long it is to last.
    holds: BTreeMap<OrderId, (Instant, u64, Duration)>,
}

impl Record {
    fn new(id: PartitionId) -> Self {
        Self { twin: Twin::new(id), events: Vec::new(), holds: BTreeMap::new() }
    }

    /// Whatever wall clocks do: within one process no hold ends before its time.
    fn time_holds(
        &mut self,
        event: &Event,
        process: u64,
        unseen_max: Duration,
    ) -> Result<(), String> {
        let mut begin = |order, until: Timestamp| {
            let lasts = until.micros().saturating_sub(event.at.micros());
            let hold = (Instant::now(), process, Duration::from_micros(lasts));
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
        match self.holds.remove(&released.order) {
            Some((since, begun_in, lasts)) if begun_in == process => {
                let lasted = since.elapsed();
                // The core's time goes faster by at most 1/2000.
                if lasted + lasts / 2_000 + unseen_max < lasts {
                    return Err(format!(
                        "the hold of {} lasted {lasted:?} and not {lasts:?}",
                        released.order
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
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

    /// A batch became durable.
    pub fn committed(&self, partition: &Partition, batch: &Batch) {
        let id = partition.id();
        for event in Events::new(&batch.events, batch.first, batch.count) {
            match event {
                Ok((sequence, event)) => {
                    self.add(id, sequence, event, self.0.processes.get());
                }
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
        for event in Inspector::of(disk.clone(), identity).events(known.next()) {
            match event {
                Ok(event) if event.sequence <= known => {}
                // Of a process that has ended: its time is not that of this one.
                Ok(event) => self.add(id, event.sequence, event.event, 0),
                Err(error) => {
                    return self.broken(id, &format!("what was recovered cannot be read: {error}"));
                }
            }
        }
        if self.durable(id) != state.sequence() {
            let (found, read) = (state.sequence(), self.durable(id));
            return self.broken(id, &format!("recovered {found}, and the log ends at {read}"));
        }
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

    fn add(&self, id: PartitionId, sequence: Sequence, event: Event, process: u64) {
        let who = &format!("partition {id}");
        self.0.world.line(who, format_args!("{sequence} {event:?}"));
        self.0.world.count("events");
        if let Fact::Acknowledged { consumer: 0, through } = &event.fact
            && let Some(told) = &*self.0.acknowledged.borrow()
        {
            told(id, *through);
        }
        let mut record = self.0.partitions[id.index()].borrow_mut();
        let early = record.time_holds(&event, process, self.unseen_max());
        let replayed = early.and_then(|()| record.twin.replay(sequence, &event));
        record.events.push(event);
        drop(record);
        if let Err(why) = replayed {
            self.broken(id, &why);
        }
    }

    /// How much later than it was decided an event may be seen to be durable.
    fn unseen_max(&self) -> Duration {
        let dials = self.0.world.dials();
        Duration::from_secs(5) + 3 * dials.disk.slow_sync_max + dials.process.freeze_max
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
