//! A Debian whose life is recorded, lived once more, and left for another. It needs an image, so it
//! runs where `OMNI_TEST_DEBIAN` names a folder for images and machines:
//! `OMNI_TEST_DEBIAN=/var/tmp/omni cargo test --release -p omni --test debian_time`.

use omni_image::Mirror;
use serde_json::Value;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const MACHINE: &str = "recorded";

/// What the shell of the image says when it takes a line.
const PROMPT: &str = "root@omnivisor:~# ";

/// How long the guest may take for an answer on a slow host.
const LIMIT: Duration = Duration::from_secs(300);

struct Home(PathBuf);

impl Home {
    /// The folder to work in, with the image; none where this cannot be tested here.
    fn new() -> Option<Self> {
        let mut err = std::io::stderr();
        let mut skip = |why: &str| {
            // A test that cannot say so is skipped all the same.
            let _ = writeln!(err, "the time of a Debian is not tested: {why}");
            None
        };
        let Some(folder) = std::env::var_os("OMNI_TEST_DEBIAN") else {
            return skip("OMNI_TEST_DEBIAN names no folder for it");
        };
        let home = Self(folder.into());
        if home.output(&["image", "inspect", "debian-minimal"]).status.success() {
            return Some(home);
        }
        if Mirror::of_host().is_err() {
            return skip("the host's apt sources name no mirror");
        }
        let built = home.output(&["image", "build", "debian-minimal"]);
        let talk = String::from_utf8_lossy(&built.stderr);
        if talk.contains("cannot fetch") {
            return skip("the mirror cannot be reached");
        }
        assert!(built.status.success(), "{talk}");
        Some(home)
    }

    fn omni(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
        command.env("OMNI_HOME", &self.0).args(args).stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.omni(args).output().expect("it can be started")
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let output = self.output(&[args, &["--json"]].concat());
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {talk}");
        serde_json::from_slice(&output.stdout).expect("one object")
    }

    /// Waits until the console's log has this text, of which there are that many.
    #[track_caller]
    fn await_log(&self, text: &str, count: usize) {
        let until = Instant::now() + LIMIT;
        loop {
            let log = self.output(&["logs", MACHINE]).stdout;
            let log = String::from_utf8_lossy(&log);
            if log.matches(text).count() >= count {
                return;
            }
            assert!(Instant::now() < until, "no {text:?} came:\n{log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Types a line, and gives what is said until `end`.
    #[track_caller]
    fn typed(&self, line: &str, end: &str) -> String {
        let mut attach = self.omni(&["attach", MACHINE]);
        let attach = attach.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = attach.spawn().expect("it can be started");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(line.as_bytes()).expect("someone reads");
        let (mut said, mut some) = (Vec::new(), [0; 4096]);
        let mut stdout = child.stdout.take().expect("piped");
        while !String::from_utf8_lossy(&said).contains(end) {
            let count = stdout.read(&mut some).expect("readable");
            assert!(count > 0, "no answer came: {}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&some[..count]);
        }
        // The machine is not its own, and runs on.
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        String::from_utf8_lossy(&said).into_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The image stays for the next time.
        self.output(&["rm", "--force", MACHINE]);
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {value}"))
}

#[test]
fn a_debian_is_recorded_lived_once_more_and_left_for_another_life() {
    let Some(home) = Home::new() else { return };
    home.output(&["rm", "--force", MACHINE]);
    let args = ["run", "-d", "--record", "--memory", "1G", "--name", MACHINE, "debian-minimal"];
    assert!(home.output(&args).status.success());
    home.await_log(PROMPT, 1);
    // What it draws at random, and what its clock says, are of its past alone.
    let line = "cat /proc/sys/kernel/random/uuid; cat /proc/uptime; echo it-is-$((6*7))\n";
    home.typed(line, "it-is-42");
    assert!(home.output(&["pause", MACHINE]).status.success());
    let state = home.json(&["inspect", MACHINE]);
    let again = home.json(&["replay", MACHINE]);
    assert_eq!(text(&again, "digest"), text(&state, "digest"));
    assert_eq!(again["ticks"], state["ticks"]);
    assert!(again["pulses"].as_u64() >= Some(1), "{again}");
    let shown = home.output(&["replay", MACHINE, "--console"]);
    let (shown, log) = (shown.stdout, home.output(&["logs", MACHINE]).stdout);
    assert!(!shown.is_empty() && shown == log, "what it showed is shown again, byte for byte");
    // Away with what comes now.
    assert!(home.output(&["resume", MACHINE]).status.success());
    home.typed("echo lost > /root/lost; echo is-$((7*7))-there\n", "is-49-there");
    let moment = text(&again, "to").to_owned();
    let back = home.json(&["rewind", MACHINE, "--to", &moment]);
    assert_eq!(text(&back, "digest"), text(&state, "digest"));
    let said = home.typed("ls /root/lost; echo is-$((8*8))-here\n", "is-64-here");
    assert!(said.contains("No such file"), "{said}");
    assert!(home.output(&["pause", MACHINE]).status.success());
    let other = home.json(&["replay", MACHINE]);
    assert_eq!(text(&other, "recording"), "r2");
    assert_eq!(text(&other, "digest"), text(&home.json(&["inspect", MACHINE]), "digest"));
    // And back to what was left.
    let before = format!("{MACHINE}@{}", text(&back, "before"));
    assert!(home.output(&["restore", &before]).status.success());
    home.typed("cat /root/lost; echo is-$((9*9))-left\n", "is-81-left");
}
