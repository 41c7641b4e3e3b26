//! Going back: a ladder of snapshots and replay between the rungs.

use crate::{Difference, LifecycleError, Log, Moment, Snapshot, replay_into, restore, take};
use omni_base::Digest;
use omni_machine::{Machine, MachineKind, Outside};
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// Where the snapshots of rungs are that are not in memory.
pub trait Shelf: Debug + Send + Sync {
    /// The snapshot of this name.
    ///
    /// # Errors
    /// Where it is not there, is damaged, or the host cannot read it.
    fn snapshot(&self, id: Digest) -> io::Result<Snapshot>;
}

/// A snapshot on a timeline.
#[derive(Clone, Debug)]
pub struct Rung {
    /// When.
    pub moment: Moment,
    held: Held,
}

#[derive(Clone, Debug)]
enum Held {
    Here(Snapshot),
    Shelved(Digest, Arc<dyn Shelf>),
}

impl Rung {
    /// A rung that is in memory.
    #[must_use]
    pub fn new(moment: Moment, snapshot: Snapshot) -> Self {
        Self { moment, held: Held::Here(snapshot) }
    }

    /// A rung that is read when it is used.
    #[must_use]
    pub fn shelved(moment: Moment, id: Digest, shelf: Arc<dyn Shelf>) -> Self {
        Self { moment, held: Held::Shelved(id, shelf) }
    }

    /// Whether it is in memory.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self.held, Held::Here(_))
    }

    /// The machine then.
    ///
    /// # Errors
    /// Where it is kept elsewhere and cannot be had.
    pub fn snapshot(&self) -> Result<Snapshot, LifecycleError> {
        match &self.held {
            Held::Here(snapshot) => Ok(snapshot.clone()),
            Held::Shelved(id, shelf) => {
                let fail = |error| LifecycleError::Rung(self.moment, error);
                let snapshot = shelf.snapshot(*id).map_err(fail)?;
                let fits = snapshot.tick == self.moment.tick;
                let other = || io::Error::other("it is of another tick");
                if fits { Ok(snapshot) } else { Err(fail(other())) }
            }
        }
    }
}

/// A recorded stretch of a machine's life, any moment of which can be visited.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The events.
    pub log: Log,
    rungs: Vec<Rung>,
}

impl Timeline {
    /// A timeline that starts at the present state of a machine, which is its first rung.
    ///
    /// # Errors
    /// Where the machine cannot be saved or replayed.
    pub fn new(
        kinds: &[&dyn MachineKind],
        machine: &mut dyn Machine,
    ) -> Result<Self, LifecycleError> {
        let log = Log::new(kinds, machine)?;
        let rung = Rung::new(log.start(), take(kinds, machine)?);
        Ok(Self { log, rungs: vec![rung] })
    }

    /// A timeline read back: a log and the snapshot from which it starts.
    ///
    /// # Errors
    /// Where the log starts from another state.
    pub fn from_parts(log: Log, start: Snapshot) -> Result<Self, LifecycleError> {
        let moment = log.start();
        if start.tick != moment.tick || start.digest() != log.start_digest() {
            return Err(LifecycleError::NoMoment(moment));
        }
        Ok(Self { log, rungs: vec![Rung::new(moment, start)] })
    }

    /// A timeline read back with its rungs, in any order. Rungs of moments that the log does not
    /// hold are left out: a writer that was stopped may have come further with them.
    ///
    /// # Errors
    /// Where no rung is at the log's start.
    pub fn from_rungs(log: Log, rungs: Vec<Rung>) -> Result<Self, LifecycleError> {
        let (start, end) = (log.start(), log.end());
        let mut timeline = Self { log, rungs: Vec::new() };
        for rung in rungs {
            if rung.moment <= end && timeline.log.holds(rung.moment) {
                timeline.add(rung);
            }
        }
        match timeline.rungs.first() {
            Some(first) if first.moment == start => Ok(timeline),
            _ => Err(LifecycleError::NoMoment(start)),
        }
    }

    /// The rungs, oldest first.
    #[must_use]
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
    }

    /// The last rung at or before a moment, from which a visit of it begins.
    ///
    /// # Errors
    /// Where there is none.
    pub fn below(&self, moment: Moment) -> Result<&Rung, LifecycleError> {
        let at = self.rungs.partition_point(|rung| rung.moment <= moment);
        let at = at.checked_sub(1).ok_or(LifecycleError::NoMoment(moment))?;
        Ok(&self.rungs[at])
    }

    /// Adds a rung: the machine as it is now, after every event in the log. The log gets a check
    /// of it too.
    ///
    /// # Errors
    /// Where the machine cannot be saved.
    pub fn rung(
        &mut self,
        kinds: &[&dyn MachineKind],
        machine: &mut dyn Machine,
    ) -> Result<(), LifecycleError> {
        self.log.check(machine);
        self.add(Rung::new(self.log.now(machine), take(kinds, machine)?));
        Ok(())
    }

    /// Adds a rung of any moment, such as one that was visited. There is one of a moment; one
    /// in memory takes the place of one that is not.
    pub fn add(&mut self, rung: Rung) {
        match self.rungs.binary_search_by_key(&rung.moment, |rung| rung.moment) {
            Ok(at) if rung.is_here() => self.rungs[at] = rung,
            Ok(_) => {}
            Err(at) => self.rungs.insert(at, rung),
        }
    }

    /// Gives up every rung but the first that `keep` does not want. Moments stay reachable, from
    /// the rung before.
    pub fn thin(&mut self, mut keep: impl FnMut(&Rung) -> bool) {
        let mut first = true;
        self.rungs.retain(|rung| std::mem::take(&mut first) || keep(rung));
    }

    /// The machine as it was at `moment`: the nearest rung before, and replay from there.
    ///
    /// # Errors
    /// Where the moment is not on the timeline, or the replay goes another way: then with the
    /// page, where a rung of that moment is kept.
    pub fn visit(
        &self,
        kinds: &[&dyn MachineKind],
        moment: Moment,
    ) -> Result<Box<dyn Machine>, LifecycleError> {
        self.run(kinds, self.below(moment)?, moment, &mut Nowhere)
    }

    /// Replays all of it from the first rung, held against every check.
    ///
    /// # Errors
    /// As `visit`.
    pub fn verify(&self, kinds: &[&dyn MachineKind]) -> Result<Box<dyn Machine>, LifecycleError> {
        self.play(kinds, self.log.start(), self.log.end(), &mut Nowhere)
    }

    /// Replays from the rung at `from`, or the last before, to a moment, held against every check;
    /// what came out of the machine meanwhile goes to `outside` once more.
    ///
    /// # Errors
    /// As `visit`.
    pub fn play(
        &self,
        kinds: &[&dyn MachineKind],
        from: Moment,
        to: Moment,
        outside: &mut dyn Outside,
    ) -> Result<Box<dyn Machine>, LifecycleError> {
        self.run(kinds, self.below(from)?, to, outside)
    }

    fn run(
        &self,
        kinds: &[&dyn MachineKind],
        rung: &Rung,
        to: Moment,
        outside: &mut dyn Outside,
    ) -> Result<Box<dyn Machine>, LifecycleError> {
        let mut machine = restore(kinds, &rung.snapshot()?)?;
        match replay_into(kinds, &mut *machine, &self.log, (rung.moment, to), outside) {
            Ok(()) => Ok(machine),
            Err(error) => Err(self.named(kinds, &mut *machine, error)),
        }
    }

    /// A divergence with the page named, where the machine stands at a moment that has a rung.
    fn named(
        &self,
        kinds: &[&dyn MachineKind],
        machine: &mut dyn Machine,
        error: LifecycleError,
    ) -> LifecycleError {
        let LifecycleError::Diverged(mut found) = error else { return error };
        let rung = self.rungs.iter().find(|rung| rung.moment == found.at);
        if let (Some(rung), true) = (rung, found.what.is_some())
            && let Ok(then) = rung.snapshot()
            && let Ok(here) = take(kinds, machine)
            && !matches!(found.what, Some(Difference::Record { .. }))
            && let Some(what) = then.difference(&here)
        {
            found.what = Some(what);
        }
        LifecycleError::Diverged(found)
    }
}

/// Takes effects that nobody wants.
struct Nowhere;

impl Outside for Nowhere {
    fn emit(&mut self, _: omni_base::Tick, _: omni_machine::Effect) {}
}
