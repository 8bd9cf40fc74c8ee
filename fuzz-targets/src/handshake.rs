//! A handshake with somebody in between who flips bits, forges frames, replays another exchange or
//! cuts a flight off; and with a server that knows the key and sends any map.
//!
//! A server opens for a proof over what it has heard and said, a client for one over what it has
//! said and heard, computed here a second time; without either's key nobody opens. What nobody
//! touched opens both.

use crate::Seed;
use crate::script::Script;
use crate::sessions::{CLIENT_NONCE, KEY, SERVER_NONCE, map};
use doorbuster_protocol::frame::{HEADER_BYTES, Kind, OpenFrame};
use doorbuster_protocol::handshake::PreSharedKey;
use doorbuster_protocol::session::{ClientSession, ServerSession};
use doorbuster_protocol::{Epoch, PartitionId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::sync::LazyLock;

const OTHER_KEY: [u8; 32] = [9; 32];
const CLIENT_LABEL: &[u8; 24] = b"doorbuster/1 client\0\0\0\0\0";
const SERVER_LABEL: &[u8; 24] = b"doorbuster/1 server\0\0\0\0\0";
const PROOF_BYTES: usize = 32;

/// The flights of an exchange of the same two with other nonces: hello, challenge, proof, welcome.
static RECORDED: LazyLock<[Vec<u8>; 4]> = LazyLock::new(|| {
    let mut client = ClientSession::new(&KEY, [7; 32]);
    let mut server = ServerSession::new(&KEY, [8; 32], map());
    let hello = std::mem::take(client.output());
    let challenge = serve(&mut server, &hello);
    let proof = listen(&mut client, &challenge);
    let welcome = serve(&mut server, &proof);
    [hello, challenge, proof, welcome]
});

/// One input: who has which key, and what happens to each flight.
pub fn run(input: &[u8]) {
    let mut script = Script::new(input);
    let knows = !script.flag();
    let server_key = if knows { [1; 32] } else { OTHER_KEY };
    let mut client = ClientSession::new(&KEY, CLIENT_NONCE);
    let mut server = ServerSession::new(&PreSharedKey::new(server_key), SERVER_NONCE, map());

    let hello = std::mem::take(client.output());
    let (hello_heard, is_same_hello) = meddle(&mut script, &hello, Kind::Hello, 0);
    let challenge = serve(&mut server, &hello_heard);
    let (challenge_heard, is_same_challenge) = meddle(&mut script, &challenge, Kind::Challenge, 1);
    let proof = listen(&mut client, &challenge_heard);
    let (proof_heard, is_same_proof) = meddle(&mut script, &proof, Kind::Proof, 2);
    let welcome = serve(&mut server, &proof_heard);
    let (mut welcome_heard, mut is_same_welcome) = meddle(&mut script, &welcome, Kind::Welcome, 3);
    if script.byte() == 1 {
        // A server that knows the key of this client, whatever it may say of partitions.
        let map = script.rest();
        let said = [SERVER_LABEL.as_slice(), body(&hello), body(&challenge_heard), map];
        let mut signed = mac(&[1; 32], &said).to_vec();
        signed.extend_from_slice(map);
        welcome_heard = frame(Kind::Welcome, &signed).unwrap_or_default();
        is_same_welcome = false;
    }
    listen(&mut client, &welcome_heard);

    // Who guesses what will be asked answers before that: both frames may stand in the first flight.
    if server.is_open() {
        let heard = [hello_heard.as_slice(), &proof_heard].concat();
        let said = [CLIENT_LABEL.as_slice(), body(&heard), body(&challenge)];
        assert_eq!(body(second(&heard)), mac(&server_key, &said), "a server wants a proof");
    }
    if let Some(map) = client.map() {
        let heard = [challenge_heard.as_slice(), &welcome_heard].concat();
        let (proof, bytes) = body(second(&heard)).split_at(PROOF_BYTES);
        let said = [SERVER_LABEL.as_slice(), body(&hello), body(&challenge_heard), bytes];
        assert_eq!(proof, mac(&[1; 32], &said), "a client wants a proof");
        assert_eq!(map.check(), Ok(()), "a map that is believed fits itself");
    }
    let is_same = is_same_hello && is_same_challenge && is_same_proof;
    if is_same {
        assert_eq!(server.is_open(), knows, "who has the key is let in, and nobody else");
    }
    if is_same && is_same_welcome {
        assert_eq!(client.map(), knows.then(map).as_ref());
    }
}

/// What arrives of a flight, and whether it is what was sent.
fn meddle(script: &mut Script<'_>, sent: &[u8], kind: Kind, place: usize) -> (Vec<u8>, bool) {
    let mut heard = sent.to_vec();
    match script.below(8) {
        1 if !sent.is_empty() => heard[script.below(sent.len())] ^= 1 << script.below(8),
        2 => heard = frame(kind, script.bytes(255)).unwrap_or_default(),
        3 => heard.clone_from(&RECORDED[place]),
        4 if !sent.is_empty() => heard.truncate(script.below(sent.len())),
        5 => heard = script.bytes(255).to_vec(),
        6 => {
            // The body of the frame with some bytes changed, and checksums that hold.
            let mut body = body(sent).to_vec();
            for _ in 0..=script.below(3) {
                if !body.is_empty() {
                    let at = script.below(body.len());
                    body[at] = script.byte();
                }
            }
            heard = frame(kind, &body).unwrap_or_default();
        }
        7 => heard.extend_from_slice(script.bytes(64)),
        _ => {}
    }
    let is_same = heard == sent;
    (heard, is_same)
}

/// A frame with checksums that hold; `None` when no frame of its kind has this body.
fn frame(kind: Kind, body: &[u8]) -> Option<Vec<u8>> {
    let (least, most) = kind.body_bytes();
    if !(least as usize..=most as usize).contains(&body.len()) {
        return None;
    }
    let mut out = Vec::new();
    let partition = kind.has_partition().then_some(PartitionId::new(0)).flatten();
    let open = OpenFrame::new(&mut out, kind, partition, Epoch::NONE, 0);
    out.extend_from_slice(body);
    open.close(&mut out);
    Some(out)
}

/// The body of the first frame of a flight.
fn body(flight: &[u8]) -> &[u8] {
    let length = flight.get(12..16).and_then(<[u8]>::first_chunk);
    let length = length.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize);
    flight.get(HEADER_BYTES..HEADER_BYTES.saturating_add(length)).unwrap_or(&[])
}

/// What follows the first frame.
fn second(heard: &[u8]) -> &[u8] {
    &heard[HEADER_BYTES + body(heard).len()..]
}

fn serve(server: &mut ServerSession, flight: &[u8]) -> Vec<u8> {
    server.receive(flight);
    while let Ok(Some(_)) = server.poll() {}
    std::mem::take(server.output())
}

fn listen(client: &mut ClientSession, flight: &[u8]) -> Vec<u8> {
    client.receive(flight);
    while let Ok(Some(_)) = client.poll() {}
    std::mem::take(client.output())
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Every way to meddle with every flight, and maps.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = vec![("untouched".into(), vec![0]), ("stranger".into(), vec![1])];
    for flight in 0..4 {
        for way in 1..8_u8 {
            let mut script = vec![0; 1 + flight];
            script.extend([way, 40, 40, 3]);
            script.extend([7; 40]);
            seeds.push((format!("flight-{flight}-{way}"), script));
        }
    }
    let welcome = &RECORDED[3];
    let map = &welcome[HEADER_BYTES + PROOF_BYTES..];
    seeds.push(("insider".into(), [&[0, 0, 0, 0, 0, 1], map].concat()));
    seeds
}
