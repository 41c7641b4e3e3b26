//! The register stack: pushed registers are in a ring, and in memory once there are too many.
//!
//! In the file of slots, registers from rL to rG hold zero, so that reading one asks for nothing.
//! The ring holds the octabytes from rS to rO. As in `mmix-sim`, local and pushed registers
//! together are 255 at most; what is too much goes to memory where registers are next pushed,
//! popped or looked at.

use crate::fault::Fault;
use crate::state::{RING, special};
use crate::world::{World, global, local};
use omni_engine::Regs;

fn place(at: u64) -> usize {
    usize::try_from(at / 8 % RING as u64).expect("below 256")
}

fn top(regs: &Regs) -> u64 {
    regs.get(special::slot(special::O))
}

fn stored(regs: &Regs) -> u64 {
    regs.get(special::slot(special::S))
}

fn set(regs: &mut Regs, number: u8, value: u64) {
    regs.set(special::slot(number), value);
}

/// A register's number, which is below 256.
fn number(index: u64) -> u8 {
    index.to_le_bytes()[0]
}

impl World {
    /// Stores the oldest pushed register.
    fn store_one(&mut self, regs: &mut Regs) -> Result<(), Fault> {
        let at = stored(regs);
        self.set_octa(at, self.cpu.ring[place(at)])?;
        set(regs, special::S, at.wrapping_add(8));
        Ok(())
    }

    /// Loads the pushed register that was stored last.
    fn load_one(&mut self, regs: &mut Regs) {
        let at = stored(regs).wrapping_sub(8);
        self.cpu.ring[place(at)] = self.octa(at);
        set(regs, special::S, at);
    }

    /// Pushed registers that are in the ring.
    fn ringed(regs: &Regs) -> u64 {
        top(regs).wrapping_sub(stored(regs)) / 8
    }

    /// Stores what the ring has no room for.
    pub(crate) fn settle(&mut self, regs: &mut Regs) -> Result<(), Fault> {
        while Self::ringed(regs) + local(regs) >= RING as u64 && Self::ringed(regs) > 0 {
            self.store_one(regs)?;
        }
        Ok(())
    }

    /// Has rL be at most so much; registers that are local no longer hold zero.
    pub(crate) fn shrink(&mut self, regs: &mut Regs, count: u64) {
        for index in count..local(regs) {
            self.put(regs, number(index), 0);
        }
        set(regs, special::L, count.min(local(regs)));
    }

    /// Pushes the registers below a hole, and the hole, which says how many they are.
    pub(crate) fn push(&mut self, regs: &mut Regs, x: u8) -> Result<(), Fault> {
        self.settle(regs)?;
        // Room for the page of what will be stored, before anything is done.
        self.locate(stored(regs))?;
        self.grow(regs, x);
        let old = local(regs);
        let hole = if x >= global(regs) { old } else { u64::from(x) };
        let first = top(regs);
        for index in 0..hole {
            let value = self.get(regs, number(index));
            self.ringed_put(regs, first.wrapping_add(8 * index), value)?;
        }
        self.ringed_put(regs, first.wrapping_add(8 * hole), hole)?;
        let left = old.saturating_sub(hole + 1);
        for index in 0..old {
            let moved = if index < left { self.get(regs, number(index + hole + 1)) } else { 0 };
            self.put(regs, number(index), moved);
        }
        set(regs, special::L, left);
        set(regs, special::O, first.wrapping_add(8 * (hole + 1)));
        self.settle(regs)
    }

    /// Puts an octabyte into the ring, storing what was there if it is still needed.
    fn ringed_put(&mut self, regs: &mut Regs, at: u64, value: u64) -> Result<(), Fault> {
        while at.wrapping_sub(stored(regs)) / 8 >= RING as u64 {
            self.store_one(regs)?;
        }
        self.cpu.ring[place(at)] = value;
        Ok(())
    }

    /// Pops: `x` registers stay as results, the last of them where the hole was.
    pub(crate) fn pop(&mut self, regs: &mut Regs, x: u8) -> Result<(), Fault> {
        self.settle(regs)?;
        let (old, x) = (local(regs), u64::from(x));
        let main = if x != 0 && x <= old { self.get(regs, number(x - 1)) } else { 0 };
        if Self::ringed(regs) == 0 {
            self.load_one(regs);
        }
        let first = top(regs);
        let hole = self.cpu.ring[place(first.wrapping_sub(8))] & 0xff;
        while Self::ringed(regs) <= hole {
            self.load_one(regs);
        }
        let kept = if x <= old { x } else { old + 1 };
        let count = (hole + kept).min(u64::from(global(regs)));
        let frame = first.wrapping_sub(8 * (hole + 1));
        let mut values = [0; 256];
        for (index, value) in (0..count).zip(&mut values) {
            *value = match index {
                _ if index < hole => self.cpu.ring[place(frame.wrapping_add(8 * index))],
                _ if index == hole => main,
                _ => self.get(regs, number(index - hole - 1)),
            };
        }
        for (index, value) in (0..old.max(count)).zip(values) {
            self.put(regs, number(index), value);
        }
        set(regs, special::L, count);
        set(regs, special::O, frame);
        Ok(())
    }

    /// Saves all registers on the stack in memory, and gives the address of the last octabyte.
    pub(crate) fn save_all(&mut self, regs: &mut Regs) -> Result<u64, Fault> {
        self.settle(regs)?;
        let count = local(regs);
        for index in 0..=count {
            let value = if index < count { self.get(regs, number(index)) } else { count };
            let at = top(regs);
            self.ringed_put(regs, at, value)?;
            set(regs, special::O, at.wrapping_add(8));
        }
        self.shrink(regs, 0);
        while Self::ringed(regs) > 0 {
            self.store_one(regs)?;
        }
        let mut values: Vec<u64> =
            (global(regs)..=255).map(|register| self.get(regs, register)).collect();
        let kept = (special::B..=special::R).chain(special::P..=special::Z);
        values.extend(kept.map(|number| regs.get(special::slot(number))));
        let ra = regs.get(special::slot(special::A));
        values.push(u64::from(global(regs)) << 56 | ra);
        let mut at = stored(regs);
        for value in values {
            self.set_octa(at, value)?;
            at = at.wrapping_add(8);
        }
        set(regs, special::S, at);
        set(regs, special::O, at);
        Ok(at.wrapping_sub(8))
    }

    /// Restores what `save_all` saved, by the address that it gave.
    pub(crate) fn unsave_all(&mut self, regs: &mut Regs, last: u64) {
        let mut at = last & !7;
        let word = self.octa(at);
        for register in 0..=255 {
            self.put(regs, register, 0);
        }
        let new_global = number(word >> 56).max(32);
        set(regs, special::G, new_global.into());
        set(regs, special::A, word & 0x3_ffff);
        let mut next = |world: &Self| {
            at = at.wrapping_sub(8);
            world.octa(at)
        };
        let kept = (special::P..=special::Z).rev().chain((special::B..=special::R).rev());
        for number in kept {
            set(regs, number, next(self));
        }
        for register in (new_global..=255).rev() {
            let value = next(self);
            self.put(regs, register, value);
        }
        let count = next(self) & 0xff;
        at = at.wrapping_sub(8 * count);
        for index in 0..count.min(new_global.into()) {
            let value = self.octa(at.wrapping_add(8 * index));
            self.put(regs, number(index), value);
        }
        set(regs, special::L, count.min(new_global.into()));
        set(regs, special::O, at);
        set(regs, special::S, at);
    }
}
