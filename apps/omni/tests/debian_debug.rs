//! GDB at a booted Debian: a watch point on a variable of its kernel, and back to the store that
//! set it. It takes the image of `debian-minimal`, so it runs where `OMNI_TEST_DEBIAN` names a
//! folder for images and machines:
//! `OMNI_TEST_DEBIAN=/var/tmp/omni cargo test --release -p omni --test debian_debug`.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The machine that is made here.
const NAME: &str = "debugged";

/// How long it may take until somebody can type.
const BOOT: Duration = Duration::from_secs(120);

fn omni(folder: &PathBuf, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
    command.env("OMNI_HOME", folder).args(args).stdin(Stdio::null());
    command.output().expect("it can be started")
}

fn said(folder: &PathBuf) -> String {
    String::from_utf8_lossy(&omni(folder, &["logs", NAME]).stdout).into_owned()
}

/// Waits until the console has said something.
fn wait_for(folder: &PathBuf, what: &str) -> String {
    let begun = Instant::now();
    loop {
        let text = said(folder);
        if text.contains(what) {
            return text;
        }
        assert!(begun.elapsed() < BOOT, "no '{what}' in:\n{text}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_watch_point_leads_back_to_the_store_that_set_a_variable_of_the_kernel() {
    let mut err = std::io::stderr();
    let Some(folder) = std::env::var_os("OMNI_TEST_DEBIAN").map(PathBuf::from) else {
        let _ = writeln!(err, "skipped: OMNI_TEST_DEBIAN names no folder");
        return;
    };
    if Command::new("gdb-multiarch").arg("--version").output().is_err() {
        let _ = writeln!(err, "skipped: gdb-multiarch is absent");
        return;
    }
    if !omni(&folder, &["image", "inspect", "debian-minimal"]).status.success() {
        let built = omni(&folder, &["image", "build", "debian-minimal"]);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    }
    omni(&folder, &["rm", "--force", NAME]);
    let run = ["run", "-d", "--name", NAME, "--memory", "256M", "debian-minimal"];
    assert!(omni(&folder, &run).status.success());
    wait_for(&folder, "root@omnivisor");
    let mut console = Command::new(env!("CARGO_BIN_EXE_omni"));
    console.env("OMNI_HOME", &folder).args(["attach", NAME]).stdin(Stdio::piped());
    let mut console = console.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a way");
    let mut stdin = console.stdin.take().expect("it is piped");
    stdin.write_all(b"grep -w jiffies_64 /proc/kallsyms\n").expect("someone reads");
    let text = wait_for(&folder, " D jiffies_64");
    console.kill().expect("it is ours");
    console.wait().expect("it ends");
    let line = text.lines().find(|line| line.contains(" D jiffies_64")).expect("it was there");
    let at = line.split_whitespace().next().expect("an address");
    let variable = format!("*(unsigned long long *)0x{at}");
    let omni_path = env!("CARGO_BIN_EXE_omni");
    let mut gdb = Command::new("gdb-multiarch");
    gdb.env("OMNI_HOME", &folder).stdin(Stdio::null()).args(["-nx", "-batch"]);
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
    omni(&folder, &["rm", "--force", NAME]);
    let value = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = 0x"));
        let digits = line.unwrap_or_else(|| panic!("no {name} in:\n{said}"));
        u64::from_str_radix(digits, 16).expect("a number")
    };
    assert!(said.contains("sd\t") || said.contains("sw\t"), "it is at a store:\n{said}");
    assert!(value("$2") < value("$1"), "before it, it was less:\n{said}");
    assert_eq!(value("$3"), value("$1"), "after it, it is what it was:\n{said}");
}
