//! Memory for a sale that is to come, touched before it is needed.
//!
//! The first touch of a page costs a fault and the zeroing of the page, and on a virtual machine
//! often a wait for its host, which finds the memory only then. Orders come by the million, and a
//! core that has to wait so for the memory of each is slower by a third.
//!
//! So a thread takes memory from the allocator while few orders come, touches it, and holds it. As
//! orders come it gives back as much and a little more, which the allocator hands to whoever asks
//! next. It is held until then because an allocator returns to the system what is free for a second,
//! and a guest returns it to its host. No core waits for the thread or asks it for anything: where it
//! comes too late a core touches its memory itself.
//!
//! It does so in small steps with rests between, for a fifth of a CPU's time, and at the priority of
//! everybody else: while a page is found and zeroed, others who change the process's memory wait, and
//! would wait for long if this thread had to wait for a CPU then.
//!
//! It holds what the units on sale would need, should all be ordered, but no more than it is told
//! and no more than a part of what the system has left. A shop with a hundred lamps holds nothing.

mod available;

use crate::metrics::{EngineMetrics, PartitionMetrics};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of an order in the engine, all indexes included, when tables have just grown.
const ORDER_BYTES: u64 = 256;
/// The part of the memory that is available which may be held: one in so many bytes.
const AVAILABLE_PART: u64 = 8;
/// Bytes of a piece, taken and given back at once. mimalloc keeps its books by 32 MiB, and uses such
/// a chunk for blocks of any size only when all of it is free: a piece is one chunk, but for the 64
/// KiB of its header.
const PIECE_BYTES: u64 = (32 << 20) - (64 << 10);
/// Given back beyond what has grown, so that tables that double find it, too.
const LEAD_BYTES: u64 = 128 << 20;
/// Growth within a period from which on memory is given back: 16 000 orders a second. Below, a core
/// hardly waits for its memory, and most of a piece would go back to the system unused.
const GIVING_BYTES: u64 = 4 << 20;
/// With less growth than this within a period, memory is taken: 1 000 orders a second.
const QUIET_BYTES: u64 = 256 << 10;
/// A period: as long as mimalloc keeps what is free before it returns it to the system.
const PERIOD: Duration = Duration::from_secs(1);
/// Time between two looks at how many orders there are.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// The same while nothing is held.
const LOOK_EVERY_EMPTY: Duration = Duration::from_millis(100);
/// Bytes that are touched between two looks: about a huge page.
const STEP_BYTES: usize = 2 << 20;
/// The rest after a step: so many times what the step took, within these bounds.
const RESTS: u32 = 4;
const REST_BOUNDS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(100));
/// The step in which memory is touched: the smallest page there is.
const PAGE_BYTES: usize = 4096;

/// Bytes that may be held now, of those that are wanted at the most.
pub fn allowed(bytes_max: u64) -> u64 {
    allowed_of(bytes_max, available::bytes())
}

fn allowed_of(bytes_max: u64, available: u64) -> u64 {
    bytes_max.min(available / AVAILABLE_PART)
}

/// The thread. Dropping it ends it, and gives back what it holds.
#[derive(Debug)]
pub struct Reserve {
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Reserve {
    /// Starts the thread, which reads from `metrics` how many orders and units there are, holds up
    /// to `bytes_max`, and writes there what it holds; `None` when that is less than the 32 MiB
    /// that it takes at once, or the system has no thread to give: everything else works without.
    pub fn start(bytes_max: u64, metrics: Arc<EngineMetrics>) -> Option<Self> {
        if bytes_max < PIECE_BYTES {
            return None;
        }
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::Builder::new().name("reserve".to_owned());
        let thread = thread.spawn(move || keep(bytes_max, &metrics, &stopped)).ok()?;
        Some(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(bytes_max: u64, metrics: &EngineMetrics, stopped: &mpsc::Receiver<()>) {
    let began = Instant::now();
    let mut held = Held::new(bytes_max);
    let mut begun = Begun::default();
    let mut pause = LOOK_EVERY_EMPTY;
    while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
        let sum = |of: fn(&PartitionMetrics) -> &AtomicU64| -> u64 {
            metrics.partitions.iter().map(|partition| of(partition).load(Relaxed)).sum()
        };
        let (orders, units) = (sum(|its| &its.orders), sum(|its| &its.units));
        let looked = Instant::now();
        let takes = held.look(began.elapsed(), orders, units, available::bytes, || begun.touch());
        metrics.reserve_bytes.store(held.bytes(), Relaxed);
        metrics.reserve_wanted_bytes.store(held.wanted, Relaxed);
        pause = if takes {
            (looked.elapsed() * RESTS).clamp(REST_BOUNDS.0, REST_BOUNDS.1)
        } else {
            begun = Begun::default();
            if held.pieces.is_empty() { LOOK_EVERY_EMPTY } else { LOOK_EVERY }
        };
    }
    drop(held);
    metrics.reserve_bytes.store(0, Relaxed);
}

/// What is held.
#[derive(Debug)]
struct Held {
    max: u64,
    pieces: Vec<Vec<u8>>,
    /// Bytes that are to be held, in whole pieces.
    wanted: u64,
    /// Bytes that the system and `max` allow, as of the beginning of the period.
    allowed: u64,
    /// When the period ends.
    period_ends: Duration,
    /// Bytes of the most orders there were: orders that take the place of others need no memory.
    most: u64,
    /// Bytes by which they have grown in this period.
    grown: u64,
    /// Bytes that were given back and are not grown into yet.
    ahead: u64,
    /// Whether there was little growth in the period before this one.
    is_quiet: bool,
}

impl Held {
    fn new(max: u64) -> Self {
        Self {
            max,
            pieces: Vec::new(),
            wanted: 0,
            allowed: 0,
            period_ends: Duration::ZERO,
            most: 0,
            grown: 0,
            ahead: 0,
            is_quiet: true,
        }
    }

    fn bytes(&self) -> u64 {
        self.pieces.len() as u64 * PIECE_BYTES
    }

    /// At the time `at` since the start there are so many orders, and units that could be ordered:
    /// gives back what is due, or takes more; whether it did that.
    fn look(
        &mut self,
        at: Duration,
        orders: u64,
        units: u64,
        available: impl FnOnce() -> u64,
        take: impl FnOnce() -> Taken,
    ) -> bool {
        self.give_back(orders);
        if at >= self.period_ends {
            self.period_ends = at + PERIOD;
            self.is_quiet = self.grown < QUIET_BYTES;
            (self.grown, self.ahead) = (0, 0);
            self.allowed = allowed_of(self.max, available() + self.bytes());
        }
        let wanted = units.saturating_mul(ORDER_BYTES).min(self.allowed);
        self.wanted = wanted - wanted % PIECE_BYTES;
        self.pieces.truncate((wanted / PIECE_BYTES) as usize);
        // Taking is slow, and it takes time of the CPU from whoever runs there.
        let takes = self.is_quiet && self.grown < QUIET_BYTES && self.bytes() < self.wanted;
        if takes {
            match take() {
                Taken::Piece(piece) => self.pieces.push(piece),
                Taken::Part => {}
                // The process may not have more: no other try before the next period.
                Taken::Nothing => (self.allowed, self.wanted) = (self.bytes(), self.bytes()),
            }
        }
        takes
    }

    fn give_back(&mut self, orders: u64) {
        let all = orders * ORDER_BYTES;
        let grown = all.saturating_sub(self.most);
        self.most += grown;
        self.grown += grown;
        self.ahead = self.ahead.saturating_sub(grown);
        if self.grown < GIVING_BYTES {
            return;
        }
        while self.ahead < LEAD_BYTES && self.pieces.pop().is_some() {
            self.ahead += PIECE_BYTES;
        }
    }
}

/// What came of a step.
#[derive(Debug)]
enum Taken {
    /// A piece that the system has found and zeroed.
    Piece(Vec<u8>),
    /// A part of one.
    Part,
    /// The system has none.
    Nothing,
}

/// A piece that is touched step by step.
#[derive(Debug, Default)]
struct Begun {
    memory: Vec<u8>,
    /// Its bytes that are touched.
    touched: usize,
}

impl Begun {
    /// The next step of it, or the first of another.
    fn touch(&mut self) -> Taken {
        if self.memory.try_reserve_exact(PIECE_BYTES as usize).is_err() {
            return Taken::Nothing;
        }
        let end = (self.touched + STEP_BYTES).min(PIECE_BYTES as usize);
        // Writing all of it would cost as much again: a byte in each page is enough.
        let step = &mut self.memory.spare_capacity_mut()[self.touched..end];
        for page in step.chunks_mut(PAGE_BYTES) {
            page[0].write(1);
        }
        std::hint::black_box(step);
        self.touched = end;
        if end < PIECE_BYTES as usize {
            return Taken::Part;
        }
        Taken::Piece(std::mem::take(self).memory)
    }
}

#[cfg(test)]
#[path = "reserve_test.rs"]
mod tests;
