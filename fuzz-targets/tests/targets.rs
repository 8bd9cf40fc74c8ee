//! Every fuzz target on stable Rust: the committed inputs, and mutations of them.
//!
//! Without a time each takes a fixed number of mutations, the same every time. `scripts/test` gives a
//! time: other inputs in each run (the seed is printed, and an input that fails is kept).
//!
//!   DOORBUSTER_FUZZ_SECONDS=20 cargo test -p doorbuster-fuzz-targets
//!   DOORBUSTER_FUZZ_SECONDS=20 DOORBUSTER_FUZZ_SEED=7 cargo test -p doorbuster-fuzz-targets

use doorbuster_fuzz_targets::campaign::{self, Length};
use doorbuster_fuzz_targets::{TARGETS, find};
use std::collections::BTreeSet;
use std::time::Duration;

/// The seed of a run of a fixed number of mutations.
const SEED: u64 = 1;

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

fn check(name: &str) {
    let target = find(name).expect("every target is named here");
    let inputs = campaign::inputs(target).expect("the committed inputs can be read");
    assert!(inputs.len() >= 10, "{name} has a corpus: {} inputs", inputs.len());
    for (file, input) in &inputs {
        campaign::replay(target, file, input).unwrap_or_else(|failure| panic!("{failure}"));
    }
    let seconds = variable("DOORBUSTER_FUZZ_SECONDS");
    let length = match seconds {
        Some(seconds) => Length::Time(Duration::from_secs(seconds)),
        None => Length::Inputs(target.short_run.into()),
    };
    let by_chance = || if seconds.is_some() { fastrand::u64(..) } else { SEED };
    let seed = variable("DOORBUSTER_FUZZ_SEED").unwrap_or_else(by_chance);
    let corpus: Vec<_> = inputs.into_iter().map(|(_, input)| input).collect();
    println!("{name}: seed {seed}, {} committed inputs", corpus.len());
    let report = campaign::run(target, &corpus, seed, length);
    let report = report.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{name}: {} mutations in {:.1?}", report.inputs, report.time);
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_target_is_run_here_and_under_libfuzzer() {
            let here = BTreeSet::from([$(stringify!($name)),*]);
            let all: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(here, all);
            let manifest = std::fs::read_to_string(campaign::folder().join("Cargo.toml"));
            let manifest: toml::Table = manifest.expect("it is there").parse().expect("TOML");
            let binaries = manifest["bin"].as_array().expect("binaries");
            let binaries: BTreeSet<_> =
                binaries.iter().map(|bin| bin["name"].as_str().expect("a name")).collect();
            assert_eq!(binaries, all);
            for name in all {
                let file = campaign::folder().join("fuzz_targets").join(format!("{name}.rs"));
                let text = std::fs::read_to_string(file).expect("every target has a binary");
                assert!(text.contains(&format!("doorbuster_fuzz_targets::{name}::run")), "{text}");
            }
        }
    };
}

targets! {
    frames conversation handshake records log snapshot http_body http_framing http_path token
    configuration url
}

#[test]
fn what_corpora_begin_with_passes() {
    for target in &TARGETS {
        for (name, bytes) in (target.seeds)() {
            assert!(campaign::passes(target, &bytes), "the seed {name} of {} fails", target.name);
        }
    }
}
