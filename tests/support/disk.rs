//! Small file systems of a test's own, on memory or on a file, to be filled, slowed and broken.
//!
//! Only root can mount; who cannot gets the reason, and says it. Whatever is mounted is unmounted
//! when its guard goes, also when a test fails; what a killed test left is found by the next one.

use super::{is_alive, wait_until};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// What the names of mount points begin with; the process id of the test follows.
const PREFIX: &str = "doorbuster-disk-";

/// A mounted file system.
pub struct Disk {
    at: PathBuf,
    /// What it lies on; `None` lies on memory.
    image: Option<PathBuf>,
}

/// What takes all room of a disk until it is dropped.
pub struct Filler(PathBuf);

impl Disk {
    /// A tmpfs.
    pub fn memory(mebibytes: u32) -> Result<Self, String> {
        let disk = Self { at: mount_point()?, image: None };
        let size = format!("size={mebibytes}m");
        run("mount", &["-t", "tmpfs", "-o", &size, "doorbuster-test", text(&disk.at)])?;
        Ok(disk)
    }

    /// An ext4 in a new file `image`, with more arguments for its making.
    pub fn ext4(image: &Path, mebibytes: u32, features: &[&str]) -> Result<Self, String> {
        let file = File::create(image).map_err(|error| format!("{}: {error}", image.display()))?;
        file.set_len(u64::from(mebibytes) << 20).map_err(|error| error.to_string())?;
        // Everything is written at its making, and nothing is kept back for root. Blocks are pages:
        // the loop driver (of Linux 6.18) calls a write done of which its file took only a part, and
        // no file takes a part of a page.
        let lazy = "lazy_itable_init=0,lazy_journal_init=0";
        let make = ["-q", "-F", "-m", "0", "-b", "4096", "-E", lazy];
        run("mkfs.ext4", &[&make[..], features, &[text(image)]].concat())?;
        let disk = Self { at: mount_point()?, image: Some(image.to_owned()) };
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.at
    }

    /// The device that it lies on, as `major:minor`.
    pub fn device(&self) -> String {
        let device = fs::metadata(&self.at).expect("a mounted disk").st_dev();
        format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device))
    }

    /// Has the file that it lies on let go of every block of zeros, and runs `then`, while nobody can
    /// write.
    ///
    /// The disk reads as before, and has as much room; but what is written to it needs room below
    /// it, as on a volume of which more was promised than there is.
    pub fn dig_holes<T>(&self, then: impl FnOnce() -> T) -> T {
        // A block that is written after it was found to be zeros would be lost.
        must(run("fsfreeze", &["--freeze", text(&self.at)]));
        let frozen = Frozen(&self.at);
        let dug = run("fallocate", &["--dig-holes", text(self.image())]);
        let result = then();
        drop(frozen);
        must(dug);
        result
    }

    /// Takes whatever room is left.
    pub fn fill(&self) -> Filler {
        let filler = Filler(self.at.join("filler"));
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).open(&filler.0).expect("a file");
        for bytes in [1 << 20, 4096, 1] {
            while file.write_all(&vec![7; bytes]).and_then(|()| file.sync_data()).is_ok() {}
        }
        filler
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-t", "ext4", "-o", "loop", text(self.image()), text(&self.at)])
    }

    /// Unmounts it, has it repaired as after a crash, and mounts it again: what is there then is
    /// what the device has, and nothing that only the page cache had.
    pub fn mount_again(&self) {
        self.unmount_whole();
        self.mount_repaired();
    }

    /// Cuts its power: what the device does not have at this moment is gone.
    pub fn cut_power(&self) {
        let image = self.image();
        let cut = image.with_extension("cut");
        must(run("cp", &["--sparse=always", text(image), text(&cut)]));
        self.unmount_whole();
        fs::rename(&cut, image).expect("renamed");
        self.mount_repaired();
    }

    /// The kernel lets go of the files of a ring a moment after the process that had it is gone.
    fn unmount_whole(&self) {
        wait_until("the disk can be unmounted", || run("umount", &[text(&self.at)]).is_ok());
    }

    fn mount_repaired(&self) {
        let checked = Command::new("e2fsck").args(["-f", "-y", text(self.image())]).output();
        let checked = checked.expect("e2fsck runs");
        // 0: nothing found, 1: errors corrected.
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(matches!(checked.status.code(), Some(0 | 1)), "{}: {said}", checked.status);
        must(self.mount());
    }

    fn image(&self) -> &Path {
        self.image.as_ref().expect("it lies on a file")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.at);
    }
}

/// A file system that nobody can write to, nor unmount for good, until this is dropped.
struct Frozen<'a>(&'a Path);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let thawed = run("fsfreeze", &["--unfreeze", text(self.0)]);
        if !std::thread::panicking() {
            must(thawed);
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A new directory to mount on, after what tests that were killed left mounted is gone.
fn mount_point() -> Result<PathBuf, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    if !rustix::process::geteuid().is_root() {
        return Err("a file system can be mounted by root only".to_owned());
    }
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
    // The last mounted first: one may lie on another.
    for at in mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).map(Path::new) {
        let name = at.file_name().unwrap_or_default().to_string_lossy();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| !is_alive(pid)) {
            unmount(at);
        }
    }
    let (pid, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let at = std::env::temp_dir().join(format!("{PREFIX}{pid}-{number}"));
    fs::create_dir(&at).map_err(|error| format!("{}: {error}", at.display()))?;
    Ok(at)
}

fn unmount(at: &Path) {
    // One that a killed test has left frozen would keep whoever writes to it waiting for ever. Most
    // are not, and say so.
    let _ = run("fsfreeze", &["--unfreeze", text(at)]);
    if let Err(error) = run("umount", &["--lazy", text(at)])
        && !error.contains("not mounted")
    {
        eprintln!("{error}");
    }
    let _ = fs::remove_dir(at);
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn must(done: Result<(), String>) {
    done.unwrap_or_else(|error| panic!("{error}"));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}
