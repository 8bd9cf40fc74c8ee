//! What the hot paths of this crate cost, in nanoseconds per item:
//! `cargo run --release -p doorbuster-protocol --example speed`.

use doorbuster_protocol::command::{Ask, Place};
use doorbuster_protocol::event::{Matched, Placed, Released};
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::outcome::{OrderStatus, OrderView, Reply};
use doorbuster_protocol::record::Reader;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::{ClientMessage, ClientSession, ServerMessage, ServerSession};
use doorbuster_protocol::{
    BuyerId, Command, Currency, Epoch, Event, Fact, IdempotencyKey, OrderId, Outcome, PartitionId,
    ProductId, Quantity, Request, Timestamp,
};
use std::hint::black_box;
use std::time::Instant;

const ROUNDS: u32 = 2_000_000;

fn main() {
    let placed = Placed {
        order: OrderId::from_bytes([1; 16]),
        product: ProductId::from_bytes([2; 16]),
        buyer: BuyerId::from_bytes([3; 16]),
        key: IdempotencyKey::from_bytes([4; 16]),
        quantity: Quantity::ONE,
        unit_price: 1999,
        currency: Currency::USD,
        expires_at: Timestamp::from_micros(6),
        waitlist: false,
    };
    event("placed", &Fact::Placed(placed));
    let released = |orders| {
        Fact::Cancelled(Released {
            order: placed.order,
            product: placed.product,
            quantity: Quantity::ONE,
            matched: Matched { orders, expires_at: Timestamp::NONE },
        })
    };
    event("cancelled", &released(Vec::new()));
    event("cancelled, one matched", &released(vec![placed.order]));

    let view = OrderView {
        order: placed.order,
        product: placed.product,
        buyer: placed.buyer,
        quantity: Quantity::ONE,
        status: OrderStatus::Pending,
        currency: Currency::USD,
        unit_price: 1999,
        created_at: Timestamp::from_micros(5),
        updated_at: Timestamp::from_micros(5),
        expires_at: Timestamp::from_micros(6),
        position: 0,
    };
    for per_frame in [1, 32, 512] {
        exchange("sold out", per_frame, Outcome::SoldOut, &placed);
        exchange("placed", per_frame, Outcome::Placed(view), &placed);
    }
}

fn event(name: &str, fact: &Fact) {
    let event = Event { at: Timestamp::from_micros(5), fact: fact.clone() };
    let mut out = Vec::with_capacity(1 << 20);
    let start = Instant::now();
    for _ in 0..ROUNDS {
        if out.len() > 1 << 19 {
            out.clear();
        }
        black_box(&event).encode(black_box(&mut out));
    }
    let encode = per_item(start, ROUNDS);
    out.clear();
    event.encode(&mut out);
    let start = Instant::now();
    for _ in 0..ROUNDS {
        black_box(Event::decode(&mut Reader::new(black_box(&out)))).expect("it was just encoded");
    }
    println!("event, {name}: encode {encode:.1} ns, decode {:.1} ns", per_item(start, ROUNDS));
}

fn exchange(name: &str, per_frame: u32, outcome: Outcome, placed: &Placed) {
    let key = PreSharedKey::new([1; 32]);
    let map = PartitionMap {
        directory: 1,
        epoch: Epoch::FIRST,
        partitions: PartitionCount::new(1).expect("in range"),
        self_core: 0,
        cores: vec![([127, 0, 0, 1], 1).into()],
        owners: vec![0],
    };
    let mut client = ClientSession::new(&key, [2; 32]);
    let mut server = ServerSession::new(&key, [3; 32], map);
    while client.map().is_none() {
        server.receive(client.output());
        client.output().clear();
        server.poll().expect("a handshake");
        client.receive(server.output());
        server.output().clear();
        client.poll().expect("a handshake");
    }
    let request = Request {
        partition: PartitionId::new(0).expect("in range"),
        deadline: Timestamp::NONE,
        ask: Ask::Command(Command::Place(Place {
            product: placed.product,
            buyer: placed.buyer,
            key: placed.key,
            quantity: placed.quantity,
            waitlist: false,
        })),
    };
    let mut correlations = Vec::new();
    let mut times = [0.0; 4];
    let frames = ROUNDS / per_frame;
    for _ in 0..frames {
        let start = Instant::now();
        for _ in 0..per_frame {
            client.request(black_box(&request));
        }
        client.flush();
        times[0] += start.elapsed().as_secs_f64();
        let start = Instant::now();
        server.receive(client.output());
        while let Some(message) = server.poll().expect("sound") {
            let ClientMessage::Requests(requests) = message else { panic!("requests were sent") };
            correlations.extend(requests.map(|(correlation, request)| {
                black_box(request.expect("sound"));
                correlation
            }));
        }
        times[1] += start.elapsed().as_secs_f64();
        client.output().clear();
        let start = Instant::now();
        for correlation in correlations.drain(..) {
            server.reply(&Reply { correlation, outcome: black_box(outcome) });
        }
        server.flush();
        times[2] += start.elapsed().as_secs_f64();
        let start = Instant::now();
        client.receive(server.output());
        while let Some(message) = client.poll().expect("sound") {
            let ServerMessage::Replies(replies) = message else { panic!("replies were sent") };
            for reply in replies {
                black_box(reply.expect("sound"));
            }
        }
        times[3] += start.elapsed().as_secs_f64();
        server.output().clear();
    }
    let items = f64::from(frames * per_frame);
    let [request, take, reply, answer] = times.map(|time| time * 1e9 / items);
    println!(
        "session, {name}, {per_frame} a frame: request {request:.1} ns, take {take:.1} ns, \
         reply {reply:.1} ns, answer {answer:.1} ns"
    );
}

fn per_item(start: Instant, items: u32) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / f64::from(items)
}
