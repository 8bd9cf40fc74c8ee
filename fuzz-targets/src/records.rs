//! Records without the frame around them, whose checksum a fuzzer cannot see through: a request, a
//! reply, events, a frame's header.
//!
//! No bytes make them panic, and what is read can be written and read again, the same.

use crate::Seed;
use crate::script::Script;
use crate::values;
use doorbuster_protocol::event::Events;
use doorbuster_protocol::frame::{HEADER_BYTES, Header};
use doorbuster_protocol::outcome::Reply;
use doorbuster_protocol::record::Reader;
use doorbuster_protocol::{Event, Request, Sequence};

/// One input: which record, then its bytes.
pub fn run(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 4 {
        0 => request(bytes),
        1 => reply(bytes),
        2 => events(bytes),
        _ => header(bytes),
    }
}

fn request(bytes: &[u8]) {
    let Ok(request) = Request::decode(&mut Reader::new(bytes)) else { return };
    assert_eq!(request.check(), Ok(()), "what is read can be decided");
    let mut again = Vec::new();
    request.encode(&mut again);
    assert_eq!(Request::decode(&mut Reader::new(&again)), Ok(request));
}

fn reply(bytes: &[u8]) {
    let Ok(reply) = Reply::decode(&mut Reader::new(bytes)) else { return };
    let mut again = Vec::new();
    reply.encode(&mut again);
    assert_eq!(Reply::decode(&mut Reader::new(&again)), Ok(reply));
}

/// Events until one is no event; those before it are written again, and read the same.
fn events(bytes: &[u8]) {
    let mut from = Reader::new(bytes);
    let (mut read, mut again) = (Vec::new(), Vec::new());
    while let Ok(event) = Event::decode(&mut from) {
        event.encode(&mut again);
        read.push(event);
    }
    let count = read.len() as u32;
    let written = Events::new(&again, Sequence::new(1), count);
    assert!(written.eq((1..).map(Sequence::new).zip(read).map(Ok)), "what is written is read");
}

/// A header, with its checksum made good: it is refused, or says what stands in it.
fn header(bytes: &[u8]) {
    let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else { return };
    let mut sound = *bytes;
    let checksum = crc32c::crc32c(&sound[..HEADER_BYTES - 4]);
    sound[HEADER_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
    let as_it_is = Header::decode(bytes);
    assert!(*bytes == sound || as_it_is.is_err(), "a wrong checksum is noticed");
    if let Ok(header) = Header::decode(&sound) {
        let (least, most) = header.kind.body_bytes();
        assert!((least..=most).contains(&header.body_length));
        assert_eq!(header.partition.is_some(), header.kind.has_partition());
    }
}

/// A record of each kind.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for number in 0..20_u8 {
        let decisions: Vec<u8> = (0..200_u8).map(|byte| byte.wrapping_mul(7) ^ number).collect();
        let script = |kind: u8| [&[kind], decisions.as_slice()].concat();
        let mut request = vec![0];
        values::request(&mut Script::new(&script(number % 9))).encode(&mut request);
        let mut reply = vec![1];
        values::reply(&mut Script::new(&script(number)), u64::from(number)).encode(&mut reply);
        let mut events = vec![2];
        values::event(&mut Script::new(&script(number % 10))).encode(&mut events);
        values::event(&mut Script::new(&script((number + 1) % 10))).encode(&mut events);
        seeds.push((format!("request-{number}"), request));
        seeds.push((format!("reply-{number}"), reply));
        seeds.push((format!("events-{number}"), events));
    }
    let (_, to_server) = crate::sessions::connected().0;
    seeds.push(("header".into(), [&[3], &to_server[..HEADER_BYTES]].concat()));
    seeds
}
