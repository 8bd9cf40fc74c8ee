//! What runs came to: one, and many together.

use crate::dials::{Dials, Group};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything held.
    Sound,
    /// Something did not hold, or a panic said so.
    Broken {
        /// What.
        why: String,
        /// The last lines of the trace.
        trace: Vec<String>,
    },
}

/// One run.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Its seed.
    pub seed: u64,
    /// The hash of its trace.
    pub hash: u64,
    /// Lines of its trace.
    pub lines: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// What was counted: operations, events, each kind of fault.
    pub counts: BTreeMap<&'static str, u64>,
    /// How it ended.
    pub verdict: Verdict,
}

/// Many runs together.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs that held.
    pub sound: u64,
    /// Runs that did not hold.
    pub broken: Vec<RunReport>,
    /// Simulated time.
    pub simulated: Duration,
    /// What was counted, in all.
    pub counts: BTreeMap<&'static str, u64>,
    /// In how many runs it was counted at all.
    pub runs_with: BTreeMap<&'static str, u64>,
    /// The hashes of all traces, in whatever order they came.
    pub hash: u64,
}

impl Summary {
    /// Adds a run.
    pub fn add(&mut self, run: RunReport) {
        self.simulated += run.simulated;
        self.hash ^= run.hash.rotate_left((run.seed % 64) as u32);
        for (name, count) in &run.counts {
            *self.counts.entry(name).or_default() += count;
            *self.runs_with.entry(name).or_default() += u64::from(*count > 0);
        }
        match run.verdict {
            Verdict::Sound => self.sound += 1,
            Verdict::Broken { .. } => self.broken.push(run),
        }
    }
    /// How many runs there were.
    pub fn runs(&self) -> u64 {
        self.sound + self.broken.len() as u64
    }

    /// As text: what was run, what happened in it, how fast.
    pub fn text(&self, took: Duration) -> String {
        let seconds = took.as_secs_f64().max(0.001);
        let hours = self.simulated.as_secs_f64() / 3600.0;
        let mut text = format!(
            "{} seeds in {seconds:.1} s: {} sound, {} broken\n\
             simulated {hours:.1} hours: {:.3} simulated hours, {:.0} events and {:.0} operations \
             per second\nhash of all traces {:016x}\n\
             {:<48} {:>10} {:>9}\n",
            self.runs(),
            self.sound,
            self.broken.len(),
            hours / seconds,
            self.count("events") as f64 / seconds,
            self.count("operations") as f64 / seconds,
            self.hash,
            "",
            "times",
            "in seeds",
        );
        for (name, count) in &self.counts {
            text.push_str(&format!("  {name:<46} {count:>10} {:>9}\n", self.runs_with(name)));
        }
        text
    }

    /// How often something was counted, in all.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }
    /// In how many runs something was counted at all.
    pub fn runs_with(&self, name: &str) -> u64 {
        self.runs_with.get(name).copied().unwrap_or_default()
    }
}

/// The report of a run that did not hold: what, with which faults, and how to see it again.
pub struct Broken<'a> {
    /// The run.
    pub run: &'a RunReport,
    /// Its dials, reduced to what it needs to fail.
    pub dials: &'a Dials,
    /// Groups of faults without which it fails all the same.
    pub without: &'a [Group],
    /// Operations that are enough.
    pub operations: u64,
}

impl fmt::Display for Broken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict::Broken { why, trace } = &self.run.verdict else { return Ok(()) };
        writeln!(f, "seed {} is broken after {:?}: {why}", self.run.seed, self.run.simulated)?;
        for line in trace {
            writeln!(f, "  {line}")?;
        }
        let needed = |group: &Group| !self.dials.is_quiet(*group);
        let needed: Vec<&str> = Group::ALL.into_iter().filter(needed).map(Group::name).collect();
        writeln!(f, "faults that it needs: {}", list(&needed))?;
        for group in Group::ALL.into_iter().filter(|group| !self.dials.is_quiet(*group)) {
            match group {
                Group::Disk => writeln!(f, "  {:?}", self.dials.disk)?,
                Group::Network => writeln!(f, "  {:?}", self.dials.network)?,
                Group::Clock => writeln!(f, "  {:?}", self.dials.clock)?,
                Group::Process => writeln!(f, "  {:?}", self.dials.process)?,
                Group::Store => writeln!(f, "  {:?}", self.dials.store)?,
            }
        }
        writeln!(f, "  {:?}", self.dials.size)?;
        write!(f, "again: doorbuster-sim --seed {} --trace", self.run.seed)?;
        write!(f, " --operations {}", self.operations)?;
        for group in self.without {
            write!(f, " --without {}", group.name())?;
        }
        Ok(())
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
