//! The lifecycle of a machine that runs a real operating system, told by digests and durations.
//!
//! `cargo run --release -p omni-conformance --example real_guest -- KIND FILE...`
//! `[-- OPTION=VALUE...]`
//! with files as `ROLE=PATH`. Types at the console once it shows a prompt, records all of it,
//! and holds a restored snapshot, its file, and a replay from the start against the recording.

use omni_base::Tick;
use omni_kinds::KINDS;
use omni_lifecycle::{
    Log, Snapshot, World, WriteOptions, fork, kind_of, record, replay, restore, take,
};
use omni_machine::{Effect, Event, Machine, PortId, Spec, digest};
use std::io::Write;
use std::time::Instant;

/// Types the script when a prompt is seen.
struct Typist {
    seen: Vec<u8>,
    due: Option<Tick>,
    script: Vec<&'static str>,
}

impl World for Typist {
    fn take(&mut self, tick: Tick, effect: &Effect) {
        let Effect::Output { port: PortId(0), bytes } = effect else { return };
        self.seen.extend_from_slice(bytes);
        if self.seen.ends_with(b"~# ") && !self.script.is_empty() {
            self.due = Some(Tick(tick.0 + 10_000_000));
        }
    }
    fn due(&self) -> Option<Tick> {
        self.due
    }
    fn pop(&mut self) -> Event {
        self.due = None;
        let line = self.script.remove(0);
        Event::Input { port: PortId(0), bytes: format!("{line}\n").into_bytes() }
    }
    fn slice(&self) -> u64 {
        2_000_000
    }
}

const SCRIPT: &[&str] = &[
    "dd if=/dev/hwrng bs=64 count=4 2>/dev/null | sha256sum",
    "for i in $(seq 20); do ls -lR /bin | md5sum; done | sort | uniq -c",
    "cat /proc/interrupts; poweroff -f",
];

type Error = Box<dyn std::error::Error>;

fn say(text: &str) -> Result<(), Error> {
    Ok(writeln!(std::io::stderr().lock(), "{text}")?)
}

fn spec() -> Result<Spec, Error> {
    let mut args = std::env::args().skip(1);
    let mut spec = Spec::new(&args.next().ok_or("which kind?")?);
    let mut files = true;
    for arg in args {
        if arg == "--" {
            files = false;
            continue;
        }
        let (name, value) = arg.split_once('=').ok_or("NAME=VALUE is needed")?;
        if files {
            spec.files.insert(name.into(), std::fs::read(value)?.into());
        } else {
            spec.options.insert(name.into(), value.into());
        }
    }
    Ok(spec)
}

/// Plays a machine from where it is to the end of the log, and holds it against the recording.
fn hold(what: &str, machine: &mut dyn Machine, log: &Log, want: &Want) -> Result<(), Error> {
    let (start, from) = (Instant::now(), log.at(machine.tick()));
    let out = replay(KINDS, machine, log, from, want.end(log))?;
    let same = digest(machine) == want.digest && want.out.ends_with(&out);
    say(&format!("{what}: {} effects, same: {same}, {:?}", out.len(), start.elapsed()))?;
    if same { Ok(()) } else { Err("not the same".into()) }
}

/// What a run must come to.
struct Want {
    digest: omni_base::Digest,
    out: Vec<(Tick, Effect)>,
    tick: Tick,
}

impl Want {
    fn end(&self, log: &Log) -> omni_lifecycle::Moment {
        omni_lifecycle::Moment { events: log.events().len(), tick: self.tick }
    }
}

fn main() -> Result<(), Error> {
    let spec = spec()?;
    let mut machine = kind_of(KINDS, &spec.kind)?.create(&spec)?;
    let mut world = Typist { seen: vec![], due: None, script: SCRIPT.to_vec() };
    let mut log = Log::new(KINDS, &mut *machine)?;
    let start = Instant::now();
    let mut out = record(&mut *machine, &mut world, Tick(1_400_000_000), &mut log);
    let pause = Instant::now();
    let snapshot = take(KINDS, &mut *machine)?;
    say(&format!("snapshot at tick {}: pause {:?}", machine.tick().0, pause.elapsed()))?;
    out.extend(record(&mut *machine, &mut world, Tick(60_000_000_000), &mut log));
    let tick = machine.tick();
    say(&format!("recorded to tick {}: {:?}", tick.0, start.elapsed()))?;
    let want = Want { digest: digest(&mut *machine), out, tick };
    drop(machine);

    let begin = Instant::now();
    let mut restored = restore(KINDS, &snapshot)?;
    say(&format!("restored: {:?}", begin.elapsed()))?;
    hold("restored snapshot", &mut *restored, &log, &want)?;
    drop(restored);

    let begin = Instant::now();
    let file = snapshot.to_bytes(WriteOptions::default())?;
    say(&format!("snapshot file: {} bytes, {:?}", file.len(), begin.elapsed()))?;
    let mut read = restore(KINDS, &Snapshot::from_bytes(&file, &[])?)?;
    hold("snapshot from its file", &mut *read, &log, &want)?;
    drop(read);

    for seed in 1..=3 {
        let begin = Instant::now();
        let mut effects = Vec::new();
        let mut twin = fork(KINDS, &snapshot, [seed; 32], &mut effects)?;
        let took = begin.elapsed();
        let dirty = |twin: &mut dyn Machine| {
            twin.memory().spaces.iter().map(|space| space.dirty().len()).sum::<usize>()
        };
        let before = dirty(&mut *twin);
        let until = Tick(twin.tick().0 + 50_000_000);
        omni_lifecycle::run_to(&mut *twin, until, &Default::default(), &mut effects);
        let after = dirty(&mut *twin);
        say(&format!("fork {seed}: {took:?}, pages of its own {before}, later {after}"))?;
    }
    let mut again = kind_of(KINDS, &spec.kind)?.create(&spec)?;
    hold("replay from the start", &mut *again, &log, &want)
}
