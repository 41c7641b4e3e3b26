//! A machine in someone's hands: a debugger lets it live, step and stand still.

use omni_base::Tick;
use omni_machine::{Event, Hit, Machine};

/// What became of a machine that was let live for a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lived {
    /// It lives on.
    On,
    /// It is at a stop point.
    Hit(Hit),
    /// It has ended by itself, and can still be looked at.
    Halted,
    /// It was ended: whoever has it must let go of it.
    Gone,
}

/// A runner whose machine is in someone's hands. In between nothing runs.
pub trait Held {
    /// The machine, at rest.
    fn machine(&mut self) -> &mut dyn Machine;

    /// The events that were let in since this was last asked, with their ticks.
    fn heard(&mut self) -> Vec<(Tick, Event)>;

    /// One slice of life in the host's time, or a short sleep.
    fn live(&mut self) -> Lived;

    /// One tick, past any stop point.
    fn step(&mut self) -> Lived;

    /// A short sleep of a machine that is idle, and no more than a tick where it wakes.
    fn sleep(&mut self) -> Lived;

    /// Takes what waits, while the machine stands still.
    fn hold(&mut self) -> Lived;
}
