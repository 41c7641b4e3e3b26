//! Target `switch_packets`: see README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omni_fuzz::switch_packets(data));
