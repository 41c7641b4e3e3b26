//! Undo: levels of memory and stack, kept in a space (the specification, section 2.11).

use crate::fault::Fault;
use crate::lower::{STACK_AT, slot};
use crate::state::Level;
use crate::world::{Encoded, MEMORY, Next, UNDO, World};
use omni_base::{Gpa, PAGE_SIZE, PAGE_SIZE_U64};
use omni_engine::Regs;
use omni_memory::Space;

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
        let slot = self.free_slot();
        let stack = (regs.get(slot::SP) - STACK_AT) as u32;
        regs.set(slot::SP, sp);
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
        (self.cpu.heap_start, self.cpu.heap) = (level.heap_start, level.heap);
        let first = u64::from(level.slot) * self.layout.slot_pages();
        let (ram, stack) = (self.ram_bytes(), level.stack);
        self.bring_back(first, self.ram_page(), ram);
        let in_slot = first + self.stack_in_slot();
        self.bring_back(in_slot, self.layout.stack_page(), stack.into());
        self.set_protected(&kept);
        self.stop = true;
        regs.set(slot::SP, STACK_AT + u64::from(level.stack));
        self.pop_stub(regs, u32::MAX)
    }

    fn free_slot(&mut self) -> u32 {
        if self.cpu.undo.len() >= self.levels as usize {
            return self.cpu.undo.remove(0).slot;
        }
        let used = |slot: &u32| self.cpu.undo.iter().any(|level| level.slot == *slot);
        (0..self.levels).find(|slot| !used(slot)).expect("one is free where not all are used")
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
                && heap_is_sound(level.heap_start, &level.heap, level.endmem)
        };
        self.cpu.undo.len() <= self.levels as usize
            && self.memory.spaces.len() == UNDO + 1
            && self.memory.spaces[MEMORY].page_count() == self.layout.pages()
            && self.cpu.undo.iter().all(sound)
    }
}

/// Whether blocks are one after the other, from the start of the heap to the end of memory.
pub(crate) fn heap_is_sound(start: u32, heap: &[(u32, u32, bool)], endmem: u32) -> bool {
    let end = heap.iter().try_fold(
        start,
        |end, (at, bytes, _)| {
            if *at == end { end.checked_add(*bytes) } else { None }
        },
    );
    if start == 0 { heap.is_empty() } else { end == Some(endmem) && !heap.is_empty() }
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
