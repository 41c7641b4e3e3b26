//! Going back: a ladder of snapshots and replay between the rungs.

use crate::{LifecycleError, Log, Moment, Snapshot, replay, restore, take};
use omni_machine::{Machine, MachineKind};

/// A snapshot on a timeline.
#[derive(Clone, Debug)]
pub struct Rung {
    /// When.
    pub moment: Moment,
    /// The machine then.
    pub snapshot: Snapshot,
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
        let rung = Rung { moment: log.start(), snapshot: take(kinds, machine)? };
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
        Ok(Self { log, rungs: vec![Rung { moment, snapshot: start }] })
    }

    /// The rungs, oldest first.
    #[must_use]
    pub fn rungs(&self) -> &[Rung] {
        &self.rungs
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
        let rung = Rung { moment: self.log.now(machine), snapshot: take(kinds, machine)? };
        self.rungs.push(rung);
        Ok(())
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
        let at = self.rungs.partition_point(|rung| rung.moment <= moment);
        let below = at.checked_sub(1).ok_or(LifecycleError::NoMoment(moment))?;
        let rung = &self.rungs[below];
        let mut machine = restore(kinds, &rung.snapshot)?;
        match replay(kinds, &mut *machine, &self.log, rung.moment, moment) {
            Ok(_) => Ok(machine),
            Err(error) => Err(self.named(kinds, &mut *machine, error)),
        }
    }

    /// Replays all of it from the first rung, held against every check.
    ///
    /// # Errors
    /// As `visit`.
    pub fn verify(&self, kinds: &[&dyn MachineKind]) -> Result<Box<dyn Machine>, LifecycleError> {
        let first = &self.rungs[0];
        let mut machine = restore(kinds, &first.snapshot)?;
        match replay(kinds, &mut *machine, &self.log, first.moment, self.log.end()) {
            Ok(_) => Ok(machine),
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
            && let Ok(here) = take(kinds, machine)
            && let Some(what) = rung.snapshot.difference(&here)
        {
            found.what = Some(what);
        }
        LifecycleError::Diverged(found)
    }
}
