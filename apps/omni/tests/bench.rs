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
    let lines = objects(&output.stdout);
    let (report, told) = lines.split_last().expect("a report");
    let rows = report["rows"].as_array().expect("rows");
    // Each was told of as soon as it was measured, so that a run that is cut gives figures.
    let told: Vec<&Value> = told.iter().map(|line| &line["row"]).collect();
    assert_eq!(told, rows.iter().collect::<Vec<_>>());
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

/// What a verb that tells as it goes writes: an object a line.
fn objects(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(bytes);
    let object = |line: &str| serde_json::from_str(line).expect("an object");
    text.lines().map(object).collect()
}

#[test]
fn a_machine_without_any_one_technique_computes_the_same() {
    if !answers(CROSS) || !answers("cc") {
        eprintln!("skipped: {CROSS} or cc is absent");
        return;
    }
    let home = TempDir::new("bench-techniques").expect("a writable host");
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
    command.env("OMNI_HOME", home.path()).args(["bench", "bare", "--json", "--quick"]);
    command.args(["--techniques", "--runs", "1", "--only", "collatz"]);
    let output = command.stdin(Stdio::null()).output().expect("it can be started");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    let report = objects(&output.stdout).pop().expect("a report");
    let techniques = report["techniques"].as_array().expect("what each is worth");
    let mut names: Vec<&str> =
        techniques.iter().filter_map(|worth| worth["technique"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["floats", "links", "moves", "pairs", "registers", "sharing", "traces"],
        "{talk}"
    );
    for worth in techniques {
        assert_eq!(worth["cases"], 1);
        assert!(worth["factor"].as_f64().is_some_and(|factor| factor > 0.0));
    }
    assert!(report["rows"].as_array().is_some_and(|rows| rows.iter().all(|r| r["agreed"] == true)));
}

#[test]
fn time_is_found_to_go_into_the_function_that_runs_by_the_tier_that_runs_it() {
    if !answers(CROSS) || !answers("cc") {
        eprintln!("skipped: {CROSS} or cc is absent");
        return;
    }
    let home = TempDir::new("bench-flame").expect("a writable host");
    for (tier, phase) in [("interp", "interpreter"), ("jit", "machine code")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
        command.env("OMNI_HOME", home.path()).current_dir(home.path());
        command.args(["bench", "bare", "--json", "--runs", "1", "--flame=of", "--tier", tier]);
        let output = command.args(["--only", "collatz"]).stdin(Stdio::null()).output();
        let output = output.expect("it can be started");
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{talk}");
        let last = objects(&output.stdout).pop().expect("an object");
        let (phases, functions) = (&last["flame"]["phases"], &last["flame"]["functions"]);
        if !(cfg!(target_arch = "x86_64") || tier == "interp") {
            continue;
        }
        assert_eq!(phases[0]["phase"], phase, "{last}");
        assert_eq!(functions[0]["function"], "bare: collatz", "{last}");
        let folded = std::fs::read_to_string(home.path().join("of.folded")).expect("written");
        assert!(folded.contains(&format!("bare;collatz;{phase} ")), "{folded}");
        assert!(home.path().join("of.svg").is_file());
    }
}

#[test]
fn a_technique_that_nobody_knows_is_a_mistake_that_names_those_there_are() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
    command.env("OMNI_WITHOUT", "links,speed").args(["bench-machine", "memory=128M"]);
    let output = command.stdin(Stdio::null()).output().expect("it can be started");
    assert_eq!(output.status.code(), Some(2));
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(talk.contains("'speed'") && talk.contains("sharing, registers"), "{talk}");
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

#[test]
fn the_cost_of_a_tree_of_snapshots_is_told_where_there_is_no_guest_too() {
    let home = TempDir::new("bench-tree").expect("a writable host");
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
    command.env("OMNI_HOME", home.path()).args(["bench", "time", "--quick", "--json"]);
    let output = command.stdin(Stdio::null()).output().expect("it can be started");
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{talk}");
    let report = objects(&output.stdout).pop().expect("a report");
    assert_eq!(report["what"], "time");
    assert!(report["missing"].to_string().contains("omni image build debian"), "{report}");
    let lines = report["lines"].as_array().expect("what was measured");
    let names: Vec<&str> = lines.iter().filter_map(|line| line["what"].as_str()).collect();
    assert_eq!(names, ["tree of 100: open", "tree of 100: list", "tree of 100: branch"]);
    assert!(lines.iter().all(|line| line["median_ms"].as_f64().is_some_and(|ms| ms > 0.0)));
}
