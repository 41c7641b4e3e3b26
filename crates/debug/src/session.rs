//! One debugger at one machine: where it looks, what it waits for, and how it gets there.

use crate::history::{Asked, Known};
use crate::scan::{Scan, Scanned};
use crate::{DebugError, History, Traveller};
use omni_base::Tick;
use omni_lifecycle::Moment;
use omni_machine::{Architecture, Event, Hit, Inspect, Machine, Place, StopPoint, ThreadId};

/// Ticks of the past that are replayed at once, before it is asked whether that is still wanted.
pub(crate) const CHUNK_TICKS: u64 = 20_000_000;

/// Single ticks at once, for the same reason.
const STEPS_MAX: u32 = 20_000;

/// Stop points that a debugger may set.
const STOPS_MAX: usize = 1024;

/// Bytes that all watches may have together: what devices write is found by comparing them.
const WATCH_BYTES_MAX: u64 = 1 << 20;

/// How the machine of the present lives, which is in the hands of someone else.
pub trait Present {
    /// The machine, at rest.
    fn machine(&mut self) -> &mut dyn Machine;

    /// The events that were let in since this was last asked, with their ticks.
    fn heard(&mut self) -> Vec<(Tick, Event)>;

    /// Lets it run for a moment, or until a stop point.
    fn live(&mut self) -> Life;

    /// Lets it run one tick, past any stop point.
    fn step(&mut self) -> Life;

    /// Lets an idle machine wait for a moment for what wakes it, and no further.
    fn sleep(&mut self) -> Life;

    /// Serves whoever else has to do with it while it stands still. Does not wait.
    fn hold(&mut self) -> Life;

    /// Whether it may be written to: not where somebody else relies on its past.
    fn may_write(&mut self) -> bool;
}

/// What became of the machine of the present.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// It lives on.
    On,
    /// It is at a stop point.
    Hit(Hit),
    /// It has ended, and can be looked at.
    Ended,
    /// It was ended by someone, and is to be let go of.
    Gone,
}

/// What a debugger wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Go {
    /// On, to the next stop point.
    On,
    /// One tick of this thread on.
    Step(ThreadId),
    /// Back, to the last stop point before.
    Back,
    /// One tick of this thread back.
    StepBack(ThreadId),
}

/// Why it stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// At a stop point.
    Hit(Hit),
    /// After one tick.
    Step,
    /// There is nothing recorded before.
    Begin,
    /// Here the past ends; to go on is to live.
    End,
    /// The machine has ended.
    Halted,
}

/// One debugger at one machine.
pub struct Session<'p> {
    pub(crate) present: &'p mut dyn Present,
    pub(crate) history: History,
    /// The copy that is looked at, where that is not the present.
    pub(crate) past: Option<Traveller>,
    stops: Vec<StopPoint>,
    /// What the machine of the present was given.
    armed: Vec<StopPoint>,
    /// Where a stop point was reported.
    reported: Option<Moment>,
    going: Option<Going>,
    pub(crate) physical: bool,
    ended: bool,
    gone: bool,
    architecture: &'static Architecture,
}

/// What is under way.
enum Going {
    On { first: bool },
    Step(ThreadId),
    Back(Box<Scan>),
    StepBack(ThreadId),
}

impl<'p> Session<'p> {
    /// Begins to listen to a machine, which is held. Its past begins now, but for what of it was
    /// recorded.
    ///
    /// # Errors
    /// Where the machine has no registers, or cannot be saved or replayed.
    pub fn new(present: &'p mut dyn Present, history: History) -> Result<Self, DebugError> {
        present.heard();
        let machine = present.machine();
        let kind = machine.spec().kind.clone();
        let inspect = machine.inspect().ok_or(DebugError::NoRegisters(kind))?;
        let architecture = inspect.architecture();
        let (stops, armed) = (Vec::new(), Vec::new());
        Ok(Self {
            present,
            history,
            past: None,
            stops,
            armed,
            reported: None,
            going: None,
            physical: false,
            ended: false,
            gone: false,
            architecture,
        })
    }

    /// What registers there are.
    #[must_use]
    pub fn architecture(&self) -> &'static Architecture {
        self.architecture
    }

    /// The moment that is looked at.
    pub fn now(&mut self) -> Moment {
        match &self.past {
            Some(past) => past.now,
            None => self.present_moment(),
        }
    }

    /// The moment of the present.
    pub fn present_moment(&mut self) -> Moment {
        self.hear();
        let tick = self.present.machine().tick();
        self.history.now(tick)
    }

    /// The first moment that can be visited.
    #[must_use]
    pub fn begin(&self) -> Moment {
        self.history.begin()
    }

    /// Whether the past is looked at, and not the present.
    #[must_use]
    pub fn is_past(&self) -> bool {
        self.past.is_some()
    }

    /// The machine that is looked at.
    pub fn machine(&mut self) -> &mut dyn Machine {
        match &mut self.past {
            Some(past) => &mut *past.machine,
            None => self.present.machine(),
        }
    }

    /// The same, to look at.
    pub fn inspect(&mut self) -> &mut dyn Inspect {
        self.machine().inspect().expect("asked at the start, and machines stay in turns")
    }

    fn hear(&mut self) {
        for (tick, event) in self.present.heard() {
            self.history.event(tick, event);
        }
    }

    /// Adds a stop point. Says whether there is room for it.
    pub fn add_stop(&mut self, stop: StopPoint) -> bool {
        if self.stops.contains(&stop) {
            return true;
        }
        let watched = |stop: &StopPoint| match *stop {
            StopPoint::Watch { bytes, .. } => bytes,
            StopPoint::Break(_) => 0,
        };
        let (own, all) = (watched(&stop), self.stops.iter().map(watched).sum::<u64>());
        let is_empty = matches!(stop, StopPoint::Watch { bytes: 0, .. });
        let room = self.stops.len() < STOPS_MAX && own <= WATCH_BYTES_MAX - all;
        if is_empty || !room {
            return false;
        }
        self.stops.push(stop);
        true
    }

    /// Takes a stop point away. Says whether it was there.
    pub fn remove_stop(&mut self, stop: StopPoint) -> bool {
        let at = self.stops.iter().position(|one| *one == stop);
        at.map(|at| self.stops.remove(at)).is_some()
    }

    /// Reads memory as a thread sees it, or physical memory where that was chosen. Gives how many
    /// bytes could be read.
    pub fn read(&mut self, thread: ThreadId, at: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        while done < into.len() {
            let here = at.wrapping_add(done as u64);
            let Some(place) = self.locate(thread, here) else { break };
            let count = page_rest(here).min(into.len() - done);
            let part = &mut into[done..done + count];
            let Some(space) = self.machine().memory().spaces.get(place.space) else { break };
            if space.read(place.at, part).is_err() {
                break;
            }
            done += count;
        }
        done
    }

    /// Writes memory as a thread sees it, all or nothing. From then on the machine is another:
    /// its past begins anew. What has been cannot be written.
    ///
    /// # Errors
    /// Where the machine cannot be saved then.
    pub fn write(&mut self, thread: ThreadId, at: u64, bytes: &[u8]) -> Result<bool, DebugError> {
        if self.past.is_some() || bytes.is_empty() || !self.present.may_write() {
            return Ok(bytes.is_empty());
        }
        let mut parts = Vec::new();
        let mut done = 0;
        while done < bytes.len() {
            let here = at.wrapping_add(done as u64);
            let Some(place) = self.locate(thread, here) else { return Ok(false) };
            let count = page_rest(here).min(bytes.len() - done);
            parts.push((place, &bytes[done..done + count]));
            done += count;
        }
        let spaces = &mut self.machine().memory().spaces;
        let fits = |(place, part): &(Place, &[u8])| {
            let space = spaces.get(place.space);
            space.is_some_and(|space| place.at.0 + part.len() as u64 <= space.size())
        };
        if !parts.iter().all(fits) {
            return Ok(false);
        }
        let stored =
            parts.iter().all(|(place, part)| spaces[place.space].store(place.at, part).is_ok());
        self.changed()?;
        Ok(stored)
    }

    /// Sets a register, with the same consequences. Says whether it can be set.
    ///
    /// # Errors
    /// As `write`.
    pub fn set_register(
        &mut self,
        thread: ThreadId,
        number: usize,
        value: u64,
    ) -> Result<bool, DebugError> {
        if self.inspect().register(thread, number) == Some(value) {
            return Ok(true);
        }
        let may = self.past.is_none() && self.present.may_write();
        if !may || !self.inspect().set_register(thread, number, value) {
            return Ok(false);
        }
        self.changed()?;
        Ok(true)
    }

    fn changed(&mut self) -> Result<(), DebugError> {
        self.hear();
        self.history.restart(self.present.machine())
    }

    fn locate(&mut self, thread: ThreadId, at: u64) -> Option<Place> {
        let physical = self.physical;
        let inspect = self.inspect();
        if physical { inspect.locate_physical(at) } else { inspect.locate(thread, at) }
    }

    /// Goes to any moment that is recorded.
    ///
    /// # Errors
    /// Where there is no record of it, or the replay goes another way.
    pub fn visit(&mut self, moment: Moment) -> Result<(), DebugError> {
        self.visit_asked(moment, &mut || false)
    }

    fn visit_asked(&mut self, moment: Moment, asked: Asked<'_>) -> Result<(), DebugError> {
        let present = self.present_moment();
        self.reported = None;
        if moment > present {
            return Err(DebugError::NoMoment(moment));
        }
        self.rest();
        self.past = if moment == present { None } else { Some(self.history.visit(moment, asked)?) };
        Ok(())
    }

    /// The copy that is looked at stands still while others are on their way.
    fn rest(&mut self) {
        self.past.iter_mut().for_each(Traveller::rest);
    }

    /// Begins to go; `poll` says when it has arrived.
    ///
    /// # Errors
    /// Where the past cannot be had.
    pub fn go(&mut self, go: Go) -> Result<(), DebugError> {
        let now = self.now();
        let here = self.reported == Some(now);
        self.going = Some(match go {
            Go::On => Going::On { first: here },
            Go::Step(thread) => Going::Step(thread),
            Go::Back => Going::Back(Box::new(Scan::new(now, here))),
            Go::StepBack(thread) => Going::StepBack(thread),
        });
        Ok(())
    }

    /// Goes on for a moment. Gives why it stopped, once it has.
    ///
    /// # Errors
    /// Where the past cannot be had, or goes another way than it went.
    pub fn poll(&mut self) -> Result<Option<Stopped>, DebugError> {
        self.poll_asked(&mut || false)
    }

    /// The same, which comes back early where somebody asks for that. What was under way begins
    /// anew then, unless it is interrupted.
    ///
    /// # Errors
    /// As `poll`.
    pub fn poll_asked(&mut self, asked: Asked<'_>) -> Result<Option<Stopped>, DebugError> {
        let Some(mut going) = self.going.take() else { return Ok(Some(Stopped::Step)) };
        let stopped = match &mut going {
            Going::On { first } if self.past.is_some() => {
                let step = std::mem::take(first);
                self.past_on(step)?
            }
            Going::On { first } => {
                let step = std::mem::take(first);
                self.live_on(step)?
            }
            Going::Step(thread) if self.past.is_some() => self.past_step(*thread)?,
            Going::Step(thread) => self.live_step(*thread)?,
            Going::Back(scan) => unless_asked(self.back(scan, asked))?,
            Going::StepBack(thread) => unless_asked(self.step_back(*thread, asked).map(Some))?,
        };
        match stopped {
            Some(Stopped::Hit(_)) => self.reported = Some(self.now()),
            Some(_) => self.reported = None,
            None => self.going = Some(going),
        }
        Ok(stopped)
    }

    /// Stops wherever it is; on the way back that is where it began.
    pub fn interrupt(&mut self) {
        self.going = None;
        self.reported = None;
    }

    /// Serves others while the debugger thinks.
    pub fn hold(&mut self) {
        let life = self.present.hold();
        self.note(life);
        self.hear();
    }

    fn note(&mut self, life: Life) {
        self.gone |= life == Life::Gone;
        self.ended |= matches!(life, Life::Gone | Life::Ended);
    }

    /// Whether somebody has ended the machine, so that it is to be let go of.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Leaves the machine as if nobody had looked.
    pub fn leave(&mut self) {
        self.stops.clear();
        self.arm();
    }

    fn arm(&mut self) {
        if self.armed != self.stops {
            self.armed.clone_from(&self.stops);
            let machine = self.present.machine();
            if let Some(inspect) = machine.inspect() {
                inspect.set_stops(&self.armed);
            }
        }
    }

    fn live_on(&mut self, step: bool) -> Result<Option<Stopped>, DebugError> {
        self.arm();
        if self.ended {
            return Ok(Some(Stopped::Halted));
        }
        if step && let Some(stopped) = self.lived(Live::Step)? {
            return Ok(Some(stopped));
        }
        self.lived(Live::On)
    }

    fn lived(&mut self, how: Live) -> Result<Option<Stopped>, DebugError> {
        let life = match how {
            Live::On => self.present.live(),
            Live::Step => self.present.step(),
            Live::Sleep => self.present.sleep(),
        };
        self.hear();
        self.note(life);
        Ok(match life {
            Life::On => {
                self.history.rung(self.present.machine())?;
                None
            }
            Life::Hit(hit) => Some(Stopped::Hit(hit)),
            Life::Ended | Life::Gone => Some(Stopped::Halted),
        })
    }

    fn live_step(&mut self, thread: ThreadId) -> Result<Option<Stopped>, DebugError> {
        if self.ended {
            return Ok(Some(Stopped::Halted));
        }
        for _ in 0..STEPS_MAX {
            let turn = self.inspect().turn();
            let how = if turn.is_some() { Live::Step } else { Live::Sleep };
            match self.lived(how)? {
                None | Some(Stopped::Hit(_)) => {}
                stopped => return Ok(stopped),
            }
            if turn == Some(thread) {
                return Ok(Some(Stopped::Step));
            }
            if turn.is_none() {
                // It was waited for a moment already.
                return Ok(None);
            }
        }
        Ok(None)
    }

    /// The copy that is looked at, and what it needs to go on.
    fn travel(&mut self) -> (&mut Traveller, Known<'_>) {
        let past = self.past.as_mut().expect("asked for only where the past is looked at");
        (past, self.history.known())
    }

    fn past_on(&mut self, step: bool) -> Result<Option<Stopped>, DebugError> {
        let (end, stops) = (self.present_moment(), self.stops.clone());
        let (past, known) = self.travel();
        past.arm(&stops);
        if step {
            past.step(known.events);
        }
        let ahead = Tick(past.now.tick.0.saturating_add(CHUNK_TICKS));
        let to = self.history.at(ahead).min(end);
        let (past, known) = self.travel();
        if past.now < to
            && let Some(hit) = past.run(known, to)?
        {
            return Ok(Some(Stopped::Hit(hit)));
        }
        Ok(self.arrived(end))
    }

    /// Where the past has come to the present, that is what is looked at from here on.
    fn arrived(&mut self, end: Moment) -> Option<Stopped> {
        let arrived = self.past.as_ref().is_some_and(|past| past.now >= end);
        if arrived {
            self.past = None;
        }
        arrived.then_some(Stopped::End)
    }

    fn past_step(&mut self, thread: ThreadId) -> Result<Option<Stopped>, DebugError> {
        let end = self.present_moment();
        for _ in 0..STEPS_MAX {
            let (past, Known { events, .. }) = self.travel();
            past.let_in(events);
            if past.now >= end {
                break;
            }
            // What was let in wakes who it wakes when time passes.
            let turn = past.machine.inspect().and_then(|inspect| inspect.turn());
            past.step(events);
            if turn == Some(thread) {
                return Ok(Some(self.arrived(end).map_or(Stopped::Step, |_| Stopped::Step)));
            }
            if turn.is_none() {
                self.skip_idle(end)?;
            }
        }
        Ok(self.arrived(end))
    }

    /// Lets the time pass that an idle copy has.
    fn skip_idle(&mut self, end: Moment) -> Result<(), DebugError> {
        let (past, Known { events, .. }) = self.travel();
        let kick = omni_machine::Kick::default();
        let tick = past.now.tick;
        let stop = past.machine.run(tick, &kick, &mut omni_lifecycle::Outcome::new());
        if let omni_machine::Stop::Idle { wake } = stop {
            let event = events.get(past.now.events).map(|(at, _)| *at);
            let wake = wake.into_iter().chain(event).min().unwrap_or(end.tick);
            let wake = wake.min(end.tick).max(tick);
            let to = self.history.at(wake).min(end);
            let (past, known) = self.travel();
            if past.now < to {
                past.run(known, to)?;
            }
        }
        Ok(())
    }

    fn back(&mut self, scan: &mut Scan, asked: Asked<'_>) -> Result<Option<Stopped>, DebugError> {
        self.hear();
        self.rest();
        match scan.poll(&self.history, &self.stops)? {
            Scanned::Searching => Ok(None),
            Scanned::Found(moment, hit) => {
                self.visit_asked(moment, asked)?;
                Ok(Some(Stopped::Hit(hit)))
            }
            Scanned::Nothing => {
                self.visit_asked(self.history.begin(), asked)?;
                Ok(Some(Stopped::Begin))
            }
        }
    }

    fn step_back(&mut self, thread: ThreadId, asked: Asked<'_>) -> Result<Stopped, DebugError> {
        let now = self.now();
        self.rest();
        match crate::scan::last_tick_of(&mut self.history, now, thread, asked)? {
            Some(traveller) => {
                self.past = Some(traveller);
                Ok(Stopped::Step)
            }
            None => {
                self.visit_asked(self.history.begin(), asked)?;
                Ok(Stopped::Begin)
            }
        }
    }
}

/// What came of going back, or nothing yet where somebody asked for its end.
fn unless_asked(done: Result<Option<Stopped>, DebugError>) -> Result<Option<Stopped>, DebugError> {
    match done {
        Err(DebugError::Interrupted) => Ok(None),
        done => done,
    }
}

/// How the present lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Live {
    On,
    Step,
    Sleep,
}

/// Bytes from an address to the end of its page.
fn page_rest(at: u64) -> usize {
    omni_base::PAGE_SIZE - omni_base::Gpa(at).offset()
}
