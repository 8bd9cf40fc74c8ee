//! The command line: a load, or what can be made of the results of earlier ones.

mod load;

pub(crate) use load::Load;

use clap::{Parser, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  # 200 000 buyers, as fast as 64 connections go, against a server with its data in ./data
  doorbuster-loadgen --data ./data --product demo --buyers 200k

  # 10 000 orders a second for 30 s, latency counted from the intended send time
  doorbuster-loadgen --data ./data --product demo --rate 10k --duration 30s

  # a rush: a minute of calm, a ramp of 10 s to 20 000/s, which stay for 30 s, and calm again
  doorbuster-loadgen --data ./data --product demo --buyers 1m \\
      --stages '1m:500,10s:500..20k,30s:20k,1m:500' --html rush.html

  # for a pipeline: 5 s to warm up, then it must be fast, or the exit code is 99
  doorbuster-loadgen --data ./data --rate 5k --duration 30s --warm-up 5s \\
      --slo 'p99<10ms' --slo 'accepted.p99.9<50ms' --slo 'errors<0.1%' --out today.json

  # what it found, as a page; and whether it became worse since yesterday
  doorbuster-loadgen report today.json --html today.html
  doorbuster-loadgen compare yesterday.json today.json --tolerance 5%

  # a sale of its own: 1000 units, a waitlist, winners that pay, cancel or do neither
  doorbuster-loadgen --data ./data --product lamp --stock 1000 --waitlist-capacity 5000 \\
      --waitlist --follow-queued --buyers 50k --pay 0.6 --cancel 0.3

  # a shop of 10 000 products, a few of which nearly everybody wants
  doorbuster-loadgen --data ./data --products 10k --zipf 1.1 --rate 5k --duration 30s

  # a sale over the binary protocol, 4096 in flight
  doorbuster-loadgen --engine 127.0.0.1:7400 --data ./data --connections 4096 --buyers 1m

  # while somebody kills the server: wait for it, ask again, write down what it was told
  doorbuster-loadgen --data ./data --rate 2k --duration 60s --tolerate-disconnects \\
      --retries 20 --duplicates 0.1 --journal journal.jsonl

Exit codes:
  0  everything was answered, no two answers disagree, and every --slo is met
  1  errors, violations, or an early end; with --tolerate-disconnects, what a server that was
     killed explains does not count; with an --slo about errors, that one judges them
  2  misuse: a command line or a target that cannot be meant
  99 an --slo was missed, and nothing else was wrong (1 goes before 99); or, of `compare`,
     something became worse

Numbers take k and m (10k, 1m), times take ms, s, m and h (500ms, 30s).";

/// Loads a Doorbuster server: open or closed loop, over HTTP or the binary protocol.
#[derive(Debug, Parser)]
#[command(
    name = "doorbuster-loadgen",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_value_name = "COMMAND",
    disable_help_subcommand = true
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) load: Load,
}

/// What is done instead of a load.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows a result that --out wrote: as text, or as a page
    Report {
        /// The result
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Write a page with charts to this file; it needs nothing else
        #[arg(long, value_name = "OUT.html")]
        html: Option<PathBuf>,
    },
    /// Shows two results beside each other, and whether the second is worse
    Compare {
        /// The result to compare with
        #[arg(value_name = "BEFORE")]
        before: PathBuf,
        /// The result to judge
        #[arg(value_name = "AFTER")]
        after: PathBuf,
        /// How much worse a figure may be; beyond that, the exit code is 99
        #[arg(long, value_name = "SHARE%", default_value = "5%", value_parser = parse_percent)]
        tolerance: f64,
        /// Write a page to this file
        #[arg(long, value_name = "OUT.html")]
        html: Option<PathBuf>,
    },
}

/// A share in percent, such as `5%`.
fn parse_percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').and_then(|text| text.trim().parse::<f64>().ok());
    let share = number.map(|percent| percent / 100.0).filter(|share| (0.0..=100.0).contains(share));
    share.ok_or_else(|| "write a share in percent, such as 5%".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_command_stands_in_place_of_a_load() {
        let parse = |line: &str| Arguments::try_parse_from(line.split_whitespace());
        let report = parse("loadgen report a.json --html a.html").expect("a command");
        assert!(matches!(report.command, Some(Command::Report { .. })), "{report:?}");
        assert!(parse("loadgen http://127.0.0.1:1").expect("a load").command.is_none());
        assert!(parse("loadgen --rate 5 report a.json").is_err(), "both are none");
        assert!(parse("loadgen report").is_err(), "the file is missing");
        let compare = parse("loadgen compare a.json b.json --tolerance 2.5%").expect("a command");
        let Some(Command::Compare { tolerance, .. }) = compare.command else { panic!("another") };
        assert!((tolerance - 0.025).abs() < 1e-12);
        for wrong in ["5", "x%", "-1%", "NaN%"] {
            let line = format!("loadgen compare a.json b.json --tolerance={wrong}");
            assert!(parse(&line).is_err(), "{wrong}");
        }
    }
}
