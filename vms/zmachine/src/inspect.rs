//! The machine as a debugger sees it: one thread, whose registers are counters and variables.
//!
//! Addresses are those of the story; the stack is shown above all of them.

use crate::machine::Vm;
use crate::memory::{MEMORY, STACK};
use omni_base::{Gpa, Tick};
use omni_machine::{
    Architecture, Feature, Hit, Holds, Inspect, Kick, Machine, Outside, Place, Register, Stop,
    StopPoint, ThreadId, WatchOn,
};
use std::cell::Cell;
use std::sync::OnceLock;

/// Where the stack is shown: beyond any story.
const STACK_AT: u64 = 0x100_0000;

/// The only thread.
const STORY: ThreadId = ThreadId(0);

/// The first register of each sort.
const SP: usize = 1;
const FP: usize = 2;
const DEPTH: usize = 3;
const LOCALS: usize = 4;
const GLOBALS: usize = LOCALS + 15;
const COUNT: usize = GLOBALS + 240;

/// What to stop at; none of it is state.
#[derive(Default)]
pub(crate) struct Stops {
    points: Vec<StopPoint>,
    ignored: bool,
    /// What the present instruction has touched first: it is finished before the machine stops.
    touched: Cell<Option<Hit>>,
}

impl Stops {
    /// Notes an access of an instruction.
    #[inline]
    pub(crate) fn touch(&self, at: u32, bytes: usize, on: WatchOn) {
        if !self.points.is_empty() && !self.ignored {
            self.look(at.into(), bytes as u64, on);
        }
    }

    #[cold]
    fn look(&self, at: u64, bytes: u64, access: WatchOn) {
        let touches = |point: &&StopPoint| match **point {
            StopPoint::Watch { at: first, bytes: count, on } => {
                let near = at < first.saturating_add(count) && first < at + bytes;
                near && (on == WatchOn::Any || on == access)
            }
            StopPoint::Break(_) => false,
        };
        let Some(&point) = self.points.iter().find(touches) else { return };
        let StopPoint::Watch { at: first, .. } = point else { return };
        if self.touched.get().is_none() {
            let at = at.max(first);
            self.touched.set(Some(Hit { thread: STORY, point, at, after: true }));
        }
    }

    /// What was touched.
    pub(crate) fn take(&self) -> Option<Hit> {
        self.touched.take()
    }

    /// The stop point of the instruction at `pc`.
    #[inline]
    pub(crate) fn break_at(&self, pc: u32) -> Option<Hit> {
        if self.points.is_empty() || self.ignored {
            return None;
        }
        let (at, point) = (pc.into(), StopPoint::Break(pc.into()));
        self.points.contains(&point).then_some(Hit { thread: STORY, point, at, after: false })
    }
}

fn architecture() -> &'static Architecture {
    static ARCHITECTURE: OnceLock<Architecture> = OnceLock::new();
    ARCHITECTURE.get_or_init(|| {
        let register = |name: &str, bits, holds| Register { name: name.to_owned(), bits, holds };
        let counters = [("pc", Holds::Code), ("sp", Holds::Data), ("fp", Holds::Data)];
        let counters = counters.map(|(name, holds)| register(name, 32, holds)).into_iter();
        let counters = counters.chain([register("depth", 32, Holds::Integer)]);
        // As assemblers of stories call them.
        let locals = (0..15).map(|at| register(&format!("local{at}"), 16, Holds::Integer));
        let globals = (0..240).map(|at| register(&format!("g{at}"), 16, Holds::Integer));
        Architecture {
            gdb_name: None,
            big_endian: true,
            features: vec![
                Feature { name: "org.omnivisor.zmachine.core", registers: counters.collect() },
                Feature { name: "org.omnivisor.zmachine.locals", registers: locals.collect() },
                Feature { name: "org.omnivisor.zmachine.globals", registers: globals.collect() },
            ],
            pc: 0,
        }
    })
}

impl Vm {
    /// The variable that a register is, by the number that instructions have for it.
    fn variable_of(number: usize) -> Option<u8> {
        // Numbers 1 to 15 are locals, and those from 16 on are globals.
        (LOCALS..COUNT).contains(&number).then(|| u8::try_from(number - LOCALS + 1).ok())?
    }
}

impl Inspect for Vm {
    fn architecture(&self) -> &'static Architecture {
        architecture()
    }

    fn threads(&self) -> Vec<(ThreadId, String)> {
        let about = match (self.cpu.halted, self.input.wait.for_input()) {
            (Some(_), _) => "has ended",
            (None, true) => "waits for input",
            (None, false) => "runs",
        };
        vec![(STORY, format!("story {about}"))]
    }

    fn turn(&self) -> Option<ThreadId> {
        let waits = self.input.wait.for_input() && !self.has_key();
        (self.cpu.halted.is_none() && !waits).then_some(STORY)
    }

    fn register(&self, thread: ThreadId, number: usize) -> Option<u64> {
        if thread != STORY {
            return None;
        }
        Some(match number {
            0 => self.cpu.pc.into(),
            SP => STACK_AT + 2 * u64::from(self.cpu.sp),
            FP => STACK_AT + 2 * u64::from(self.cpu.fp),
            DEPTH => self.cpu.depth.into(),
            _ => match Self::variable_of(number)? {
                local @ 0..=15 => match self.local_at(local) {
                    Ok(at) => self.stack_word(at).ok()?.into(),
                    Err(_) => 0,
                },
                global => self.peek_word(self.global_at(global))?.into(),
            },
        })
    }

    fn set_register(&mut self, thread: ThreadId, number: usize, value: u64) -> bool {
        if thread != STORY {
            return false;
        }
        if number == 0 {
            let inside = u32::try_from(value).ok().filter(|pc| *pc < self.story.len());
            self.cpu.pc = inside.unwrap_or(self.cpu.pc);
            return inside.is_some();
        }
        let Some(variable) = Self::variable_of(number) else { return false };
        let word = (value & 0xffff) as u16;
        self.stops.ignored = true;
        let set = self.set_variable(variable, word).is_ok();
        self.stops.ignored = false;
        set
    }

    fn locate(&self, thread: ThreadId, at: u64) -> Option<Place> {
        if thread == STORY { self.locate_physical(at) } else { None }
    }

    fn locate_physical(&self, at: u64) -> Option<Place> {
        if at < self.story.len().into() {
            return Some(Place { space: MEMORY, at: Gpa(at) });
        }
        let at = at.checked_sub(STACK_AT)?;
        let inside = at < self.memory.spaces[STACK].size();
        inside.then_some(Place { space: STACK, at: Gpa(at) })
    }

    fn set_stops(&mut self, stops: &[StopPoint]) {
        self.stops.points = stops.to_vec();
    }

    fn step(&mut self, outside: &mut dyn Outside) -> Stop {
        self.stops.ignored = true;
        let stop = self.run(Tick(self.cpu.tick + 1), &Kick::default(), outside);
        self.stops.ignored = false;
        stop
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::story_machine;

    #[test]
    fn registers_are_the_counter_and_the_variables() {
        let mut vm = story_machine();
        let count = architecture().registers().count();
        assert_eq!(count, COUNT);
        assert!((0..count).all(|number| vm.register(STORY, number).is_some()));
        assert_eq!(vm.register(STORY, count), None);
        assert_eq!(vm.register(STORY, usize::MAX), None);
        assert_eq!(vm.register(ThreadId(1), 0), None);
        assert_eq!(vm.register(STORY, 0), Some(vm.story.initial_pc.into()));
        assert!(vm.set_register(STORY, GLOBALS + 7, 0x1_2345));
        assert_eq!(vm.register(STORY, GLOBALS + 7), Some(0x2345));
        assert_eq!(vm.variable(16 + 7), Ok(0x2345));
        assert!(!vm.set_register(STORY, 0, u64::MAX));
        assert!(vm.locate(STORY, u64::MAX).is_none() && vm.locate(STORY, STACK_AT - 1).is_none());
    }
}
