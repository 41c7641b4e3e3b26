//! The program from outside: the life of machines, exit codes, JSON, monitors that are killed.

use omni_host::TempDir;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A home of its own, with a story in it.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new(name: &str) -> Self {
        let dir = TempDir::new(name).expect("a writable host");
        fs::write(dir.path().join("story.z5"), omni_vm_zmachine::sample_story()).expect("writable");
        Self { dir }
    }

    fn story(&self) -> PathBuf {
        self.dir.path().join("story.z5")
    }

    fn omni(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
        command.env("OMNI_HOME", self.dir.path().join("home")).current_dir(self.dir.path());
        command.args(args);
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.omni(args).stdin(Stdio::null()).output().expect("it can be started")
    }

    #[track_caller]
    fn check(&self, args: &[&str], code: i32) -> String {
        let output = self.output(args);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {talk}");
        String::from_utf8(output.stdout).expect("text")
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let text = self.check(args, 0);
        let value: Value = serde_json::from_str(text.trim()).expect("one object");
        assert_eq!(value["api"], "omni/v1");
        value
    }

    fn state(&self, name: &str) -> Value {
        self.json(&["inspect", name, "--json"])
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // Whatever a failed test left running.
        let ids = self.output(&["ps", "--quiet"]).stdout;
        for id in String::from_utf8_lossy(&ids).lines() {
            self.output(&["rm", "--force", id]);
        }
    }
}

fn eventually(mut true_at_last: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !true_at_last() {
        assert!(Instant::now() < until, "it never came to be");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_piped_story_answers_and_its_time_limit_exits_124() {
    let home = Home::new("e2e-piped");
    let mut child = home
        .omni(&["run", "--timeout", "3s", "story.z5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    child.stdin.take().expect("piped").write_all(b"look\n").expect("someone reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(124), "the end of input is not the guest's end");
    assert!(!output.stdout.is_empty());
    let machines = home.check(&["ps", "--json"], 0);
    let machine: Value = serde_json::from_str(machines.trim()).expect("one machine");
    assert_eq!(machine["state"], "stopped");
    assert_eq!(machine["exit_code"], 124);
    assert_eq!(machine["kind"], "zmachine");
    let logged = home.check(&["logs", "story-1"], 0);
    assert_eq!(logged.as_bytes(), output.stdout, "the log has every byte");
}

#[test]
fn a_detached_machine_lives_is_held_runs_on_and_is_stopped() {
    let home = Home::new("e2e-detached");
    let id = home.check(&["run", "--detach", "--name", "tale", "story.z5"], 0);
    let id = id.trim();
    assert!(id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    let live = home.state("tale");
    assert_eq!(live["id"], id);
    assert_eq!(live["state"], "running");
    for field in ["ticks", "virtual_ms", "host_cpu_ms", "memory_bytes", "private_bytes"] {
        assert!(live[field].is_u64(), "{field}: {live}");
    }
    for field in ["kind", "arch", "exit_code", "disks", "ports", "parent", "digest"] {
        assert!(live.get(field).is_some(), "{field}: {live}");
    }
    assert_eq!(live["digest"].as_str().map(str::len), Some(64));
    home.check(&["pause", &id[..6]], 0);
    assert_eq!(home.state("tale")["state"], "paused");
    home.check(&["resume", "tale"], 0);
    assert_eq!(home.state("tale")["state"], "running");
    home.check(&["rm", "tale"], 5);
    home.check(&["start", "tale"], 5);
    home.check(&["run", "--detach", "--name", "tale", "story.z5"], 4);
    home.check(&["rename", "tale", "saga"], 0);
    let stopped = home.json(&["stop", "saga", "--json"]);
    assert_eq!(stopped["exit_code"], 0, "a story ends at the power button: {stopped}");
    assert_eq!(stopped["forced"], false);
    assert_eq!(home.state("saga")["state"], "stopped");
    home.check(&["pause", "saga"], 5);
    home.check(&["start", "saga"], 0);
    let killed = home.json(&["kill", "saga", "--json"]);
    assert_eq!(killed["exit_code"], 137);
    assert_eq!(home.check(&["wait", "saga"], 0), "137\n");
    home.check(&["rm", "saga"], 0);
    home.check(&["inspect", "saga"], 3);
    assert_eq!(home.check(&["ps", "--json"], 0), "");
}

#[test]
fn a_killed_monitor_leaves_a_failed_machine_that_blocks_nothing() {
    let home = Home::new("e2e-killed");
    home.check(&["run", "--detach", "--name", "m", "story.z5"], 0);
    let pid = home.state("m")["pid"].to_string();
    let killed = Command::new("kill").args(["-9", &pid]).status().expect("kill is there");
    assert!(killed.success());
    eventually(|| home.state("m")["state"] == "failed");
    home.check(&["stop", "m"], 5);
    home.check(&["attach", "m"], 5);
    home.check(&["wait", "m"], 5);
    home.check(&["logs", "m"], 0);
    home.check(&["start", "m"], 0);
    assert_eq!(home.state("m")["state"], "running");
    home.check(&["kill", "m"], 0);
    home.check(&["rm", "m"], 0);
    assert_eq!(home.check(&["ps", "--quiet"], 0), "");
    let run = home.dir.path().join("home/run");
    assert_eq!(fs::read_dir(run).expect("there").count(), 0, "no socket is left");
}

#[test]
fn a_machine_ends_with_the_client_that_owns_it() {
    let home = Home::new("e2e-owner");
    let mut child = home
        .omni(&["run", "--name", "m", "story.z5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started");
    let there = |home: &Home| home.output(&["inspect", "m"]).status.success();
    eventually(|| there(&home) && home.state("m")["state"] == "running");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    eventually(|| home.state("m")["state"] == "stopped");
}

#[test]
fn a_machine_to_be_removed_is_gone_when_run_returns() {
    let home = Home::new("e2e-rm");
    home.check(&["run", "--rm", "--timeout", "200ms", "story.z5"], 124);
    assert_eq!(home.check(&["ps", "--quiet"], 0), "");
}

#[test]
fn mistakes_have_their_exit_codes_and_one_line_of_talk() {
    let home = Home::new("e2e-mistakes");
    fs::write(home.dir.path().join("text"), "hello").expect("writable");
    fs::write(home.dir.path().join("disk.qcow2"), b"QFI\xfb\0\0\0\x03").expect("writable");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["nonesuch"], 2, "nonesuch"),
        (&["run"], 2, "IMAGE"),
        (&["run", "text"], 2, "is a text, which no kind of machine here runs"),
        (&["run", "missing.z5"], 2, "missing.z5"),
        (&["run", "--kind", "pdp11", "story.z5"], 2, "pdp11"),
        (&["run", "--memory", "1G", "story.z5"], 2, "no option 'memory'"),
        (&["run", "--option", "width=many", "story.z5"], 2, "width"),
        (&["run", "--initrd", "text", "story.z5"], 2, "--initrd"),
        (&["run", "--disk", "disk.qcow2", "story.z5"], 9, "the qcow2 image is damaged"),
        (&["run", "--disk", "none.raw", "story.z5"], 2, "none.raw"),
        (&["run", "--accel", "kvm", "story.z5"], 8, "--accel"),
        (&["run", "--signature", "out", "story.z5"], 2, "begin_signature"),
        (&["run", "--publish", "x", "story.z5"], 2, "--publish"),
        (&["run", "--timeout", "soon", "story.z5"], 2, "time"),
        (&["run", "--name", "../x", "story.z5"], 2, "name"),
        (&["inspect", "nobody"], 3, "nobody"),
        (&["image", "inspect", "nothing"], 3, "nothing"),
    ];
    for (args, code, word) in cases {
        let output = home.output(args);
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {talk}");
        assert!(talk.contains(word), "{args:?}: {talk}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(home.check(&["ps", "--quiet"], 0), "", "no failed attempt leaves a machine");
}

#[test]
fn a_client_that_speaks_nonsense_harms_no_one() {
    let home = Home::new("e2e-nonsense");
    home.check(&["run", "--detach", "--name", "m", "story.z5"], 0);
    let id = home.state("m")["id"].as_str().expect("text").to_owned();
    let socket = home.dir.path().join("home/run").join(format!("{id}.sock"));
    for nonsense in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\x01\xff\xff\xff\xff",
        b"\x01\x02\x00\x00\x00{}",
        b"\x02\x04\x00\x00\x00look",
        b"\x01\x05\x00\x00\x00",
    ] {
        let mut stream = std::os::unix::net::UnixStream::connect(&socket).expect("it listens");
        stream.write_all(nonsense).expect("it reads");
    }
    assert_eq!(home.state("m")["state"], "running");
}

#[test]
fn every_report_is_json_with_the_same_form() {
    let home = Home::new("e2e-json");
    let kinds = home.check(&["kinds", "--json"], 0);
    let kinds: Vec<Value> =
        kinds.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert!(kinds.iter().any(|kind| kind["name"] == "zmachine" && kind["group"] == "process"));
    for kind in &kinds {
        assert_eq!(kind["api"], "omni/v1");
        assert!(kind["extensions"].is_array() && kind["caps"].is_object(), "{kind}");
        assert!(kind["verbs"].is_array(), "{kind}");
    }
    let version = home.json(&["version", "--json"]);
    assert_eq!(version["name"], "omni");
    let doctor = home.json(&["doctor", "--json"]);
    assert_eq!(doctor["ok"], true, "{doctor}");
    let created = home.json(&["create", "--json", "--label", "a=b", "story.z5"]);
    let name = created["name"].as_str().expect("text");
    assert_eq!(name, "story-1");
    let created = home.state(name);
    assert_eq!(created["state"], "created");
    assert_eq!(created["labels"]["a"], "b");
    assert_eq!(created["image"], "story.z5");
    assert!(home.story().exists());
    assert_eq!(home.json(&["rm", "--json", name])["removed"], true);
}

#[test]
fn a_sample_of_every_kind_is_known_by_its_content_and_lives() {
    let home = Home::new("e2e-samples");
    for sample in omni_kinds::samples() {
        let Some(image) = sample.spec.file("image") else { continue };
        fs::write(home.dir.path().join("sample"), &image.bytes().expect("held")[..])
            .expect("writable");
        home.check(&["run", "--detach", "--name", sample.name, "--timeout", "60s", "sample"], 0);
        let seen = home.state(sample.name);
        assert_eq!(seen["kind"], *sample.spec.kind, "{seen}");
        assert_ne!(seen["state"], "failed", "{seen}");
        home.check(&["rm", "--force", sample.name], 0);
    }
    assert_eq!(home.check(&["ps", "--quiet"], 0), "");
}

#[test]
fn the_manual_and_completions_are_written() {
    let home = Home::new("e2e-texts");
    assert!(home.check(&["man"], 0).contains(".TH omni"));
    assert!(home.check(&["completion", "bash"], 0).contains("_omni"));
    home.check(&["man", "pages"], 0);
    assert!(home.dir.path().join("pages/omni-run.1").exists());
    assert!(!home.dir.path().join("pages/omni-monitor.1").exists(), "hidden stays hidden");
}
