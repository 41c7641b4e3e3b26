//! The only door to `Machine::run`: holds every machine to its contract, on every call.

use omni_base::Tick;
use omni_machine::{Effect, Kick, Machine, Outside, Stop};

/// Runs to `until`, and holds the machine to its word.
///
/// Whoever runs a machine runs it through here, in release builds too: a machine that runs past
/// its mark breaks replay long after the fact, so it is stopped at the first lie.
///
/// # Panics
/// Where the machine runs past `until` though it has exact ticks, stops short of it though it
/// was neither kicked nor halted, goes back in time, or dates an effect outside the run.
pub fn run_to(
    machine: &mut dyn Machine,
    until: Tick,
    kick: &Kick,
    outside: &mut dyn Outside,
) -> Stop {
    let exact = machine.caps().exact_ticks;
    let start = machine.tick();
    assert!(start <= until, "asked to run to {until:?}, which is before {start:?}");
    let mut dated = Dated { last: start, outside };
    let stop = machine.run(until, kick, &mut dated);
    let (end, last) = (machine.tick(), dated.last);
    assert!(start <= end, "the machine went back from {start:?} to {end:?}");
    assert!(end <= until || !exact, "the machine ran to {end:?}, past {until:?}");
    assert!(last <= end, "an effect is dated {last:?}, after the machine's present, {end:?}");
    let may_be_short = matches!(stop, Stop::Halted { .. } | Stop::Kicked | Stop::Hit(_));
    assert!(end >= until || may_be_short, "{stop:?} at {end:?}, short of {until:?}");
    stop
}

/// Looks at the dates of effects on their way out.
struct Dated<'a> {
    last: Tick,
    outside: &'a mut dyn Outside,
}

impl Outside for Dated<'_> {
    fn emit(&mut self, tick: Tick, effect: Effect) {
        assert!(self.last <= tick, "an effect of {tick:?} after one of {:?}", self.last);
        self.last = tick;
        self.outside.emit(tick, effect);
    }
}
