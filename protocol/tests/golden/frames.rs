//! Every frame kind, in one conversation with a known key and known nonces.

use crate::check;
use doorbuster_protocol::command::{Ask, Read};
use doorbuster_protocol::frame::{HEADER_BYTES, Header, Kind};
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey, Refusal};
use doorbuster_protocol::outcome::Reply;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::{ClientSession, FeedBatch, ServerSession, StockLevel};
use doorbuster_protocol::{
    Epoch, Event, Fact, Outcome, PartitionId, ProductId, Request, Sequence, Timestamp,
};

const PRODUCT: ProductId = ProductId::from_bytes([0x22; 16]);

fn counted(from: u8) -> [u8; 32] {
    std::array::from_fn(|index| from + index as u8)
}

fn server() -> ServerSession {
    let map = PartitionMap {
        directory: 0xD1D2_D3D4_D5D6_D7D8,
        epoch: Epoch::FIRST,
        partitions: PartitionCount::new(3).expect("in range"),
        self_core: 1,
        cores: vec![([127, 0, 0, 1], 7400).into(), ([0xFD00, 0, 0, 0, 0, 0, 0, 1], 7401).into()],
        owners: vec![0, 1, 0],
    };
    ServerSession::new(&PreSharedKey::new(counted(0)), counted(0x80), map)
}

fn partition(number: u16) -> PartitionId {
    PartitionId::new(number).expect("in range")
}

#[test]
fn frames_are_frozen() {
    let mut client = ClientSession::new(&PreSharedKey::new(counted(0)), counted(0x40));
    let mut server = server();
    let mut cases = Vec::new();

    let hello = std::mem::take(client.output());
    server.receive(&hello);
    assert!(server.poll().expect("sound").is_none());
    cases.push(("hello", hello));
    let challenge = std::mem::take(server.output());
    client.receive(&challenge);
    assert!(client.poll().expect("sound").is_none());
    cases.push(("challenge", challenge));
    let proof = std::mem::take(client.output());
    server.receive(&proof);
    assert!(server.poll().expect("sound").is_some());
    cases.push(("proof", proof));
    let welcome = std::mem::take(server.output());
    client.receive(&welcome);
    assert!(client.poll().expect("sound").is_some());
    cases.push(("welcome", welcome));

    let read = Request {
        partition: partition(1),
        deadline: Timestamp::NONE,
        ask: Ask::Read(Read::Product { product: PRODUCT }),
    };
    client.request(&read);
    client.request(&read);
    cases.push(("requests", std::mem::take(client.output())));
    client.subscribe(partition(1), 2, Sequence::new(0x0102));
    cases.push(("subscribe", std::mem::take(client.output())));
    client.acknowledge(partition(1), 2, Epoch::FIRST, Sequence::new(0x0103));
    cases.push(("acknowledge", std::mem::take(client.output())));
    client.watch_stock();
    cases.push(("watch stock", std::mem::take(client.output())));

    server.reply(&Reply { correlation: 2, outcome: Outcome::SoldOut });
    server.reply(&Reply { correlation: 1, outcome: Outcome::ProductNotFound });
    cases.push(("replies", std::mem::take(server.output())));
    let mut events = Vec::new();
    for number in 0..2 {
        let fact = Fact::Withdrawn { product: PRODUCT, units: 20 };
        Event { at: Timestamp::from_micros(5 + number), fact }.encode(&mut events);
    }
    server.batch(&FeedBatch {
        partition: partition(1),
        epoch: Epoch::FIRST,
        first: Sequence::new(0x0102),
        count: 2,
        durable: Sequence::new(0x0110),
        durable_at: Timestamp::from_micros(9),
        events: &events,
    });
    cases.push(("batch", std::mem::take(server.output())));
    server.levels(&[StockLevel {
        product: PRODUCT,
        stock: 1_000,
        available: 700,
        held: 200,
        sold: 100,
        waitlist_free: 495,
        accepting: true,
    }]);
    cases.push(("levels", std::mem::take(server.output())));
    server.feed_gone(partition(1), Sequence::new(0x0777));
    cases.push(("feed gone", std::mem::take(server.output())));
    server.goodbye();
    cases.push(("goodbye", std::mem::take(server.output())));

    let refusals = [
        ("refused, version", Refusal::Version { min: 1, max: 1 }),
        ("refused, key", Refusal::Key),
        ("refused, crowded", Refusal::Crowded),
        ("refused, unavailable", Refusal::Unavailable),
    ];
    for (name, refusal) in refusals {
        let mut server = self::server();
        server.refuse(refusal);
        cases.push((name, std::mem::take(server.output())));
    }

    let mut kinds: Vec<_> = cases.iter().map(|(name, bytes)| kind(name, bytes)).collect();
    kinds.sort_by_key(|kind| kind.code());
    kinds.dedup();
    assert_eq!(kinds, Kind::ALL, "every kind has a vector");
    check(include_str!("../../vectors/frames.txt"), &cases);
}

fn kind(name: &str, frame: &[u8]) -> Kind {
    let header = Header::decode(frame.first_chunk().expect("a header")).expect(name);
    header.check_body(&frame[HEADER_BYTES..]).expect(name);
    header.kind
}
