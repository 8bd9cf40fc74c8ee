//! The server's end of a connection.

use super::SessionError;
use super::input::Input;
use super::message::{ClientMessage, FeedBatch, Requests, StockLevel};
use crate::frame::{self, FrameError, Header, Kind, OpenFrame};
use crate::handshake::Transcript;
use crate::handshake::{Challenge, Hello, NONCE_BYTES, PartitionMap, PreSharedKey, Refusal};
use crate::outcome::Reply;
use crate::record::{Malformed, Reader, Write};
use crate::{Epoch, PartitionId, Sequence, limits};
use std::ops::Range;

#[derive(Debug)]
enum State {
    AwaitsHello { nonce: [u8; NONCE_BYTES] },
    AwaitsProof { transcript: Transcript },
    Open,
    Failed { error: SessionError },
}

/// A server's session: see the module's description for how to drive it.
#[derive(Debug)]
pub struct ServerSession {
    key: PreSharedKey,
    map: PartitionMap,
    state: State,
    input: Input,
    output: Vec<u8>,
    /// The reply frame at the end of `output`, and how many replies it holds.
    open: Option<(OpenFrame, u32)>,
    last_correlation: u64,
    /// Requests handed out that have no reply yet.
    unanswered: usize,
}

impl ServerSession {
    /// A session that awaits its client. The nonce must be random, and never used twice: it is what
    /// makes a recorded exchange worthless. Panics on a map that does not fit itself.
    pub fn new(key: &PreSharedKey, nonce: [u8; NONCE_BYTES], map: PartitionMap) -> Self {
        map.check().expect("a server's map is sound");
        Self {
            key: key.clone(),
            map,
            state: State::AwaitsHello { nonce },
            input: Input::default(),
            output: Vec::new(),
            open: None,
            last_correlation: 0,
            unanswered: 0,
        }
    }

    /// Takes bytes from the socket.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.buffer().extend_from_slice(bytes);
    }

    /// The buffer to append bytes from the socket to, for callers that read straight into it.
    pub fn input(&mut self) -> &mut Vec<u8> {
        self.input.buffer()
    }

    /// The next message; `None` when more bytes are needed.
    pub fn poll(&mut self) -> Result<Option<ClientMessage<'_>>, SessionError> {
        match self.advance() {
            Ok(None) => Ok(None),
            Ok(Some((header, body))) => Ok(Some(self.message(&header, body)?)),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: SessionError) -> SessionError {
        let refusal = match (&self.state, error) {
            (State::Failed { .. }, _) => return error,
            (_, SessionError::WrongKey) => Some(Refusal::Key),
            (
                _,
                SessionError::VersionUnsupported { .. }
                | SessionError::Frame(FrameError::VersionUnsupported { .. }),
            ) => Some(Refusal::Version { min: frame::VERSION_MIN, max: frame::VERSION_MAX }),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.send(Kind::Refused, None, Epoch::NONE, &refusal.encode());
        }
        self.state = State::Failed { error };
        error
    }

    /// Tells the client why it is not served; the caller writes the output and closes.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.send(Kind::Refused, None, Epoch::NONE, &refusal.encode());
        self.state = State::Failed { error: SessionError::Refused(refusal) };
    }

    /// The kinds that the peer may send now; the error that the session has failed with.
    fn allowed(&self) -> Result<fn(Kind) -> bool, SessionError> {
        Ok(match &self.state {
            State::AwaitsHello { .. } => |kind| kind == Kind::Hello,
            State::AwaitsProof { .. } => |kind| kind == Kind::Proof,
            State::Open => |kind| {
                matches!(
                    kind,
                    Kind::Requests | Kind::Subscribe | Kind::Acknowledge | Kind::WatchStock
                )
            },
            State::Failed { error } => return Err(*error),
        })
    }

    /// Takes frames until one is a message, and checks it: what it lends out later is sound.
    fn advance(&mut self) -> Result<Option<(Header, Range<usize>)>, SessionError> {
        while let Some((header, body)) = self.input.next(self.allowed()?)? {
            match header.kind {
                Kind::Hello => {
                    self.challenge(body)?;
                    continue;
                }
                Kind::Proof => self.welcome(body.clone())?,
                Kind::Requests => self.count_requests(&header, body.clone())?,
                _ => {}
            }
            self.message(&header, body.clone())?;
            return Ok(Some((header, body)));
        }
        Ok(None)
    }

    fn challenge(&mut self, body: Range<usize>) -> Result<(), SessionError> {
        let State::AwaitsHello { nonce } = self.state else {
            unreachable!("a hello is allowed only when awaited")
        };
        let body: [u8; 40] = Reader::new(self.input.body(body)).array()?;
        let hello = Hello::decode(&body)?;
        let Some(version) = hello.choose() else {
            let (min, max) = (hello.version_min, hello.version_max);
            return Err(SessionError::VersionUnsupported { min, max });
        };
        let (version_min, version_max) = (frame::VERSION_MIN, frame::VERSION_MAX);
        let challenge = Challenge { version, version_min, version_max, nonce }.encode();
        self.send(Kind::Challenge, None, Epoch::NONE, &challenge);
        self.state = State::AwaitsProof { transcript: Transcript { hello: body, challenge } };
        Ok(())
    }

    fn welcome(&mut self, body: Range<usize>) -> Result<(), SessionError> {
        let State::AwaitsProof { transcript } = self.state else {
            unreachable!("a proof is allowed only when awaited")
        };
        let proof = Reader::new(self.input.body(body)).array()?;
        if !transcript.client_is_proven(&self.key, &proof) {
            return Err(SessionError::WrongKey);
        }
        let mut body = vec![0; 32];
        self.map.encode(&mut body);
        let proof = transcript.server_proof(&self.key, &body[32..]);
        body[..32].copy_from_slice(&proof);
        self.state = State::Open;
        self.send(Kind::Welcome, None, self.map.epoch, &body);
        Ok(())
    }

    /// Correlation ids only grow: a frame that was seen before is not seen again.
    fn count_requests(&mut self, header: &Header, body: Range<usize>) -> Result<(), SessionError> {
        let count = Requests::read(header, self.input.body(body))?.records_left();
        let first = header.correlation;
        let replayed = SessionError::ReplayedCorrelation { first, last: self.last_correlation };
        if first <= self.last_correlation {
            return Err(replayed);
        }
        self.last_correlation = first.checked_add(count as u64 - 1).ok_or(replayed)?;
        self.unanswered += count;
        Ok(())
    }

    fn message(&self, header: &Header, body: Range<usize>) -> Result<ClientMessage<'_>, Malformed> {
        let body = self.input.body(body);
        let partition = header.partition.ok_or(Malformed::OutOfRange("partition"));
        Ok(match header.kind {
            Kind::Requests => ClientMessage::Requests(Requests::read(header, body)?),
            Kind::Subscribe => {
                let (consumer, from) = consumer(body)?;
                if from == Sequence::ZERO {
                    return Err(Malformed::OutOfRange("from"));
                }
                ClientMessage::Subscribe { partition: partition?, consumer, from }
            }
            Kind::Acknowledge => {
                let (consumer, through) = consumer(body)?;
                let (partition, epoch) = (partition?, header.epoch);
                ClientMessage::Acknowledge { partition, consumer, epoch, through }
            }
            Kind::Proof => ClientMessage::Welcomed,
            Kind::WatchStock => ClientMessage::WatchStock,
            _ => unreachable!("{:?} is not a message", header.kind),
        })
    }

    /// Whether the handshake is done and nothing has failed.
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// The map that the client was or will be welcomed with.
    pub const fn map(&self) -> &PartitionMap {
        &self.map
    }

    /// Requests handed out that have no reply yet.
    pub const fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Bytes for the socket; the caller drains them. Closes the open frame.
    pub fn output(&mut self) -> &mut Vec<u8> {
        self.flush();
        &mut self.output
    }

    /// Bytes that wait for the socket.
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Adds a reply to the open frame, and opens one when there is none.
    pub fn reply(&mut self, reply: &Reply) {
        assert!(self.is_open(), "replies follow the welcome");
        let (open, count) = match self.open.take() {
            Some(open) => open,
            None => {
                let epoch = self.map.epoch;
                let open = OpenFrame::new(&mut self.output, Kind::Replies, None, epoch, 0);
                self.output.put_u64(0);
                (open, 0)
            }
        };
        reply.encode(&mut self.output);
        self.unanswered = self.unanswered.saturating_sub(1);
        self.open = Some((open, count + 1));
        if count as usize + 1 == limits::COMMANDS_PER_FRAME_MAX {
            self.flush();
        }
    }

    /// Closes the open frame, if there is one.
    pub fn flush(&mut self) {
        if let Some((open, count)) = self.open.take() {
            open.set_count(&mut self.output, count);
            open.close(&mut self.output);
        }
    }

    /// Sends events of a partition.
    pub fn batch(&mut self, batch: &FeedBatch<'_>) {
        self.flush();
        let open =
            OpenFrame::new(&mut self.output, Kind::Batch, Some(batch.partition), batch.epoch, 0);
        batch.write(&mut self.output);
        open.close(&mut self.output);
    }

    /// Sends stock levels, in as many frames as they need.
    pub fn levels(&mut self, levels: &[StockLevel]) {
        self.flush();
        for levels in levels.chunks(limits::LEVELS_PER_FRAME_MAX) {
            let open = OpenFrame::new(&mut self.output, Kind::Levels, None, self.map.epoch, 0);
            self.output.put_u32(levels.len() as u32);
            self.output.put_u32(0);
            for level in levels {
                level.encode(&mut self.output);
            }
            open.close(&mut self.output);
        }
    }

    /// Says that the events asked for have left the log; `first` is the first one still there.
    pub fn feed_gone(&mut self, partition: PartitionId, first: Sequence) {
        let first = first.get().to_le_bytes();
        self.send(Kind::FeedGone, Some(partition), self.map.epoch, &first);
    }

    /// Says that no new requests are wanted. Replies to those in flight still follow.
    pub fn goodbye(&mut self) {
        self.send(Kind::Goodbye, None, self.map.epoch, &[]);
    }

    fn send(&mut self, kind: Kind, partition: Option<PartitionId>, epoch: Epoch, body: &[u8]) {
        self.flush();
        let open = OpenFrame::new(&mut self.output, kind, partition, epoch, 0);
        self.output.put(body);
        open.close(&mut self.output);
    }
}

fn consumer(body: &[u8]) -> Result<(u8, Sequence), Malformed> {
    let mut from = Reader::new(body);
    let consumer = from.u8()?;
    if consumer >= limits::CONSUMERS_MAX {
        return Err(Malformed::OutOfRange("consumer"));
    }
    if from.array()? != [0u8; 7] {
        return Err(Malformed::OutOfRange("reserved"));
    }
    Ok((consumer, from.sequence()?))
}
