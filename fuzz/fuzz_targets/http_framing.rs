//! The target `http_framing` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| doorbuster_fuzz_targets::http_framing::run(input));
