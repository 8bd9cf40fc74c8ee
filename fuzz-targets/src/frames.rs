//! Any bytes on a connection, in any pieces, to a server or a client, before and after the
//! handshake: an error or messages, the same however the stream was cut.

use crate::Seed;
use crate::conversation::{from_client, from_server};
use crate::script::Script;
use crate::sessions::{self, End};

/// One input: who listens, how the stream is cut, the stream.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let who = script.below(4);
    let cuts = script.bytes(16);
    let stream = script.rest();
    let whole = listener(who).hear(stream, &[]);
    let in_pieces = listener(who).hear(stream, cuts);
    assert_eq!(whole, in_pieces, "where a stream is cut changes nothing");
}

fn listener(who: usize) -> End {
    match who {
        0 => End::server(sessions::server()),
        1 => End::client(sessions::client()),
        2 => End::server(sessions::connected().1.0),
        _ => {
            let mut client = sessions::connected().0.0;
            for _ in 0..sessions::ASKED {
                client.request(&crate::values::request(&mut Script::new(&[])));
            }
            End::client(client)
        }
    }
}

/// Whole conversations and parts of them.
pub fn seeds() -> Vec<Seed> {
    let ((_, hello), (_, welcome)) = sessions::connected();
    let mut seeds = vec![
        ("http".into(), [&[0, 0], b"GET / HTTP/1.1\r\n\r\n".as_slice()].concat()),
        ("handshake-of-client".into(), [&[0, 1, 3], hello.as_slice()].concat()),
        ("handshake-of-server".into(), [&[1, 1, 8], welcome.as_slice()].concat()),
    ];
    for number in 0..12_u8 {
        let decisions: Vec<u8> = (0..=255_u8).map(|byte| byte.wrapping_mul(31) ^ number).collect();
        let mut script = Script::new(&decisions[usize::from(number)..]);
        let said: Vec<u8> = from_client(&mut script, 6).concat();
        seeds.push((format!("requests-{number}"), [&[2, 1, number], said.as_slice()].concat()));
        let said: Vec<u8> = from_server(&mut script, 6).concat();
        seeds.push((format!("answers-{number}"), [&[3, 1, number], said.as_slice()].concat()));
    }
    seeds
}
