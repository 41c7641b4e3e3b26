//! Instructions that are done outside of the interpreter's loop: those that grow, fill and copy.
//!
//! What could take long is done in steps. The operands are in slots of the frame and say what is
//! left to do; the instruction is run again, and each time costs a tick.

use crate::code::Cold;
use crate::reference::Reference;
use crate::state::TABLE_SLOTS_MAX;
use crate::store::Store;
use crate::trap::Trap;
use omni_base::{Gpa, PAGE_SIZE_U64};
use std::ops::Range;

/// Bytes that one step copies or fills.
const STEP_BYTES: u64 = 64 << 10;

/// Bytes of a page of WebAssembly.
pub(crate) const WASM_PAGE: u64 = 64 << 10;

/// Whether an instruction is done, or has to be run again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Done,
    Again,
    /// To be run again after so many ticks, which pass in waiting.
    Later(u64),
    /// It went on elsewhere.
    Gone,
}

impl Store {
    /// Runs the next instruction, which is a cold one, and whose time has passed.
    pub(crate) fn cold(&mut self) -> Result<(), Trap> {
        let at = self.state.at;
        let code = self.code[at.func as usize].as_ref().ok_or(Trap::UndefinedElement)?;
        let insn = code.insns[at.pc as usize];
        let cold = code.cold[insn.imm as usize];
        let first = at.base as usize + usize::from(insn.a);
        match self.cold_step(cold, first)? {
            Step::Done => self.state.at.pc += 1,
            Step::Again => self.state.at.origin = self.state.at.origin.saturating_add(1),
            Step::Later(ticks) => {
                let later = self.state.at.origin.saturating_add_unsigned(ticks);
                self.state.at.origin = later;
            }
            Step::Gone => {}
        }
        Ok(())
    }

    fn cold_step(&mut self, cold: Cold, first: usize) -> Result<Step, Trap> {
        match cold {
            Cold::MemorySize(memory) => {
                self.state.stack[first] = self.state.memories[memory as usize].pages;
            }
            Cold::MemoryGrow(memory) => {
                let grown = self.grow_memory(memory, self.state.stack[first]);
                let is64 = self.externs.memories[memory as usize].is64;
                self.state.stack[first] = minus_one(grown, is64);
            }
            Cold::MemoryFill(memory) => return self.fill_memory(memory, first),
            Cold::MemoryCopy { to, from } => return self.copy_memory(to, from, first),
            Cold::MemoryInit { memory, data } => {
                let (to, from, count) = self.three(first);
                self.init_memory(memory, data, (to, from, count))?;
            }
            Cold::DataDrop(data) => self.state.data_dropped[data as usize] = true,
            Cold::TableSize(table) => {
                self.state.stack[first] = self.state.tables[table as usize].slots.len() as u64;
            }
            Cold::TableGrow(table) => {
                let (value, by) = (self.state.stack[first], self.state.stack[first + 1]);
                let grown = self.grow_table(table, value, by);
                let is64 = self.externs.tables[table as usize].is64;
                self.state.stack[first] = minus_one(grown, is64);
            }
            Cold::TableFill(table) => {
                let (to, value, count) = self.three(first);
                let slots = &mut self.state.tables[table as usize].slots;
                let range = within(to, count, slots.len()).ok_or(Trap::Table)?;
                slots[range].fill(value);
            }
            Cold::TableCopy { to, from } => self.copy_table(to, from, first)?,
            Cold::TableInit { table, elements } => {
                let (to, from, count) = self.three(first);
                self.init_table(table, elements, (to, from, count))?;
            }
            Cold::ElementsDrop(elements) => {
                self.state.elements_dropped[elements as usize] = true;
            }
            Cold::Atomic(atomic) => return self.atomic(atomic, first),
            Cold::Gc(gc) => return self.gc(gc, first),
            Cold::Wide(wide) => self.wide(wide, first),
            Cold::Throw(tag) => {
                self.throw(tag, first)?;
                return Ok(Step::Gone);
            }
            Cold::ThrowRef => {
                self.throw_again(Reference(self.state.stack[first]))?;
                return Ok(Step::Gone);
            }
        }
        Ok(Step::Done)
    }

    fn three(&self, first: usize) -> (u64, u64, u64) {
        let stack = &self.state.stack;
        (stack[first], stack[first + 1], stack[first + 2])
    }

    /// The bytes of a memory.
    pub(crate) fn memory_bytes(&self, memory: u32) -> u64 {
        self.state.memories[memory as usize].pages * WASM_PAGE
    }

    pub(crate) fn check_memory(&self, memory: u32, at: u64, count: u64) -> Result<(), Trap> {
        let end = at.checked_add(count).ok_or(Trap::Memory)?;
        if end <= self.memory_bytes(memory) { Ok(()) } else { Err(Trap::Memory) }
    }

    /// Grows a memory; gives its pages from before, or nothing where it cannot grow so much.
    pub(crate) fn grow_memory(&mut self, memory: u32, by: u64) -> Option<u64> {
        let total: u64 = self.state.memories.iter().map(|memory| memory.pages).sum();
        let fits = total.checked_add(by)?.checked_mul(WASM_PAGE)? <= self.memory_max;
        let size = &mut self.state.memories[memory as usize];
        let (before, pages) = (size.pages, size.pages.checked_add(by)?);
        let space = &mut self.memory.spaces[memory as usize];
        let held = pages.checked_mul(WASM_PAGE)? <= space.size();
        if pages > size.max || !fits || !held {
            return None;
        }
        size.pages = pages;
        space.set_flat(pages * (WASM_PAGE / PAGE_SIZE_U64));
        Some(before)
    }

    fn fill_memory(&mut self, memory: u32, first: usize) -> Result<Step, Trap> {
        let (to, value, count) = self.three(first);
        self.check_memory(memory, to, count)?;
        let step = count.min(STEP_BYTES);
        let space = &mut self.memory.spaces[memory as usize];
        // Cut on purpose: the low byte of the operand is what is written.
        space.fill(Gpa(to), step, value as u8).map_err(|_| Trap::Damage)?;
        let stack = &mut self.state.stack;
        (stack[first], stack[first + 2]) = (to + step, count - step);
        Ok(if step == count { Step::Done } else { Step::Again })
    }

    fn copy_memory(&mut self, to: u32, from: u32, first: usize) -> Result<Step, Trap> {
        let (into, source, count) = self.three(first);
        self.check_memory(to, into, count)?;
        self.check_memory(from, source, count)?;
        let step = count.min(STEP_BYTES);
        // Where what is written could be what is read later, from the end on.
        let backward = to == from && into > source;
        let skip = if backward { count - step } else { 0 };
        let mut bytes = vec![0; usize::try_from(step).expect("a step is small")];
        let spaces = &mut self.memory.spaces;
        let read = spaces[from as usize].read(Gpa(source + skip), &mut bytes);
        read.map_err(|_| Trap::Damage)?;
        spaces[to as usize].store(Gpa(into + skip), &bytes).map_err(|_| Trap::Damage)?;
        let stack = &mut self.state.stack;
        stack[first + 2] = count - step;
        if !backward {
            (stack[first], stack[first + 1]) = (into + step, source + step);
        }
        Ok(if step == count { Step::Done } else { Step::Again })
    }

    /// Copies bytes of a segment: where to, where from, how many.
    pub(crate) fn init_memory(
        &mut self,
        memory: u32,
        data: u32,
        (to, from, count): (u64, u64, u64),
    ) -> Result<(), Trap> {
        let (instance, index) = self.data[data as usize];
        let module = self.instances[instance as usize].module.clone();
        let segment = &module.bytes[module.data[index as usize].bytes.clone()];
        let segment = if self.state.data_dropped[data as usize] { &[] } else { segment };
        let range = within(from, count, segment.len()).ok_or(Trap::Memory)?;
        self.check_memory(memory, to, count)?;
        let space = &mut self.memory.spaces[memory as usize];
        space.store(Gpa(to), &segment[range]).map_err(|_| Trap::Damage)
    }

    /// Grows a table; gives its size from before, or nothing where it cannot grow so much.
    pub(crate) fn grow_table(&mut self, table: u32, value: u64, by: u64) -> Option<u64> {
        let total: u64 = self.state.tables.iter().map(|table| table.slots.len() as u64).sum();
        let table = &mut self.state.tables[table as usize];
        let before = table.slots.len() as u64;
        let size = before.checked_add(by)?;
        if size > table.max || total.checked_add(by)? > TABLE_SLOTS_MAX {
            return None;
        }
        table.slots.resize(usize::try_from(size).ok()?, value);
        Some(before)
    }

    fn copy_table(&mut self, to: u32, from: u32, first: usize) -> Result<(), Trap> {
        let (into, source, count) = self.three(first);
        let tables = &mut self.state.tables;
        let length = |table: u32| tables[table as usize].slots.len();
        let source = within(source, count, length(from)).ok_or(Trap::Table)?;
        let into = within(into, count, length(to)).ok_or(Trap::Table)?;
        if to == from {
            tables[to as usize].slots.copy_within(source, into.start);
        } else {
            let copied = tables[from as usize].slots[source].to_vec();
            tables[to as usize].slots[into].copy_from_slice(&copied);
        }
        Ok(())
    }

    /// Copies elements of a segment: where to, where from, how many.
    pub(crate) fn init_table(
        &mut self,
        table: u32,
        elements: u32,
        (to, from, count): (u64, u64, u64),
    ) -> Result<(), Trap> {
        let dropped = self.state.elements_dropped[elements as usize];
        let segment = if dropped { &[][..] } else { &self.elements[elements as usize] };
        let slots = &mut self.state.tables[table as usize].slots;
        let range = within(from, count, segment.len()).ok_or(Trap::Table)?;
        let into = within(to, count, slots.len()).ok_or(Trap::Table)?;
        slots[into].copy_from_slice(&segment[range]);
        Ok(())
    }
}

/// A range, where it is within a length.
pub(crate) fn within(at: u64, count: u64, length: usize) -> Option<Range<usize>> {
    let end = at.checked_add(count)?;
    (end <= length as u64).then_some(())?;
    Some(usize::try_from(at).ok()?..usize::try_from(end).ok()?)
}

/// What growing gives: the size from before, or minus one.
fn minus_one(grown: Option<u64>, is64: bool) -> u64 {
    grown.unwrap_or(if is64 { u64::MAX } else { u64::from(u32::MAX) })
}
