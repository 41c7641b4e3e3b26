//! The program from outside: what is recorded is lived once more, and left for another life.

use omni_host::TempDir;
use omni_lifecycle::{Log, LogWriter};
use omni_machine::Event;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A home of its own, with programs in it.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new(name: &str) -> Self {
        let home = Self { dir: TempDir::new(name).expect("a writable host") };
        let write = |name: &str, bytes: &[u8]| {
            fs::write(home.dir.path().join(name), bytes).expect("writable");
        };
        write("story.z5", &omni_vm_zmachine::sample_story());
        write("counter", &elf(&COUNTER));
        write("disk.raw", &[7; 8192]);
        home
    }

    fn omni(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
        command.env("OMNI_HOME", self.dir.path().join("home")).current_dir(self.dir.path());
        command.args(args).stdin(Stdio::null());
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        self.omni(args).output().expect("it can be started")
    }

    #[track_caller]
    fn check(&self, args: &[&str]) -> String {
        self.fails(args, 0).0
    }

    /// What it says on standard output, and on standard error.
    #[track_caller]
    fn fails(&self, args: &[&str], code: i32) -> (String, String) {
        let output = self.output(args);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {talk}");
        (String::from_utf8(output.stdout).expect("text"), talk)
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let text = self.check(&[args, &["--json"]].concat());
        let value: Value = serde_json::from_str(&text).expect("one object");
        assert_eq!(value["api"], "omni/v1", "{text}");
        value
    }

    /// A machine that runs by itself.
    #[track_caller]
    fn run(&self, args: &[&str]) {
        self.check(&[&["run", "--detach", "--seed", "7", "--name", "m"], args].concat());
    }

    /// Types at a machine's console, and gives what is said until `end`.
    #[track_caller]
    fn typed(&self, line: &str, end: &str) -> String {
        let mut attach = self.omni(&["attach", "m"]);
        let attach = attach.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = attach.spawn().expect("it can be started");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(line.as_bytes()).expect("someone reads");
        let (mut said, mut some) = (Vec::new(), [0; 256]);
        let mut stdout = child.stdout.take().expect("piped");
        while !said.ends_with(end.as_bytes()) {
            let count = stdout.read(&mut some).expect("readable");
            assert!(count > 0, "no answer came: {}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&some[..count]);
        }
        // The machine is not its own, and runs on.
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        String::from_utf8(said).expect("text")
    }

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

    /// Ends the monitor as nothing else does.
    fn kill_monitor(&self) {
        let state = fs::read(self.machine_dir().join("state.json")).expect("there");
        let state: Value = serde_json::from_slice(&state).expect("plain data");
        let pid = state["pid"].as_u64().expect("it lives").to_string();
        let killed = Command::new("kill").args(["-9", &pid]).status().expect("it can be started");
        assert!(killed.success());
        while self.json(&["inspect", "m"])["state"] != "failed" {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let listed = self.output(&["ps", "--quiet"]).stdout;
        for id in String::from_utf8_lossy(&listed).lines() {
            let _ = self.output(&["rm", "--force", id]);
        }
    }
}

/// Counts the bytes that it gets in its memory, and answers each with the letter of that number.
const COUNTER: [u32; 12] = [
    0x0000_1497, // auipc s1, 1
    0x1000_0437, // lui s0, 0x10000
    0x0054_4503, // lbu a0, 5(s0)
    0x0015_7513, // andi a0, a0, 1
    0xfe05_0ce3, // beqz a0, to the lbu
    0x0004_4583, // lbu a1, 0(s0)
    0x0004_b603, // ld a2, 0(s1)
    0x0016_0613, // addi a2, a2, 1
    0x00c4_b023, // sd a2, 0(s1)
    0x0606_0613, // addi a2, a2, 96
    0x00c4_0023, // sb a2, 0(s0)
    0xfddf_f06f, // j to the lbu
];

/// A program for the board as an ELF file.
fn elf(code: &[u32]) -> Vec<u8> {
    let start = 0x8000_0000_u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xf3\0\x01\0\0\0".to_vec();
    file.extend([start, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    file.extend([0, 0, 64, 56, 1, 64, 0, 0].iter().flat_map(|half: &u16| half.to_le_bytes()));
    file.resize(64, 0);
    file.extend([1, 0, 0, 0, 7, 0, 0, 0]);
    let size = 4 * code.len() as u64;
    let segment = [0x1000, start, start, size, size, 0x1000];
    file.extend(segment.iter().flat_map(|word| word.to_le_bytes()));
    file.resize(0x1000, 0);
    file.extend(code.iter().flat_map(|insn| insn.to_le_bytes()));
    file
}

const BOARD: &[&str] = &["--memory", "16M", "--disk", "disk.raw", "counter"];

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {value}"))
}

#[test]
fn a_recorded_story_replays_to_the_same_state() {
    let home = Home::new("rec-story");
    home.run(&["--record", "story.z5"]);
    for (line, answer) in [("one\n", "Line 1,"), ("two\n", "Line 2,"), ("three\n", "Line 3,")] {
        let said = home.typed(line, ">");
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
    let home = Home::new("rec-board");
    home.run(&[&["--record"], BOARD].concat());
    home.typed("x", "a");
    let one = home.json(&["snapshot", "m", "one"]);
    home.typed("xx", "c");
    let two = home.json(&["snapshot", "m", "two"]);
    home.typed("x", "d");
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
    let home = Home::new("rec-later");
    home.run(BOARD);
    home.typed("x", "a");
    home.fails(&["replay", "m"], 3);
    home.fails(&["rewind", "m", "1s"], 5);
    home.fails(&["record", "--stop", "m"], 5);
    let begun = home.json(&["record", "m"]);
    assert_eq!(text(&begun, "recording"), "r1");
    home.fails(&["record", "m"], 4);
    home.fails(&["rm", "m@r1"], 5);
    home.typed("x", "b");
    home.check(&["record", "--stop", "m"]);
    home.typed("x", "c");
    assert_eq!(home.json(&["when", "m"])["recording"], Value::Null);
    let replayed = home.json(&["replay", "m"]);
    assert_eq!(replayed["events"], 1, "{replayed}");
    assert_eq!(text(&home.json(&["record", "m"]), "recording"), "r2");
    home.typed("x", "d");
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
    let home = Home::new("rec-rewind");
    home.run(&["--record", "story.z5"]);
    home.typed("one\n", ">");
    let then = home.json(&["snapshot", "m", "then"]);
    let second = home.typed("two\n", ">");
    let third = home.typed("three\n", ">");
    assert!(third.contains("Line 3,"), "{third}");
    let back = home.json(&["rewind", "m", "--to", text(&then, "moment")]);
    assert_eq!(text(&back, "digest"), text(&then, "digest"));
    let (before, tag) = (text(&back, "before"), text(&back, "tag"));
    // It has no memory of what it left, and another life to live.
    let other = home.typed("other\n", ">");
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
    let fourth = home.typed("four\n", ">");
    assert!(fourth.contains("Line 4,"), "{fourth}");
    home.check(&["restore", &format!("m@{tag}")]);
    assert_eq!(home.typed("two\n", ">"), second);
}

#[test]
fn a_machine_goes_back_by_a_stretch_of_its_time() {
    let home = Home::new("rec-seconds");
    home.run(&[&["--record"], BOARD].concat());
    home.typed("xxx", "c");
    let now = home.json(&["snapshot", "m", "here"]);
    // It counts on while its clock runs.
    home.typed("x", "d");
    home.check(&["pause", "m"]);
    let far = home.json(&["when", "m"])["ticks"].as_u64().expect("a tick");
    let back = far - now["ticks"].as_u64().expect("a tick");
    home.check(&["rewind", "m", &format!("{}us", back / 1000 + 1)]);
    let said = home.typed("x", "d");
    assert_eq!(said, "d", "the fourth once more");
    home.fails(&["rewind", "m", "9999h"], 3);
    home.fails(&["rewind", "m", "soon"], 2);
    home.typed("x", "e");
    // One that has ended goes back too.
    home.check(&["kill", "m"]);
    home.check(&["rewind", "m", "--to", "end"]);
    home.typed("x", "f");
}

#[test]
fn what_a_killed_monitor_had_recorded_replays() {
    let home = Home::new("rec-killed");
    home.run(&[&["--record"], BOARD].concat());
    for (line, answer) in [("xx", "b"), ("xxx", "e"), ("x", "f")] {
        home.typed(line, answer);
    }
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
    home.typed("x", &next.to_string());
}

#[test]
fn a_log_that_was_changed_is_refused_and_a_forged_one_diverges() {
    let home = Home::new("rec-forged");
    home.run(&[&["--record"], BOARD].concat());
    home.typed("x", "a");
    home.typed("x", "b");
    home.typed("x", "c");
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
    // A byte more is typed, and every digest of the log is made right.
    let mut forged = LogWriter::new(log.head());
    for (tick, event) in log.events() {
        let more = |bytes: &Vec<u8>| [&bytes[..], b"y"].concat();
        let event = match event {
            Event::Input { port, bytes } => Event::Input { port: *port, bytes: more(bytes) },
            Event::IoDone { .. } | Event::Generation { .. } | Event::Control(_) => event.clone(),
        };
        forged.event(*tick, &event);
    }
    forged.check(log.checks().last().expect("its end is checked"));
    fs::write(&path, forged.take()).expect("writable");
    let (_, talk) = home.fails(&["replay", "m"], 10);
    assert!(talk.contains("differs from the recording at tick"), "{talk}");
    assert!(talk.contains("record '"), "{talk}");
}

#[test]
fn harts_side_by_side_are_not_recorded() {
    let home = Home::new("rec-parallel");
    let (_, talk) = home.fails(&["run", "--record", "--parallel", "--cpus", "2", "counter"], 8);
    assert!(talk.contains("--turns"), "{talk}");
    home.run(&["--parallel", "--cpus", "2", "--memory", "16M", "counter"]);
    let (_, talk) = home.fails(&["record", "m"], 5);
    assert!(talk.contains("--turns"), "{talk}");
    home.check(&["kill", "m"]);
    home.fails(&["start", "--record", "m"], 8);
    home.check(&["start", "--record", "--turns", "m"]);
    home.typed("x", "a");
    assert_eq!(text(&home.json(&["when", "m"]), "recording"), "r1");
}
