//! A snapshot as a file: 64 bytes that say whose it is, then the state's own format.
//!
//! The bytes, little-endian: magic `"DBSN"` u32 · version u16 · partition u16 · epoch u32 ·
//! reserved u32 · sequence u64 · directory u64 · digest u64 · reserved 20 bytes · CRC-32C of bytes
//! 0 to 59 u32. The state's format (see `state_machine::snapshot`) carries its own checksum.
//!
//! A snapshot is written beside its name, synced, and renamed: a name always has whole content.

use super::error::{DamageKind, LogError, LogIdentity};
use super::segments::{Listing, Named, snapshot_name, temporary_name};
use crate::state_machine::snapshot::{SnapshotError, SnapshotVisitor};
use crate::state_machine::{State, snapshot};
use crate::storage::{File, Immediate, Storage, run_immediate};
use crc32c::crc32c;
use doorbuster_protocol::Sequence;
use doorbuster_protocol::record::{Reader, Write as _};
use std::io::{self, Read, Write};

const PREAMBLE_BYTES: usize = 64;
const MAGIC: u32 = u32::from_le_bytes(*b"DBSN");
const VERSION: u16 = 1;
/// Bytes gathered for one write.
const PIECE_BYTES: usize = 1 << 20;

/// A state, the snapshot that it came from, and those that could not be read.
pub(super) struct Base {
    pub(super) state: State,
    /// The snapshot's digest, when there was one.
    pub(super) digest: Option<u64>,
    /// Newer snapshots that cannot be read, and why.
    pub(super) unreadable: Vec<(Named, Unreadable)>,
}

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    /// The disk does not give it back. It may the next time.
    #[error("{0}")]
    Device(io::Error),
    /// What it gives back is no snapshot of this log.
    #[error("{0}")]
    Content(String),
}

impl Unreadable {
    fn read(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Content("it ends too early".to_owned()),
            _ => Self::Device(error),
        }
    }
    fn parse(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Io(source) => Self::Device(source),
            other => Self::Content(other.to_string()),
        }
    }

    /// The error of whoever cannot do without it: only what was read can be damaged.
    pub(super) fn error<S: Storage>(&self, storage: &S, named: &Named) -> LogError {
        self.error_as(storage, named, named.sequence, DamageKind::Snapshot)
    }
    /// The same, where the damage means this to the event that is looked for.
    pub(super) fn error_as<S: Storage>(
        &self,
        storage: &S,
        named: &Named,
        sequence: Sequence,
        kind: DamageKind,
    ) -> LogError {
        let file = storage.path().join(&named.name);
        match self {
            Self::Device(error) => {
                let source = match error.raw_os_error() {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::Error::new(error.kind(), error.to_string()),
                };
                LogError::Io { doing: "read", file, source }
            }
            Self::Content(_) => LogError::Damaged { file, offset: 0, sequence, kind },
        }
    }
}

/// The newest snapshot that can be read; with none, the empty state.
pub(super) fn newest<S: Storage>(storage: &S, identity: &LogIdentity, listing: &Listing) -> Base {
    let mut unreadable = Vec::new();
    for named in listing.snapshots.iter().rev() {
        match load(storage, identity, named, empty(storage, identity)) {
            Ok((state, digest)) => return Base { state, digest: Some(digest), unreadable },
            Err(why) => {
                tracing::warn!(
                    file = %storage.path().join(&named.name).display(), %why,
                    "a snapshot cannot be read; going back to the one before it"
                );
                unreadable.push((named.clone(), why));
            }
        }
    }
    Base { state: empty(storage, identity), digest: None, unreadable }
}

/// The state before the first event, with its receipts where the disk has room for them.
fn empty<S: Storage>(storage: &S, identity: &LogIdentity) -> State {
    match storage.shelf() {
        Some(shelf) => State::with_shelf(identity.partition, shelf),
        None => State::new(identity.partition),
    }
}

/// Reads a snapshot into a state that nothing has happened to: what comes of it, and the digest that
/// was written with it.
pub(super) fn load<S: Storage>(
    storage: &S,
    identity: &LogIdentity,
    named: &Named,
    empty: State,
) -> Result<(State, u64), Unreadable> {
    let (mut file, digest) = open(storage, identity, named)?;
    let state = snapshot::read_into(&mut file, empty).map_err(Unreadable::parse)?;
    check_sequence(state.sequence(), named)?;
    Ok((state, digest))
}

/// Shows a snapshot to `visitor`, without making its state.
pub(super) fn visit<S: Storage>(
    storage: &S,
    identity: &LogIdentity,
    named: &Named,
    visitor: &mut impl SnapshotVisitor,
) -> Result<(), Unreadable> {
    let (mut file, _) = open(storage, identity, named)?;
    let sequence = snapshot::visit(&mut file, identity.partition, visitor);
    check_sequence(sequence.map_err(Unreadable::parse)?, named)
}

/// Opens a snapshot behind its preamble, which holds the digest.
fn open<S: Storage>(
    storage: &S,
    identity: &LogIdentity,
    named: &Named,
) -> Result<(impl Read + use<S>, u64), Unreadable> {
    let mut file = storage.read_blocking(&named.name).map_err(Unreadable::Device)?;
    let mut preamble = [0; PREAMBLE_BYTES];
    file.read_exact(&mut preamble).map_err(Unreadable::read)?;
    let digest = check_preamble(&preamble, identity, named.sequence);
    let digest = digest.map_err(Unreadable::Content)?;
    Ok((file, digest))
}

fn check_sequence(found: Sequence, named: &Named) -> Result<(), Unreadable> {
    if found == named.sequence {
        return Ok(());
    }
    Err(Unreadable::Content(format!("it holds the state after event {found}")))
}

fn preamble(identity: &LogIdentity, sequence: Sequence, digest: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREAMBLE_BYTES);
    bytes.put_u32(MAGIC);
    bytes.put_u16(VERSION);
    bytes.put_u16(identity.partition.get());
    bytes.put_u32(identity.epoch.get());
    bytes.put_u32(0);
    bytes.put_u64(sequence.get());
    bytes.put_u64(identity.directory);
    bytes.put_u64(digest);
    bytes.put(&[0; 20]);
    let checksum = crc32c(&bytes);
    bytes.put_u32(checksum);
    assert_eq!(bytes.len(), PREAMBLE_BYTES, "the layout is fixed");
    bytes
}

fn check_preamble(
    bytes: &[u8; PREAMBLE_BYTES],
    identity: &LogIdentity,
    sequence: Sequence,
) -> Result<u64, String> {
    let (fields, checksum) = bytes.split_at(PREAMBLE_BYTES - 4);
    if checksum != crc32c(fields).to_le_bytes() {
        return Err("its first 64 bytes do not match their checksum".to_owned());
    }
    let mut reader = Reader::new(fields);
    let mut read = || -> Result<_, doorbuster_protocol::record::Malformed> {
        let form = (reader.u32()?, reader.u16()?);
        let partition = reader.u16()?;
        let (_epoch, _reserved) = (reader.u32()?, reader.u32()?);
        Ok((form, partition, reader.sequence()?, reader.u64()?, reader.u64()?))
    };
    let (form, partition, found, directory, digest) = read().map_err(|error| error.to_string())?;
    if form != (MAGIC, VERSION) {
        return Err(format!("it is of format version {}, this program reads {VERSION}", form.1));
    }
    if directory != identity.directory || partition != identity.partition.get() {
        return Err(format!("it belongs to partition {partition} of directory {directory:016x}"));
    }
    if found != sequence {
        return Err(format!("it holds the state after event {found}"));
    }
    Ok(digest)
}

/// Writes a snapshot of `state` under its name, durably. Returns its bytes.
pub(super) fn write<S: Immediate>(
    storage: &S,
    identity: &LogIdentity,
    state: &State,
) -> Result<u64, LogError> {
    let temporary = temporary_name(state.sequence());
    let name = snapshot_name(state.sequence());
    let io = |doing, source| LogError::Io { doing, file: storage.path().join(&name), source };
    let written = write_temporary(storage, identity, state, &temporary);
    if written.is_err() {
        // Its space may be what is missing; an error here changes nothing about the first one.
        let _ = run_immediate(storage.remove(&temporary));
    }
    let bytes = written.map_err(|source| io("write", source))?;
    run_immediate(storage.rename(&temporary, &name)).map_err(|source| io("rename", source))?;
    sync_directory(storage)?;
    Ok(bytes)
}

/// Makes the names in a log's directory durable.
pub(super) fn sync_directory<S: Immediate>(storage: &S) -> Result<(), LogError> {
    run_immediate(storage.sync_directory())
        .map_err(|source| LogError::NamesUncertain { directory: storage.path().to_owned(), source })
}

fn write_temporary<S: Immediate>(
    storage: &S,
    identity: &LogIdentity,
    state: &State,
    name: &str,
) -> io::Result<u64> {
    let file = run_immediate(storage.create(name))?;
    let mut out = Out { file: &file, piece: Vec::with_capacity(PIECE_BYTES), offset: 0 };
    out.write_all(&preamble(identity, state.sequence(), state.try_digest()?))?;
    snapshot::write(state, &mut out)?;
    out.flush()?;
    let bytes = out.offset;
    run_immediate(file.sync())?;
    Ok(bytes)
}

/// Gathers bytes into large writes, one behind the other.
struct Out<'a, F> {
    file: &'a F,
    piece: Vec<u8>,
    offset: u64,
}

impl<F: File> Write for Out<'_, F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        self.piece.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        let mut buffer = self.file.buffer(self.piece.len());
        buffer.as_mut().copy_from_slice(&self.piece);
        let written = run_immediate(self.file.write_at(buffer, self.offset))?;
        crate::storage::check_complete(written, self.piece.len())?;
        self.offset += written as u64;
        self.piece.clear();
        Ok(())
    }
}
