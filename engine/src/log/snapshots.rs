//! Making snapshots without the hot path: a thread replays closed segments onto the last snapshot.
//!
//! The thread reads and writes the log's directory with blocking calls, at low priority, one log at
//! a time. It keeps no state between two snapshots, so that memory is needed only while it works.
//! Two snapshots are kept: should the newest be damaged, the one before it serves, with more of
//! the log to replay. A full disk can do without that: there a snapshot is due with every segment,
//! and one that was read back whole is enough for segments to go, so that a sale goes on by itself
//! on a disk that is small. A snapshot that cannot be made is no fault of the log: it is tried again
//! when the next segment closes, and one that found no room every now and then before that, because
//! on a full disk no segment closes until it is there. Only a failed sync of the directory ends the
//! log, too, because its own names are no more certain than the snapshot's.

use super::error::{DamageKind, LogError, LogIdentity};
use super::recovery::apply_frame;
use super::segments::{Listing, missing, snapshot_name};
use super::snapshot_file::{self, newest};
use super::walk::{Step, Walk};
use super::writer::Log;
use crate::storage::{Immediate, Shortage, StdDisk, Storage, run_immediate};
use doorbuster_protocol::Sequence;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;

/// Niceness of the snapshot thread: it takes what the cores leave.
const NICENESS: i32 = 19;
/// A snapshot is due when the log after the last one is this many times as long as that one: reading
/// and writing the whole state stays a constant part of the work, however large the state grows.
const LOG_PER_SNAPSHOT: u64 = 2;
/// A snapshot that found no room is tried again after so many looks, of which there are ten in a
/// second ([`Log::retries_snapshot`]) ...
const LOOKS_MIN: u64 = 10;
/// ... and one more for so many bytes that have to be read for it: a tenth of what reading takes.
const BYTES_PER_LOOK: u64 = 1 << 20;
/// Snapshots that are kept.
const KEPT: usize = 2;

/// How far the snapshots of one log go. Shared by the log and the snapshot thread.
#[derive(Debug, Default)]
pub(super) struct SnapshotState {
    newest: AtomicU64,
    covered: AtomicU64,
    /// Bytes of the newest one.
    bytes: AtomicU64,
    /// The first sequence of the current segment when the last snapshot was asked for.
    asked: AtomicU64,
    /// The last snapshot that was asked to be read back.
    read_back: AtomicU64,
    is_busy: AtomicBool,
    /// Whether the last snapshot that was asked for found no room.
    is_owed: AtomicBool,
    /// Looks since then.
    looks: AtomicU64,
    /// Why nobody knows any more which names are durable: the log must not go on either.
    failure: OnceLock<String>,
}

impl SnapshotState {
    pub(super) fn new(newest: Sequence, covered: Sequence, bytes: u64) -> Self {
        Self {
            newest: AtomicU64::new(newest.get()),
            covered: AtomicU64::new(covered.get()),
            bytes: AtomicU64::new(bytes),
            ..Self::default()
        }
    }
    /// Up to where segments can go: the last event of the snapshot before the newest.
    pub(super) fn covered(&self) -> Sequence {
        Sequence::new(self.covered.load(Ordering::Acquire))
    }
    fn newest(&self) -> Sequence {
        Sequence::new(self.newest.load(Ordering::Acquire))
    }
    /// The first failure of a sync that the log relies on, too.
    pub(super) fn failure(&self) -> Option<&String> {
        self.failure.get()
    }
    fn note_failure(&self, error: &LogError) {
        if error.is_no_room() {
            self.looks.store(0, Ordering::Relaxed);
            self.is_owed.store(true, Ordering::Release);
        }
        // What else can fail is done without, and tried again with another file.
        if matches!(error, LogError::NamesUncertain { .. }) {
            let _ = self.failure.set(error.to_string());
        }
    }
    fn note(&self, taken: &SnapshotTaken) {
        if taken.bytes > 0 {
            self.bytes.store(taken.bytes, Ordering::Relaxed);
            self.is_owed.store(false, Ordering::Release);
        }
        self.newest.store(taken.newest.get(), Ordering::Release);
        self.covered.store(taken.covered.get(), Ordering::Release);
    }
}

/// What one snapshot came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotTaken {
    /// Its last event.
    pub newest: Sequence,
    /// The last event of the one before it; zero when there was none.
    pub covered: Sequence,
    /// Its bytes; zero when there was nothing new to write.
    pub bytes: u64,
}

/// Replays closed segments up to before `until`, and writes the snapshot of what comes out.
///
/// `until` is the first sequence of the segment that is being written. Safe beside a running log.
pub fn take_snapshot<S: Immediate>(
    storage: &S,
    identity: LogIdentity,
    until: Sequence,
) -> Result<SnapshotTaken, LogError> {
    let listing = run_immediate(Listing::read(storage))?;
    let mut base = newest(storage, &identity, &listing);
    let covered = base.state.sequence();
    let mut taken = SnapshotTaken { newest: covered, covered: Sequence::ZERO, bytes: 0 };
    if covered.next() >= until {
        let kept = listing.snapshots.iter().map(|named| named.sequence);
        taken.covered = kept.filter(|sequence| *sequence < covered).max().unwrap_or_default();
        return Ok(taken);
    }
    let from = listing.segment_of(covered.next());
    let closed = listing.segments.partition_point(|segment| segment.sequence < until);
    let Some(from) = from else {
        return Err(missing(storage.path().to_owned(), covered.next()));
    };
    let segments = listing.segments[from..closed].to_vec();
    let mut walk = Walk::new(storage.clone(), identity, segments, Some(until));
    while run_immediate(walk.step())? == Step::Frame {
        apply_frame(&walk, &mut base.state)?;
    }
    assert_eq!(base.state.sequence().next(), until, "closed segments end where the next begins");
    taken.bytes = snapshot_file::write(storage, &identity, &base.state)?;
    taken.newest = base.state.sequence();
    taken.covered = covered;
    forget_old(storage, covered)?;
    Ok(taken)
}

/// Reads the newest snapshot, which must be the one at `expected`, back whole and from the device:
/// it alone is then enough to let go of what it covers.
fn read_newest_back<S: Immediate>(
    storage: &S,
    identity: LogIdentity,
    expected: Sequence,
) -> Result<SnapshotTaken, LogError> {
    let damaged = |kind| LogError::Damaged {
        file: storage.path().join(snapshot_name(expected)),
        offset: 0,
        sequence: expected,
        kind,
    };
    let listing = run_immediate(Listing::read(storage))?;
    for named in &listing.snapshots {
        storage.forget_cached(&named.name);
    }
    let base = newest(storage, &identity, &listing);
    let good = base.state.sequence();
    if good < expected {
        let unread = base.unreadable.iter().find(|(named, _)| named.sequence == expected);
        return Err(match unread {
            Some((named, why)) => why.error(storage, named),
            None => damaged(DamageKind::Snapshot),
        });
    }
    let digest = base.state.try_digest().map_err(|source| LogError::Io {
        doing: "read back",
        file: storage.path().join(snapshot_name(expected)),
        source,
    })?;
    if base.digest != Some(digest) {
        return Err(damaged(DamageKind::SnapshotDisagrees));
    }
    Ok(SnapshotTaken { newest: good, covered: good, bytes: 0 })
}

/// Removes every snapshot but the newest and the one at `base`, and unfinished ones.
fn forget_old<S: Immediate>(storage: &S, base: Sequence) -> Result<(), LogError> {
    let listing = run_immediate(Listing::read(storage))?;
    let newest = listing.snapshots.last().map(|named| named.sequence);
    let keeps = |sequence| Some(sequence) == newest || sequence == base;
    let old = listing.snapshots.iter().filter(|named| !keeps(named.sequence));
    let names: Vec<&String> = old.map(|named| &named.name).chain(&listing.temporary).collect();
    debug_assert!(listing.snapshots.iter().filter(|n| keeps(n.sequence)).count() <= KEPT);
    for name in &names {
        run_immediate(storage.remove(name)).map_err(|source| LogError::Io {
            doing: "remove",
            file: storage.path().join(name),
            source,
        })?;
    }
    if names.is_empty() {
        return Ok(());
    }
    snapshot_file::sync_directory(storage)
}

impl<S: Storage> Log<S> {
    /// Tells the log that snapshots were made by somebody else than its own [`SnapshotHandle`].
    pub fn note_snapshot(&self, taken: &SnapshotTaken) {
        self.snapshots.note(taken);
    }
    /// Tells the log that somebody else could not make a snapshot of it. The directory is the log's,
    /// too: when its sync has failed, no later one tells the truth, and the log ends.
    pub fn note_snapshot_failure(&self, error: &LogError) {
        self.snapshots.note_failure(error);
    }
    /// The last event that a snapshot holds.
    pub fn snapshot(&self) -> Sequence {
        self.snapshots.newest()
    }

    /// Asks for a snapshot when enough segments were closed since the last one, and on a full disk
    /// for what lets segments go.
    pub(super) fn request_snapshot(&self) {
        let Some(handle) = &self.config.snapshots else { return };
        let Some(work) = self.snapshot_work() else { return };
        if self.snapshots.is_busy.swap(true, Ordering::AcqRel) {
            return;
        }
        match work {
            Work::Take { until } => self.snapshots.asked.store(until.get(), Ordering::Relaxed),
            Work::ReadBack { newest } => {
                self.snapshots.read_back.store(newest.get(), Ordering::Relaxed);
            }
        }
        (handle.0)(SnapshotJob {
            path: self.storage.path().to_owned(),
            identity: self.identity,
            work,
            state: Arc::clone(&self.snapshots),
        });
    }

    /// To be called ten times in a second. Whether it is time to try again what found no room; then
    /// [`Log::prepare`] asks for it.
    pub fn retries_snapshot(&self) -> bool {
        let state = &self.snapshots;
        if !state.is_owed.load(Ordering::Acquire) || state.is_busy.load(Ordering::Acquire) {
            return false;
        }
        let bytes = state.bytes.load(Ordering::Relaxed) + self.closed_since_snapshot().1;
        let looks = 1 + state.looks.fetch_add(1, Ordering::Relaxed);
        let is_time = looks >= LOOKS_MIN + bytes / BYTES_PER_LOOK;
        if is_time {
            state.looks.store(0, Ordering::Relaxed);
            state.asked.store(0, Ordering::Relaxed);
        }
        is_time
    }

    /// Segments that were closed since the newest snapshot, and their bytes.
    fn closed_since_snapshot(&self) -> (usize, u64) {
        let newest = self.snapshots.newest();
        let segments = self.segments.borrow();
        let first_new = segments.partition_point(|segment| segment.first <= newest);
        // The current segment is the last one, and is not closed.
        let closed = segments.range(first_new..segments.len().max(first_new + 1) - 1);
        closed.fold((0, 0), |(count, bytes), segment| (count + 1, bytes + segment.bytes))
    }

    /// What is to be done about snapshots, and was not asked for yet.
    fn snapshot_work(&self) -> Option<Work> {
        let until = self.current_first();
        let newest = self.snapshots.newest();
        // Too few files are no reason to be content with one snapshot: there is room for two.
        let is_full = self.short_of.get() == Some(Shortage::Space);
        let covers_more = self.segments.borrow().get(1).is_some_and(|second| {
            second.first > self.snapshots.covered().next() && second.first <= newest.next()
        });
        if is_full && covers_more && self.snapshots.read_back.load(Ordering::Relaxed) < newest.get()
        {
            return Some(Work::ReadBack { newest });
        }
        let (count, bytes) = self.closed_since_snapshot();
        let is_worth_it = count >= self.config.snapshot_segments
            && bytes >= LOG_PER_SNAPSHOT * self.snapshots.bytes.load(Ordering::Relaxed);
        let is_owed = self.snapshots.is_owed.load(Ordering::Acquire);
        let is_due = is_worth_it || ((is_full || is_owed) && count > 0);
        (is_due && self.snapshots.asked.load(Ordering::Relaxed) != until.get())
            .then_some(Work::Take { until })
    }
}

/// What a snapshot thread can do for a log.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Take a snapshot of what is before this event.
    Take { until: Sequence },
    /// Read the newest snapshot, the one at this event, back.
    ReadBack { newest: Sequence },
}

/// A snapshot that is due, or that is to be read back. The log that asked for it asks for nothing
/// else until this is dropped.
#[derive(Debug)]
pub struct SnapshotJob {
    path: PathBuf,
    identity: LogIdentity,
    work: Work,
    state: Arc<SnapshotState>,
}

impl SnapshotJob {
    /// Which log it is of.
    pub fn identity(&self) -> LogIdentity {
        self.identity
    }

    /// Does it on `storage`, which is the log's directory, and lets the log know how it went.
    pub fn run<S: Immediate>(self, storage: &S) -> Result<SnapshotTaken, LogError> {
        let taken = match self.work {
            Work::Take { until } => take_snapshot(storage, self.identity, until),
            Work::ReadBack { newest } => read_newest_back(storage, self.identity, newest),
        };
        match &taken {
            Ok(taken) => self.state.note(taken),
            Err(error) => self.state.note_failure(error),
        }
        taken
    }

    /// Does it where the log says that its directory is.
    fn run_at_path(self) {
        let (path, work) = (self.path.clone(), self.work);
        match (self.run(&StdDisk::new(&path)), work) {
            (Ok(taken), Work::Take { .. }) => tracing::debug!(
                path = %path.display(), through = taken.newest.get(), bytes = taken.bytes,
                "snapshot taken"
            ),
            (Ok(taken), Work::ReadBack { .. }) => tracing::warn!(
                path = %path.display(), through = taken.newest.get(),
                "the disk is full: what one snapshot covers is let go of, where two are kept otherwise"
            ),
            (Err(error), Work::Take { .. }) => {
                tracing::error!(path = %path.display(), %error, "no snapshot was taken");
            }
            (Err(error), Work::ReadBack { .. }) => {
                tracing::error!(path = %path.display(), %error, "the newest snapshot is no good");
            }
        }
    }
}

impl Drop for SnapshotJob {
    fn drop(&mut self) {
        self.state.is_busy.store(false, Ordering::Release);
    }
}

/// Where logs ask for snapshots. Cheap to clone, and can go to other threads.
#[derive(Clone)]
pub struct SnapshotHandle(Arc<dyn Fn(SnapshotJob) + Send + Sync>);

impl SnapshotHandle {
    /// Jobs go to `take`, which runs them later, or drops them.
    pub fn new(take: impl Fn(SnapshotJob) + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }
}

impl std::fmt::Debug for SnapshotHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SnapshotHandle")
    }
}

/// What the snapshot thread is told.
enum Message {
    Take(SnapshotJob),
    /// Wakes the thread to see that it should stop.
    Stop,
}

/// The thread that makes snapshots, for all logs of a process.
///
/// Dropping it lets the snapshot in the works finish, starts no other, and waits for the thread.
#[derive(Debug)]
pub struct SnapshotWorker {
    messages: mpsc::Sender<Message>,
    is_stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl SnapshotWorker {
    /// Starts the thread. Panics when the system has no thread to give.
    pub fn start() -> Self {
        let (sender, messages) = mpsc::channel::<Message>();
        let is_stopping = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&is_stopping);
        let thread = std::thread::Builder::new()
            .name("snapshots".to_owned())
            .spawn(move || {
                // On Linux this is the niceness of the calling thread alone.
                let _ = rustix::process::nice(NICENESS);
                while let Ok(Message::Take(job)) = messages.recv() {
                    if stops.load(Ordering::Acquire) {
                        return;
                    }
                    job.run_at_path();
                }
            })
            .expect("the system has a thread to give");
        Self { messages: sender, is_stopping, thread: Some(thread) }
    }
    /// Ends without waiting for the snapshot in the works: its disk may not answer any more.
    pub fn abandon(mut self) {
        self.thread = None;
    }
    /// Where logs ask.
    pub fn handle(&self) -> SnapshotHandle {
        let messages = self.messages.clone();
        SnapshotHandle::new(move |job| {
            // A thread that has ended takes none: the job is dropped, which the log hears of.
            let _ = messages.send(Message::Take(job));
        })
    }
}

impl Drop for SnapshotWorker {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::Release);
        // Other handles may live on, so that the channel stays open: this wakes the thread.
        let _ = self.messages.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
