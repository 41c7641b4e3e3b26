//! The program from outside: what it measures agrees with what others compute.

use omni_host::TempDir;
use serde_json::Value;
use std::process::{Command, Stdio};

const CROSS: &str = "riscv64-linux-gnu-gcc";

fn answers(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn a_kernel_computes_the_same_in_every_tier_as_on_this_host() {
    if !answers(CROSS) || !answers("cc") {
        eprintln!("skipped: {CROSS} or cc is absent");
        return;
    }
    let home = TempDir::new("bench-home").expect("a writable host");
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
    command.env("OMNI_HOME", home.path()).args(["bench", "bare", "--json", "--quick"]);
    command.args([
        "--runs",
        "1",
        "--tier",
        "interp,jit",
        "--only",
        "collatz,convert,generate,cold",
    ]);
    let output = command.stdin(Stdio::null()).output().expect("it can be started");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!(row["agreed"], true, "{row}");
        let peers: Vec<&str> = row["cells"]
            .as_array()
            .expect("cells")
            .iter()
            .filter_map(|cell| cell["peer"].as_str())
            .collect();
        for peer in ["native", "omni", "omni-interp"] {
            assert!(peers.contains(&peer), "{peer} is missing: {talk}");
        }
        assert!(row["instructions"].as_u64().is_some_and(|count| count > 0));
    }
}

#[test]
fn a_case_that_does_not_exist_is_a_mistake_of_the_caller() {
    let home = TempDir::new("bench-no-case").expect("a writable host");
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
    command.env("OMNI_HOME", home.path()).args(["bench", "bare", "--only", "nothing"]);
    let output = command.stdin(Stdio::null()).output().expect("it can be started");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("collatz"));
}
