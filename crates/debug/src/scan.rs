//! The way back: from rung to rung, replaying ahead from each to see what was last.

use crate::session::CHUNK_TICKS;
use crate::{DebugError, History, Traveller};
use omni_base::Tick;
use omni_lifecycle::{Moment, Outcome};
use omni_machine::{Hit, Kick, Stop, StopPoint, ThreadId};

/// Stops that are passed before it is asked whether the search is still wanted.
const HITS_MAX: u32 = 10_000;

/// Moments tried in search of the last tick before an idle time.
const TRIES_MAX: u32 = 200;

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
            let Some(hit) = traveller.run(history.events(), to)? else {
                if to < self.end {
                    return Ok(Scanned::Searching);
                }
                if let Some((moment, hit)) = self.found.take() {
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
/// it where the machine says so only when it is made.
fn past(traveller: &mut Traveller, history: &History, hit: &Hit) -> Moment {
    let before = traveller.now;
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

fn doing(history: &mut History, moment: Moment) -> Result<Doing, DebugError> {
    let mut traveller = history.visit(moment)?;
    traveller.let_in(history.events());
    let tick = traveller.now.tick;
    let stop = traveller.machine.run(tick, &Kick::default(), &mut Outcome::new());
    let turn = traveller.machine.inspect().and_then(|inspect| inspect.turn());
    Ok(match (turn, stop) {
        (Some(thread), _) => Doing::Turn(thread),
        (None, Stop::Idle { wake }) => {
            let event = history.events().get(traveller.now.events).map(|(at, _)| *at);
            Doing::Nothing(wake.into_iter().chain(event).min())
        }
        (None, _) => Doing::Nothing(None),
    })
}

/// The moment before the last tick of a thread before `now`; none where there is no record of
/// any. Where the thread's last tick is far, the tick before is good enough.
pub(crate) fn last_tick_of(
    history: &mut History,
    now: Moment,
    thread: ThreadId,
) -> Result<Option<Moment>, DebugError> {
    let Some(before) = now.tick.0.checked_sub(1).map(Tick) else { return Ok(None) };
    if before < history.begin().tick {
        return Ok(None);
    }
    let before = last_busy(history, before)?;
    if let Doing::Turn(turn) = doing(history, history.at(before))?
        && turn == thread
    {
        return Ok(Some(history.at(before)));
    }
    let mut back = 64;
    while back <= TURNS_MAX {
        let from = before.0.saturating_sub(back).max(history.begin().tick.0);
        if let Some(found) = last_turn(history, Tick(from), before, thread)? {
            return Ok(Some(found));
        }
        back *= 16;
    }
    Ok(Some(history.at(before)))
}

/// The last tick up to `before` at which the machine is not idle, as far as it is found.
fn last_busy(history: &mut History, before: Tick) -> Result<Tick, DebugError> {
    let begin = history.begin().tick;
    // Idle from `high` on, as far as `before`; at `low` it was not, or that is not known yet.
    let (mut low, mut high, mut gap) = (None, before, 1);
    for _ in 0..TRIES_MAX {
        let probe = match low {
            None if high == before && gap == 1 => before,
            None if high == begin => return Ok(before),
            None => Tick(high.0.saturating_sub(gap).max(begin.0)),
            Some(Tick(low)) if low + 1 >= high.0 => return Ok(Tick(low)),
            Some(Tick(low)) => Tick(low + (high.0 - low) / 2),
        };
        gap *= 2;
        match doing(history, history.at(probe))? {
            Doing::Turn(_) if probe == before => return Ok(before),
            Doing::Turn(_) => low = Some(probe),
            // Something happens between: there it is not idle.
            Doing::Nothing(Some(wake)) if wake < high && wake > probe => low = Some(wake),
            Doing::Nothing(_) => high = probe,
        }
    }
    Ok(before)
}

/// The last moment of a stretch at which it is this thread's turn.
fn last_turn(
    history: &mut History,
    from: Tick,
    to: Tick,
    thread: ThreadId,
) -> Result<Option<Moment>, DebugError> {
    let mut traveller = history.visit(history.at(from))?;
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
