//! `cargo xtask aarch64`: the tests of the core on another processor, emulated program by program.

use std::path::Path;
use std::process::{Command, Stdio};

const TARGET: &str = "aarch64-unknown-linux-gnu";
const LINKER: &str = "aarch64-linux-gnu-gcc";
const EMULATOR: &str = "qemu-aarch64";

/// Where Debian's cross compiler has the loader and the C library of the target.
const LIBRARIES: &str = "/usr/aarch64-linux-gnu";

/// Everything that runs machines. The rest are the host's side; its tests start programs, which
/// an emulator of one program does not.
const CRATES: &[&str] = &[
    "omni-base",
    "omni-state",
    "omni-memory",
    "omni-ir",
    "omni-decode",
    "omni-softfloat",
    "omni-machine",
    "omni-engine",
    "omni-devices",
    "omni-lifecycle",
    "omni-guest-riscv",
    "omni-iff",
    "omni-vm-zmachine",
    "omni-vm-glulx",
    "omni-vm-mmix",
    "omni-board-virt",
    "omni-kinds",
];

/// The battery on every kind; not the test of the battery itself, which is as long again and
/// proves nothing about a processor.
const BATTERY: &[&str] = &["-p", "omni-conformance", "--test", "kinds"];

/// Builds the tests for the target and runs them. Says whether all passed.
pub(crate) fn run(root: &Path) -> bool {
    let missing = missing();
    missing.iter().for_each(|what| eprintln!("missing: {what}"));
    if !missing.is_empty() {
        return false;
    }
    let crates: Vec<&str> = CRATES.iter().flat_map(|name| ["-p", name]).collect();
    passes(root, &crates) && passes(root, BATTERY)
}

/// Whether the chosen tests pass.
fn passes(root: &Path, chosen: &[&str]) -> bool {
    let mut cargo = Command::new("cargo");
    cargo.args(["test", "--locked", "--target", TARGET]).args(chosen).current_dir(root);
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER);
    let runner = format!("{EMULATOR} -L {LIBRARIES}");
    cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    cargo.status().is_ok_and(|status| status.success())
}

/// What has to be installed first, with the command that does it.
fn missing() -> Vec<String> {
    let mut missing = vec![];
    if !has_standard_library() {
        missing.push(format!("the standard library: rustup target add {TARGET}"));
    }
    for (program, package) in [(LINKER, "gcc-aarch64-linux-gnu"), (EMULATOR, "qemu-user")] {
        if !answers(program) {
            missing.push(format!("{program}: apt install {package}"));
        }
    }
    if !Path::new(LIBRARIES).is_dir() {
        missing.push(format!("{LIBRARIES}: apt install libc6-dev-arm64-cross"));
    }
    missing
}

/// Whether the compiler in use has the target's libraries.
fn has_standard_library() -> bool {
    let mut command = Command::new("rustc");
    command.args(["--print", "target-libdir", "--target", TARGET]);
    let output = command.output().ok().filter(|output| output.status.success());
    output.is_some_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir())
}

fn answers(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
