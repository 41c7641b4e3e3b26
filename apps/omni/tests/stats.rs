//! The program from outside: what it counts, how it is told a tier, and the map for `perf`.

use omni_host::TempDir;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A program for the board that counts and stores its count for ever, as an ELF file.
fn spinner() -> Vec<u8> {
    // auipc a1, 1; addi a0, a0, 1; sd a0, 0(a1); j to the second
    let code: [u32; 4] = [0x0000_1597, 0x0015_0513, 0x00a5_b023, 0xff9f_f06f];
    let start = 0x8000_0000_u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0\x01\0\0\0".to_vec();
    file.extend([start, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    file.extend(
        [0, 0, 64, 56, 1, 64, 0, 0]
            .iter()
            .flat_map(|half: &u32| half.to_le_bytes().into_iter().take(2)),
    );
    file.resize(64, 0);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    let size = 16_u64;
    let segment = [0x1000, start, start, size, size, 0x1000];
    file.extend(segment.iter().flat_map(|word| word.to_le_bytes()));
    file.resize(0x1000, 0);
    file.extend(code.iter().flat_map(|insn| insn.to_le_bytes()));
    file
}

fn output(home: &Path, args: &[&str], vars: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
    command.env("OMNI_HOME", home.join("home")).current_dir(home).envs(vars.iter().copied());
    command.args(args).stdin(Stdio::null()).output().expect("it can be started")
}

#[track_caller]
fn text(home: &Path, args: &[&str], vars: &[(&str, &str)]) -> String {
    let output = output(home, args, vars);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {talk}");
    String::from_utf8(output.stdout).expect("text")
}

/// Starts the spinner, and gives its figures once something is so of them.
fn figures(
    home: &Path,
    flags: &[&str],
    vars: &[(&str, &str)],
    so: impl Fn(&Value) -> bool,
) -> Value {
    fs::write(home.join("spinner"), spinner()).expect("writable");
    let board = ["--name", "m", "--memory", "16M"];
    let args = [&["run", "-d"], &board[..], flags, &["spinner"]].concat();
    text(home, &args, vars);
    let until = Instant::now() + Duration::from_secs(60);
    loop {
        let all = text(home, &["stats", "m", "--json"], &[]);
        let all: Value = serde_json::from_str(&all).expect("one object");
        if so(&all) {
            return all;
        }
        assert!(Instant::now() < until, "it never came to be: {all}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn count(all: &Value, name: &str) -> u64 {
    all["counters"][name].as_u64().unwrap_or_else(|| panic!("{name} is no number: {all}"))
}

#[test]
fn a_machine_says_what_it_uses_and_what_it_counted() {
    let home = TempDir::new("stats-figures").expect("a writable host");
    let home = home.path();
    let all = figures(home, &[], &[], |all| count(all, "instructions") > 100_000);
    assert_eq!(all["memory_bytes"], 16 << 20);
    let number = |name: &str| all[name].as_u64().unwrap_or_else(|| panic!("{name}: {all}"));
    assert!(number("resident_bytes") > 0 && number("resident_bytes") <= number("memory_bytes"));
    assert!(number("private_bytes") >= number("other_bytes"));
    assert!(count(&all, "translate_ns") > 0 && count(&all, "walks_fetch") > 0);
    let table = text(home, &["stats"], &[]);
    assert!(table.contains("RESIDENT") && table.contains(" m "), "{table}");
    let lines = text(home, &["stats", "m"], &[]);
    assert!(lines.lines().any(|line| line.starts_with("blocks_translated ")), "{lines}");
    text(home, &["rm", "--force", "m"], &[]);
    assert_eq!(output(home, &["stats", "m"], &[]).status.code(), Some(3));
    assert_eq!(text(home, &["stats", "--json"], &[]), "");
}

#[test]
fn a_guest_is_asked_for_memory_where_it_has_a_balloon() {
    let home = TempDir::new("stats-balloon").expect("a writable host");
    let home = home.path();
    figures(home, &["--option", "balloon=true"], &[], |_| true);
    for (args, target) in [
        (&["balloon", "m", "--json"][..], 16_u64 << 20),
        (&["balloon", "m", "10M", "--json"], 10 << 20),
        (&["balloon", "m", "--json"], 10 << 20),
        (&["balloon", "m", "1T", "--json"], 16 << 20),
    ] {
        let value: Value = serde_json::from_str(&text(home, args, &[])).expect("one object");
        assert_eq!(value["target_bytes"], target, "{args:?}");
        // Nothing drives the balloon.
        assert_eq!(
            (&value["actual_bytes"], &value["given_back_bytes"]),
            (&(16 << 20).into(), &0.into())
        );
    }
    text(home, &["rm", "--force", "m"], &[]);
    figures(home, &[], &[], |_| true);
    let refused = output(home, &["balloon", "m", "10M"], &[]);
    assert_eq!(refused.status.code(), Some(8));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("balloon=true"));
    text(home, &["rm", "--force", "m"], &[]);
}

#[test]
fn a_machine_that_the_host_has_no_memory_for_is_refused_and_leaves_nothing() {
    let home = TempDir::new("stats-room").expect("a writable host");
    let home = home.path();
    fs::write(home.join("spinner"), spinner()).expect("writable");
    let run = ["run", "-d", "--share", "--memory", "16M", "--name", "m", "spinner"];
    let refused = output(home, &run, &[("OMNI_OVERCOMMIT", "0.000001")]);
    let talk = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(8), "{talk}");
    assert!(talk.contains("16M of memory is too much beside the 0B"), "{talk}");
    assert_eq!(text(home, &["ps", "--quiet"], &[]), "");
    assert_eq!(output(home, &run, &[("OMNI_OVERCOMMIT", "lots")]).status.code(), Some(2));
    // With room for it, it runs, and says what was merged where the host does.
    text(home, &run, &[]);
    let all: Value =
        serde_json::from_str(&text(home, &["stats", "m", "--json"], &[])).expect("one");
    assert!(all["merged_bytes"].is_u64() || all["merged_bytes"].is_null(), "{all}");
    // To go on from a snapshot takes as much, and is refused before anything is undone.
    text(home, &["snapshot", "m", "here"], &[]);
    let refused = output(home, &["restore", "m@here"], &[("OMNI_OVERCOMMIT", "0.000001")]);
    let talk = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(8), "{talk}");
    assert!(talk.contains("16M of memory is too much beside the 0B"), "{talk}");
    text(home, &["pause", "m"], &[]);
    text(home, &["restore", "m@here"], &[]);
    let other = ["run", "-d", "--memory", "16M", "spinner"];
    let refused = output(home, &other, &[("OMNI_OVERCOMMIT", "0.000001")]);
    let talk = String::from_utf8_lossy(&refused.stderr);
    assert!(talk.contains("16M of memory is too much beside the 16M"), "{talk}");
    text(home, &["rm", "--force", "m"], &[]);
}

#[test]
fn a_machine_that_is_held_makes_room_for_another_and_is_as_it_was() {
    let home = TempDir::new("stats-cold").expect("a writable host");
    let home = home.path();
    fs::write(home.join("spinner"), spinner()).expect("writable");
    let Some((total, _)) = omni_host::host_memory() else { return };
    // Room for one and most of another.
    let factor = (250_u64 << 20) as f64 / total as f64;
    let vars = [("OMNI_OVERCOMMIT", &*factor.to_string())];
    let run = |name| ["run", "-d", "--memory", "128M", "--name", name, "spinner"];
    text(home, &run("m"), &vars);
    assert_eq!(output(home, &run("n"), &vars).status.code(), Some(8), "it runs");
    text(home, &["pause", "m"], &[]);
    let digest = || {
        let all = text(home, &["inspect", "m", "--json"], &[]);
        let all: Value = serde_json::from_str(&all).expect("one object");
        all["digest"].as_str().expect("a digest").to_owned()
    };
    let before = digest();
    text(home, &run("n"), &vars);
    assert_eq!(digest(), before);
    // What no list has stays as long as it is needed.
    text(home, &["gc", "--compress"], &[]);
    let refused = output(home, &["resume", "m"], &vars);
    assert_eq!(refused.status.code(), Some(8), "{}", String::from_utf8_lossy(&refused.stderr));
    text(home, &["rm", "--force", "n"], &[]);
    let counted = || {
        let all = text(home, &["stats", "m", "--json"], &[]);
        let all: Value = serde_json::from_str(&all).expect("one object");
        all["ticks"].as_u64().expect("a number")
    };
    let held = counted();
    text(home, &["resume", "m"], &vars);
    let until = Instant::now() + Duration::from_secs(60);
    while counted() < held + 100_000 {
        assert!(Instant::now() < until, "it does not go on");
        std::thread::sleep(Duration::from_millis(20));
    }
    text(home, &["rm", "--force", "m"], &[]);
    let done = text(home, &["gc", "--json"], &[]);
    assert!(done.contains("\"objects\":0"), "{done}");
}

#[test]
fn a_machine_runs_by_the_tier_that_it_or_its_surroundings_ask_for() {
    let home = TempDir::new("stats-tiers").expect("a writable host");
    let home = home.path();
    for (flags, tier, compiled) in [
        (&[][..], "interp", false),
        (&["--accel", "interp"], "jit", false),
        (&["--accel", "auto"], "jit", cfg!(target_arch = "x86_64")),
    ] {
        let has_code = |all: &Value| count(all, "instructions_compiled") > 0;
        let all = figures(home, flags, &[("OMNI_TIER", tier)], |all| {
            count(all, "instructions") > 200_000 && (has_code(all) || !compiled)
        });
        assert_eq!(has_code(&all), compiled, "{flags:?} {tier}: {all}");
        text(home, &["rm", "--force", "m"], &[]);
    }
    let output = output(home, &["run", "-d", "spinner"], &[("OMNI_TIER", "fast")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("OMNI_TIER"));
}

#[test]
fn the_map_for_perf_names_functions_of_the_guest_and_is_of_the_machine_alone() {
    let home = TempDir::new("stats-map").expect("a writable host");
    let home = home.path();
    let vars = [("OMNI_PERF_MAP", "1"), ("OMNI_SYMBOLS", "names:")];
    fs::write(home.join("names"), "000000007fffff00 T early\n0000000080000000 t spin\n")
        .expect("writable");
    let all = figures(home, &[], &vars, |all| count(all, "instructions") > 500_000);
    let state = text(home, &["inspect", "m", "--json"], &[]);
    let state: Value = serde_json::from_str(&state).expect("one object");
    let path = format!("/tmp/perf-{}.map", state["pid"]);
    let map = fs::read_to_string(&path).expect("written");
    text(home, &["rm", "--force", "m"], &[]);
    fs::remove_file(&path).expect("ours");
    if count(&all, "blocks_compiled") == 0 {
        eprintln!("this host has no machine code: the map is empty");
        return;
    }
    for line in map.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [address, bytes, name] = words[..] else { panic!("{line}") };
        assert!(u64::from_str_radix(address, 16).is_ok_and(|at| at > 0), "{line}");
        assert!(u64::from_str_radix(bytes, 16).is_ok_and(|count| count > 0), "{line}");
        assert!(name.starts_with("guest:") && name.contains('/'), "{line}");
    }
    assert!(map.lines().any(|line| line.contains("guest:spin@0x8000000")), "{map}");
}
