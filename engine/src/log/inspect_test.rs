//! Tools read a log beside its writer: they see what is there, and take no write in the works, no
//! rotation and no recycling for damage.

use super::inspect::{EventReader, Inspector, LoggedEvent, Visitor};
use super::sample::{Sale, append, append_all, fresh, identity, logged, recover, segments};
use super::{DamageKind, LogError, take_snapshot};
use crate::state_machine::State;
use crate::state_machine::snapshot::SnapshotVisitor;
use crate::storage::{File, MemoryDisk, Mode, Storage, run_immediate};
use doorbuster_protocol::event::Event;
use doorbuster_protocol::outcome::{OrderView, ProductView};
use doorbuster_protocol::{BuyerId, ProductId, Sequence};

fn inspector(disk: &MemoryDisk) -> Inspector<MemoryDisk> {
    Inspector::of(disk.clone(), identity())
}

#[test]
fn verify_reports_what_is_there() {
    let (disk, batches) = logged(60);
    let last = batches[59].last();
    let report = inspector(&disk).verify().expect("a sound log");
    assert_eq!(report.segments as usize, segments(&disk).len());
    assert_eq!((report.first, report.last), (Sequence::new(1), last));
    assert_eq!((report.events, report.frames), (last.get(), 60));
    assert_eq!((report.digest, report.tail), (batches[59].digest, None));
    assert!(!report.is_sealed);
    let (log, _) = recover(&disk).expect("a sound log");
    assert_eq!(report.bytes, log.bytes_total());
    run_immediate(log.seal()).expect("a good disk");
    let until = log.current_first();
    let taken = take_snapshot(&disk, identity(), until).expect("a good disk");
    log.note_snapshot(&super::SnapshotTaken { covered: taken.newest, ..taken });
    run_immediate(log.trim(log.durable())).expect("a good disk");
    let report = inspector(&disk).verify().expect("a sound log");
    assert_eq!((report.first, report.last), (until, last));
    assert_eq!((report.segments, report.snapshots), (1, 1));
    assert_eq!(report.digest, batches[59].digest);
    assert!(report.is_sealed);
}

#[test]
fn a_torn_tail_is_noted_and_damage_is_refused() {
    let (disk, batches) = logged(60);
    let names = segments(&disk);
    let last = &names[names.len() - 1];
    let (log, _) = recover(&disk).expect("a sound log");
    let end = log.bytes_unacknowledged(log.current_first());
    drop(log);
    let before = disk.content(last);
    let file = run_immediate(disk.open(last, Mode::Write)).expect("it is there");
    run_immediate(file.write_durable(vec![7; 600], end)).expect("a good disk");
    let report = inspector(&disk).verify().expect("a torn tail is no damage");
    let tail = report.tail.expect("a tail");
    assert_eq!((tail.offset, tail.sequence), (end, batches[59].last().next()));
    assert_ne!(disk.content(last), before, "nothing was repaired");
    disk.flip(&names[0], 5_000, 1);
    let error = inspector(&disk).verify().expect_err("damage");
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
}

#[test]
fn a_snapshot_that_disagrees_with_the_log_is_damage() {
    let (disk, _) = logged(60);
    let names = segments(&disk);
    let until = Sequence::new(names[2][..20].parse().expect("digits"));
    take_snapshot(&disk, identity(), until).expect("a good disk");
    inspector(&disk).verify().expect("a sound log");
    let name = super::sample::names(&disk, ".snapshot").remove(0);
    disk.flip(&name, 200, 4);
    let error = inspector(&disk).verify().expect_err("damage");
    assert!(matches!(error, LogError::Damaged { kind: DamageKind::Snapshot, .. }), "{error}");
}

#[test]
fn events_are_listed_with_their_places_from_anywhere() {
    let (disk, batches) = logged(40);
    let last = batches[39].last().get();
    for from in [0, 1, 2, last / 2, last, last + 1] {
        let listed = inspector(&disk).events(Sequence::new(from));
        let listed: Vec<LoggedEvent> = listed.map(|event| event.expect("a sound log")).collect();
        let sequences: Vec<u64> = listed.iter().map(|event| event.sequence.get()).collect();
        assert_eq!(sequences, (from.max(1)..=last).collect::<Vec<_>>());
        let mut events = Vec::new();
        for logged in &listed {
            logged.event.encode(&mut events);
        }
        let whole: Vec<u8> = batches.iter().flat_map(|batch| batch.events.clone()).collect();
        assert!(whole.ends_with(&events), "from {from}");
    }
}

#[test]
fn a_tail_follows_through_rotations_and_recycling() {
    let disk = fresh();
    let (log, _) = recover(&disk).expect("an empty log");
    let mut tail = inspector(&disk).tail(Sequence::ZERO);
    let mut sleeper = inspector(&disk).tail(Sequence::ZERO);
    assert_eq!(tail.poll().expect("a sound log"), []);
    assert_eq!(sleeper.poll().expect("a sound log"), []);
    let mut sale = Sale::new();
    let mut seen = 0;
    for _ in 0..80 {
        let batch = sale.batches(1).remove(0);
        append(&log, &batch).expect("a good disk");
        loop {
            let events = tail.poll().expect("a sound log");
            if events.is_empty() {
                break;
            }
            assert_eq!(events[0].sequence.get(), seen + 1);
            seen = events[events.len() - 1].sequence.get();
        }
        assert_eq!(seen, batch.last().get());
        run_immediate(log.prepare()).expect("a good disk");
        let until = log.current_first();
        if log.snapshot().next() < until {
            log.note_snapshot(&take_snapshot(&disk, identity(), until).expect("a good disk"));
        }
        run_immediate(log.trim(log.durable())).expect("a good disk");
    }
    // Whoever did not look for long goes on with what is retained.
    let first = segments(&disk)[0][..20].parse().expect("digits");
    assert!(first > 1);
    let events = sleeper.poll().expect("a sound log");
    assert_eq!(events[0].sequence, Sequence::new(first));
    let report = inspector(&disk).verify().expect("a sound log");
    assert_eq!(report.first, Sequence::new(first));
}

#[test]
fn a_replay_shows_each_event_with_the_state_after_it() {
    struct Seen(u64, Vec<u64>);
    impl Visitor for Seen {
        fn begin(&mut self, base: &State) {
            self.0 = base.sequence().get();
        }
        fn event(&mut self, event: &LoggedEvent, state: &State) {
            assert_eq!(event.sequence, state.sequence());
            self.0 += 1;
            assert_eq!(event.sequence.get(), self.0);
            self.1.push(state.digest());
        }
    }
    let disk = fresh();
    let (log, _) = recover(&disk).expect("an empty log");
    let batches = Sale::new().batches(5);
    append_all(&log, &batches);
    let mut seen = Seen(0, Vec::new());
    let (state, report) = inspector(&disk).replay(&mut seen).expect("a sound log");
    assert_eq!(seen.1.len() as u64, report.events);
    for batch in &batches {
        assert_eq!(seen.1[batch.last().get() as usize - 1], batch.digest);
    }
    assert_eq!(state.digest(), report.digest);
}

#[test]
fn a_reading_shows_every_retained_event_also_those_before_its_snapshot() {
    #[derive(Default)]
    struct Seen {
        first: u64,
        base: u64,
        orders: usize,
        units: usize,
        events: Vec<u64>,
    }
    impl SnapshotVisitor for Seen {
        fn product(&mut self, _product: &ProductView) {
            assert_eq!(self.orders, 0, "products come first");
        }
        fn order(&mut self, _order: &OrderView) {
            self.orders += 1;
        }
        fn units(&mut self, _product: ProductId, _buyer: BuyerId, _units: u32) {
            self.units += 1;
        }
    }
    impl EventReader for Seen {
        fn begin(&mut self, first: Sequence, base: Sequence) {
            *self = Self { first: first.get(), base: base.get(), ..Self::default() };
        }
        fn event(&mut self, sequence: Sequence, _event: &Event) {
            self.events.push(sequence.get());
        }
    }
    let (disk, batches) = logged(60);
    let last = batches[59].last().get();
    let mut seen = Seen::default();
    let extent = inspector(&disk).read(&mut seen).expect("a sound log");
    assert_eq!((extent.first.get(), extent.last.get(), extent.events), (1, last, last));
    assert_eq!((seen.first, seen.base), (1, 0));
    assert_eq!(seen.events, (1..=last).collect::<Vec<_>>());

    let (log, _) = recover(&disk).expect("a sound log");
    let taken = take_snapshot(&disk, identity(), log.current_first()).expect("a good disk");
    log.note_snapshot(&super::SnapshotTaken { covered: taken.newest, ..taken });
    run_immediate(log.trim(log.durable())).expect("a good disk");
    let extent = inspector(&disk).read(&mut seen).expect("a sound log");
    assert!(seen.first > 1 && seen.base >= seen.first - 1, "{} {}", seen.first, seen.base);
    assert_eq!(seen.events, (seen.first..=last).collect::<Vec<_>>());
    assert_eq!(extent.first.get(), seen.first);
    assert!(seen.orders > 0 && seen.units > 0, "{} {}", seen.orders, seen.units);
    disk.flip(&segments(&disk)[0], 5_000, 1);
    let error = inspector(&disk).read(&mut seen).expect_err("damage");
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
}
