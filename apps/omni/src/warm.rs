//! `omni run python` and its like: interpreters that have started once, are kept ready, and are
//! forked for each script.
//!
//! One that waits is a machine as any other, with a snapshot of the moment at which it waits. Where
//! it lives, scripts run in forks within its process; where it does not, it goes on from there.

use crate::args::{Accel, Cli, MachineArgs, RunArgs, Schedule, Verb};
use crate::failure::{Failure, code};
use crate::life::{Begin, launch, make, run_plan, stay};
use crate::plan::{Plan, plan};
use crate::program;
use crate::room;
use crate::snapshots::{forget, go_back, named};
use crate::ui::Ui;
use clap::Parser;
use omni_base::Digest;
use omni_control::{Client, ControlError, Dirs, Entry, MachineFile, Message, Registry, Reply};
use omni_control::{Request, now_text};
use omni_host::{FileLock, is_terminal, private_dir, replace_file};
use omni_kinds::kind_of;
use omni_runtimes::{READY, Runtime, Way, fetch, find};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long one that waits holds memory.
const STAYS: Duration = Duration::from_secs(15 * 60);

/// How long an interpreter has to start.
const STARTS: Duration = Duration::from_secs(300);

/// What a monitor says of a request that it does not know begins so.
const UNKNOWN: &str = "not a request";

/// The tag of the snapshot of one that waits.
const TAG: &str = "warm";

/// Words of a command line among which the name of an interpreter is looked for.
const WORDS_MAX: usize = 256;

/// The words of an interpreter, a file that it may read, and whether a terminal is there.
type Given<'a> = (&'a [String], Option<&'a str>, bool);

/// The kind of machine that interpreters run on.
const KIND: &str = "wasm";

/// The interpreter that is meant by an image, where it is none of a file or a distribution.
pub(crate) fn meant(args: &MachineArgs) -> Option<&'static Runtime> {
    let other = args.kind.as_ref().is_some_and(|kind| kind != KIND) || args.arch.is_some();
    let named = args.image.as_deref().filter(|_| !other && args.kernel.is_none());
    named.and_then(find)
}

/// The words of a command line, parted where the name of an interpreter is the image: what follows
/// is its own, be it like an option of ours or not.
pub(crate) fn parted(mut words: Vec<OsString>) -> Vec<OsString> {
    let named = |word: &OsString| word.to_str().is_some_and(|word| find(word).is_some());
    for at in 2..words.len().min(WORDS_MAX) {
        if !named(&words[at]) {
            continue;
        }
        let image = match Cli::try_parse_from(&words[..=at]).map(|cli| cli.verb) {
            Ok(Verb::Run(args)) => args.machine.image,
            _ => None,
        };
        let own = words.get(at + 1).is_some_and(|next| next == "--") || words[at - 1] == "--";
        if image.is_some_and(|image| *image == *words[at]) {
            if !own {
                words.insert(at + 1, "--".into());
            }
            break;
        }
    }
    words
}

/// Runs a command line of an interpreter.
pub(crate) fn run(runtime: &Runtime, args: &RunArgs, dirs: &Dirs, ui: Ui) -> Result<u8, Failure> {
    let typed = !args.detach && is_terminal(io::stdin());
    let env = &args.machine.env;
    let (words, first, script) = match runtime.way(&args.machine.args, typed)? {
        Way::Warm(job) if can_be_forked(runtime, &args.machine) => {
            let first = job.bytes(env)?;
            let words = [vec![runtime.name.to_owned()], args.machine.args.clone()].concat();
            let entry = forked(runtime, args, (&words, None, typed), dirs, ui)?;
            return stay(&entry, args, first, ui);
        }
        Way::Plain(words, script)
            if runtime.waiting().is_none() && can_be_forked(runtime, &args.machine) =>
        {
            let words = [vec![runtime.name.to_owned()], words].concat();
            let given = (&words[..], script.as_deref(), args.detach || typed);
            let entry = forked(runtime, args, given, dirs, ui)?;
            return stay(&entry, args, Vec::new(), ui);
        }
        Way::Warm(job) => (runtime.flagged(&[]), job.bytes(env)?, None),
        Way::Flagged(flags, job) => (runtime.flagged(&flags), job.bytes(env)?, None),
        Way::Plain(words, script) => {
            ([vec![runtime.name.to_owned()], words].concat(), Vec::new(), script)
        }
    };
    let given = (&words[..], script.as_deref(), args.detach || typed);
    let plan = planned(runtime, &args.machine, given, dirs, ui)?;
    run_plan(plan, args, first, dirs, ui)
}

/// Whether what is asked for can be had of an interpreter that has started already.
fn can_be_forked(runtime: &Runtime, args: &MachineArgs) -> bool {
    let early = |(name, _): &(String, String)| name.starts_with(runtime.early);
    let plain = args.library.is_none()
        && args.memory.is_none()
        && args.cpus.is_none()
        && args.disks.is_empty();
    let files = args.initrd.is_none() && args.firmware.is_none() && args.append.is_none();
    let outside = args.nets.is_empty() && args.publish.is_empty() && args.options.is_empty();
    let source = args.source.mirror.is_none() && args.source.keyring.is_none();
    let choices = args.choices.size.is_none() && args.choices.packages.is_empty();
    let run = args.accel == Accel::Auto && !args.parallel && !args.share && args.seed.is_none();
    let ends = args.fuel.is_none() && args.signature.is_none() && args.choices.user.is_none();
    let all = [plain, files, outside, source, choices, run, ends];
    all.into_iter().all(|holds| holds) && !args.env.iter().any(early)
}

/// The plan of an interpreter that starts with these words.
fn planned(
    runtime: &Runtime,
    args: &MachineArgs,
    given: Given<'_>,
    dirs: &Dirs,
    ui: Ui,
) -> Result<Plan, Failure> {
    let program = fetched(runtime, dirs, ui)?;
    let (image, library) = match driver(runtime, dirs)? {
        Some(driver) => (driver, Some(program)),
        None => (program, args.library.clone()),
    };
    let image = Some(image.to_string_lossy().into_owned());
    let args = MachineArgs { image, library, args: Vec::new(), ..args.clone() };
    let mut plan = plan(&args, given.2, dirs, ui)?;
    plan.machine.image = runtime.name.into();
    plan.stem = runtime.name.into();
    give(given, &mut plan.machine)?;
    Ok(plan)
}

/// Gives a machine its words, and its script.
fn give((words, script, _): Given<'_>, machine: &mut MachineFile) -> Result<(), Failure> {
    let options = &mut machine.options;
    options.insert("argv".into(), words.join(program::SEPARATOR));
    options.entry("root".into()).or_insert_with(|| "true".into());
    if let Some(script) = script {
        let failed = |error| Failure::io(script, &error);
        // Where it is a link, what it leads to is meant, and nothing else of that folder.
        let path = fs::canonicalize(script).map_err(failed)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let files = [script, &*name].join(program::SEPARATOR);
        options.insert("files".into(), files);
        machine.folders.push(path.parent().unwrap_or(&path).to_owned());
    }
    Ok(())
}

/// The program that an interpreter is a library of, as a file.
fn driver(runtime: &Runtime, dirs: &Dirs) -> Result<Option<PathBuf>, Failure> {
    let Some(text) = runtime.driver() else { return Ok(None) };
    let digest = Digest::of(text.as_bytes()).short();
    let path = dirs.cache.join("runtimes").join(format!("{}-{digest}.wat", runtime.name));
    if !path.exists() {
        let written = replace_file(&path, text.as_bytes());
        written.map_err(|error| Failure::io(&path.display().to_string(), &error))?;
    }
    Ok(Some(path))
}

/// The program of an interpreter.
fn fetched(runtime: &Runtime, dirs: &Dirs, ui: Ui) -> Result<PathBuf, Failure> {
    let folder = dirs.cache.join("runtimes");
    Ok(fetch(runtime, &folder, |text| ui.say(&format!("omni: {text}")))?)
}

/// A fork of an interpreter that waits, which waits for whoever attaches.
fn forked(
    runtime: &Runtime,
    args: &RunArgs,
    given: Given<'_>,
    dirs: &Dirs,
    ui: Ui,
) -> Result<Entry, Failure> {
    let wanted = wanted(runtime, &args.machine, given)?;
    let launched = |entry: &Entry| {
        let request = Request::Launch { machine: Box::new(wanted.clone()) };
        Client::connect(entry)?.ask(&request)
    };
    let parent = ready(runtime, dirs, ui)?;
    let said = match launched(&parent) {
        Err(error) if is_of_no_use(&error) => {
            // It has come to its end just now, or is no longer at the moment at which it waited.
            launched(&renewed(runtime, &parent, dirs, ui)?)
        }
        said => said,
    }?;
    let id = said["id"].as_str().unwrap_or_default();
    Ok(Entry::load(&dirs.machines().join(id))?)
}

/// Whether it is for the interpreter that waits that nothing was forked, and not for what was asked
/// of it.
fn is_of_no_use(error: &ControlError) -> bool {
    // One of an older build does not know what is asked of it.
    let old = matches!(error, ControlError::Refused { text, .. } if text.starts_with(UNKNOWN));
    old || matches!(error, ControlError::Gone(_)) || error.exit_code() == code::WRONG_STATE
}

/// What a fork is to be.
fn wanted(runtime: &Runtime, args: &MachineArgs, given: Given<'_>) -> Result<MachineFile, Failure> {
    let mut program = program::of(args, kind_of(KIND)?, None)?;
    program.options.insert("echo".into(), given.2.to_string());
    let mut machine = MachineFile {
        name: args.name.clone().unwrap_or_default(),
        image: runtime.name.into(),
        options: program.options,
        folders: program.folders,
        labels: args.labels.iter().cloned().collect(),
        remove: args.rm,
        timeout_ms: args.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
        snapshot_on_exit: args.snapshot_on_exit,
        record: args.record,
        ..MachineFile::default()
    };
    give(given, &mut machine)?;
    Ok(machine)
}

/// Where it is told which machine is the interpreter that waits: another file for each that is not
/// the same.
fn place(runtime: &Runtime, dirs: &Dirs) -> PathBuf {
    let (words, driver) = (runtime.waiting(), runtime.driver());
    let what = format!("{words:?}{driver:?}{}", runtime.package.member_sha256);
    let name = format!("{}-{}", runtime.name, Digest::of(what.as_bytes()).short());
    dirs.state.join("warm").join(name)
}

fn known(place: &Path, dirs: &Dirs) -> Option<Entry> {
    let id = fs::read_to_string(place).ok()?;
    let id = id.trim();
    let sound = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    sound.then(|| Entry::load(&dirs.machines().join(id)).ok())?
}

/// An interpreter that waits, and lives.
fn ready(runtime: &Runtime, dirs: &Dirs, ui: Ui) -> Result<Entry, Failure> {
    let place = place(runtime, dirs);
    let live = |entry: &Entry| entry.state.state.is_live();
    if let Some(entry) = known(&place, dirs).filter(live) {
        return Ok(entry);
    }
    let _lock = lock(&place)?;
    // Another may have been at it meanwhile.
    let found = known(&place, dirs);
    match found {
        Some(entry) if live(&entry) => Ok(entry),
        Some(entry) => again(runtime, entry, &place, dirs, ui),
        None => made(runtime, &place, dirs, ui),
    }
}

/// As `ready`, where that one is of no use.
fn renewed(runtime: &Runtime, old: &Entry, dirs: &Dirs, ui: Ui) -> Result<Entry, Failure> {
    let place = place(runtime, dirs);
    let _lock = lock(&place)?;
    match known(&place, dirs) {
        // Another has renewed it meanwhile.
        Some(entry) if entry.state.state.is_live() && !is_same(&entry, old) => Ok(entry),
        Some(entry) => again(runtime, entry, &place, dirs, ui),
        None => made(runtime, &place, dirs, ui),
    }
}

/// Whether it is one life of one machine.
fn is_same(one: &Entry, other: &Entry) -> bool {
    one.machine.id == other.machine.id && one.state.pid == other.state.pid
}

fn lock(place: &Path) -> Result<FileLock, Failure> {
    let path = place.with_extension("lock");
    let failed = |error| Failure::io(&path.display().to_string(), &error);
    if let Some(folder) = place.parent() {
        private_dir(folder).map_err(failed)?;
    }
    FileLock::take(&path).map_err(failed)
}

/// Lets one that has waited go on to wait, or else makes another.
fn again(
    runtime: &Runtime,
    entry: Entry,
    place: &Path,
    dirs: &Dirs,
    ui: Ui,
) -> Result<Entry, Failure> {
    let found = named(&format!("{}@{TAG}", entry.machine.id), dirs);
    let held = runtime.waiting().is_none();
    match found.and_then(|found| go_back(found, Schedule::default(), held)) {
        Ok(((back, _), _)) => return Ok(back),
        // Without its snapshot, or where this build cannot read that, it is of no use.
        Err(failure) if is_lost(&failure) => {}
        Err(failure) => return Err(failure),
    }
    bury(&entry, &Registry::open(dirs)?, dirs);
    made(runtime, place, dirs, ui)
}

/// Whether what was kept is missing, damaged or of another build.
fn is_lost(failure: &Failure) -> bool {
    matches!(failure.code, code::NOT_FOUND | code::DAMAGED | code::UNSUPPORTED)
}

/// Starts an interpreter, and keeps it at the moment at which it waits.
fn made(runtime: &Runtime, place: &Path, dirs: &Dirs, ui: Ui) -> Result<Entry, Failure> {
    let args = MachineArgs::of(runtime.name);
    let words = runtime.waiting();
    let given = (words.as_deref().unwrap_or_default(), None, false);
    let mut plan = planned(runtime, &args, given, dirs, ui)?;
    ui.say(&format!("omni: {} {} starts once, and is kept", runtime.name, runtime.version));
    plan.stem = format!("warm-{}", runtime.name);
    plan.machine.timeout_ms = u64::try_from(STAYS.as_millis()).ok();
    plan.machine.created = now_text();
    let registry = Registry::open(dirs)?;
    let half = place.with_extension("half");
    clean(&half, &registry, dirs);
    let entry = make(&registry, plan)?;
    // Whoever is next removes it, where this is interrupted before it is kept.
    let noted = replace_file(&half, entry.machine.id.as_bytes());
    noted.map_err(|error| Failure::io(&half.display().to_string(), &error))?;
    let begin = Begin { held: words.is_none(), ..Begin::default() };
    let kept = room::check(std::slice::from_ref(&entry), &registry)
        .and_then(|()| launch(&entry, begin))
        .and_then(|entry| keep(&entry, words.is_some(), place).map(|()| entry));
    match &kept {
        // Where the note stays, the next start finds that this one is kept.
        Ok(_) => drop(fs::remove_file(&half)),
        // The first failure is the one to tell of.
        Err(_) => clean(&half, &registry, dirs),
    }
    kept
}

/// Removes the interpreter that is noted as half made, unless it is the one that is kept. The lock
/// is held.
fn clean(half: &Path, registry: &Registry, dirs: &Dirs) {
    if let Some(entry) = known(half, dirs) {
        let kept = known(&half.with_extension(""), dirs);
        if kept.is_none_or(|kept| kept.machine.id != entry.machine.id) {
            bury(&entry, registry, dirs);
        }
    }
    let _ = fs::remove_file(half);
}

/// Removes an interpreter. What is left of it is in nobody's way.
fn bury(entry: &Entry, registry: &Registry, dirs: &Dirs) {
    let kill = Request::Kill { keep: true };
    let _ = Client::connect(entry).and_then(|mut client| client.ask(&kill));
    let _ = registry.remove_files(&entry.machine.id, &entry.dir);
    let _ = forget(&entry.machine.id, dirs);
}

/// Takes the snapshot of an interpreter that waits, and notes that it is the one.
fn keep(entry: &Entry, starts: bool, place: &Path) -> Result<(), Failure> {
    if starts {
        wait(entry)?;
    }
    let tag = Some(TAG.to_owned());
    Client::connect(entry)?.ask(&Request::Snapshot { tag })?;
    let id = format!("{}\n", entry.machine.id);
    let written = replace_file(place, id.as_bytes());
    written.map_err(|error| Failure::io(&place.display().to_string(), &error))
}

/// Waits until an interpreter waits.
fn wait(entry: &Entry) -> Result<(), Failure> {
    let mut client = Client::connect(entry)?;
    client.set_patience(STARTS)?;
    let history = u32::try_from(READY.len()).unwrap_or(u32::MAX);
    client.send(&Request::Attach { history, hold: false, own: false })?;
    let (mut said, mut errors) = (Vec::new(), Vec::new());
    while !said.ends_with(READY.as_bytes()) {
        match client.receive()? {
            Message::Output(bytes) => said.extend(bytes),
            Message::Errors(bytes) => errors.extend(bytes),
            Message::Reply(Reply::Exited { .. }) => {
                let text = String::from_utf8_lossy(&errors).into_owned();
                return Err(Failure::new(code::OWN_FAILURE, format!("it did not start: {text}")));
            }
            Message::Reply(_) => {}
        }
    }
    client.close();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_name_of_an_interpreter_is_its_own() {
        let parted = |text: &str| {
            let words = parted(text.split(' ').map(OsString::from).collect());
            words.iter().filter_map(|word| word.to_str()).collect::<Vec<_>>().join(" ")
        };
        let same = [
            "omni ps",
            "omni run x.wasm python -m x",
            "omni run --name python x.wasm -m 4",
            "omni run -- python -c x",
            "omni run python -- -m python x",
        ];
        same.iter().for_each(|text| assert_eq!(parted(text), *text));
        assert_eq!(parted("omni run python -m x"), "omni run python -- -m x");
        assert_eq!(
            parted("omni run --name python python3 -d"),
            "omni run --name python python3 -- -d"
        );
        assert_eq!(parted("omni --json run -d python a"), "omni --json run -d python -- a");
    }

    #[test]
    fn a_machine_that_is_asked_for_more_than_a_fork_can_be_is_started() {
        let runtime = find("python").expect("known");
        let args = MachineArgs::of("python");
        assert!(can_be_forked(runtime, &args));
        let with =
            |name: &str| MachineArgs { env: vec![(name.into(), "1".into())], ..args.clone() };
        assert!(can_be_forked(runtime, &with("HOME")));
        assert!(!can_be_forked(runtime, &with("PYTHONPATH")));
        assert!(!can_be_forked(runtime, &MachineArgs { seed: Some(1), ..args.clone() }));
        assert!(!can_be_forked(runtime, &MachineArgs { fuel: Some(1), ..args }));
    }
}
