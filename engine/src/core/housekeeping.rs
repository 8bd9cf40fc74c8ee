//! What a core does beside orders: a tick for expiries, stock levels and acknowledgements, and the
//! upkeep of each log, off the path of the commits.

use super::{Core, Owned};
use crate::host::{Host, Stream};
use crate::net::Connection;
use crate::state_machine::Level;
use doorbuster_protocol::session::StockLevel;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Expired holds go back, and edges hear of changed stock, within this and one commit.
const TICK: Duration = Duration::from_millis(10);
/// Ticks between looks at what consumers acknowledged.
const ACKNOWLEDGE_TICKS: u64 = 10;
/// Ticks between tries to find room on a full disk, and between looks for a log that failed: a tenth
/// of a second.
const ROOM_TICKS: u64 = 10;
/// Ticks between looks for connections that never proved their key, and at the wall clock.
const SLOW_TICKS: u64 = 100;
/// A difference from the wall clock is told when it has changed by this much.
const CLOCK_TOLD_US: u64 = 1_000_000;

impl<H: Host> Core<H> {
    /// Ticks until the core stops.
    pub(super) async fn keep_house(self: Rc<Self>) {
        let mut tick = 0u64;
        let mut told_us = 0;
        loop {
            self.host.sleep(TICK).await;
            tick += 1;
            if self.stopper.is_stopping() {
                self.stopped.raise();
                return;
            }
            for owned in self.owned() {
                self.expire(owned);
                self.count(owned);
                if tick.is_multiple_of(ACKNOWLEDGE_TICKS) {
                    self.log_acknowledgements(owned);
                }
                // One that failed in the snapshot thread ends the engine here: where nothing is
                // ordered no commit meets the failure, and nobody is fed.
                if tick.is_multiple_of(ROOM_TICKS)
                    && (owned.log.retries_snapshot()
                        || owned.log.wants_room()
                        || owned.log.has_failed())
                {
                    owned.upkeep.raise();
                }
            }
            self.push_changed_levels();
            if tick.is_multiple_of(SLOW_TICKS) {
                told_us = self.compare_clocks(told_us);
                let now = self.host.monotonic();
                for connection in self.connections.all() {
                    if connection.is_stranger_too_long(now) {
                        connection.close();
                    }
                }
            }
        }
    }

    /// Shows how many orders there are, and how many units could still be ordered.
    fn count(&self, owned: &Owned<H::Disk>) {
        let partition = owned.partition.borrow();
        let metrics = &self.metrics.partitions[partition.id().index()];
        metrics.orders.store(partition.state().orders_in_memory() as u64, Relaxed);
        metrics.units.store(partition.available_units(), Relaxed);
    }

    /// Says so when the wall clock is not where it was; how far ahead it was said to be.
    fn compare_clocks(&self, told_us: i64) -> i64 {
        let ahead_us = self.clock.get().wall_ahead_us(self.moment().wall);
        if ahead_us.abs_diff(told_us) < CLOCK_TOLD_US {
            return told_us;
        }
        tracing::warn!(
            ahead_ms = ahead_us / 1_000,
            "the wall clock is not where the engine's time is; holds and sale windows go by the \
             engine's, which leans towards it slowly, until a restart takes it over"
        );
        ahead_us
    }

    fn log_acknowledgements(&self, owned: &Owned<H::Disk>) {
        let mut partition = owned.partition.borrow_mut();
        partition.log_acknowledgements(self.now());
        if partition.has_open_batch() {
            owned.work.raise();
        }
        let acknowledged = partition.state().acknowledged();
        let metrics = &self.metrics.partitions[partition.id().index()];
        metrics.acknowledged.store(acknowledged.get(), Relaxed);
    }

    /// Fills the log ahead of its use, has snapshots taken, lets go of what nobody needs.
    pub(super) async fn keep_log(self: Rc<Self>, owned: Rc<Owned<H::Disk>>) {
        let id = owned.partition.borrow().id();
        let metrics = &self.metrics.partitions[id.index()];
        loop {
            // From before the pass on: a commit beside it may use up the room that it makes.
            let wanted = owned.upkeep.wait();
            if let Err(error) = owned.log.prepare().await {
                self.fail(id, error);
                owned.committed.raise();
                return;
            }
            let acknowledged = owned.partition.borrow().state().acknowledged();
            if let Err(error) = owned.log.trim(acknowledged).await {
                self.fail(id, error);
                owned.committed.raise();
                return;
            }
            self.refresh_room(&owned);
            owned.committed.raise();
            metrics.out_of_room.store(u64::from(owned.log.wants_room()), Relaxed);
            wanted.await;
        }
    }

    /// Tells a connection every level; after that it hears of changes.
    pub(super) fn push_all_levels(&self, connection: &Connection<H::Stream>) {
        let mut levels: Vec<StockLevel> = Vec::new();
        for owned in self.owned() {
            levels.extend(owned.partition.borrow().levels().map(level_on_the_wire));
        }
        send_levels(connection, &levels);
    }

    fn push_changed_levels(&self) {
        let mut levels: Vec<StockLevel> = Vec::new();
        for owned in self.owned() {
            let changed = owned.partition.borrow_mut().take_changed_levels();
            levels.extend(changed.into_iter().map(level_on_the_wire));
        }
        for connection in self.connections.all() {
            if !connection.watches_stock.get() {
                continue;
            }
            let missed = connection.missed_levels.get();
            if connection.is_congested() {
                connection.missed_levels.set(missed || !levels.is_empty());
            } else if missed {
                connection.missed_levels.set(false);
                self.push_all_levels(&connection);
            } else if !levels.is_empty() {
                send_levels(&connection, &levels);
            }
        }
    }
}

fn send_levels<S: Stream>(connection: &Connection<S>, levels: &[StockLevel]) {
    connection.session.borrow_mut().levels(levels);
    connection.flush();
}

fn level_on_the_wire(level: Level) -> StockLevel {
    let Level { product, stock, available, held, sold, waitlist_free, accepting } = level;
    StockLevel { product, stock, available, held, sold, waitlist_free, accepting }
}
