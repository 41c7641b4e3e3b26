//! Target `disk_vhdx`: see README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omni_fuzz::disk_vhdx(data));
