//! What was asked of a disk, call by call, and a player that does it again on another one: up to
//! any place, or with a write that the device mistreats.

use doorbuster_engine::storage::{File, MemoryDisk, MemoryFile, Storage, Tree, run_immediate};
use std::collections::{HashMap, VecDeque};
use std::fmt;

/// Names that lead to a directory, from the disk's root.
pub(crate) type Place = Vec<String>;

/// One call that changed something or made it durable, or a remark about the work.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create { place: Place, name: String, file: u64 },
    Write { file: u64, offset: u64, bytes: Vec<u8> },
    Sync { file: u64 },
    Rename { place: Place, from: String, to: String },
    Remove { place: Place, name: String },
    SyncDirectory { place: Place },
    MakeDirectory { place: Place },
    RemoveDirectory { place: Place },
    Remark(Remark),
}

/// What the work knows at this point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remark {
    /// The log, or the data directory, is made: from now on it must be there.
    Made,
    /// This batch is being written.
    Begun(usize),
    /// This batch was acknowledged.
    Acknowledged(usize),
    /// A clean stop was marked.
    Sealed,
    /// A process began, with recovery.
    Started,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { place, name, file } => {
                write!(f, "create {}{name} as file {file}", folder(place))
            }
            Self::Write { file, offset, bytes } => {
                write!(f, "write {} bytes at {offset} of file {file}", bytes.len())
            }
            Self::Sync { file } => write!(f, "sync file {file}"),
            Self::Rename { place, from, to } => {
                write!(f, "rename {}{from} to {to}", folder(place))
            }
            Self::Remove { place, name } => write!(f, "remove {}{name}", folder(place)),
            Self::SyncDirectory { place } => write!(f, "sync directory {}", folder(place)),
            Self::MakeDirectory { place } => write!(f, "make directory {}", folder(place)),
            Self::RemoveDirectory { place } => write!(f, "remove directory {}", folder(place)),
            Self::Remark(remark) => write!(f, "({remark:?})"),
        }
    }
}

fn folder(place: &Place) -> String {
    place.iter().map(|name| format!("{name}/")).collect()
}

/// Calls in the order in which a disk could have seen them: what another thread does beside the log
/// is dealt out over what the log does meanwhile.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) ops: Vec<Op>,
    aside: VecDeque<Op>,
    random: fastrand::Rng,
}

impl Trace {
    pub(crate) fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { ops: Vec::new(), aside: VecDeque::new(), random }
    }
    pub(crate) fn push(&mut self, op: Op) {
        while !self.aside.is_empty() && self.random.u8(..3) == 0 {
            self.ops.extend(self.aside.pop_front());
        }
        self.ops.push(op);
    }
    pub(crate) fn push_aside(&mut self, op: Op) {
        self.aside.push_back(op);
    }
    /// Whether what went on aside has come to its end.
    pub(crate) fn is_alone(&self) -> bool {
        self.aside.is_empty()
    }
    /// Lets what goes on aside come to its end.
    pub(crate) fn join(&mut self) {
        self.ops.extend(self.aside.drain(..));
    }
}

/// What a device does to a write that it says it has done.
#[derive(Clone, Debug)]
pub(crate) enum Stray {
    /// These bytes of it never arrive: the place keeps what it had.
    Lost { from: usize, to: usize },
    /// It goes to another place, and never to its own.
    Elsewhere { file: u64, offset: u64 },
}

/// Does the calls of a trace on a disk of its own.
pub(crate) struct Player {
    pub(crate) disk: MemoryDisk,
    files: HashMap<u64, MemoryFile>,
}

impl Player {
    pub(crate) fn new() -> Self {
        Self { disk: MemoryDisk::new(), files: HashMap::new() }
    }

    fn at(&self, place: &Place) -> MemoryDisk {
        place.iter().fold(self.disk.clone(), |disk, name| disk.directory(name))
    }

    pub(crate) fn play(&mut self, op: &Op) {
        let done = match op {
            Op::Create { place, name, file } => {
                run_immediate(self.at(place).create(name)).map(|made| {
                    self.files.insert(*file, made);
                })
            }
            Op::Write { file, offset, bytes } => {
                run_immediate(self.files[file].write_at(bytes.clone(), *offset)).map(drop)
            }
            Op::Sync { file } => run_immediate(self.files[file].sync()),
            Op::Rename { place, from, to } => run_immediate(self.at(place).rename(from, to)),
            Op::Remove { place, name } => run_immediate(self.at(place).remove(name)),
            Op::SyncDirectory { place } => run_immediate(self.at(place).sync_directory()),
            Op::MakeDirectory { place } => self.at(place).make(),
            Op::RemoveDirectory { place } => self.at(place).remove_all(),
            Op::Remark(_) => Ok(()),
        };
        done.unwrap_or_else(|error| panic!("{op:?} worked when it was recorded: {error}"));
    }

    /// Plays a write that the device mistreats.
    pub(crate) fn play_stray(&mut self, op: &Op, stray: &Stray) {
        let Op::Write { file, offset, bytes } = op else { panic!("{op:?} is no write") };
        let end = *offset + bytes.len() as u64;
        let before = |player: &Self, file: u64, length: usize, offset: u64| {
            let mut content = vec![0; length];
            run_immediate(player.files[&file].read_at(offset, &mut content)).expect("it is there");
            content
        };
        let mut own = before(self, *file, bytes.len(), *offset);
        match stray {
            Stray::Lost { from, to } => {
                own[..*from].copy_from_slice(&bytes[..*from]);
                own[*to..].copy_from_slice(&bytes[*to..]);
            }
            // A device knows nothing of the lengths of files: what would lie behind the end of one
            // goes nowhere.
            Stray::Elsewhere { file, offset } => {
                let size = run_immediate(self.files[file].size()).expect("it is there");
                let room = size.saturating_sub(*offset).min(bytes.len() as u64) as usize;
                let to = &self.files[file];
                run_immediate(to.write_at(bytes[..room].to_vec(), *offset)).expect("a good disk");
                run_immediate(to.sync()).expect("a good disk");
            }
        }
        assert!(end >= *offset, "a write has an end");
        run_immediate(self.files[file].write_at(own, *offset)).expect("a good disk");
    }

    /// The files that are there, by their numbers, with their lengths.
    pub(crate) fn files(&self) -> Vec<(u64, u64)> {
        let mut files: Vec<(u64, u64)> = self
            .files
            .iter()
            .filter_map(|(number, file)| Some((*number, run_immediate(file.size()).ok()?)))
            .collect();
        files.sort_unstable();
        files
    }
}
