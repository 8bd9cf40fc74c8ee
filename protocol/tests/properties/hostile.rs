//! Bytes that nobody wrote: refused, never a panic, never more memory than there are bytes.

use crate::arbitrary::{event, request};
use doorbuster_protocol::frame::{HEADER_BYTES, Header, Kind, MAGIC};
use doorbuster_protocol::handshake::{PartitionMap, PreSharedKey};
use doorbuster_protocol::outcome::Reply;
use doorbuster_protocol::record::Reader;
use doorbuster_protocol::routing::PartitionCount;
use doorbuster_protocol::session::{ClientMessage, ClientSession, ServerMessage, ServerSession};
use doorbuster_protocol::{Epoch, Event, Request};
use proptest::collection::vec;
use proptest::prelude::*;

const KEY: PreSharedKey = PreSharedKey::new([1; 32]);
/// More than a session keeps for a conversation of this size.
const CAPACITY_MAX: usize = 1 << 20;

fn server() -> ServerSession {
    let map = PartitionMap {
        directory: 1,
        epoch: Epoch::FIRST,
        partitions: PartitionCount::new(2).expect("in range"),
        self_core: 0,
        cores: vec![([127, 0, 0, 1], 1).into()],
        owners: vec![0, 0],
    };
    ServerSession::new(&KEY, [3; 32], map)
}

fn connected() -> (ClientSession, ServerSession) {
    let (mut client, mut server) = (ClientSession::new(&KEY, [2; 32]), server());
    while client.map().is_none() {
        server.receive(client.output());
        client.output().clear();
        server.poll().expect("a handshake");
        client.receive(server.output());
        server.output().clear();
        client.poll().expect("a handshake");
    }
    (client, server)
}

/// Takes all that comes, to the end or to the first error; how many records were sound.
fn serve(server: &mut ServerSession, bytes: &[u8]) -> usize {
    let mut sound = 0;
    server.receive(bytes);
    while let Ok(Some(message)) = server.poll() {
        match message {
            ClientMessage::Requests(requests) => {
                sound += requests.filter(|(_, request)| request.is_ok()).count();
            }
            _ => sound += 1,
        }
    }
    assert!(server.input().capacity() < CAPACITY_MAX);
    sound
}

fn listen(client: &mut ClientSession, bytes: &[u8]) -> usize {
    let mut sound = 0;
    client.receive(bytes);
    while let Ok(Some(message)) = client.poll() {
        match message {
            ServerMessage::Replies(replies) => sound += replies.flatten().count(),
            ServerMessage::Levels(levels) => sound += levels.flatten().count(),
            ServerMessage::Batch(batch) => sound += batch.iter().flatten().count(),
            _ => sound += 1,
        }
    }
    assert!(client.input().capacity() < CAPACITY_MAX);
    sound
}

/// A frame of any kind and body, with sound checksums.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        8 => proptest::sample::select(Kind::ALL.as_slice()).prop_map(Kind::code),
        1 => any::<u8>(),
    ];
    let counted = (0..4u32, vec(any::<u8>(), 0..200))
        .prop_map(|(count, rest)| [&count.to_le_bytes(), &[0; 4], rest.as_slice()].concat());
    let body = prop_oneof![vec(any::<u8>(), 0..200), counted, Just(vec![]), Just(vec![0; 16])];
    let partition = prop_oneof![Just(u16::MAX), Just(1), any::<u16>()];
    (kind, body, partition, 0..5u64).prop_map(|(kind, body, partition, correlation)| {
        let mut frame = Vec::new();
        frame.extend_from_slice(&MAGIC.to_le_bytes());
        frame.extend_from_slice(&[1, kind, 0, 0]);
        frame.extend_from_slice(&partition.to_le_bytes());
        frame.extend_from_slice(&1u32.to_le_bytes());
        frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
        frame.extend_from_slice(&correlation.to_le_bytes());
        frame.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        let crc = crc32c::crc32c(&frame);
        frame.extend_from_slice(&crc.to_le_bytes());
        frame.extend_from_slice(&body);
        frame
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_are_no_record_or_one(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Request::decode(&mut Reader::new(&bytes));
        let _ = Reply::decode(&mut Reader::new(&bytes));
        let _ = Event::decode(&mut Reader::new(&bytes));
        if let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
            prop_assert!(Header::decode(header).is_err());
        }
    }

    #[test]
    fn any_kind_of_record_with_any_fields(kind in 0..64u8, rest in vec(any::<u8>(), 0..200)) {
        let request = [&[kind, 0, 0, 0, 0, 0, 0, 0], rest.as_slice()].concat();
        if let Ok(request) = Request::decode(&mut Reader::new(&request)) {
            prop_assert_eq!(request.check(), Ok(()));
        }
        let reply = [&[0; 8], [kind, 0, 0, 0].as_slice(), &rest].concat();
        let _ = Reply::decode(&mut Reader::new(&reply));
    }

    #[test]
    fn any_archive_is_refused_or_an_event(archive in vec(any::<u8>(), 97..400), length in 0..500u32) {
        for length in [archive.len() as u32, length] {
            let bytes = [length.to_le_bytes().as_slice(), &archive].concat();
            let _ = Event::decode(&mut Reader::new(&bytes));
        }
    }

    #[test]
    fn a_damaged_event_is_refused_or_another_event(
        event in event(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = Vec::new();
        event.encode(&mut bytes);
        for (at, flip) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        }
        if let Ok(event) = Event::decode(&mut Reader::new(&bytes)) {
            // Whatever it is now, it can be written: every field is in range.
            event.encode(&mut Vec::new());
        }
    }

    #[test]
    fn any_bytes_on_a_connection(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(serve(&mut server(), &bytes), 0);
        prop_assert_eq!(listen(&mut ClientSession::new(&KEY, [2; 32]), &bytes), 0);
        let (mut client, mut server) = connected();
        prop_assert_eq!(serve(&mut server, &bytes), 0);
        prop_assert_eq!(listen(&mut client, &bytes), 0);
    }

    #[test]
    fn any_frames_with_sound_checksums(frames in vec(frame(), 1..6)) {
        let bytes = frames.concat();
        prop_assert_eq!(serve(&mut server(), &bytes), 0);
        prop_assert_eq!(listen(&mut ClientSession::new(&KEY, [2; 32]), &bytes), 0);
        let (mut client, mut server) = connected();
        serve(&mut server, &bytes);
        listen(&mut client, &bytes);
    }

    #[test]
    fn requests_arrive_however_the_stream_is_cut(
        requests in vec(request(), 1..30),
        flushes in vec(any::<bool>(), 30),
        cuts in vec(1..200usize, 1..40),
    ) {
        let (mut client, mut server) = connected();
        for (request, flush) in requests.iter().zip(flushes) {
            client.request(request);
            if flush {
                client.flush();
            }
        }
        let stream = std::mem::take(client.output());
        let mut received = Vec::new();
        let mut rest = stream.as_slice();
        for cut in cuts.into_iter().cycle() {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            server.receive(now);
            while let Some(message) = server.poll().expect("sound") {
                let ClientMessage::Requests(requests) = message else { panic!("only requests") };
                received.extend(requests.map(|(id, request)| (id, request.expect("sound"))));
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        let sent: Vec<_> = (1..).zip(requests).collect();
        prop_assert_eq!(received, sent);
    }
}
