//! Two ends of a connection for the targets that talk, and what they make of bytes.

use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::record::Reader;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::{
    ClientMessage, ClientSession, ServerMessage, ServerSession, SessionError,
};
use doorbuster_protocol::{Epoch, Request};

pub(crate) const KEY: PreSharedKey = PreSharedKey::new([1; 32]);
pub(crate) const CLIENT_NONCE: [u8; 32] = [2; 32];
pub(crate) const SERVER_NONCE: [u8; 32] = [3; 32];
/// Requests that a connected client has made before a server's bytes come.
pub(crate) const ASKED: u64 = 4;
/// Far more than a session keeps of inputs as small as a fuzzer's.
const CAPACITY_MAX: usize = 1 << 20;

pub(crate) fn map() -> PartitionMap {
    PartitionMap {
        directory: 5,
        epoch: Epoch::FIRST,
        partitions: PartitionCount::new(4).expect("in range"),
        self_core: 0,
        cores: vec![([127, 0, 0, 1], 7400).into(), ([127, 0, 0, 1], 7401).into()],
        owners: vec![0, 1, 0, 1],
    }
}

pub(crate) fn client() -> ClientSession {
    ClientSession::new(&KEY, CLIENT_NONCE)
}

pub(crate) fn server() -> ServerSession {
    ServerSession::new(&KEY, SERVER_NONCE, map())
}

/// A client and a server after their handshake, each with what it has said so far.
pub(crate) fn connected() -> ((ClientSession, Vec<u8>), (ServerSession, Vec<u8>)) {
    let (mut client, mut server) = (client(), server());
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    while client.map().is_none() {
        to_server.extend_from_slice(client.output());
        server.receive(client.output());
        client.output().clear();
        server.poll().expect("a handshake");
        to_client.extend_from_slice(server.output());
        client.receive(server.output());
        server.output().clear();
        client.poll().expect("a handshake");
    }
    ((client, to_server), (server, to_client))
}

/// What came out of a stream: a line for each message, and the error that ended it.
pub(crate) type Heard = (Vec<String>, Option<SessionError>);

/// An end that takes a stream.
pub(crate) enum End {
    /// Takes what clients say.
    Server(Box<ServerSession>),
    /// Takes what servers say.
    Client(Box<ClientSession>),
}

impl End {
    pub(crate) fn server(session: ServerSession) -> Self {
        Self::Server(Box::new(session))
    }

    pub(crate) fn client(session: ClientSession) -> Self {
        Self::Client(Box::new(session))
    }

    fn receive(&mut self, bytes: &[u8]) {
        match self {
            Self::Server(server) => server.receive(bytes),
            Self::Client(client) => client.receive(bytes),
        }
    }

    /// The next message as lines; `None`: more bytes are needed.
    fn poll(&mut self, lines: &mut Vec<String>) -> Result<Option<()>, SessionError> {
        let is_message = match self {
            Self::Server(server) => server.poll()?.map(|message| serve(message, lines)),
            Self::Client(client) => client.poll()?.map(|message| listen(message, lines)),
        };
        Ok(is_message)
    }

    fn capacity(&mut self) -> usize {
        match self {
            Self::Server(server) => server.input().capacity(),
            Self::Client(client) => client.input().capacity(),
        }
    }

    /// Takes a stream in pieces of `cuts` bytes, over and over; in one piece without any.
    pub(crate) fn hear(&mut self, stream: &[u8], cuts: &[u8]) -> Heard {
        let mut lines = Vec::new();
        let mut rest = stream;
        let mut cuts = cuts.iter().cycle();
        loop {
            let piece = cuts.next().map_or(rest.len(), |cut| usize::from(*cut) + 1);
            let (now, later) = rest.split_at(piece.min(rest.len()));
            self.receive(now);
            loop {
                match self.poll(&mut lines) {
                    Ok(Some(())) => {}
                    Ok(None) => break,
                    Err(error) => {
                        let again = self.poll(&mut lines).err();
                        assert_eq!(again, Some(error), "a failed session stays failed");
                        return (lines, Some(error));
                    }
                }
            }
            assert!(self.capacity() < CAPACITY_MAX, "memory follows the bytes that came");
            rest = later;
            if rest.is_empty() {
                return (lines, None);
            }
        }
    }
}

fn serve(message: ClientMessage<'_>, lines: &mut Vec<String>) {
    match message {
        ClientMessage::Requests(requests) => {
            for (correlation, request) in requests {
                if let Ok(request) = &request {
                    check_request(request);
                }
                lines.push(format!("{correlation} {request:?}"));
            }
        }
        other => lines.push(format!("{other:?}")),
    }
}

fn listen(message: ServerMessage<'_>, lines: &mut Vec<String>) {
    match message {
        ServerMessage::Replies(replies) => {
            lines.extend(replies.map(|reply| format!("{reply:?}")));
        }
        ServerMessage::Levels(levels) => lines.extend(levels.map(|level| format!("{level:?}"))),
        ServerMessage::Batch(batch) => {
            lines.push(format!("{:?} {} {:?}", batch.partition, batch.count, batch.durable));
            lines.extend(batch.iter().map(|event| format!("{event:?}")));
        }
        other => lines.push(format!("{other:?}")),
    }
}

/// A request that was read can be decided, and written again.
fn check_request(request: &Request) {
    assert_eq!(request.check(), Ok(()));
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    assert_eq!(Request::decode(&mut Reader::new(&bytes)).as_ref(), Ok(request));
}
