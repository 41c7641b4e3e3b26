//! Undo: levels of dynamic memory and stack, kept in a space.

use crate::fault::Fault;
use crate::machine::Vm;
use crate::memory::{MEMORY, STACK, UNDO};
use crate::stack::DEPTH_MAX;
use omni_base::{Gpa, PAGE_SIZE};
use omni_memory::Space;

/// Bytes of a half of a slot: dynamic memory, or stack.
const HALF_BYTES: u32 = 64 << 10;

/// Pages of a slot.
pub(crate) const SLOT_PAGES: u64 = 32;

/// Levels that an option may ask for.
pub(crate) const LEVELS_MAX: u64 = 256;

impl Vm {
    /// Keeps the state, and says whether there was room: the stack must fit its half.
    pub(crate) fn save_undo(&mut self) -> Result<bool, Fault> {
        let levels = self.undo_levels;
        if levels == 0 || 2 * self.cpu.sp > HALF_BYTES || self.cpu.interrupt != 0 {
            return Ok(false);
        }
        let full = self.cpu.undo.len() >= levels as usize;
        let slot = if full {
            self.cpu.undo.remove(0)[0]
        } else {
            let used = |slot: &u32| self.cpu.undo.iter().any(|level| level[0] == *slot);
            (0..levels).find(|slot| !used(slot)).expect("one is free where not all are used")
        };
        let at = slot_at(slot);
        let dynamic = self.story.dynamic_bytes;
        self.copy((MEMORY, 0), (UNDO, at), dynamic);
        self.copy((STACK, 0), (UNDO, at + HALF_BYTES), 2 * self.cpu.sp);
        let cpu = &mut self.cpu;
        let frame = u32::from(cpu.locals) | u32::from(cpu.args) << 8;
        cpu.undo.push([slot, cpu.pc, cpu.fp, cpu.sp, frame, cpu.depth]);
        Ok(true)
    }

    /// Goes back to the last state kept, and says whether there was one.
    pub(crate) fn restore_undo(&mut self) -> Result<bool, Fault> {
        let Some([slot, pc, fp, sp, frame, depth]) = self.cpu.undo.pop() else {
            return Ok(false);
        };
        let at = slot_at(slot);
        let kept = self.byte(0x11)? & 3;
        self.copy((UNDO, at), (MEMORY, 0), self.story.dynamic_bytes);
        self.copy((UNDO, at + HALF_BYTES), (STACK, 0), 2 * sp);
        let flags = self.byte(0x11)?;
        self.set_byte(0x11, flags & !3 | kept)?;
        let [locals, args, ..] = frame.to_le_bytes();
        let cpu = &mut self.cpu;
        (cpu.pc, cpu.fp, cpu.sp, cpu.depth) = (pc, fp, sp, depth);
        (cpu.locals, cpu.args) = (locals, args);
        self.forget_wait();
        Ok(true)
    }

    /// Whether the levels of a snapshot fit the space.
    pub(crate) fn undo_is_sound(&self) -> bool {
        let levels = &self.cpu.undo;
        let fits = |[slot, _, fp, sp, frame, depth]: &[u32; 6]| {
            let stack = fp <= sp && *sp <= HALF_BYTES / 2;
            *slot < self.undo_levels && stack && frame & 0xff <= 15 && *depth <= DEPTH_MAX
        };
        levels.len() <= self.undo_levels as usize && levels.iter().all(fits)
    }

    /// Copies between spaces, whose bounds the caller has checked.
    fn copy(&mut self, from: (usize, u32), to: (usize, u32), bytes: u32) {
        let mut page = [0; PAGE_SIZE];
        let mut done = 0;
        while done < bytes {
            let step = (bytes - done).min(4096);
            let part = &mut page[..step as usize];
            let spaces: &mut [Space] = &mut self.memory.spaces;
            let read = spaces[from.0].read(Gpa((from.1 + done).into()), part);
            read.expect("a slot is within its space");
            let store = spaces[to.0].store(Gpa((to.1 + done).into()), part);
            store.expect("a slot is within its space");
            done += step;
        }
    }
}

fn slot_at(slot: u32) -> u32 {
    slot * 2 * HALF_BYTES
}
