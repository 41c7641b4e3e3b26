//! Memory, registers and helpers as the engine's code and the interpreter see them.

use crate::alu::{self, Operands};
use crate::fault::Fault;
use crate::float;
use crate::state::{Cpu, HIGH, Io, LOW, slot, special};
use omni_base::{Gpa, PAGE_SIZE_U64, PageNo};
use omni_engine::{Access, At, Env, Mapping, Regs, Reply, Target};
use omni_ir::{Helper, Size, Trap};
use omni_machine::Effect;
use omni_memory::{Memory, Space};
use std::collections::HashMap;

/// Addresses from here on are not for programs.
pub(crate) const PRIVILEGED: u64 = 1 << 63;

/// Instructions are below this.
pub(crate) const TEXT_END: u64 = 1 << 61;

/// The trap by which code gives an instruction to the interpreter.
pub(crate) const EXECUTE: Trap = Trap { cause: 0, value: 0 };

/// Functions that code calls; those below 256 are opcodes of `alu`.
pub(crate) mod helper {
    use omni_ir::Helper;

    /// Pushes registers: the register that is the hole.
    pub(crate) const PUSH: Helper = Helper(0x100);
    /// Pops registers: how many stay.
    pub(crate) const POP: Helper = Helper(0x101);
    /// What `LDSF` makes of 32 bits.
    pub(crate) const LOAD_SHORT: Helper = Helper(0x102);
}

/// A machine but for its slots.
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) cpu: Cpu,
    pub(crate) io: Io,
    /// Effects of the present instruction; none between ticks.
    pub(crate) effects: Vec<Effect>,
    // Derived from here on.
    /// Whether lines end in CR LF, as a terminal in raw mode asks for.
    pub(crate) echo: bool,
    /// Where each page of the address space is, by `cpu.pages`.
    map: HashMap<u64, u64>,
}

impl World {
    pub(crate) fn new(memory: Memory, cpu: Cpu, io: Io, echo: bool) -> Self {
        let pages = cpu.pages.iter().zip(0..);
        let map = pages.map(|(page, frame)| (*page, frame)).collect();
        Self { memory, cpu, io, effects: Vec::new(), echo, map }
    }

    /// Has all memory be zero and no page in use.
    pub(crate) fn clear_memory(&mut self) {
        let count = self.cpu.pages.len() as u64;
        self.memory.spaces[0].clear((0..count).map(PageNo));
        self.cpu.pages.clear();
        self.map.clear();
    }

    /// Whether no page is there twice.
    pub(crate) fn has_sound_pages(&self) -> bool {
        let fits = self.cpu.pages.len() as u64 <= self.memory.spaces[0].page_count();
        fits && self.map.len() == self.cpu.pages.len()
    }

    /// What a general register holds; those that are neither local nor global hold zero.
    pub(crate) fn get(&self, regs: &Regs, register: u8) -> u64 {
        match slot(register) {
            Some(slot) => regs.get(slot),
            None => self.cpu.middle[usize::from(register - LOW)],
        }
    }

    /// Sets a general register, whatever rL is.
    pub(crate) fn put(&mut self, regs: &mut Regs, register: u8, value: u64) {
        match slot(register) {
            Some(slot) => regs.set(slot, value),
            None => self.cpu.middle[usize::from(register - LOW)] = value,
        }
    }

    /// Makes a register that is to be written a local one, where it is not global.
    pub(crate) fn grow(&self, regs: &mut Regs, register: u8) {
        let (local, global) = (regs.get(special::slot(special::L)), global(regs));
        if register < global {
            regs.set(special::slot(special::L), local.max(u64::from(register) + 1));
        }
    }

    /// Where the page of an address is, if it is in use.
    pub(crate) fn find(&self, at: u64) -> Option<Gpa> {
        let frame = self.map.get(&(at / PAGE_SIZE_U64))?;
        Some(Gpa(frame * PAGE_SIZE_U64 + at % PAGE_SIZE_U64))
    }

    /// Where an address is; from now on its page is in use.
    pub(crate) fn locate(&mut self, at: u64) -> Result<Gpa, Fault> {
        if let Some(found) = self.find(at) {
            return Ok(found);
        }
        let frame = self.cpu.pages.len() as u64;
        if frame >= self.memory.spaces[0].page_count() {
            return Err(Fault::Full);
        }
        self.cpu.pages.push(at / PAGE_SIZE_U64);
        self.map.insert(at / PAGE_SIZE_U64, frame);
        Ok(Gpa(frame * PAGE_SIZE_U64 + at % PAGE_SIZE_U64))
    }

    /// Reads a few bytes that lie in one page; what is not in use is zero.
    pub(crate) fn load<const N: usize>(&self, at: u64) -> [u8; N] {
        let found = self.find(at).and_then(|gpa| self.memory.spaces[0].load(gpa).ok());
        found.unwrap_or([0; N])
    }

    /// Writes a few bytes that lie in one page.
    pub(crate) fn store(&mut self, at: u64, bytes: &[u8]) -> Result<(), Fault> {
        let gpa = self.locate(at)?;
        self.memory.spaces[0].store(gpa, bytes).map_err(|_| Fault::Full)
    }

    /// An octabyte, its address rounded down.
    pub(crate) fn octa(&self, at: u64) -> u64 {
        u64::from_be_bytes(self.load(at & !7))
    }

    /// Sets an octabyte, its address rounded down.
    pub(crate) fn set_octa(&mut self, at: u64, value: u64) -> Result<(), Fault> {
        self.store(at & !7, &value.to_be_bytes())
    }

    /// The instruction at an address.
    pub(crate) fn fetch(&self, at: u64) -> u32 {
        u32::from_be_bytes(self.load(at & !3))
    }

    /// Runs an instruction on registers: the operands, of which rA is the mode of rounding.
    fn compute(&mut self, opcode: u8, regs: &mut Regs, [y, z, b]: [u64; 3]) -> u64 {
        let ra = special::slot(special::A);
        let flags = regs.get(ra);
        let result = alu::run(opcode, Operands { y, z, b }, flags >> 16);
        let enabled = crate::exec::seen(result.exc, flags);
        regs.set(ra, flags | u64::from(enabled >> 8));
        if let Some((number, value)) = result.aux {
            regs.set(special::slot(number), value);
        }
        result.x
    }
}

/// The number of the first global register.
pub(crate) fn global(regs: &Regs) -> u8 {
    regs.get(special::slot(special::G)).to_le_bytes()[0]
}

/// How many local registers there are.
pub(crate) fn local(regs: &Regs) -> u64 {
    regs.get(special::slot(special::L))
}

const _: () = assert!(HIGH > LOW);

impl Env for World {
    fn hold(&mut self) {}

    fn release(&mut self) {}

    fn wants_stillness(&self, _helper: Helper) -> bool {
        false
    }

    fn ram(&mut self) -> &mut Space {
        &mut self.memory.spaces[0]
    }

    fn translate(&mut self, at: u64, _size: Size, access: Access) -> Result<Mapping, Trap> {
        // Whatever is wrong is found again by the interpreter, which says what it is. Fetches
        // use no new page, as the engine may look at code that never runs.
        let found = match access {
            Access::Fetch if at >= TEXT_END => None,
            Access::Fetch => self.find(at),
            Access::Load | Access::Store if at >= PRIVILEGED => None,
            Access::Load | Access::Store => self.locate(at).ok(),
        };
        let gpa = found.ok_or(EXECUTE)?;
        Ok(Mapping {
            target: Target::Ram(PageNo(gpa.0 / PAGE_SIZE_U64)),
            load: true,
            store: access != Access::Fetch,
            keep: true,
            tables: [PageNo(0); 6],
            depth: 0,
            span: 12,
            entry_size: 3,
        })
    }

    fn device_load(&mut self, _: u64, _: Gpa, _: Size, _: At) -> Result<Reply, Trap> {
        Err(EXECUTE)
    }

    fn device_store(&mut self, _: u64, _: Gpa, _: Size, _: u64, _: At) -> Result<Reply, Trap> {
        Err(EXECUTE)
    }

    fn bad_atomic(&mut self, _at: u64, _access: Access) -> Trap {
        EXECUTE
    }

    fn call(
        &mut self,
        helper: Helper,
        regs: &mut Regs,
        args: [u64; 3],
        _when: At,
    ) -> Result<Reply, Trap> {
        let [first, ..] = args;
        let value = match helper {
            helper::PUSH => {
                self.push(regs, first.to_le_bytes()[0]).map_err(|_| EXECUTE)?;
                0
            }
            helper::POP => {
                self.pop(regs, first.to_le_bytes()[0]).map_err(|_| EXECUTE)?;
                0
            }
            helper::LOAD_SHORT => float::load_short(first),
            Helper(opcode) => self.compute(opcode.to_le_bytes()[0], regs, args),
        };
        Ok(Reply { value, stop: false })
    }
}
