//! Runs a target over files, or over mutated ones for a time or a number of inputs; keeps the input
//! that fails, and says how to run it again.

use crate::Target;
use crate::mutator::Mutator;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// Past this an input has made its target hang.
const INPUT_TIME_MAX: Duration = Duration::from_secs(30);

/// Where corpora and regressions are: `fuzz/` of this tree.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// Every committed input of a target: its corpus, and what once failed.
pub fn inputs(target: &Target) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for kind in ["corpus", "regressions"] {
        let folder = folder().join(kind).join(target.name);
        if !folder.exists() {
            continue;
        }
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let bytes = fs::read(&path)?;
            inputs.push((path, bytes));
        }
    }
    inputs.sort();
    Ok(inputs)
}

/// An input that failed, and where it is kept now.
#[derive(Debug)]
pub struct Failure {
    target: &'static str,
    kept: PathBuf,
    seed: Option<u64>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (target, kept) = (self.target, self.kept.display());
        writeln!(f, "the target {target} failed; what it says stands above")?;
        if let Some(seed) = self.seed {
            writeln!(f, "  seed:   {seed}")?;
        }
        writeln!(f, "  input:  {kept}")?;
        write!(f, "  replay: cargo run -p doorbuster-fuzz-targets -- replay {target} {kept}")
    }
}

/// Runs one input; says whether it passed. What it panics with is printed.
pub fn passes(target: &Target, input: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_ok()
}

/// How long a campaign goes on.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// So many inputs.
    Inputs(u64),
    /// So long.
    Time(Duration),
}

/// What a campaign came to.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    /// Inputs that were run.
    pub inputs: u64,
    /// How long it took.
    pub time: Duration,
}

/// Runs mutations of `corpus`, until one fails or it is over.
pub fn run(
    target: &'static Target,
    corpus: &[Vec<u8>],
    seed: u64,
    length: Length,
) -> Result<Report, Failure> {
    let started = Instant::now();
    let watch = Watch::new(target);
    let mut mutator = Mutator::new(corpus, target.words, seed);
    let mut inputs = 0;
    let goes_on = |inputs: u64| match length {
        Length::Inputs(count) => inputs < count,
        Length::Time(time) => started.elapsed() < time,
    };
    while goes_on(inputs) {
        let input = mutator.next_input();
        watch.begins(&input);
        let passed = passes(target, &input);
        watch.ends();
        if !passed {
            return Err(Failure {
                target: target.name,
                kept: keep(target, &input),
                seed: Some(seed),
            });
        }
        inputs += 1;
    }
    Ok(Report { inputs, time: started.elapsed() })
}

/// Runs an input that stands in a file.
pub fn replay(target: &'static Target, file: &Path, input: &[u8]) -> Result<(), Failure> {
    let watch = Watch::new(target);
    watch.begins(input);
    let passed = passes(target, input);
    watch.ends();
    match passed {
        true => Ok(()),
        false => Err(Failure { target: target.name, kept: file.to_owned(), seed: None }),
    }
}

/// Writes an input where it outlives this run.
fn keep(target: &Target, input: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fuzz-failures");
    let name = format!("{}-{:016x}", target.name, xxhash_rust::xxh3::xxh3_64(input));
    let file = folder.join(name);
    let kept = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, input));
    kept.unwrap_or_else(|error| panic!("{} cannot be written: {error}", file.display()));
    file.canonicalize().unwrap_or(file)
}

/// The input that runs, and since when.
type Running = Option<(Instant, Vec<u8>)>;

/// Ends the process when an input takes too long: a hang cannot be caught otherwise.
struct Watch {
    running: Arc<Mutex<Running>>,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Watch {
    fn new(target: &'static Target) -> Self {
        let running = Arc::new(Mutex::<Running>::new(None));
        let is_over = Arc::new(AtomicBool::new(false));
        let (seen, ended) = (Arc::clone(&running), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Acquire) {
                thread::park_timeout(Duration::from_secs(1));
                let running = seen.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((since, input)) = &*running
                    && since.elapsed() > INPUT_TIME_MAX
                {
                    let failure =
                        Failure { target: target.name, kept: keep(target, input), seed: None };
                    eprintln!("an input runs for more than {INPUT_TIME_MAX:?}: {failure}");
                    std::process::abort();
                }
            }
        });
        Self { running, is_over, thread: Some(thread) }
    }

    fn begins(&self, input: &[u8]) {
        self.set(Some((Instant::now(), input.to_vec())));
    }

    fn ends(&self) {
        self.set(None);
    }

    fn set(&self, running: Running) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = running;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only sleeps and looks.
            let _ = thread.join();
        }
    }
}
