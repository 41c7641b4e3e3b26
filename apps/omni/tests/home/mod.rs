//! What tests of the program from outside have in common: a home of its own, and programs to run.

use omni_host::TempDir;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

/// A home of its own, with programs in it.
pub(crate) struct Home {
    pub(crate) dir: TempDir,
}

impl Home {
    pub(crate) fn new(name: &str) -> Self {
        let dir = TempDir::new(name).expect("a writable host");
        let home = Self { dir };
        home.write("story.z5", &omni_vm_zmachine::sample_story());
        home.write("counter", &elf(&COUNTER));
        home
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.path().join(name), bytes).expect("writable");
    }

    pub(crate) fn omni(&self, args: &[&str]) -> Command {
        self.omni_at("home", args)
    }

    pub(crate) fn omni_at(&self, home: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omni"));
        command.env("OMNI_HOME", self.dir.path().join(home)).current_dir(self.dir.path());
        command.args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        self.omni(args).output().expect("it can be started")
    }

    #[track_caller]
    pub(crate) fn check(&self, args: &[&str]) -> String {
        self.fails(args, 0).0
    }

    /// What it says on standard output, and on standard error.
    #[track_caller]
    pub(crate) fn fails(&self, args: &[&str], code: i32) -> (String, String) {
        let output = self.output(args);
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {talk}");
        (String::from_utf8(output.stdout).expect("text"), talk)
    }

    /// Both in one, where it ends with this code.
    #[track_caller]
    pub(crate) fn says(&self, args: &[&str], code: i32) -> String {
        let (said, talk) = self.fails(args, code);
        said + &talk
    }

    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut all = self.objects(args);
        assert_eq!(all.len(), 1, "{args:?}: {all:?}");
        all.remove(0)
    }

    #[track_caller]
    pub(crate) fn objects(&self, args: &[&str]) -> Vec<Value> {
        let text = self.check(&[args, &["--json"]].concat());
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("an object a line");
        let all: Vec<Value> = text.lines().map(parse).collect();
        assert!(all.iter().all(|value| value["api"] == "omni/v1"), "{text}");
        all
    }

    /// A machine that runs by itself.
    #[track_caller]
    pub(crate) fn run(&self, name: &str, args: &[&str]) {
        self.check(&[&["run", "--detach", "--seed", "7", "--name", name], args].concat());
    }

    /// Types a line at a machine's console, and gives what is said until `end`.
    #[track_caller]
    pub(crate) fn typed(&self, machine: &str, line: &str, end: impl Into<String>) -> String {
        typed_by(self.omni(&["attach", machine]), line, end)
    }

    /// Types a line at a story, and gives its answer. What the story says before it hears anything
    /// ends as an answer does, and is none.
    #[track_caller]
    pub(crate) fn answered(&self, machine: &str, line: &str) -> String {
        let answer = |said: &str| said.find("Line ").filter(|_| said.ends_with('>'));
        let line = format!("{line}\n");
        let attach = self.omni(&["attach", machine]);
        let said = typed_until(attach, &line, |said| answer(said).is_some());
        said[answer(&said).expect("waited for")..].to_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        for home in ["home", "other"] {
            let listed = self.omni_at(home, &["ps", "--all", "--quiet"]).output();
            let ids = listed.map(|output| output.stdout).unwrap_or_default();
            // Forks before those that they came from.
            let mut ids: Vec<_> =
                String::from_utf8_lossy(&ids).lines().map(str::to_owned).collect();
            ids.reverse();
            for id in ids {
                let _ = self.omni_at(home, &["rm", "--force", &id]).output();
            }
        }
    }
}

#[track_caller]
pub(crate) fn typed_by(attach: Command, line: &str, end: impl Into<String>) -> String {
    let end = end.into();
    typed_until(attach, line, |said| said.ends_with(&end))
}

/// Types a line by a command, and gives what is said until that is whole.
#[track_caller]
fn typed_until(mut attach: Command, line: &str, is_whole: impl Fn(&str) -> bool) -> String {
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
    while !is_whole(&String::from_utf8_lossy(&said)) {
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
pub(crate) const COUNTER: [u32; 12] = [
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
pub(crate) fn elf(code: &[u32]) -> Vec<u8> {
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

pub(crate) fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} is no text: {value}"))
}
