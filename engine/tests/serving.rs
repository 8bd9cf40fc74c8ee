//! An engine over real sockets and a real disk: orders, restarts, feeds, stock levels, bad clients.

mod support;

use doorbuster_engine::directory::DirectoryError;
use doorbuster_engine::engine::{Engine, EngineConfig, EngineError};
use doorbuster_protocol::command::{Ask, Command, Read, Request, SaleState};
use doorbuster_protocol::event::Fact;
use doorbuster_protocol::frame::{Kind, OpenFrame};
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::outcome::OrderStatus;
use doorbuster_protocol::{Epoch, Outcome, PartitionId, Sequence, Timestamp};
use std::io::{Read as _, Write as _};
use std::path::Path;
use support::{Client, Running, buyer, config, define, key, place, product};

#[test]
fn an_order_survives_a_restart_with_its_key() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let mut client = Client::connect(running.address());
    let shoe = product("shoe");
    let Outcome::Product(view) = client.ask(shoe, Command::Define(define("shoe", 2))) else {
        panic!("defined")
    };
    assert_eq!((view.stock, view.available), (2, 2));
    let Outcome::Placed(first) = client.ask(shoe, place("shoe", 1, Some("k"))) else {
        panic!("placed")
    };
    assert_eq!(first.status, OrderStatus::Pending);
    assert_eq!(client.ask(shoe, place("shoe", 1, Some("k"))), Outcome::Replayed(first));
    let Outcome::Placed(second) = client.ask(shoe, place("shoe", 2, None)) else {
        panic!("placed")
    };
    assert_eq!(client.ask(shoe, place("shoe", 3, None)), Outcome::SoldOut);
    running.stop();

    let running = Running::start(config(data.path(), 2));
    let client = Client::connect(running.address());
    let owner = client.map().owner_of(first.order.partition()).expect("owned");
    let mut client = Client::connect(running.engine().addresses()[usize::from(owner)]);
    assert_eq!(client.ask(shoe, place("shoe", 1, Some("k"))), Outcome::Replayed(first));
    assert_eq!(client.read_order(second.order), Outcome::Order(second));
    assert_eq!(client.ask(shoe, place("shoe", 3, None)), Outcome::SoldOut);
    let cancel = Command::Cancel { order: second.order, buyer: Some(buyer(2)) };
    assert!(matches!(client.ask_order(second.order, cancel), Outcome::Cancelled(_)));
    assert_eq!(client.ask_order(second.order, cancel), Outcome::OrderFinal(OrderStatus::Cancelled));
    assert!(matches!(client.ask(shoe, place("shoe", 3, None)), Outcome::Placed(_)));
    running.stop();
}

#[test]
fn thousands_in_flight_sell_exactly_the_stock() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let mut client = Client::connect(running.address());
    let shoe = product("shoe");
    client.ask(shoe, Command::Define(define("shoe", 1_000)));
    let mut sent = Vec::new();
    for number in 0..10_000 {
        sent.push(client.enqueue(shoe, place("shoe", number, None)));
        if number % 1_000 == 0 {
            client.send();
        }
    }
    client.send();
    let last = sent.len();
    client.receive_until(|client| client.answers.len() == last);
    let placed = sent.iter().filter(|id| matches!(client.answers[id], Outcome::Placed(_)));
    assert_eq!(placed.count(), 1_000);
    let Outcome::Product(view) = client.read_product(shoe) else { panic!("read") };
    assert_eq!((view.available, view.held), (0, 1_000));
}

#[test]
fn a_high_water_mark_below_a_segment_refuses_nobody_for_nothing() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(EngineConfig { high_water_bytes: 1, ..config(data.path(), 1) });
    let mut client = Client::connect(running.address());
    let shoe = product("shoe");
    client.ask(shoe, Command::Define(define("shoe", 2)));
    assert!(matches!(client.ask(shoe, place("shoe", 1, None)), Outcome::Placed(_)));
    assert!(matches!(client.ask(shoe, place("shoe", 2, None)), Outcome::Placed(_)));
}

#[test]
fn a_feed_delivers_every_event_once_and_from_anywhere() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let mut client = Client::connect(running.address());
    let shoe = product("shoe");
    let partition = client.map().partitions.partition_of(shoe);
    client.ask(shoe, Command::Define(define("shoe", 20_000)));
    client.session().subscribe(partition, 0, Sequence::new(1));
    // More than the tail in memory holds, so that the middle is read from the log.
    let orders = 15_000;
    let mut other = Client::connect(running.address());
    for number in 0..orders {
        other.enqueue(shoe, place("shoe", number, None));
        if number % 500 == 499 {
            other.send();
            let want = number as usize + 1;
            other.receive_until(|other| other.answers.len() == want);
        }
    }
    client.send();
    let total = orders as usize + 1;
    client.receive_until(|client| client.feed.events.len() >= total);
    for (index, (from, sequence, event)) in client.feed.events.iter().enumerate() {
        assert_eq!(*from, partition);
        assert_eq!(sequence.get(), index as u64 + 1, "dense, in order, once");
        assert!(matches!((index, &event.fact), (0, Fact::Defined { .. }) | (1.., Fact::Placed(_))));
    }
    let mut late = Client::connect(running.address());
    late.session().subscribe(partition, 0, Sequence::new(7_777));
    late.send();
    late.receive_until(|late| late.feed.events.len() >= total - 7_776);
    assert_eq!(late.feed.events[0].1, Sequence::new(7_777));
    drop(running);
}

#[test]
fn an_acknowledged_final_order_leaves_the_engine() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let mut client = Client::connect(running.address());
    let shoe = product("shoe");
    let partition = client.map().partitions.partition_of(shoe);
    client.ask(shoe, Command::Define(define("shoe", 5)));
    let Outcome::Placed(order) = client.ask(shoe, place("shoe", 1, None)) else { panic!("placed") };
    let paid = client.ask_order(order.order, Command::Confirm { order: order.order });
    assert!(matches!(paid, Outcome::Paid(_)));
    assert!(matches!(client.read_order(order.order), Outcome::Order(_)));
    client.session().subscribe(partition, 0, Sequence::new(1));
    client.send();
    client.receive_until(|client| client.feed.events.len() >= 3);
    let epoch = client.map().epoch;
    client.session().acknowledge(partition, 0, epoch, Sequence::new(3));
    client.send();
    // The acknowledgement reaches the log, and then the feed, as an event of its own.
    client.receive_until(|client| client.feed.events.len() >= 4);
    let (_, _, event) = &client.feed.events[3];
    assert_eq!(event.fact, Fact::Acknowledged { consumer: 0, through: Sequence::new(3) });
    assert_eq!(client.read_order(order.order), Outcome::OrderNotFound);
    let Outcome::Product(view) = client.read_product(shoe) else { panic!("read") };
    assert_eq!((view.sold, view.available), (1, 4));
}

#[test]
fn old_keys_are_answered_when_their_orders_have_left_also_after_a_restart() {
    const ORDERS: u32 = 500;
    let data = tempfile::tempdir().expect("a directory");
    let mut running = Running::start(config(data.path(), 1));
    let mut client = Client::connect(running.address());
    let shoe = product("shoe");
    let partition = client.map().partitions.partition_of(shoe);
    client.ask(shoe, Command::Define(define("shoe", ORDERS)));
    let mut first_answers = Vec::new();
    for number in 0..ORDERS {
        let place = place("shoe", number, Some("k"));
        let Outcome::Placed(order) = client.ask(shoe, place) else { panic!("placed") };
        client.ask_order(order.order, Command::Confirm { order: order.order });
        first_answers.push((place, order));
    }
    let epoch = client.map().epoch;
    client.session().acknowledge(partition, 0, epoch, Sequence::new(1 + 2 * u64::from(ORDERS)));
    client.send();
    let (_, last) = *first_answers.last().expect("orders");
    while client.read_order(last.order) != Outcome::OrderNotFound {}
    for is_restarted in [false, true] {
        if is_restarted {
            running.stop();
            running = Running::start(config(data.path(), 1));
            client = Client::connect(running.address());
        }
        // Their receipts are on their way to the disk, and partly there.
        while !has_nameless_file(data.path()) {
            std::thread::yield_now();
        }
        for (place, order) in &first_answers {
            assert_eq!(client.ask(shoe, *place), Outcome::Replayed(*order));
        }
    }
    running.stop();
}

/// Whether this process has a file without a name open below `path`.
fn has_nameless_file(path: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").expect("Linux shows them");
    let mut files = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    files.any(|file| file.starts_with(path) && file.to_string_lossy().ends_with(" (deleted)"))
}

#[test]
fn watchers_hear_of_sold_out_and_of_stock_that_comes_back() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let mut watcher = Client::connect(running.address());
    let mut client = Client::connect(running.address());
    let shoe = product("shoe");
    client.ask(shoe, Command::Define(define("shoe", 1)));
    watcher.session().watch_stock();
    watcher.send();
    watcher.receive_until(|w| w.levels.get(&shoe).is_some_and(|level| level.accepting));
    let Outcome::Placed(order) = client.ask(shoe, place("shoe", 1, None)) else { panic!("placed") };
    watcher.receive_until(|w| !w.levels[&shoe].accepting);
    client.ask_order(order.order, Command::Cancel { order: order.order, buyer: None });
    watcher.receive_until(|w| w.levels[&shoe].accepting);
    let paused = Command::SetState { product: shoe, state: SaleState::Paused };
    client.ask(shoe, paused);
    assert!(matches!(client.ask(shoe, place("shoe", 1, None)), Outcome::Paused { .. }));
}

#[test]
fn holds_run_out_and_units_go_back() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let mut client = Client::connect(running.address());
    let shoe = product("shoe");
    let mut terms = define("shoe", 1);
    terms.hold_seconds = Some(1);
    client.ask(shoe, Command::Define(terms));
    let partition = client.map().partitions.partition_of(shoe);
    let Outcome::Placed(order) = client.ask(shoe, place("shoe", 1, None)) else { panic!("placed") };
    client.session().subscribe(partition, 0, Sequence::new(3));
    client.send();
    client.receive_until(|client| !client.feed.events.is_empty());
    let (_, _, event) = &client.feed.events[0];
    assert!(matches!(&event.fact, Fact::Expired(released) if released.order == order.order));
    assert!(event.at >= order.expires_at, "never early");
    assert!(event.at.micros_since(order.expires_at) <= 1_000_000, "at most a second late");
}

#[test]
fn a_wrong_key_and_garbage_get_nothing() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let wrong = PreSharedKey::new([8; 32]);
    assert!(Client::connect_with(running.address(), &wrong).is_err());
    let mut stream = std::net::TcpStream::connect(running.address()).expect("listens");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n0123456789").expect("written");
    let mut rest = Vec::new();
    // Closed by the other side, with or without a word.
    let _ = stream.read_to_end(&mut rest);
    let mut client = Client::connect_with(running.address(), &key()).expect("still serves");
    assert_eq!(client.read_product(product("none")), Outcome::ProductNotFound);
}

/// A frame with good checksums whose one request breaks off.
fn half_a_request_frame(partition: PartitionId) -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = OpenFrame::new(&mut bytes, Kind::Requests, None, Epoch::FIRST, 1 << 40);
    bytes.extend_from_slice(&[0; 8]);
    frame.set_count(&mut bytes, 1);
    let ask = Ask::Read(Read::Product { product: product("shoe") });
    Request { partition, deadline: Timestamp::NONE, ask }.encode(&mut bytes);
    bytes.pop();
    frame.close(&mut bytes);
    bytes
}

#[test]
fn garbage_behind_good_requests_ends_its_connection_and_no_other() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let shoe = product("shoe");
    let mut client = Client::connect(running.address());
    client.ask(shoe, Command::Define(define("shoe", 1_000)));
    let partition = client.map().partitions.partition_of(shoe);
    for (number, garbage) in [vec![0xA5; 32], half_a_request_frame(partition)].iter().enumerate() {
        // Answers to the reads still wait for the socket when the garbage is met, and the order for
        // the disk: it becomes durable for a connection that has failed.
        let mut broken = Client::connect(running.address());
        for _ in 0..8_000 {
            broken.enqueue_read(shoe);
        }
        broken.session().flush();
        broken.enqueue(shoe, place("shoe", number as u32, None));
        broken.send_with(garbage);
        loop {
            let Outcome::Product(view) = client.read_product(shoe) else { panic!("still serves") };
            if view.held == number as u32 + 1 {
                break;
            }
        }
        broken.wait_for_close();
    }
}

#[test]
fn a_log_that_fails_ends_the_engine() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let shoe = product("shoe");
    let mut client = Client::connect(running.address());
    let partition = client.map().partitions.partition_of(shoe);
    let directory = data.path().join(format!("partitions/{:04}", partition.get()));
    let away = data.path().join("away");
    std::fs::rename(&directory, &away).expect("moved away");
    // The write finds its open file; the log cannot be filled ahead any more.
    let defined = client.ask(shoe, Command::Define(define("shoe", 5)));
    assert!(matches!(defined, Outcome::Product(_)));
    client.wait_for_close();
    let failed = running.wait().expect_err("nobody asked it to end");
    assert!(
        matches!(&failed, EngineError::Log { partition: found, .. } if *found == partition),
        "{failed}"
    );
    let again = Engine::start(config(data.path(), 1)).map(drop);
    assert!(matches!(again, Err(EngineError::Directory(DirectoryError::Locked { .. }))));
}

#[test]
fn a_port_in_use_and_a_directory_in_use_are_said() {
    let data = tempfile::tempdir().expect("a directory");
    let running = Running::start(config(data.path(), 1));
    let mut second = config(data.path(), 1);
    assert!(matches!(Engine::start(second.clone()), Err(EngineError::Directory(_))));
    let other = tempfile::tempdir().expect("a directory");
    second.data = other.path().to_owned();
    second.port = running.address().port();
    assert!(matches!(Engine::start(second), Err(EngineError::Listen { .. })));
}
