//! What is known of a machine's past: events, and snapshots as rungs to start from.

use crate::DebugError;
use crate::session::CHUNK_TICKS;
use omni_base::Tick;
use omni_lifecycle::{
    Difference, Divergence, Log, Moment, Outcome, Pulse, Rung, Snapshot, restore, run_to, take,
};
use omni_machine::{Caches, Event, Hit, Kick, Machine, MachineKind, StopPoint};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Ticks between two rungs of the present. A replay of them takes a fraction of a second.
const RUNG_TICKS: u64 = 1 << 26;

/// Rungs kept; beyond, every other one of the older half goes, so that they are the sparser the
/// older they are.
const RUNGS_MAX: usize = 256;

/// Rungs kept near moments that were visited; the oldest go first.
const NEAR_MAX: usize = 256;

/// How far before a visited moment rungs are left, in powers of this.
const NEAR_STEP: u64 = 8;

/// Whether somebody has asked for what is under way to end. Asked every so often.
pub type Asked<'a> = &'a mut dyn FnMut() -> bool;

/// What is known of a machine's life.
#[derive(Clone, Copy, Debug)]
pub struct Known<'h> {
    /// Every event and its tick.
    pub events: &'h [(Tick, Event)],
    /// How its records were now and then, as far as that was recorded.
    pub pulses: &'h [Pulse],
}

/// A copy of the machine, somewhere in its past.
pub struct Traveller {
    /// The copy.
    pub machine: Box<dyn Machine>,
    /// When it is.
    pub now: Moment,
    /// The rung that it began at.
    began: Moment,
    /// Where its records were last seen to be as recorded.
    same: Option<Moment>,
    warm: Warm,
    /// It had what is warm, if there was something.
    seated: bool,
}

/// What copies derived from their states, which one has after the other: they run much the same
/// code, and to translate that takes longer than to run it.
#[derive(Clone, Default)]
struct Warm(Arc<Mutex<Option<Caches>>>);

impl Warm {
    fn exchange(&self, caches: Option<Caches>) -> Option<Caches> {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut now, caches)
    }
}

impl Drop for Traveller {
    fn drop(&mut self) {
        self.rest();
    }
}

impl Traveller {
    fn new(machine: Box<dyn Machine>, now: Moment, warm: Warm) -> Self {
        Self { machine, now, began: now, same: None, warm, seated: false }
    }

    /// Is about to run: goes on with what another copy derived.
    fn sit(&mut self) {
        if !std::mem::replace(&mut self.seated, true)
            && let Some(caches) = self.warm.exchange(None)
        {
            drop(self.machine.exchange_caches(Some(caches)));
        }
    }

    /// Will not run for a while, and has no stop points from now on: others may go on with what it
    /// derived.
    pub(crate) fn rest(&mut self) {
        if std::mem::take(&mut self.seated) {
            self.arm(&[]);
            if let Some(caches) = self.machine.exchange_caches(None) {
                drop(self.warm.exchange(Some(caches)));
            }
        }
    }

    /// Replays up to a moment, or to a stop point that the copy was given.
    ///
    /// # Errors
    /// Where the replay goes another way than the machine has gone.
    pub fn run(&mut self, known: Known<'_>, to: Moment) -> Result<Option<Hit>, DebugError> {
        self.sit();
        loop {
            let next = known.events.get(self.now.events).filter(|_| self.now.events < to.events);
            let until = next.map_or(to.tick, |(tick, _)| *tick);
            if until < self.now.tick {
                return Err(DebugError::NoMoment(to));
            }
            if let Some(hit) = self.held_against(known.pulses, until)? {
                return Ok(Some(hit));
            }
            let Some((_, event)) = next else { return Ok(None) };
            self.machine.apply(event, &mut Outcome::new());
            self.now.events += 1;
        }
    }

    /// Lives up to a tick before which nothing is let in, as it was recorded.
    fn held_against(&mut self, pulses: &[Pulse], until: Tick) -> Result<Option<Hit>, DebugError> {
        let now = self.now;
        let first = pulses.partition_point(|pulse| pulse.moment < now);
        let near = |moment: Moment| moment.events == now.events && moment.tick <= until;
        for pulse in pulses[first..].iter().take_while(|pulse| near(pulse.moment)) {
            if let Some(hit) = self.live(pulse.moment.tick)? {
                return Ok(Some(hit));
            }
            if let Some(what) = pulse.difference(&*self.machine) {
                return Err(self.diverged(self.now, Some(what)));
            }
            self.same = Some(self.now);
        }
        self.live(until)
    }

    fn live(&mut self, until: Tick) -> Result<Option<Hit>, DebugError> {
        let stop = run_to(&mut *self.machine, until, &Kick::default(), &mut Outcome::new());
        self.now.tick = self.machine.tick();
        if let omni_machine::Stop::Hit(hit) = stop {
            return Ok(Some(hit));
        }
        if self.now.tick < until {
            return Err(self.diverged(Moment { tick: until, ..self.now }, None));
        }
        Ok(None)
    }

    fn diverged(&self, at: Moment, what: Option<Difference>) -> DebugError {
        let (same_until, records_until, rung) = (None, self.same, None);
        let found = Divergence { at, same_until, records_until, what, rung };
        DebugError::Diverged { found: Box::new(found), from: self.began }
    }

    /// Replays up to a moment, in parts, where nothing stops the copy.
    ///
    /// # Errors
    /// As `run`, or where somebody asked for its end.
    pub fn travel(
        &mut self,
        known: Known<'_>,
        to: Moment,
        asked: Asked<'_>,
    ) -> Result<(), DebugError> {
        while self.now < to {
            let ahead = Tick(self.now.tick.0.saturating_add(CHUNK_TICKS));
            let before = known.events.partition_point(|(at, _)| *at < ahead);
            let part = Moment { events: before.max(self.now.events), tick: ahead };
            let stop = self.run(known, if ahead < to.tick { part } else { to })?;
            if stop.is_some() || self.now < to && asked() {
                return Err(DebugError::Interrupted);
            }
        }
        Ok(())
    }

    /// Lets the events of the present tick in, and lets it pass, past any stop point.
    pub fn step(&mut self, events: &[(Tick, Event)]) {
        self.let_in(events);
        if let Some(inspect) = self.machine.inspect() {
            inspect.step(&mut Outcome::new());
        }
        self.now.tick = self.machine.tick();
    }

    /// Lets the events of the present tick in.
    pub(crate) fn let_in(&mut self, events: &[(Tick, Event)]) {
        self.sit();
        let now = self.now.tick;
        while let Some((_, event)) = events.get(self.now.events).filter(|(at, _)| *at == now) {
            self.machine.apply(event, &mut Outcome::new());
            self.now.events += 1;
        }
    }

    /// Gives it stop points.
    pub(crate) fn arm(&mut self, stops: &[StopPoint]) {
        if !stops.is_empty() {
            // Nobody takes anything over who is to stop somewhere.
            self.sit();
        }
        if let Some(inspect) = self.machine.inspect() {
            inspect.set_stops(stops);
        }
    }
}

/// The past of a machine, as far back as it was listened to.
pub struct History {
    kinds: &'static [&'static dyn MachineKind],
    events: Vec<(Tick, Event)>,
    /// By moment.
    pulses: Vec<Pulse>,
    rungs: BTreeMap<Moment, Rung>,
    /// Rungs left by visits, and the number of the visit.
    near: BTreeMap<Moment, (u64, Snapshot)>,
    visits: u64,
    warm: Warm,
    /// Whatever keeps the rungs that are kept elsewhere.
    _lease: Option<Box<dyn Send>>,
}

impl History {
    /// A past that begins now.
    ///
    /// # Errors
    /// Where the machine has no registers, or cannot be saved or replayed.
    pub fn new(
        kinds: &'static [&'static dyn MachineKind],
        machine: &mut dyn Machine,
    ) -> Result<Self, DebugError> {
        let start = Moment { events: 0, tick: machine.tick() };
        let caps = machine.caps();
        if !caps.deterministic || !caps.exact_ticks {
            return Err(DebugError::NotDeterministic(machine.spec().kind.clone()));
        }
        if machine.inspect().is_none() {
            return Err(DebugError::NoRegisters(machine.spec().kind.clone()));
        }
        let rungs = BTreeMap::from([(start, Rung::new(start, take(kinds, machine)?))]);
        Ok(Self {
            kinds,
            events: Vec::new(),
            pulses: Vec::new(),
            rungs,
            near: BTreeMap::new(),
            visits: 0,
            warm: Warm::default(),
            _lease: None,
        })
    }

    /// A past that was recorded before, up to now.
    ///
    /// # Errors
    /// As `new`, or where there is no rung.
    pub fn recorded(
        kinds: &'static [&'static dyn MachineKind],
        machine: &mut dyn Machine,
        log: &Log,
        rungs: &[Rung],
    ) -> Result<Self, DebugError> {
        let mut history = Self::new(kinds, machine)?;
        history.events = log.events().to_vec();
        history.pulses = log.pulses().to_vec();
        let now = history.now(machine.tick());
        history.rungs = rungs.iter().map(|rung| (rung.moment, rung.clone())).collect();
        history.rungs.insert(now, Rung::new(now, take(kinds, machine)?));
        Ok(history)
    }

    /// The same, which keeps hold of what keeps its rungs.
    #[must_use]
    pub fn with_lease(self, lease: Box<dyn Send>) -> Self {
        Self { _lease: Some(lease), ..self }
    }

    /// Forgets all, as what follows is not what would have followed: the past begins now.
    ///
    /// # Errors
    /// As `new`.
    pub fn restart(&mut self, machine: &mut dyn Machine) -> Result<(), DebugError> {
        *self = Self::new(self.kinds, machine)?;
        Ok(())
    }

    /// Every event and its tick.
    #[must_use]
    pub fn events(&self) -> &[(Tick, Event)] {
        &self.events
    }

    /// All that is known but the rungs.
    #[must_use]
    pub fn known(&self) -> Known<'_> {
        Known { events: &self.events, pulses: &self.pulses }
    }

    /// Notes that an event was let in at the present.
    pub fn event(&mut self, tick: Tick, event: Event) {
        self.events.push((tick, event));
    }

    /// The moment of the present, which is at this tick.
    #[must_use]
    pub fn now(&self, tick: Tick) -> Moment {
        Moment { events: self.events.len(), tick }
    }

    /// The moment at a tick, before its events are let in.
    #[must_use]
    pub fn at(&self, tick: Tick) -> Moment {
        Moment { events: self.events.partition_point(|(at, _)| *at < tick), tick }
    }

    /// The first moment that can be visited.
    #[must_use]
    pub fn begin(&self) -> Moment {
        let (first, _) = self.rungs.first_key_value().expect("the first rung is always kept");
        *first
    }

    /// How many rungs there are, of the present's and near what was visited.
    #[must_use]
    pub fn rung_counts(&self) -> (usize, usize) {
        (self.rungs.len(), self.near.len())
    }

    /// Leaves a rung at the present, where the last one is far enough.
    ///
    /// # Errors
    /// Where the machine cannot be saved.
    pub fn rung(&mut self, machine: &mut dyn Machine) -> Result<(), DebugError> {
        let now = self.now(machine.tick());
        let (last, _) = self.rungs.last_key_value().expect("the first rung is always kept");
        if now.tick.0 < last.tick.0.saturating_add(RUNG_TICKS) {
            return Ok(());
        }
        self.rungs.insert(now, Rung::new(now, take(self.kinds, machine)?));
        if self.rungs.len() > RUNGS_MAX {
            let old = self.rungs.keys().copied().take(RUNGS_MAX / 2).collect::<Vec<_>>();
            for moment in old.iter().skip(1).step_by(2) {
                self.rungs.remove(moment);
            }
        }
        Ok(())
    }

    /// A copy at the last rung at or before a moment.
    fn below(&self, moment: Moment) -> Result<Option<Traveller>, DebugError> {
        let near = self.near.range(..=moment).next_back();
        let rung = self.rungs.range(..=moment).next_back();
        let (now, snapshot) = match (near, rung) {
            (Some((at, (_, near))), kept) if kept.is_none_or(|(kept, _)| kept < at) => {
                (*at, near.clone())
            }
            (_, Some((at, kept))) => (*at, kept.snapshot()?),
            _ => return Ok(None),
        };
        let machine = restore(self.kinds, &snapshot)?;
        Ok(Some(Traveller::new(machine, now, self.warm.clone())))
    }

    /// A copy at the last rung before a moment, if there is one.
    ///
    /// # Errors
    /// Where the rung cannot be restored.
    pub fn before(&self, moment: Moment) -> Result<Option<Traveller>, DebugError> {
        let earlier = if moment.tick.0 > 0 {
            self.at(Tick(moment.tick.0 - 1)).min(moment)
        } else {
            return Ok(None);
        };
        self.below(earlier)
    }

    /// A copy of the machine as it was at a moment. Rungs are left before it, the closer the
    /// nearer to it, so that what follows, which is mostly near, is quick.
    ///
    /// # Errors
    /// Where there is no record of the moment, or the replay goes another way, or somebody asked
    /// for its end.
    pub fn visit(&mut self, moment: Moment, asked: Asked<'_>) -> Result<Traveller, DebugError> {
        let mut traveller = self.below(moment)?.ok_or(DebugError::NoMoment(moment))?;
        let now = traveller.now;
        self.visits += 1;
        let mut ahead = NEAR_STEP;
        let mut places = Vec::new();
        while let Some(tick) = moment.tick.0.checked_sub(ahead).filter(|tick| *tick > now.tick.0) {
            places.push(self.at(Tick(tick)));
            ahead *= NEAR_STEP;
        }
        for place in places.into_iter().rev().filter(|place| *place < moment) {
            traveller.travel(self.known(), place, asked)?;
            let rung = take(self.kinds, &mut *traveller.machine)?;
            self.keep_near(place, rung);
            // Whoever asks again begins here.
            if asked() {
                return Err(DebugError::Interrupted);
            }
        }
        traveller.travel(self.known(), moment, asked)?;
        Ok(traveller)
    }

    /// Keeps a rung near a visited moment, in the place of the one that was kept longest ago.
    fn keep_near(&mut self, at: Moment, rung: Snapshot) {
        self.near.insert(at, (self.visits, rung));
        while self.near.len() > NEAR_MAX {
            let oldest = self.near.iter().min_by_key(|(_, (visit, _))| *visit);
            let Some(oldest) = oldest.map(|(at, _)| *at) else { break };
            self.near.remove(&oldest);
        }
    }
}
