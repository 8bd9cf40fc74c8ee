//! That each fault of a disk does what it says, and nothing else.

use super::*;
use crate::dials::{Dials, DiskDials};
use doorbuster_engine::log::take_snapshot;
use doorbuster_engine::storage::{File, Mode, Storage};
use doorbuster_protocol::{Epoch, Sequence};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

fn world(disk: DiskDials) -> World {
    let mut dials = Dials::draw(&Chance::new(1));
    dials.disk = disk;
    World::new(1, dials, false)
}

fn disks(world: &World) -> Disks {
    let config = LogConfig {
        segment_bytes: 64 << 10,
        first_fill_bytes: 16 << 10,
        fill_ahead_bytes: 64 << 10,
        ..LogConfig::default()
    };
    Disks::new(world, PartitionCount::new(2).expect("in range"), &config)
}

fn first() -> PartitionId {
    PartitionId::new(0).expect("in range")
}

async fn written(file: &SimFile, byte: u8) -> std::io::Result<usize> {
    file.write_at(vec![byte; 4096], 0).await
}

#[tokio::test(start_paused = true)]
async fn calls_fail_until_the_run_heals() {
    let world = world(DiskDials {
        error: 1.0,
        write_error: 1.0,
        sync_error: 1.0,
        directory_sync_error: 1.0,
        rename_error: 1.0,
        ..DiskDials::quiet()
    });
    let disks = disks(&world);
    let disk = disks.disk(first());
    assert!(disk.list().await.is_err());
    assert!(disk.create("a").await.is_err());
    assert!(disk.sync_directory().await.is_err());
    let name = "00000000000000000001.log";
    assert!(disk.rename(name, "b").await.is_err());
    disks.process_ended(false);
    world.heal();
    disk.rename(name, "b").await.expect("all is well");
    disk.sync_directory().await.expect("all is well");
    let file = disk.create("a").await.expect("all is well");
    assert_eq!(written(&file, 1).await.expect("all is well"), 4096);
    file.sync().await.expect("all is well");
    let counts = world.counts();
    for what in ["other calls failed", "syncs of a directory failed", "renames failed"] {
        assert!(counts.get(what).is_some_and(|count| *count > 0), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bit_is_misread_once_and_the_disk_has_the_right_one() {
    let world = world(DiskDials { misread: 1.0, ..DiskDials::quiet() });
    let disks = disks(&world);
    let disk = disks.disk(first());
    let file = disk.create("a").await.expect("no fault of files");
    written(&file, 1).await.expect("no fault of writes");
    let mut read = vec![0; 4096];
    assert_eq!(file.read_at(0, &mut read).await.expect("it is readable"), 4096);
    let wrong: u32 = read.iter().map(|byte| (byte ^ 1).count_ones()).sum();
    let is_damaged = || disks.is_damaged(first(), Path::new("a"), 0);
    assert_eq!((wrong, is_damaged()), (1, true));
    disks.process_ended(false);
    disks.process_begins();
    assert!(!is_damaged());
    assert!(disks.memory(first()).content("a").iter().all(|byte| *byte == 1));
    world.heal();
    assert_eq!(file.read_at(0, &mut read).await.expect("it is readable"), 4096);
    assert!(read.iter().all(|byte| *byte == 1));
}

#[tokio::test(start_paused = true)]
async fn a_failed_sync_is_forgotten_by_a_restart_and_what_it_lost_may_be_gone() {
    let mut gone = 0;
    for round in 0..8 {
        let world = world(DiskDials { sync_error: 1.0, ..DiskDials::quiet() });
        let disks = disks(&world);
        for _ in 0..round {
            disks.platters[0].chance.fraction();
        }
        let disk = disks.disk(first());
        let file = disk.create("a").await.expect("no fault of files");
        written(&file, 1).await.expect("no fault of writes");
        assert!(file.sync().await.is_err());
        drop(file);
        disks.process_ended(false);
        world.heal();
        let file = disk.open("a", Mode::Write).await.expect("it is there");
        let mut read = vec![0; 4096];
        assert_eq!(file.read_at(0, &mut read).await.expect("it is readable"), 4096);
        assert_eq!(read[0], 1);
        file.sync().await.expect("Linux says so");
        disk.sync_directory().await.expect("all is well");
        drop(file);
        disks.process_ended(true);
        gone += usize::from(disks.memory(first()).content("a").contains(&0));
    }
    assert!(gone > 0, "the power was lost eight times, and all was there");
}

#[tokio::test(start_paused = true)]
async fn slow_syncs_take_their_time() {
    let slow =
        DiskDials { slow_sync: 1.0, slow_sync_max: Duration::from_secs(100), ..DiskDials::quiet() };
    let disks = disks(&world(slow));
    let began = Instant::now();
    for _ in 0..10 {
        disks.disk(first()).sync_directory().await.expect("slow, but well");
    }
    assert!(began.elapsed() > Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn damage_is_mended_unless_it_was_overwritten() {
    let world = world(DiskDials { bit_rot: 1.0, ..DiskDials::quiet() });
    let disks = disks(&world);
    let name = "00000000000000000001.log";
    let identity = |partition| LogIdentity { directory: 1, partition, epoch: Epoch::FIRST };
    let content = |partition: PartitionId| disks.memory(partition).content(name);
    let all = || disks.platters.iter().map(|platter| platter.memory.content(name));
    let before: Vec<_> = all().collect();
    for _ in 0..20 {
        disks.rot(identity);
        let platter = (0..2).find(|index| all().nth(*index) != before.get(*index).cloned());
        let platter = platter.expect("one has changed") as u16;
        let is_damaged = |partition, file: &str, offset| {
            let partition = PartitionId::new(partition).expect("in range");
            disks.is_damaged(partition, Path::new(file), offset)
        };
        assert!(is_damaged(platter, name, 0));
        assert!(!is_damaged(1 - platter, name, 0), "another disk");
        assert!(!is_damaged(platter, "00000000000000000002.log", 0), "another file");
        assert!(!is_damaged(platter, name, u64::MAX), "behind it");
        let differs = |(one, other): (Vec<u8>, &Vec<u8>)| {
            one.iter().zip(other).map(|(one, other)| (one ^ other).count_ones()).sum::<u32>()
        };
        assert_eq!(all().zip(&before).map(differs).sum::<u32>(), 1, "one bit");
        disks.mend();
        assert!(is_damaged(platter, name, 0), "who runs may have read it");
        disks.process_begins();
        assert!(!is_damaged(platter, name, 0));
        assert!(all().eq(before.iter().cloned()));
    }
    disks.rot(identity);
    for id in [0, 1].map(|id| PartitionId::new(id).expect("in range")) {
        let bytes = vec![0x77; content(id).len()];
        disks.memory(id).overwrite(name, 0, &bytes);
    }
    disks.mend();
    assert!(all().all(|content| content.iter().all(|byte| *byte == 0x77)));
}

#[tokio::test(start_paused = true)]
async fn a_process_ends_in_the_middle_of_a_snapshot() {
    let disks = disks(&world(DiskDials::quiet()));
    let identity = LogIdentity { directory: 1, partition: first(), epoch: Epoch::FIRST };
    for calls in 1..3 {
        let disk = disks.snapshot_disk(first());
        disk.end_after(calls);
        let taken = take_snapshot(&disk, identity, Sequence::new(9));
        assert!(taken.is_err() && disk.has_ended(), "after {calls} calls");
    }
}
