//! One kind with something to run.

use crate::FakeWorld;
use omni_base::{Digest, Tick};
use omni_lifecycle::{Log, Moment, Outcome, kind_of, record, replay};
use omni_machine::{Machine, MachineKind, PortInfo, Spec, digest};

/// One kind with something to run.
#[derive(Clone)]
pub struct Case {
    /// Every kind there is.
    pub kinds: &'static [&'static dyn MachineKind],
    /// What failures are told by.
    pub name: String,
    /// The machine.
    pub spec: Spec,
    /// How long its runs are, in ticks: long enough to see every sort of event and effect.
    pub span: Tick,
    /// What is typed at its consoles.
    pub script: Vec<u8>,
}

/// A run of a case against the world of one seed: what the battery compares with.
pub struct Run {
    /// What happened.
    pub log: Log,
    /// What came out.
    pub out: Outcome,
    /// Where it ended: the end of the span, or where the machine halted.
    pub end: Moment,
    /// The state at the end.
    pub digest: Digest,
}

impl Case {
    /// A new machine.
    ///
    /// # Panics
    /// Where the case's spec is not sound.
    #[must_use]
    pub fn create(&self) -> Box<dyn Machine> {
        let kind = kind_of(self.kinds, &self.spec.kind).expect("a case's kind is in its list");
        kind.create(&self.spec).expect("a case's spec is sound")
    }

    /// The ports of the machine.
    ///
    /// # Panics
    /// Where the case's spec is not sound.
    #[must_use]
    pub fn ports(&self) -> Vec<PortInfo> {
        let kind = kind_of(self.kinds, &self.spec.kind).expect("a case's kind is in its list");
        kind.ports(&self.spec).expect("a case's spec is sound")
    }

    /// The outside of this seed.
    #[must_use]
    pub fn world(&self, seed: u64) -> FakeWorld {
        FakeWorld::new(seed, self.span, &self.ports(), &self.script)
    }

    /// A log that starts at the machine's present.
    ///
    /// # Panics
    /// Where the machine cannot be replayed: no kind of the battery may be so.
    #[must_use]
    pub fn log(&self, machine: &mut dyn Machine) -> Log {
        Log::new(self.kinds, machine).expect("a machine of the battery is deterministic")
    }

    /// A run from the start to the end of the span.
    ///
    /// # Panics
    /// Where the run does not see enough for the battery to mean something.
    #[must_use]
    pub fn run(&self, seed: u64) -> Run {
        let mut machine = self.create();
        let mut log = self.log(&mut *machine);
        let out = record(&mut *machine, &mut self.world(seed), self.span, &mut log);
        assert!(log.events().len() > 5, "{self}: a run sees {} events", log.events().len());
        assert!(out.len() > 5, "{self}: a run has {} effects", out.len());
        let end = log.now(&*machine);
        Run { log, out, end, digest: digest(&mut *machine) }
    }

    /// A new machine brought to a moment of a run, and what came out on the way.
    ///
    /// # Panics
    /// Where the replay goes another way.
    #[must_use]
    pub fn at(&self, run: &Run, moment: Moment) -> (Box<dyn Machine>, Outcome) {
        let mut machine = self.create();
        let out = self.advance(&mut *machine, run, run.log.start(), moment);
        (machine, out)
    }

    /// Brings a machine from one moment of a run to another.
    ///
    /// # Panics
    /// Where the replay goes another way.
    pub fn advance(
        &self,
        machine: &mut dyn Machine,
        run: &Run,
        from: Moment,
        to: Moment,
    ) -> Outcome {
        let replayed = replay(self.kinds, machine, &run.log, from, to);
        replayed.unwrap_or_else(|error| panic!("{self}: from {from} to {to}: {error}"))
    }
}

impl Run {
    /// Moments all over the run: the first and last ticks, odd ones between, and moments between
    /// two events of one tick, if there are any.
    #[must_use]
    pub fn moments(&self, count: u64) -> Vec<Moment> {
        let end = self.end.tick.0;
        let odd = (0..count).map(|at| end / count * at + at * 37 % 101);
        let ticks = [0, 1, end - 1].into_iter().chain(odd).filter(|tick| *tick < end);
        let mut moments: Vec<_> = ticks.map(|tick| self.log.at(Tick(tick))).collect();
        let pairs = self.log.events().windows(2).enumerate();
        let between = pairs.filter(|(_, pair)| pair[0].0 == pair[1].0);
        let between = between.map(|(at, pair)| Moment { events: at + 1, tick: pair[0].0 });
        moments.extend(between.step_by(3).take(4));
        moments.sort_unstable();
        moments.dedup();
        moments
    }
}

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}
