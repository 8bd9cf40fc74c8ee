//! A log at work, written down: appends of all sizes beside fills and trims, rotations, segments
//! used again, snapshots beside all of that, a disk that is full for a while, clean stops, and
//! processes that were killed, also in the middle of an append.

use super::recorder::{Recorder, drive, drive_both, drive_some};
use super::sale::{self, Batch, identity};
use super::trace::{Op, Remark};
use doorbuster_engine::log::{Log, LogConfig, LogError, create, take_snapshot};
use doorbuster_engine::storage::MemoryDisk;
use doorbuster_protocol::Sequence;

/// Batches of one work.
const BATCHES: usize = 150;
/// Batches between two restarts, about.
const BATCHES_PER_LIFE: usize = 16;
/// Events of the largest batch: three blocks.
const EVENTS_MAX: u32 = 100;

/// Small segments, so that a few batches fill one.
pub(crate) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 32 << 10,
        first_fill_bytes: 16 << 10,
        fill_ahead_bytes: 16 << 10,
        spares_max: 2,
        snapshot_segments: 2,
        snapshots: None,
    }
}

/// What was done, and what was to be logged by it.
pub(crate) struct Work {
    /// What it was made from: its name.
    pub(crate) seed: u64,
    pub(crate) ops: Vec<Op>,
    pub(crate) batches: Vec<Batch>,
    /// Appends that waited for a full disk.
    pub(crate) full: usize,
    pub(crate) snapshots: usize,
    pub(crate) trimmed: u32,
    /// Batches that were in flight when their process was killed, and that the next one found.
    pub(crate) in_flight: usize,
}

/// Works; the same seed does the same.
pub(crate) fn work(seed: u64) -> Work {
    let batches = sale::batches(seed, BATCHES, EVENTS_MAX);
    let recorder = Recorder::new(MemoryDisk::new(), seed);
    drive(create(&recorder, &config())).expect("a new log");
    recorder.remark(Remark::Made);
    let mut worker = Worker {
        recorder: recorder.clone(),
        random: fastrand::Rng::with_seed(seed),
        snapshot: None,
        done: Work {
            seed,
            ops: Vec::new(),
            batches,
            full: 0,
            snapshots: 0,
            trimmed: 0,
            in_flight: 0,
        },
    };
    let mut next = 0;
    while next < BATCHES {
        let life = worker.random.usize(1..2 * BATCHES_PER_LIFE).min(BATCHES - next);
        next = worker.live(next, next + life);
    }
    drop(worker.recorder);
    let trace = std::mem::replace(&mut *recorder.trace.borrow_mut(), super::trace::Trace::new(0));
    Work { ops: trace.ops, ..worker.done }
}

struct Worker {
    recorder: Recorder,
    random: fastrand::Rng,
    /// What a snapshot in the works will come to.
    snapshot: Option<doorbuster_engine::log::SnapshotTaken>,
    done: Work,
}

impl Worker {
    /// From a start to a stop, or to the end of the process without one; `from` batches were
    /// acknowledged before. Says how many were when it ended.
    fn live(&mut self, from: usize, to: usize) -> usize {
        self.recorder.remark(Remark::Started);
        let storage = self.recorder.in_turns();
        let (log, state) = drive(Log::recover(storage, identity(), config())).expect("sound");
        let whole = sale::logged(&self.done.batches, state.sequence()).expect("whole batches");
        let digest = |count: usize| self.done.batches[count - 1].digest;
        assert!(whole == 0 || digest(whole) == state.digest(), "it goes on where it was");
        // One that was in flight when the process was killed may be there, and counts from now on.
        assert!((from..=from + 1).contains(&whole), "{from} batches were acknowledged: {whole}");
        if whole > from {
            self.done.in_flight += 1;
            self.recorder.remark(Remark::Acknowledged(from));
        }
        let to = to.max(whole);
        for index in whole..to {
            self.append(&log, index);
        }
        match self.random.u8(..3) {
            0 => {
                drive(log.seal()).expect("a good disk");
                self.recorder.remark(Remark::Sealed);
            }
            1 if to < BATCHES => self.begin(&log, to),
            _ => {}
        }
        // A thread that was making a snapshot has ended with the process.
        self.finish_snapshot(&log);
        to
    }

    /// Begins an append that the end of the process cuts short.
    fn begin(&mut self, log: &Log<Recorder>, index: usize) {
        let batch = &self.done.batches[index];
        if log.has_room(batch.events.len()) {
            self.recorder.remark(Remark::Begun(index));
            let turns = self.random.usize(1..4);
            drive_some(turns, log.append(batch.first, batch.count, &batch.events));
        }
    }

    fn append(&mut self, log: &Log<Recorder>, index: usize) {
        let batch = self.done.batches[index].clone();
        let disk = self.recorder.disk().clone();
        match self.random.u8(..24) {
            0..3 => disk.set_space(Some(disk.used() + self.random.u64(..12 << 10))),
            3 => disk.set_space(None),
            _ => {}
        }
        if !log.has_room(batch.events.len()) {
            self.done.full += usize::from(log.wants_room());
            disk.set_space(None);
            drive(log.prepare()).expect("a good disk");
        }
        self.recorder.remark(Remark::Begun(index));
        let acknowledged = log.durable();
        let read = self.random.u8(..4) == 0;
        let recorder = self.recorder.clone();
        let append = async {
            let appended = log.append(batch.first, batch.count, &batch.events).await;
            appended.expect("room was promised, and the disk is good");
            recorder.remark(Remark::Acknowledged(index));
        };
        let keep = async {
            log.prepare().await?;
            if read {
                log.read_from(Sequence::new(acknowledged.get().max(1)), 1).await?;
            }
            log.trim(acknowledged).await
        };
        let ((), kept): ((), Result<_, LogError>) = drive_both(&mut self.random, append, keep);
        self.done.trimmed += kept.expect("a good disk").segments;
        self.snapshot(log);
    }

    /// Begins a snapshot now and then, and tells the log of one that has come to its end.
    fn snapshot(&mut self, log: &Log<Recorder>) {
        if self.snapshot.is_some() {
            if self.recorder.trace.borrow().is_alone() {
                self.finish_snapshot(log);
            }
            return;
        }
        let until = log.current_first();
        if log.snapshot().next() < until && self.random.u8(..3) == 0 {
            // A snapshot that finds no room is tried again later.
            if let Ok(taken) = take_snapshot(&self.recorder.aside(), identity(), until) {
                self.snapshot = Some(taken);
            }
        }
    }

    fn finish_snapshot(&mut self, log: &Log<Recorder>) {
        self.recorder.trace.borrow_mut().join();
        if let Some(taken) = self.snapshot.take() {
            self.done.snapshots += 1;
            log.note_snapshot(&taken);
        }
    }
}
