//! Target `control_frames`: see README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omni_fuzz::control_frames(data));
