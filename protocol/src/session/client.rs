//! The client's end of a connection.

use super::SessionError;
use super::input::Input;
use super::message::{FeedBatch, Levels, Replies, ServerMessage};
use crate::frame::{self, COUNT_BYTES, Header, Kind, OpenFrame};
use crate::handshake::Transcript;
use crate::handshake::{Challenge, Hello, NONCE_BYTES, PartitionMap, PreSharedKey, Refusal};
use crate::record::{Malformed, Reader, Write};
use crate::{Epoch, PartitionId, Request, Sequence, limits};
use std::ops::Range;

#[derive(Debug)]
enum State {
    AwaitsChallenge { hello: [u8; 40] },
    AwaitsWelcome { transcript: Transcript },
    Open { map: PartitionMap },
    Failed { error: SessionError },
}

/// A client's session: see the module's description for how to drive it.
#[derive(Debug)]
pub struct ClientSession {
    key: PreSharedKey,
    state: State,
    input: Input,
    output: Vec<u8>,
    /// The request frame at the end of `output`, and how many requests it holds.
    open: Option<(OpenFrame, u32)>,
    next_correlation: u64,
}

impl ClientSession {
    /// A session whose `Hello` stands in the output. The nonce must be random, and never used
    /// twice.
    pub fn new(key: &PreSharedKey, nonce: [u8; NONCE_BYTES]) -> Self {
        let hello =
            Hello { version_min: frame::VERSION_MIN, version_max: frame::VERSION_MAX, nonce }
                .encode();
        let mut session = Self {
            key: key.clone(),
            state: State::AwaitsChallenge { hello },
            input: Input::default(),
            output: Vec::new(),
            open: None,
            next_correlation: 1,
        };
        session.send(Kind::Hello, None, Epoch::NONE, &hello);
        session
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
    pub fn poll(&mut self) -> Result<Option<ServerMessage<'_>>, SessionError> {
        match self.advance() {
            Ok(None) => Ok(None),
            Ok(Some((header, body))) => Ok(Some(self.message(&header, body)?)),
            Err(error) => Err(self.fail(error)),
        }
    }

    fn fail(&mut self, error: SessionError) -> SessionError {
        self.state = State::Failed { error };
        error
    }

    /// The kinds that the peer may send now; the error that the session has failed with.
    fn allowed(&self) -> Result<fn(Kind) -> bool, SessionError> {
        Ok(match &self.state {
            State::AwaitsChallenge { .. } => |kind| matches!(kind, Kind::Challenge | Kind::Refused),
            State::AwaitsWelcome { .. } => |kind| matches!(kind, Kind::Welcome | Kind::Refused),
            State::Open { .. } => |kind| {
                matches!(
                    kind,
                    Kind::Replies | Kind::Batch | Kind::Levels | Kind::FeedGone | Kind::Goodbye
                )
            },
            State::Failed { error } => return Err(*error),
        })
    }

    /// Takes frames until one is a message, and checks it: what it lends out later is sound.
    fn advance(&mut self) -> Result<Option<(Header, Range<usize>)>, SessionError> {
        while let Some((header, body)) = self.input.next(self.allowed()?)? {
            match header.kind {
                Kind::Refused => {
                    let refusal = Refusal::decode(self.input.body(body))?;
                    return Err(SessionError::Refused(refusal));
                }
                Kind::Challenge => {
                    self.answer_challenge(body)?;
                    continue;
                }
                Kind::Welcome => self.accept_welcome(body.clone())?,
                _ => {}
            }
            self.message(&header, body.clone())?;
            return Ok(Some((header, body)));
        }
        Ok(None)
    }

    fn answer_challenge(&mut self, body: Range<usize>) -> Result<(), SessionError> {
        let State::AwaitsChallenge { hello } = self.state else {
            unreachable!("a challenge is allowed only when awaited")
        };
        let body: [u8; 40] = Reader::new(self.input.body(body)).array()?;
        let challenge = Challenge::decode(&body)?;
        if !(frame::VERSION_MIN..=frame::VERSION_MAX).contains(&challenge.version) {
            let (min, max) = (challenge.version_min, challenge.version_max);
            return Err(SessionError::VersionUnsupported { min, max });
        }
        let transcript = Transcript { hello, challenge: body };
        let proof = transcript.client_proof(&self.key);
        self.send(Kind::Proof, None, Epoch::NONE, &proof);
        self.state = State::AwaitsWelcome { transcript };
        Ok(())
    }

    fn accept_welcome(&mut self, body: Range<usize>) -> Result<(), SessionError> {
        let State::AwaitsWelcome { transcript } = &self.state else {
            unreachable!("a welcome is allowed only when awaited")
        };
        let mut from = Reader::new(self.input.body(body));
        let proof = from.array()?;
        let map = from.bytes(from.remaining())?;
        if !transcript.server_is_proven(&self.key, map, &proof) {
            return Err(SessionError::WrongKey);
        }
        let map = PartitionMap::decode(map)?;
        self.state = State::Open { map };
        Ok(())
    }

    fn message(&self, header: &Header, body: Range<usize>) -> Result<ServerMessage<'_>, Malformed> {
        let body = self.input.body(body);
        Ok(match header.kind {
            Kind::Replies => ServerMessage::Replies(Replies::read(body, self.next_correlation)?),
            Kind::Batch => ServerMessage::Batch(FeedBatch::read(header, body)?),
            Kind::Levels => ServerMessage::Levels(Levels::read(body)?),
            Kind::FeedGone => ServerMessage::FeedGone {
                partition: header.partition.ok_or(Malformed::OutOfRange("partition"))?,
                first: Reader::new(body).sequence()?,
            },
            Kind::Welcome => ServerMessage::Welcomed,
            Kind::Goodbye => ServerMessage::Goodbye,
            _ => unreachable!("{:?} is not a message", header.kind),
        })
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

    /// Adds a request to the open frame, and opens one when there is none. Returns its correlation
    /// id: they start at 1 and are dense. Panics before the welcome. A server closes a connection
    /// that brings it what [`Request::check`] refuses: check first what comes from outside.
    pub fn request(&mut self, request: &Request) -> u64 {
        debug_assert_eq!(request.check(), Ok(()));
        let epoch = self.epoch();
        let correlation = self.next_correlation;
        self.next_correlation += 1;
        let (open, count) = match self.open.take() {
            Some(open) => open,
            None => {
                let open =
                    OpenFrame::new(&mut self.output, Kind::Requests, None, epoch, correlation);
                self.output.put_u64(0);
                (open, 0)
            }
        };
        request.encode(&mut self.output);
        self.open = Some((open, count + 1));
        if count as usize + 1 == limits::COMMANDS_PER_FRAME_MAX {
            self.flush();
        }
        correlation
    }

    /// Closes the open frame, if there is one.
    pub fn flush(&mut self) {
        if let Some((open, count)) = self.open.take() {
            debug_assert!(open.body_length(&self.output) > COUNT_BYTES);
            open.set_count(&mut self.output, count);
            open.close(&mut self.output);
        }
    }

    /// Asks for the events of `partition` from `from` (the first one wanted, at least 1) on.
    pub fn subscribe(&mut self, partition: PartitionId, consumer: u8, from: Sequence) {
        assert!(consumer < limits::CONSUMERS_MAX, "consumer {consumer} is out of range");
        let body = consumer_body(consumer, from);
        self.send(Kind::Subscribe, Some(partition), self.epoch(), &body);
    }

    /// Says that `consumer` has made the events of `partition` durable up to `through`.
    pub fn acknowledge(
        &mut self,
        partition: PartitionId,
        consumer: u8,
        epoch: Epoch,
        through: Sequence,
    ) {
        assert!(consumer < limits::CONSUMERS_MAX, "consumer {consumer} is out of range");
        let body = consumer_body(consumer, through);
        self.send(Kind::Acknowledge, Some(partition), epoch, &body);
    }

    /// Asks for stock levels: all that the core has now, and every change from now on.
    pub fn watch_stock(&mut self) {
        self.send(Kind::WatchStock, None, self.epoch(), &[]);
    }

    /// The partition map, once welcomed.
    pub fn map(&self) -> Option<&PartitionMap> {
        if let State::Open { map } = &self.state { Some(map) } else { None }
    }

    fn epoch(&self) -> Epoch {
        self.map().expect("nothing is sent before the welcome").epoch
    }

    fn send(&mut self, kind: Kind, partition: Option<PartitionId>, epoch: Epoch, body: &[u8]) {
        self.flush();
        let open = OpenFrame::new(&mut self.output, kind, partition, epoch, 0);
        self.output.put(body);
        open.close(&mut self.output);
    }
}

fn consumer_body(consumer: u8, sequence: Sequence) -> [u8; 16] {
    let mut body = [0; 16];
    body[0] = consumer;
    body[8..].copy_from_slice(&sequence.get().to_le_bytes());
    body
}
