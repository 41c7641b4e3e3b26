//! Monitors that are killed while they record: what was acknowledged is in the log, which opens
//! up to its last whole entry and replays. The rounds are a few;
//! `OMNI_KILL_ROUNDS=1000 cargo test -p omni --test record_kills` is the long run.

#[allow(dead_code, reason = "each of the tests of the program needs some of it")]
mod home;

use home::{Home, text};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Rounds where nothing else is asked for.
const ROUNDS: u64 = 8;

/// What is done is killed within this many microseconds.
const DELAY_MAX_US: u64 = 30_000;

fn below(random: &mut u64, end: u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random % end
}

/// The tick and the number of events of a moment.
fn parts(moment: &str) -> (u64, u64) {
    let (tick, events) = moment.split_once('/').expect("TICK/EVENTS");
    (tick.parse().expect("a number"), events.parse().expect("a number"))
}

/// Kills the monitor, and waits until that is noticed. Another may have taken its place.
fn kill(home: &Home, pid: u64) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
    killed.expect("it can be started");
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let now = home.json(&["inspect", "m"]);
        if now["state"] != "running" && now["state"] != "paused" || now["pid"].as_u64() != Some(pid)
        {
            return;
        }
        assert!(Instant::now() < until, "it was killed: {now}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_recording_whose_monitor_is_killed_holds_all_that_was_acknowledged() {
    let setting = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let rounds: u64 = setting("OMNI_KILL_ROUNDS").unwrap_or(ROUNDS);
    let mut random: u64 = setting("OMNI_KILL_SEED").unwrap_or(0x5eed) | 1;
    let home = Home::new("rec-kills");
    home.run("m", &["--record", "story.z5"]);
    for number in 0..rounds {
        let pid = home.json(&["inspect", "m"])["pid"].as_u64().expect("it lives");
        let mut attach = home.omni(&["attach", "m"]);
        attach.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut typist = attach.spawn().expect("it can be started");
        let mut keys = typist.stdin.take().expect("piped");
        for _ in 0..=below(&mut random, 3) {
            keys.write_all(b"a line\n").expect("someone reads");
            sleep(Duration::from_micros(below(&mut random, DELAY_MAX_US)));
        }
        let now = home.json(&["when", "m"]);
        let (told, recording) = (text(&now, "moment"), text(&now, "recording").to_owned());
        let tag = format!("t{number}");
        let action = match below(&mut random, 4) {
            0 => vec!["when", "m"],
            1 => vec!["snapshot", "m", &tag],
            2 => vec!["rewind", "m", "--to", told],
            _ => vec!["record", "--stop", "m"],
        };
        let mut client = home.omni(&action);
        let client = client.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut client = client.expect("it can be started");
        // Where the machine has ended meanwhile, nobody reads.
        let _ = keys.write_all(b"another\nand more\n");
        sleep(Duration::from_micros(below(&mut random, DELAY_MAX_US)));
        kill(&home, pid);
        client.wait().expect("it ends");
        let _ = typist.kill();
        typist.wait().expect("it ends");
        let replayed = home.json(&["replay", &format!("m@{recording}")]);
        let (tick, events) = parts(text(&replayed, "to"));
        let (tick_told, events_told) = parts(told);
        let holds = tick >= tick_told && events >= events_told;
        assert!(holds, "round {number}, {action:?}: {told} was told of: {replayed}");
        let state = home.json(&["inspect", "m"])["state"].clone();
        if state != "running" {
            let back: Value = home.json(&["rewind", "m", "--to", "end"]);
            assert!(back["ticks"].is_u64(), "round {number}, {action:?}: {back}");
        }
    }
}
