//! A program that uses something of all that a program can do: what the battery runs.

use omni_machine::Spec;

/// The program, as text.
const SAMPLE: &str = include_str!("sample.wat");

/// A machine with a program that reads, sleeps, draws by chance and keeps a file.
#[must_use]
pub fn sample_spec() -> Spec {
    let mut spec = Spec::new("wasm");
    spec.files.insert("image".into(), SAMPLE.as_bytes().into());
    spec.options.insert("argv".into(), "sample".into());
    spec.options.insert("folders".into(), "notes".into());
    spec.options.insert("memory".into(), "2M".into());
    spec.seed = 7;
    spec
}
