//! Crash images, bit flips, and writes that a device mistreats: over recorded works of a log, each
//! is recovered by the code that production runs.
//!
//! Longer runs: `DOORBUSTER_IMAGES=100000`, `DOORBUSTER_FLIPS=100000` and `DOORBUSTER_STRAYS=20000`
//! say how many at the least; `scripts/images` sets them all and prints a summary. What fails is
//! named, with the command that checks it alone.

mod crew;
mod flips;
mod images;
mod making;
mod recorder;
mod regions;
mod sale;
mod strays;
mod trace;
mod work;

use crew::{Counts, asked, threads};
use std::time::Instant;
use work::{Work, work};

/// Works whose every call is a place to crash; in longer runs one for so many images.
const WORKS: usize = 3;
const IMAGES_PER_WORK: usize = 10_000;

/// What is not an image finds its places in the same few works, so that its name says which.
fn works() -> Vec<Work> {
    works_for(0)
}

/// As many works as make so many images, each of which met all that a work is made to meet.
fn works_for(images: usize) -> Vec<Work> {
    let wanted = WORKS.max(images / IMAGES_PER_WORK);
    let tried = (0..2 * wanted as u64).map(work);
    let works: Vec<_> = tried.filter(has_met_all).take(wanted).collect();
    assert_eq!(works.len(), wanted, "half of what was tried met all of it");
    works
}

fn has_met_all(work: &Work) -> bool {
    let uses_segments_again = work.trimmed > 8;
    work.full > 0 && work.snapshots > 2 && uses_segments_again && work.in_flight > 0
}

/// Asserts that each of these was among what was checked.
fn saw(counts: &Counts, kinds: &[&str]) {
    for kind in kinds {
        assert!(counts.of(kind) > 0, "no {kind}: {counts}");
    }
}

fn report(what: &str, counts: &Counts, begun: Instant) {
    let (seconds, threads) = (begun.elapsed().as_secs_f64(), threads());
    println!("{what}: {counts}; 0 violations in {seconds:.1} s on {threads} threads");
}

#[test]
fn every_crash_image_of_a_log_recovers() {
    let begun = Instant::now();
    let wanted = asked("DOORBUSTER_IMAGES", 10_000);
    let works = works_for(wanted);
    let mut counts = Counts::default();
    let mut pass = 0;
    while counts.of("images") < wanted {
        counts.add(images::pass(&works, pass));
        pass += 1;
    }
    assert!(counts.of("torn tails") > wanted / 20, "torn tails were among them: {counts}");
    report("crash images", &counts, begun);
}

#[test]
fn every_crash_image_of_a_directory_in_the_making_recovers() {
    let begun = Instant::now();
    let work = making::work();
    let subsets = asked("DOORBUSTER_IMAGES", 10_000).div_ceil(2_000) as u64;
    let counts = making::images(&work, subsets);
    assert!(counts.of("images of a directory in the making") > 300, "{counts}");
    report("crash images", &counts, begun);
}

#[test]
fn every_failing_call_in_the_making_of_a_directory_is_made_up_for() {
    let begun = Instant::now();
    report("failing calls", &making::failing_calls(), begun);
}

#[test]
fn every_flipped_bit_is_found_or_harmless() {
    let begun = Instant::now();
    let works = works();
    let bases = flips::bases(&works);
    let mut counts = flips::superblocks();
    counts.add(flips::flips(&bases, asked("DOORBUSTER_FLIPS", 10_000)));
    saw(&counts, &["refused", "found when read", "found, and done without"]);
    saw(&counts, &regions::Kind::ALL.map(regions::Kind::name));
    report("bit flips", &counts, begun);
}

#[test]
fn every_write_that_goes_astray_is_found_or_harmless() {
    let begun = Instant::now();
    let counts = strays::strays(&works(), asked("DOORBUSTER_STRAYS", 2_000));
    saw(&counts, &["lost", "misdirected", "refused", "found by verify", "harmless"]);
    report("stray writes", &counts, begun);
}

/// `DOORBUSTER_IMAGE=log:1:200:512:s7` checks that one alone, as a failure names it.
#[test]
fn one_image() {
    let Ok(name) = std::env::var("DOORBUSTER_IMAGE") else { return };
    let begun = Instant::now();
    let works = works();
    let checked = match name.split(':').next() {
        Some("log") => images::one(&name),
        Some("directory") => making::one(&making::work(), &name),
        Some("flip") => flips::one(&flips::bases(&works), &name),
        _ => strays::one(&works, &name),
    };
    let counts = checked.unwrap_or_else(|| panic!("{name:?} names nothing that can be checked"));
    report(&name, &counts, begun);
}
