//! A disk that writes down what is asked of it, and lets others have a turn before each call.

use super::trace::{Op, Place, Remark, Trace};
use doorbuster_engine::storage::{
    Entry, File, Immediate, MemoryDisk, MemoryFile, Mode, Storage, Tree,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A directory that is recorded. A clone is another handle of the same one.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    disk: MemoryDisk,
    place: Place,
    pub(crate) trace: Rc<RefCell<Trace>>,
    files: Rc<RefCell<Files>>,
    manner: Manner,
}

/// How the calls of a handle go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Each waits for a turn.
    InTurns,
    /// Each is done at once.
    AtOnce,
    /// Each is done at once, and seen by the disk somewhat later.
    Aside,
}

/// Which file a name stands for.
#[derive(Debug, Default)]
struct Files {
    numbers: HashMap<(Place, String), u64>,
    next: u64,
}

impl Recorder {
    pub(crate) fn new(disk: MemoryDisk, seed: u64) -> Self {
        Self {
            disk,
            place: Place::new(),
            trace: Rc::new(RefCell::new(Trace::new(seed))),
            files: Rc::default(),
            manner: Manner::AtOnce,
        }
    }
    /// A handle whose calls wait for their turns.
    pub(crate) fn in_turns(&self) -> Self {
        Self { manner: Manner::InTurns, ..self.clone() }
    }
    /// A handle for another thread.
    pub(crate) fn aside(&self) -> Self {
        Self { manner: Manner::Aside, ..self.clone() }
    }
    pub(crate) fn remark(&self, remark: Remark) {
        self.trace.borrow_mut().push(Op::Remark(remark));
    }
    /// The disk itself, for what is not recorded.
    pub(crate) fn disk(&self) -> &MemoryDisk {
        &self.disk
    }

    async fn turn(&self) {
        if self.manner == Manner::InTurns {
            Turn(false).await;
        }
    }
    fn record(&self, op: Op) {
        let mut trace = self.trace.borrow_mut();
        match self.manner {
            Manner::Aside => trace.push_aside(op),
            Manner::InTurns | Manner::AtOnce => trace.push(op),
        }
    }
    fn number(&self, name: &str) -> Option<u64> {
        self.files.borrow().numbers.get(&(self.place.clone(), name.to_owned())).copied()
    }
    fn file(&self, inner: MemoryFile, number: u64) -> RecordedFile {
        RecordedFile { inner, number, recorder: self.clone() }
    }
}

/// Ready at the second poll.
struct Turn(bool);

impl Future for Turn {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Drives a future whose waits are only for turns.
pub(crate) fn drive<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}

/// Gives a future so many turns, and drops it.
pub(crate) fn drive_some<T>(turns: usize, future: impl Future<Output = T>) {
    let mut future = pin!(future);
    for _ in 0..turns {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
    }
}

/// Drives two futures, turn by turn as `random` has it.
pub(crate) fn drive_both<A, B>(
    random: &mut fastrand::Rng,
    one: impl Future<Output = A>,
    other: impl Future<Output = B>,
) -> (A, B) {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut first, mut second) = (None, None);
    let mut context = Context::from_waker(Waker::noop());
    while first.is_none() || second.is_none() {
        if random.bool() {
            if first.is_none()
                && let Poll::Ready(done) = one.as_mut().poll(&mut context)
            {
                first = Some(done);
            }
        } else if second.is_none()
            && let Poll::Ready(done) = other.as_mut().poll(&mut context)
        {
            second = Some(done);
        }
    }
    (first.expect("both are done"), second.expect("both are done"))
}

impl Immediate for Recorder {}

impl Storage for Recorder {
    type File = RecordedFile;

    fn path(&self) -> &Path {
        self.disk.path()
    }
    async fn list(&self) -> io::Result<Vec<Entry>> {
        self.disk.list().await
    }
    async fn open(&self, name: &str, mode: Mode) -> io::Result<RecordedFile> {
        self.turn().await;
        let file = self.disk.open(name, mode).await?;
        Ok(self.file(file, self.number(name).expect("a file that was made here")))
    }
    async fn create(&self, name: &str) -> io::Result<RecordedFile> {
        self.turn().await;
        let file = self.disk.create(name).await?;
        let number = {
            let mut files = self.files.borrow_mut();
            files.next += 1;
            let number = files.next;
            files.numbers.insert((self.place.clone(), name.to_owned()), number);
            number
        };
        let (place, name) = (self.place.clone(), name.to_owned());
        self.record(Op::Create { place, name, file: number });
        Ok(self.file(file, number))
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.turn().await;
        self.disk.rename(from, to).await?;
        {
            let mut files = self.files.borrow_mut();
            let number = files.numbers.remove(&(self.place.clone(), from.to_owned()));
            let number = number.expect("a file that was made here");
            files.numbers.insert((self.place.clone(), to.to_owned()), number);
        }
        let (from, to) = (from.to_owned(), to.to_owned());
        self.record(Op::Rename { place: self.place.clone(), from, to });
        Ok(())
    }
    async fn remove(&self, name: &str) -> io::Result<()> {
        self.turn().await;
        self.disk.remove(name).await?;
        self.files.borrow_mut().numbers.remove(&(self.place.clone(), name.to_owned()));
        self.record(Op::Remove { place: self.place.clone(), name: name.to_owned() });
        Ok(())
    }
    async fn sync_directory(&self) -> io::Result<()> {
        self.turn().await;
        self.disk.sync_directory().await?;
        self.record(Op::SyncDirectory { place: self.place.clone() });
        Ok(())
    }
    fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>> {
        self.disk.read_blocking(name)
    }
}

impl Tree for Recorder {
    fn directory(&self, name: &str) -> Self {
        let place = self.place.iter().cloned().chain([name.to_owned()]).collect();
        Self { disk: self.disk.directory(name), place, ..self.clone() }
    }
    fn above(&self) -> io::Result<Option<Self>> {
        let Some(disk) = self.disk.above()? else { return Ok(None) };
        let place = self.place[..self.place.len() - 1].to_vec();
        Ok(Some(Self { disk, place, ..self.clone() }))
    }
    fn names(&self) -> io::Result<Option<Vec<String>>> {
        self.disk.names()
    }
    fn make(&self) -> io::Result<()> {
        self.disk.make()?;
        self.record(Op::MakeDirectory { place: self.place.clone() });
        Ok(())
    }
    fn remove_all(&self) -> io::Result<()> {
        self.disk.remove_all()?;
        self.files.borrow_mut().numbers.retain(|(place, _), _| !place.starts_with(&self.place));
        self.record(Op::RemoveDirectory { place: self.place.clone() });
        Ok(())
    }
}

/// A file of a [`Recorder`].
#[derive(Debug)]
pub(crate) struct RecordedFile {
    inner: MemoryFile,
    number: u64,
    recorder: Recorder,
}

impl File for RecordedFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, bytes: usize) -> Vec<u8> {
        self.inner.buffer(bytes)
    }
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.recorder.turn().await;
        self.inner.read_at(offset, into).await
    }
    async fn write_at(&self, buffer: Vec<u8>, offset: u64) -> io::Result<usize> {
        self.recorder.turn().await;
        let mut bytes = buffer.clone();
        let taken = self.inner.write_at(buffer, offset).await?;
        bytes.truncate(taken);
        self.recorder.record(Op::Write { file: self.number, offset, bytes });
        Ok(taken)
    }
    async fn sync(&self) -> io::Result<()> {
        self.recorder.turn().await;
        self.inner.sync().await?;
        self.recorder.record(Op::Sync { file: self.number });
        Ok(())
    }
    async fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.recorder.turn().await;
        self.inner.reserve(bytes).await
    }
    async fn size(&self) -> io::Result<u64> {
        self.recorder.turn().await;
        self.inner.size().await
    }
}
