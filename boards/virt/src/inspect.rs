//! The machine as a debugger sees it: a thread for each hart.

use crate::layout::RAM_BASE;
use crate::machine::Virt;
use crate::sbi::HartStatus;
use crate::watched::Part;
use omni_base::{Gpa, PAGE_SIZE_U64, Tick};
use omni_engine::{Caught, Watch};
use omni_guest_riscv::{Hart, Surroundings, architecture};
use omni_machine::{
    Architecture, Hit, Inspect, Kick, Machine, Outside, Place, Stop, StopPoint, ThreadId,
};

/// The place of RAM among the spaces.
const RAM: usize = 0;

impl Virt {
    /// What an engine stopped at.
    pub(crate) fn hit(&self, hart: usize, caught: Caught) -> Hit {
        let thread = ThreadId(u32::try_from(hart).expect("few harts"));
        let (point, at) = match caught {
            Caught::Break(at) => (StopPoint::Break(at), at),
            Caught::Watch(nth, at) => {
                let mut watches = self.stops.iter().filter(|stop| watch(stop).is_some());
                (*watches.nth(nth).expect("the engine has what it was given"), at)
            }
        };
        Hit { thread, point, at, after: false }
    }

    /// What a device has written of what is watched.
    pub(crate) fn device_hit(&mut self) -> Option<Hit> {
        let (stop, at) = self.wires.watched.take()?;
        let thread = Inspect::turn(self).unwrap_or(ThreadId(0));
        Some(Hit { thread, point: *self.stops.get(stop)?, at, after: true })
    }

    /// The parts of RAM at which a stop point watches stores, as the harts map it now.
    fn watched_parts(&self, stop: usize, point: &StopPoint) -> Vec<Part> {
        let StopPoint::Watch { at, bytes, on } = *point else { return Vec::new() };
        let mut parts = Vec::new();
        let mut done = 0;
        while done < bytes && on.stores() {
            let here = at.wrapping_add(done);
            let rest = PAGE_SIZE_U64 - here % PAGE_SIZE_U64;
            let count = rest.min(bytes - done);
            let harts = (0..).zip(&self.harts).map(|(id, _)| ThreadId(id));
            // A hart that does not map it may be at a program of its own.
            let place = harts.filter_map(|thread| self.locate(thread, here)).next();
            if let Some(place) = place {
                let seen = vec![0; usize::try_from(count).expect("within a page")];
                parts.push(Part { stop, at: here, place: place.at, seen });
            }
            done += count;
        }
        parts
    }

    fn hart(&self, ThreadId(thread): ThreadId) -> Option<(usize, &Hart)> {
        let at = usize::try_from(thread).ok()?;
        Some((at, self.harts.get(at)?))
    }

    fn surroundings(&self, hart: usize) -> Surroundings {
        Surroundings { lines: self.wires.levels[hart], mtime: self.wires.mtime_now() }
    }

    fn is_ram(&self, at: Gpa) -> Option<Place> {
        let offset = at.0.checked_sub(RAM_BASE.0)?;
        let inside = offset < self.wires.memory.spaces[RAM].size();
        inside.then_some(Place { space: RAM, at: Gpa(offset) })
    }

    fn read_word(&self, at: u64) -> Option<u64> {
        let place = self.is_ram(Gpa(at))?;
        self.wires.memory.spaces[RAM].load(place.at).ok().map(u64::from_le_bytes)
    }
}

/// The data to stop at, of a stop point that is such.
fn watch(stop: &StopPoint) -> Option<Watch> {
    match *stop {
        StopPoint::Break(_) => None,
        StopPoint::Watch { at, bytes, on } => {
            Some(Watch { at, bytes, load: on.loads(), store: on.stores() })
        }
    }
}

impl Inspect for Virt {
    fn architecture(&self) -> &'static Architecture {
        architecture()
    }

    fn threads(&self) -> Vec<(ThreadId, String)> {
        let about = |at: usize| match self.wires.state.status[at] {
            HartStatus::Started if self.harts[at].control.waiting => "waits for an interrupt",
            HartStatus::Started => "runs",
            HartStatus::Stopped | HartStatus::Suspended => "is stopped",
        };
        let thread = |(id, at): (u32, usize)| (ThreadId(id), format!("hart {at} {}", about(at)));
        (0..).zip(0..self.harts.len()).map(thread).collect()
    }

    fn turn(&self) -> Option<ThreadId> {
        self.next_turn().map(|at| ThreadId(u32::try_from(at).expect("few harts")))
    }

    fn register(&self, thread: ThreadId, number: usize) -> Option<u64> {
        let (at, hart) = self.hart(thread)?;
        hart.inspect_register(number, self.surroundings(at))
    }

    fn set_register(&mut self, thread: ThreadId, number: usize, value: u64) -> bool {
        let Some((at, _)) = self.hart(thread) else { return false };
        self.harts[at].set_inspected(number, value)
    }

    fn locate(&self, thread: ThreadId, at: u64) -> Option<Place> {
        let (_, hart) = self.hart(thread)?;
        self.is_ram(hart.physical(at, |at| self.read_word(at))?)
    }

    fn locate_physical(&self, at: u64) -> Option<Place> {
        self.is_ram(Gpa(at))
    }

    fn set_stops(&mut self, stops: &[StopPoint]) {
        self.stops = stops.to_vec();
        let breaks = stops.iter().filter_map(|stop| match *stop {
            StopPoint::Break(at) => Some(at),
            StopPoint::Watch { .. } => None,
        });
        let (breaks, watches) =
            (breaks.collect::<Vec<_>>(), stops.iter().filter_map(watch).collect::<Vec<_>>());
        if !stops.is_empty() {
            self.engines.for_hart(0, self.harts.len());
        }
        for engine in self.engines.all_mut() {
            engine.set_stops(&breaks, &watches);
        }
        let parts = stops.iter().enumerate().flat_map(|(nth, stop)| self.watched_parts(nth, stop));
        self.wires.watched.set(parts.collect());
    }

    fn step(&mut self, outside: &mut dyn Outside) -> Stop {
        let ignore = |machine: &mut Self, ignored| {
            machine.engines.all_mut().iter_mut().for_each(|engine| engine.ignore_stops(ignored));
            machine.wires.watched.ignore(ignored);
        };
        ignore(self, true);
        let until = Tick(self.wires.state.tick + 1);
        let stop = self.run(until, &Kick::default(), outside);
        ignore(self, false);
        stop
    }
}
