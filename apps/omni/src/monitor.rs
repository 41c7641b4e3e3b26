//! The process that owns a machine, and those forked from it: makes it, runs it, and tells how it
//! ended.

use crate::backends::World;
use crate::cable::OnSwitch;
use crate::clients::{self, Guests};
use crate::failure::{Failure, code};
use crate::family::{Family, Member, disk_roots};
use crate::hold::hold;
use crate::keeper::{Keeper, seal};
use crate::origin::{self, Made, Warm};
use crate::recorded;
use crate::snapshots::forget;
use crate::translate;
use omni_base::Gpa;
use omni_control::{Dirs, Entry, OriginFile, Phase, Registry, StateFile, now_text};
use omni_host::{
    Begin, Console, DiskRoot, Ended, FileLock, Item, Queue, Runner, Stats, new_session,
    raise_file_limit,
};
use omni_kinds::kind_of;
use omni_machine::{Event, Machine, MachineKind, PortId, PortInfo, Region, Schedule, Spec};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long an ended machine's output waits for clients that do not take it.
const DRAIN: Duration = Duration::from_secs(60);

/// How long clients have to hear of the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a machine waits for the client that is to own it.
pub(crate) const HOLD: Duration = Duration::from_secs(10);

/// What the threads of a monitor share.
pub(crate) struct Shared {
    pub(crate) queue: Arc<Queue>,
    pub(crate) console: Option<(PortId, Arc<Console>)>,
    /// The console of errors, where its kind has one.
    pub(crate) errors: Option<Arc<Console>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) entry: Entry,
    pub(crate) deterministic: bool,
    pub(crate) ns_per_tick: u32,
    pub(crate) ports: Value,
    pub(crate) switches: BTreeMap<String, OnSwitch>,
    pub(crate) keeper: Keeper,
    pub(crate) family: Arc<Family>,
    /// The spaces of its disks, and what is below their overlays.
    pub(crate) disks: Vec<(String, DiskRoot)>,
    /// The connections of its clients.
    pub(crate) guests: Guests,
    /// It stays though it was to be removed.
    pub(crate) keep: AtomicBool,
    life: Mutex<Life>,
    changed: Condvar,
}

struct Life {
    state: StateFile,
    /// The exit code, once everything is written.
    done: Option<u8>,
    /// Clients that still have to hear of the end.
    listeners: u32,
}

impl Shared {
    /// Waits for the end of the machine, at most as long as given.
    pub(crate) fn wait(&self, most: Option<Duration>) -> Option<u8> {
        let until = most.and_then(|most| Instant::now().checked_add(most));
        let mut life = self.life();
        while life.done.is_none() {
            life = match until {
                None => self.changed.wait(life).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    let waited = self.changed.wait_timeout(life, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        life.done
    }

    /// The consoles that clients see.
    fn consoles(&self) -> impl Iterator<Item = &Arc<Console>> {
        self.console.iter().map(|(_, console)| console).chain(&self.errors)
    }

    /// A fault of this program ended the machine; the others of its family live on.
    fn fail(&self) {
        self.queue.close();
        self.leave_switches();
        self.keeper.let_go();
        self.consoles().for_each(|console| console.end());
        let mut life = self.life();
        let socket = life.state.socket.take();
        life.state.state = Phase::Failed;
        life.state.pid = None;
        life.state.error = Some("a fault of omni ended it; its monitor.log may say more".into());
        // What cannot be written is told by the lock, which nobody holds.
        let _ = Entry::write_state(&self.entry.dir, &life.state);
        if let Some(socket) = socket {
            let _ = fs::remove_file(socket);
        }
        life.done = Some(code::OWN_FAILURE);
        drop(life);
        self.changed.notify_all();
        self.guests.leave();
    }

    /// Others need not wait for what is still to be done for a machine that has ended.
    fn leave_switches(&self) {
        self.switches.values().for_each(|on| on.member.leave());
    }

    /// What could not be done at the end of the machine.
    pub(crate) fn error(&self) -> Option<String> {
        self.life().state.error.clone()
    }

    /// Notes that the machine is held, or no longer.
    pub(crate) fn set_phase(&self, phase: Phase) {
        let mut life = self.life();
        if life.done.is_none() && life.state.state.is_live() {
            life.state.state = phase;
            life.state.cold &= phase == Phase::Paused;
            // The machine is as asked; only who looks from outside would see it late.
            let _ = Entry::show_state(&self.entry.dir, &life.state);
        }
    }

    /// Notes that the memory of the machine, where it is held still, is in the store.
    pub(crate) fn set_cold(&self) {
        let mut life = self.life();
        if life.state.state == Phase::Paused {
            life.state.cold = true;
            // Who looks from outside takes it for warm at worst.
            let _ = Entry::show_state(&self.entry.dir, &life.state);
        }
    }

    /// A client that wants to hear of the end, until what it gives is dropped.
    pub(crate) fn listen(self: &Arc<Self>) -> Listener {
        self.life().listeners += 1;
        Listener(self.clone())
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client that wants to hear of the end.
pub(crate) struct Listener(Arc<Shared>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.life().listeners -= 1;
        self.0.changed.notify_all();
    }
}

/// Runs the machine of a directory to its end. Whoever started this process reads one line from
/// its standard output: that the machine runs, or why it does not.
pub(crate) fn run(dir: &Path, hold: bool, start: &Start) -> Result<u8, Failure> {
    // It leads a group already where a person runs it by hand, which does no harm.
    let _ = new_session();
    raise_file_limit();
    // While another is at the machine yet.
    let warm = start.wait.then(|| warm(&Entry::load(dir)?, start));
    if start.wait && !told_to_begin() {
        return Ok(0);
    }
    match begin(dir, start, warm) {
        Ok(begun) => {
            tell(&json!({ "ready": true }));
            let family = begun.shared.family.clone();
            let code = begun.live_or_fail(hold);
            family.wait();
            Ok(code)
        }
        Err(failure) => {
            tell(&json!({ "ready": false, "code": failure.code, "text": failure.text }));
            Err(failure)
        }
    }
}

/// What a machine begins with.
#[derive(Clone, Default, Debug)]
pub(crate) struct Start {
    /// The id of a snapshot; a cold start where there is none.
    pub(crate) from: Option<String>,
    /// Whether it is another machine than the one of the snapshot.
    pub(crate) fork: bool,
    /// Whoever started this process still has to change the machine's files, and says when it has.
    pub(crate) wait: bool,
    /// It stands still until somebody lets it go.
    pub(crate) held: bool,
}

/// What a machine comes from.
pub(crate) struct Birth {
    pub(crate) entry: Entry,
    pub(crate) lock: FileLock,
    pub(crate) made: Made,
    pub(crate) family: Arc<Family>,
    /// It is another machine than the one that it goes on from.
    pub(crate) identity: bool,
    /// Is called when it runs first.
    pub(crate) begin: Option<Begin>,
    /// What it may never use is made when it does.
    pub(crate) lazy: bool,
    /// It stands still until somebody lets it go.
    pub(crate) held: bool,
}

/// A machine that is ready to run.
pub(crate) struct Begun {
    lock: FileLock,
    _member: Member,
    listener: UnixListener,
    runner: Runner<World>,
    pub(crate) shared: Arc<Shared>,
    kind: &'static dyn MachineKind,
    spec: Spec,
}

/// The machine as the snapshot has it that it goes on from, where there is one.
fn warm(entry: &Entry, start: &Start) -> Result<Option<Warm>, Failure> {
    begin_process(entry)?;
    start.from.as_deref().map(|id| origin::warm(entry, id)).transpose()
}

fn begin(
    dir: &Path,
    start: &Start,
    ready: Option<Result<Option<Warm>, Failure>>,
) -> Result<Begun, Failure> {
    let mut entry = Entry::load(dir)?;
    let lock = hold(&entry)?;
    let ready = ready.unwrap_or_else(|| warm(&entry, start))?;
    let made = origin::make(&entry, ready)?;
    let family = Family::open().map_err(|error| Failure::io("cannot start a monitor", &error))?;
    entry.state = StateFile {
        state: if start.held { Phase::Paused } else { Phase::Running },
        started: Some(now_text()),
        pid: Some(std::process::id()),
        socket: Some(dirs()?.socket(&entry.machine.id)?),
        ..StateFile::default()
    };
    let (identity, held) = (start.fork, start.held);
    let birth = Birth { entry, lock, made, family, identity, begin: None, lazy: false, held };
    let begun = Begun::new(birth)?;
    let entry = &begun.shared.entry;
    if entry.origin.branch.is_some() {
        let origin = OriginFile { branch: None, ..entry.origin.clone() };
        Entry::write_origin(dir, &origin)?;
    }
    Entry::show_state(dir, &entry.state)?;
    Ok(begun)
}

/// What this process does in all that it does for the machine.
fn begin_process(entry: &Entry) -> Result<(), Failure> {
    if entry.machine.share {
        omni_memory::offer_to_merge();
    }
    translate::begin(entry.machine.accel.as_deref())
}

impl Begun {
    /// Connects a machine to its surroundings.
    pub(crate) fn new(birth: Birth) -> Result<Self, Failure> {
        let Birth { entry, lock, made, family, identity, begin, lazy, held } = birth;
        let over = || Failure::new(code::WRONG_STATE, "the monitor is about to end");
        let member = family.join().ok_or_else(over)?;
        let Made { spec, disks, mut machine, keeper, in_flight } = made;
        let kind = kind_of(&spec.kind)?;
        if entry.machine.signature.is_some() && kind.signature(&spec).is_none() {
            return Err(no_signature());
        }
        let ports = kind.ports(&spec)?;
        let queue = Arc::new(Queue::default());
        if entry.machine.parallel && !machine.set_schedule(Schedule::Parallel) {
            let text = format!("machines of kind {} take turns only", spec.kind);
            return Err(Failure::new(code::UNSUPPORTED, text));
        }
        if identity {
            let mut entropy = [0; 32];
            for part in entropy.chunks_mut(8) {
                part.copy_from_slice(&omni_host::random_u64().to_le_bytes());
            }
            queue.push(Item::Event(Event::Generation { entropy }));
        }
        for (port, bytes) in in_flight {
            queue.push(Item::Event(Event::Input { port, bytes }));
        }
        if held {
            queue.push(Item::Pause);
        }
        let roots = disk_roots(&ports, &disks);
        let world = World::new(&entry, &ports, disks, &queue, lazy)?;
        let listener = listen(&entry)?;
        let (console, errors, caps) = (world.console(), world.errors(), machine.caps());
        let (ports, switches) = (ports_value(&ports, &world), world.switches());
        recorded::from_start(&entry, &keeper.recorder, &mut *machine)?;
        let limit = entry.machine.timeout_ms.map(Duration::from_millis);
        let ns_per_tick = spec.ns_per_tick;
        let runner = Runner::new(machine, queue.clone(), world, limit);
        let runner = runner.with_pool(family.pool.clone());
        let runner = begin.into_iter().fold(runner, Runner::with_begin);
        let runner = runner.with_tape(Box::new(keeper.recorder.clone()));
        let life = Life { state: entry.state.clone(), done: None, listeners: 0 };
        let shared = Arc::new(Shared {
            queue,
            console,
            errors,
            stats: runner.stats(),
            entry,
            deterministic: caps.deterministic,
            ns_per_tick,
            ports,
            switches,
            keeper,
            family,
            disks: roots,
            guests: Guests::default(),
            keep: AtomicBool::new(false),
            life: Mutex::new(life),
            changed: Condvar::new(),
        });
        Ok(Self { lock, _member: member, listener, runner, shared, kind, spec })
    }

    /// As `live`; a fault of this program ends this machine and no other.
    pub(crate) fn live_or_fail(self, hold: bool) -> u8 {
        let shared = self.shared.clone();
        let lived = catch_unwind(AssertUnwindSafe(|| self.live(hold)));
        lived.unwrap_or_else(|_| {
            shared.fail();
            code::OWN_FAILURE
        })
    }

    /// The machine's life, and what comes after it.
    fn live(mut self, hold: bool) -> u8 {
        let shared = self.shared.clone();
        let _door = clients::serve(self.listener, &shared, hold);
        let ended = self.runner.run();
        shared.queue.close();
        shared.leave_switches();
        let (mut machine, mut world) = self.runner.into_parts();
        let code = match ended {
            Ended::Halted(code) => exit_code(code),
            Ended::Killed => code::KILLED,
            Ended::Timeout => code::TIMEOUT,
            Ended::Damaged => code::DAMAGED,
        };
        let recorded = shared.keeper.recorder.finish(&mut *machine).map_err(|text| {
            Failure::new(code::FAILURE, format!("the recording is not whole: {text}"))
        });
        let damage = machine.memory().damage().map(str::to_owned);
        let kept = match damage {
            // What the guest made of a page that could not be read is not worth keeping.
            Some(text) => Err(Failure::new(code::DAMAGED, text)),
            None => keep(&shared, &mut *machine).and(world.finish(machine.memory())),
        };
        let signed = write_signature(&shared.entry, self.kind, &self.spec, &mut *machine);
        let told = if shared.family.is_single() { translate::end() } else { Ok(()) };
        let all_done = kept.and(recorded.map(|_| ())).and(signed).and(told);
        shared.consoles().for_each(|console| console.end());
        shared.consoles().for_each(|console| console.drain(DRAIN));
        // Whoever hears of the end may clean up at once.
        shared.keeper.let_go();
        finish(&shared, &*machine, code, all_done);
        // Nothing more is done to its files: whoever waits for them need not wait for the rest.
        drop(self.lock);
        // The last to hear of it has left, or was slow for too long.
        let until = Instant::now() + FAREWELL;
        let mut life = shared.life();
        while life.listeners > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = shared.changed.wait_timeout(life, left);
            life = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(life);
        shared.guests.leave();
        code
    }
}

/// The socket of a machine, open for clients.
fn listen(entry: &Entry) -> Result<UnixListener, Failure> {
    let none = || Failure::new(code::FAILURE, "the machine has no socket");
    let socket = entry.state.socket.as_ref().ok_or_else(none)?;
    // One left over from a monitor that was killed: the lock says that it is gone.
    let _ = fs::remove_file(socket);
    UnixListener::bind(socket).map_err(|error| Failure::io(&socket.display().to_string(), &error))
}

/// The ports of a machine, for those who inspect it.
fn ports_value(ports: &[PortInfo], world: &World) -> Value {
    let port = |port: &PortInfo| {
        let kind = kind_word(port);
        json!({ "id": port.id.0, "name": port.name, "kind": kind })
    };
    json!({
        "devices": ports.iter().map(port).collect::<Vec<_>>(),
        "published": world.published(),
    })
}

/// Takes the snapshot that was asked for at the end.
fn keep(shared: &Shared, machine: &mut dyn Machine) -> Result<(), Failure> {
    if !shared.entry.machine.snapshot_on_exit {
        return Ok(());
    }
    shared.keeper.keep(None, || seal(machine, &shared.keeper.recorder)).map(|_| ())
}

/// Writes how it ended, or removes the machine, and then lets everyone know.
fn finish(shared: &Arc<Shared>, machine: &dyn Machine, code: u8, all_done: Result<(), Failure>) {
    let entry = &shared.entry;
    let mut life = shared.life();
    let socket = life.state.socket.take();
    life.state.state = Phase::Stopped;
    life.state.exit_code = Some(code);
    life.state.finished = Some(now_text());
    life.state.pid = None;
    life.state.error = all_done.err().map(|failure| failure.text);
    let ticks = machine.tick().0;
    let figures = [
        ("ticks", json!(ticks)),
        ("virtual_ms", json!(virtual_ms(ticks, shared.ns_per_tick))),
        ("host_cpu_ms", json!(shared.stats.cpu_us() / 1000)),
    ];
    life.state.last = figures.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let kept = shared.keep.load(Ordering::Relaxed);
    let written = if kept {
        // Whoever wants it to stay changes what it goes on from, and makes that last.
        Entry::show_state(&entry.dir, &life.state).map_err(Failure::from)
    } else if entry.machine.remove {
        dirs().and_then(|dirs| {
            Registry::open(&dirs)?.remove_files(&entry.machine.id, &entry.dir)?;
            forget(&entry.machine.id, &dirs)
        })
    } else {
        Entry::write_state(&entry.dir, &life.state).map_err(Failure::from)
    };
    if let Err(failure) = written {
        // Standard error is the monitor's log: the only place left to say it.
        let _ = writeln!(io::stderr(), "{}", failure.text);
    }
    if let Some(socket) = socket {
        let _ = fs::remove_file(socket);
    }
    life.done = Some(code);
    drop(life);
    shared.changed.notify_all();
}

/// Guest time in milliseconds.
pub(crate) fn virtual_ms(ticks: u64, ns_per_tick: u32) -> u64 {
    let ms = u128::from(ticks) * u128::from(ns_per_tick) / 1_000_000;
    u64::try_from(ms).unwrap_or(u64::MAX)
}

/// The exit code of the host for one of the guest: failure stays failure.
fn exit_code(code: u64) -> u8 {
    let low = code.to_le_bytes()[0];
    if code != 0 && low == 0 { code::FAILURE } else { low }
}

/// Writes what a compliance test signed: one 32-bit word a line.
fn write_signature(
    entry: &Entry,
    kind: &dyn MachineKind,
    spec: &Spec,
    machine: &mut dyn Machine,
) -> Result<(), Failure> {
    let Some(path) = &entry.machine.signature else { return Ok(()) };
    let region = kind.signature(spec).ok_or_else(no_signature)?;
    let text = signature_text(&region, machine)
        .ok_or_else(|| Failure::usage("--signature: the signature is not within memory"))?;
    fs::write(path, text).map_err(|error| Failure::io(&path.display().to_string(), &error))
}

fn no_signature() -> Failure {
    Failure::usage("--signature: the program has no symbols begin_signature and end_signature")
}

fn signature_text(region: &Region, machine: &mut dyn Machine) -> Option<String> {
    let space = machine.memory().spaces.iter().find(|space| space.name() == region.space)?;
    let end = region.at.0.checked_add(region.bytes)?;
    if end > space.size() {
        return None;
    }
    let mut text = String::new();
    for at in (region.at.0..end).step_by(4) {
        let mut word = [0; 4];
        space.read(Gpa(at), &mut word).ok()?;
        text.push_str(&format!("{:08x}\n", u32::from_le_bytes(word)));
    }
    Some(text)
}

/// Waits for the word of whoever started this process; says whether it came.
fn told_to_begin() -> bool {
    io::stdin().lock().read_exact(&mut [0]).is_ok()
}

fn tell(value: &Value) {
    // Whoever started us may have gone: the machine runs all the same.
    let _ = writeln!(io::stdout().lock(), "{value}").and_then(|()| io::stdout().flush());
}

pub(crate) fn dirs() -> Result<Dirs, Failure> {
    Ok(Dirs::from_env(|name| std::env::var(name))?)
}

fn kind_word(port: &PortInfo) -> &'static str {
    match port.kind {
        omni_machine::PortKind::Console => "console",
        omni_machine::PortKind::Net { .. } => "net",
        omni_machine::PortKind::Disk { .. } => "disk",
        omni_machine::PortKind::Files => "files",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_failure_of_a_guest_becomes_a_success() {
        assert_eq!(exit_code(0), 0);
        assert_eq!(exit_code(3), 3);
        assert_eq!(exit_code(256), 1);
        assert_eq!(exit_code(u64::MAX), 255);
    }
}
