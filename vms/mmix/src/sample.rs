//! A program that uses something of all that a program can do: what the battery runs.

use omni_machine::Spec;

/// The program, in MMIXAL.
pub const SAMPLE: &str = include_str!("sample.mms");

/// A machine with a program that reads lines, computes, trips, and keeps a file.
#[must_use]
pub fn sample_spec() -> Spec {
    let mut spec = Spec::new("mmix");
    spec.files.insert("image".into(), SAMPLE.as_bytes().into());
    spec.options.insert("memory".into(), "1M".into());
    spec.options.insert("argv".into(), "sample\0one\0two".into());
    spec
}
