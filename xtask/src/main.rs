//! `cargo xtask ci`, `tidy`, `aarch64`, `sabotage`: all checks, and those that no stock tool makes.
//!
//! Architecture invariant: this needs nothing but the standard library, so that it builds first.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

use std::path::Path;
use std::process::ExitCode;

mod aarch64;
mod ci;
mod contracts;
mod faults;
mod layers;
mod ratchet;
mod sabotage;
mod text;
mod tidy;
mod tree;

fn main() -> ExitCode {
    let root = root();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let good = match arguments[..] {
        ["ci"] => ci::run(root),
        ["tidy"] => {
            let findings = tidy::findings(root);
            findings.iter().for_each(|finding| eprintln!("{finding}"));
            findings.is_empty()
        }
        ["aarch64"] => aarch64::run(root),
        ["sabotage"] => sabotage::run(root, ""),
        ["sabotage", word] => sabotage::run(root, word),
        _ => {
            eprintln!("cargo xtask ci                format, tidy, clippy and every test");
            eprintln!("cargo xtask tidy              check layers, sizes, words, contracts");
            eprintln!(
                "cargo xtask aarch64           test the core for another processor, emulated"
            );
            eprintln!("cargo xtask sabotage [WORD]   plant faults and demand that tests fail");
            return ExitCode::from(2);
        }
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The root of the workspace.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}
