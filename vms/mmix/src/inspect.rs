//! The machine as a debugger sees it: one thread, general and special registers.

use crate::machine::Vm;
use crate::state::{Wait, special};
use crate::world::{TEXT_END, global, local};
use omni_base::Tick;
use omni_engine::Watch;
use omni_machine::{
    Architecture, Feature, Holds, Inspect, Kick, Machine, Outside, Place, Register, Stop,
    StopPoint, ThreadId,
};
use std::sync::OnceLock;

const PROGRAM: ThreadId = ThreadId(0);

/// The number of the first special register, after the counter and the general ones.
const FIRST_SPECIAL: usize = 257;

fn architecture() -> &'static Architecture {
    static ARCHITECTURE: OnceLock<Architecture> = OnceLock::new();
    ARCHITECTURE.get_or_init(|| {
        let register = |name: String, holds| Register { name, bits: 64, holds };
        let mut registers = vec![register("pc".into(), Holds::Code)];
        registers.extend((0..256).map(|nth| register(format!("r{nth}"), Holds::Integer)));
        let specials = special::NAMES.iter().map(|name| register((*name).into(), Holds::Integer));
        registers.extend(specials);
        Architecture {
            gdb_name: None,
            big_endian: true,
            features: vec![Feature { name: "org.omnivisor.mmix.core", registers }],
            pc: 0,
        }
    })
}

/// The general register of a number of the debugger's.
fn general(number: usize) -> Option<u8> {
    u8::try_from(number.checked_sub(1)?).ok()
}

/// The special register of a number of the debugger's.
fn special_of(number: usize) -> Option<u8> {
    let nth = u8::try_from(number.checked_sub(FIRST_SPECIAL)?).ok()?;
    (nth < special::COUNT).then_some(nth)
}

impl Inspect for Vm {
    fn architecture(&self) -> &'static Architecture {
        architecture()
    }

    fn threads(&self) -> Vec<(ThreadId, String)> {
        let about = match (self.world.cpu.halted, self.world.io.wait) {
            (Some(_), _) => "has ended",
            (None, Wait::None) => "runs",
            (None, Wait::Input) => "waits for input",
            (None, Wait::Load | Wait::Save(_)) => "waits for a file",
        };
        vec![(PROGRAM, format!("program {about}"))]
    }

    fn turn(&self) -> Option<ThreadId> {
        let runs = self.world.cpu.halted.is_none() && self.world.io.wait == Wait::None;
        runs.then_some(PROGRAM)
    }

    fn register(&self, thread: ThreadId, number: usize) -> Option<u64> {
        if thread != PROGRAM {
            return None;
        }
        if number == 0 {
            return Some(self.world.cpu.pc);
        }
        if let Some(register) = general(number) {
            return Some(self.world.get(&self.regs, register));
        }
        special_of(number).map(|nth| self.regs.get(special::slot(nth)))
    }

    fn set_register(&mut self, thread: ThreadId, number: usize, value: u64) -> bool {
        if thread != PROGRAM {
            return false;
        }
        if number == 0 {
            let sound = value < TEXT_END && value.is_multiple_of(4);
            if sound {
                self.world.cpu.pc = value;
            }
            return sound;
        }
        if let Some(register) = general(number) {
            // Those that are neither local nor global hold zero.
            let marginal =
                u64::from(register) >= local(&self.regs) && register < global(&self.regs);
            if !marginal {
                self.world.put(&mut self.regs, register, value);
            }
            return !marginal;
        }
        // Those that the stack and the mode of code depend on are left alone.
        let plain = special_of(number).filter(|nth| *nth <= special::C || *nth > special::A);
        if let Some(nth) = plain {
            self.regs.set(special::slot(nth), value);
        }
        plain.is_some()
    }

    fn locate(&self, thread: ThreadId, at: u64) -> Option<Place> {
        if thread == PROGRAM { self.locate_physical(at) } else { None }
    }

    fn locate_physical(&self, at: u64) -> Option<Place> {
        self.world.find(at).map(|at| Place { space: 0, at })
    }

    fn set_stops(&mut self, stops: &[StopPoint]) {
        self.stops = stops.to_vec();
        let (mut breaks, mut watches) = (Vec::new(), Vec::new());
        for stop in stops {
            match *stop {
                StopPoint::Break(at) => breaks.push(at),
                StopPoint::Watch { at, bytes, on } => {
                    watches.push(Watch { at, bytes, load: on.loads(), store: on.stores() });
                }
            }
        }
        if !stops.is_empty() || self.has_engine() {
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
