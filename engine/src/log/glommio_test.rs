//! The log on a real disk, through glommio: both write modes, rotation, snapshots by their thread.

use super::inspect::Inspector;
use super::sample::{Sale, config, identity};
use super::{FeedRead, Log, LogConfig, SnapshotWorker, create};
use crate::storage::{GlommioDisk, StdDisk, WriteMode, run_immediate};
use doorbuster_protocol::Sequence;
use glommio::{LocalExecutorBuilder, Placement};

fn check(mode: WriteMode, directory: &std::path::Path) {
    run_immediate(create(&StdDisk::new(directory), &config())).expect("a new log");
    let batches = Sale::new().batches(120);
    let last = batches[119].last();
    let digest = batches[119].digest;
    let path = directory.to_owned();
    let executor = LocalExecutorBuilder::new(Placement::Unbound).spawn(move || async move {
        let worker = SnapshotWorker::start();
        let config = LogConfig { snapshots: Some(worker.handle()), ..config() };
        let disk = GlommioDisk::at(&path, mode);
        let recovered = Log::recover(disk.clone(), identity(), config.clone()).await;
        let (log, _) = recovered.expect("an empty log");
        for batch in &batches {
            log.append(batch.first, batch.count, &batch.events).await.expect("a good disk");
            log.prepare().await.expect("a good disk");
        }
        // The thread's work shows without our doing, in its own time.
        while log.snapshot() == Sequence::ZERO {
            glommio::executor().yield_task_queue_now().await;
        }
        let mut next = Sequence::new(1);
        while next <= log.durable() {
            let read = log.read_from(next, 10_000).await.expect("a sound log");
            let FeedRead::Batches(read) = read else { panic!("gone at {next}") };
            let batch = read.last().expect("there is one");
            next = batch.first.plus(u64::from(batch.count));
        }
        log.seal().await.expect("a good disk");
        drop(log);
        let recovered = Log::recover(disk, identity(), config).await;
        let (log, state) = recovered.expect("a sound log");
        assert_eq!((state.digest(), log.durable()), (digest, last));
        assert!(log.recovery().snapshot.is_some());
        assert_eq!(log.recovery().torn, None);
        log.trim(last).await.expect("a good disk");
        let more = Sale::resume(state).batches(20);
        log.prepare().await.expect("a good disk");
        for batch in &more {
            log.append(batch.first, batch.count, &batch.events).await.expect("a good disk");
            log.prepare().await.expect("a good disk");
        }
        more[19].digest
    });
    let digest = executor.expect("an executor").join().expect("no panic");
    let report = Inspector::of(StdDisk::new(directory), identity()).verify().expect("a sound log");
    assert_eq!(report.digest, digest);
}

#[test]
fn a_log_on_a_real_disk_is_recovered_in_both_write_modes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let found = GlommioDisk::probe(directory.path());
    let entries = std::fs::read_dir(directory.path()).expect("it exists");
    assert_eq!(entries.count(), 0, "the probe leaves nothing behind");
    for mode in [WriteMode::Buffered, found] {
        let path = directory.path().join(format!("{mode:?}"));
        if !path.exists() {
            std::fs::create_dir(&path).expect("a new directory");
            check(mode, &path);
        }
    }
}

#[test]
fn memory_file_systems_are_written_through_the_cache() {
    let Ok(directory) = tempfile::tempdir_in("/dev/shm") else { return };
    assert_eq!(GlommioDisk::probe(directory.path()), WriteMode::Buffered);
    check(WriteMode::Buffered, directory.path());
}

#[test]
fn tools_find_a_live_log_sound_at_every_moment() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().to_owned();
    run_immediate(create(&StdDisk::new(&path), &config())).expect("a new log");
    let mode = GlommioDisk::probe(&path);
    let executor = LocalExecutorBuilder::new(Placement::Unbound).spawn(move || async move {
        let worker = SnapshotWorker::start();
        let config = LogConfig { snapshots: Some(worker.handle()), ..config() };
        let disk = GlommioDisk::at(&path, mode);
        let (log, _) = Log::recover(disk, identity(), config).await.expect("an empty log");
        let mut sale = Sale::new();
        while log.snapshot() < Sequence::new(10_000) {
            let batch = sale.batches(1).remove(0);
            while !log.has_room(batch.events.len()) {
                log.prepare().await.expect("a good disk");
            }
            log.append(batch.first, batch.count, &batch.events).await.expect("a good disk");
            log.prepare().await.expect("a good disk");
            log.trim(log.durable()).await.expect("a good disk");
        }
        log.durable()
    });
    let executor = executor.expect("an executor");
    let inspector = Inspector::of(StdDisk::new(directory.path()), identity());
    let mut tail = inspector.tail(Sequence::ZERO);
    let mut reports = 0;
    let mut last = Sequence::ZERO;
    while last < Sequence::new(10_000) {
        let report = inspector.verify().unwrap_or_else(|error| panic!("look {reports}: {error}"));
        assert!(report.last >= last, "a log does not shrink");
        last = report.last;
        reports += 1;
        while !tail.poll().expect("a sound log").is_empty() {}
    }
    let durable = executor.join().expect("no panic");
    while !tail.poll().expect("a sound log").is_empty() {}
    assert_eq!(tail.next_sequence(), durable.next());
    assert_eq!(inspector.verify().expect("a sound log").last, durable);
}
