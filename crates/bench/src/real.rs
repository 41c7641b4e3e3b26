//! Programs that people use, out of Debian's packages: those for RISC-V in a booted guest, those
//! of the same release for this host beside it, on the same input, to the same output.

use crate::BenchError;
use crate::assets::{Assets, ProgramSet};
use crate::compile::at;
use crate::contest::{Audience, Case, Entrant, Entrants, Group, Sample, contest};
use crate::guest::Guest;
use crate::kernels::{Options, QUIET};
use crate::peer::{Board, Field, Missing, Peer, Start};
use crate::report::{Host, Report};
use crate::suite::chosen;
use omni_host::TempDir;
use omni_image::{ExtraFile, Sha256};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const MEMORY: &str = "1G";

/// The packages whose programs run.
const PACKAGES: &[&str] = &["gzip", "bzip2", "xz-utils", "lua5.4", "sqlite3", "python3"];

/// Bytes of the text that is compressed; a quick look has a quarter of it.
const TEXT_BYTES: usize = 4 << 20;

/// The one program that needs no library.
const SHELL: &str = "busybox";

/// The folder of inputs and outputs in the guest.
const FOLDER: &str = "tmp/real";

/// A program and what it does.
struct Work {
    name: &'static str,
    about: &'static str,
    /// The program and its arguments.
    command: &'static [&'static str],
    input: &'static str,
}

const fn work(
    name: &'static str,
    about: &'static str,
    command: &'static [&'static str],
    input: &'static str,
) -> Work {
    Work { name, about, command, input }
}

/// In an order in which a later one may read what an earlier one wrote.
#[rustfmt::skip] // One row a line.
const WORKS: &[Work] = &[
    work("gzip",    "compresses a text",       &["gzip", "-9nc"],                  "text"),
    work("gunzip",  "and unpacks it",          &["gzip", "-dc"],                   "out-gzip"),
    work("bzip2",   "compresses a text",       &["bzip2", "-9c"],                  "text"),
    work("xz",      "compresses a text",       &["xz", "-3c", "--threads=1"],      "text"),
    work("unxz",    "and unpacks it",          &["xz", "-dc"],                     "out-xz"),
    work("lua",     "strings, tables, calls",  &["lua5.4", "-"],                   "bench.lua"),
    work("sqlite3", "joins, indices, sorting", &["sqlite3", "-batch", ":memory:"], "bench.sql"),
    work("python3", "dictionaries, objects",   &["python3", "-"],                  "bench.py"),
    work("sh",      "loops and arithmetic",    &["busybox", "sh", "-s"],           "bench.sh"),
];

/// The scripts.
const SCRIPTS: &[(&str, &[u8])] = &[
    ("bench.lua", include_bytes!("../../../benches/real/bench.lua")),
    ("bench.sql", include_bytes!("../../../benches/real/bench.sql")),
    ("bench.py", include_bytes!("../../../benches/real/bench.py")),
    ("bench.sh", include_bytes!("../../../benches/real/bench.sh")),
];

/// Measures the programs; `audience` hears of it. Each runs once at each peer before
/// the runs that count.
///
/// # Errors
/// Where packages cannot be had or there is nothing to boot. A peer that fails is left out and
/// named.
pub fn measure_real(
    options: &Options,
    assets: &mut Assets<'_>,
    audience: &mut dyn Audience,
) -> Result<Report, BenchError> {
    let cases = chosen(cases(), &options.only)?;
    let text = text(if options.quick { TEXT_BYTES / 4 } else { TEXT_BYTES });
    let inputs = || [("text", &text[..])].into_iter().chain(SCRIPTS.iter().copied());
    let paths: Vec<String> = inputs().map(|(name, _)| format!("{FOLDER}/{name}")).collect();
    let files: Vec<ExtraFile<'_>> =
        paths.iter().zip(inputs()).map(|(path, (_, bytes))| (&**path, 0o644, bytes)).collect();
    let set = assets.programs(PACKAGES, &files)?;
    let scratch = TempDir::new("bench").map_err(at(Path::new("a temporary folder")))?;
    for (name, bytes) in inputs() {
        let path = scratch.path().join(name);
        fs::write(&path, bytes).map_err(at(&path))?;
    }
    let ProgramSet { initrd, native, packages } = set;
    let start = Start::Linux { kernel: assets.kernel()?, initrd, append: QUIET.into() };
    let host = Host::here();
    let mut field = Field::default();
    match &native {
        Some(_) => field.look_for(Peer::Native),
        None => field.missing.push(Missing {
            peer: Peer::Native,
            why: "Debian has no programs for this host".into(),
            get: String::new(),
        }),
    }
    options.guests([Peer::Qemu, Peer::Rvvm]).for_each(|p| field.look_for(p));
    let firmware = assets.firmware(&field)?;
    let sampled = options.sampled.clone();
    let board = Board { memory: MEMORY.into(), start, firmware, disk: None, sampled };
    let mut entrants: Entrants = vec![];
    for peer in field.peers.clone() {
        audience.doing(&format!("{} starts", peer.name()));
        match entrant(peer, native.as_deref(), scratch.path(), &board, &options.us) {
            Ok(entrant) => entrants.push((peer, entrant)),
            Err(error) => field.leave_out(peer, &error),
        }
    }
    let report = Report::begun("real", host, options.quick, &field);
    let report = Report { packages, ..report };
    audience.begins(&report);
    let rows = contest(&cases, &mut entrants, options.runs(true, true), &mut field, audience);
    Ok(report.finished(field, rows))
}

/// One who has run all works once, so that what later ones read is there.
fn entrant(
    peer: Peer,
    native: Option<&Path>,
    folder: &Path,
    board: &Board,
    us: &Path,
) -> Result<Box<dyn Entrant>, BenchError> {
    if let Some(root) = native.filter(|_| peer == Peer::Native) {
        let (root, folder, loader) = (root.into(), folder.into(), loader(root));
        let mut native = Native { root, folder, loader };
        run_all(&mut native)?;
        return Ok(Box::new(native));
    }
    let mut booted = Booted { peer, guest: Guest::boot(peer, board, us)? };
    run_all(&mut booted)?;
    booted.guest.sample_anew();
    Ok(Box::new(booted))
}

fn run_all(entrant: &mut impl Entrant) -> Result<(), BenchError> {
    cases().iter().try_for_each(|case| entrant.run(case).map(|_| ()))
}

fn cases() -> Vec<Case> {
    let case = |work: &Work| Case {
        name: work.name.into(),
        about: work.about.into(),
        group: Group::Other,
        count: 1,
    };
    WORKS.iter().map(case).collect()
}

fn work_of(case: &Case) -> &'static Work {
    WORKS.iter().find(|work| work.name == case.name).expect("cases are made of works")
}

/// Words of a small language, with a word that nobody knows now and then.
fn text(bytes: usize) -> Vec<u8> {
    #[rustfmt::skip] // Like the text that they make.
    const WORDS: [&str; 21] = [
        "machine", "state", "a", "the", "page", "of", "which", "\n", "runs", "memory", "and", "is",
        "in", "snapshot", "to", "guest", "tick", "instruction", "translated", "once", "again",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = Vec::with_capacity(bytes + 32);
    while text.len() < bytes {
        let number = random();
        // The smaller of two makes some words more frequent than others.
        let at = (number % 21).min(number / 32 % 21);
        let word = usize::try_from(at).ok().and_then(|at| WORDS.get(at)).expect("below 21");
        text.extend_from_slice(word.as_bytes());
        if number >> 59 == 0 {
            text.extend_from_slice(format!("{:x}", number >> 20).as_bytes());
        }
        text.push(b' ');
    }
    text.truncate(bytes);
    text
}

/// The programs in a folder of this host.
struct Native {
    root: PathBuf,
    folder: PathBuf,
    /// The loader of the same packages, and the folder of their libraries.
    loader: Option<(PathBuf, PathBuf)>,
}

impl Entrant for Native {
    fn run(&mut self, case: &Case) -> Result<Sample, BenchError> {
        let work = work_of(case);
        let program = self.root.join("usr/bin").join(work.command[0]);
        let mut command = match &self.loader {
            // The shell needs no library, and its loader would not have it.
            Some((loader, libraries)) if work.command[0] != SHELL => {
                let mut command = Command::new(loader);
                command.arg("--library-path").arg(libraries).arg(&program);
                command
            }
            _ => Command::new(&program),
        };
        let output = self.folder.join(format!("out-{}", work.name));
        let input = self.folder.join(work.input);
        command.args(&work.command[1..]).current_dir(&self.folder).env_clear();
        command.envs([("PATH", "/usr/bin"), ("HOME", "/"), ("LC_ALL", "C")]);
        command.env("PYTHONHASHSEED", "0").env("PYTHONHOME", self.root.join("usr"));
        command.stdin(File::open(&input).map_err(at(&input))?);
        command.stdout(File::create(&output).map_err(at(&output))?).stderr(Stdio::null());
        let wrong = |error| BenchError::Program { program: work.name.into(), error };
        let mut child = command.spawn().map_err(wrong)?;
        let cpu = cpu_to_the_end(&child);
        let status = child.wait().map_err(wrong)?;
        if !status.success() {
            return Err(failed(Peer::Native, case, &status.to_string()));
        }
        let checksum = Sha256::of(&fs::read(&output).map_err(at(&output))?).to_string();
        Ok(Sample { cpu: cpu?, checksum, instructions: 0 })
    }

    fn end(&mut self) -> Result<(), BenchError> {
        Ok(())
    }
}

/// Waits for the end of a program of one thread. Gives its CPU time, to the nanosecond: what is
/// told of children that are gone is counted in hundredths of a second.
fn cpu_to_the_end(child: &Child) -> Result<Duration, BenchError> {
    let id = rustix::process::Pid::from_child(child);
    let ended = || waitid(WaitId::Pid(id), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
    while ended().is_err_and(|error| error == rustix::io::Errno::INTR) {}
    let text = fs::read_to_string(format!("/proc/{}/schedstat", child.id()));
    let text = text.map_err(|_| BenchError::NoCpuTime)?;
    let ns: Option<u64> = text.split(' ').next().and_then(|word| word.parse().ok());
    ns.filter(|ns| *ns > 0).map(Duration::from_nanos).ok_or(BenchError::NoCpuTime)
}

/// The loader in a root, and its libraries.
fn loader(root: &Path) -> Option<(PathBuf, PathBuf)> {
    let folders = fs::read_dir(root.join("usr/lib")).ok()?;
    folders.flatten().find_map(|folder| {
        let files = fs::read_dir(folder.path()).ok()?;
        let is_loader = |name: &str| name.starts_with("ld-linux-") && name.contains(".so.");
        let loader = files.flatten().find(|file| file.file_name().to_str().is_some_and(is_loader));
        Some((loader?.path(), folder.path()))
    })
}

/// The programs in a guest.
struct Booted {
    peer: Peer,
    guest: Guest,
}

impl Entrant for Booted {
    fn run(&mut self, case: &Case) -> Result<Sample, BenchError> {
        let Work { name, command, input, .. } = work_of(case);
        let command = command.join(" ");
        let before = self.guest.program.cpu_at_rest()?;
        let line = format!(
            "cd /{FOLDER}; /usr/bin/{command} <{input} >out-{name} 2>errors; \
             echo omni-bench-done $?"
        );
        let done = self.guest.ask(&line, "omni-bench-done ")?;
        let cpu = self.guest.program.cpu_at_rest()?.saturating_sub(before);
        if done != "omni-bench-done 0" {
            let said =
                self.guest.ask("busybox tail -n 1 errors; echo omni-bench-said", "omni-bench-said");
            let said = said.map_or(done, |_| self.guest.program.heard.tail());
            return Err(failed(self.peer, case, &said));
        }
        let line = format!("echo \"omni-bench-sum $(busybox sha256sum <out-{name})\"");
        let sum = self.guest.ask(&line, "omni-bench-sum ")?;
        let checksum = sum.split(' ').nth(1).unwrap_or_default().to_owned();
        Ok(Sample { cpu, checksum, instructions: 0 })
    }

    fn end(&mut self) -> Result<(), BenchError> {
        self.guest.end()
    }
}

fn failed(who: Peer, case: &Case, said: &str) -> BenchError {
    BenchError::Failed { who: who.name(), case: case.name.clone(), said: said.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_input_is_there_before_it_is_read() {
        let mut there: Vec<String> = SCRIPTS.iter().map(|(name, _)| (*name).into()).collect();
        there.push("text".into());
        for work in WORKS {
            assert!(there.iter().any(|name| name == work.input), "{}", work.input);
            there.push(format!("out-{}", work.name));
        }
    }

    #[test]
    fn the_text_is_the_same_every_time_and_of_its_size() {
        let text = text(100_000);
        assert_eq!((text.len(), &text), (100_000, &super::text(100_000)));
        assert!(text.iter().filter(|byte| **byte == b'\n').count() > 100);
    }

    #[test]
    fn the_time_of_a_program_that_ended_is_known() {
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done"]);
        let mut child = command.spawn().expect("is everywhere");
        assert!(cpu_to_the_end(&child).expect("known") > Duration::from_millis(1));
        assert!(child.wait().expect("a child").success());
    }
}
