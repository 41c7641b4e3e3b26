//! A replay that differs from its recording, looked into: it is lived again in other ways, and
//! where one of them goes as recorded, the two are compared down to the tick at which they part.

use crate::failure::Failure;
use crate::ui::Ui;
use omni_base::Tick;
use omni_engine::Tiers;
use omni_kinds::KINDS;
use omni_lifecycle::{
    Difference, Divergence, LifecycleError, Log, Moment, Snapshot, Timeline, Way, parting, restore,
};
use omni_machine::{Control, Effect, Event, Outside};

/// Events that are told of where the log is not what the machine lived.
const EVENTS_TOLD_MAX: usize = 3;

/// Makes a machine in the way of this process.
fn as_here(snapshot: &Snapshot) -> Result<Box<dyn omni_machine::Machine>, LifecycleError> {
    restore(KINDS, snapshot)
}

/// Makes a machine in the other way: interpreted, or translated where this process interprets.
fn otherwise(snapshot: &Snapshot) -> Result<Box<dyn omni_machine::Machine>, LifecycleError> {
    // Others of this process make machines meanwhile.
    other_tiers(Tiers::default()).within(|| restore(KINDS, snapshot))
}

fn other_tiers(here: Tiers) -> Tiers {
    match here {
        Tiers::Interpreter => Tiers::Compiled { after: 0 },
        Tiers::Compiled { .. } => Tiers::Interpreter,
    }
}

/// The failure of a replay from a moment; where it differed, with all that can be found out.
pub(crate) fn failure(error: LifecycleError, timeline: &Timeline, from: Moment, ui: Ui) -> Failure {
    let LifecycleError::Diverged(found) = &error else { return error.into() };
    ui.say("omni: the replay differs; looking for the tick at which it does");
    let text = explained(found, timeline, from);
    Failure { text, ..Failure::from(error) }
}

/// What is to be said of a replay that differed, begun at a moment, with all that can be found out.
pub(crate) fn explained(found: &Divergence, timeline: &Timeline, from: Moment) -> String {
    let fuller = fuller(found, timeline, from);
    let found = fuller.as_deref().unwrap_or(found);
    let more = match look(timeline, from, found) {
        Ok(more) => more,
        Err(error) => format!("it cannot be looked into: {error}"),
    };
    format!("{found}\n  {more}")
}

/// The same divergence with what differs named, where it was seen by a mark that names no fields
/// and the log has one after it that does.
fn fuller(found: &Divergence, timeline: &Timeline, from: Moment) -> Option<Box<Divergence>> {
    if found.rung.is_some() || !matches!(found.what, Some(Difference::Somewhere { .. })) {
        return None;
    }
    match timeline.play(KINDS, from, timeline.log.end(), &mut Nowhere) {
        Err(LifecycleError::Diverged(full)) if full.at == found.at => Some(full),
        _ => None,
    }
}

/// Takes effects that nobody wants.
struct Nowhere;

impl Outside for Nowhere {
    fn emit(&mut self, _: Tick, _: Effect) {}
}

fn look(timeline: &Timeline, from: Moment, found: &Divergence) -> Result<String, LifecycleError> {
    let log = &timeline.log;
    if !log.holds(found.at) {
        // The machine has lived on since.
        return Err(LifecycleError::NoMoment(found.at));
    }
    let same = found.same_until.max(found.records_until).unwrap_or(from).max(from);
    let (first, near) = (timeline.below(from)?, timeline.below(same)?);
    let here = |rung| Way { rung, make: &as_here };
    if here(near).holds(KINDS, log, found.at)? {
        if first.moment == near.moment {
            let text = "lived once more it goes as recorded: the replay does not repeat";
            return Ok(text.into());
        }
        let ways = (here(first), here(near));
        let good = format!("begun at the rung at {} it goes as recorded", near.moment);
        return Ok(told(&good, part(log, ways, found)?));
    }
    let other = Way { rung: near, make: &otherwise };
    if other.holds(KINDS, log, found.at)? {
        let good = match other_tiers(Tiers::default()) {
            Tiers::Interpreter => "interpreted it goes as recorded",
            Tiers::Compiled { .. } => "translated it goes as recorded",
        };
        return Ok(told(good, part(log, (here(near), other), found)?));
    }
    let text = "it goes this way from each rung, interpreted and translated: what was let in is \
                not what the log holds, or this is another machine's";
    Ok(format!("{text}; {}", suspects(log, same, found.at)))
}

type Found = Option<omni_lifecycle::Parting>;

fn part(log: &Log, ways: (Way<'_>, Way<'_>), found: &Divergence) -> Result<Found, LifecycleError> {
    let from = ways.1.rung.moment;
    parting(KINDS, log, ways, (from, found.at))
}

fn told(good: &str, parting: Found) -> String {
    match parting {
        Some(found) => {
            let same = found.same.map_or("from the start on".into(), |same| {
                format!("the same at {same}, no longer")
            });
            format!("{good}; the two are {same} at {}: {}", found.at, found.what)
        }
        None => format!("{good}; the two were not seen to differ again"),
    }
}

/// The events after which the machine was seen to be another.
fn suspects(log: &Log, same: Moment, at: Moment) -> String {
    let between = &log.events()[same.events..at.events];
    let tell = |(tick, event): &(Tick, Event)| format!("{} at tick {}", event_text(event), tick.0);
    let told: Vec<String> = between.iter().take(EVENTS_TOLD_MAX).map(tell).collect();
    match between.len() {
        0 => format!("it lets nothing in between {same} and there"),
        count if count > EVENTS_TOLD_MAX => {
            format!("after {same} it lets in {} and {} more", told.join(", "), count - told.len())
        }
        _ => format!("after {same} it lets in {}", told.join(", ")),
    }
}

fn event_text(event: &Event) -> String {
    match event {
        Event::Input { port, bytes } => format!("{} bytes at port {}", bytes.len(), port.0),
        Event::IoDone { id, .. } => format!("the end of request {}", id.0),
        Event::Generation { .. } => "a new identity".into(),
        Event::Control(Control::Reset) => "a reset".into(),
        Event::Control(_) => "a switch".into(),
    }
}
