//! Pages that leave memory, come back, are put where others were, and have no room.

use super::*;
use crate::state_machine::{State, apply, decide};
use doorbuster_protocol::command::{Define, Place};
use doorbuster_protocol::{BuyerId, Command, IdempotencyKey, Outcome, PartitionId};
use doorbuster_protocol::{ProductId, Quantity, Timestamp};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// A shelf that uses all of a disk, however little that is.
fn on_any_disk(directory: &Path, writer: Option<Sender<Work>>) -> FileShelf {
    FileShelf::new(Spot { left_alone_bytes: 0, ..Spot::new(directory, 1) }, writer)
}
fn written_at_once(directory: &Path) -> FileShelf {
    on_any_disk(directory, None)
}
fn written_behind(directory: &Path) -> FileShelf {
    on_any_disk(directory, Some(WRITER.clone()))
}

fn page(number: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    std::iter::repeat_with(|| random.u8(..)).take(4_000).collect()
}

fn read(shelf: &FileShelf, place: u32) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4_000];
    shelf.get(place, &mut bytes).map(|()| bytes)
}

/// Waits until no page is in memory, for which nothing but the writer's work is needed.
fn wait_until_written(shelf: &mut FileShelf) {
    let began = Instant::now();
    while !shelf.in_memory.is_empty() {
        assert!(began.elapsed() < PATIENCE, "{} pages are not written", shelf.in_memory.len());
        std::thread::yield_now();
        shelf.settle();
    }
}

#[test]
fn pages_leave_memory_and_come_back() {
    let directory = tempfile::tempdir().expect("a directory");
    for mut shelf in [written_at_once(directory.path()), written_behind(directory.path())] {
        for place in 0..100 {
            shelf.put(place, page(place.into()));
            assert_eq!(read(&shelf, place).expect("it was put"), page(place.into()));
        }
        wait_until_written(&mut shelf);
        for place in 0..100 {
            assert_eq!(read(&shelf, place).expect("it is in the file"), page(place.into()));
        }
    }
    let left = std::fs::read_dir(directory.path()).expect("it is there").count();
    assert_eq!(left, 0, "nobody has to tidy up");
}

#[test]
fn a_place_is_used_again_while_its_last_page_is_on_its_way() {
    let directory = tempfile::tempdir().expect("a directory");
    for seed in 0..20 {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut shelf = written_behind(directory.path());
        let mut twin = HashMap::new();
        for number in 0..2_000 {
            let place = random.u32(..16);
            match random.u8(..4) {
                0 if twin.remove(&place).is_some() => shelf.forget(place),
                _ if !twin.contains_key(&place) => {
                    shelf.put(place, page(number));
                    twin.insert(place, number);
                }
                _ => {}
            }
            for (place, number) in &twin {
                assert_eq!(read(&shelf, *place).expect("it was put"), page(*number));
            }
        }
    }
}

#[test]
fn what_has_no_room_stays_in_memory_until_it_has() {
    let root = tempfile::tempdir().expect("a directory");
    let directory = root.path().join("later");
    let mut shelf = written_at_once(&directory);
    for place in 0..2 * REST {
        shelf.put(place, page(place.into()));
    }
    assert_eq!(shelf.in_memory.len(), 2 * REST as usize);
    assert!(shelf.is_refused);
    assert_eq!(read(&shelf, 3).expect("it is in memory"), page(3));
    std::fs::create_dir(&directory).expect("room");
    shelf.forget(0);
    let mut place = 2 * REST;
    while !shelf.in_memory.is_empty() {
        assert!(place < 5 * REST, "it is tried again after a while");
        shelf.put(place, page(place.into()));
        place += 1;
    }
    for place in 1..place {
        assert_eq!(read(&shelf, place).expect("it is in the file"), page(place.into()));
    }
}

#[test]
fn the_rest_of_the_disk_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let spot = Spot { left_alone_bytes: u64::MAX, ..Spot::new(directory.path(), 1) };
    let mut shelf = FileShelf::new(spot, None);
    // Places come and go as those of a queue do.
    for place in (0..40 * REST).map(|number| number % 100) {
        if shelf.in_memory.contains_key(&place) {
            shelf.forget(place);
        }
        shelf.put(place, page(place.into()));
        assert!(shelf.waiting.len() <= 100, "each place waits once");
    }
    assert_eq!(shelf.in_memory.len(), 100);
    assert_eq!(shelf.spot.used().bytes(), 0);
    assert_eq!(read(&shelf, 7).expect("it is in memory"), page(7));
}

#[test]
fn what_is_forgotten_goes_back_to_the_disk() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().expect("a directory");
    let mut shelf = written_at_once(directory.path());
    for place in 0..200 {
        shelf.put(place, page(place.into()));
    }
    let blocks = |shelf: &FileShelf| {
        let file = shelf.spot.file().expect("it was written to");
        file.sync_all().expect("the disk takes it");
        file.metadata().expect("it has some").blocks()
    };
    let most = blocks(&shelf);
    for place in 0..190 {
        shelf.forget(place);
    }
    let kept = shelf.spot.used().count;
    assert!((10..10 + AT_ONCE_MAX as u64).contains(&kept), "{kept} places are used");
    assert!(blocks(&shelf) < most * 2 / 3, "{} of {most} blocks are left", blocks(&shelf));
    // A place that was forgotten just now, and is not given back yet.
    shelf.put(189, page(7));
    assert_eq!(read(&shelf, 189).expect("it was put"), page(7));
    assert_eq!(shelf.spot.used().count, 11);
    for place in 190..200 {
        assert_eq!(read(&shelf, place).expect("it is in the file"), page(place.into()));
    }
}

#[test]
fn a_disk_that_lies_is_found_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut shelf = written_at_once(directory.path());
    shelf.put(0, page(0));
    shelf.put(1, page(1));
    assert!(shelf.in_memory.is_empty());
    let file = shelf.spot.file().expect("it was written to");
    file.write_all_at(&[!page(1)[7]], offset_of(1) + 7).expect("the disk takes it");
    let why = read(&shelf, 1).expect_err("a wrong bit").to_string();
    assert!(why.contains("does not hold what was written"), "{why}");
    assert_eq!(read(&shelf, 0).expect("it is whole"), page(0));
    file.set_len(offset_of(0) + 5).expect("the disk takes it");
    assert!(read(&shelf, 0).is_err(), "what is cut off is lost");
}

#[test]
fn old_keys_are_answered_from_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let shelf = written_at_once(directory.path());
    let partition = PartitionId::new(0).expect("a number");
    let mut state = State::with_shelf(partition, Box::new(shelf));
    let mut now = Timestamp::from_micros(1_800_000_000_000_000);
    let mut run = |command: &Command| {
        now = now.plus_micros(1);
        let decision = decide(&state, command, now);
        decision.event.iter().for_each(|event| apply(&mut state, event));
        if let Command::Confirm { .. } = command {
            let through = state.sequence();
            let acknowledge = Command::Acknowledge { consumer: 0, through };
            let event = decide(&state, &acknowledge, now).event.expect("there is news");
            apply(&mut state, &event);
        }
        decision.outcome
    };
    let product = ProductId::parse("shoe").expect("a name");
    let define = Define { price: Some(5), stock: Some(500), ..Define::new(product) };
    run(&Command::Define(define));
    let mut answered = Vec::new();
    for number in 0..500 {
        let buyer = BuyerId::parse(&format!("buyer-{number}")).expect("a name");
        let key = IdempotencyKey::new(buyer, product, b"k");
        let place =
            Place { product, buyer, key, quantity: Quantity::ONE, waitlist: number % 2 == 0 };
        let Outcome::Placed(view) = run(&Command::Place(place)) else { panic!("there is stock") };
        run(&Command::Confirm { order: view.order });
        answered.push((place, view));
    }
    for (place, view) in &answered {
        assert_eq!(run(&Command::Place(*place)), Outcome::Replayed(*view));
        let other = Place { waitlist: !place.waitlist, ..*place };
        assert_eq!(run(&Command::Place(other)), Outcome::KeyMismatch);
    }
    assert_eq!(state.totals().receipts, 500);
    state.check_invariants();
    let (mut written, mut in_memory) = (Vec::new(), Vec::new());
    crate::state_machine::snapshot::write(&state, &mut written).expect("memory takes it");
    let copy = crate::state_machine::snapshot::read(&mut written.as_slice(), partition);
    let copy = copy.expect("sound bytes");
    assert_eq!(copy.digest(), state.digest());
    crate::state_machine::snapshot::write(&copy, &mut in_memory).expect("memory takes it");
    assert_eq!(written.len(), in_memory.len());
}
