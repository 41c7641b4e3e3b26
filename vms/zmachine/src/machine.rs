//! The machine: the contract, and the loop of instructions.

use crate::fault::Fault;
use crate::inspect::Stops;
use crate::memory::MEMORY;
use crate::ops::{Args, Table};
use crate::state::{Cpu, Input, Screen, Wait};
use crate::story::Story;
use omni_base::{Gpa, Tick};
use omni_machine::{
    Caches, Caps, Control, Effect, Event, Inspect, IoId, IoRequest, Kick, Machine, Outside, PortId,
    Schedule, Spec, Stop,
};
use omni_memory::Memory;
use omni_state::Bundle;

/// The port of the console.
pub(crate) const CONSOLE: PortId = PortId(0);

/// The port of save files.
pub(crate) const FILES: PortId = PortId(1);

/// What every machine of the kind can do.
pub(crate) const CAPS: Caps =
    Caps { exact_ticks: true, deterministic: true, self_contained: true, parallel: false };

/// Bytes of input that wait; more are dropped.
pub(crate) const TYPED_MAX: usize = 1 << 20;

/// Ticks between two looks at the kick, a power of two.
const KICK_TICKS: u64 = 256;

/// Bytes of code read at once: most instructions.
pub(crate) const CODE_BYTES: usize = 16;

/// How output meets the console.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// A screen is kept and its changed rows are shown before each input, as `dfrotz` does.
    Dumb,
    /// The lower window is written as it comes; the rest is not shown.
    Stream,
}

/// One machine. Between two ticks `out`, `request` and `code` are empty, so all state is in
/// `memory` and the records.
pub(crate) struct Vm {
    pub(crate) spec: Spec,
    pub(crate) mode: Mode,
    pub(crate) echo: bool,
    pub(crate) undo_levels: u32,
    pub(crate) memory: Memory,
    pub(crate) cpu: Cpu,
    pub(crate) input: Input,
    pub(crate) screen: Screen,
    /// Output of the present instruction.
    pub(crate) out: Vec<u8>,
    /// A request of the present instruction.
    pub(crate) request: Option<IoRequest>,
    /// The first bytes of the present instruction, and where they are from; none between ticks.
    pub(crate) code: [u8; CODE_BYTES],
    pub(crate) code_at: u32,
    pub(crate) code_bytes: u32,
    // Derived from here on: functions of the spec.
    pub(crate) story: Story,
    pub(crate) table: Table,
    /// What a debugger has it stop at.
    pub(crate) stops: Stops,
}

impl Vm {
    /// Runs one instruction, or one step of waiting, and lets its output go.
    fn tick(&mut self, outside: &mut dyn Outside, work: fn(&mut Self) -> Result<(), Fault>) {
        let pc = self.cpu.pc;
        if let Err(fault) = work(self) {
            self.halt_with(&fault, pc);
        }
        self.emit(outside);
        self.cpu.tick += 1;
    }

    fn emit(&mut self, outside: &mut dyn Outside) {
        let tick = Tick(self.cpu.tick);
        if !self.out.is_empty() {
            let bytes = std::mem::take(&mut self.out);
            outside.emit(tick, Effect::Output { port: CONSOLE, bytes });
        }
        if let Some(request) = self.request.take() {
            outside.emit(tick, Effect::Io(request));
        }
    }

    /// Ends the story with a message, as a fault of the guest and not of ours.
    fn halt_with(&mut self, fault: &Fault, pc: u32) {
        self.close_screen();
        let message = format!("[The story did what it may not, at {pc:#x}: {fault}.]");
        if self.screen.cursors[0].1 != 0 {
            self.end_line();
        }
        self.out.extend_from_slice(message.as_bytes());
        self.end_line();
        self.cpu.halted = Some(1);
        self.input.wait = Wait::None;
    }

    /// Ends the story as its player or the story itself wants.
    pub(crate) fn quit(&mut self) {
        self.close_screen();
        self.cpu.halted = Some(0);
        self.forget_wait();
    }

    /// Starts the story anew; undo, input and the generator stay.
    pub(crate) fn restart(&mut self) -> Result<(), Fault> {
        self.flush_word();
        let bytes = self.story.bytes.clone();
        let size = usize::try_from(self.story.dynamic_bytes).expect("below 64 KiB");
        self.set_dynamic(&bytes[..size])?;
        let cpu = &mut self.cpu;
        (cpu.pc, cpu.fp, cpu.sp, cpu.depth) = (0, 0, 0, 0);
        (cpu.locals, cpu.args, cpu.interval) = (0, 0, 0);
        self.forget_wait();
        self.restart_screen();
        self.push_frame(0, 0, 0)?;
        self.cpu.depth = 0;
        self.cpu.pc = self.story.initial_pc;
        Ok(())
    }

    /// Lets the time pass that a waiting machine has; says when it is to stop and why.
    fn wait(&mut self, until: Tick, outside: &mut dyn Outside) -> Option<Stop> {
        let input = self.input.wait.for_input() && self.has_key();
        let timed = self.input.routine != 0 && self.input.wait.for_input();
        let wake = if timed { self.input.wake } else { u64::MAX };
        if input || wake <= self.cpu.tick {
            if self.cpu.tick >= until.0 {
                return Some(Stop::Reached);
            }
            self.tick(outside, if input { Self::feed } else { Self::call_timed });
            return None;
        }
        self.cpu.tick = self.cpu.tick.max(until.0.min(wake));
        if self.cpu.tick < until.0 {
            return None;
        }
        if wake <= self.cpu.tick {
            return Some(Stop::Reached);
        }
        Some(Stop::Idle { wake: timed.then_some(Tick(wake)) })
    }

    fn step(&mut self) -> Result<(), Fault> {
        self.code_at = self.cpu.pc;
        self.code_bytes = self.read_code();
        let done = self.decode().and_then(|(row, args)| (row.run)(self, &args));
        self.code_bytes = 0;
        done
    }

    /// Reads the code at the counter in one go, and gives how much there is.
    fn read_code(&mut self) -> u32 {
        let left = self.story.len().saturating_sub(self.cpu.pc);
        let bytes = left.min(CODE_BYTES as u32);
        let space = &self.memory.spaces[MEMORY];
        let read = space.read(Gpa(self.cpu.pc.into()), &mut self.code[..bytes as usize]);
        if read.is_ok() { bytes } else { 0 }
    }

    /// The next byte of code.
    #[inline]
    pub(crate) fn fetch(&mut self) -> Result<u8, Fault> {
        let index = self.cpu.pc.wrapping_sub(self.code_at);
        let byte = if index < self.code_bytes {
            self.code[index as usize]
        } else {
            self.byte(self.cpu.pc)?
        };
        self.cpu.pc += 1;
        Ok(byte)
    }

    /// The next word of code.
    pub(crate) fn fetch_word(&mut self) -> Result<u16, Fault> {
        Ok(u16::from_be_bytes([self.fetch()?, self.fetch()?]))
    }

    /// Puts the value of an instruction where its store byte says.
    pub(crate) fn store_result(&mut self, value: u16) -> Result<(), Fault> {
        let variable = self.fetch()?;
        self.set_variable(variable, value)
    }

    /// Takes the branch that follows, or not (the Standard, section 4.7).
    pub(crate) fn branch(&mut self, condition: bool) -> Result<(), Fault> {
        let first = self.fetch()?;
        let mut offset = i32::from(first & 0x3f);
        if first & 0x40 == 0 {
            let second = self.fetch()?;
            offset = offset << 8 | i32::from(second);
            // Fourteen bits with a sign.
            offset = if offset >= 0x2000 { offset - 0x4000 } else { offset };
        }
        if condition != (first & 0x80 != 0) {
            return Ok(());
        }
        match offset {
            0 | 1 => self.ret(offset.unsigned_abs().to_le_bytes()[0].into()),
            _ => self.jump(offset),
        }
    }

    /// Goes to an offset from the next instruction.
    pub(crate) fn jump(&mut self, offset: i32) -> Result<(), Fault> {
        let to = self.cpu.pc.cast_signed() + offset - 2;
        self.cpu.pc = u32::try_from(to).map_err(|_| Fault::Address(0))?;
        Ok(())
    }

    /// Packs the operands of a call.
    pub(crate) fn call_with(&mut self, args: &Args, store: bool) -> Result<(), Fault> {
        let target = args.get(0)?;
        let store = if store { self.fetch()?.into() } else { crate::stack::STORE_NOWHERE };
        self.call(target, args.rest(), store)
    }
}

impl Machine for Vm {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn caps(&self) -> Caps {
        CAPS
    }

    fn set_schedule(&mut self, schedule: Schedule) -> bool {
        schedule == Schedule::Turns
    }

    fn tick(&self) -> Tick {
        Tick(self.cpu.tick)
    }

    fn run(&mut self, until: Tick, kick: &Kick, outside: &mut dyn Outside) -> Stop {
        let mut first = true;
        // Events touch memory too, but no instruction does then.
        let _ = self.stops.take();
        loop {
            if let Some(hit) = self.stops.take() {
                return Stop::Hit(hit);
            }
            if let Some(code) = self.cpu.halted {
                return Stop::Halted { code };
            }
            if self.input.wait != Wait::None && self.cpu.interrupt == 0 {
                match self.wait(until, outside) {
                    Some(stop) => return stop,
                    None => continue,
                }
            }
            if self.cpu.tick >= until.0 {
                return Stop::Reached;
            }
            if (first || self.cpu.tick.is_multiple_of(KICK_TICKS)) && kick.taken() {
                return Stop::Kicked;
            }
            first = false;
            if let Some(hit) = self.stops.break_at(self.cpu.pc) {
                return Stop::Hit(hit);
            }
            self.tick(outside, Self::step);
        }
    }

    fn apply(&mut self, event: &Event, outside: &mut dyn Outside) {
        let pc = self.cpu.pc;
        let done = match event {
            Event::Input { port, bytes } => {
                if *port == CONSOLE {
                    let room = TYPED_MAX - self.input.typed.len();
                    self.input.typed.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                Ok(())
            }
            Event::IoDone { id, result } => self.io_done(*id, result),
            Event::Generation { entropy } => {
                for part in entropy.chunks_exact(8) {
                    let part = u64::from_le_bytes(part.try_into().expect("chunks of eight"));
                    self.cpu.random = self.cpu.random.rotate_left(13) ^ part;
                }
                Ok(())
            }
            Event::Control(Control::Reset) => {
                self.cpu.halted = None;
                self.restart()
            }
            Event::Control(Control::PowerButton) => {
                if self.cpu.halted.is_none() {
                    self.quit();
                }
                Ok(())
            }
            Event::Control(Control::Resize { port, columns, .. }) => {
                if *port == CONSOLE {
                    self.resize(*columns)
                } else {
                    Ok(())
                }
            }
            Event::Control(Control::Balloon { .. }) => Ok(()),
        };
        if let Err(fault) = done {
            self.halt_with(&fault, pc);
        }
        self.emit(outside);
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }

    fn save(&self, into: &mut Bundle) {
        into.put("cpu", &self.cpu);
        into.put("input", &self.input);
        into.put("screen", &self.screen);
    }

    fn pending(&self) -> Vec<Effect> {
        let op = match self.input.wait {
            Wait::Save | Wait::Load => self.file_request(),
            Wait::None | Wait::Line | Wait::Key | Wait::SaveName | Wait::LoadName => {
                return Vec::new();
            }
        };
        vec![Effect::Io(IoRequest { id: IoId(self.input.io), port: FILES, op })]
    }

    fn exchange_caches(&mut self, _: Option<Caches>) -> Option<Caches> {
        None
    }

    fn drop_caches(&mut self, _seed: u64) {
        // Only the decoded header and the table of opcodes are derived, from the spec alone.
        self.table = Table::of(self.story.version);
    }

    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        Some(self)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        // A tick is an instruction, and nothing else is worth counting.
        vec![("instructions", self.cpu.tick), ("typed_bytes", self.input.typed.len() as u64)]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::machine::Vm;
    use omni_machine::Spec;

    /// A machine at tick zero with the story of this crate.
    pub(crate) fn story_machine() -> Vm {
        let mut spec = Spec::new("zmachine");
        spec.files.insert("image".into(), crate::sample_story().into());
        crate::kind::build(&spec).expect("the story is sound")
    }
}
