//! Recording and replay.

use crate::{Check, Difference, Divergence, LifecycleError, Log, Mark, Moment, Pulse, run_to};
use omni_base::Tick;
use omni_machine::{Effect, Event, Kick, Machine, MachineKind, Outside, Stop};

/// What came out of a run: every effect with its tick.
pub type Outcome = Vec<(Tick, Effect)>;

/// The outside: takes effects, and decides which events come and when.
pub trait World {
    /// Takes an effect.
    fn take(&mut self, tick: Tick, effect: &Effect);
    /// When the next event is due.
    fn due(&self) -> Option<Tick>;
    /// Hands the event that is due over.
    fn pop(&mut self) -> Event;
    /// Ticks that may pass until a new event is looked for, at least 1. The machine does not
    /// notice how long they are.
    fn slice(&self) -> u64;
}

/// Runs a machine against a world up to `until`, or until it halts, writing down every event.
/// Gives the effects in order.
pub fn record(
    machine: &mut dyn Machine,
    world: &mut dyn World,
    until: Tick,
    log: &mut Log,
) -> Outcome {
    let mut tap = Tap { world, outcome: Outcome::new() };
    while machine.tick() < until {
        let slice = machine.tick().0.saturating_add(tap.world.slice().max(1));
        let slice = Tick(until.0.min(slice));
        let due = tap.world.due().filter(|due| *due < slice);
        let until = due.unwrap_or(slice).max(machine.tick());
        if let Stop::Halted { .. } = run_to(machine, until, &Kick::default(), &mut tap) {
            break;
        }
        while tap.world.due().is_some_and(|due| due <= machine.tick()) {
            let event = tap.world.pop();
            machine.apply(&event, &mut tap);
            log.event(machine.tick(), event);
        }
    }
    tap.outcome
}

/// Runs a machine that is at moment `from` of a log up to its moment `to`, with the log's events
/// let in where they were. Gives the effects, to be dropped or compared; the outside is neither
/// asked nor told.
///
/// The state is held against every check and pulse of the log on the way.
///
/// # Errors
/// Where the log is not of this machine, does not hold the moments, or the machine goes another
/// way; it stands at the first check that differs then, or where it halted.
pub fn replay(
    kinds: &[&dyn MachineKind],
    machine: &mut dyn Machine,
    log: &Log,
    from: Moment,
    to: Moment,
) -> Result<Outcome, LifecycleError> {
    let mut outcome = Outcome::new();
    replay_into(kinds, machine, log, (from, to), &mut outcome)?;
    Ok(outcome)
}

/// As `replay`, from the first moment to the second; each effect goes to `outside` as it comes.
///
/// # Errors
/// As `replay`.
pub fn replay_into(
    kinds: &[&dyn MachineKind],
    machine: &mut dyn Machine,
    log: &Log,
    (from, to): (Moment, Moment),
    outside: &mut dyn Outside,
) -> Result<(), LifecycleError> {
    log.fits(kinds, machine)?;
    if let Some(moment) = [from, to].into_iter().find(|moment| !log.holds(*moment)) {
        return Err(LifecycleError::NoMoment(moment));
    }
    if to < from || machine.tick() != from.tick {
        return Err(LifecycleError::NoMoment(from));
    }
    let mut player = Player { machine, outside, now: from, same: (None, None), first: None };
    if from == log.start() && Mark::of(player.machine).digest() != log.start_digest() {
        return Err(player.diverged(from, Some(Difference::Start)));
    }
    for at in from.events..=to.events {
        player.look(log, at, to)?;
        if let Some((tick, event)) = log.events().get(at).filter(|_| at < to.events) {
            player.run(Moment { events: at, tick: *tick })?;
            player.machine.apply(event, player.outside);
            player.now.events += 1;
        }
    }
    player.run(to)?;
    player.first.map_or(Ok(()), |first| Err(LifecycleError::Diverged(first)))
}

/// A replay on its way.
struct Player<'a> {
    machine: &'a mut dyn Machine,
    outside: &'a mut dyn Outside,
    now: Moment,
    /// Where state and records were last seen to be the same.
    same: (Option<Moment>, Option<Moment>),
    /// A pulse that differed. The next check tells in what.
    first: Option<Box<Divergence>>,
}

impl Player<'_> {
    fn run(&mut self, to: Moment) -> Result<(), LifecycleError> {
        let stop = run_to(self.machine, to.tick, &Kick::default(), self.outside);
        self.now.tick = to.tick;
        let short = self.machine.tick() < to.tick && matches!(stop, Stop::Halted { .. });
        if short { Err(self.diverged(to, None)) } else { Ok(()) }
    }

    /// Holds the machine against all marks from now on that are before the event of this number.
    fn look(&mut self, log: &Log, at: usize, to: Moment) -> Result<(), LifecycleError> {
        let (now, near) = (self.now, |moment: Moment| moment.events == at && moment <= to);
        let after = log.pulses().partition_point(|pulse| pulse.moment < now);
        let pulses = log.pulses()[after..].iter().take_while(|one| near(one.moment));
        let after = log.checks().partition_point(|check| check.moment < now);
        let mut checks = log.checks()[after..].iter().take_while(|one| near(one.moment)).peekable();
        for pulse in pulses {
            while let Some(check) = checks.next_if(|check| check.moment <= pulse.moment) {
                self.check(check)?;
            }
            self.pulse(pulse)?;
        }
        for check in checks {
            self.check(check)?;
        }
        Ok(())
    }

    fn check(&mut self, check: &Check) -> Result<(), LifecycleError> {
        self.run(check.moment)?;
        if let Some(what) = check.mark.difference(&Mark::of(self.machine)) {
            let what = what.with_fields(&check.mark.records, self.machine);
            return Err(self.diverged(check.moment, Some(what)));
        }
        self.same = (Some(check.moment), None);
        Ok(())
    }

    fn pulse(&mut self, pulse: &Pulse) -> Result<(), LifecycleError> {
        if self.first.is_some() {
            return Ok(());
        }
        self.run(pulse.moment)?;
        match pulse.difference(self.machine) {
            Some(what) => self.first = Some(self.divergence(pulse.moment, Some(what))),
            None => self.same.1 = Some(pulse.moment),
        }
        Ok(())
    }

    fn diverged(&mut self, at: Moment, what: Option<Difference>) -> LifecycleError {
        let found = match self.first.take() {
            Some(first) => Box::new(Divergence { rung: what.map(|what| (at, what)), ..*first }),
            None => self.divergence(at, what),
        };
        LifecycleError::Diverged(found)
    }

    fn divergence(&self, at: Moment, what: Option<Difference>) -> Box<Divergence> {
        let (same_until, records_until) = self.same;
        Box::new(Divergence { at, same_until, records_until, what, rung: None })
    }
}

struct Tap<'a> {
    world: &'a mut dyn World,
    outcome: Outcome,
}

impl Outside for Tap<'_> {
    fn emit(&mut self, tick: Tick, effect: Effect) {
        self.world.take(tick, &effect);
        self.outcome.push((tick, effect));
    }
}
