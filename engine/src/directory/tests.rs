//! A data directory is made once, opened by one process at a time, and never mistaken.

use super::{DataDirectory, DirectoryError};
use crate::log::inspect::Inspector;
use doorbuster_protocol::routing::PartitionCount;
use std::fs;
use std::path::Path;

fn count(partitions: u16) -> PartitionCount {
    PartitionCount::new(partitions).expect("in range")
}

fn create(path: &Path) -> Result<DataDirectory, DirectoryError> {
    DataDirectory::create_or_open(path, count(3))
}

#[test]
fn a_directory_is_made_once_and_keeps_its_facts() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let path = parent.path().join("deep/data");
    assert!(!DataDirectory::exists(&path));
    let made = create(&path).expect("a new directory");
    let id = made.id();
    assert_eq!(made.partitions(), count(3));
    for partition in made.partitions().all() {
        let report = Inspector::new(&made, partition).verify().expect("an empty log is sound");
        assert_eq!(report.events, 0);
    }
    drop(made);
    let again = DataDirectory::create_or_open(&path, count(5)).expect("it is there");
    assert_eq!((again.id(), again.partitions()), (id, count(3)));
    again.check_partitions(count(3)).expect("as asked");
    let other = again.check_partitions(count(5));
    assert!(matches!(other, Err(DirectoryError::OtherPartitions { has: 3, asked: 5, .. })));
    let second = create(&parent.path().join("other")).expect("a new directory");
    assert_ne!(second.id(), id);
}

#[test]
fn one_process_at_a_time_and_readers_beside_it() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let path = parent.path().join("data");
    let held = create(&path).expect("a new directory");
    for refused in [create(&path), DataDirectory::open(&path)] {
        let Err(DirectoryError::Locked { owner, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(owner, std::process::id().to_string());
    }
    let reader = DataDirectory::open_read_only(&path).expect("readers need no lock");
    assert_eq!(reader.id(), held.id());
    drop(held);
    DataDirectory::open(&path).expect("the lock went with its holder");
}

#[test]
fn what_is_missing_foreign_or_unfinished_is_told_apart() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let path = parent.path();
    let missing = path.join("missing");
    assert!(matches!(DataDirectory::open(&missing), Err(DirectoryError::Missing { .. })));
    assert!(!missing.exists(), "looking makes nothing");
    let foreign = path.join("foreign");
    fs::create_dir(&foreign).expect("a new directory");
    fs::write(foreign.join("thesis.txt"), "precious").expect("a new file");
    for refused in [create(&foreign), DataDirectory::open(&foreign)] {
        let Err(DirectoryError::Foreign { found, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(found, "thesis.txt");
    }
    assert_eq!(fs::read_dir(&foreign).expect("it is there").count(), 1);
    let file = path.join("file");
    fs::write(&file, "").expect("a new file");
    assert!(matches!(create(&file), Err(DirectoryError::Foreign { .. })));
    // A start that was cut off before the superblock had its name begins anew.
    let unfinished = path.join("unfinished");
    drop(create(&unfinished).expect("a new directory"));
    let superblock = unfinished.join("superblock.json");
    fs::rename(&superblock, unfinished.join("superblock.json.tmp")).expect("a rename");
    assert!(matches!(DataDirectory::open(&unfinished), Err(DirectoryError::Missing { .. })));
    drop(create(&unfinished).expect("begun anew"));
    // Logs that lost their superblock are not made anew.
    fs::remove_file(&superblock).expect("it is there");
    for refused in [create(&unfinished), DataDirectory::open(&unfinished)] {
        assert!(matches!(refused, Err(DirectoryError::Damaged { .. })), "{refused:?}");
    }
}

#[test]
fn other_versions_and_damaged_superblocks_are_refused() {
    let parent = tempfile::tempdir().expect("a temporary directory");
    let path = parent.path().join("data");
    drop(create(&path).expect("a new directory"));
    let superblock = path.join("superblock.json");
    let text = fs::read_to_string(&superblock).expect("it is there");
    let newer = text.replace("\"format\": 1", "\"format\": 9");
    let newer = newer.replace("\"checksum\": \"", "\"checksum\": \"f");
    fs::write(&superblock, newer).expect("a change");
    let refused = DataDirectory::open(&path);
    assert!(matches!(refused, Err(DirectoryError::Version { found: 9, supported: 1, .. })));
    fs::write(&superblock, text.replace("\"partitions\": 3", "\"partitions\": 4")).expect("so");
    assert!(matches!(DataDirectory::open(&path), Err(DirectoryError::Damaged { .. })));
    let mut bytes = text.clone().into_bytes();
    bytes[20] |= 0x80;
    fs::write(&superblock, &bytes).expect("a change");
    let refused = DataDirectory::open(&path);
    assert!(matches!(refused, Err(DirectoryError::Damaged { .. })), "no UTF-8: {refused:?}");
    fs::write(&superblock, &text).expect("as it was");
    DataDirectory::open(&path).expect("as it was");
}
