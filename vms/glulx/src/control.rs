//! What instructions ask of the machine itself: questions, settings, chance, the end and a new
//! start.

use crate::fault::Fault;
use crate::lower::{STACK_AT, slot};
use crate::world::{MEMORY, Next, World};
use omni_base::{Gpa, PAGE_SIZE, PAGE_SIZE_U64};
use omni_engine::Regs;
use std::sync::Arc;

/// The version of the specification.
const VERSION: u32 = 0x0003_0103;

/// The version of this interpreter.
const OWN_VERSION: u32 = 0x0000_0100;

/// A generator from one word: its state by the finaliser of a mixing sequence.
pub(crate) fn seeded(mut seed: u32) -> [u32; 4] {
    [(); 4].map(|()| {
        seed = seed.wrapping_add(0x9e37_79b9);
        let mut word = seed;
        word = (word ^ word >> 15).wrapping_mul(0x85eb_ca6b);
        word = (word ^ word >> 13).wrapping_mul(0xc2b2_ae35);
        word ^ word >> 16
    })
}

impl World {
    /// `gestalt` (section 2.18).
    pub(crate) fn gestalt(&self, selector: u32, value: u32) -> u32 {
        match selector {
            0 => VERSION,
            1 => OWN_VERSION,
            // Resizing, Unicode, copies, the heap, acceleration, floats, doubles.
            2 | 5 | 6 | 7 | 9 | 11 | 12 | 13 => 1,
            3 => u32::from(self.levels > 0),
            4 => u32::from(value <= 2),
            8 => self.cpu.heap_start,
            10 => u32::from(crate::accel::FUNCTIONS.contains(&value)),
            _ => 0,
        }
    }

    /// What an instruction gives that has no operands: its opcode, or one above for a second.
    pub(crate) fn get(&self, which: u32) -> u32 {
        match which {
            0x102 => self.cpu.endmem,
            0x121 => {
                self.worked(self.story.extstart.into());
                u32::from(!self.story.is_whole())
            }
            0x128 => u32::from(self.cpu.undo.is_empty()),
            0x140 => self.cpu.string_table,
            0x148 => self.cpu.iosys.0,
            _ => self.cpu.iosys.1,
        }
    }

    /// What an instruction sets.
    pub(crate) fn set(&mut self, which: u32, a: u32, b: u32) -> Result<(), Fault> {
        match which {
            0x111 => {
                self.cpu.native = a == 0;
                if a == 0 { self.reseed() } else { self.cpu.random = seeded(a) }
            }
            0x127 => self.cpu.protect = if b == 0 { (0, 0) } else { (a, b) },
            0x129 => {
                if let Some(level) = self.cpu.undo.pop() {
                    self.release(&level, (0, 0));
                }
            }
            0x141 => self.cpu.string_table = a,
            0x149 => {
                self.cpu.iosys = if a <= 2 { (a, b) } else { (0, 0) };
                self.stop = true;
            }
            0x180 => self.accelerate(a, b)?,
            _ => {
                if let Some(parameter) = self.cpu.parameters.get_mut(a as usize) {
                    *parameter = b;
                }
            }
        }
        Ok(())
    }

    fn accelerate(&mut self, number: u32, function: u32) -> Result<(), Fault> {
        if !matches!(self.byte(function)?, 0xc0 | 0xc1) {
            return Err(Fault::NotFunction);
        }
        let known = crate::accel::FUNCTIONS.contains(&number);
        let table = &mut self.cpu.accelerated;
        let before = if known { table.insert(function, number) } else { table.remove(&function) };
        if before != known.then_some(number) {
            Arc::make_mut(&mut self.front).accelerated.clone_from(&self.cpu.accelerated);
            self.stop = true;
        }
        Ok(())
    }

    /// `random`: any word for zero, else below the range, or above it where that is negative.
    pub(crate) fn random(&mut self, range: u32) -> u32 {
        let word = self.draw();
        match range.cast_signed() {
            0 => word,
            1.. => word % range,
            _ => (word % range.wrapping_neg()).wrapping_neg(),
        }
    }

    /// The next word of the generator xoshiro128**.
    fn draw(&mut self) -> u32 {
        let [a, b, c, d] = &mut self.cpu.random;
        let word = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 9;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(11);
        word
    }

    /// A new generator from what makes this machine another than others.
    pub(crate) fn reseed(&mut self) {
        let mixed = self.cpu.entropy ^ u64::from(self.draw()) << 32 ^ u64::from(self.draw());
        self.cpu.entropy = mixed.rotate_left(23) ^ self.seed;
        let (low, high) = (seeded(mixed as u32), seeded((mixed >> 32) as u32));
        self.cpu.random = [low[0], low[1], high[2], high[3] | 1];
    }

    /// Ends the story as it or its player wants.
    pub(crate) fn quit(&mut self) {
        self.cpu.halted.get_or_insert(0);
        self.stop = true;
    }

    /// Starts the story anew: memory but for what is protected, stack, heap, output.
    pub(crate) fn restart(&mut self, regs: &mut Regs) -> Next {
        let kept = self.protected();
        self.drop_heap();
        self.resize(self.story.endmem);
        let story = self.story.clone();
        let ram = &story.bytes()[self.layout.ramstart as usize..];
        self.set_ram(|at, page| {
            page.fill(0);
            let rest = ram.get(at..).unwrap_or(&[]);
            let count = rest.len().min(PAGE_SIZE);
            page[..count].copy_from_slice(&rest[..count]);
        });
        self.set_protected(&kept);
        self.cpu.iosys = (0, 0);
        self.cpu.string_table = self.story.table;
        self.stop = true;
        self.clear_stack(regs);
        self.enter(regs, self.story.start, &[])
    }

    fn clear_stack(&mut self, regs: &mut Regs) {
        for slot in [slot::SP, slot::FP, slot::LOCALS, slot::VALUES] {
            regs.set(slot, STACK_AT);
        }
    }

    /// What is protected, and where: zeros where there is no memory now.
    pub(crate) fn protected(&self) -> (u32, Vec<u8>) {
        let (at, count) = self.cpu.protect;
        let first = at.max(self.layout.ramstart);
        let end = at.saturating_add(count).min(self.layout.endmem_max);
        let mut bytes = vec![0; end.saturating_sub(first) as usize];
        self.worked(bytes.len() as u64);
        let held = self.cpu.endmem.saturating_sub(first) as usize;
        let held = held.min(bytes.len());
        let read = self.read(first, &mut bytes[..held]);
        debug_assert!(held == 0 || read.is_ok(), "it is memory");
        (first, bytes)
    }

    /// Puts what was protected back, as far as there is memory.
    pub(crate) fn set_protected(&mut self, (at, bytes): &(u32, Vec<u8>)) {
        let count = bytes.len().min(self.cpu.endmem.saturating_sub(*at) as usize);
        let put = self.write(*at, &bytes[..count]);
        debug_assert!(count == 0 || put.is_ok(), "it is memory that can be written");
    }

    /// Gives all that can be written new content, page by page; what is the same is not written.
    pub(crate) fn set_ram(&mut self, mut content: impl FnMut(usize, &mut [u8; PAGE_SIZE])) {
        self.worked(self.cpu.endmem.into());
        let first = u64::from(self.layout.ramstart) + u64::from(self.layout.delta);
        let end = u64::from(self.cpu.endmem) + u64::from(self.layout.delta);
        let (mut old, mut new) = ([0; PAGE_SIZE], [0; PAGE_SIZE]);
        let space = &mut self.memory.spaces[MEMORY];
        for at in (first..end).step_by(PAGE_SIZE) {
            content((at - first) as usize, &mut new);
            let count = (end - at).min(PAGE_SIZE_U64) as usize;
            let read = space.read(Gpa(at), &mut old);
            if read.is_err() || old[..count] != new[..count] {
                let stored = space.store(Gpa(at), &new[..count]);
                debug_assert!(stored.is_ok(), "memory is in the space");
            }
        }
    }

    /// All that can be written.
    pub(crate) fn ram(&self) -> Vec<u8> {
        let count = self.cpu.endmem - self.layout.ramstart;
        self.worked(count.into());
        let mut bytes = vec![0; count as usize];
        let read = self.read(self.layout.ramstart, &mut bytes);
        debug_assert!(read.is_ok(), "memory is in the space");
        bytes
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::tests::story_machine;

    #[test]
    fn random_numbers_are_in_their_range() {
        let mut world = story_machine().world;
        for _ in 0..200 {
            assert!(world.random(6) < 6);
            let negative = world.random((-6i32).cast_unsigned()).cast_signed();
            assert!((-5..=0).contains(&negative));
        }
        world.set(0x111, 17, 0).expect("any seed");
        let first = [world.random(0), world.random(0)];
        world.set(0x111, 17, 0).expect("any seed");
        assert_eq!([world.random(0), world.random(0)], first);
    }
}
