//! Each read of a recovery in turn gives back one wrong bit, which is right again when it is read once
//! more: from a cable, a controller, memory. The log is recovered as it is, or not at all; and the next
//! recovery finds everything that was acknowledged.

use super::LogError;
use super::sample::{Batch, identity, logged, recover};
use super::take_snapshot;
use crate::storage::{Fault, MemoryDisk, run_immediate};

/// Bits of each read that are tried.
const ROUNDS: u64 = 150;

/// Logs of one batch, of one segment, of several with snapshots.
const LOGS: [usize; 3] = [1, 4, 40];

fn log_of(batches: usize) -> (MemoryDisk, Vec<Batch>) {
    let (disk, batches) = logged(batches);
    let (log, _) = recover(&disk).expect("a good disk");
    let until = log.current_first();
    if until > batches[0].first {
        take_snapshot(&disk, identity(), until).expect("a good disk");
    }
    run_immediate(log.prepare()).expect("a good disk");
    (disk, batches)
}

#[test]
fn a_bit_that_is_misread_once_costs_nothing_that_was_acknowledged() {
    let mut random = fastrand::Rng::with_seed(1);
    let (mut runs, mut refused) = (0, 0);
    for count in LOGS {
        let (disk, batches) = log_of(count);
        let last = &batches[count - 1];
        let copy = disk.duplicate();
        recover(&copy).expect("a good disk");
        for read in 1..=copy.reads() {
            for _ in 0..ROUNDS {
                let (copy, bit) = (disk.duplicate(), random.u64(..));
                let what = format!("{count} batches, bit {bit} of read {read}");
                copy.inject(Fault::Misread(read, bit));
                match recover(&copy) {
                    Ok((_, state)) => assert_eq!(state.digest(), last.digest, "{what}"),
                    Err(LogError::Damaged { .. } | LogError::Io { .. }) => refused += 1,
                    Err(error) => panic!("{what}: {error}"),
                }
                copy.restart();
                let recovered = recover(&copy).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(recovered.1.sequence(), last.last(), "{what}");
                assert_eq!(recovered.1.digest(), last.digest, "{what}");
                runs += 1;
            }
        }
    }
    println!("misread bits: {runs}, {refused} of them refused");
    assert!(0 < refused && refused < runs, "{refused} of {runs}");
}
