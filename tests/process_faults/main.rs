//! Faults of real processes and real file systems, under load: whatever is done to them, nothing
//! that was acknowledged is lost, nothing is sold twice, and nobody gets a false answer.
//!
//! | file | what is done |
//! |---|---|
//! | `kills.rs` | a server killed in its start, in its drain, in the middle of a snapshot; each role killed alone |
//! | `freezes.rs` | a server, or one role, stopped for seconds and let go on |
//! | `full_disks.rs` | the log's disk full, on tmpfs and on ext4; the store's disk full |
//! | `failed_syncs.rs` | a device that fails under the file system, and forgets what it failed |
//! | `no_files.rs` | no file descriptor is left |
//! | `little_memory.rs` | more memory is needed than there is |
//! | `slow_disk.rs` | a disk that takes a few writes in a second |
//! | `late_writes.rs` | killed while the disk still has its writes before it |
//! | `clock_jumps.rs` | the wall clock set an hour ahead and back |
//! | `frozen_postgres.rs` | a shard whose connections stay open and answer nothing |
//!
//! Each is short here. `scripts/faults` runs them longer, under more load (`DOORBUSTER_FAULTS=long`),
//! and prints a table. What needs root, a loop device or a control group says when it is skipped.

#[path = "../support/mod.rs"]
mod support;

mod apart;
mod shop;
mod trial;
mod witness;

mod clock_jumps;
mod failed_syncs;
mod freezes;
mod frozen_postgres;
mod full_disks;
mod kills;
mod late_writes;
mod little_memory;
mod no_files;
mod slow_disk;
