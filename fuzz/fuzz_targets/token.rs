//! The target `token` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| doorbuster_fuzz_targets::token::run(input));
