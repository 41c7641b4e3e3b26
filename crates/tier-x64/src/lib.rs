//! Tier 1 for x86-64 hosts: machine code from the IR in one pass.
//!
//! The most used slots of the guest live in host registers, by one map for all blocks, so blocks
//! lead to each other without moving anything. Whatever has no code here is a *step*: the code
//! calls out, the interpreter runs that one operation on the file of slots, and the code goes on.
//!
//! Architecture invariant: this crate makes bytes; it neither maps memory nor runs anything.

mod asm;
mod block;
mod float;
mod frame;
mod integer;
mod layout;
mod local;
mod map;
mod memory;
mod moves;
mod share;
mod thunks;
mod usage;

pub use block::{Compiled, Exit};
pub use frame::{Frames, Left, Made, words};
pub use layout::{FETCHES, JUMPS, Layout, SECOND_JUMP, Why, control};
pub use map::{Beside, FloatRule, Guest};
pub use moves::{Fix, Move};

use map::Map;
use omni_ir::{Block, Slot};
use thunks::Thunks;

/// What the host can do beyond x86-64-v2.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Features {
    /// FMA3: multiplication and addition with one rounding.
    pub fma: bool,
}

/// What a block's code is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Of {
    /// The number of the block.
    pub id: u32,
    /// The offset in the arena that its code will be at.
    pub at: usize,
    /// The offset in the arena that what is rarely run of it will end before.
    pub end: usize,
    /// A second page that the block's bytes are in: an address there, and the number that its
    /// mapping must have.
    pub second: Option<(u64, u32)>,
}

/// What makes code faster and can be left out, to see what it is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Techniques {
    /// Accesses near to each other share a probe of the TLB.
    pub sharing: bool,
    /// Blocks take registers for slots that are not in the map.
    pub registers: bool,
    /// Two instructions become one where the second hides the first.
    pub pairs: bool,
    /// Floating point runs on the host's FPU.
    pub floats: bool,
}

/// Makes code for one guest architecture. Code begins with `prologue`, at the arena's start.
#[derive(Debug)]
pub struct Tier {
    map: Map,
    layout: Layout,
    features: Features,
    techniques: Techniques,
    float: FloatRule,
    reservation: Slot,
    flags: Slot,
    beside: Option<Beside>,
    /// Code is of functions: memory is reached by tables of pages, and steps leave.
    frames: bool,
    thunks: Thunks,
    prologue: Vec<u8>,
}

impl Tier {
    /// Guest instructions, and operations of the IR, that a block may have.
    pub const INSTS_MAX: usize = 1 << 10;

    /// Blocks that may have a number.
    pub const BLOCKS_MAX: u32 = 1 << 22;

    /// A tier for a guest architecture.
    #[must_use]
    pub fn new(
        layout: Layout,
        guest: &Guest<'_>,
        features: Features,
        techniques: Techniques,
    ) -> Self {
        let map = Map::new(&layout, guest);
        let (thunks, prologue) = thunks::make(&map, &layout);
        let Guest { reservation, flags, beside, .. } = *guest;
        let float = if techniques.floats { guest.float } else { FloatRule::Step };
        Self {
            map,
            layout,
            features,
            techniques,
            float,
            reservation,
            flags,
            beside,
            frames: false,
            thunks,
            prologue,
        }
    }

    /// What the arena begins with: how code is entered and left.
    #[must_use]
    pub fn prologue(&self) -> &[u8] {
        &self.prologue
    }

    /// The offset of the function that enters code: `fn(base, code)` by the System V convention.
    #[must_use]
    pub fn enter(&self) -> usize {
        self.thunks.enter
    }

    /// Code for a block, or `None` where it is too large.
    #[must_use]
    pub fn compile(&self, block: &Block, of: Of) -> Option<Compiled> {
        let fits = block.insts.len() < Self::INSTS_MAX && of.id < Self::BLOCKS_MAX;
        fits.then(|| block::compile(self, block, of))
    }
}
