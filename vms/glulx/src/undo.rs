//! Undo: levels of memory and stack, kept in a space (the specification, section 2.11).

use crate::fault::Fault;
use crate::heap::Block;
use crate::lower::{STACK_AT, slot};
use crate::state::Level;
use crate::world::{Encoded, MEMORY, Next, UNDO, World};
use omni_base::{Gpa, PAGE_SIZE, PAGE_SIZE_U64, PageNo};
use omni_engine::Regs;
use omni_memory::Space;
use std::ops::Range;

/// Levels that an option may ask for.
pub(crate) const LEVELS_MAX: u64 = 64;

impl World {
    /// `saveundo`: keeps the state in which it gives minus one; says zero where it could.
    pub(crate) fn save_undo(&mut self, regs: &mut Regs, to: Encoded) -> Result<u32, Fault> {
        if self.levels == 0 {
            return Ok(1);
        }
        let sp = regs.get(slot::SP);
        self.push_stub(regs, to.dest, to.next)?;
        let stack = (regs.get(slot::SP) - STACK_AT) as u32;
        regs.set(slot::SP, sp);
        let bytes = self.ram_bytes() + u64::from(stack);
        if bytes > self.undo_room() {
            return Ok(1);
        }
        let slot = self.free_slot(bytes, stack);
        self.worked(bytes);
        let first = u64::from(slot) * self.layout.slot_pages();
        let ram = self.ram_bytes();
        self.keep(self.ram_page(), first, ram);
        self.keep(self.layout.stack_page(), first + self.stack_in_slot(), stack.into());
        let (heap_start, heap) = (self.cpu.heap_start, self.cpu.heap.clone());
        let endmem = self.cpu.endmem;
        self.cpu.undo.push(Level { slot, endmem, stack, heap_start, heap });
        Ok(0)
    }

    /// `restoreundo`: goes back, or says one.
    pub(crate) fn restore_undo(&mut self, regs: &mut Regs, to: Encoded) -> Next {
        let Some(level) = self.cpu.undo.pop() else {
            self.store(regs, to.dest, 1)?;
            return Ok(self.front.at(0, to.next));
        };
        let kept = self.protected();
        if !self.resize(level.endmem) {
            return Err(Fault::Resize);
        }
        self.worked(level.endmem.into());
        self.cpu.heap_start = level.heap_start;
        self.cpu.heap.clone_from(&level.heap);
        let first = u64::from(level.slot) * self.layout.slot_pages();
        let (ram, stack) = (self.ram_bytes(), level.stack);
        self.bring_back(first, self.ram_page(), ram);
        let in_slot = first + self.stack_in_slot();
        self.bring_back(in_slot, self.layout.stack_page(), stack.into());
        self.release(&level, (0, 0));
        self.set_protected(&kept);
        self.stop = true;
        regs.set(slot::SP, STACK_AT + u64::from(level.stack));
        self.pop_stub(regs, u32::MAX)
    }

    /// A slot for so many bytes, the stack's among them: there is room for them.
    fn free_slot(&mut self, bytes: u64, stack: u32) -> u32 {
        self.drop_undo(bytes);
        if self.cpu.undo.len() >= self.levels as usize {
            let oldest = self.cpu.undo.remove(0);
            // What is in the new level too need not be written again.
            self.release(&oldest, (bytes - u64::from(stack), stack.into()));
            return oldest.slot;
        }
        let used = |slot: &u32| self.cpu.undo.iter().any(|level| level.slot == *slot);
        (0..self.levels).find(|slot| !used(slot)).expect("one is free where not all are used")
    }

    /// Bytes that all levels may have: what memory leaves of what it may grow to.
    fn undo_room(&self) -> u64 {
        u64::from(self.layout.endmem_max - self.cpu.endmem)
    }

    fn undo_bytes(&self) -> u64 {
        let ramstart = self.layout.ramstart;
        let bytes = |level: &Level| u64::from(level.endmem - ramstart) + u64::from(level.stack);
        self.cpu.undo.iter().map(bytes).sum()
    }

    /// Drops the oldest levels until so many bytes more have room, or none is left.
    pub(crate) fn drop_undo(&mut self, more: u64) {
        while !self.cpu.undo.is_empty() && self.undo_bytes() + more > self.undo_room() {
            let oldest = self.cpu.undo.remove(0);
            self.release(&oldest, (0, 0));
        }
    }

    /// Gives the memory of a level back, but for so many bytes of memory and of the stack.
    pub(crate) fn release(&mut self, level: &Level, (ram, stack): (u64, u64)) {
        let first = u64::from(level.slot) * self.layout.slot_pages();
        let pages = |first: u64, kept: u64, held: u32| {
            let [kept, held] = [kept, held.into()].map(|bytes| bytes.div_ceil(PAGE_SIZE_U64));
            (first + kept..first + held).map(PageNo)
        };
        let memory = pages(first, ram, level.endmem - self.layout.ramstart);
        let stack = pages(first + self.stack_in_slot(), stack, level.stack);
        self.memory.spaces[UNDO].clear(memory.chain(stack));
    }

    fn ram_page(&self) -> u64 {
        (u64::from(self.layout.ramstart) + u64::from(self.layout.delta)) / PAGE_SIZE_U64
    }

    fn ram_bytes(&self) -> u64 {
        u64::from(self.cpu.endmem - self.layout.ramstart)
    }

    fn stack_in_slot(&self) -> u64 {
        u64::from(self.layout.endmem_max - self.layout.ramstart).div_ceil(PAGE_SIZE_U64)
    }

    fn keep(&mut self, from: u64, to: u64, bytes: u64) {
        let [memory, undo] = &mut self.memory.spaces[..] else { return };
        copy(memory, from, undo, to, bytes);
    }

    fn bring_back(&mut self, from: u64, to: u64, bytes: u64) {
        let [memory, undo] = &mut self.memory.spaces[..] else { return };
        copy(undo, from, memory, to, bytes);
    }

    /// Whether the levels are such as this machine can have.
    pub(crate) fn undo_is_sound(&self) -> bool {
        let sound = |level: &Level| {
            level.slot < self.levels
                && level.endmem >= self.story.endmem
                && level.endmem <= self.layout.endmem_max
                && level.stack <= self.layout.stack_bytes
                && heap_is_sound(level.heap_start, &level.heap, self.story.endmem..level.endmem)
        };
        self.cpu.undo.len() <= self.levels as usize
            && self.memory.spaces.len() == UNDO + 1
            && self.memory.spaces[MEMORY].page_count() == self.layout.pages()
            && self.cpu.undo.iter().all(sound)
            && self.undo_bytes() <= self.undo_room()
    }
}

/// Whether blocks are one after the other, from the start of the heap to the end of memory, with
/// one in use, and none in what the story begins with.
pub(crate) fn heap_is_sound(start: u32, heap: &[Block], room: Range<u32>) -> bool {
    let end = heap.iter().try_fold(start, |end, (at, bytes, _)| {
        if *at == end && *bytes > 0 { end.checked_add(*bytes) } else { None }
    });
    if start == 0 {
        return heap.is_empty();
    }
    let used = heap.iter().any(|(_, _, free)| !free);
    used && end == Some(room.end) && room.contains(&start) && start.is_multiple_of(256)
}

/// Copies from page to page, but for what is there already.
fn copy(from: &Space, from_page: u64, to: &mut Space, to_page: u64, bytes: u64) {
    let (mut here, mut there) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
    for at in (0..bytes).step_by(PAGE_SIZE) {
        let count = (bytes - at).min(PAGE_SIZE_U64) as usize;
        let (source, dest) =
            (Gpa(from_page * PAGE_SIZE_U64 + at), Gpa(to_page * PAGE_SIZE_U64 + at));
        let read = from.read(source, &mut here[..count]).and(to.read(dest, &mut there[..count]));
        let same = here[..count] == there[..count];
        let stored = if same { Ok(()) } else { to.store(dest, &here[..count]) };
        debug_assert!(read.and(stored).is_ok(), "both are in their spaces");
    }
}
