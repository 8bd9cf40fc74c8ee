//! The target `handshake` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| doorbuster_fuzz_targets::handshake::run(input));
