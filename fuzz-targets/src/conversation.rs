//! A conversation that somebody in between tampers with: frames that are repeated, swapped, left
//! out, cut off, or have bits flipped; and frames that are forged, with checksums that hold.
//!
//! Without a forgery a model says what must be heard, to the letter: everything up to the first
//! damaged frame or replayed request, and nothing after it. A forgery may say anything that a peer
//! may say; it must not end in a panic.

use crate::Seed;
use crate::script::Script;
use crate::sessions::{self, ASKED, End};
use crate::values;
use doorbuster_protocol::frame::{HEADER_BYTES, Header, Kind};
use doorbuster_protocol::session::FeedBatch;
use doorbuster_protocol::{Epoch, Sequence, Timestamp};

/// Frames of one conversation.
const FRAMES_MAX: usize = 12;
const HEADER_CRC_AT: usize = HEADER_BYTES - 4;
const BODY_CRC_AT: usize = HEADER_BYTES - 8;
const BODY_LENGTH_AT: usize = 12;

/// One input: who listens, what is said, what is done to it, how the stream is cut.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let to_server = script.flag();
    let count = 1 + script.below(FRAMES_MAX);
    let frames = match to_server {
        true => from_client(&mut script, count),
        false => from_server(&mut script, count),
    };
    let mut stream: Vec<Sent> = frames.into_iter().map(Sent::whole).collect();
    for _ in 0..script.below(4) {
        tamper(&mut script, &mut stream);
    }
    let bytes: Vec<u8> = stream.iter().flat_map(|sent| sent.bytes.iter().copied()).collect();
    let cuts = script.bytes(8);
    let heard = listener(to_server).hear(&bytes, cuts);
    assert_eq!(heard, listener(to_server).hear(&bytes, &[]), "where it is cut changes nothing");
    if stream.iter().any(|sent| sent.is_forged) {
        return;
    }
    let sound = stream.iter().take_while(|sent| !sent.is_damaged).count();
    let (said, replays) = believed(&stream[..sound], to_server);
    let expected = listener(to_server).hear(&said, &[]);
    assert_eq!(heard.0, expected.0, "what was said before the damage is heard, and no more");
    if sound == stream.len() && !replays {
        assert_eq!(heard.1, None, "nothing is wrong with it");
    } else if replays || !stream[sound].may_look_unfinished {
        assert!(heard.1.is_some(), "a damaged frame is noticed");
    }
}

fn listener(to_server: bool) -> End {
    let ((mut client, _), (server, _)) = sessions::connected();
    if to_server {
        return End::server(server);
    }
    for _ in 0..ASKED {
        client.request(&values::request(&mut Script::new(&[])));
    }
    End::client(client)
}

/// A frame on its way.
#[derive(Clone, Debug)]
struct Sent {
    bytes: Vec<u8>,
    /// Its checksums do not hold any more, or it was cut off.
    is_damaged: bool,
    /// A damaged one whose bytes do not suffice to tell.
    may_look_unfinished: bool,
    is_forged: bool,
}

impl Sent {
    fn whole(bytes: Vec<u8>) -> Self {
        Self { bytes, is_damaged: false, may_look_unfinished: false, is_forged: false }
    }
}

fn tamper(script: &mut Script<'_>, stream: &mut Vec<Sent>) {
    if stream.is_empty() {
        return;
    }
    let at = script.below(stream.len());
    match script.below(6) {
        0 => stream.insert(at, stream[at].clone()),
        1 => {
            let other = script.below(stream.len());
            stream.swap(at, other);
        }
        2 => {
            stream.remove(at);
        }
        3 => {
            // Cut off: nothing comes after it, unless something is swapped or repeated later.
            let sent = &mut stream[at];
            let kept = usize::from(script.short()) % sent.bytes.len();
            sent.bytes.truncate(kept);
            sent.is_damaged = true;
            sent.may_look_unfinished = true;
            stream.truncate(if kept == 0 { at } else { at + 1 });
        }
        4 => {
            let sent = &mut stream[at];
            // Flips that meet would take each other back.
            if !sent.is_damaged && !sent.is_forged {
                let byte = usize::from(script.short()) % sent.bytes.len();
                sent.bytes[byte] ^= 1 << script.below(8);
                sent.is_damaged = true;
            }
        }
        _ => forge(script, &mut stream[at]),
    }
}

/// Changes a byte, and makes the checksums good again.
fn forge(script: &mut Script<'_>, sent: &mut Sent) {
    if sent.bytes.len() < HEADER_BYTES {
        return;
    }
    sent.is_forged = true;
    for _ in 0..=script.below(4) {
        let at = usize::from(script.short()) % sent.bytes.len();
        sent.bytes[at] = script.byte();
    }
    let (header, body) = sent.bytes.split_at_mut(HEADER_BYTES);
    if script.flag() {
        header[BODY_LENGTH_AT..][..4].copy_from_slice(&(body.len() as u32).to_le_bytes());
    }
    header[BODY_CRC_AT..][..4].copy_from_slice(&crc32c::crc32c(body).to_le_bytes());
    let crc = crc32c::crc32c(&header[..HEADER_CRC_AT]);
    header[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
}

/// The sound frames that a listener believes, and whether a replayed request ends them.
fn believed(sound: &[Sent], to_server: bool) -> (Vec<u8>, bool) {
    let (mut said, mut last) = (Vec::new(), 0);
    for sent in sound {
        let header = sent.bytes.first_chunk().expect("a sound frame has a header");
        let header = Header::decode(header).expect("a sound frame");
        if to_server && header.kind == Kind::Requests {
            if header.correlation <= last {
                return (said, true);
            }
            let count = sent.bytes[HEADER_BYTES..].first_chunk().expect("it counts its records");
            last = header.correlation + u64::from(u32::from_le_bytes(*count)) - 1;
        }
        said.extend_from_slice(&sent.bytes);
    }
    (said, false)
}

/// Frames that a client may send once it was welcomed.
pub(crate) fn from_client(script: &mut Script<'_>, count: usize) -> Vec<Vec<u8>> {
    let mut client = sessions::connected().0.0;
    let mut frames = Vec::new();
    for _ in 0..count {
        match script.below(6) {
            0 => {
                let from = Sequence::new(script.long().max(1));
                client.subscribe(values::partition(script), script.byte() % 8, from);
            }
            1 => {
                let (partition, epoch) = (values::partition(script), Epoch::new(script.word()));
                let through = Sequence::new(script.long());
                client.acknowledge(partition, script.byte() % 8, epoch, through);
            }
            2 => client.watch_stock(),
            _ => {
                for _ in 0..=script.below(3) {
                    client.request(&values::request(script));
                }
            }
        }
        frames.push(std::mem::take(client.output()));
    }
    frames
}

/// Frames that a server may send once it has welcomed its client, who has asked [`ASKED`] times.
pub(crate) fn from_server(script: &mut Script<'_>, count: usize) -> Vec<Vec<u8>> {
    let mut server = sessions::connected().1.0;
    let mut frames = Vec::new();
    for _ in 0..count {
        match script.below(6) {
            0 => server.feed_gone(values::partition(script), Sequence::new(script.long())),
            1 => server.goodbye(),
            2 => {
                let levels: Vec<_> = (0..=script.below(3)).map(|_| values::level(script)).collect();
                server.levels(&levels);
            }
            3 => {
                let mut events = Vec::new();
                let count = script.below(4) as u32;
                for _ in 0..count {
                    values::event(script).encode(&mut events);
                }
                server.batch(&FeedBatch {
                    partition: values::partition(script),
                    epoch: Epoch::new(script.word()),
                    first: Sequence::new(u64::from(script.word()) + 1),
                    count,
                    durable: Sequence::new(script.long()),
                    durable_at: Timestamp::from_micros(script.long()),
                    events: &events,
                });
            }
            _ => {
                for _ in 0..=script.below(3) {
                    let correlation = 1 + script.below(ASKED as usize) as u64;
                    server.reply(&values::reply(script, correlation));
                }
            }
        }
        frames.push(std::mem::take(server.output()));
    }
    frames
}

/// Scripts of chance, some short.
pub fn seeds() -> Vec<Seed> {
    crate::scripts_of_chance(0xC0, 24, 300)
}
