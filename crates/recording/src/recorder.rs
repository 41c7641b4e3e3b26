//! The runner's side of a recording: notes what enters the machine, and now and then how it is.

use crate::Vault;
use crate::budget::{Changed, fits};
use crate::writers::{Entry, Figures, Job, LogFile, Rungs};
use omni_base::{PAGE_SIZE_U64, Tick};
use omni_host::Tape;
use omni_lifecycle::{
    Check, LifecycleError, LogHead, Mark, Moment, Pulse, Rung, Snapshot, can_be_replayed, surplus,
    take,
};
use omni_machine::{Event, Machine, MachineKind};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Entries that wait for the disk; beyond it the machine waits.
const ENTRIES_MAX: usize = 4096;

/// Memory that rungs may hold beside the machine, about.
const NEAR_BYTES_MAX: u64 = 64 << 20;

/// Bytes of changed pages in a second that rungs in memory may cost: each page that changes after
/// a rung is copied once more.
const NEAR_BYTES_PER_S: u64 = 8 << 20;

/// How often a recording notes how its machine is.
#[derive(Clone, Copy, Debug)]
pub struct Pacing {
    /// Time between two pulses.
    pub pulse: Duration,
    /// Time between two pulses, at least, where something was let in between.
    pub pulse_event: Duration,
    /// Time between two rungs in memory, at least: the recent past is had from these. Half of it
    /// has to pass for the machine too, so that one that gets little of the host pays no more.
    pub near: Duration,
    /// Time between two rungs that are put away, at least.
    pub rung: Duration,
    /// Bytes of rungs in a second, on average, and never more than half as much again since the
    /// beginning: where pages change fast, rungs are farther apart.
    pub rung_bytes_per_s: u64,
    /// How many times as long as a rung took to put away there is none after it.
    pub rung_rest: u32,
}

impl Default for Pacing {
    fn default() -> Self {
        let (second, rung) = (Duration::from_secs(1), Duration::from_secs(5));
        let pulse_event = Duration::from_millis(20);
        let (rung_bytes_per_s, rung_rest) = (64 << 10, 20);
        Self { pulse: second, pulse_event, near: second, rung, rung_bytes_per_s, rung_rest }
    }
}

impl Pacing {
    /// The tick before which there is no further rung in memory.
    fn near_tick(&self, machine: &dyn Machine) -> Tick {
        let ns = u64::try_from(self.near.as_nanos() / 2).unwrap_or(u64::MAX);
        let ticks = ns / u64::from(machine.spec().ns_per_tick).max(1);
        Tick(machine.tick().0.saturating_add(ticks))
    }
}

/// Why a recording cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is one.
    #[error("the machine is recorded already, as '{0}'")]
    Already(String),
    /// The machine cannot be recorded.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The host cannot write it.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
}

/// How a recording is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// Where it began.
    pub start: Tick,
    /// Events so far.
    pub events: usize,
    /// Bytes of its log so far.
    pub log_bytes: u64,
    /// Bytes that its rungs took, but for the first.
    pub rung_bytes: u64,
    /// Why it has ended, where it has ended by itself.
    pub failure: Option<String>,
    /// Why the last rung could not be kept.
    pub rung_failure: Option<String>,
}

/// Records one machine, or does not at present. Clones are of the same.
#[derive(Clone)]
pub struct Recorder {
    kinds: &'static [&'static dyn MachineKind],
    pacing: Pacing,
    active: Arc<Mutex<Option<Active>>>,
}

struct Active {
    name: String,
    start: Tick,
    began: Instant,
    events: usize,
    entries: SyncSender<Entry>,
    rungs: SyncSender<Job>,
    figures: Arc<Figures>,
    pulse_due: Instant,
    /// When, after the first event since the last pulse.
    pulse_event_due: Instant,
    heard: bool,
    near_due: Instant,
    near_due_tick: Tick,
    rung_due: Instant,
    /// Rungs in memory, oldest first.
    near: Vec<Near>,
    /// Since the last rung that was put away, as of the last one in memory.
    changed: Changed,
    /// The last tick of which the log was told.
    told: Tick,
    threads: Vec<JoinHandle<()>>,
}

/// A rung in memory, and the bytes that had changed since the one before it.
struct Near {
    moment: Moment,
    snapshot: Snapshot,
    bytes: u64,
}

/// A recording that has begun in memory: everything that enters the machine is noted already.
pub struct Begun {
    recorder: Recorder,
    snapshot: Snapshot,
    semantics: u32,
    entries: Receiver<Entry>,
    jobs: Receiver<Job>,
    to_log: SyncSender<Entry>,
    figures: Arc<Figures>,
}

impl Recorder {
    /// A recorder that does not record yet.
    #[must_use]
    pub fn new(kinds: &'static [&'static dyn MachineKind], pacing: Pacing) -> Self {
        Self { kinds, pacing, active: Arc::default() }
    }

    /// Begins at a safe point of the machine: its pages are sealed, and nothing is hashed or
    /// written. `Begun::write` must follow soon, as what enters is kept in memory until then.
    ///
    /// # Errors
    /// Where it is recorded already, or cannot be replayed or saved.
    pub fn begin(&self, name: &str, machine: &mut dyn Machine) -> Result<Begun, RecordError> {
        let mut active = self.active();
        if let Some(active) = active.as_ref().filter(|active| active.figures.failure().is_none()) {
            return Err(RecordError::Already(active.name.clone()));
        }
        let semantics = can_be_replayed(self.kinds, machine)?;
        let snapshot = take(self.kinds, machine)?;
        let (to_log, entries) = sync_channel(ENTRIES_MAX);
        let (rungs, jobs) = sync_channel(0);
        let figures = Arc::new(Figures::default());
        let now = Instant::now();
        *active = Some(Active {
            name: name.into(),
            start: snapshot.tick,
            began: now,
            events: 0,
            entries: to_log.clone(),
            rungs,
            figures: figures.clone(),
            pulse_due: now + self.pacing.pulse,
            pulse_event_due: now,
            heard: false,
            near_due: now + self.pacing.near,
            near_due_tick: self.pacing.near_tick(machine),
            rung_due: now + self.pacing.rung,
            near: Vec::new(),
            changed: Changed::default(),
            told: snapshot.tick,
            threads: Vec::new(),
        });
        let recorder = self.clone();
        Ok(Begun { recorder, snapshot, semantics, entries, jobs, to_log, figures })
    }

    /// Ends the recording at a safe point of the machine, with a check of its state there. What
    /// it gives is false where there was none.
    ///
    /// # Errors
    /// Why it had ended by itself.
    pub fn finish(&self, machine: &mut dyn Machine) -> Result<bool, String> {
        let Some(mut active) = self.active().take() else { return Ok(false) };
        let moment = active.moment(machine.tick());
        active.pulse(machine);
        active.send(Entry::Check(Check { moment, mark: Mark::of(machine) }));
        let Active { entries, rungs, threads, figures, .. } = active;
        drop((entries, rungs));
        let lost = threads.into_iter().map(JoinHandle::join).filter(Result::is_err).count();
        if lost > 0 {
            return Err("a thread that wrote it was lost".into());
        }
        figures.failure().map_or(Ok(true), Err)
    }

    /// Tells the log how far the machine is, at a safe point. Gives the moment, where it is
    /// recorded.
    #[must_use]
    pub fn note(&self, machine: &dyn Machine) -> Option<Moment> {
        let mut active = self.active();
        let active = active.as_mut()?;
        active.pulse(machine);
        Some(active.moment(machine.tick()))
    }

    /// Writes down what the state was at a moment that `note` gave, such as that of a snapshot that
    /// was taken then. For any thread but the runner's.
    pub fn check(&self, check: Check) {
        let entries = self.active().as_ref().map(|active| active.entries.clone());
        if let Some(entries) = entries {
            // A recording that has ended meanwhile needs none.
            let _ = entries.send(Entry::Check(check));
        }
    }

    /// Puts the last rung in memory away that is not after a tick, so that a visit to that tick
    /// need not begin long before it. For any thread but the runner's; false where there is none.
    #[must_use]
    pub fn shelve(&self, tick: Tick) -> bool {
        let (done, wait) = sync_channel(1);
        let found = self.active().as_ref().and_then(|active| {
            let near = active.near.iter().rev().find(|near| near.moment.tick <= tick)?;
            let (moment, snapshot) = (near.moment, near.snapshot.clone());
            Some((active.rungs.clone(), Job { moment, snapshot, pages: None, done: Some(done) }))
        });
        let Some((rungs, job)) = found else { return false };
        rungs.send(job).is_ok() && wait.recv().is_ok()
    }

    /// The rungs in memory, oldest first: for whoever goes back while the machine stands still.
    #[must_use]
    pub fn near(&self) -> Vec<Rung> {
        let active = self.active();
        let near = active.iter().flat_map(|active| &active.near);
        near.map(|near| Rung::new(near.moment, near.snapshot.clone())).collect()
    }

    /// Makes what was recorded up to the last safe point survive a loss of power. For any thread
    /// but the runner's; false where nothing is recorded.
    #[must_use]
    pub fn sync(&self) -> bool {
        let entries = self.active().as_ref().map(|active| active.entries.clone());
        let Some(entries) = entries else { return false };
        let (done, wait) = sync_channel(1);
        entries.send(Entry::Sync(done)).is_ok() && wait.recv().is_ok()
    }

    /// How it is, where there is one.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.active().as_ref().map(|active| Status {
            name: active.name.clone(),
            start: active.start,
            events: active.events,
            log_bytes: active.figures.log_bytes(),
            rung_bytes: active.figures.rung_bytes(),
            failure: active.figures.failure(),
            rung_failure: active.figures.rung_failure(),
        })
    }

    fn active(&self) -> MutexGuard<'_, Option<Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun {
    /// Records nothing after all.
    pub fn cancel(self) {
        self.recorder.active().take();
    }

    /// Writes the start: the snapshot into the vault, and a log file with its head. Once this
    /// returns the recording is there, and grows.
    ///
    /// # Errors
    /// What the host says; nothing is recorded then.
    pub fn write(
        self,
        path: &Path,
        vault: Arc<dyn Vault>,
        about: Vec<u8>,
    ) -> Result<(), RecordError> {
        let recorder = self.recorder.clone();
        let written = self.write_start(path, vault, about);
        if written.is_err() {
            recorder.active().take();
        }
        written.map_err(|error| RecordError::Io(path.to_owned(), error))
    }

    fn write_start(self, path: &Path, vault: Arc<dyn Vault>, about: Vec<u8>) -> io::Result<()> {
        let start = Moment { events: 0, tick: self.snapshot.tick };
        let digest = self.snapshot.digest();
        let kind = self.snapshot.spec.kind.clone();
        let (semantics, tick) = (self.semantics, start.tick);
        let head = LogHead { kind, semantics, tick, digest, about };
        let rungs = Rungs::begin(vault, start, &self.snapshot, self.figures.clone())?;
        let log = LogFile::create(path, &head, self.figures.clone())?;
        let pacing = self.recorder.pacing;
        let (entries, jobs, to_log) = (self.entries, self.jobs, self.to_log);
        let spawn = |name: &str| std::thread::Builder::new().name(name.into());
        let mut threads = vec![spawn("log").spawn(move || log.follow(&entries))?];
        let follow = move || rungs.follow(&jobs, &to_log, pacing);
        threads.push(spawn("rungs").spawn(follow)?);
        let mut active = self.recorder.active();
        active.iter_mut().for_each(|active| active.threads = std::mem::take(&mut threads));
        Ok(())
    }
}

impl Active {
    fn moment(&self, tick: Tick) -> Moment {
        Moment { events: self.events, tick }
    }

    /// A log that cannot be written any more takes nothing, and has told why.
    fn send(&self, entry: Entry) {
        let _ = self.entries.send(entry);
    }

    /// Whether a rung can be put away now, by what those before have cost, and by what this one
    /// is likely to.
    fn may_take(&self, now: Instant, pacing: Pacing) -> bool {
        let (figures, after) = (&self.figures, now.saturating_duration_since(self.began));
        let there = (after, pacing.rung_bytes_per_s);
        let pages = self.changed.pages();
        figures.may_take(now) && fits(pages, figures.last_rung(), figures.rung_bytes(), there)
    }

    /// Takes a rung into memory, and gives up others for it. Gives the bytes that had changed.
    fn keep_near(&mut self, kinds: &[&dyn MachineKind], machine: &mut dyn Machine) -> u64 {
        let mut bytes = 0;
        for (at, space) in machine.memory().spaces.iter().enumerate() {
            bytes += space.dirty().len() as u64 * PAGE_SIZE_U64;
            self.changed.note(at, space.dirty());
        }
        let Ok(snapshot) = take(kinds, machine) else { return bytes };
        let moment = self.moment(machine.tick());
        self.near.push(Near { moment, snapshot, bytes });
        let ticks: Vec<Tick> = self.near.iter().map(|near| near.moment.tick).collect();
        for at in surplus(&ticks, moment.tick).into_iter().rev() {
            self.near.remove(at);
        }
        // The pages of the newest are the machine's own.
        let held = |all: &[Near]| all.iter().skip(1).map(|near| near.bytes).sum::<u64>();
        while self.near.len() > 1 && held(&self.near) > NEAR_BYTES_MAX {
            self.near.remove(0);
        }
        bytes
    }

    fn pulse(&mut self, machine: &dyn Machine) {
        self.told = machine.tick();
        self.heard = false;
        self.send(Entry::Pulse(Pulse::of(self.moment(machine.tick()), machine)));
    }
}

impl Tape for Recorder {
    fn event(&mut self, tick: Tick, event: &Event) {
        if let Some(active) = self.active().as_mut() {
            active.send(Entry::Event(tick, event.clone()));
            active.events += 1;
            active.told = tick;
            active.heard = true;
        }
    }

    fn rest(&mut self, machine: &mut dyn Machine) {
        let (kinds, pacing) = (self.kinds, self.pacing);
        let mut guard = self.active();
        let Some(active) = guard.as_mut() else { return };
        let now = Instant::now();
        let mut due = active.pulse_due.min(active.rung_due);
        if machine.tick() >= active.near_due_tick {
            due = due.min(active.near_due);
        }
        if active.heard {
            due = due.min(active.pulse_event_due);
        }
        if now < due || active.figures.failure().is_some() {
            return;
        }
        let rung = now >= active.rung_due && active.may_take(now, pacing);
        let heard = active.heard && now >= active.pulse_event_due;
        let pulse = heard || now >= active.pulse_due && active.told != machine.tick();
        let near = now >= active.near_due && machine.tick() >= active.near_due_tick;
        if pulse || near || rung {
            active.pulse_due = now + pacing.pulse;
            active.pulse_event_due = now + pacing.pulse_event;
            active.pulse(machine);
        }
        if near || rung {
            let bytes = active.keep_near(kinds, machine);
            let pause = Duration::from_millis(bytes * 1000 / NEAR_BYTES_PER_S);
            active.near_due = now + pacing.near.max(pause);
            active.near_due_tick = pacing.near_tick(machine);
        }
        if let Some(last) = active.near.last().filter(|_| rung) {
            active.rung_due = now + pacing.rung;
            let (moment, snapshot) = (last.moment, last.snapshot.clone());
            let pages = Some(active.changed.pages());
            // Where the rung before is on its way to the disk yet, this one is left out.
            if active.rungs.try_send(Job { moment, snapshot, pages, done: None }).is_ok() {
                active.changed.take();
            }
        }
    }
}
