//! A device that fails under the file system: an ext4 without a journal on a loop device whose file
//! lies on a full tmpfs. The first write or sync that fails ends the process with a message and an
//! exit code; a second sync would succeed, with the data gone.
//!
//! The log writes over zeros that it wrote before, so that a full disk never fails an append. Here
//! the file below the disk has let go of all zeros, as on a volume of which more was promised than
//! there is: every append may fail.

use crate::support::disk::Disk;
use crate::support::stored::Stored;
use crate::support::{Server, behind, doorbuster, doorbuster_after, wait_until};
use crate::trial::{Trial, times};
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// How a server is started, and what it says beside what all say.
type Case<'a> = (&'a dyn Fn() -> Command, &'a [&'a str]);

/// One sale on a device that fails in its middle. The memory that it lies on comes first: it has to
/// outlive it.
fn sale(trial: &mut Trial, memory: &Disk, disk: &Disk, round: u32, (start, says): Case<'_>) {
    let data = disk.path().join("data");
    let file = trial.path(&format!("store-{round}.sqlite"));
    let store = Stored::Sqlite(file.clone());
    let place = format!("sqlite:{}", file.display());
    let flags = ["--cores", "1", "--edge-threads", "1", "--partitions", "4"];
    let flags = [&flags[..], &["--segment-size", "8MiB", "--store", &place]].concat();
    let mut server = Server::start_as(start(), &data, "127.0.0.1:0", &flags);
    let http = server.http.to_string();
    trial.open_sale(server.http, &data);
    let load = trial.load(server.http, &data, None);
    let witness = trial.witness(server.http, &data);
    let before = load.progress.accepted();
    wait_until("orders are placed", || load.progress.accepted() > before + 100);

    let filler = disk.dig_holes(|| memory.fill());
    let mut ended = None;
    wait_until("the process ends at the first failure", || {
        ended = server.try_wait();
        ended.is_some()
    });
    trial.fault();
    let log = server.log();
    assert_eq!(ended.and_then(|status| status.code()), Some(1), "{log}");
    let all_say = ["the log failed; stopping", "error[failed]", "Check the disk", "next: "];
    for part in all_say.iter().chain(says) {
        assert!(log.contains(part), "no `{part}` in: {log}");
    }
    if round == 0 {
        the_device_lies(disk.path());
    }
    drop((server, filler));
    if round.is_multiple_of(2) {
        disk.mount_again();
    } else {
        // Started again at once, as an operator's system would, it reads what the page cache has of
        // what the device failed to take, and sells on; and then the power goes.
        let server = Server::start_as(start(), &data, &http, &flags);
        trial.until_sold(&load, Instant::now());
        server.kill();
        disk.cut_power();
        trial.fault();
    }

    let begun = Instant::now();
    let server = Server::start_as(start(), &data, &http, &flags);
    trial.until_sold(&load, begun);
    let (acknowledged, _) = trial.end_load(load, witness);
    trial.settle(server, &store, &acknowledged);
}

/// What is written there is lost at the first sync, and the second one calls it durable.
fn the_device_lies(folder: &Path) {
    let path = folder.join("plain");
    let mut file = File::create(&path).expect("a file");
    let written = file.write_all(&vec![7; 4 << 20]).and_then(|()| file.sync_all());
    assert!(written.is_err(), "the device fails");
    let again = file.sync_all();
    eprintln!("first sync: {written:?}; second sync: {again:?}");
    assert!(again.is_ok(), "each failure is told once: {again:?}");
    let _ = fs::remove_file(path);
}

fn rounds(mut trial: Trial, case: Case<'_>) {
    for round in 0..times(2, 20) {
        let Some(memory) = trial.needs(Disk::memory(160)) else { return };
        let image = memory.path().join("image");
        let Some(disk) = trial.needs(Disk::ext4(&image, 96, &["-O", "^has_journal"])) else {
            return;
        };
        sale(&mut trial, &memory, &disk, round, case);
    }
}

#[test]
fn the_first_failed_write_ends_the_process() {
    rounds(Trial::of("device fails: direct writes"), (&doorbuster, &["cannot write "]));
}

#[test]
fn the_first_failed_sync_ends_the_process() {
    let trial = Trial::of("device fails: buffered writes");
    // A write cache that nobody has heard of, for this process alone: the engine then does not write
    // directly, and it is the sync that fails.
    let (ours, theirs) = (trial.path("write-cache"), "/sys/dev/block/7:0/queue/write_cache");
    fs::write(&ours, "unknown\n").expect("written");
    let mount = format!("mount --bind {} {theirs}", ours.display());
    let private = ["unshare", "--mount", "--propagation", "private"];
    let start = || behind(&private, &doorbuster_after(&mount));
    rounds(trial, (&start, &["writing through the page cache", "cannot sync "]));
}
