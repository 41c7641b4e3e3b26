//! Kernels in C: ours on a bare board, and ours or others' in a booted guest, beside this host.

use crate::BenchError;
use crate::assets::Assets;
use crate::child::Program;
use crate::compile::{Listed, Suite, at};
use crate::contest::{Audience, Case, Entrant, Entrants, Group, Runs, Sample, contest};
use crate::guest::{ANSWER_LIMIT, END_LIMIT, Guest};
use crate::peer::{Board, Field, Peer, Sampled, Start, Tier, under_qemu_user};
use crate::report::{Host, Report};
use crate::suite::{chosen, suite};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Memory of the boards.
const BARE_MEMORY: &str = "128M";
const GUEST_MEMORY: &str = "512M";

/// No messages of the kernel among answers.
pub(crate) const QUIET: &str = "console=ttyS0 quiet loglevel=0";

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names of cases; none means all.
    pub only: Vec<String>,
    /// Tiers of ours.
    pub tiers: Vec<Tier>,
    /// Runs of each case at each peer, of which the median counts.
    pub runs: u32,
    /// Whether other emulators are left out.
    pub alone: bool,
    /// How ours take samples of themselves, if they do.
    pub sampled: Option<Sampled>,
    /// A fraction of the work.
    pub quick: bool,
    /// Where compiled kernels are kept.
    pub cache: PathBuf,
    /// A program that answers [`crate::MACHINE_VERB`] with [`crate::run_machine`].
    pub us: PathBuf,
}

impl Options {
    pub(crate) fn runs(&self, warm_up: bool, native_agrees: bool) -> Runs {
        Runs { counted: self.runs.max(1), warm_up, native_agrees }
    }

    /// Who takes part but this host: these others, unless they are left out, and each of ours.
    pub(crate) fn guests(&self, others: [Peer; 2]) -> impl Iterator<Item = Peer> {
        let others = others.into_iter().filter(|_| !self.alone);
        others.chain(self.tiers.iter().map(|tier| Peer::Omni(*tier)))
    }
}

/// Measures our suite on a bare board; `audience` hears of it.
///
/// # Errors
/// Where there is no compiler or no such kernel. A peer that fails is left out and named.
pub fn measure_bare(options: &Options, audience: &mut dyn Audience) -> Result<Report, BenchError> {
    let cases = chosen(suite(options.quick), &options.only)?;
    let programs = Suite::prepare(&options.cache)?;
    let host = Host::here();
    let mut field = Field::default();
    if programs.native.is_some() {
        field.look_for(Peer::Native);
    }
    options.guests([Peer::QemuUser, Peer::Qemu]).for_each(|p| field.look_for(p));
    let board = Board {
        memory: BARE_MEMORY.into(),
        start: Start::Bare(programs.bare.clone()),
        firmware: None,
        disk: None,
        sampled: options.sampled.as_ref().map(|sampled| sampled.with(&programs.bare)),
    };
    let mut entrants: Entrants = vec![];
    for peer in &field.peers {
        let program = match peer {
            Peer::Native => programs.native.clone().expect("looked for"),
            Peer::QemuUser | Peer::Qemu | Peer::Rvvm | Peer::Omni(_) => programs.user.clone(),
        };
        let (board, us) = (board.clone(), options.us.clone());
        entrants.push((*peer, Box::new(Fresh { peer: *peer, program, board, us })));
    }
    let report = Report::begun("bare", host, options.quick, &field);
    audience.begins(&report);
    let rows = contest(&cases, &mut entrants, options.runs(false, true), &mut field, audience);
    Ok(report.finished(field, rows))
}

/// Measures kernels in a booted guest: our suite, or those of a C file that lists and times its
/// kernels when it is run (`PROGRAM`, and `PROGRAM NAME COUNT 1 wait`).
///
/// # Errors
/// Where there is no compiler, no such kernel, or no kernel to boot. A peer that fails is left
/// out and named.
pub fn measure_cpu(
    options: &Options,
    kernels: Option<&Path>,
    assets: &mut Assets<'_>,
    audience: &mut dyn Audience,
) -> Result<Report, BenchError> {
    let (dialect, native, guest, cases) = match kernels {
        None => {
            let suite_of = Suite::prepare(&options.cache)?;
            (Dialect::Suite, suite_of.native, suite_of.user, suite(options.quick))
        }
        Some(file) => {
            let listed = Listed::prepare(file, &options.cache)?;
            let cases = list(&listed.native, options.quick)?;
            (Dialect::Listed, Some(listed.native), listed.guest, cases)
        }
    };
    let cases = chosen(cases, &options.only)?;
    let bytes = fs::read(&guest).map_err(at(&guest))?;
    let initrd = assets.initrd(&[(GUEST_PROGRAM, 0o755, &bytes)])?;
    let start = Start::Linux { kernel: assets.kernel()?, initrd, append: QUIET.into() };
    let host = Host::here();
    let mut field = Field::default();
    if native.is_some() {
        field.look_for(Peer::Native);
    }
    options.guests([Peer::Qemu, Peer::Rvvm]).for_each(|p| field.look_for(p));
    let firmware = assets.firmware(&field)?;
    let sampled = options.sampled.as_ref().map(|sampled| sampled.with(&guest));
    let board = Board { memory: GUEST_MEMORY.into(), start, firmware, disk: None, sampled };
    let mut entrants: Entrants = vec![];
    for peer in field.peers.clone() {
        audience.doing(&format!("{} starts", peer.name()));
        let entrant: Box<dyn Entrant> = match (peer, &native) {
            (Peer::Native, Some(program)) => Box::new(Native { program: program.clone(), dialect }),
            _ => match Guest::boot(peer, &board, &options.us) {
                Ok(guest) => Box::new(Booted { peer, guest, dialect }),
                Err(error) => {
                    field.leave_out(peer, &error);
                    continue;
                }
            },
        };
        entrants.push((peer, entrant));
    }
    let runs = options.runs(false, dialect == Dialect::Suite);
    let report = Report::begun("cpu", host, options.quick, &field);
    audience.begins(&report);
    let rows = contest(&cases, &mut entrants, runs, &mut field, audience);
    Ok(report.finished(field, rows))
}

/// Where the guest has the program.
const GUEST_PROGRAM: &str = "usr/bin/kernels";

/// How a program of kernels is spoken to. Either says when it is ready, so that its start is not
/// measured, waits for a line, and answers with a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dialect {
    /// Ours: `ready`; `NAME COUNT`; `done CHECKSUM INSTRUCTIONS`.
    Suite,
    /// Others': `BEG NAME`; an empty line; `RES NAME CHECKSUM WALL_MS CPU_MS`.
    Listed,
}

/// What a program of kernels answers.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Answer {
    checksum: String,
    instructions: u64,
    /// Its own CPU time and that of its children, where it tells.
    cpu: Option<Duration>,
}

impl Dialect {
    fn arguments(self, case: &Case) -> Vec<String> {
        match self {
            Self::Suite => vec![],
            Self::Listed => {
                vec![case.name.clone(), case.count.to_string(), "1".into(), "wait".into()]
            }
        }
    }

    fn ready(self) -> &'static str {
        match self {
            Self::Suite => "ready",
            Self::Listed => "BEG ",
        }
    }

    fn go(self, case: &Case) -> String {
        match self {
            Self::Suite => format!("{} {}\n", case.name, case.count),
            Self::Listed => "\n".into(),
        }
    }

    /// What ends the program at a terminal after its answer.
    fn end(self) -> &'static [u8] {
        match self {
            Self::Suite => b"\x04",
            Self::Listed => b"\n",
        }
    }

    /// What answers begin with.
    fn answers(self) -> &'static [&'static str] {
        match self {
            Self::Suite => &["done ", "unknown", "trapped"],
            Self::Listed => &["RES "],
        }
    }

    fn parse(self, line: &str) -> Option<Answer> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (self, &words[..]) {
            (Self::Suite, ["done", checksum, retired]) => Some(Answer {
                checksum: (*checksum).into(),
                instructions: u64::from_str_radix(retired, 16).ok()?,
                cpu: None,
            }),
            (Self::Listed, ["RES", _, checksum, _, cpu_ms]) => {
                let seconds = cpu_ms.parse::<f64>().ok()? / 1e3;
                let cpu = Duration::try_from_secs_f64(seconds).ok();
                Some(Answer { checksum: (*checksum).into(), instructions: 0, cpu })
            }
            _ => None,
        }
    }

    /// Has a program that was started run its kernel. Gives the CPU time of the host.
    fn ask(
        self,
        who: Peer,
        program: &mut Program,
        case: &Case,
    ) -> Result<(Answer, Duration), BenchError> {
        program.listen(ANSWER_LIMIT, |heard| heard.line(self.ready()))?;
        let before = program.cpu_at_rest()?;
        program.say(self.go(case).as_bytes())?;
        let line = program.listen(ANSWER_LIMIT, |heard| {
            self.answers().iter().find_map(|beginning| heard.line(beginning))
        })?;
        let cpu = program.cpu_at_rest()?.saturating_sub(before);
        let garbled = || BenchError::Garbled { who: who.name(), said: line.clone() };
        let answer = self.parse(&line).ok_or_else(garbled)?;
        // Nothing runs in no time: this host keeps no account.
        if cpu.is_zero() { Err(BenchError::NoCpuTime) } else { Ok((answer, cpu)) }
    }
}

fn sample((answer, cpu): (Answer, Duration)) -> Sample {
    let Answer { checksum, instructions, .. } = answer;
    Sample { cpu, checksum, instructions }
}

/// A fresh program or bare board for each run of our suite.
struct Fresh {
    peer: Peer,
    program: PathBuf,
    board: Board,
    us: PathBuf,
}

impl Entrant for Fresh {
    fn run(&mut self, case: &Case) -> Result<Sample, BenchError> {
        let command = match self.peer {
            Peer::Native => Command::new(&self.program),
            Peer::QemuUser => under_qemu_user(&self.program),
            // No firmware, so no files of its own.
            Peer::Qemu | Peer::Rvvm | Peer::Omni(_) => {
                self.board.command(self.peer, &self.us, Path::new(""))?
            }
        };
        let mut program = Program::start(self.peer.name(), command)?;
        let sampled = self.board.sampled.is_some() && self.peer.is_omni();
        if sampled {
            program.listen(ANSWER_LIMIT, |heard| heard.line(Dialect::Suite.ready()))?;
            program.sample_anew();
        }
        let asked = Dialect::Suite.ask(self.peer, &mut program, case)?;
        if sampled {
            program.end(END_LIMIT)?;
        }
        Ok(sample(asked))
    }

    fn end(&mut self) -> Result<(), BenchError> {
        Ok(())
    }
}

/// A program of this host, started for each run.
struct Native {
    program: PathBuf,
    dialect: Dialect,
}

impl Entrant for Native {
    fn run(&mut self, case: &Case) -> Result<Sample, BenchError> {
        let mut command = Command::new(&self.program);
        command.args(self.dialect.arguments(case));
        let mut program = Program::start(Peer::Native.name(), command)?;
        let (answer, cpu) = self.dialect.ask(Peer::Native, &mut program, case)?;
        // Only the program itself knows of children that have ended.
        let cpu = answer.cpu.unwrap_or(cpu);
        Ok(sample((answer, cpu)))
    }

    fn end(&mut self) -> Result<(), BenchError> {
        Ok(())
    }
}

/// A program in a guest, started for each run.
struct Booted {
    peer: Peer,
    guest: Guest,
    dialect: Dialect,
}

impl Entrant for Booted {
    fn run(&mut self, case: &Case) -> Result<Sample, BenchError> {
        let arguments = self.dialect.arguments(case).join(" ");
        // A copy lies in other pages than the last one: its code is as new as that of a program
        // which runs for the first time.
        let copy = "/tmp/kernels";
        let line = format!(
            "busybox rm -f {copy}; busybox cp /{GUEST_PROGRAM} {copy}; {copy} {arguments}; \
             echo omni-bench-over\n"
        );
        self.guest.program.say(line.as_bytes())?;
        let asked = self.dialect.ask(self.peer, &mut self.guest.program, case)?;
        self.guest.program.say(self.dialect.end())?;
        self.guest.program.listen(ANSWER_LIMIT, |heard| heard.line("omni-bench-over"))?;
        Ok(sample(asked))
    }

    fn end(&mut self) -> Result<(), BenchError> {
        self.guest.end()
    }
}

/// The kernels of a program that lists them: a name and a count a line.
fn list(program: &Path, quick: bool) -> Result<Vec<Case>, BenchError> {
    let name = program.display().to_string();
    let output = Command::new(program).output();
    let output = output.map_err(|error| BenchError::Program { program: name, error })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let cases: Option<Vec<Case>> = text.lines().map(|line| listed_case(line, quick)).collect();
    let garbled = || BenchError::Garbled { who: "the list of kernels", said: text.to_string() };
    cases.filter(|cases| !cases.is_empty()).ok_or_else(garbled)
}

/// Kernels that others are known to have, by what they are about.
const FLOAT: &[&str] = &["mandel", "nbody", "matmul", "triad", "fpconv"];
const NEW_CODE: &[&str] = &["cold", "jitgen"];
const SYSTEM: &[&str] = &["syscall", "pgfault", "fork", "pipe"];

fn listed_case(line: &str, quick: bool) -> Option<Case> {
    let (name, count) = line.split_once(' ')?;
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let count: u64 = count.trim().parse().ok().filter(|_| plain)?;
    let groups = [(FLOAT, Group::Float), (NEW_CODE, Group::NewCode), (SYSTEM, Group::System)];
    let group = groups.iter().find(|(names, _)| names.contains(&name));
    let group = group.map_or(Group::Other, |(_, group)| *group);
    let count = if quick { count.div_ceil(4) } else { count };
    Some(Case { name: name.into(), about: String::new(), group, count })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Case {
        listed_case("matmul 8", true).expect("a case")
    }

    #[test]
    fn a_list_names_kernels_and_counts_and_nothing_that_a_shell_would_understand() {
        assert_eq!((case().count, case().group), (2, Group::Float));
        assert_eq!(listed_case("cold 1", true).expect("a case").count, 1);
        for bad in ["", "fib", "fib x", "$(reboot) 1", "a;b 1"] {
            assert_eq!(listed_case(bad, false), None, "{bad:?}");
        }
    }

    #[test]
    fn both_dialects_are_understood_and_nothing_else_is() {
        let ours = Dialect::Suite.parse("done 00ff 0010").expect("an answer");
        assert_eq!((&*ours.checksum, ours.instructions), ("00ff", 16));
        let others = Dialect::Listed.parse("RES fib 00ff 12.500 11.250").expect("an answer");
        assert_eq!(others.cpu, Some(Duration::from_micros(11_250)));
        assert_eq!(Dialect::Suite.parse("unknown"), None);
        assert_eq!(Dialect::Listed.parse("RES fib 00ff 12.5"), None);
    }

    #[test]
    fn others_are_started_with_a_name_a_count_and_a_wait() {
        assert_eq!(Dialect::Listed.arguments(&case()), ["matmul", "2", "1", "wait"]);
    }
}
