//! The shop over the binary protocol: one core, a thread per connection.

use super::{Order, Sale, Shop};
use doorbuster_protocol::command::{Ask, Place, Read as Question};
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::outcome::{OrderView, Reply};
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::{ClientMessage, ServerSession};
use doorbuster_protocol::{BuyerId, Command, Currency, Epoch, Outcome, ProductId, Quantity};
use doorbuster_protocol::{Request, Timestamp};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A core that serves one shop.
pub(crate) struct BinaryServer {
    pub(crate) shop: Mutex<Shop>,
    address: SocketAddr,
    key: PreSharedKey,
}

impl BinaryServer {
    pub(crate) fn start(shop: Shop, key: &PreSharedKey) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = Arc::new(Self { shop: Mutex::new(shop), address, key: key.clone() });
        let accepting = Arc::clone(&server);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = Arc::clone(&accepting);
                thread::spawn(move || serving.serve(stream.expect("a connection")));
            }
        });
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    fn serve(&self, mut stream: TcpStream) {
        let map = PartitionMap {
            directory: 1,
            epoch: Epoch::FIRST,
            partitions: PartitionCount::new(1).expect("in range"),
            self_core: 0,
            cores: vec![self.address],
            owners: vec![0],
        };
        let mut session = ServerSession::new(
            &self.key,
            fastrand::u128(..).to_le_bytes().repeat(2).try_into().expect("32 bytes"),
            map,
        );
        let mut bytes = [0; 64 << 10];
        loop {
            let Ok(count @ 1..) = stream.read(&mut bytes) else { return };
            session.receive(&bytes[..count]);
            let mut requests = Vec::new();
            let result = loop {
                match session.poll() {
                    Ok(Some(ClientMessage::Requests(batch))) => requests.extend(batch),
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            for (correlation, request) in requests {
                let outcome = self.answer(&request.expect("a sound request"));
                session.reply(&Reply { correlation, outcome });
            }
            let written = stream.write_all(session.output());
            session.output().clear();
            if result.is_err() || written.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> Outcome {
        let shop = &mut *self.shop.lock().expect("no panic under the lock");
        match request.ask {
            Ask::Command(Command::Place(place)) => Self::place(shop, &place),
            Ask::Command(Command::Confirm { order }) => match shop.pay(order) {
                Some(order) => Outcome::Paid(view(order)),
                None => Outcome::NotPayable,
            },
            Ask::Command(Command::Cancel { order, .. }) => match shop.cancel(order) {
                Some(order) => Outcome::Cancelled(view(order)),
                None => Outcome::OrderNotFound,
            },
            Ask::Read(Question::Order { order, .. }) => match shop.look(order) {
                Some(order) => Outcome::Order(view(order)),
                None => Outcome::OrderNotFound,
            },
            other => panic!("not asked in these tests: {other:?}"),
        }
    }

    fn place(shop: &mut Shop, place: &Place) -> Outcome {
        match shop.place(place.buyer.as_bytes(), place.key.as_bytes(), place.waitlist) {
            Sale::Order { order, replayed: true } => Outcome::Replayed(view(order)),
            Sale::Order { order, .. } if order.status.as_str() == "queued" => {
                Outcome::Queued(view(order))
            }
            Sale::Order { order, .. } => Outcome::Placed(view(order)),
            Sale::SoldOut => Outcome::SoldOut,
            Sale::Limit => Outcome::LimitExceeded { limit: 1 },
        }
    }
}

fn view(order: Order) -> OrderView {
    OrderView {
        order: order.id,
        product: ProductId::parse("demo").expect("a name"),
        buyer: BuyerId::from_bytes([7; 16]),
        quantity: Quantity::ONE,
        status: order.status,
        currency: Currency::USD,
        unit_price: 1,
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(1),
        expires_at: Timestamp::from_micros(2),
        position: 0,
    }
}
