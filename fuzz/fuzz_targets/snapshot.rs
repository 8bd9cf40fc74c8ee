//! The target `snapshot` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| doorbuster_fuzz_targets::snapshot::run(input));
