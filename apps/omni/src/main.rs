//! The program `omni`: runs virtual machines of every kind.
//!
//! Architecture invariant: there is no daemon. Each machine is owned by a process, its monitor
//! (`monitor.rs`), alone or with those that were forked from it (`family.rs`); every verb is a
//! short client of it, or of files.

mod adopt;
mod args;
mod backends;
mod bench;
mod bench_forks;
mod bench_qemu;
mod bench_recording;
mod bench_time;
mod cable;
mod clients;
mod console;
mod cuts;
mod debug;
mod debugging;
mod diff;
mod disks;
mod doctor;
mod escape;
mod failure;
mod family;
mod flame;
mod forks;
mod groups;
mod hold;
mod images;
mod keeper;
mod leave;
mod life;
mod look;
mod monitor;
mod origin;
mod parted;
mod perf_map;
mod plan;
mod program;
mod recorded;
mod room;
mod saved;
mod setup;
mod snapshots;
mod sniff;
mod switches;
mod symbols;
mod texts;
mod time;
mod translate;
mod ui;
mod warm;

use args::{Cli, Verb};
use clap::Parser;
use failure::Failure;
use omni_control::{Dirs, Request};
use std::process::ExitCode;
use ui::Ui;

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(warm::parted(std::env::args_os().collect())) {
        Ok(cli) => cli,
        Err(error) => {
            // Help is a result; a mistake is talk. Both are written as they should be by clap.
            let _ = error.print();
            let code = u8::try_from(error.exit_code()).unwrap_or(failure::code::USAGE);
            return ExitCode::from(code);
        }
    };
    let ui = Ui { json: cli.json };
    match verb(&cli.verb, ui) {
        Ok(code) => ExitCode::from(code),
        Err(Failure { code, text }) => {
            if !text.is_empty() {
                ui.say(&format!("omni: {text}"));
            }
            ExitCode::from(code)
        }
    }
}

fn verb(verb: &Verb, ui: Ui) -> Result<u8, Failure> {
    let dirs = || Dirs::from_env(|name| std::env::var(name));
    match verb {
        Verb::Run(args) => return life::run(args, &dirs()?, ui),
        Verb::Create(args) => life::create(args, &dirs()?, ui),
        Verb::Start { attach, schedule, record, machines } => {
            let changes = life::Changes { schedule: *schedule, record: *record };
            return life::start(machines, *attach, changes, &dirs()?, ui);
        }
        Verb::Stop { time, machines } => life::stop(machines, *time, &dirs()?, ui),
        Verb::Kill(machines) => life::ask(machines, &Request::Kill { keep: false }, &dirs()?, ui),
        Verb::Pause(machines) => life::ask(machines, &Request::Pause, &dirs()?, ui),
        Verb::Resume(machines) => life::ask(machines, &Request::Resume, &dirs()?, ui),
        Verb::Wait(machines) => life::wait(machines, &dirs()?, ui),
        Verb::Rm(args) => life::remove(args, &dirs()?, ui),
        Verb::Rename { machine, name } => life::rename(machine, name, &dirs()?, ui),
        Verb::Ps { quiet, .. } => look::list(*quiet, &dirs()?, ui),
        Verb::Inspect(machines) => look::inspect(machines, &dirs()?, ui),
        Verb::Logs { machine, tail, follow } => look::logs(machine, *tail, *follow, &dirs()?, ui),
        Verb::Stats { machines } => look::stats(machines, &dirs()?, ui),
        Verb::Balloon { machine, size } => look::balloon(machine, *size, &dirs()?, ui),
        Verb::Attach { machine } => return life::join(machine, &dirs()?, ui),
        Verb::Debug { machine, listen } => {
            return debug::run(machine, listen.as_deref(), &dirs()?, ui);
        }
        Verb::Snapshot(args) => snapshots::take(args, &dirs()?, ui),
        Verb::Snapshots { machine, group } => match group {
            Some(group) => groups::list(group, &dirs()?, ui),
            None => snapshots::list(machine.as_deref().unwrap_or_default(), &dirs()?, ui),
        },
        Verb::Restore(args) => snapshots::restore(args, &dirs()?, ui),
        Verb::Fork(args) => forks::fork(args, &dirs()?, ui),
        Verb::Diff { one, other } => diff::diff(one, other, &dirs()?, ui),
        Verb::Export { machine, file } => snapshots::export(machine, file, &dirs()?, ui),
        Verb::Import { file, name } => snapshots::import(file, name.as_deref(), &dirs()?, ui),
        Verb::Record { machine, stop } => time::record(machine, *stop, &dirs()?, ui),
        Verb::Replay { machine, to, console } => {
            time::replay(machine, to.as_deref(), *console, &dirs()?, ui)
        }
        Verb::Rewind { machine, time, to } => {
            let back = time.iter().map(|time| format!("-{time}"));
            let to = to.clone().into_iter().chain(back).next().unwrap_or_default();
            time::rewind(machine, &to, &dirs()?, ui)
        }
        Verb::When { machine } => time::when(machine, &dirs()?, ui),
        Verb::Gc { compress } => snapshots::collect(*compress, &dirs()?, ui),
        Verb::Image(verb) => images::verb(verb, &dirs()?, ui),
        Verb::Disk(verb) => return disks::verb(verb, ui),
        Verb::Net(verb) => switches::verb(verb, &dirs()?, ui),
        Verb::Kinds => look::kinds(ui),
        Verb::Bench(args) => bench::run(args, &dirs()?, ui),
        Verb::Doctor => doctor::report(&dirs()?, ui),
        Verb::Completion { shell } => texts::completion(*shell, ui),
        Verb::Man { dir } => texts::man(dir.as_deref(), ui),
        Verb::Version => texts::version(ui),
        Verb::BenchMachine { words } => {
            translate::begin(None)?;
            omni_bench::run_machine(words)?;
            translate::end()
        }
        Verb::Monitor { dir, hold, from, fork, wait, held } => {
            let (fork, wait, held) = (*fork, *wait, *held);
            let start = monitor::Start { from: from.clone(), fork, wait, held };
            return monitor::run(dir, *hold, &start);
        }
    }?;
    Ok(0)
}
