//! Target `mmix`: see README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omni_fuzz::mmix(data));
