//! Recordings of machines that live in the host's time: whatever came, and whenever, a replay of
//! the file comes to the same state.

use omni_base::{Digest, Tick};
use omni_conformance::{Case, FakeWorld};
use omni_host::{Backends, Ended, Item, Queue, Runner, TempDir};
use omni_kinds::{KINDS, samples};
use omni_lifecycle::{LifecycleError, Log, MAX_RUNGS, Shelf, Snapshot, Timeline, World};
use omni_machine::{Effect, Event, IoRequest, Machine, PortId, PortKind, digest};
use omni_memory::Memory;
use omni_recording::{Kept, OpenError, Pacing, RecordError, Recorder, Vault, open, read_log};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keeps rungs in memory.
#[derive(Debug, Default)]
struct Shelves {
    all: Mutex<BTreeMap<Digest, (String, Snapshot)>>,
    full: AtomicBool,
}

impl Shelves {
    fn names(&self) -> Vec<(String, Digest)> {
        let all = self.all.lock().expect("whole");
        all.iter().map(|(id, (name, _))| (name.clone(), *id)).collect()
    }
}

impl Shelf for Shelves {
    fn snapshot(&self, id: Digest) -> io::Result<Snapshot> {
        let all = self.all.lock().expect("whole");
        all.get(&id).map(|(_, found)| found.clone()).ok_or_else(|| io::Error::other("it is lost"))
    }
}

impl Vault for Shelves {
    fn put(&self, name: &str, snapshot: &Snapshot) -> io::Result<Kept> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        let id = Digest::of(name.as_bytes());
        self.all.lock().expect("whole").insert(id, (name.to_owned(), snapshot.clone()));
        Ok(Kept { id, bytes: 4096 })
    }

    fn remove(&self, id: Digest) -> io::Result<()> {
        self.all.lock().expect("whole").remove(&id);
        Ok(())
    }
}

/// Answers what the machine asks, when it likes.
struct Outside {
    world: Arc<Mutex<FakeWorld>>,
}

impl Backends for Outside {
    fn output(&mut self, _: PortId, _: Vec<u8>) {}
    fn request(&mut self, request: IoRequest, _: &mut Memory) {
        self.world.lock().expect("whole").take(Tick(0), &Effect::Io(request));
    }
    fn rest(&mut self) {}
    fn full(&self) -> bool {
        false
    }
}

const EAGER: Pacing = Pacing {
    pulse: Duration::from_millis(1),
    pulse_event: Duration::ZERO,
    near: Duration::from_micros(200),
    rung: Duration::from_millis(3),
    rung_bytes_per_s: u64::MAX,
    rung_rest: 0,
};

fn cases() -> impl Iterator<Item = Case> {
    samples().into_iter().map(|sample| Case {
        kinds: KINDS,
        name: sample.name.to_owned(),
        spec: sample.spec,
        span: sample.span,
        script: sample.script.to_vec(),
    })
}

/// A machine that lives for a while, in whatever order the host's threads make of it. `visit` is
/// called with the queue in the middle.
fn live(case: &Case, recorder: &Recorder, visit: impl FnOnce(&Queue) + Send) -> Box<dyn Machine> {
    let queue = Arc::new(Queue::default());
    let world = Arc::new(Mutex::new(case.world(11)));
    let outside = Outside { world: world.clone() };
    let runner = Runner::new(case.create(), queue.clone(), outside, Some(Duration::from_secs(60)));
    let mut runner = runner.with_tape(Box::new(recorder.clone()));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut visit = Some(visit);
            for step in 0..150 {
                let event = {
                    let mut world = world.lock().expect("whole");
                    world.due().map(|_| world.pop())
                };
                if let Some(event) = event {
                    queue.push(Item::Event(event));
                }
                std::thread::sleep(Duration::from_micros(100 + step * 7 % 900));
                if step == 70 {
                    visit.take().into_iter().for_each(|visit| visit(&queue));
                }
            }
            queue.push(Item::Kill);
        });
        let ended = runner.run();
        assert!(matches!(ended, Ended::Killed | Ended::Halted(_)), "{ended:?}");
    });
    runner.into_parts().0
}

fn begin(case: &Case, recorder: &Recorder, path: &Path, vault: &Arc<Shelves>) {
    let begun = recorder.begin("r1", &mut *case.create()).expect("it can be recorded");
    begun.write(path, vault.clone(), b"about".to_vec()).expect("a writable host");
}

fn reopen(path: &Path, vault: &Arc<Shelves>) -> Result<Timeline, OpenError> {
    let shelf: Arc<dyn Shelf> = vault.clone();
    open(path, vault.names(), &shelf)
}

#[test]
fn a_recorded_life_of_every_kind_replays_to_the_same_state() {
    for case in cases() {
        let dir = TempDir::new("recorded").expect("a writable host");
        let path = dir.path().join("r1.log");
        let (recorder, vault) = (Recorder::new(KINDS, EAGER), Arc::new(Shelves::default()));
        begin(&case, &recorder, &path, &vault);
        let mut machine = live(&case, &recorder, |_| {});
        assert_eq!(recorder.finish(&mut *machine), Ok(true), "{case}");
        assert_eq!(recorder.finish(&mut *machine), Ok(false), "{case}: it has ended");
        let timeline = reopen(&path, &vault).expect("whole");
        assert!(timeline.log.events().len() > 20, "{case}: {}", timeline.log.events().len());
        assert!(timeline.rungs().len() > 2, "{case}: {} rungs", timeline.rungs().len());
        assert!(timeline.rungs().len() <= MAX_RUNGS);
        assert!(timeline.log.pulses().len() > 3, "{case}");
        assert_eq!(timeline.log.end().tick, machine.tick(), "{case}");
        assert_eq!(timeline.log.head().about, b"about");
        let mut again = timeline.verify(KINDS).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(digest(&mut *again), digest(&mut *machine), "{case}");
        for rung in timeline.rungs() {
            let there = timeline.visit(KINDS, rung.moment);
            let mut there = there.unwrap_or_else(|error| panic!("{case}: {error}"));
            let kept = rung.snapshot().expect("kept").digest();
            assert_eq!(digest(&mut *there), kept, "{case}: {}", rung.moment);
        }
    }
}

#[test]
fn a_running_machine_is_recorded_from_the_moment_of_asking() {
    for case in cases() {
        let dir = TempDir::new("recorded-late").expect("a writable host");
        let path = dir.path().join("r1.log");
        let (recorder, vault) = (Recorder::new(KINDS, EAGER), Arc::new(Shelves::default()));
        let mut machine = live(&case, &recorder, |queue| {
            let (recorder, inner) = (recorder.clone(), recorder.clone());
            let (tell, told) = std::sync::mpsc::channel();
            let call = move |machine: &mut dyn Machine| {
                tell.send(inner.begin("r1", machine)).expect("someone waits");
            };
            queue.push(Item::Call(Box::new(call)));
            let begun = told.recv().expect("an answer").expect("it can be recorded");
            // What comes meanwhile is not lost.
            let ports = case.ports().into_iter();
            for port in ports.filter(|port| matches!(port.kind, PortKind::Console)) {
                queue.push_input(port.id, b"look\n");
            }
            std::thread::sleep(Duration::from_millis(5));
            begun.write(&path, vault.clone(), Vec::new()).expect("a writable host");
            assert!(recorder.sync());
            assert!(read_log(&path).is_ok_and(|(_, torn)| torn == 0));
        });
        assert_eq!(recorder.finish(&mut *machine), Ok(true), "{case}");
        let timeline = reopen(&path, &vault).expect("whole");
        let mut again = timeline.verify(KINDS).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(digest(&mut *again), digest(&mut *machine), "{case}");
    }
}

#[test]
fn a_moment_of_late_is_had_from_a_rung_in_memory() {
    for case in cases() {
        let dir = TempDir::new("near").expect("a writable host");
        let path = dir.path().join("r1.log");
        let pacing = Pacing { rung: Duration::from_secs(3600), ..EAGER };
        let (recorder, vault) = (Recorder::new(KINDS, pacing), Arc::new(Shelves::default()));
        begin(&case, &recorder, &path, &vault);
        let mut machine = live(&case, &recorder, |_| {});
        assert!(recorder.shelve(machine.tick()), "{case}");
        assert!(recorder.shelve(machine.tick()), "{case}: it is there already");
        // How many there are depends on how fast the host was.
        let near: Vec<Tick> = recorder.near().iter().map(|rung| rung.moment.tick).collect();
        assert!(recorder.shelve(near[0]), "{case}");
        assert!(!recorder.shelve(Tick(0)), "{case}: nothing is that near");
        assert_eq!(recorder.finish(&mut *machine), Ok(true), "{case}");
        let timeline = reopen(&path, &vault).expect("whole");
        assert_eq!(timeline.rungs().len(), 1 + near.len().min(2), "{case}");
        timeline.verify(KINDS).unwrap_or_else(|error| panic!("{case}: {error}"));
        let last = timeline.rungs().last().expect("the first, at least").moment;
        let mut again = timeline.visit(KINDS, timeline.log.end()).expect("the same way");
        assert_eq!(digest(&mut *again), digest(&mut *machine), "{case}: from {last}");
    }
}

#[test]
fn a_log_cut_anywhere_replays_up_to_its_end_and_a_damaged_one_is_refused() {
    let case = cases().next().expect("a story");
    let dir = TempDir::new("cut").expect("a writable host");
    let path = dir.path().join("r1.log");
    let (recorder, vault) = (Recorder::new(KINDS, EAGER), Arc::new(Shelves::default()));
    begin(&case, &recorder, &path, &vault);
    let mut machine = live(&case, &recorder, |_| {});
    recorder.finish(&mut *machine).expect("written");
    let whole = std::fs::read(&path).expect("there");
    let (log, _) = Log::from_bytes(&whole).expect("whole");
    for step in 0..40 {
        let cut = whole.len() * step / 40 + step * 3 % 17;
        std::fs::write(&path, &whole[..cut]).expect("a writable host");
        let timeline = match reopen(&path, &vault) {
            Ok(timeline) => timeline,
            Err(OpenError::Log(..)) if cut < 300 => continue,
            Err(error) => panic!("cut at {cut}: {error}"),
        };
        assert!(log.events().starts_with(timeline.log.events()));
        timeline.verify(KINDS).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
    }
    for step in 0..60 {
        let mut bytes = whole.clone();
        let at = (whole.len() - 1) * step / 59;
        bytes[at] ^= 1 << (step % 8);
        std::fs::write(&path, &bytes).expect("a writable host");
        assert!(matches!(reopen(&path, &vault), Err(OpenError::Log(..))), "damaged at {at}");
    }
}

#[test]
fn a_forged_event_is_told_by_the_first_pulse_after_it() {
    let case = cases().next().expect("a story");
    let dir = TempDir::new("forged").expect("a writable host");
    let path = dir.path().join("r1.log");
    let (recorder, vault) = (Recorder::new(KINDS, EAGER), Arc::new(Shelves::default()));
    begin(&case, &recorder, &path, &vault);
    let mut machine = live(&case, &recorder, |_| {});
    recorder.finish(&mut *machine).expect("written");
    let log = read_log(&path).expect("whole").0;
    // The same log, but for one byte that was typed.
    let mut forged = omni_lifecycle::LogWriter::new(log.head());
    let mut pulses = log.pulses().iter().peekable();
    let mut wrong = None;
    for (at, (tick, event)) in log.events().iter().enumerate() {
        while let Some(pulse) = pulses.next_if(|pulse| pulse.moment.events <= at) {
            forged.pulse(pulse);
        }
        match event {
            Event::Input { port, bytes } if wrong.is_none() && at > 5 => {
                let bytes = bytes.iter().map(|byte| byte ^ 1).collect();
                forged.event(*tick, &Event::Input { port: *port, bytes });
                wrong = Some(at);
            }
            Event::Input { .. }
            | Event::IoDone { .. }
            | Event::Generation { .. }
            | Event::Control(_) => forged.event(*tick, event),
        }
    }
    std::fs::write(&path, forged.take()).expect("a writable host");
    let timeline = reopen(&path, &vault).expect("its digests are right");
    match timeline.verify(KINDS) {
        Err(LifecycleError::Diverged(found)) => {
            let first = log.pulses().iter().find(|one| Some(one.moment.events) > wrong);
            assert_eq!(Some(found.at), first.map(|pulse| pulse.moment));
            assert!(found.to_string().contains("record '"), "{found}");
        }
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn a_recording_that_cannot_be_written_leaves_its_machine_alone() {
    let case = cases().next().expect("a story");
    let dir = TempDir::new("full").expect("a writable host");
    let (recorder, vault) = (Recorder::new(KINDS, EAGER), Arc::new(Shelves::default()));
    let mut machine = case.create();
    let nowhere = dir.path().join("missing/r1.log");
    let begun = recorder.begin("r1", &mut *machine).expect("it can be recorded");
    let again = recorder.begin("r2", &mut *machine).err();
    assert!(matches!(again, Some(RecordError::Already(name)) if name == "r1"));
    let error = begun.write(&nowhere, vault.clone(), Vec::new()).expect_err("no such folder");
    assert!(error.to_string().contains("r1.log"), "{error}");
    assert!(recorder.status().is_none());
    // Rungs that find no room are left out; the log tells all the same.
    let path = dir.path().join("r1.log");
    begin(&case, &recorder, &path, &vault);
    vault.full.store(true, Ordering::Relaxed);
    let mut machine = live(&case, &recorder, |_| {});
    let status = recorder.status().expect("it goes on");
    assert!(status.failure.is_none() && status.rung_failure.is_some(), "{status:?}");
    assert_eq!(recorder.finish(&mut *machine), Ok(true));
    let timeline = reopen(&path, &vault).expect("whole");
    assert_eq!(timeline.rungs().len(), 1);
    let mut again = timeline.verify(KINDS).expect("the same way");
    assert_eq!(digest(&mut *again), digest(&mut *machine));
    // One of that name is not written over.
    let begun = recorder.begin("r1", &mut *machine).expect("it can be recorded");
    assert!(begun.write(&path, vault, Vec::new()).is_err());
}
