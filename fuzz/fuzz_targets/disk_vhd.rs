//! Target `disk_vhd`: see README.md.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| omni_fuzz::disk_vhd(data));
