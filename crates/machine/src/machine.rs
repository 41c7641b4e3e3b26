//! The contract of a machine.

use crate::{Effect, Event, Hit, Inspect, Outside, Spec};
use omni_base::{Digest, Tick};
use omni_memory::Memory;
use omni_state::Bundle;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a machine can do. Stated up front, so that an operation fails before it starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Stops at any given tick exactly.
    pub exact_ticks: bool,
    /// Same state and same events at the same ticks give the same future.
    pub deterministic: bool,
    /// `save` and `memory` hold everything: the state does not live in a kernel or a peer.
    pub self_contained: bool,
    /// Can use more than one host CPU at a time.
    pub parallel: bool,
}

/// How the vCPUs of a machine share the host.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Schedule {
    /// In turns on one thread: exact and deterministic.
    #[default]
    Turns,
    /// Each on a thread of its own, at once: what they do to each other depends on the host.
    Parallel,
}

/// Why `Machine::run` came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The asked-for tick is reached.
    Reached,
    /// The asked-for tick is reached, and nothing will happen before `wake`, or before an event
    /// where there is none. Time that an idle machine lets pass costs nothing.
    Idle {
        /// When a timer will fire.
        wake: Option<Tick>,
    },
    /// Someone asked; the tick may be any up to the one asked for.
    Kicked,
    /// The machine ended, at its present tick.
    Halted {
        /// Its exit code.
        code: u64,
    },
    /// A debugger's stop point is next, or was just passed.
    Hit(Hit),
}

/// Asks a machine on another thread to stop soon. Where it stops is free, as slicing is invisible.
#[derive(Clone, Default, Debug)]
pub struct Kick(Arc<AtomicBool>);

impl Kick {
    /// Asks.
    pub fn kick(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was asked, which answers the asking.
    #[must_use]
    pub fn taken(&self) -> bool {
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Acquire)
    }
}

/// What a machine derived from its state, for another of its kind to go on with.
pub struct Caches(Box<dyn Any + Send>);

impl Caches {
    /// Of a type that only the kind knows.
    pub fn new<T: Any + Send>(caches: T) -> Self {
        Self(Box::new(caches))
    }

    /// The caches, where they are of this type.
    #[must_use]
    pub fn into_inner<T: Any + Send>(self) -> Option<T> {
        self.0.downcast().ok().map(|caches| *caches)
    }
}

impl std::fmt::Debug for Caches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Caches")
    }
}

/// A machine of any kind: paged memory, records, and a timeline of ticks.
///
/// A machine runs only inside `run`. Between calls it is at a safe point, all its state is in
/// `memory` and `save`, and there is no call to pause it: not calling `run` is the pause.
pub trait Machine: Send {
    /// What it was made from.
    fn spec(&self) -> &Spec;

    /// What it can do, by its present schedule.
    fn caps(&self) -> Caps;

    /// Lets its vCPUs run by this schedule from now on; says whether it can. How they run is no
    /// part of the state: what was saved under one schedule may go on under the other.
    fn set_schedule(&mut self, schedule: Schedule) -> bool;

    /// Where it is on its timeline.
    fn tick(&self) -> Tick;

    /// Runs up to `until`, never past it where `caps().exact_ticks`, and not short of it unless
    /// kicked, halted or at a stop point: time passes for an idle machine too.
    ///
    /// Slicing is invisible: `run(a); run(b)` is `run(b)`.
    /// A retired instruction costs a tick and so does a trap: time passes even in a loop of traps.
    fn run(&mut self, until: Tick, kick: &Kick, outside: &mut dyn Outside) -> Stop;

    /// Lets one event in, at the present tick.
    fn apply(&mut self, event: &Event, outside: &mut dyn Outside);

    /// The paged spaces. `&mut` proves that nothing runs.
    fn memory(&mut self) -> &mut Memory;

    /// Writes every record. `&self`: saving cannot disturb what it saves.
    fn save(&self, into: &mut Bundle);

    /// Requests in flight, oldest first: whoever restores the machine issues them again.
    fn pending(&self) -> Vec<Effect>;

    /// Drops a seed-chosen part of everything derived: code caches, TLBs, decoded blocks.
    ///
    /// Invisible to the machine, which is what the conformance suite checks.
    fn drop_caches(&mut self, seed: u64);

    /// Gives away everything derived, if there is anything that another machine made from the same
    /// spec could use, and goes on with what such a machine gave, or with nothing where that is
    /// `None`.
    ///
    /// As invisible as `drop_caches`; what does not fit is dropped.
    fn exchange_caches(&mut self, caches: Option<Caches>) -> Option<Caches>;

    /// What a debugger sees; none where it has no registers, or its vCPUs do not take turns.
    fn inspect(&mut self) -> Option<&mut dyn Inspect>;

    /// What was counted while it ran, and what its devices say of themselves, for people: names
    /// with their unit last, and no name twice.
    ///
    /// Derived, and no part of the state: a restored machine counts anew, and two runs of one
    /// future may count differently.
    fn counters(&self) -> Vec<(&'static str, u64)>;
}

/// The digest of all state: equal digests mean equal machines.
pub fn digest(machine: &mut dyn Machine) -> Digest {
    let mut records = Bundle::default();
    machine.save(&mut records);
    Digest::of_parts([&records.to_bytes()[..], &machine.memory().digest().0])
}
