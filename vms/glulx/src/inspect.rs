//! The machine as a debugger sees it: one thread. Addresses are those of the story; the stack is
//! shown above all of them, and so is what is done at tagged addresses of code.

use crate::lower::{Front, STACK_AT, slot};
use crate::machine::Vm;
use crate::state::Wait;
use crate::world::MEMORY;
use omni_base::{Gpa, PAGE_SIZE_U64, Tick};
use omni_engine::{Frontend, Watch};
use omni_ir::Slot;
use omni_machine::{
    Architecture, Feature, Holds, Inspect, Kick, Machine, Outside, Place, Register, Stop,
    StopPoint, ThreadId,
};
use std::sync::OnceLock;

/// The only thread.
pub(crate) const STORY: ThreadId = ThreadId(0);

impl Front {
    /// An address of code as people see it.
    pub(crate) fn shown(&self, pc: u64) -> u64 {
        pc.wrapping_sub(self.delta.into())
    }

    /// An address of data as people see it.
    pub(crate) fn shown_data(&self, at: u64) -> u64 {
        if at >= STACK_AT { at } else { at.wrapping_sub(self.delta.into()) }
    }

    fn data(&self, at: u64) -> u64 {
        if at >= STACK_AT { at } else { at.wrapping_add(self.delta.into()) }
    }
}

fn architecture() -> &'static Architecture {
    static ARCHITECTURE: OnceLock<Architecture> = OnceLock::new();
    ARCHITECTURE.get_or_init(|| {
        let register = |name: &str, holds| Register { name: name.to_owned(), bits: 64, holds };
        let front = Front { delta: 0, ramstart: 0, accelerated: Default::default() };
        let slots = front.registers().iter().map(|row| {
            let data = row.slot.0 < slot::ARGS;
            register(row.name, if data { Holds::Data } else { Holds::Integer })
        });
        let registers = [register("pc", Holds::Code)].into_iter().chain(slots).collect();
        Architecture {
            gdb_name: None,
            big_endian: true,
            features: vec![Feature { name: "org.omnivisor.glulx.core", registers }],
            pc: 0,
        }
    })
}

impl Vm {
    /// The slot that a register is.
    fn slot_of(&self, thread: ThreadId, number: usize) -> Option<Slot> {
        if thread != STORY {
            return None;
        }
        self.world.front.registers().get(number.checked_sub(1)?).map(|row| row.slot)
    }
}

impl Inspect for Vm {
    fn architecture(&self) -> &'static Architecture {
        architecture()
    }

    fn threads(&self) -> Vec<(ThreadId, String)> {
        let about = match (self.world.cpu.halted, self.world.glk.wait) {
            (Some(_), _) => "has ended",
            (None, Wait::None) => "runs",
            (None, Wait::Event | Wait::Name) => "waits for input",
            (None, Wait::Open | Wait::Exists | Wait::Written) => "waits for a file",
        };
        vec![(STORY, format!("story {about}"))]
    }

    fn turn(&self) -> Option<ThreadId> {
        let world = &self.world;
        let runs = world.glk.wait == Wait::None || world.is_ready(world.cpu.tick);
        (world.cpu.halted.is_none() && runs).then_some(STORY)
    }

    fn register(&self, thread: ThreadId, number: usize) -> Option<u64> {
        if number == 0 && thread == STORY {
            return Some(self.world.front.shown(self.world.cpu.pc));
        }
        self.slot_of(thread, number).map(|slot| self.regs.get(slot))
    }

    fn set_register(&mut self, thread: ThreadId, number: usize, value: u64) -> bool {
        if number == 0 && thread == STORY {
            let inside = value < self.world.cpu.endmem.into();
            if inside {
                self.world.cpu.pc = value + u64::from(self.world.front.delta);
            }
            return inside;
        }
        let Some(slot) = self.slot_of(thread, number) else { return false };
        // Those that point to the stack do, and values have 32 bits.
        let stack = STACK_AT..=STACK_AT + u64::from(self.world.layout.stack_bytes);
        let sound =
            if slot.0 < slot::ARGS { stack.contains(&value) } else { u32::try_from(value).is_ok() };
        if sound {
            self.regs.set(slot, value);
        }
        sound
    }

    fn locate(&self, thread: ThreadId, at: u64) -> Option<Place> {
        if thread == STORY { self.locate_physical(at) } else { None }
    }

    fn locate_physical(&self, at: u64) -> Option<Place> {
        let world = &self.world;
        if at < world.cpu.endmem.into() {
            let at = Gpa(at + u64::from(world.layout.delta));
            return Some(Place { space: MEMORY, at });
        }
        let at = at.checked_sub(STACK_AT)?;
        let first = world.layout.stack_page() * PAGE_SIZE_U64;
        let inside = at < world.layout.stack_bytes.into();
        inside.then_some(Place { space: MEMORY, at: Gpa(first + at) })
    }

    fn set_stops(&mut self, stops: &[StopPoint]) {
        self.stops = stops.to_vec();
        let front = self.world.front.clone();
        let (mut breaks, mut watches) = (Vec::new(), Vec::new());
        for stop in stops {
            match *stop {
                StopPoint::Break(at) if at < 1 << 48 => {
                    breaks.push(at.wrapping_add(front.delta.into()));
                }
                StopPoint::Break(_) => {}
                StopPoint::Watch { at, bytes, on } => {
                    let (load, store) = (on.loads(), on.stores());
                    watches.push(Watch { at: front.data(at), bytes, load, store });
                }
            }
        }
        if !stops.is_empty() || self.blocks.is_some() {
            self.engine().set_stops(&breaks, &watches);
        }
    }

    fn step(&mut self, outside: &mut dyn Outside) -> Stop {
        self.engine().ignore_stops(true);
        let until = Tick(self.world.cpu.tick + 1);
        let stop = self.run(until, &Kick::default(), outside);
        self.engine().ignore_stops(false);
        stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::story_machine;

    #[test]
    fn registers_are_the_counter_and_the_slots() {
        let mut vm = story_machine();
        let count = architecture().registers().count();
        assert!((0..count).all(|number| vm.register(STORY, number).is_some()));
        assert_eq!(vm.register(STORY, count), None);
        assert_eq!(vm.register(STORY, usize::MAX), None);
        assert_eq!(vm.register(ThreadId(1), 0), None);
        assert!(vm.set_register(STORY, 5, 7) && vm.register(STORY, 5) == Some(7));
        assert!(!vm.set_register(STORY, 0, u64::MAX) && !vm.set_register(STORY, 1, 0));
        assert!(vm.locate(STORY, u64::MAX).is_none() && vm.locate(STORY, STACK_AT).is_some());
        assert!(vm.locate(STORY, STACK_AT - 1).is_none() && vm.locate(STORY, 0).is_some());
    }
}
