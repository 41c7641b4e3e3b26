//! What tests of the engine share: the least of a guest and of its world, and dice.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use omni_base::{Gpa, PageNo};
use omni_engine::{
    Access, At, Code, Env, Flow, Frontend, HotSlots, Mapping, Mode, NanRule, RegSlot, Regs, Reply,
    Target,
};
use omni_ir::{Builder, Helper, Size, Slot, Trap};
use omni_memory::Space;

/// The slots that every guest here has besides its registers.
pub const FLAGS: Slot = Slot(100);
pub const ROUND: Slot = Slot(101);
pub const RESERVED: Slot = Slot(102);

/// An instruction set of registers below slot 32.
pub trait Guest: Sync {
    fn hot_slots(&self) -> HotSlots;
    fn lower(&self, code: &Code, mode: Mode, b: &mut Builder) -> Flow;
}

/// The front-end of a guest.
pub struct Front<G>(pub G);

impl<G: Guest> Frontend for Front<G> {
    fn registers(&self) -> &'static [RegSlot] {
        &[RegSlot { slot: Slot(31), name: "r31", bits: 64 }]
    }
    fn float_flags(&self) -> Slot {
        FLAGS
    }
    fn reservation(&self) -> Slot {
        RESERVED
    }
    fn nan_rule(&self) -> NanRule {
        NanRule::RiscV
    }
    fn hot_slots(&self) -> HotSlots {
        self.0.hot_slots()
    }
    fn lower(&self, code: &Code, mode: Mode, b: &mut Builder) -> Flow {
        self.0.lower(code, mode, b)
    }
}

/// Where things are in a world, and what is there besides RAM.
pub trait Place {
    fn ram(&mut self) -> &mut Space;
    fn translate(&mut self, at: u64, access: Access) -> Result<Mapping, Trap>;
    fn device(&mut self, _at: u64, _when: At) -> Reply {
        Reply::default()
    }
    fn call(&mut self, _regs: &mut Regs, _args: [u64; 3], _when: At) -> Reply {
        Reply::default()
    }
}

/// The world of a place.
pub struct World<P>(pub P);

impl<P: Place> Env for World<P> {
    fn ram(&mut self) -> &mut Space {
        self.0.ram()
    }
    fn translate(&mut self, at: u64, _: Size, access: Access) -> Result<Mapping, Trap> {
        self.0.translate(at, access)
    }
    fn device_load(&mut self, at: u64, _: Gpa, _: Size, when: At) -> Result<Reply, Trap> {
        Ok(self.0.device(at, when))
    }
    fn device_store(&mut self, at: u64, _: Gpa, _: Size, _: u64, w: At) -> Result<Reply, Trap> {
        self.0.device(at, w);
        Ok(Reply::default())
    }
    fn bad_atomic(&mut self, at: u64, _: Access) -> Trap {
        Trap { cause: 7, value: at }
    }
    fn call(&mut self, _: Helper, regs: &mut Regs, a: [u64; 3], at: At) -> Result<Reply, Trap> {
        Ok(self.0.call(regs, a, at))
    }
}

/// A page of RAM that may be used in every way, found without a table.
pub fn open(page: u64) -> Mapping {
    Mapping {
        target: Target::Ram(PageNo(page)),
        load: true,
        store: true,
        keep: true,
        tables: [PageNo(0); 6],
        depth: 0,
        span: 12,
        entry_size: 3,
    }
}

/// The trap of an address where nothing is.
pub fn nothing(at: u64) -> Trap {
    Trap { cause: 13, value: at }
}

/// A small source of numbers: tests of one seed are the same everywhere.
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let x = self.0;
        (x ^ x >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ x >> 17
    }
    pub fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }
    pub fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }
}
