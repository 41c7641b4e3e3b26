//! Target `large_story`: see README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omni_fuzz::large_story(data));
