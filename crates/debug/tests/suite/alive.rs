//! A machine that lives in a test: what is typed at it comes at fixed ticks.

use omni_base::Tick;
use omni_debug::{Life, Present, Session, Stopped};
use omni_kinds::{KINDS, Sample, kind_of, samples};
use omni_lifecycle::{Outcome, run_to};
use omni_machine::{Event, Kick, Machine, PortId, Spec, Stop};

/// Ticks of a slice.
const SLICE: u64 = 5_000;

pub(crate) struct Alive {
    pub(crate) machine: Box<dyn Machine>,
    /// What is to be let in, latest first.
    coming: Vec<(Tick, Event)>,
    heard: Vec<(Tick, Event)>,
    /// Where it stops to live, as a test must end.
    until: Tick,
}

impl Alive {
    pub(crate) fn new(sample: &Sample) -> Self {
        let pieces = sample.script.chunks(3).cycle().take(60);
        let gap = sample.span.0 / 70;
        let coming = (1..).zip(pieces).map(|(nth, bytes): (u64, _)| {
            // Some of them two at a tick.
            let tick = Tick(nth / 2 * 2 * gap);
            (tick, Event::Input { port: PortId(0), bytes: bytes.to_vec() })
        });
        let mut coming: Vec<_> = coming.collect();
        coming.reverse();
        Self { coming, ..Self::with(&sample.spec, sample.span.0) }
    }

    /// A machine that nobody types at.
    pub(crate) fn with(spec: &Spec, span: u64) -> Self {
        let kind = kind_of(&spec.kind).expect("the kind is there");
        let machine = kind.create(spec).expect("the spec is sound");
        Self { machine, coming: Vec::new(), heard: Vec::new(), until: Tick(span) }
    }

    fn let_in(&mut self) {
        let now = self.machine.tick();
        while self.coming.last().is_some_and(|(tick, _)| *tick <= now) {
            let (_, event) = self.coming.pop().expect("it was just seen");
            self.machine.apply(&event, &mut Outcome::new());
            self.heard.push((now, event));
        }
    }

    fn run(&mut self, ticks: u64) -> Life {
        self.let_in();
        let now = self.machine.tick();
        if now >= self.until {
            return Life::Ended;
        }
        let next = self.coming.last().map_or(self.until, |(tick, _)| *tick);
        let until = Tick(now.0 + ticks).min(next).min(self.until);
        match run_to(&mut *self.machine, until, &Kick::default(), &mut Outcome::new()) {
            Stop::Hit(hit) => Life::Hit(hit),
            Stop::Halted { .. } => Life::Ended,
            Stop::Reached | Stop::Idle { .. } | Stop::Kicked => Life::On,
        }
    }
}

impl Present for Alive {
    fn machine(&mut self) -> &mut dyn Machine {
        &mut *self.machine
    }

    fn heard(&mut self) -> Vec<(Tick, Event)> {
        std::mem::take(&mut self.heard)
    }

    fn live(&mut self) -> Life {
        self.run(SLICE)
    }

    fn step(&mut self) -> Life {
        self.let_in();
        if self.machine.tick() >= self.until {
            return Life::Ended;
        }
        let inspect = self.machine.inspect().expect("samples have registers");
        match inspect.step(&mut Outcome::new()) {
            Stop::Halted { .. } => Life::Ended,
            Stop::Reached | Stop::Idle { .. } | Stop::Kicked | Stop::Hit(_) => Life::On,
        }
    }

    fn sleep(&mut self) -> Life {
        self.run(1)
    }

    fn hold(&mut self) -> Life {
        Life::On
    }

    fn may_write(&mut self) -> bool {
        true
    }
}

/// Goes until it stops.
pub(crate) fn arrive(session: &mut Session<'_>) -> Stopped {
    loop {
        if let Some(stopped) = session.poll().expect("the past is as it was") {
            return stopped;
        }
    }
}

pub(crate) fn kinds() -> &'static [&'static dyn omni_machine::MachineKind] {
    KINDS
}

/// The samples of all kinds that have registers.
pub(crate) fn debugged() -> Vec<Sample> {
    let has = |sample: &Sample| Alive::new(sample).machine().inspect().is_some();
    let all: Vec<Sample> = samples().into_iter().filter(has).collect();
    assert!(all.len() > 1, "several kinds have registers");
    all
}
