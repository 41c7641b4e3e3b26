//! The way back: from rung to rung, replaying ahead from each to see what was last.

use crate::history::Asked;
use crate::session::CHUNK_TICKS;
use crate::{DebugError, History, Traveller};
use omni_base::Tick;
use omni_lifecycle::{Moment, Outcome};
use omni_machine::{Hit, Kick, Stop, StopPoint, ThreadId};

/// Stops that are passed before it is asked whether the search is still wanted.
const HITS_MAX: u32 = 10_000;

/// Stretches cut into parts in search of the last tick before an idle time.
const TRIES_MAX: u32 = 64;

/// Parts of such a stretch, which one copy looks at one after the other.
const PARTS: u64 = 16;

/// How many times as far back as the last each look is: what is looked at in parts then is at most
/// so many times as long as the idle time.
const FARTHER: u64 = 4;

/// Ticks looked at one by one, at most, in search of a thread's last.
const TURNS_MAX: u64 = 1 << 19;

/// A search for the last stop before a moment.
pub(crate) struct Scan {
    /// Before here.
    origin: Moment,
    /// The stop here was told of already.
    told: bool,
    /// The end of the stretch that is searched.
    end: Moment,
    /// The copy in the stretch, and where it began.
    traveller: Option<(Traveller, Moment)>,
    found: Option<(Moment, Hit)>,
}

/// What came of a while of search.
pub(crate) enum Scanned {
    Searching,
    Found(Moment, Hit),
    /// There is none as far back as there is a record.
    Nothing,
}

impl Scan {
    pub(crate) fn new(origin: Moment, told: bool) -> Self {
        Self { origin, told, end: origin, traveller: None, found: None }
    }

    /// Searches for a while.
    pub(crate) fn poll(
        &mut self,
        history: &History,
        stops: &[StopPoint],
    ) -> Result<Scanned, DebugError> {
        if stops.is_empty() {
            return Ok(Scanned::Nothing);
        }
        if self.traveller.is_none() {
            let Some(mut traveller) = history.before(self.end)? else {
                return Ok(Scanned::Nothing);
            };
            traveller.arm(stops);
            let began = traveller.now;
            self.traveller = Some((traveller, began));
        }
        let Some((traveller, began)) = &mut self.traveller else { return Ok(Scanned::Searching) };
        let ahead = Tick(traveller.now.tick.0.saturating_add(CHUNK_TICKS));
        let to = history.at(ahead).min(self.end);
        for _ in 0..HITS_MAX {
            let Some(hit) = traveller.run(history.known(), to)? else {
                if to < self.end {
                    return Ok(Scanned::Searching);
                }
                // Kept: whoever is interrupted on the way there asks again.
                if let Some((moment, hit)) = self.found {
                    traveller.rest();
                    return Ok(Scanned::Found(moment, hit));
                }
                self.end = *began;
                self.traveller = None;
                return Ok(Scanned::Searching);
            };
            let moment = past(traveller, history, &hit);
            let here = moment == self.origin;
            if moment < self.origin || here && !self.told {
                self.found = Some((moment, hit));
            }
            if traveller.now >= to {
                break;
            }
        }
        Ok(Scanned::Searching)
    }
}

/// Goes past a stop, and gives the moment at which someone who comes back meets it: before the
/// instruction to stop at; after the one that makes an access, which is undone next, or before
/// it where the machine says so only when it is made. What an event has written is undone by
/// going before it.
fn past(traveller: &mut Traveller, history: &History, hit: &Hit) -> Moment {
    let before = traveller.now;
    if hit.after && before.events > history.at(before.tick).events {
        return before;
    }
    if hit.after {
        return history.at(Tick(before.tick.0.saturating_sub(1)));
    }
    traveller.step(history.events());
    match hit.point {
        StopPoint::Break(_) => before,
        StopPoint::Watch { .. } => traveller.now,
    }
}

/// What a machine would do at a moment.
enum Doing {
    /// An instruction of this thread.
    Turn(ThreadId),
    /// Nothing before this tick.
    Nothing(Option<Tick>),
}

/// What a copy would do where it is, and lets the events of that tick in.
fn doing(history: &History, traveller: &mut Traveller) -> Doing {
    traveller.let_in(history.events());
    let tick = traveller.now.tick;
    let stop = traveller.machine.run(tick, &Kick::default(), &mut Outcome::new());
    let turn = traveller.machine.inspect().and_then(|inspect| inspect.turn());
    match (turn, stop) {
        (Some(thread), _) => Doing::Turn(thread),
        (None, Stop::Idle { wake }) => {
            let event = history.events().get(traveller.now.events).map(|(at, _)| *at);
            Doing::Nothing(wake.into_iter().chain(event).min())
        }
        (None, _) => Doing::Nothing(None),
    }
}

/// The copy before the last tick of a thread before `now`; none where there is no record of any.
/// Where the thread's last tick is far, the tick before is good enough.
pub(crate) fn last_tick_of(
    history: &mut History,
    now: Moment,
    thread: ThreadId,
    asked: Asked<'_>,
) -> Result<Option<Traveller>, DebugError> {
    let Some(before) = now.tick.0.checked_sub(1).map(Tick) else { return Ok(None) };
    if before < history.begin().tick {
        return Ok(None);
    }
    let mut traveller = history.visit(history.at(before).max(history.begin()), asked)?;
    if let Doing::Nothing(_) = doing(history, &mut traveller) {
        traveller.rest();
        let busy = last_busy(history, before, asked)?;
        traveller = history.visit(history.at(busy).max(history.begin()), asked)?;
    }
    if let Doing::Turn(turn) = doing(history, &mut traveller)
        && turn == thread
    {
        return Ok(Some(traveller));
    }
    let before = traveller.now.tick;
    traveller.rest();
    let mut back = 64;
    while back <= TURNS_MAX {
        let from = before.0.saturating_sub(back).max(history.begin().tick.0);
        if let Some(found) = last_turn(history, (Tick(from), before), thread, asked)? {
            return history.visit(found, asked).map(Some);
        }
        back *= 16;
    }
    Ok(Some(traveller))
}

/// The last tick before an idle one at which the machine is not idle, as far as it is found.
fn last_busy(history: &mut History, idle: Tick, asked: Asked<'_>) -> Result<Tick, DebugError> {
    let begin = history.begin();
    // Idle from `high` on; at `low` it is not.
    let (mut high, mut gap) = (idle, PARTS);
    let mut low = loop {
        let probe = Tick(high.0.saturating_sub(gap).max(begin.tick.0));
        let mut traveller = history.visit(history.at(probe).max(begin), asked)?;
        match doing(history, &mut traveller) {
            Doing::Turn(_) => break probe,
            // Something happens between: there it is not idle.
            Doing::Nothing(Some(wake)) if wake < high && wake > probe => break wake,
            Doing::Nothing(_) if probe == begin.tick => return Ok(idle),
            Doing::Nothing(_) => high = probe,
        }
        gap = gap.saturating_mul(FARTHER);
    };
    for _ in 0..TRIES_MAX {
        if low.0 + 1 >= high.0 {
            break;
        }
        let part = (high.0 - low.0).div_ceil(PARTS);
        let (first, end) = (low, high);
        let mut traveller = history.visit(history.at(first).max(begin), asked)?;
        for nth in 1..PARTS {
            let tick = Tick(first.0 + nth * part);
            if tick >= end {
                break;
            }
            let to = history.at(tick);
            traveller.travel(history.known(), to, asked)?;
            match doing(history, &mut traveller) {
                Doing::Turn(_) => (low, high) = (tick, end),
                Doing::Nothing(Some(wake)) if wake < end && wake > tick => {
                    (low, high) = (wake, end);
                }
                Doing::Nothing(_) if tick > low => high = high.min(tick),
                Doing::Nothing(_) => {}
            }
        }
    }
    Ok(low)
}

/// The last moment of a stretch at which it is this thread's turn.
fn last_turn(
    history: &mut History,
    (from, to): (Tick, Tick),
    thread: ThreadId,
    asked: Asked<'_>,
) -> Result<Option<Moment>, DebugError> {
    let mut traveller = history.visit(history.at(from), asked)?;
    let mut last = None;
    while traveller.now.tick <= to {
        let here = traveller.now;
        traveller.let_in(history.events());
        let turn = traveller.machine.inspect().and_then(|inspect| inspect.turn());
        if turn == Some(thread) {
            last = Some(here);
        }
        traveller.step(history.events());
        if traveller.now.tick == here.tick {
            break;
        }
    }
    Ok(last)
}
