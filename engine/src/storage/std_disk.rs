//! A directory through blocking calls: for tools, for making directories, for the snapshot thread.
//!
//! Its futures are ready at the first poll, because the call has ended by then.

use super::shelf::FileShelf;
use super::{Entry, File, Immediate, Mode, Storage, Tree};
use crate::state_machine::Shelf;
use std::fs;
use std::io::{self, BufReader};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A directory of the file system.
#[derive(Clone, Debug)]
pub struct StdDisk {
    path: PathBuf,
}

impl StdDisk {
    /// The directory at `path`, which must exist when it is used.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

/// Names and lengths of the plain files of a directory.
pub(super) fn list(path: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // A file that is renamed or removed while we look is no error: another process owns it.
        let Ok(metadata) = entry.metadata() else { continue };
        let Ok(name) = entry.file_name().into_string() else { continue };
        if metadata.is_file() {
            entries.push(Entry { name, bytes: metadata.len() });
        }
    }
    Ok(entries)
}

impl Immediate for StdDisk {}

impl Storage for StdDisk {
    type File = StdFile;

    fn path(&self) -> &Path {
        &self.path
    }
    async fn list(&self) -> io::Result<Vec<Entry>> {
        list(&self.path)
    }
    async fn open(&self, name: &str, mode: Mode) -> io::Result<StdFile> {
        let path = self.path.join(name);
        let file = fs::File::options().read(true).write(mode != Mode::Read).open(path)?;
        Ok(StdFile { file })
    }
    async fn create(&self, name: &str) -> io::Result<StdFile> {
        let path = self.path.join(name);
        let file = fs::File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(StdFile { file })
    }
    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }
    async fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
    async fn sync_directory(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }
    fn read_blocking(&self, name: &str) -> io::Result<Box<dyn io::Read>> {
        let file = fs::File::open(self.path.join(name))?;
        Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
    }
    fn shelf(&self) -> Option<Box<dyn Shelf>> {
        Some(Box::new(FileShelf::written_at_once(&self.path)))
    }
    fn forget_cached(&self, name: &str) {
        // A hint: what cannot be forgotten is read from memory, as it would have been.
        if let Ok(file) = fs::File::open(self.path.join(name)) {
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
}

impl Tree for StdDisk {
    fn directory(&self, name: &str) -> Self {
        Self::new(self.path.join(name))
    }
    fn above(&self) -> io::Result<Option<Self>> {
        let path = self.path.canonicalize()?;
        let Some(above) = path.parent() else { return Ok(None) };
        // Names on another file system are none of ours: it was mounted there.
        let is_same = above.metadata()?.dev() == path.metadata()?.dev();
        Ok(is_same.then(|| Self::new(above)))
    }
    fn names(&self) -> io::Result<Option<Vec<String>>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        entries.map(name).collect::<io::Result<_>>().map(Some)
    }
    fn make(&self) -> io::Result<()> {
        fs::create_dir(&self.path)
    }
    fn remove_all(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }
}

/// A file of a [`StdDisk`].
#[derive(Debug)]
pub struct StdFile {
    file: fs::File,
}

impl File for StdFile {
    type Buffer = Vec<u8>;

    fn buffer(&self, bytes: usize) -> Vec<u8> {
        vec![0; bytes]
    }
    async fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(bytes) => done += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }
    async fn write_at(&self, buffer: Vec<u8>, offset: u64) -> io::Result<usize> {
        self.file.write_at(&buffer, offset)
    }
    async fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    async fn reserve(&self, bytes: u64) -> io::Result<()> {
        let flags = rustix::fs::FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.file, flags, 0, bytes) {
            // A file system that cannot reserve shows its fullness at the write instead.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            other => other.map_err(Into::into),
        }
    }
    async fn size(&self) -> io::Result<u64> {
        self.file.metadata().map(|metadata| metadata.len())
    }
}
