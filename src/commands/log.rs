//! `log verify | stats | dump | tail`: looks into the logs of a data directory. Read-only, also
//! beside a live engine.

use crate::audit::log_failure;
use crate::cli::{Log, LogDump, LogSelection, LogTail};
use crate::config;
use crate::event_lines;
use crate::exit::{Exit, Failure};
use crate::roles::engine::directory_failure;
use doorbuster_engine::directory::DataDirectory;
use doorbuster_engine::log::LogError;
use doorbuster_engine::log::inspect::{Inspector, LoggedEvent, PartitionReport};
use doorbuster_loadgen::units::number as grouped;
use doorbuster_protocol::{PartitionId, Sequence};
use serde_json::{Value, json};
use std::fmt::Write;
use std::thread;
use std::time::Duration;

/// How often a tail looks for new events when there are none.
const TAIL_PAUSE: Duration = Duration::from_millis(100);

/// Runs one of them.
pub(crate) fn run(command: Log) -> Result<Exit, Failure> {
    match command {
        Log::Verify(selection) => verify(&selection, false),
        Log::Stats(selection) => verify(&selection, true),
        Log::Dump(arguments) => dump(&arguments),
        Log::Tail(arguments) => tail(&arguments),
    }
}

fn open(selection: &LogSelection) -> Result<(DataDirectory, Vec<PartitionId>), Failure> {
    let config = config::load(&selection.settings.0)?;
    let directory =
        DataDirectory::open_read_only(&config.data).map_err(|error| directory_failure(&error))?;
    let count = directory.partitions();
    let partitions: Vec<_> = match selection.partition {
        None => count.all().collect(),
        Some(number) => count.all().filter(|partition| partition.get() == number).collect(),
    };
    if partitions.is_empty() {
        return Err(Failure::new(Exit::Usage, "there is no such partition")
            .why(format!("the data directory has the partitions 0 to {}", count.get() - 1))
            .next("leave out --partition to look at all of them"));
    }
    Ok((directory, partitions))
}

/// Every partition is looked at, also after a damaged one; then the first damage is the failure.
fn verify(selection: &LogSelection, with_sizes: bool) -> Result<Exit, Failure> {
    let (directory, partitions) = open(selection)?;
    let (mut sound, mut damaged) = (Vec::new(), Vec::new());
    for partition in &partitions {
        match Inspector::new(&directory, *partition).verify() {
            Ok(report) => sound.push(report),
            Err(error) => damaged.push((*partition, error)),
        }
    }
    if selection.json {
        super::print(&format!("{:#}\n", verification_json(&sound, &damaged)))?;
    } else {
        super::print(&verification_text(&sound, damaged.len(), with_sizes))?;
    }
    let mut failures = damaged.iter().map(|(partition, error)| log_failure(*partition, error));
    let Some(first) = failures.next() else { return Ok(Exit::Success) };
    for failure in failures {
        eprintln!("{failure}");
    }
    Err(first)
}

/// One number for all partitions: it changes when any digest or their order does.
fn digest_of(reports: &[PartitionReport]) -> u64 {
    reports.iter().fold(0, |all, report| {
        // The multiplier of splitmix64 spreads each digest over all bits of the next.
        (all ^ report.digest).rotate_left(23).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    })
}

fn verification_text(reports: &[PartitionReport], damaged: usize, with_sizes: bool) -> String {
    let mut text = String::from("partition  segments  snapshots       events  last sequence");
    text.push_str(if with_sizes {
        "         bytes     frames  events/frame  most  bytes/event  end\n"
    } else {
        "  digest\n"
    });
    for it in reports {
        let _ = write!(
            text,
            "{:>9}  {:>8}  {:>9}  {:>11}  {:>13}",
            it.partition,
            it.segments,
            it.snapshots,
            grouped(it.events),
            grouped(it.last.get()),
        );
        let ratio = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let _ = match with_sizes {
            true => writeln!(
                text,
                "  {:>12}  {:>9}  {:>12.1}  {:>4}  {:>11.1}  {}",
                grouped(it.bytes),
                grouped(it.frames),
                ratio(it.events, it.frames),
                it.frame_events_max,
                ratio(it.event_bytes, it.events),
                if it.is_sealed { "sealed" } else { "open" },
            ),
            false => writeln!(text, "  {:016x}", it.digest),
        };
    }
    let sum = |of: fn(&PartitionReport) -> u64| reports.iter().map(of).sum::<u64>();
    let _ = writeln!(
        text,
        "\n{} partitions, {} segments, {} events, last sequence {}, digest {:016x}: {}",
        reports.len(),
        sum(|it| u64::from(it.segments)),
        grouped(sum(|it| it.events)),
        grouped(reports.iter().map(|it| it.last.get()).max().unwrap_or(0)),
        digest_of(reports),
        match damaged {
            0 => "sound".to_owned(),
            count => format!("sound, and {count} DAMAGED"),
        },
    );
    for it in reports {
        if let Some(tail) = &it.tail {
            let _ = writeln!(
                text,
                "note: {} at offset {}: a write of event {} on was cut off or is in the works; \
                 nothing of it was acknowledged, and the next start removes it",
                tail.file.display(),
                tail.offset,
                tail.sequence
            );
        }
    }
    text
}

fn verification_json(sound: &[PartitionReport], damaged: &[(PartitionId, LogError)]) -> Value {
    let partitions: Vec<_> = sound
        .iter()
        .map(|it| {
            json!({
                "partition": it.partition.get(),
                "segments": it.segments,
                "snapshots": it.snapshots,
                "bytes": it.bytes,
                "frames": it.frames,
                "events": it.events,
                "eventBytes": it.event_bytes,
                "frameEventsMax": it.frame_events_max,
                "firstSequence": it.first.get(),
                "lastSequence": it.last.get(),
                "digest": format!("{:016x}", it.digest),
                "sealed": it.is_sealed,
                "tornTail": it.tail.as_ref().map(|tail| json!({
                    "file": tail.file,
                    "offset": tail.offset,
                    "sequence": tail.sequence.get(),
                })),
            })
        })
        .collect();
    let damages: Vec<_> = damaged
        .iter()
        .map(|(partition, error)| match error {
            LogError::Damaged { file, offset, sequence, kind } => json!({
                "partition": partition.get(),
                "file": file,
                "offset": offset,
                "sequence": sequence.get(),
                "kind": kind.to_string(),
            }),
            other => json!({ "partition": partition.get(), "kind": other.to_string() }),
        })
        .collect();
    json!({
        "sound": damaged.is_empty(),
        "digest": format!("{:016x}", digest_of(sound)),
        "events": sound.iter().map(|it| it.events).sum::<u64>(),
        "partitions": partitions,
        "damages": damages,
    })
}

fn line(json: bool, partition: PartitionId, logged: &LoggedEvent) -> String {
    match json {
        true => format!("{}\n", event_lines::json(partition, logged)),
        false => format!("{}\n", event_lines::text(partition, logged)),
    }
}

fn dump(arguments: &LogDump) -> Result<Exit, Failure> {
    let (directory, partitions) = open(&arguments.selection)?;
    let limit = usize::try_from(arguments.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
    for partition in partitions {
        let failure = |error| log_failure(partition, &error);
        let inspector = Inspector::new(&directory, partition);
        let events = inspector.events(Sequence::new(arguments.from));
        for logged in events.take(limit) {
            let logged = logged.map_err(failure)?;
            super::print(&line(arguments.selection.json, partition, &logged))?;
        }
        // Beside a live engine the end of what can be read is no damage; in the middle of a log it
        // is, and a dump that stops there must not look whole.
        if arguments.limit.is_none() {
            inspector.verify().map_err(failure)?;
        }
    }
    Ok(Exit::Success)
}

fn tail(arguments: &LogTail) -> Result<Exit, Failure> {
    let (directory, partitions) = open(&arguments.selection)?;
    let mut tails = Vec::new();
    for partition in partitions {
        let inspector = Inspector::new(&directory, partition);
        let last = inspector.verify().map_err(|error| log_failure(partition, &error))?.last;
        let from = last.get().saturating_sub(arguments.lines) + 1;
        tails.push((partition, inspector.tail(Sequence::new(from))));
    }
    loop {
        let mut is_quiet = true;
        for (partition, tail) in &mut tails {
            let events = tail.poll().map_err(|error| log_failure(*partition, &error))?;
            is_quiet &= events.is_empty();
            for logged in &events {
                super::print(&line(arguments.selection.json, *partition, logged))?;
            }
        }
        if is_quiet {
            if arguments.once {
                return Ok(Exit::Success);
            }
            thread::sleep(TAIL_PAUSE);
        }
    }
}
