//! The handshake: who gets in, who finds out about whom, and what is allowed when.

use super::conversation::*;
use super::*;
use crate::frame::{HEADER_BYTES, Kind, VERSION_MAX, VERSION_MIN};
use crate::handshake::{Hello, PartitionMap, PreSharedKey};

#[test]
fn one_flipped_bit_is_always_noticed() {
    let (mut client, mut server) = (client(), server());
    let [hello, challenge, proof] = shake_hands(&mut client, &mut server);
    let welcome = std::mem::take(server.output());
    let flips = |frame: &[u8]| {
        let frame = frame.to_vec();
        (0..frame.len() * 8).map(move |bit| {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        })
    };
    for (bit, flipped) in flips(&hello).enumerate() {
        let (lines, error) = served(&mut self::server(), &flipped);
        assert!(lines.is_empty() && error.is_some(), "hello, bit {bit}");
    }
    for (bit, flipped) in flips(&proof).enumerate() {
        let mut server = self::server();
        assert_eq!(served(&mut server, &hello), (vec![], None));
        let (lines, error) = served(&mut server, &flipped);
        assert!(lines.is_empty() && error.is_some(), "proof, bit {bit}");
    }
    for (bit, flipped) in flips(&challenge).enumerate() {
        let (lines, error) = told(&mut self::client(), &flipped);
        assert!(lines.is_empty() && error.is_some(), "challenge, bit {bit}");
    }
    for (bit, flipped) in flips(&welcome).enumerate() {
        let mut client = self::client();
        assert_eq!(told(&mut client, &challenge), (vec![], None));
        let (lines, error) = told(&mut client, &flipped);
        assert!(lines.is_empty() && error.is_some(), "welcome, bit {bit}");
    }
    client.receive(&welcome);
    client.poll().expect("sound");
    client.request(&request(1));
    let requests = std::mem::take(client.output());
    for (bit, flipped) in flips(&requests).enumerate() {
        let (_, mut server) = connected();
        let (lines, error) = served(&mut server, &flipped);
        assert!(lines.is_empty() && error.is_some(), "requests, bit {bit}");
    }
}

#[test]
fn each_state_takes_only_its_kinds() {
    use Kind::{
        Acknowledge, Batch, Challenge, FeedGone, Goodbye, Levels, Proof, Refused, Replies,
        Requests, Subscribe, WatchStock, Welcome,
    };
    let body = |kind: Kind| vec![0; kind.body_bytes().0 as usize];
    let check_server = |make: &dyn Fn() -> ServerSession, allowed: &[Kind]| {
        for kind in Kind::ALL {
            let error = served(&mut make(), &Raw::new(kind, &body(kind)).bytes()).1;
            let is_out_of_order = error == Some(SessionError::OutOfOrder);
            assert_eq!(is_out_of_order, !allowed.contains(&kind), "{kind:?}: {error:?}");
        }
    };
    let check_client = |make: &dyn Fn() -> ClientSession, allowed: &[Kind]| {
        for kind in Kind::ALL {
            let error = told(&mut make(), &Raw::new(kind, &body(kind)).bytes()).1;
            let is_out_of_order = error == Some(SessionError::OutOfOrder);
            assert_eq!(is_out_of_order, !allowed.contains(&kind), "{kind:?}: {error:?}");
        }
    };
    let (to_server, to_client) = conversation();
    check_server(&server, &[Kind::Hello]);
    let challenged = || {
        let mut server = server();
        served(&mut server, &to_server[..72]);
        server
    };
    check_server(&challenged, &[Proof]);
    check_server(&|| connected().1, &[Requests, Subscribe, Acknowledge, WatchStock]);
    check_client(&client, &[Challenge, Refused]);
    let proven = || {
        let mut client = client();
        told(&mut client, &to_client[..72]);
        client
    };
    check_client(&proven, &[Welcome, Refused]);
    check_client(&|| connected().0, &[Replies, Batch, Levels, FeedGone, Goodbye]);
}

#[test]
fn a_recorded_handshake_opens_nothing() {
    let (to_server, _) = conversation();
    let mut server = ServerSession::new(&KEY, [4; 32], map());
    let (lines, error) = served(&mut server, &to_server);
    assert_eq!((lines, error), (vec![], Some(SessionError::WrongKey)));
    let output = std::mem::take(server.output());
    let refusal = told(&mut client(), &output[72..]).1;
    assert_eq!(refusal, Some(SessionError::Refused(Refusal::Key)));
}

#[test]
fn each_side_wants_the_others_proof() {
    // The client has another key: the server says so and closes.
    let mut client = ClientSession::new(&OTHER_KEY, [2; 32]);
    let mut server = server();
    served(&mut server, client.output());
    client.output().clear();
    told(&mut client, server.output());
    server.output().clear();
    assert_eq!(served(&mut server, client.output()).1, Some(SessionError::WrongKey));
    let (lines, error) = told(&mut client, server.output());
    assert_eq!((lines, error), (vec![], Some(SessionError::Refused(Refusal::Key))));

    // The server is an impostor: whatever it makes of the proof, the client does not believe it.
    let mut honest = self::server();
    let [_, challenge, proof] = shake_hands(&mut self::client(), &mut honest);
    let welcome = std::mem::take(honest.output());
    let mut other_map = Vec::new();
    PartitionMap { owners: vec![1, 1, 1, 1], ..map() }.encode(&mut other_map);
    let genuine_proof = &welcome[HEADER_BYTES..HEADER_BYTES + 32];
    let genuine_map = &welcome[HEADER_BYTES + 32..];
    let check = |what: &str, proof: &[u8], map: &[u8], expected: Option<SessionError>| {
        let mut client = self::client();
        assert_eq!(told(&mut client, &challenge), (vec![], None));
        let frame = Raw::new(Kind::Welcome, &[proof, map].concat()).bytes();
        assert_eq!(told(&mut client, &frame).1, expected, "{what}");
        assert_eq!(client.map().is_some(), expected.is_none(), "{what}");
    };
    check("the genuine one", genuine_proof, genuine_map, None);
    check("no proof", &[0; 32], genuine_map, Some(SessionError::WrongKey));
    check("its own proof", &proof[HEADER_BYTES..], genuine_map, Some(SessionError::WrongKey));
    check("another map", genuine_proof, &other_map, Some(SessionError::WrongKey));
}

#[test]
fn versions_that_do_not_meet_are_refused_with_the_range() {
    let ours = Refusal::Version { min: VERSION_MIN, max: VERSION_MAX };
    let refused = |server: &mut ServerSession| told(&mut client(), server.output()).1;
    let check = |min: u8, max: u8, meets: bool| {
        let mut server = server();
        let body = Hello { version_min: min, version_max: max, nonce: [2; 32] }.encode();
        let error = served(&mut server, &Raw::new(Kind::Hello, &body).bytes()).1;
        if meets {
            assert_eq!(error, None, "{min} to {max}");
        } else {
            assert_eq!(error, Some(SessionError::VersionUnsupported { min, max }));
            assert_eq!(refused(&mut server), Some(SessionError::Refused(ours)));
        }
    };
    check(1, 1, true);
    check(0, 255, true);
    check(2, 9, false);
    check(0, 0, false);
    check(9, 1, false);

    // A frame of another version altogether.
    let mut server = server();
    let mut frame = Raw::new(Kind::Hello, &[0; 40]);
    frame.version = 7;
    let error = served(&mut server, &frame.bytes()).1;
    assert_eq!(error, Some(FrameError::VersionUnsupported { theirs: 7 }.into()));
    assert_eq!(refused(&mut server), Some(SessionError::Refused(ours)));

    // A server that chooses what was not offered.
    let mut body = [0; 40];
    body[..3].copy_from_slice(&[2, 2, 3]);
    let error = told(&mut client(), &Raw::new(Kind::Challenge, &body).bytes()).1;
    assert_eq!(error, Some(SessionError::VersionUnsupported { min: 2, max: 3 }));

    // Someone in between who rewrites the offer is found out by the proof.
    let mut client = self::client();
    let mut server = self::server();
    let mut hello = client.output()[HEADER_BYTES..].to_vec();
    client.output().clear();
    hello[1] = 200;
    served(&mut server, &Raw::new(Kind::Hello, &hello).bytes());
    told(&mut client, server.output());
    assert_eq!(served(&mut server, client.output()).1, Some(SessionError::WrongKey));
}

#[test]
fn the_key_is_never_printed() {
    for text in [format!("{KEY:?}"), format!("{:?}", client()), format!("{:?}", server())] {
        assert!(text.contains("redacted") && !text.contains("[1, 1, 1"), "{text}");
    }
    assert_eq!(PreSharedKey::from_hex(&"01".repeat(32)), Some(KEY));
    for no in ["", "01", &"0g".repeat(32), &"01".repeat(33), &"+1".repeat(32)] {
        assert_eq!(PreSharedKey::from_hex(no), None, "{no:?}");
    }
}
