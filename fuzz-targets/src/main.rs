//! `doorbuster-fuzz`: the fuzz targets without libFuzzer, and what their corpora begin with.

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use doorbuster_fuzz_targets::campaign::{self, Length};
use doorbuster_fuzz_targets::{TARGETS, Target, find};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// The fuzz targets on stable Rust.
#[derive(Debug, Parser)]
#[command(name = "doorbuster-fuzz")]
struct Arguments {
    #[command(subcommand)]
    command: Do,
}

#[derive(Debug, Subcommand)]
enum Do {
    /// Print the names of the targets
    List,
    /// Write what the corpora begin with into DIR/TARGET
    Seeds {
        /// Where
        dir: PathBuf,
    },
    /// Write the words of a target as a dictionary of libFuzzer
    Words {
        /// Which target
        target: String,
    },
    /// Run inputs that stand in files
    Replay {
        /// Which target
        target: String,
        /// The inputs
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Run mutations of the committed inputs; prints `inputs seconds`
    Run {
        /// Which target
        target: String,
        /// For how long
        #[arg(long, default_value_t = 20)]
        seconds: u64,
        /// Names the inputs; one of chance otherwise
        #[arg(long)]
        seed: Option<u64>,
    },
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Do::List => TARGETS.iter().for_each(|target| println!("{}", target.name)),
        Do::Seeds { dir } => write_seeds(&dir)?,
        Do::Words { target } => {
            for word in named(&target)?.words {
                let escape = |byte: u8| match byte {
                    b'"' | b'\\' => format!("\\x{byte:02x}"),
                    b' '..=b'~' => char::from(byte).to_string(),
                    _ => format!("\\x{byte:02x}"),
                };
                println!("\"{}\"", word.bytes().map(escape).collect::<String>());
            }
        }
        Do::Replay { target, files } => {
            let target = named(&target)?;
            for file in files {
                let input = fs::read(&file).with_context(|| file.display().to_string())?;
                campaign::replay(target, &file, &input).map_err(|failure| bail_with(&failure))?;
                println!("{} passes", file.display());
            }
        }
        Do::Run { target, seconds, seed } => {
            let target = named(&target)?;
            let corpus: Vec<_> =
                campaign::inputs(target)?.into_iter().map(|(_, bytes)| bytes).collect();
            let seed = seed.unwrap_or_else(|| fastrand::u64(..));
            eprintln!("{}: seed {seed}, {} inputs to begin with", target.name, corpus.len());
            let length = Length::Time(Duration::from_secs(seconds));
            let report = campaign::run(target, &corpus, seed, length);
            let report = report.map_err(|failure| bail_with(&failure))?;
            println!("{} {:.1}", report.inputs, report.time.as_secs_f64());
        }
    }
    Ok(())
}

fn named(name: &str) -> Result<&'static Target> {
    let names = || TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(" ");
    find(name).with_context(|| format!("there is no target {name}; there are: {}", names()))
}

fn bail_with(failure: &campaign::Failure) -> anyhow::Error {
    anyhow::anyhow!("{failure}")
}

fn write_seeds(dir: &std::path::Path) -> Result<()> {
    for target in &TARGETS {
        let dir = dir.join(target.name);
        fs::create_dir_all(&dir)?;
        for (name, bytes) in (target.seeds)() {
            if !campaign::passes(target, &bytes) {
                bail!("the seed {name} of {} fails", target.name);
            }
            fs::write(dir.join(name), bytes)?;
        }
    }
    Ok(())
}
