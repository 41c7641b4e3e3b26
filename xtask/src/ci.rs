//! `cargo xtask ci`: every check that a change has to pass, in order, the quickest first.

use crate::tidy;
use std::path::Path;
use std::process::Command;

/// The checks that are cargo's.
const STEPS: &[&[&str]] = &[
    &["fmt", "--all", "--check"],
    &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"],
    &["test", "--locked", "--workspace"],
];

/// Runs everything up to the first check that fails. Says whether all passed.
pub(crate) fn run(root: &Path) -> bool {
    println!("== tidy");
    let findings = tidy::findings(root);
    findings.iter().for_each(|finding| eprintln!("{finding}"));
    findings.is_empty() && STEPS.iter().all(|step| passes(root, step))
}

fn passes(root: &Path, step: &[&str]) -> bool {
    let said = step.join(" ");
    println!("== cargo {said}");
    let status = Command::new("cargo").args(step).current_dir(root).status();
    let good = status.is_ok_and(|status| status.success());
    if !good {
        eprintln!("failed: cargo {said}");
    }
    good
}
