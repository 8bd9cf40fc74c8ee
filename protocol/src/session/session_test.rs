//! Open sessions against peers that behave, and against bytes that do not.

use super::conversation::*;
use super::*;
use crate::frame::{HEADER_BYTES, Kind, NO_PARTITION};
use crate::outcome::Reply;
use crate::record::Write;
use crate::{Outcome, limits};

#[test]
fn both_sides_open_and_requests_find_their_answers() {
    let (mut client, mut server) = connected();
    assert!(server.is_open());
    assert_eq!(client.map(), Some(&map()));
    for number in 1..=3 {
        assert_eq!(client.request(&request(number)), u64::from(number));
    }
    let (lines, error) = served(&mut server, client.output());
    assert_eq!(error, None);
    let expected = |number: u8| format!("{:?}", (u64::from(number), Ok::<_, ()>(request(number))));
    assert_eq!(lines, [expected(1), expected(2), expected(3)]);
    assert_eq!(server.unanswered(), 3);
    let reply = Reply { correlation: 2, outcome: Outcome::LimitExceeded { limit: 4 } };
    server.reply(&reply);
    assert_eq!(server.unanswered(), 2);
    let (lines, error) = told(&mut client, server.output());
    assert_eq!((lines, error), (vec![format!("{:?}", Ok::<_, ()>(reply))], None));
}

#[test]
fn a_full_frame_closes_itself() {
    let (mut client, mut server) = connected();
    let count = limits::COMMANDS_PER_FRAME_MAX + 5;
    for _ in 0..count {
        client.request(&request(1));
    }
    server.receive(client.output());
    let mut frames = Vec::new();
    while let Some(ClientMessage::Requests(requests)) = server.poll().expect("sound") {
        frames.push(requests.records_left());
    }
    assert_eq!(frames, [limits::COMMANDS_PER_FRAME_MAX, 5]);
    for correlation in 1..=count as u64 {
        server.reply(&Reply { correlation, outcome: Outcome::SoldOut });
    }
    assert_eq!(told(&mut client, server.output()).0.len(), count);
}

#[test]
fn where_the_stream_is_split_changes_nothing() {
    let (to_server, to_client) = conversation();
    let whole = served(&mut server(), &to_server);
    assert_eq!((whole.0.len(), whole.1), (7, None));
    for split in 0..=to_server.len() {
        let mut server = server();
        let (mut lines, error) = served(&mut server, &to_server[..split]);
        assert_eq!(error, None, "cut at {split}");
        lines.extend(served(&mut server, &to_server[split..]).0);
        assert_eq!(lines, whole.0, "split at {split}");
    }
    let mut server = server();
    let bytes = to_server.iter().flat_map(|byte| served(&mut server, &[*byte]).0);
    assert_eq!(bytes.collect::<Vec<_>>(), whole.0);

    let listening = || {
        let mut client = client();
        client.receive(&to_client[..to_client.len().min(32 + 40)]);
        client.poll().expect("a challenge");
        client
    };
    let welcome = 72;
    let after = |client: &mut ClientSession, from: usize, split: usize| {
        let (mut lines, error) = told(client, &to_client[from..split]);
        assert_eq!(error, None, "cut at {split}");
        lines.extend(told(client, &to_client[split..]).0);
        lines
    };
    let whole = told(&mut listening(), &to_client[welcome..]).0;
    for split in welcome..to_client.len() {
        assert_eq!(after(&mut listening(), welcome, split), whole, "split at {split}");
    }
}

#[test]
fn a_length_out_of_bounds_is_refused_on_sight_of_the_header() {
    let check = |kind: Kind, length: u32| {
        let (mut client, mut server) = connected();
        let mut frame = Raw::new(kind, &[]);
        frame.length = Some(length);
        let frame = &frame.bytes()[..HEADER_BYTES];
        let (capacity, error) = match kind {
            Kind::Requests | Kind::Subscribe | Kind::Acknowledge | Kind::WatchStock => {
                let error = served(&mut server, frame).1;
                (server.input().capacity(), error)
            }
            _ => {
                let error = told(&mut client, frame).1;
                (client.input().capacity(), error)
            }
        };
        assert!(
            matches!(error, Some(SessionError::Frame(FrameError::BadLength { .. }))),
            "{kind:?} of {length}: {error:?}"
        );
        assert!(capacity < 64 << 10, "{kind:?} of {length} took {capacity} bytes");
    };
    for kind in Kind::ALL.into_iter().filter(|kind| kind.code() >= 16) {
        let (min, max) = kind.body_bytes();
        for length in [max + 1, u32::MAX - 1, u32::MAX].into_iter().chain(min.checked_sub(1)) {
            check(kind, length);
        }
    }
}

#[test]
fn the_longest_body_is_waited_for_without_being_made_room_for() {
    let (_, mut server) = connected();
    let mut frame = Raw::new(Kind::Requests, &[]);
    frame.length = Some(limits::REQUEST_BODY_MAX as u32);
    assert_eq!(served(&mut server, &frame.bytes()), (vec![], None));
    assert!(server.input().capacity() < 64 << 10);
}

#[test]
fn header_fields_out_of_range_are_refused() {
    let check = |expected: FrameError, change: fn(&mut Raw)| {
        let (_, mut server) = connected();
        let mut frame = Raw::new(Kind::Subscribe, &[0; 16]);
        change(&mut frame);
        let (lines, error) = served(&mut server, &frame.bytes());
        assert_eq!((lines, error), (vec![], Some(expected.into())));
    };
    for kind in [0, 6, 15, 25, 128, 255] {
        let (_, mut server) = connected();
        let mut frame = Raw::new(Kind::WatchStock, &[]);
        frame.kind = kind;
        let error = served(&mut server, &frame.bytes()).1;
        assert_eq!(error, Some(FrameError::UnknownKind(kind).into()));
    }
    check(FrameError::BadField("flags"), |frame| frame.flags = 1);
    check(FrameError::BadField("partition"), |frame| frame.partition = NO_PARTITION);
    check(FrameError::BadField("partition"), |frame| frame.partition = limits::PARTITIONS_MAX);
    check(FrameError::BadField("partition"), |frame| {
        (frame.kind, frame.partition) = (Kind::WatchStock.code(), 1);
        frame.body.clear();
    });
    check(FrameError::VersionUnsupported { theirs: 0 }, |frame| frame.version = 0);
    check(FrameError::VersionUnsupported { theirs: 2 }, |frame| frame.version = 2);
    let (_, mut server) = connected();
    let error = served(&mut server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").1;
    assert_eq!(error, Some(FrameError::BadMagic.into()));
}

#[test]
fn a_request_frame_is_not_taken_twice() {
    let (mut client, mut server) = connected();
    client.request(&request(1));
    client.request(&request(2));
    let frame = std::mem::take(client.output());
    assert_eq!(served(&mut server, &frame).0.len(), 2);
    let (lines, error) = served(&mut server, &frame);
    assert!(lines.is_empty());
    assert_eq!(error, Some(SessionError::ReplayedCorrelation { first: 1, last: 2 }));
    // A failed session stays failed.
    client.request(&request(3));
    assert_eq!(served(&mut server, client.output()).1, error);

    let check = |first: u64, count: u32, is_taken: bool| {
        let (_, mut server) = connected();
        let mut body = Vec::new();
        body.put_u32(count);
        body.put_u32(0);
        for _ in 0..count {
            request(1).encode(&mut body);
        }
        let mut frame = Raw::new(Kind::Requests, &body);
        frame.correlation = first;
        let error = served(&mut server, &frame.bytes()).1;
        assert_eq!(error.is_none(), is_taken, "{count} from {first}: {error:?}");
    };
    check(0, 1, false);
    check(1, 2, true);
    check(1_000, 2, true);
    check(u64::MAX, 2, false);
}

#[test]
fn bodies_that_say_nothing_are_refused() {
    let record = |number: u8| {
        let mut record = Vec::new();
        request(number).encode(&mut record);
        record
    };
    let counted = |count: u32, reserved: u32, records: &[u8]| {
        let mut body = Vec::new();
        body.put_u32(count);
        body.put_u32(reserved);
        body.put(records);
        body
    };
    let check = |kind: Kind, body: &[u8], expected: Malformed| {
        let (mut client, mut server) = connected();
        client.request(&request(1));
        let frame = Raw::new(kind, body).bytes();
        let ends_session = |error: Option<SessionError>| {
            assert_eq!(error, Some(expected.into()), "{kind:?}");
        };
        match kind {
            Kind::Requests | Kind::Subscribe | Kind::Acknowledge => {
                ends_session(served(&mut server, &frame).1);
            }
            _ => ends_session(told(&mut client, &frame).1),
        }
    };
    let out_of_range = Malformed::OutOfRange;
    for kind in [Kind::Requests, Kind::Replies, Kind::Levels] {
        check(kind, &counted(0, 0, &[]), out_of_range("count"));
        check(kind, &counted(4097, 0, &[]), out_of_range("count"));
        check(kind, &counted(u32::MAX, 0, &[]), out_of_range("count"));
        check(kind, &counted(1, 1, &[]), out_of_range("reserved"));
    }
    check(Kind::Levels, &counted(1, 0, &[0; 39]), Malformed::Truncated);
    check(Kind::Levels, &counted(1, 0, &[0; 41]), Malformed::Oversized);
    for kind in [Kind::Subscribe, Kind::Acknowledge] {
        check(kind, &[8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], out_of_range("consumer"));
        check(kind, &[0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0], out_of_range("reserved"));
    }
    check(Kind::Subscribe, &[0; 16], out_of_range("from"));
    check(Kind::Batch, &[0; 32], out_of_range("first"));
    let mut batch = [0xFF; 32];
    batch[28..].fill(0);
    check(Kind::Batch, &batch, out_of_range("first"));

    // A record that is wrong ends its frame, but only once those before it were handed out.
    let check_records = |count: u32, records: &[u8], expected: &[Result<(), Malformed>]| {
        let (_, mut server) = connected();
        server.receive(&Raw::new(Kind::Requests, &counted(count, 0, records)).bytes());
        let Ok(Some(ClientMessage::Requests(requests))) = server.poll() else {
            panic!("the frame itself is sound")
        };
        let found: Vec<_> = requests.map(|(_, request)| request.map(drop)).collect();
        assert_eq!(found, expected);
    };
    let two = [record(1), record(2)].concat();
    check_records(2, &two, &[Ok(()), Ok(())]);
    check_records(3, &two, &[Ok(()), Ok(()), Err(Malformed::Truncated)]);
    check_records(1, &two, &[Ok(()), Err(Malformed::Oversized)]);
    check_records(2, &two[..two.len() - 1], &[Ok(()), Err(Malformed::Truncated)]);
    let unknown = [record(1), vec![0xEE; 32], record(2)].concat();
    check_records(3, &unknown, &[Ok(()), Err(out_of_range("partition"))]);
}

#[test]
fn a_reply_to_what_was_never_asked_is_an_error() {
    let (mut client, mut server) = connected();
    client.request(&request(1));
    for correlation in [0, 2, u64::MAX] {
        server.reply(&Reply { correlation, outcome: Outcome::SoldOut });
        server.flush();
        client.receive(server.output());
        server.output().clear();
        let Ok(Some(ServerMessage::Replies(replies))) = client.poll() else {
            panic!("the frame itself is sound")
        };
        let found: Vec<_> = replies.collect();
        assert_eq!(found, [Err(Malformed::OutOfRange("correlation"))], "{correlation}");
    }
}
