//! A Debian whose life is recorded, lived once more, and left for another. It needs an image, so it
//! runs where `OMNI_TEST_DEBIAN` names a folder for images and machines:
//! `OMNI_TEST_DEBIAN=/var/tmp/omni cargo test --release -p omni --test debian_time`.

#[allow(dead_code, reason = "each of the tests with a Debian needs some of it")]
mod installed;

use installed::{Installed, PROMPT};
use serde_json::Value;

const MACHINE: &str = "recorded";

#[track_caller]
fn json(home: &Installed, args: &[&str]) -> Value {
    let said = home.check(&[args, &["--json"]].concat());
    serde_json::from_slice(&said).expect("one object")
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {value}"))
}

#[test]
fn a_debian_is_recorded_lived_once_more_and_left_for_another_life() {
    let Some(home) = Installed::without(&[MACHINE]) else { return };
    let args = ["run", "-d", "--record", "--memory", "1G", "--name", MACHINE, "debian-minimal"];
    home.check(&args);
    home.await_log(MACHINE, PROMPT);
    // What it draws at random, and what its clock says, are of its past alone.
    let line = "cat /proc/sys/kernel/random/uuid; cat /proc/uptime; echo it-is-$((6*7))\n";
    home.typed(MACHINE, line, "it-is-42");
    home.check(&["pause", MACHINE]);
    let state = json(&home, &["inspect", MACHINE]);
    let again = json(&home, &["replay", MACHINE]);
    assert_eq!(text(&again, "digest"), text(&state, "digest"));
    assert_eq!(again["ticks"], state["ticks"]);
    assert!(again["pulses"].as_u64() >= Some(1), "{again}");
    let shown = home.output(&["replay", MACHINE, "--console"]);
    let (shown, log) = (shown.stdout, home.output(&["logs", MACHINE]).stdout);
    assert!(!shown.is_empty() && shown == log, "what it showed is shown again, byte for byte");
    // Away with what comes now.
    home.check(&["resume", MACHINE]);
    home.typed(MACHINE, "echo lost > /root/lost; echo is-$((7*7))-there\n", "is-49-there");
    let moment = text(&again, "to").to_owned();
    let back = json(&home, &["rewind", MACHINE, "--to", &moment]);
    assert_eq!(text(&back, "digest"), text(&state, "digest"));
    let said = home.typed(MACHINE, "ls /root/lost; echo is-$((8*8))-here\n", "is-64-here");
    assert!(said.contains("No such file"), "{said}");
    home.check(&["pause", MACHINE]);
    let other = json(&home, &["replay", MACHINE]);
    assert_eq!(text(&other, "recording"), "r2");
    assert_eq!(text(&other, "digest"), text(&json(&home, &["inspect", MACHINE]), "digest"));
    // And back to what was left.
    let before = format!("{MACHINE}@{}", text(&back, "before"));
    home.check(&["restore", &before]);
    home.typed(MACHINE, "cat /root/lost; echo is-$((9*9))-left\n", "is-81-left");
}
