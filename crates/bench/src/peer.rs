//! Where a kernel runs: natively, under QEMU, under Omnivisor; and one measurement of it.

use crate::BenchError;
use crate::child::{Heard, Program};
use crate::compile::{Programs, at};
use crate::inside::Inside;
use crate::report::{Missing, Present};
use crate::suite::Kernel;
use omni_machine::{Blob, Spec};
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Whoever has not answered by then hangs: kernels take a second or so.
const ANSWER_LIMIT: Duration = Duration::from_secs(120);

/// The kind of machine that is measured, and its memory; QEMU's machine gets as much.
pub(crate) const KIND: &str = "riscv-virt";
const MEMORY: &str = "128M";

pub(crate) const QEMU_SYSTEM: &str = "qemu-system-riscv64";
const QEMU_USER: &str = "qemu-riscv64";

/// Where a kernel runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// As a program of this host.
    Native,
    /// As a RISC-V Linux program under QEMU's user mode.
    QemuUser,
    /// On QEMU's `virt` board.
    Qemu,
    /// On Omnivisor's board.
    Omni,
}

impl Peer {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Native, Self::QemuUser, Self::Qemu, Self::Omni];

    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::QemuUser => "qemu-user",
            Self::Qemu => "qemu",
            Self::Omni => "omni",
        }
    }
}

/// One run of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sample {
    /// CPU time of the host.
    pub(crate) cpu: Duration,
    pub(crate) checksum: u64,
    /// Instructions of the guest, where the guest can count them.
    pub(crate) instructions: u64,
}

/// The programs and the peers that can run them here.
#[derive(Debug)]
pub(crate) struct Field {
    programs: Programs,
    bare: Blob,
    pub(crate) peers: Vec<Peer>,
    pub(crate) present: Vec<Present>,
    pub(crate) missing: Vec<Missing>,
}

impl Field {
    /// Compiles the suite and looks for peers.
    pub(crate) fn prepare(cache: &Path) -> Result<Self, BenchError> {
        let programs = Programs::prepare(cache)?;
        let bare = fs::read(&programs.bare).map_err(at(&programs.bare))?.into();
        let (peers, present, missing) = (vec![], vec![], vec![]);
        let mut field = Self { programs, bare, peers, present, missing };
        match field.programs.native {
            Some(_) => field.peers.push(Peer::Native),
            None => field.miss(Peer::Native, "no C compiler is installed", "apt install gcc"),
        }
        field.look_for(Peer::QemuUser, QEMU_USER, "apt install qemu-user");
        field.look_for(Peer::Qemu, QEMU_SYSTEM, "apt install qemu-system-misc");
        field.peers.push(Peer::Omni);
        Ok(field)
    }

    fn look_for(&mut self, peer: Peer, command: &str, get: &str) {
        match version_of(command) {
            Some(version) => {
                self.peers.push(peer);
                self.present.push(Present { peer, version });
            }
            None => self.miss(peer, &format!("{command} is not installed"), get),
        }
    }

    fn miss(&mut self, peer: Peer, why: &str, get: &str) {
        self.missing.push(Missing { peer, why: why.into(), get: get.into() });
    }

    /// Leaves out a peer that failed; the others can still be compared.
    pub(crate) fn drop_peer(&mut self, peer: Peer, error: &BenchError) {
        self.peers.retain(|other| *other != peer);
        self.miss(peer, &error.to_string(), "");
    }

    /// Runs a kernel once, in a fresh program or machine.
    pub(crate) fn run(
        &self,
        peer: Peer,
        kernel: &Kernel,
        count: u64,
    ) -> Result<Sample, BenchError> {
        let line = format!("{} {count}\n", kernel.name);
        let (answer, cpu) = match peer {
            Peer::Omni => self.ask_machine(&line)?,
            Peer::Native | Peer::QemuUser | Peer::Qemu => {
                ask_program(peer.name(), self.command(peer), &line)?
            }
        };
        let words: Vec<&str> = answer.split_whitespace().collect();
        let number = |word: &str| u64::from_str_radix(word, 16).ok();
        let numbers = match words[..] {
            ["done", checksum, instructions] => number(checksum).zip(number(instructions)),
            _ => None,
        };
        let garbled = || BenchError::Garbled { who: peer.name(), said: answer.clone() };
        let (checksum, instructions) = numbers.ok_or_else(garbled)?;
        Ok(Sample { cpu, checksum, instructions })
    }

    fn ask_machine(&self, line: &str) -> Result<(String, Duration), BenchError> {
        let mut spec = Spec::new(KIND);
        spec.options.insert("memory".into(), MEMORY.into());
        spec.files.insert("image".into(), self.bare.clone());
        let mut machine = Inside::start(&spec)?;
        machine.listen(ANSWER_LIMIT, ready)?;
        let before = machine.cpu;
        machine.say(line.as_bytes());
        let answer = machine.listen(ANSWER_LIMIT, done)?;
        Ok((answer, machine.cpu - before))
    }

    fn command(&self, peer: Peer) -> Command {
        match peer {
            Peer::Native => Command::new(self.programs.native.as_ref().expect("it is a peer")),
            Peer::QemuUser => {
                let mut command = Command::new(QEMU_USER);
                command.arg(&self.programs.user);
                command
            }
            Peer::Qemu => {
                let mut command = qemu_board(MEMORY);
                command.args(["-bios", "none", "-kernel"]).arg(&self.programs.bare);
                command
            }
            Peer::Omni => unreachable!("a machine of ours is no program"),
        }
    }
}

/// QEMU's board with a console on standard input and output, and nothing that ours has not.
pub(crate) fn qemu_board(memory: &str) -> Command {
    let mut command = Command::new(QEMU_SYSTEM);
    command.args(["-M", "virt", "-smp", "1", "-m", memory, "-accel", "tcg", "-nic", "none"]);
    command.args(["-display", "none", "-monitor", "none", "-serial", "stdio"]);
    command
}

/// The first line of what a program says of its version, where it is installed.
pub(crate) fn version_of(command: &str) -> Option<String> {
    let asked = Command::new(command).arg("--version").stdin(Stdio::null()).output();
    let output = asked.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

fn ask_program(
    who: &'static str,
    command: Command,
    line: &str,
) -> Result<(String, Duration), BenchError> {
    let mut program = Program::start(who, command)?;
    program.listen(ANSWER_LIMIT, ready)?;
    let before = program.cpu_at_rest()?;
    program.say(line.as_bytes())?;
    let answer = program.listen(ANSWER_LIMIT, done)?;
    let cpu = program.cpu_at_rest()?.saturating_sub(before);
    // Nothing runs in no time: this host keeps no account.
    if cpu.is_zero() { Err(BenchError::NoCpuTime) } else { Ok((answer, cpu)) }
}

fn ready(heard: &Heard) -> Option<()> {
    heard.line("ready").map(|_| ())
}

fn done(heard: &Heard) -> Option<String> {
    heard.line("done").or_else(|| heard.line("unknown")).or_else(|| heard.line("trapped"))
}
