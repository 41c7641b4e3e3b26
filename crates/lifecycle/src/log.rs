//! Logs: every event of a stretch of a timeline, each with its tick, and marks of the state.
//! Their bytes are in `log_file.rs`.

use crate::{Difference, LifecycleError, Mark, kind_of};
use omni_base::{Digest, Tick};
use omni_machine::{Event, Machine, MachineKind};
use omni_state::{Bundle, Entry};

/// A place on a recorded timeline: several events may share a tick, and a snapshot can lie
/// between two of them, so a tick alone is not enough.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment {
    /// How many events of the log were let in before.
    pub events: usize,
    /// The tick.
    pub tick: Tick,
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tick {} after {} events", self.tick.0, self.events)
    }
}

/// The state at one moment of a log, which a replay is held against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// When.
    pub moment: Moment,
    /// What the state was.
    pub mark: Mark,
}

/// That a log's machine came to a moment, and in short what its records were then. It costs
/// little, as no page is looked at, so that there can be many of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pulse {
    /// When.
    pub moment: Moment,
    /// The beginning of a digest of each record, in the order of their paths.
    pub records: Vec<u64>,
}

impl Pulse {
    /// The pulse of a machine that is at this moment.
    #[must_use]
    pub fn of(moment: Moment, machine: &dyn Machine) -> Self {
        let mut bundle = Bundle::default();
        machine.save(&mut bundle);
        Self { moment, records: bundle.entries().iter().map(short_digest).collect() }
    }

    /// The first record of a machine that is not as it was.
    #[must_use]
    pub fn difference(&self, machine: &dyn Machine) -> Option<Difference> {
        let mut bundle = Bundle::default();
        machine.save(&mut bundle);
        if bundle.entries().len() != self.records.len() {
            return Some(Difference::Shape);
        }
        let mut both = bundle.entries().iter().zip(&self.records);
        let (entry, _) = both.find(|(entry, want)| short_digest(entry) != **want)?;
        Some(Difference::Somewhere { path: entry.path.clone(), kind: entry.kind.clone() })
    }
}

fn short_digest(entry: &Entry) -> u64 {
    let version = entry.version.to_le_bytes();
    let parts = [entry.path.as_bytes(), &[0], entry.kind.as_bytes(), &version, &entry.body];
    let digest = Digest::of_parts(parts);
    u64::from_le_bytes(*digest.0.first_chunk().expect("a digest has 32 bytes"))
}

/// What a log says of itself before its entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogHead {
    /// The name of the machine's kind.
    pub kind: String,
    /// The meaning of the kind's instructions when it was made (`KindInfo::semantics`).
    pub semantics: u32,
    /// The tick at which it starts.
    pub tick: Tick,
    /// The digest of the machine's state there.
    pub digest: Digest,
    /// What whoever made it wants to know again; may be empty.
    pub about: Vec<u8>,
}

/// The events of a stretch of a timeline, in the order in which they were let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    pub(crate) head: LogHead,
    pub(crate) events: Vec<(Tick, Event)>,
    /// By moment.
    pub(crate) checks: Vec<Check>,
    /// By moment.
    pub(crate) pulses: Vec<Pulse>,
}

impl Log {
    /// An empty log that starts at the present state of a machine.
    ///
    /// # Errors
    /// Where no kind has the machine's name, or it cannot be replayed.
    pub fn new(
        kinds: &[&dyn MachineKind],
        machine: &mut dyn Machine,
    ) -> Result<Self, LifecycleError> {
        let semantics = can_be_replayed(kinds, machine)?;
        let kind = machine.spec().kind.clone();
        let (tick, digest) = (machine.tick(), Mark::of(machine).digest());
        Ok(Self::empty(LogHead { kind, semantics, tick, digest, about: Vec::new() }))
    }

    /// An empty log with this head.
    #[must_use]
    pub fn empty(head: LogHead) -> Self {
        Self { head, events: Vec::new(), checks: Vec::new(), pulses: Vec::new() }
    }

    /// What it says of itself.
    #[must_use]
    pub fn head(&self) -> &LogHead {
        &self.head
    }

    /// The moment at which it starts.
    #[must_use]
    pub fn start(&self) -> Moment {
        Moment { events: 0, tick: self.head.tick }
    }

    /// The digest of the state from which it starts.
    #[must_use]
    pub fn start_digest(&self) -> Digest {
        self.head.digest
    }

    /// The last moment of which it tells.
    #[must_use]
    pub fn end(&self) -> Moment {
        let event = self.events.last().map(|(tick, _)| *tick);
        let check = self.checks.last().map(|check| check.moment.tick);
        let pulse = self.pulses.last().map(|pulse| pulse.moment.tick);
        let tick = [event, check, pulse].into_iter().flatten().fold(self.head.tick, Ord::max);
        Moment { events: self.events.len(), tick }
    }

    /// Each event and the tick at which it was let in.
    #[must_use]
    pub fn events(&self) -> &[(Tick, Event)] {
        &self.events
    }

    /// The marks of the state, oldest first.
    #[must_use]
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The short marks of the records, oldest first.
    #[must_use]
    pub fn pulses(&self) -> &[Pulse] {
        &self.pulses
    }

    /// The present moment of the machine that this log is recording.
    #[must_use]
    pub fn now(&self, machine: &dyn Machine) -> Moment {
        Moment { events: self.events.len(), tick: machine.tick() }
    }

    /// The moment at `tick`, with every event of before that tick let in and none of it.
    #[must_use]
    pub fn at(&self, tick: Tick) -> Moment {
        let events = self.events.partition_point(|(at, _)| *at < tick);
        Moment { events, tick }
    }

    /// Writes down that an event was let in.
    ///
    /// # Panics
    /// Where `tick` is before the end of the log.
    pub fn event(&mut self, tick: Tick, event: Event) {
        assert!(tick >= self.end().tick, "time does not go back in a log");
        self.events.push((tick, event));
    }

    /// Writes down the present state of the machine that this log is recording.
    ///
    /// # Panics
    /// Where the machine is before the end of the log.
    pub fn check(&mut self, machine: &mut dyn Machine) {
        let moment = self.now(machine);
        assert!(moment >= self.end(), "time does not go back in a log");
        self.checks.push(Check { moment, mark: Mark::of(machine) });
    }

    /// Writes down in short the records of the machine that this log is recording.
    ///
    /// # Panics
    /// Where the machine is before the end of the log.
    pub fn pulse(&mut self, machine: &dyn Machine) {
        let moment = self.now(machine);
        assert!(moment >= self.end(), "time does not go back in a log");
        self.pulses.push(Pulse::of(moment, machine));
    }

    /// Whether this build can replay the log on this machine.
    ///
    /// # Errors
    /// Where the kind or its meaning is another, or the machine cannot be replayed.
    pub fn fits(
        &self,
        kinds: &[&dyn MachineKind],
        machine: &dyn Machine,
    ) -> Result<(), LifecycleError> {
        let (kind, log) = (machine.spec().kind.clone(), self.head.kind.clone());
        if kind != log {
            return Err(LifecycleError::OtherKind { log, machine: kind });
        }
        let here = can_be_replayed(kinds, machine)?;
        if here != self.head.semantics {
            return Err(LifecycleError::Semantics { kind, log: self.head.semantics, here });
        }
        Ok(())
    }

    /// Whether the log tells of this moment.
    #[must_use]
    pub fn holds(&self, moment: Moment) -> bool {
        let before = moment.events.checked_sub(1).map(|at| self.events.get(at));
        let after = self.events.get(moment.events);
        let starts = match before {
            None => moment.tick >= self.head.tick,
            Some(Some((tick, _))) => moment.tick >= *tick,
            Some(None) => false,
        };
        starts && after.is_none_or(|(tick, _)| moment.tick <= *tick)
    }
}

/// The meaning that this build has for a machine's kind, where the same events give the machine
/// the same future.
///
/// # Errors
/// Where no kind has the machine's name, or it cannot be replayed.
pub fn can_be_replayed(
    kinds: &[&dyn MachineKind],
    machine: &dyn Machine,
) -> Result<u32, LifecycleError> {
    let kind = &machine.spec().kind;
    let semantics = kind_of(kinds, kind)?.info().semantics;
    let caps = machine.caps();
    let able = caps.deterministic && caps.exact_ticks;
    if able { Ok(semantics) } else { Err(LifecycleError::NotDeterministic(kind.clone())) }
}
