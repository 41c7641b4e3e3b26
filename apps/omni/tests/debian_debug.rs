//! GDB at a booted Debian: a watch point on a variable of its kernel, and back to the store that
//! set it. It takes the image of `debian-minimal`, so it runs where `OMNI_TEST_DEBIAN` names a
//! folder for images and machines:
//! `OMNI_TEST_DEBIAN=/var/tmp/omni cargo test --release -p omni --test debian_debug`.

#[allow(dead_code, reason = "each of the tests with a Debian needs some of it")]
mod installed;

use installed::{Installed, PROMPT};
use std::io::Write;
use std::process::{Command, Stdio};

/// The machine that is made here.
const NAME: &str = "debugged";

#[test]
fn a_watch_point_leads_back_to_the_store_that_set_a_variable_of_the_kernel() {
    if Command::new("gdb-multiarch").arg("--version").output().is_err() {
        // A test that cannot say so is skipped all the same.
        let _ = writeln!(std::io::stderr(), "skipped: gdb-multiarch is absent");
        return;
    }
    let Some(home) = Installed::without(&[NAME]) else { return };
    home.check(&["run", "-d", "--name", NAME, "--memory", "256M", "debian-minimal"]);
    home.await_log(NAME, PROMPT);
    let text = home.typed(NAME, "grep -w jiffies_64 /proc/kallsyms\n", " D jiffies_64");
    let line = text.lines().find(|line| line.contains(" D jiffies_64")).expect("it was there");
    let at = line.split_whitespace().next().expect("an address");
    let variable = format!("*(unsigned long long *)0x{at}");
    let omni_path = env!("CARGO_BIN_EXE_omni");
    let mut gdb = Command::new("gdb-multiarch");
    gdb.env("OMNI_HOME", home.dir()).stdin(Stdio::null()).args(["-nx", "-batch"]);
    for command in [
        "set pagination off",
        "set remotetimeout 120",
        &format!("target remote | exec {omni_path} debug {NAME} --listen stdio"),
        &format!("watch {variable}"),
        "continue",
        "continue",
        "stepi 300",
        "delete",
        &format!("print/x {variable}"),
        &format!("watch {variable}"),
        "reverse-continue",
        "x/i $pc",
        &format!("print/x {variable}"),
        "stepi",
        &format!("print/x {variable}"),
        "detach",
    ] {
        gdb.args(["-ex", command]);
    }
    let output = gdb.output().expect("it was there");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = 0x"));
        let digits = line.unwrap_or_else(|| panic!("no {name} in:\n{said}"));
        u64::from_str_radix(digits, 16).expect("a number")
    };
    assert!(said.contains("sd\t") || said.contains("sw\t"), "it is at a store:\n{said}");
    assert!(value("$2") < value("$1"), "before it, it was less:\n{said}");
    assert_eq!(value("$3"), value("$1"), "after it, it is what it was:\n{said}");
}
