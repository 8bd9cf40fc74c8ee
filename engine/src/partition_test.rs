//! Nothing leaves before it is durable; a full log refuses and changes nothing.

use super::*;
use doorbuster_protocol::command::{Define, Place};
use doorbuster_protocol::{BuyerId, IdempotencyKey, ProductId, Quantity};

const ROOM: LogRoom =
    LogRoom { batch_bytes: limits::BATCH_BYTES_MAX, disk_full: false, above_high_water: false };

fn shoe() -> ProductId {
    ProductId::parse("shoe").expect("a name")
}

fn partition() -> Partition {
    let id = PartitionId::new(3).expect("in range");
    let mut partition = Partition::new(State::new(id));
    partition.set_room(ROOM);
    partition
}

/// A moment at which no clock is off.
fn both(seconds: u64) -> Moment {
    Moment { now: at(seconds), wall: at(seconds) }
}
fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn to(correlation: u64) -> ReplyTo {
    ReplyTo { connection: 1, correlation }
}

fn request(command: Command) -> Request {
    Request {
        partition: PartitionId::new(3).expect("in range"),
        deadline: Timestamp::NONE,
        ask: Ask::Command(command),
    }
}

fn define(stock: u32) -> Request {
    request(Command::Define(Define {
        price: Some(100),
        stock: Some(stock),
        hold_seconds: Some(10),
        ..Define::new(shoe())
    }))
}

fn place(buyer: u8) -> Request {
    request(Command::Place(Place {
        product: shoe(),
        buyer: BuyerId::from_bytes([buyer; 16]),
        key: IdempotencyKey::NONE,
        quantity: Quantity::ONE,
        waitlist: false,
    }))
}

fn read() -> Request {
    Request { ask: Ask::Read(Read::Product { product: shoe() }), ..place(0) }
}

/// Writes the open batch and returns who was answered, in order.
fn commit(partition: &mut Partition) -> Vec<u64> {
    let batch = partition.take_batch(Vec::new());
    let mut answered = Vec::new();
    partition.committed(batch.last(), |to, _| answered.push(to.correlation));
    answered
}

#[test]
fn an_answer_waits_for_what_it_saw() {
    let mut partition = partition();
    assert_eq!(partition.ask(&read(), to(0), both(1)), Some(Outcome::ProductNotFound));
    assert_eq!(partition.ask(&define(1), to(1), both(1)), None);
    assert_eq!(partition.ask(&place(1), to(2), both(1)), None);
    assert_eq!(
        partition.ask(&place(2), to(3), both(1)),
        None,
        "a refusal that saw what may be lost"
    );
    assert_eq!(partition.ask(&read(), to(4), both(1)), None, "a read of the same");
    assert_eq!(partition.waiting(), 4);
    assert_eq!(commit(&mut partition), [1, 2, 3, 4]);
    assert_eq!(partition.ask(&place(2), to(5), both(1)), Some(Outcome::SoldOut), "all is durable");
    assert!(matches!(partition.ask(&read(), to(6), both(1)), Some(Outcome::Product(_))));
}

#[test]
fn a_level_is_told_when_what_it_rests_on_is_durable() {
    let told = |partition: &mut Partition| -> Vec<(u32, bool)> {
        let changed = partition.take_changed_levels();
        let all: Vec<Level> = partition.levels().collect();
        assert!(changed.iter().all(|level| all.contains(level)), "{changed:?} of {all:?}");
        changed.iter().map(|level| (level.available, level.accepting)).collect()
    };
    let mut partition = partition();
    partition.ask(&define(1), to(1), both(1));
    assert_eq!(told(&mut partition), []);
    assert_eq!(partition.levels().count(), 0, "nor does who comes new hear of it");
    commit(&mut partition);
    assert_eq!(told(&mut partition), [(1, true)]);
    assert_eq!(told(&mut partition), [], "once");
    partition.ask(&place(1), to(2), both(1));
    let batch = partition.take_batch(Vec::new());
    partition.expire(at(20), 1);
    assert_eq!(told(&mut partition), [], "a hold that a crash may take away");
    assert!(partition.levels().all(|level| level.accepting));
    partition.committed(batch.last(), |_, _| {});
    assert_eq!(told(&mut partition), [(0, false)], "as it was at the end of the batch");
    commit(&mut partition);
    assert_eq!(told(&mut partition), [(1, true)], "the hold ran out");

    let recovered = Partition::new(partition.state);
    assert_eq!(recovered.levels().count(), 1, "all that was recovered is durable");
}

#[test]
fn the_next_batch_is_decided_while_the_last_one_is_written() {
    let mut partition = partition();
    partition.ask(&define(5), to(1), both(1));
    let first = partition.take_batch(Vec::new());
    assert_eq!((first.first, first.count), (Sequence::new(1), 1));
    assert_eq!(partition.ask(&place(1), to(2), both(1)), None);
    let mut answered = Vec::new();
    partition.committed(first.last(), |to, _| answered.push(to.correlation));
    assert_eq!(answered, [1], "the second is not durable yet");
    let second = partition.take_batch(first.events);
    assert_eq!((second.first, second.count), (Sequence::new(2), 1));
}

#[test]
fn a_log_without_room_refuses_and_nothing_happens() {
    let mut partition = partition();
    partition.ask(&define(5), to(1), both(1));
    commit(&mut partition);
    let digest = partition.state().digest();
    partition.set_room(LogRoom { batch_bytes: 0, disk_full: true, ..ROOM });
    assert_eq!(partition.ask(&place(1), to(2), both(1)), Some(Outcome::Overloaded));
    assert!(!partition.has_open_batch());
    assert!(!partition.is_full(), "a full disk refuses, and makes nobody wait");
    assert_eq!(partition.state().digest(), digest);
    assert!(
        matches!(partition.ask(&read(), to(3), both(1)), Some(Outcome::Product(_))),
        "reads go on"
    );
    partition.set_room(ROOM);
    assert_eq!(partition.ask(&place(1), to(4), both(1)), None, "there is room again");
}

#[test]
fn the_last_room_of_a_full_disk_is_for_what_was_sold_already() {
    let mut partition = partition();
    partition.ask(&define(5), to(1), both(1));
    partition.ask(&place(1), to(2), both(1));
    partition.ask(&place(2), to(3), both(1));
    commit(&mut partition);
    let orders: Vec<_> = partition.state().orders().map(|order| order.order).collect();
    let last = limits::ROOM_KEPT_FROM_NEW_ORDERS;
    partition.set_room(LogRoom { batch_bytes: last, disk_full: true, ..ROOM });
    assert_eq!(partition.ask(&place(3), to(4), both(1)), Some(Outcome::Overloaded));
    let pay = request(Command::Confirm { order: orders[0] });
    assert_eq!(partition.ask(&pay, to(5), both(1)), None);
    let cancel = request(Command::Cancel { order: orders[1], buyer: None });
    assert_eq!(partition.ask(&cancel, to(6), both(1)), None);
    assert_eq!(commit(&mut partition), [5, 6]);
    // While the disk is not full, as little room as that only means that a file comes to its end.
    partition.set_room(LogRoom { batch_bytes: last, ..ROOM });
    assert_eq!(partition.ask(&place(3), to(7), both(1)), None);
}

#[test]
fn a_question_whose_time_is_over_is_not_looked_into() {
    let mut partition = partition();
    partition.ask(&define(5), to(1), both(1));
    let late = |request: Request| Request { deadline: at(8), ..request };
    let (in_time, too_late) = (both(8), Moment { now: at(9), wall: at(9) });
    assert_eq!(partition.ask(&late(read()), to(2), in_time), None);
    assert_eq!(partition.ask(&late(read()), to(3), too_late), Some(Outcome::DeadlinePassed));
    assert_eq!(partition.ask(&late(place(1)), to(4), too_late), Some(Outcome::DeadlinePassed));
    assert_eq!(partition.state().sequence(), Sequence::new(1));
}

#[test]
fn above_the_high_water_mark_only_new_orders_are_refused() {
    let mut partition = partition();
    partition.ask(&define(5), to(1), both(1));
    let key = IdempotencyKey::from_bytes([7; 16]);
    let with_key = |buyer| {
        let Ask::Command(Command::Place(wanted)) = place(buyer).ask else { unreachable!() };
        request(Command::Place(Place { key, ..wanted }))
    };
    partition.ask(&with_key(1), to(2), both(1));
    commit(&mut partition);
    partition.set_room(LogRoom { above_high_water: true, ..ROOM });
    assert_eq!(partition.ask(&place(2), to(3), both(1)), Some(Outcome::Overloaded));
    let again = partition.ask(&with_key(1), to(4), both(1));
    assert!(matches!(again, Some(Outcome::Replayed(_))), "{again:?}");
    assert_eq!(partition.ask(&with_key(2), to(5), both(1)), Some(Outcome::KeyMismatch));
    assert_eq!(partition.ask(&define(6), to(6), both(1)), None);
}

#[test]
fn room_that_a_batch_being_written_takes_is_not_given_twice() {
    let mut partition = partition();
    let room = LogRoom { batch_bytes: 4_096, ..ROOM };
    partition.set_room(room);
    partition.ask(&define(5), to(1), both(1));
    let batch = partition.take_batch(Vec::new());
    // The log still has the whole block, until the write ends.
    partition.set_room(room);
    assert_eq!(partition.ask(&place(1), to(2), both(1)), Some(Outcome::Overloaded));
    assert!(!partition.has_open_batch());
    partition.committed(batch.last(), |_, _| {});
    partition.set_room(room);
    assert_eq!(partition.ask(&place(1), to(3), both(1)), None, "the log has filled ahead");
}

#[test]
fn a_passed_deadline_does_nothing() {
    let mut partition = partition();
    let late = Request { deadline: at(1), ..define(5) };
    assert_eq!(partition.ask(&late, to(1), both(2)), Some(Outcome::DeadlinePassed));
    let by_the_wall = Moment { now: at(1), wall: at(2) };
    assert_eq!(partition.ask(&late, to(1), by_the_wall), Some(Outcome::DeadlinePassed));
    let wall_stepped_back = Moment { now: at(2), wall: at(1) };
    assert_eq!(partition.ask(&late, to(1), wall_stepped_back), None);
    assert_eq!(partition.state().last_at(), at(2), "decided by the core's time");
}

#[test]
fn time_never_goes_back() {
    let mut partition = partition();
    partition.ask(&define(5), to(1), both(100));
    partition.ask(&place(1), to(2), both(50));
    assert_eq!(partition.state().last_at(), at(100));
    assert_eq!(partition.expire(at(60), 10), 0, "no early expiry by a clock that stepped");
    assert_eq!(partition.expire(at(110), 10), 1);
}

#[test]
fn a_drain_finishes_what_was_taken() {
    let mut partition = partition();
    partition.ask(&define(5), to(1), both(1));
    partition.drain();
    assert_eq!(partition.ask(&place(1), to(2), both(1)), Some(Outcome::Unavailable));
    assert!(!partition.is_drained());
    commit(&mut partition);
    assert!(partition.is_drained());
}

#[test]
fn a_drain_waits_for_a_write_that_nobody_waits_for() {
    let mut partition = partition();
    partition.ask(&define(5), to(1), both(1));
    partition.ask(&place(1), to(2), both(1));
    commit(&mut partition);
    assert_eq!(partition.expire(at(11), 1), 1);
    partition.drain();
    assert!(!partition.is_drained());
    let batch = partition.take_batch(Vec::new());
    assert!(!partition.is_drained());
    partition.committed(batch.last(), |_, _| {});
    assert!(partition.is_drained());
}

#[test]
fn acknowledgements_do_not_acknowledge_themselves_for_ever() {
    let mut partition = partition();
    partition.ask(&define(5), to(1), both(1));
    commit(&mut partition);
    assert!(!partition.acknowledge(0, Sequence::new(2)), "nobody can have what is not there");
    assert!(!partition.acknowledge(200, Sequence::new(1)), "no such consumer");
    assert!(partition.acknowledge(0, Sequence::new(1)));
    partition.log_acknowledgements(at(2));
    assert!(partition.has_open_batch());
    commit(&mut partition);
    assert!(partition.acknowledge(0, Sequence::new(2)));
    partition.log_acknowledgements(at(3));
    assert!(!partition.has_open_batch(), "only an acknowledgement was acknowledged");
}
