//! What a caller of the engine client can rely on, against a core made from the server's session.

mod server;

use doorbuster_client::{ClientError, ClientOptions, EngineClient};
use doorbuster_protocol::command::{Ask, Command, Read};
use doorbuster_protocol::handshake::{PreSharedKey, Refusal};
use doorbuster_protocol::outcome::Reply;
use doorbuster_protocol::session::StockLevel;
use doorbuster_protocol::{Outcome, PartitionId, ProductId, Request, Timestamp};
use server::{Core, KEY, eventually, map, run};
use std::rc::Rc;
use std::time::Duration;

fn options() -> ClientOptions {
    ClientOptions {
        in_flight_per_core_max: 64,
        connect_timeout: Duration::from_secs(10),
        reconnect_min: Duration::from_millis(1),
        reconnect_max: Duration::from_millis(20),
        silence_max: Duration::from_secs(30),
        ..ClientOptions::default()
    }
}

fn product(name: &str) -> ProductId {
    ProductId::parse(name).expect("a name")
}

fn request(partition: u16, ask: Ask) -> Request {
    let partition = PartitionId::new(partition).expect("in range");
    Request { partition, deadline: Timestamp::NONE, ask }
}

fn read(partition: u16) -> Request {
    request(partition, Ask::Read(Read::Product { product: product("p") }))
}

/// A request that carries a number, which `echo` answers with.
fn numbered(number: u32) -> Request {
    let restock = Command::Restock { product: product("p"), units: number };
    request(0, Ask::Command(restock))
}

fn echo(request: &Request) -> Option<Outcome> {
    match request.ask {
        Ask::Command(Command::Restock { units, .. }) => {
            Some(Outcome::LimitExceeded { limit: units })
        }
        _ => Some(Outcome::ProductNotFound),
    }
}

fn silent(core: &Core) {
    *core.answer.borrow_mut() = Box::new(|_| None);
}

async fn connect(core: &Core) -> EngineClient {
    EngineClient::connect(&[core.address], &KEY, options()).await.expect("the core is there")
}

fn answer_all(core: &Rc<Core>) {
    let unanswered = core.unanswered.take();
    core.say(move |session| {
        for (correlation, request) in unanswered.into_iter().rev() {
            let outcome = echo(&request).expect("echo answers all");
            session.reply(&Reply { correlation, outcome });
        }
    });
}

#[test]
fn requests_of_one_turn_leave_in_one_frame() {
    run(async {
        let core = Core::start(4).await;
        *core.answer.borrow_mut() = Box::new(echo);
        let client = connect(&core).await;
        let tasks: Vec<_> = (1..=50)
            .map(|number| {
                let client = client.clone();
                tokio::task::spawn_local(async move { client.submit(numbered(number)).await })
            })
            .collect();
        for (number, task) in (1..=50).zip(tasks) {
            let outcome = task.await.expect("no panic").expect("an answer");
            assert_eq!(outcome, Outcome::LimitExceeded { limit: number });
        }
        assert_eq!(*core.frames.borrow(), [50]);
        assert_eq!(client.in_flight(0), 0);
    });
}

#[test]
fn a_request_is_sent_before_its_future_is_polled() {
    run(async {
        let core = Core::start(1).await;
        let client = connect(&core).await;
        let never_polled = client.submit(read(0));
        eventually("the request arrives", || core.frames.borrow().len() == 1).await;
        drop(never_polled);
    });
}

#[test]
fn answers_find_their_requests_in_any_order() {
    run(async {
        let core = Core::start(1).await;
        silent(&core);
        let client = connect(&core).await;
        for round in 0..3 {
            let submitted: Vec<_> =
                (1..=40).map(|number| client.submit(numbered(round * 100 + number))).collect();
            eventually("all arrive", || core.unanswered.borrow().len() == 40).await;
            assert_eq!(client.in_flight(0), 40);
            answer_all(&core);
            for (number, answer) in (1..=40).zip(submitted) {
                let limit = round * 100 + number;
                assert_eq!(answer.await.expect("an answer"), Outcome::LimitExceeded { limit });
            }
        }
    });
}

#[test]
fn requests_in_flight_are_bounded_and_those_forgotten_count() {
    run(async {
        let core = Core::start(1).await;
        silent(&core);
        let client = connect(&core).await;
        let mut submitted: Vec<_> =
            (1..=64).map(|number| client.submit(numbered(number))).collect();
        let refused = client.submit(numbered(99)).await;
        assert!(matches!(refused, Err(ClientError::Overloaded)), "{refused:?}");
        submitted.truncate(10);
        assert_eq!(client.in_flight(0), 64);
        eventually("all arrive", || core.unanswered.borrow().len() == 64).await;
        answer_all(&core);
        for (number, answer) in (1..=10).zip(submitted) {
            let expected = Outcome::LimitExceeded { limit: number };
            assert_eq!(answer.await.expect("an answer"), expected);
        }
        eventually("room again", || client.in_flight(0) == 0).await;
        *core.answer.borrow_mut() = Box::new(echo);
        client.submit(numbered(1)).await.expect("there is room");
    });
}

#[test]
fn what_is_in_flight_is_lost_with_its_connection_and_a_new_one_is_made() {
    run(async {
        let core = Core::start(1).await;
        silent(&core);
        let client = connect(&core).await;
        let lost = client.submit(numbered(1));
        eventually("it arrives", || core.unanswered.borrow().len() == 1).await;
        core.stop_listening();
        core.hang_up();
        let lost = lost.await;
        assert!(matches!(lost, Err(ClientError::Lost)), "{lost:?}");
        let unavailable = client.submit(numbered(2)).await;
        assert!(matches!(unavailable, Err(ClientError::Unavailable)), "{unavailable:?}");
        assert!(!client.is_connected());
        *core.answer.borrow_mut() = Box::new(echo);
        core.listen_again().await;
        client.connected().await;
        let outcome = client.submit(numbered(3)).await.expect("an answer");
        assert_eq!(outcome, Outcome::LimitExceeded { limit: 3 });
    });
}

#[test]
fn a_core_that_falls_silent_counts_as_lost() {
    run(async {
        let core = Core::start(1).await;
        silent(&core);
        let options = ClientOptions { silence_max: Duration::from_millis(20), ..options() };
        let client = EngineClient::connect(&[core.address], &KEY, options).await.expect("there");
        let lost = client.submit(numbered(1)).await;
        assert!(matches!(lost, Err(ClientError::Lost)), "{lost:?}");
    });
}

#[test]
fn pushed_levels_are_known_until_their_core_is_lost() {
    run(async {
        let core = Core::start(8).await;
        let level = |available| StockLevel {
            product: product("p"),
            stock: 100,
            available,
            held: 10,
            sold: 90 - available,
            waitlist_free: 0,
            accepting: available > 0,
        };
        core.levels.borrow_mut().push(level(5));
        let options = ClientOptions { watch_stock: true, ..options() };
        let client = EngineClient::connect(&[core.address], &KEY, options).await.expect("there");
        let available = || client.level_of(product("p")).map(|level| level.available);
        eventually("the first level", || available() == Some(5)).await;
        assert_eq!(client.level_of(product("another")), None);
        core.say(move |session| session.levels(&[level(0)]));
        eventually("the next level", || available() == Some(0)).await;
        assert_eq!(client.levels(), [level(0)]);
        core.stop_listening();
        core.hang_up();
        eventually("unknown", || available().is_none() && client.levels().is_empty()).await;
        core.listen_again().await;
        eventually("known again", || available() == Some(5)).await;
    });
}

#[test]
fn a_wrong_owner_leads_to_the_right_one() {
    run(async {
        let (old, new) = (Core::start(2).await, Core::start(2).await);
        let cores = [old.address, new.address];
        for core in [&old, &new] {
            *core.map.borrow_mut() = map(&cores, 2, |_| 0);
        }
        let client = connect(&old).await;
        assert_eq!(client.cores(), 2);
        *old.answer.borrow_mut() = Box::new(|_| Some(Outcome::WrongOwner { core: 1 }));
        *new.answer.borrow_mut() = Box::new(echo);
        for core in [&old, &new] {
            *core.map.borrow_mut() = map(&cores, 2, |_| 1);
        }
        let both = [client.submit(numbered(5)), client.submit(numbered(6))];
        for (limit, answer) in (5..).zip(both) {
            assert_eq!(answer.await.expect("an answer"), Outcome::LimitExceeded { limit });
        }
        assert_eq!(*old.frames.borrow(), [2], "later requests go to the new owner");
    });
}

#[test]
fn a_wrong_owner_is_asked_about_once() {
    run(async {
        let core = Core::start(1).await;
        *core.answer.borrow_mut() = Box::new(|_| Some(Outcome::WrongOwner { core: 0 }));
        let client = connect(&core).await;
        let outcome = client.submit(read(0)).await.expect("an answer");
        assert_eq!(outcome, Outcome::WrongOwner { core: 0 });
        assert_eq!(*core.frames.borrow(), [1, 1]);
    });
}

#[test]
fn a_core_that_moved_is_found_through_the_seeds() {
    run(async {
        let (first, second) = (Core::start(2).await, Core::start(2).await);
        let owner = |partition| partition;
        for core in [&first, &second] {
            *core.map.borrow_mut() = map(&[first.address, second.address], 2, owner);
        }
        let seeds = [first.address, second.address];
        let client = EngineClient::connect(&seeds, &KEY, options()).await.expect("both are there");
        let moved = Core::start(2).await;
        for core in [&first, &second, &moved] {
            *core.map.borrow_mut() = map(&[moved.address, second.address], 2, owner);
        }
        first.stop_listening();
        first.hang_up();
        eventually("the new place is found", || {
            moved.connections.get() == 1 && client.is_connected()
        })
        .await;
        client.submit(read(0)).await.expect("an answer");
        assert_eq!(*moved.frames.borrow(), [1]);
    });
}

#[test]
fn a_core_that_drains_answers_what_is_in_flight_and_nothing_after() {
    run(async {
        let core = Core::start(1).await;
        silent(&core);
        let client = connect(&core).await;
        let in_flight = client.submit(numbered(1));
        eventually("it arrives", || core.unanswered.borrow().len() == 1).await;
        core.say(doorbuster_protocol::session::ServerSession::goodbye);
        eventually("it drains", || !client.is_connected()).await;
        let refused = client.submit(numbered(2)).await;
        assert!(matches!(refused, Err(ClientError::Unavailable)), "{refused:?}");
        answer_all(&core);
        in_flight.await.expect("the answer still comes");
    });
}

#[test]
fn a_peer_that_answers_twice_is_dropped() {
    run(async {
        let core = Core::start(1).await;
        silent(&core);
        let client = connect(&core).await;
        let (answered, lost) = (client.submit(numbered(1)), client.submit(numbered(2)));
        eventually("both arrive", || core.unanswered.borrow().len() == 2).await;
        core.say(|session| {
            for _ in 0..2 {
                session.reply(&Reply { correlation: 1, outcome: Outcome::SoldOut });
            }
        });
        assert_eq!(answered.await.expect("the first answer counts"), Outcome::SoldOut);
        let lost = lost.await;
        assert!(matches!(lost, Err(ClientError::Lost)), "{lost:?}");
    });
}

#[test]
fn errors_say_what_is_wrong() {
    run(async {
        let core = Core::start(1).await;
        let wrong = PreSharedKey::new([8; 32]);
        let refused = EngineClient::connect(&[core.address], &wrong, options()).await.err();
        assert!(matches!(refused, Some(ClientError::Refused(Refusal::Key))), "{refused:?}");
        let client = connect(&core).await;
        let invalid = client.submit(numbered(0)).await;
        assert!(matches!(invalid, Err(ClientError::Invalid(_))), "{invalid:?}");
        let nowhere = client.submit(read(1)).await;
        assert!(matches!(nowhere, Err(ClientError::Unavailable)), "{nowhere:?}");
        core.stop_listening();
        eventually("nobody listens", || core.connections.get() == 1).await;
        let gone = EngineClient::connect(&[core.address], &KEY, options()).await.err();
        assert!(matches!(gone, Some(ClientError::Io(_))), "{gone:?}");
    });
}

#[test]
fn connections_end_with_the_last_handle() {
    run(async {
        let core = Core::start(1).await;
        let client = connect(&core).await;
        let clone = client.clone();
        drop(client);
        clone.submit(read(0)).await.expect("the clone still works");
        drop(clone);
        eventually("the connection ends", || core.connections.get() == 0).await;
    });
}
