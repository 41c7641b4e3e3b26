//! The program from outside: what is recorded is lived once more, and left for another life.

#[allow(dead_code, reason = "each of the tests of the program needs some of it")]
mod home;

use home::{Home, text};
use omni_lifecycle::{Log, LogWriter};
use omni_machine::Event;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

fn home(name: &str) -> Home {
    let home = Home::new(name);
    home.write("disk.raw", &[7; 8192]);
    home
}

impl Home {
    /// The digest of the machine, which is paused.
    #[track_caller]
    fn digest(&self) -> String {
        text(&self.json(&["inspect", "m"]), "digest").to_owned()
    }

    fn machine_dir(&self) -> PathBuf {
        self.json(&["inspect", "m"])["directory"].as_str().expect("a path").into()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.machine_dir().join("recordings").join(format!("{name}.log"))
    }

    /// Waits until the log of a recording holds something.
    #[track_caller]
    fn logs(&self, name: &str, there: impl Fn(&Log) -> bool) {
        let holds = || {
            let bytes = fs::read(self.log(name)).expect("there");
            Log::from_bytes(&bytes).is_ok_and(|(log, _)| there(&log))
        };
        while !holds() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the monitor as nothing else does.
    fn kill_monitor(&self) {
        let state = fs::read(self.machine_dir().join("state.json")).expect("there");
        let state: Value = serde_json::from_slice(&state).expect("plain data");
        let pid = state["pid"].as_u64().expect("it lives").to_string();
        let killed = Command::new("kill").args(["-9", &pid]).status().expect("it can be started");
        assert!(killed.success());
        while self.json(&["inspect", "m"])["state"] != "failed" {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

const BOARD: &[&str] = &["--memory", "16M", "--disk", "disk.raw", "counter"];

#[test]
fn a_recorded_story_replays_to_the_same_state() {
    let home = home("rec-story");
    home.run("m", &["--record", "story.z5"]);
    for (line, answer) in [("one", "Line 1,"), ("two", "Line 2,"), ("three", "Line 3,")] {
        let said = home.answered("m", line);
        assert!(said.contains(answer), "{said}");
    }
    home.check(&["pause", "m"]);
    let replayed = home.json(&["replay", "m"]);
    assert_eq!(text(&replayed, "digest"), home.digest());
    assert_eq!(text(&replayed, "recording"), "r1");
    assert!(replayed["events"].as_u64() >= Some(3), "{replayed}");
    let now = home.json(&["when", "m"]);
    assert_eq!(text(&now, "moment"), text(&replayed, "to"));
    assert_eq!(text(&now, "recording"), "r1");
    assert!(now["rungs"].as_array().is_some_and(|rungs| !rungs.is_empty()), "{now}");
    let (said, talk) = home.fails(&["replay", "m", "--console"], 0);
    let lines = ["Line 1,", "Line 2,", "Line 3,"];
    assert!(lines.iter().all(|line| said.contains(line)), "{said}");
    assert!(talk.contains("the same at"), "{talk}");
    home.check(&["kill", "m"]);
    let ended = home.json(&["replay", "m"]);
    assert_eq!(text(&ended, "digest"), text(&replayed, "digest"));
    assert!(ended["checks"].as_u64() >= Some(1), "its end is checked whole: {ended}");
    let told = home.check(&["when", "m"]);
    assert!(told.contains("not recorded at present") && told.contains("r1: from 0/0"), "{told}");
}

#[test]
fn any_recorded_moment_of_a_board_can_be_had_again() {
    let home = home("rec-board");
    home.run("m", &[&["--record"], BOARD].concat());
    home.typed("m", "x", "a");
    let one = home.json(&["snapshot", "m", "one"]);
    home.typed("m", "xx", "c");
    let two = home.json(&["snapshot", "m", "two"]);
    home.typed("m", "x", "d");
    home.check(&["pause", "m"]);
    for taken in [&one, &two] {
        let there = home.json(&["replay", "m", "--to", text(taken, "moment")]);
        assert_eq!(text(&there, "digest"), text(taken, "digest"));
        assert_eq!(there["ticks"], taken["ticks"]);
    }
    let end = home.digest();
    for from in ["m", "m@r1", "m@one", "m@two", "m@two~1"] {
        let there = home.json(&["replay", from]);
        assert_eq!(text(&there, "digest"), end, "{from}");
        let start = text(&there, "from");
        assert_eq!(start == "0/0", !from.contains('o'), "{from} from {start}");
    }
    let ticks = |to: &str| home.json(&["replay", "m", "--to", to])["ticks"].clone();
    assert_eq!(ticks("start"), 0);
    assert_eq!(ticks("50us"), 50_000);
    assert_eq!(ticks("12345"), 12345);
    home.fails(&["replay", "m", "--to", "never"], 2);
    home.fails(&["replay", "m", "--to", "999h"], 3);
    home.fails(&["replay", "m@two", "--to", "start"], 2);
    home.fails(&["replay", "m@nonesuch"], 3);
    home.fails(&["replay", "nonesuch"], 3);
}

#[test]
fn a_running_machine_is_recorded_from_then_on_and_no_longer_than_wanted() {
    let home = home("rec-later");
    home.run("m", BOARD);
    home.typed("m", "x", "a");
    home.fails(&["replay", "m"], 3);
    home.fails(&["rewind", "m", "1s"], 5);
    home.fails(&["record", "--stop", "m"], 5);
    let begun = home.json(&["record", "m"]);
    assert_eq!(text(&begun, "recording"), "r1");
    home.fails(&["record", "m"], 4);
    home.fails(&["rm", "m@r1"], 5);
    home.typed("m", "x", "b");
    home.check(&["record", "--stop", "m"]);
    home.typed("m", "x", "c");
    assert_eq!(home.json(&["when", "m"])["recording"], Value::Null);
    let replayed = home.json(&["replay", "m"]);
    assert_eq!(replayed["events"], 1, "{replayed}");
    assert_eq!(text(&home.json(&["record", "m"]), "recording"), "r2");
    home.typed("m", "x", "d");
    home.check(&["pause", "m"]);
    assert_eq!(text(&home.json(&["replay", "m@r2"]), "digest"), home.digest());
    home.check(&["rm", "m@r1"]);
    home.fails(&["replay", "m@r1"], 3);
    home.check(&["gc"]);
    assert_eq!(text(&home.json(&["replay", "m"]), "digest"), home.digest());
    let dir = home.machine_dir();
    home.check(&["rm", "--force", "m"]);
    assert!(!dir.exists());
    let trees = home.dir.path().join("home/state/store/trees");
    let left = fs::read_dir(&trees).map(|all| all.count()).unwrap_or(0);
    assert_eq!(left, 0, "rungs are left of a machine that is gone: {}", trees.display());
}

#[test]
fn a_machine_goes_back_and_lives_another_way_and_what_it_left_is_kept() {
    let home = home("rec-rewind");
    home.run("m", &["--record", "story.z5"]);
    home.answered("m", "one");
    let then = home.json(&["snapshot", "m", "then"]);
    let second = home.answered("m", "two");
    let third = home.answered("m", "three");
    assert!(third.contains("Line 3,"), "{third}");
    let back = home.json(&["rewind", "m", "--to", text(&then, "moment")]);
    assert_eq!(text(&back, "digest"), text(&then, "digest"));
    let (before, tag) = (text(&back, "before"), text(&back, "tag"));
    // It has no memory of what it left, and another life to live.
    let other = home.answered("m", "other");
    assert!(other.contains("Line 2,"), "{other}");
    home.check(&["pause", "m"]);
    let now = home.json(&["when", "m"]);
    assert_eq!(text(&now, "recording"), "r2");
    let branch = &now["recordings"][1];
    assert_eq!(text(&branch["from"], "recording"), "r1", "{now}");
    assert_eq!(text(&branch["from"], "moment"), text(&then, "moment"));
    assert_eq!(text(&home.json(&["replay", "m"]), "digest"), home.digest());
    // Both ends of what it left: the recording up to it, and a machine that is there.
    let left = home.json(&["replay", "m@r1"]);
    let all = home.check(&["snapshots", "m", "--json"]);
    let all = all.lines().map(|line| serde_json::from_str::<Value>(line).expect("an object"));
    let all: Vec<Value> = all.collect();
    let kept = all.iter().find(|one| one["tag"] == before).expect("it was kept");
    assert_eq!(text(&left, "digest"), text(kept, "digest"));
    let gone_to = all.iter().find(|one| one["tag"] == tag).expect("it was kept");
    assert_eq!(text(gone_to, "parent"), "then");
    home.check(&["restore", &format!("m@{before}")]);
    let fourth = home.answered("m", "four");
    assert!(fourth.contains("Line 4,"), "{fourth}");
    home.check(&["restore", &format!("m@{tag}")]);
    assert_eq!(home.answered("m", "two"), second);
}

#[test]
fn a_machine_goes_back_by_a_stretch_of_its_time() {
    let home = home("rec-seconds");
    home.run("m", &[&["--record"], BOARD].concat());
    home.typed("m", "xxx", "c");
    let now = home.json(&["snapshot", "m", "here"]);
    // It counts on while its clock runs.
    home.typed("m", "x", "d");
    home.check(&["pause", "m"]);
    let far = home.json(&["when", "m"])["ticks"].as_u64().expect("a tick");
    let back = far - now["ticks"].as_u64().expect("a tick");
    home.check(&["rewind", "m", &format!("{}us", back / 1000 + 1)]);
    let said = home.typed("m", "x", "d");
    // The third may be answered again first, where the machine got little time since.
    assert!(["d", "cd"].contains(&&*said), "the fourth once more: {said}");
    home.fails(&["rewind", "m", "9999h"], 3);
    home.fails(&["rewind", "m", "soon"], 2);
    home.typed("m", "x", "e");
    // One that has ended goes back too.
    home.check(&["kill", "m"]);
    home.check(&["rewind", "m", "--to", "end"]);
    home.typed("m", "x", "f");
}

#[test]
fn a_machine_goes_back_beyond_where_it_had_gone_back_to() {
    let home = home("rec-again");
    home.run("m", &["--record", "story.z5"]);
    home.answered("m", "one");
    let first = home.json(&["snapshot", "m", "first"]);
    home.answered("m", "two");
    let second = home.json(&["snapshot", "m", "second"]);
    home.answered("m", "three");
    home.check(&["rewind", "m", "--to", text(&second, "moment")]);
    home.answered("m", "other");
    // That was before the recording began that is under way.
    let tick = first["ticks"].to_string();
    let back = home.json(&["rewind", "m", "--to", &tick]);
    assert_eq!((text(&back, "recording"), &back["ticks"]), ("r1", &first["ticks"]));
    let said = home.answered("m", "two");
    assert!(said.contains("Line 2,"), "{said}");
    // And all of it, by its time.
    home.fails(&["rewind", "m", "9999h"], 3);
    home.fails(&["rewind", "m", "--to", "1/999"], 3);
    home.check(&["rewind", "m", "--to", "0"]);
    let said = home.answered("m", "again");
    assert!(said.contains("Line 1,"), "{said}");
}

#[test]
fn what_a_killed_monitor_had_recorded_replays() {
    let home = home("rec-killed");
    home.run("m", &[&["--record"], BOARD].concat());
    for (line, answer) in [("xx", "b"), ("xxx", "e"), ("x", "f")] {
        home.typed("m", line, answer);
    }
    // They are written soon after they were let in, by a thread of their own.
    home.logs("r1", |log| log.events().len() >= 3);
    home.kill_monitor();
    let replayed = home.json(&["replay", "m"]);
    assert!(replayed["events"].as_u64() >= Some(2), "{replayed}");
    let (said, _) = home.fails(&["replay", "m", "--console"], 0);
    assert!("abcdef".starts_with(&said) && said.len() >= 4, "{said}");
    // What was let in last may not have been answered yet where the log ends.
    let log = Log::from_bytes(&fs::read(home.log("r1")).expect("there")).expect("whole").0;
    let typed = |event: &Event| match event {
        Event::Input { bytes, .. } => bytes.len(),
        Event::IoDone { .. } | Event::Generation { .. } | Event::Control(_) => 0,
    };
    let count: usize = log.events().iter().map(|(_, event)| typed(event)).sum();
    home.check(&["rewind", "m", "--to", "end"]);
    let next = char::from(b'a' + u8::try_from(count).expect("few"));
    home.typed("m", "x", next.to_string());
}

#[test]
fn a_log_that_was_changed_is_refused_and_a_forged_one_diverges() {
    let home = home("rec-forged");
    home.run("m", &[&["--record"], BOARD].concat());
    home.typed("m", "x", "a");
    home.typed("m", "x", "b");
    home.typed("m", "x", "c");
    home.check(&["kill", "m"]);
    let path = home.log("r1");
    let whole = fs::read(&path).expect("there");
    let (log, torn) = Log::from_bytes(&whole).expect("whole");
    assert_eq!(torn, 0);
    for at in [3, 20, whole.len() / 2, whole.len() - 3] {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        fs::write(&path, &bytes).expect("writable");
        let (_, talk) = home.fails(&["replay", "m"], 9);
        assert!(talk.contains("r1.log"), "{talk}");
    }
    // A tail that was never whole is left out.
    fs::write(&path, &whole[..whole.len() - 9]).expect("writable");
    home.check(&["replay", "m"]);
    fs::write(&path, forged(&log)).expect("writable");
    let wrong = format!("2 bytes at port 0 at tick {}", log.events()[1].0.0);
    for args in [&["replay", "m"][..], &["rewind", "m", "--to", "end"]] {
        let (_, talk) = home.fails(args, 10);
        assert!(talk.contains("not what the log holds") && talk.contains(&wrong), "{talk}");
        assert!(talk.contains("differs from the recording at tick"), "{talk}");
        assert!(talk.contains("record '"), "{talk}");
    }
}

/// A log in which a byte more is typed once; every digest of it is made right.
fn forged(log: &Log) -> Vec<u8> {
    let mut forged = LogWriter::new(log.head());
    let mut pulses = log.pulses().iter().peekable();
    for (at, (tick, event)) in log.events().iter().enumerate() {
        while let Some(pulse) = pulses.next_if(|pulse| pulse.moment.events <= at) {
            forged.pulse(pulse);
        }
        match event {
            Event::Input { port, bytes } if at == 1 => {
                let bytes = [&bytes[..], b"y"].concat();
                forged.event(*tick, &Event::Input { port: *port, bytes });
            }
            Event::Input { .. }
            | Event::IoDone { .. }
            | Event::Generation { .. }
            | Event::Control(_) => forged.event(*tick, event),
        }
    }
    pulses.for_each(|pulse| forged.pulse(pulse));
    log.checks().last().into_iter().for_each(|end| forged.check(end));
    forged.take()
}

#[test]
fn a_debugger_whose_past_differs_is_told_so_in_the_words_of_a_replay() {
    let home = home("rec-debug");
    home.run("m", &[&["--record"], BOARD].concat());
    home.typed("m", "x", "a");
    home.typed("m", "x", "b");
    // A pulse comes soon after what was let in, and not at the present, which needs no replay.
    home.logs("r1", |log| log.pulses().iter().any(|pulse| pulse.moment.events >= 2));
    home.typed("m", "x", "c");
    home.check(&["pause", "m"]);
    // The log has a mark of the whole state at its end then.
    home.check(&["snapshot", "m", "end"]);
    home.check(&["when", "m"]);
    let path = home.log("r1");
    let (log, _) = Log::from_bytes(&fs::read(&path).expect("there")).expect("whole");
    fs::write(&path, forged(&log)).expect("writable");
    let after = log.pulses().iter().find(|pulse| pulse.moment.events >= 2).expect("some time");
    let mut debug = home.omni(&["debug", "m", "--listen", "stdio"]);
    let mut debug =
        debug.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let debug = debug.as_mut().expect("it can be started");
    let mut stdin = debug.stdin.take().expect("piped");
    write!(stdin, "$?#3f+{}+", goto(after.moment.tick.0)).expect("it listens");
    // Either it ends, or it answers.
    let (mut said, mut byte) = (Vec::new(), [0]);
    let mut stdout = debug.stdout.take().expect("piped");
    while !said.ends_with(b"$OK#") && stdout.read(&mut byte).expect("readable") > 0 {
        said.push(byte[0]);
    }
    drop(stdin);
    let mut talk = String::new();
    let mut stderr = debug.stderr.take().expect("piped");
    stderr.read_to_string(&mut talk).expect("text");
    assert_eq!(debug.wait().expect("it ends").code(), Some(10), "{talk}");
    let wrong = format!("2 bytes at port 0 at tick {}", log.events()[1].0.0);
    assert!(talk.contains("not what the log holds") && talk.contains(&wrong), "{talk}");
    assert!(talk.contains("differs from the recording at tick"), "{talk}");
    assert!(talk.contains("record '") && talk.contains("in its field"), "{talk}");
    // The machine itself is as it was.
    home.check(&["resume", "m"]);
    home.typed("m", "x", "d");
}

#[test]
fn a_machine_is_stopped_while_it_is_explained_why_its_past_differs() {
    let home = home("rec-stop");
    home.run("m", &[&["--record"], BOARD].concat());
    home.typed("m", "x", "a");
    // What is to be lived again, interpreted too, is long beside what it takes to stop a machine.
    let lived = || home.json(&["inspect", "m"])["ticks"].as_u64().expect("a tick");
    while lived() < 100_000_000 {}
    home.typed("m", "x", "b");
    home.logs("r1", |log| log.pulses().iter().any(|pulse| pulse.moment.events >= 2));
    home.typed("m", "x", "c");
    home.check(&["pause", "m"]);
    home.check(&["snapshot", "m", "end"]);
    home.check(&["when", "m"]);
    let path = home.log("r1");
    let (log, _) = Log::from_bytes(&fs::read(&path).expect("there")).expect("whole");
    fs::write(&path, forged(&log)).expect("writable");
    let after = log.pulses().iter().find(|pulse| pulse.moment.events >= 2).expect("some time");
    let mut debug = home.omni(&["debug", "m", "--listen", "stdio"]);
    let mut debug = debug
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it can be started");
    let mut stdin = debug.stdin.take().expect("piped");
    write!(stdin, "$?#3f+{}+", goto(after.moment.tick.0)).expect("it listens");
    let stopped = lived();
    // It goes on once the debugger has nothing more of it, and what is left is to be explained.
    home.check(&["resume", "m"]);
    while lived() == stopped {}
    home.check(&["stop", "--time", "0s", "m"]);
    assert_eq!(home.json(&["inspect", "m"])["state"], "stopped");
    let mut talk = String::new();
    let mut stderr = debug.stderr.take().expect("piped");
    stderr.read_to_string(&mut talk).expect("text");
    debug.wait().expect("it ends");
    assert!(!talk.contains("not what the log holds"), "it was stopped first: {talk}");
}

/// What a debugger says to go to a tick.
fn goto(tick: u64) -> String {
    let body: String = format!("goto {tick}").bytes().map(|byte| format!("{byte:02x}")).collect();
    let body = format!("qRcmd,{body}");
    let sum = body.bytes().fold(0u8, u8::wrapping_add);
    format!("${body}#{sum:02x}")
}

#[test]
fn harts_side_by_side_are_not_recorded() {
    let home = home("rec-parallel");
    let (_, talk) = home.fails(&["run", "--record", "--parallel", "--cpus", "2", "counter"], 8);
    assert!(talk.contains("--turns"), "{talk}");
    home.run("m", &["--parallel", "--cpus", "2", "--memory", "16M", "counter"]);
    let (_, talk) = home.fails(&["record", "m"], 5);
    assert!(talk.contains("--turns"), "{talk}");
    home.check(&["kill", "m"]);
    home.fails(&["start", "--record", "m"], 8);
    home.check(&["start", "--record", "--turns", "m"]);
    home.typed("m", "x", "a");
    assert_eq!(text(&home.json(&["when", "m"]), "recording"), "r1");
}
