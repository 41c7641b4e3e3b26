//! Where two ways to live the same stretch of a log part: the very tick, and what differs there.

use crate::{Difference, LifecycleError, Log, Mark, Moment, Outcome, Rung, replay_into, run_to};
use crate::{Snapshot, take};
use omni_machine::{Kick, Machine, MachineKind};
use std::collections::BTreeSet;

/// Parts into which a stretch is cut, in each of which the two are compared at its end.
const PARTS: u64 = 64;

/// Makes a machine of a snapshot.
pub type Make<'a> = dyn Fn(&Snapshot) -> Result<Box<dyn Machine>, LifecycleError> + 'a;

/// A way to live a stretch of a log: from which rung, and how a machine is made of it.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// Where it begins.
    pub rung: &'a Rung,
    /// How the machine is made; it is never told which way it is.
    pub make: &'a Make<'a>,
}

/// The first difference of two ways.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parting {
    /// The last moment at which their states were the same, where there is one: a tick or an event
    /// before `at`.
    pub same: Option<Moment>,
    /// The first moment at which they differ.
    pub at: Moment,
    /// In what: the record and its fields, or the page.
    pub what: Difference,
}

impl Way<'_> {
    /// Whether this way is as recorded up to a moment, by every mark of the log up to there.
    ///
    /// # Errors
    /// Where the rung cannot be had or restored, or the log is not of this machine.
    pub fn holds(
        &self,
        kinds: &[&dyn MachineKind],
        log: &Log,
        to: Moment,
    ) -> Result<bool, LifecycleError> {
        let mut machine = (self.make)(&self.rung.snapshot()?)?;
        let span = (self.rung.moment, to);
        match replay_into(kinds, &mut *machine, log, span, &mut Outcome::new()) {
            Ok(()) => Ok(true),
            Err(LifecycleError::Diverged(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The machine at a moment, whatever the marks of the log say.
    fn at(&self, log: &Log, moment: Moment) -> Result<Traveller, LifecycleError> {
        let machine = (self.make)(&self.rung.snapshot()?)?;
        let mut traveller = Traveller { machine, events: self.rung.moment.events };
        traveller.advance(log, moment);
        Ok(traveller)
    }
}

/// A machine on its way.
struct Traveller {
    machine: Box<dyn Machine>,
    /// Events that were let in.
    events: usize,
}

impl Traveller {
    /// Lives on up to a moment. One that halts before stays where it halted, and so differs from
    /// one that does not.
    fn advance(&mut self, log: &Log, to: Moment) {
        let kick = Kick::default();
        while let Some((tick, event)) = log.events().get(self.events)
            && self.events < to.events
        {
            run_to(&mut *self.machine, *tick, &kick, &mut Outcome::new());
            self.machine.apply(event, &mut Outcome::new());
            self.events += 1;
        }
        run_to(&mut *self.machine, to.tick, &kick, &mut Outcome::new());
    }
}

/// Finds where two ways part between two moments of a log: at the end of which of ever smaller
/// parts they differ first, down to single ticks and events. Each round lives the stretch once
/// more in both ways, and there are about as many as the ticks of the stretch have digits.
///
/// What comes is exact where each way goes the same way each time: at `same` the states were equal
/// and at `at` they are not. A difference that came and went within a part is not seen. `None`
/// where they do not differ at the end of any part.
///
/// # Errors
/// Where a rung cannot be had or restored.
pub fn parting(
    kinds: &[&dyn MachineKind],
    log: &Log,
    (one, other): (Way<'_>, Way<'_>),
    (from, to): (Moment, Moment),
) -> Result<Option<Parting>, LifecycleError> {
    let (mut same, mut low, mut high) = (None, from, to);
    loop {
        let (mut mine, mut others) = (one.at(log, low)?, other.at(log, low)?);
        let (points, finest) = points(log, low, high);
        let mut found = None;
        for point in [low].into_iter().chain(points) {
            mine.advance(log, point);
            others.advance(log, point);
            found = difference(kinds, &mut *mine.machine, &mut *others.machine)?;
            if let Some(what) = &found {
                if finest || point == low {
                    return Ok(Some(Parting { same, at: point, what: what.clone() }));
                }
                high = point;
                break;
            }
            (same, low) = (Some(point), point);
        }
        if found.is_none() {
            return Ok(None);
        }
    }
}

/// Where to look between two moments, the second included; and whether there is none between.
fn points(log: &Log, low: Moment, high: Moment) -> (Vec<Moment>, bool) {
    let ticks = high.tick.0 - low.tick.0;
    let finest = ticks <= PARTS;
    let step = if finest { 1 } else { ticks.div_ceil(PARTS) };
    let parts = (1..=ticks / step).map(|nth| omni_base::Tick(low.tick.0 + nth * step));
    let mut points: BTreeSet<Moment> = parts.map(|tick| log.at(tick)).collect();
    if finest {
        for at in low.events..high.events {
            let tick = log.events()[at].0;
            points.extend([Moment { events: at, tick }, Moment { events: at + 1, tick }]);
        }
    }
    points.insert(high);
    (points.into_iter().filter(|point| low < *point && *point <= high).collect(), finest)
}

fn difference(
    kinds: &[&dyn MachineKind],
    one: &mut dyn Machine,
    other: &mut dyn Machine,
) -> Result<Option<Difference>, LifecycleError> {
    let mark = Mark::of(one);
    let Some(what) = mark.difference(&Mark::of(other)) else { return Ok(None) };
    if matches!(what, Difference::Record { .. }) {
        return Ok(Some(what.with_fields(&mark.records, other)));
    }
    Ok(take(kinds, one)?.difference(&take(kinds, other)?).or(Some(what)))
}
