//! How many instructions the core takes for an order, held against a committed baseline.
//!
//! Times drift on a shared machine; instructions do not. Each case is run twice under callgrind, with
//! so many orders and with twice as many, and the difference counts: what is done once is not in it.
//! Nothing here asks for time, chance or a seed of the process, so the counts are the same in every
//! run, and on every machine with the same toolchain and instruction set. Other code of the same
//! crate may move them by a few percent, as something is inlined that was not before. CI runs it.
//!
//! ```text
//! cargo bench -p doorbuster-engine --bench instructions               compare
//! cargo bench -p doorbuster-engine --bench instructions -- --renew    write the baseline anew
//! ```
//!
//! More than 5 % above the baseline fails: find out why, and if it is worth it, renew the baseline in
//! the same commit, which says so. Well below is said, too, so that what was won is not lost again.
//! The baseline names its toolchain. With another one code comes out differently, so only more than
//! 15 % fails, and it is said that the baseline is to be renewed; on another instruction set nothing
//! is compared. To see where instructions go: `callgrind_annotate` on what callgrind writes when
//! this program is run under it with `work CASE ORDERS`.

use doorbuster_engine::log::LogIdentity;
use doorbuster_engine::log::frame::{HEADER_BYTES, Header, Parsed, encode, frame_bytes};
use doorbuster_engine::state_machine::{State, apply, decide};
use doorbuster_protocol::command::{Define, Place};
use doorbuster_protocol::event::{Event, Events};
use doorbuster_protocol::{BuyerId, Command, Epoch, IdempotencyKey, PartitionId, ProductId};
use doorbuster_protocol::{Quantity, Sequence, Timestamp};
use std::hint::black_box;
use std::process::{self, ExitCode};

// As in the product: an allocation is a part of the work.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
const RENEWAL: &str = "cargo bench -p doorbuster-engine --bench instructions -- --renew";
/// Orders of a run; another run has twice as many.
const ORDERS: u64 = 16_384;
/// Orders of a batch.
const BATCH: usize = 256;
/// How far above the baseline a count may be, with its toolchain and with another.
const ABOVE_MAX: f64 = 1.05;
const ABOVE_MAX_ELSEWHERE: f64 = 1.15;
/// Below this much of the baseline it should be renewed.
const BELOW: f64 = 0.95;
const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
/// The plainest copies of the C library, whatever the machine has.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-ERMS,-FSRM";

/// A case: its name in the baseline, and what is done for so many orders.
type Case = (&'static str, fn(u64));

/// Each needs what the one before it makes, so it does that, too, and the difference counts.
const CASES: [Case; 3] = [
    ("decide-and-apply", |orders| drop(events(orders))),
    ("encode-event-and-frame", |orders| drop(frames(&events(orders)))),
    ("decode-frame", |orders| decode(&frames(&events(orders)))),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["work", name, orders] = words[..] {
        let (_, work) = CASES.iter().find(|(case, _)| *case == name).expect("a case");
        work(orders.parse().expect("a number of orders"));
        return ExitCode::SUCCESS;
    }
    let done = match words.contains(&"--renew") {
        true => renew(),
        false => compare(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("instructions: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Numbers that look like any others, the same every time: splitmix64.
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn bytes_of(number: u64) -> [u8; 16] {
    (u128::from(mixed(2 * number)) << 64 | u128::from(mixed(2 * number + 1))).to_be_bytes()
}

/// The events of so many orders, each of another buyer, under a key of its own.
fn events(orders: u64) -> Vec<Event> {
    let product = ProductId::parse("bench").expect("a name");
    let mut state = State::new(PartitionId::new(0).expect("in range"));
    let define = Command::Define(Define {
        price: Some(1_999),
        stock: Some(u32::try_from(orders).expect("few orders")),
        limit_per_buyer: Some(1),
        ..Define::new(product)
    });
    let defined = decide(&state, &define, START).event.expect("a new product is an event");
    apply(&mut state, &defined);
    let mut events = Vec::with_capacity(orders as usize);
    for number in 0..orders {
        let place = Command::Place(Place {
            product,
            buyer: BuyerId::from_bytes(bytes_of(2 * number + 2)),
            key: IdempotencyKey::from_bytes(bytes_of(2 * number + 3)),
            quantity: Quantity::ONE,
            waitlist: false,
        });
        let now = START.plus_micros(number / BATCH as u64);
        let event = decide(&state, &place, now).event.expect("it is in stock");
        apply(&mut state, &event);
        events.push(event);
    }
    black_box(&state);
    events
}

/// Frames of a log, batch after batch.
fn frames(events: &[Event]) -> Vec<Vec<u8>> {
    let identity = LogIdentity {
        directory: 7,
        partition: PartitionId::new(0).expect("in range"),
        epoch: Epoch::FIRST,
    };
    let (mut previous, mut first, mut body) = (0, Sequence::new(1), Vec::new());
    let mut frames = Vec::new();
    for batch in events.chunks(BATCH) {
        body.clear();
        batch.iter().for_each(|event| event.encode(&mut body));
        let mut frame = vec![0; frame_bytes(body.len()) as usize];
        let count = batch.len() as u32;
        previous = encode(&mut frame, &identity, first, count, &body, previous);
        first = first.plus(u64::from(count));
        frames.push(frame);
    }
    black_box(frames)
}

/// What recovery does with a frame before it applies its events.
fn decode(frames: &[Vec<u8>]) {
    for frame in frames {
        let Parsed::Header(header) = Header::parse(frame) else { panic!("a header was written") };
        let rest = &frame[HEADER_BYTES..];
        assert!(header.matches_body(rest), "the body is as it was written");
        let body = &rest[..header.body_length as usize];
        for event in Events::new(body, header.first, header.count) {
            black_box(event.expect("an event was written"));
        }
    }
}

/// Writes the baseline.
fn renew() -> Result<(), String> {
    let mut text = format!("{}\n", toolchain()?);
    for (name, count) in counts()? {
        text += &format!("{name} {count}\n");
    }
    print!("{text}");
    std::fs::write(BASELINE, text).map_err(|error| format!("{BASELINE}: {error}"))
}

/// Compares all cases with the baseline.
fn compare() -> Result<(), String> {
    let text = std::fs::read_to_string(BASELINE).map_err(|e| format!("{BASELINE}: {e}"))?;
    let (theirs, expected) = text.split_once('\n').unwrap_or_default();
    let ours = toolchain()?;
    if theirs.rsplit(' ').next() != ours.rsplit(' ').next() {
        println!("not compared: the baseline is of {theirs}, and this is {ours}");
        return Ok(());
    }
    let is_same = theirs == ours;
    let above_max = if is_same { ABOVE_MAX } else { ABOVE_MAX_ELSEWHERE };
    let percent = (above_max - 1.0) * 100.0;
    if !is_same {
        println!(
            "the baseline is of {theirs}, and this is {ours}: up to {percent:.0} % more is let \
             pass. Renew it: {RENEWAL}"
        );
    }
    let mut above = Vec::new();
    for (name, count) in counts()? {
        let line = expected.lines().find_map(|line| line.strip_prefix(name));
        let Some(expected) = line.and_then(|line| line.trim().parse::<f64>().ok()) else {
            return Err(format!("{BASELINE} has no {name}. Renew it: {RENEWAL}"));
        };
        let ratio = count as f64 / expected;
        println!("{name:24} {count:>7} instructions an order, {ratio:.3} of the baseline");
        if ratio > above_max {
            above.push(name);
        } else if ratio < BELOW && is_same {
            println!("{name:24} is well below it: renew it, so that it stays there: {RENEWAL}");
        }
    }
    if above.is_empty() {
        return Ok(());
    }
    Err(format!(
        "over {percent:.0} % more than {BASELINE} has: {}. Find out why; if it is worth it, renew \
         that file in the same commit and say so: {RENEWAL}",
        above.join(", "),
    ))
}

/// Instructions of an order, by case.
fn counts() -> Result<Vec<(&'static str, u64)>, String> {
    let (mut counts, mut before) = (Vec::new(), 0);
    for (name, _) in CASES {
        let whole = (run(name, 2 * ORDERS)?.saturating_sub(run(name, ORDERS)?)) / ORDERS;
        counts.push((name, whole.saturating_sub(before)));
        before = whole;
    }
    Ok(counts)
}

/// Compiler and instruction set, as the first line of the baseline has them.
fn toolchain() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = process::Command::new(rustc).arg("--version").output();
    let output = output.map_err(|error| format!("rustc does not run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split(' ').nth(1).unwrap_or("unknown");
    Ok(format!("rustc {version} {}", std::env::consts::ARCH))
}

/// Instructions of one run of a case.
fn run(name: &str, orders: u64) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = process::Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(own)
        .args(["work", name, &orders.to_string()])
        .env("GLIBC_TUNABLES", TUNABLES)
        .output()
        .map_err(|error| {
            format!("valgrind does not run ({error}). Install it: sudo apt-get install valgrind")
        })?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.filter(|_| output.status.success()).ok_or_else(|| format!("valgrind says:\n{text}"))
}
