//! What the tests of sessions talk with: two ends, raw frames, and a recorded conversation.

use super::*;
use crate::command::{Ask, Read};
use crate::frame::{Kind, MAGIC, NO_PARTITION};
use crate::handshake::{PartitionMap, PreSharedKey};
use crate::outcome::Reply;
use crate::record::Write;
use crate::routing::PartitionCount;
use crate::{Epoch, Outcome, PartitionId, ProductId, Request, Sequence, Timestamp};

pub(super) const KEY: PreSharedKey = PreSharedKey::new([1; 32]);
pub(super) const OTHER_KEY: PreSharedKey = PreSharedKey::new([9; 32]);

pub(super) fn map() -> PartitionMap {
    PartitionMap {
        directory: 5,
        epoch: Epoch::FIRST,
        partitions: PartitionCount::new(4).expect("in range"),
        self_core: 0,
        cores: vec![([127, 0, 0, 1], 7400).into(), ([127, 0, 0, 1], 7401).into()],
        owners: vec![0, 1, 0, 1],
    }
}

pub(super) fn client() -> ClientSession {
    ClientSession::new(&KEY, [2; 32])
}

pub(super) fn server() -> ServerSession {
    ServerSession::new(&KEY, [3; 32], map())
}

pub(super) fn partition(number: u16) -> PartitionId {
    PartitionId::new(number).expect("in range")
}

pub(super) fn request(number: u8) -> Request {
    Request {
        partition: partition(1),
        deadline: Timestamp::NONE,
        ask: Ask::Read(Read::Product { product: ProductId::from_bytes([number; 16]) }),
    }
}

/// A frame with sound checksums around whatever a test puts into it.
pub(super) struct Raw {
    pub(super) version: u8,
    pub(super) kind: u8,
    pub(super) flags: u16,
    pub(super) partition: u16,
    pub(super) correlation: u64,
    pub(super) length: Option<u32>,
    pub(super) body: Vec<u8>,
}

impl Raw {
    pub(super) fn new(kind: Kind, body: &[u8]) -> Self {
        let partition = if kind.has_partition() { 1 } else { NO_PARTITION };
        let (kind, body) = (kind.code(), body.to_vec());
        Self { version: 1, kind, flags: 0, partition, correlation: 1, length: None, body }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u16(MAGIC);
        out.put_u8(self.version);
        out.put_u8(self.kind);
        out.put_u16(self.flags);
        out.put_u16(self.partition);
        out.put_u32(1);
        out.put_u32(self.length.unwrap_or(self.body.len() as u32));
        out.put_u64(self.correlation);
        out.put_u32(crc32c::crc32c(&self.body));
        let crc = crc32c::crc32c(&out);
        out.put_u32(crc);
        out.put(&self.body);
        out
    }
}

/// The three flights of a handshake: hello, challenge, proof. The welcome is in the server.
pub(super) fn shake_hands(client: &mut ClientSession, server: &mut ServerSession) -> [Vec<u8>; 3] {
    let hello = std::mem::take(client.output());
    server.receive(&hello);
    assert!(server.poll().expect("sound").is_none());
    let challenge = std::mem::take(server.output());
    client.receive(&challenge);
    assert!(client.poll().expect("sound").is_none());
    let proof = std::mem::take(client.output());
    server.receive(&proof);
    assert!(matches!(server.poll(), Ok(Some(ClientMessage::Welcomed))));
    [hello, challenge, proof]
}

pub(super) fn connected() -> (ClientSession, ServerSession) {
    let (mut client, mut server) = (client(), server());
    shake_hands(&mut client, &mut server);
    client.receive(server.output());
    server.output().clear();
    assert!(matches!(client.poll(), Ok(Some(ServerMessage::Welcomed))));
    (client, server)
}

/// What a server makes of some bytes: a line per message, and the error if one ends it.
pub(super) fn served(
    server: &mut ServerSession,
    bytes: &[u8],
) -> (Vec<String>, Option<SessionError>) {
    server.receive(bytes);
    let mut lines = Vec::new();
    loop {
        match server.poll() {
            Ok(None) => return (lines, None),
            Ok(Some(ClientMessage::Requests(requests))) => {
                lines.extend(requests.map(|request| format!("{request:?}")));
            }
            Ok(Some(message)) => lines.push(format!("{message:?}")),
            Err(error) => return (lines, Some(error)),
        }
    }
}

pub(super) fn told(
    client: &mut ClientSession,
    bytes: &[u8],
) -> (Vec<String>, Option<SessionError>) {
    client.receive(bytes);
    let mut lines = Vec::new();
    loop {
        match client.poll() {
            Ok(None) => return (lines, None),
            Ok(Some(ServerMessage::Replies(replies))) => {
                lines.extend(replies.map(|reply| format!("{reply:?}")));
            }
            Ok(Some(ServerMessage::Levels(levels))) => {
                lines.extend(levels.map(|level| format!("{level:?}")));
            }
            Ok(Some(message)) => lines.push(format!("{message:?}")),
            Err(error) => return (lines, Some(error)),
        }
    }
}

/// Everything that a client says in a conversation, and everything that a server says.
pub(super) fn conversation() -> (Vec<u8>, Vec<u8>) {
    let (mut client, mut server) = (client(), server());
    let [hello, challenge, proof] = shake_hands(&mut client, &mut server);
    let welcome = std::mem::take(server.output());
    client.receive(&welcome);
    client.poll().expect("sound");
    client.request(&request(1));
    client.request(&request(2));
    client.subscribe(partition(1), 2, Sequence::new(7));
    client.request(&request(3));
    client.watch_stock();
    client.acknowledge(partition(1), 2, Epoch::FIRST, Sequence::new(9));
    let requests = std::mem::take(client.output());
    let (lines, error) = served(&mut server, &requests);
    assert_eq!((lines.len(), error), (6, None));
    for correlation in [3, 1, 2] {
        server.reply(&Reply { correlation, outcome: Outcome::SoldOut });
    }
    server.feed_gone(partition(1), Sequence::new(8));
    server.goodbye();
    let answers = std::mem::take(server.output());
    ([hello, proof, requests].concat(), [challenge, welcome, answers].concat())
}
