//! The program from outside: forks that share the monitor process of a live machine.

use omni_host::TempDir;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

/// A home of its own, with programs in it.
struct Home {
    dir: TempDir,
}

impl Home {
    fn new(name: &str) -> Self {
        let dir = TempDir::new(name).expect("a writable host");
        fs::write(dir.path().join("story.z5"), omni_vm_zmachine::sample_story()).expect("writable");
        fs::write(dir.path().join("counter"), elf(&COUNTER)).expect("writable");
        Self { dir }
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
    fn check(&self, args: &[&str], code: i32) -> String {
        let output = self.output(args);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {talk}");
        String::from_utf8(output.stdout).expect("text") + &talk
    }

    #[track_caller]
    fn objects(&self, args: &[&str]) -> Vec<Value> {
        let text = self.check(&[args, &["--json"]].concat(), 0);
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("an object a line");
        text.lines().map(parse).collect()
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        let mut all = self.objects(args);
        assert_eq!(all.len(), 1, "{args:?}: {all:?}");
        all.remove(0)
    }

    #[track_caller]
    fn run(&self, name: &str, args: &[&str]) {
        self.check(&[&["run", "--detach", "--seed", "7", "--name", name], args].concat(), 0);
    }

    /// Types a line at a machine's console, and gives what is said until `end`.
    #[track_caller]
    fn typed(&self, machine: &str, line: &str, end: char) -> String {
        typed_by(self.omni(&["attach", machine]), line, end)
    }

    /// The machines in one of these states, and the processes that they live in.
    #[track_caller]
    fn in_state(&self, state: &str) -> (Vec<String>, Vec<u64>) {
        let all: Vec<Value> =
            self.objects(&["ps", "--all"]).into_iter().filter(|m| m["state"] == state).collect();
        let names: Vec<String> = all.iter().map(|m| text(m, "name").to_owned()).collect();
        let pid = |name: &String| self.json(&["inspect", name])["pid"].as_u64();
        let mut pids: Vec<u64> = names.iter().filter_map(pid).collect();
        pids.dedup();
        (names, pids)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let listed = self.output(&["ps", "--all", "--quiet"]).stdout;
        let mut ids: Vec<_> = String::from_utf8_lossy(&listed).lines().map(str::to_owned).collect();
        // Forks before those that they came from.
        ids.reverse();
        for id in ids {
            let _ = self.omni(&["rm", "--force", &id]).output();
        }
    }
}

#[track_caller]
fn typed_by(mut attach: Command, line: &str, end: char) -> String {
    let mut child = attach
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it can be started");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(line.as_bytes()).expect("someone reads");
    let (mut said, mut some) = (Vec::new(), [0; 256]);
    let mut stdout = child.stdout.take().expect("piped");
    while !said.ends_with(&[u8::try_from(end).expect("a byte")]) {
        let count = stdout.read(&mut some).expect("readable");
        assert!(count > 0, "no answer came: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&some[..count]);
    }
    // The machine is not its own, and runs on.
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    String::from_utf8(said).expect("text")
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

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {value}"))
}

fn resumed(home: &Home, name: &str) -> String {
    home.check(&["resume", name], 0);
    home.typed(name, "three\n", '>')
}

#[test]
fn forks_of_a_live_machine_share_its_process_and_end_each_alone() {
    let home = Home::new("family-story");
    home.run("m", &["story.z5"]);
    home.typed("m", "one\n", '>');
    let forks = home.objects(&["fork", "m", "--count", "8"]);
    let names: Vec<&str> = forks.iter().map(|fork| text(fork, "name")).collect();
    assert_eq!(names.len(), 8);
    for fork in &forks {
        assert!(fork["start_ms"].is_number() && fork["private_bytes"].is_u64(), "{fork}");
        let said = home.typed(text(fork, "id"), "two\n", '>');
        assert!(said.contains("Line 2,"), "each goes on from what was: {said}");
    }
    let (running, pids) = home.in_state("running");
    assert_eq!((running.len(), pids.len()), (9, 1), "{running:?} {pids:?}");
    // By the plug, by the button, by the end of its own, and altogether.
    home.check(&["kill", names[0]], 0);
    assert_eq!(home.json(&["inspect", names[0]])["exit_code"], 137);
    let stopped = home.json(&["stop", names[1]]);
    assert_eq!(stopped["exit_code"], 0, "{stopped}");
    home.check(&["rm", "--force", names[2]], 0);
    home.check(&["inspect", names[2]], 3);
    // That they came from one that has gone does not matter to them, nor that it comes again.
    home.check(&["kill", "m"], 0);
    assert!(home.typed(names[3], "three\n", '>').contains("Line 3,"));
    home.check(&["start", "m"], 0);
    let (running, pids) = home.in_state("running");
    assert_eq!((running.len(), pids.len()), (6, 2), "{running:?} {pids:?}");
    // A fork is forked, held, told of and logged as any machine is.
    let second = home.json(&["fork", names[3]]);
    assert!(home.typed(text(&second, "name"), "four\n", '>').contains("Line 4,"));
    home.check(&["pause", names[4]], 0);
    assert_eq!(home.json(&["inspect", names[4]])["state"], "paused");
    assert!(home.json(&["stats", names[5]])["private_bytes"].is_u64());
    assert!(home.check(&["logs", names[3]], 0).contains("Line 3,"));
    for name in home.in_state("running").0 {
        home.check(&["kill", &name], 0);
    }
    assert!(resumed(&home, names[4]).contains("Line 3,"), "the last one still lives");
}

#[test]
fn a_process_that_is_killed_fails_all_its_machines_and_others_go_on() {
    let home = Home::new("family-killed");
    home.run("m", &["--memory", "16M", "counter"]);
    home.typed("m", "x", 'a');
    let forks = home.objects(&["fork", "m", "--count", "2"]);
    let apart = home.json(&["fork", "m", "--apart"]);
    for fork in &forks {
        home.typed(text(fork, "id"), "x", 'b');
    }
    let name = text(&forks[0], "name");
    home.check(&["snapshot", name, "own"], 0);
    home.typed(name, "x", 'c');
    let pid = home.json(&["inspect", "m"])["pid"].to_string();
    let own = home.json(&["inspect", text(&apart, "name")])["pid"].to_string();
    assert_ne!(pid, own);
    let killed = Command::new("kill").args(["-9", &pid]).status().expect("there is a kill");
    assert!(killed.success());
    // The process may take a moment to go.
    while home.in_state("failed").0.len() < 3 {
        std::thread::yield_now();
    }
    home.typed(text(&apart, "name"), "x", 'b');
    home.check(&["restore", &format!("{name}@own")], 0);
    home.typed(name, "x", 'c');
    home.check(&["rm", "m"], 0);
    home.check(&["start", text(&forks[1], "name")], 0);
    home.typed(text(&forks[1], "name"), "x", 'a');
}

#[test]
fn forks_that_cannot_all_be_had_leave_none() {
    let home = Home::new("family-none");
    home.run("m", &["story.z5"]);
    home.typed("m", "one\n", '>');
    home.check(&["fork", "m", "--count", "0"], 2);
    home.check(&["fork", "m", "--count", "5001"], 2);
    let machines = home.dir.path().join("home/state/machines");
    let full = home.check(&["fork", "m", "--count", "2", "--publish", "nonsense"], 2);
    assert!(full.contains("--publish"), "{full}");
    assert_eq!(home.objects(&["ps"]).len(), 1);
    let folders = fs::read_dir(&machines).expect("there").filter_map(Result::ok);
    let folders = folders.filter(|item| item.path().is_dir()).count();
    assert_eq!(folders, 1, "nothing half made is left");
    home.check(&["kill", "m"], 0);
    home.check(&["fork", "m"], 5);
}
