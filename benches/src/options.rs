//! What every measurement may be told.

use anyhow::Context;
use clap::Args;
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Rounds; the median counts (some of the longest measurements have three at the most)
    #[arg(long, global = true, value_name = "N", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) rounds: u32,
    /// Seconds of one round (http: of its only one; not of those that end with their work).
    /// Default: each measurement's own
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: Option<u32>,
    /// Orders per second of the open loop
    #[arg(long, global = true, value_name = "N", default_value_t = 10_000)]
    pub(crate) rate: u32,
    /// Buyers of the decisions
    #[arg(long, global = true, value_name = "N", default_value_t = 10_000_000,
          value_parser = clap::value_parser!(u32).range(1_000..=50_000_000))]
    pub(crate) buyers: u32,
    /// Orders that the projector drains in a round into four shards
    #[arg(long, global = true, value_name = "N", default_value_t = 400_000,
          value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub(crate) orders: u64,
    /// Events of the log that is recovered
    #[arg(long, global = true, value_name = "N", default_value_t = 4_000_000,
          value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    pub(crate) events: u64,
    /// Requests in flight over the binary protocol
    #[arg(long, global = true, value_name = "N", default_value_t = 4_096,
          value_parser = clap::value_parser!(u32).range(4..=65_536))]
    pub(crate) in_flight: u32,
    /// Where data directories are made, on the disk to be measured
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// The `doorbuster` to measure. Default: the one beside this program
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) doorbuster: Option<PathBuf>,
    /// Where the results go as JSON. Default: `bench` beside the directory of this program
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) results: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// End with exit code 1 when a goal was missed
    #[arg(long, global = true)]
    pub(crate) strict: bool,
}

impl Options {
    /// A directory of its own, gone when it is dropped.
    pub(crate) fn scratch(&self) -> anyhow::Result<tempfile::TempDir> {
        let made = match &self.directory {
            Some(directory) => tempfile::tempdir_in(directory),
            None => tempfile::tempdir(),
        };
        made.context("a directory for the measurement could not be made (--directory DIR)")
    }

    pub(crate) fn program(&self) -> anyhow::Result<PathBuf> {
        let program = match &self.doorbuster {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("doorbuster"),
        };
        anyhow::ensure!(
            program.is_file(),
            "{} is not there; build it with `cargo build --release`, or use scripts/bench",
            program.display()
        );
        Ok(program)
    }

    /// The directory of the results, made when it is not there.
    pub(crate) fn results(&self) -> anyhow::Result<PathBuf> {
        let directory = match &self.results {
            Some(directory) => directory.clone(),
            None => {
                let program = std::env::current_exe()?;
                let built = program.parent().and_then(|built| built.parent());
                built.context("this program lies in no directory (--results DIR)")?.join("bench")
            }
        };
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("{} cannot be made (--results DIR)", directory.display()))?;
        Ok(directory)
    }
}
