//! Killed while the disk still has its writes before it: the kernel carries them out later. The next
//! server must not read the log, let alone go on with it, before the last of them has ended.

use crate::support::control_group::ControlGroup;
use crate::support::disk::Disk;
use crate::support::stored::Stored;
use crate::support::{Server, wait_until};
use crate::trial::{Trial, times};
use rustix::fs::{FlockOperation, flock, syncfs};
use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes per second of a disk that takes longer for one block than a server to start.
const SLOW: u32 = 2_048;
/// What stands still places no order for so long.
const STILL: Duration = Duration::from_millis(200);
/// How often a kill may meet no write: then the process was at a sync, which it cannot leave.
const ATTEMPTS: u32 = 20;

#[test]
fn writes_that_outlive_their_process_are_waited_for() {
    let mut trial = Trial::of("late writes");
    let image = trial.path("image");
    let Some(group) = trial.needs(ControlGroup::of_disks()) else { return };
    let Some(disk) = trial.needs(Disk::ext4(&image, 128, &[])) else { return };
    let data = disk.path().join("data");
    let store = Stored::Sqlite(trial.path("store.sqlite"));
    let place = format!("sqlite:{}", trial.path("store.sqlite").display());
    let flags = ["--cores", "1", "--edge-threads", "1", "--partitions", "2", "--store", &place];
    let mut server = Server::start_with(&data, "127.0.0.1:0", &flags);
    let http = server.http.to_string();
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, None);
    let witness = trial.witness(server.http, &data);
    let (mut seen, wanted) = (0, times(1, 20));
    for attempt in 1.. {
        trial.until_sold(&load, Instant::now());
        // What the server wrote at its start, by way of the page cache, would stand before a next one.
        syncfs(File::open(disk.path()).expect("a directory")).expect("synced");
        group.take_in(server.pid());
        group.limit_bytes(&disk.device(), Some(SLOW));
        wait_until("it stands still", || {
            let before = load.progress.accepted();
            thread::sleep(STILL);
            load.progress.accepted() == before
        });
        server.kill();
        let is_left = is_any_written(&data);
        let begun = Instant::now();
        server = Server::start_with(&data, &http, &flags);
        group.limit_bytes(&disk.device(), None);
        // This is said later, so that all before it has been read.
        wait_until("its projector follows", || server.log().contains("following"));
        let has_waited = server.log().contains("a write of an earlier process has not ended");
        assert!(is_left || !has_waited, "nothing was left to be waited for");
        // The last write may have ended in between.
        if has_waited {
            eprintln!("it was waited for {:?}", begun.elapsed());
            trial.fault();
            seen += 1;
        }
        if seen == wanted {
            break;
        }
        assert!(attempt < ATTEMPTS * wanted, "{seen} of {attempt} kills met a write");
    }
    trial.until_sold(&load, Instant::now());
    let (acknowledged, _) = trial.end_load(load, witness);
    trial.settle(server, &store, &acknowledged);
}

/// Whether the kernel still writes to a file of a partition.
fn is_any_written(data: &Path) -> bool {
    let partitions = fs::read_dir(data.join("partitions")).expect("a data directory").flatten();
    let files = partitions.flat_map(|partition| fs::read_dir(partition.path()).expect("listed"));
    files.flatten().any(|entry| {
        let file = File::open(entry.path()).expect("it is there");
        flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
    })
}
