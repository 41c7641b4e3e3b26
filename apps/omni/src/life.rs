//! The verbs of a machine's life: run, create, start, stop, kill, pause, resume, wait, rm, rename.

use crate::adopt::adopt;
use crate::args::{MachineArgs, Machines, RmArgs, RunArgs, Schedule};
use crate::console::{Left, attach, attach_with};
use crate::failure::{Failure, code};
use crate::groups;
use crate::plan::{Plan, can_be_parallel, can_be_recorded, plan, spec_of};
use crate::recorded;
use crate::room;
use crate::saved;
use crate::snapshots;
use crate::switches;
use crate::ui::Ui;
use crate::warm;
use omni_base::Digest;
use omni_control::{Client, Dirs, Entry, Message, Phase, Registry, Reply, Request};
use omni_host::{is_terminal, monotonic_ns};
use omni_kinds::kind_of;
use omni_machine::Group;
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a system has to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// How long a program has, which need not know of power buttons.
const GRACE_PROGRAM: Duration = Duration::from_secs(1);

/// Monitors that are started at once.
const LAUNCHES_MAX: usize = 16;

/// What a monitor says when it starts, in bytes.
const GREETING_BYTES_MAX: u64 = 64 << 10;

/// `run`: create, start, and attach or print the id. The exit code is the guest's.
pub(crate) fn run(args: &RunArgs, dirs: &Dirs, ui: Ui) -> Result<u8, Failure> {
    let result = run_inner(args, dirs, ui);
    // So that a script can tell the guest's failure from ours.
    result.map_err(|failure| {
        let code = if failure.code == code::FAILURE { code::OWN_FAILURE } else { failure.code };
        Failure { code, ..failure }
    })
}

fn run_inner(args: &RunArgs, dirs: &Dirs, ui: Ui) -> Result<u8, Failure> {
    if let Some(runtime) = warm::meant(&args.machine) {
        return warm::run(runtime, args, dirs, ui);
    }
    let interactive = args.detach || is_terminal(io::stdin());
    let plan = plan(&args.machine, interactive, dirs, ui)?;
    run_plan(plan, args, Vec::new(), dirs, ui)
}

/// Makes the machine of a plan and runs it; these bytes are typed before all else.
pub(crate) fn run_plan(
    plan: Plan,
    args: &RunArgs,
    first: Vec<u8>,
    dirs: &Dirs,
    ui: Ui,
) -> Result<u8, Failure> {
    let registry = Registry::open(dirs)?;
    let entry = make(&registry, plan)?;
    let launched = room::check(std::slice::from_ref(&entry), &registry)
        .and_then(|()| switches::check_addresses(&entry, &registry))
        .and_then(|()| launch(&entry, Begin { hold: !args.detach, ..Begin::default() }));
    let entry = match launched {
        Ok(entry) => entry,
        Err(failure) => {
            // It never ran: nothing of it is worth keeping.
            let _ = registry.remove_files(&entry.machine.id, &entry.dir);
            return Err(failure);
        }
    };
    stay(&entry, args, first, ui)
}

/// Attaches to a machine that has just begun, or leaves it to itself.
pub(crate) fn stay(entry: &Entry, args: &RunArgs, first: Vec<u8>, ui: Ui) -> Result<u8, Failure> {
    if args.detach {
        if !first.is_empty() {
            let mut client = Client::connect(entry)?;
            client.ask(&Request::Attach { history: 0, hold: false, own: false })?;
            client.input(&first)?;
            // Answered once the bytes have been taken.
            client.ask(&Request::Detach)?;
        }
        let value = json!({ "id": entry.machine.id, "name": entry.machine.name });
        ui.result(value, &entry.machine.id)?;
        return Ok(0);
    }
    match attach_with(entry, true, first, ui)? {
        Left::Exited(code) => {
            if code == code::TIMEOUT && args.machine.timeout.is_some() {
                ui.say("omni: the machine was killed at its time limit");
            }
            Ok(code)
        }
        Left::Detached => Ok(0),
    }
}

/// Adds a machine, with what it takes over from its image.
pub(crate) fn make(registry: &Registry, plan: Plan) -> Result<Entry, Failure> {
    let mut entry = registry.create(plan.machine, &plan.stem)?;
    if let Some(adoption) = plan.adoption
        && let Err(failure) = adopt(&mut entry, adoption)
    {
        // The first failure is the one to tell of.
        let _ = registry.remove_files(&entry.machine.id, &entry.dir);
        return Err(failure);
    }
    Ok(entry)
}

/// `create`: make it, and check that it could run.
pub(crate) fn create(args: &MachineArgs, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let plan = plan(args, is_terminal(io::stdin()), dirs, ui)?;
    let registry = Registry::open(dirs)?;
    let entry = make(&registry, plan)?;
    let checked =
        spec_of(&entry).and_then(|(spec, _)| Ok(kind_of(&spec.kind)?.create(&spec).map(|_| ())?));
    if let Err(failure) = checked {
        // The first failure is the one to tell of.
        let _ = registry.remove_files(&entry.machine.id, &entry.dir);
        return Err(failure);
    }
    let value = json!({ "id": entry.machine.id, "name": entry.machine.name });
    ui.result(value, &entry.machine.id)
}

/// What is another from this start on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Changes {
    /// How virtual CPUs run.
    pub(crate) schedule: Schedule,
    /// It is recorded.
    pub(crate) record: bool,
}

/// `start`: run it again, from the beginning but with its disks as they are.
pub(crate) fn start(
    machines: &Machines,
    attached: bool,
    changes: Changes,
    dirs: &Dirs,
    ui: Ui,
) -> Result<u8, Failure> {
    let registry = Registry::open(dirs)?;
    let startable = |key: &str| {
        let mut entry = startable(&registry, key)?;
        entry.machine.record |= changes.record;
        set_schedule(&mut entry, changes.schedule)?;
        if changes.record {
            if entry.machine.parallel {
                can_be_recorded(true)?;
            }
            entry.write_machine()?;
        }
        room::check(std::slice::from_ref(&entry), &registry)?;
        switches::check_addresses(&entry, &registry)?;
        Ok::<_, Failure>(entry)
    };
    if attached {
        let [key] = &machines.machines[..] else {
            return Err(Failure::usage("--attach takes one machine"));
        };
        let entry = startable(key)?;
        let entry = launch(&entry, Begin { hold: true, ..first_begin(&entry)? })?;
        return Ok(match attach(&entry, true, ui)? {
            Left::Exited(code) => code,
            Left::Detached => 0,
        });
    }
    each(machines, ui, |key| {
        let entry = startable(key)?;
        let entry = launch(&entry, first_begin(&entry)?)?;
        Ok((entry, json!({ "state": "running" })))
    })?;
    Ok(0)
}

/// Whether the virtual CPUs of a machine could run so.
pub(crate) fn check_schedule(entry: &Entry, schedule: Schedule) -> Result<(), Failure> {
    if schedule.parallel() == Some(true) {
        can_be_parallel(kind_of(&entry.machine.kind)?)?;
        can_be_recorded(entry.machine.record)?;
    }
    Ok(())
}

/// Notes how the virtual CPUs of a machine that does not live run from now on.
pub(crate) fn set_schedule(entry: &mut Entry, schedule: Schedule) -> Result<(), Failure> {
    check_schedule(entry, schedule)?;
    let Some(parallel) = schedule.parallel() else { return Ok(()) };
    entry.machine.parallel = parallel;
    Ok(entry.write_machine()?)
}

fn startable(registry: &Registry, key: &str) -> Result<Entry, Failure> {
    let entry = registry.find(key)?;
    if entry.state.state.is_live() {
        let text = format!("the machine '{}' runs already", entry.machine.name);
        return Err(Failure::new(code::WRONG_STATE, text));
    }
    Ok(entry)
}

/// How a monitor begins.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Begin {
    /// It waits for the client that is to own the machine.
    pub(crate) hold: bool,
    /// The snapshot that it starts from; a cold start where there is none.
    pub(crate) from: Option<Digest>,
    /// The machine is another one than that of the snapshot.
    pub(crate) fork: bool,
    /// It stands still until somebody lets it go.
    pub(crate) held: bool,
}

/// A monitor that has been started ahead of time, and waits to be told to begin. It leaves should
/// this be dropped.
pub(crate) struct Waiting(Child);

/// Starts a monitor while the files of its machine still have to be changed.
pub(crate) fn prepare(entry: &Entry, begin: Begin) -> Result<Waiting, Failure> {
    Ok(Waiting(spawn_as(entry, begin, true)?))
}

impl Waiting {
    /// Lets it begin, and waits until the machine runs.
    pub(crate) fn go(mut self, entry: &Entry) -> Result<Entry, Failure> {
        if let Some(mut stdin) = self.0.stdin.take() {
            // Where it has gone, its greeting is missing.
            let _ = stdin.write_all(b"\n");
        }
        greeted(entry, self.0)
    }
}

/// How a machine that does not live begins: a fork that never ran where it was forked, others cold.
fn first_begin(entry: &Entry) -> Result<Begin, Failure> {
    let waits = entry.origin.fork && entry.state.state == Phase::Created;
    let from = match &entry.origin.parent {
        Some(id) if waits => Some(saved::parse_id(id)?),
        _ => None,
    };
    Ok(Begin { from, fork: from.is_some(), ..Begin::default() })
}

/// Starts the monitor of a machine and waits until it runs.
pub(crate) fn launch(entry: &Entry, begin: Begin) -> Result<Entry, Failure> {
    let child = spawn(entry, begin)?;
    greeted(entry, child)
}

/// Starts several monitors at once, and tells of each when it ran, by `monotonic_ns`, or why it
/// does not.
pub(crate) fn launch_all(all: &[(&Entry, Begin)]) -> Vec<Result<(Entry, u64), Failure>> {
    let mut launched = Vec::new();
    // Not more at a time than the host can well run.
    for some in all.chunks(LAUNCHES_MAX) {
        let children: Vec<Result<Child, Failure>> =
            some.iter().map(|(entry, begin)| spawn(entry, *begin)).collect();
        for ((entry, _), child) in some.iter().zip(children) {
            let ready = child.and_then(|child| greeted(entry, child));
            launched.push(ready.map(|entry| (entry, monotonic_ns())));
        }
    }
    launched
}

fn spawn(entry: &Entry, begin: Begin) -> Result<Child, Failure> {
    spawn_as(entry, begin, false)
}

fn spawn_as(entry: &Entry, begin: Begin, waits: bool) -> Result<Child, Failure> {
    let failed = |what: &str, error: &io::Error| Failure::io(what, error);
    let path = entry.dir.join("monitor.log");
    let log = OpenOptions::new().create(true).append(true).open(&path);
    let log = log.map_err(|error| failed(&path.display().to_string(), &error))?;
    let own = std::env::current_exe().map_err(|error| failed("this program's own file", &error))?;
    let mut command = Command::new(own);
    command.arg("monitor").arg(&entry.dir);
    if begin.hold {
        command.arg("--hold");
    }
    if let Some(id) = begin.from {
        command.arg("--from").arg(id.to_string());
    }
    if begin.fork {
        command.arg("--fork");
    }
    if begin.held {
        command.arg("--held");
    }
    if waits {
        command.arg("--wait");
    }
    command.stdin(if waits { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(log);
    command.spawn().map_err(|error| failed("cannot start a monitor", &error))
}

/// Waits for what a monitor says when it begins.
fn greeted(entry: &Entry, mut child: Child) -> Result<Entry, Failure> {
    let stdout = child.stdout.take().expect("it was asked for");
    let mut line = String::new();
    // One that cannot be read says as little as one that is empty.
    let _ = BufReader::new(stdout.take(GREETING_BYTES_MAX)).read_line(&mut line);
    let said: Value = serde_json::from_str(&line).unwrap_or_default();
    if said["ready"] == true {
        return Ok(Entry::load(&entry.dir)?);
    }
    let text = said["text"].as_str().map(str::to_owned);
    let code = said["code"].as_u64().and_then(|code| u8::try_from(code).ok());
    let path = entry.dir.join("monitor.log");
    let lost = || format!("the monitor ended before it began; {} may say why", path.display());
    Err(Failure::new(code.unwrap_or(code::FAILURE), text.unwrap_or_else(lost)))
}

/// Does something to each machine, and tells of each. All are tried; the first failure counts.
fn each(
    machines: &Machines,
    ui: Ui,
    mut verb: impl FnMut(&str) -> Result<(Entry, Value), Failure>,
) -> Result<(), Failure> {
    let mut first = None;
    for key in &machines.machines {
        match verb(key) {
            Ok((entry, value)) => {
                let mut object = json!({ "id": entry.machine.id, "name": entry.machine.name });
                if let (Value::Object(object), Value::Object(more)) = (&mut object, value) {
                    object.extend(more);
                }
                ui.result(object, &entry.machine.name)?;
            }
            Err(failure) if machines.machines.len() == 1 => return Err(failure),
            Err(failure) => {
                ui.say(&format!("omni: {}", failure.text));
                first.get_or_insert(failure.code);
            }
        }
    }
    first.map_or(Ok(()), |code| Err(Failure::new(code, "")))
}

/// Asks the monitor of each machine for one thing.
pub(crate) fn ask(
    machines: &Machines,
    request: &Request,
    dirs: &Dirs,
    ui: Ui,
) -> Result<(), Failure> {
    let registry = Registry::open(dirs)?;
    each(machines, ui, |key| {
        let entry = registry.find(key)?;
        if *request == Request::Resume && entry.state.cold {
            room::check_again(std::slice::from_ref(&entry), &registry)?;
        }
        let value = Client::connect(&entry)?.ask(request)?;
        Ok((entry, value))
    })
}

/// `stop`: the power button, and the plug after a while.
pub(crate) fn stop(
    machines: &Machines,
    time: Option<Duration>,
    dirs: &Dirs,
    ui: Ui,
) -> Result<(), Failure> {
    let registry = Registry::open(dirs)?;
    each(machines, ui, |key| {
        let entry = registry.find(key)?;
        let system = kind_of(&entry.machine.kind)?.info().group == Group::System;
        let grace = time.unwrap_or(if system { GRACE } else { GRACE_PROGRAM });
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let value = Client::connect(&entry)?.ask(&Request::Stop { grace_ms })?;
        Ok((entry, value))
    })
}

/// `wait`: the exit code of each, once it has ended.
pub(crate) fn wait(machines: &Machines, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let registry = Registry::open(dirs)?;
    for key in &machines.machines {
        let entry = registry.find(key)?;
        let code = wait_one(&registry, &entry)?;
        let value =
            json!({ "id": entry.machine.id, "name": entry.machine.name, "exit_code": code });
        ui.result(value, &code.to_string())?;
    }
    Ok(())
}

fn wait_one(registry: &Registry, entry: &Entry) -> Result<u8, Failure> {
    let name = &entry.machine.name;
    let ended = |entry: &Entry| match (entry.state.state, entry.state.exit_code) {
        (Phase::Stopped, Some(code)) => Ok(code),
        (state, _) => {
            let text = format!("the machine '{name}' is {}: it has no exit code", state.word());
            Err(Failure::new(code::WRONG_STATE, text))
        }
    };
    if !entry.state.state.is_live() {
        return ended(entry);
    }
    // It may end between the look and the call.
    let Ok(mut client) = Client::connect(entry) else { return ended(&registry.find(name)?) };
    client.send(&Request::Wait)?;
    loop {
        match client.receive() {
            Ok(Message::Reply(Reply::Exited { code, .. })) => return Ok(code),
            Ok(Message::Reply(_) | Message::Output(_) | Message::Errors(_)) => {}
            Err(_) => return ended(&registry.find(&entry.machine.id)?),
        }
    }
}

/// `rm`: remove each.
pub(crate) fn remove(args: &RmArgs, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    if let Some(group) = &args.group {
        return groups::remove(group, dirs, ui);
    }
    let registry = Registry::open(dirs)?;
    let (force, machines) = (args.force, Machines { machines: args.machines.clone() });
    if let [key] = &machines.machines[..]
        && let Some((machine, tag)) = key.split_once('@')
    {
        let entry = registry.find(machine)?;
        if recorded::names(&entry).iter().any(|name| name == tag) {
            recorded::remove(&entry, tag)?;
            let (id, name) = (&entry.machine.id, &entry.machine.name);
            let value = json!({ "id": id, "name": name, "recording": tag, "removed": true });
            return ui.result(value, &format!("{name}@{tag}"));
        }
        return snapshots::remove(key, dirs, ui);
    }
    each(&machines, ui, |key| {
        let mut entry = registry.find(key)?;
        check_unused(&entry, &registry)?;
        if force && entry.state.state.is_live() {
            // Where that fails it has just ended, or the removal says what is wrong.
            let _ = Client::connect(&entry)
                .and_then(|mut client| client.ask(&Request::Kill { keep: false }));
            match registry.find(&entry.machine.id) {
                Ok(found) => entry = found,
                Err(_) if entry.machine.remove => return Ok((entry, json!({ "removed": true }))),
                Err(error) => return Err(error.into()),
            }
        }
        registry.remove(&entry)?;
        snapshots::forget(&entry.machine.id, dirs)?;
        Ok((entry, json!({ "removed": true })))
    })
}

/// Forks lie over the disk images of the machine that they came from.
fn check_unused(entry: &Entry, registry: &Registry) -> Result<(), Failure> {
    for other in registry.list()?.iter().filter(|other| other.machine.id != entry.machine.id) {
        let machine = &other.machine;
        let mut paths = machine.disks.iter().map(|disk| &disk.path).chain(machine.files.values());
        if paths.any(|path| path.starts_with(&entry.dir)) {
            let (name, fork) = (&entry.machine.name, &machine.name);
            let text =
                format!("'{fork}' was forked from '{name}' and uses its files: remove it first");
            return Err(Failure::new(code::WRONG_STATE, text));
        }
    }
    Ok(())
}

/// `rename`: another name.
pub(crate) fn rename(key: &str, name: &str, dirs: &Dirs, ui: Ui) -> Result<(), Failure> {
    let entry = Registry::open(dirs)?.rename(key, name)?;
    ui.result(json!({ "id": entry.machine.id, "name": entry.machine.name }), &entry.machine.name)
}

/// `attach`: join the console. The exit code is the guest's where it ends meanwhile.
pub(crate) fn join(key: &str, dirs: &Dirs, ui: Ui) -> Result<u8, Failure> {
    let entry = Registry::open(dirs)?.find(key)?;
    Ok(match attach(&entry, false, ui)? {
        Left::Exited(code) => code,
        Left::Detached => 0,
    })
}
