//! Code of functions: how it is entered and left, and the words that it works with.
//!
//! A function's registers are slots of its frame, at a register of the host that calls move. Calls
//! leave a return address on the host's stack besides the record of the call: where it is still
//! there, a return goes straight back; where not, it leaves, and whoever runs the code goes on by
//! the record. So what is on the host's stack is a cache as everything else.

use crate::asm::{
    Alu, Asm, Gpr, Mem, Place, R12, R13, R14, R15, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP, Shift,
    W, offset,
};
use crate::block::function;
use crate::{Features, FloatRule, Layout, Techniques, Tier};
use omni_ir::{Function, Slot};

/// Offsets of the words that code works with, from the base register, and registers that it keeps.
pub mod words {
    use crate::asm::{Gpr, R13, R14, RBX};

    /// The first slot of all frames.
    pub const STACK: i32 = 0;
    /// Where the last frame must end.
    pub const STACK_END: i32 = 8;
    /// The next free record of a call that waits: three words of 32 bits, the function, where it
    /// goes on, and the number of the first slot of its frame.
    pub const CALLS: i32 = 16;
    /// Where those end.
    pub const CALLS_END: i32 = 24;
    /// How far the host's stack may be used.
    pub const NATIVE_END: i32 = 32;
    /// The host's stack when code was entered.
    pub const NATIVE: i32 = 40;
    /// For each page of the memory what leads from an address in it to the host's, to load.
    pub const LOADS: i32 = 48;
    /// The same to store.
    pub const STORES: i32 = 56;
    /// Pages of the memory.
    pub const PAGES: i32 = 64;
    /// For each function two words: its code, and its type.
    pub const TARGETS: i32 = 72;
    /// Functions.
    pub const TARGET_COUNT: i32 = 80;
    /// For each table two words: where it is, and how long.
    pub const TABLES: i32 = 88;
    /// Where the arena is run.
    pub const CODE: i32 = 96;
    /// The first slot of the frame, where code is entered and left.
    pub const BASE: i32 = 104;
    /// Ticks left, where code is entered and left.
    pub const LEFT: i32 = 112;
    /// Which instruction is next, 32 bits.
    pub const PC: i32 = 120;
    /// Of which function, 32 bits.
    pub const FUNC: i32 = 124;
    /// Why code was left, 32 bits.
    pub const WHY: i32 = 128;
    /// Temporaries.
    pub const TEMPS: i32 = 136;
    /// Words that functions share.
    pub const SHARED: i32 = TEMPS + 8 * 96;
    /// Bytes of all of it.
    pub const SIZE: usize = SHARED as usize + 8 * omni_ir::SHARED as usize;

    /// A reference to a function: its number, and these bits above it.
    pub const FUNCTION: u32 = 1 << 28;

    pub(crate) const FRAME_REG: Gpr = RBX;
    pub(crate) const STORES_REG: Gpr = R13;
    pub(crate) const LOADS_REG: Gpr = R14;
}

/// Bytes of the host's stack that return addresses may take.
const NATIVE_MAX: i32 = 64 << 10;

/// Registers that belong to the caller, by the System V convention.
const SAVED: [Gpr; 6] = [RBX, RBP, R12, R13, R14, R15];

/// Why code of a function was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Left {
    /// The next instruction has no code, or not for this case.
    Step = 0,
    /// The ticks that are left may not be enough.
    Limit = 1,
    /// The instruction before the next is a call that has to be made by whoever runs the code, as
    /// what it calls has none or there is no room. The ticks left do not count it.
    Call = 2,
    /// A function has returned: its results are in its frame, and the record of its caller is the
    /// last one still.
    Returned = 3,
}

impl Left {
    /// From the word.
    ///
    /// # Panics
    /// Where it is none of them, which code does not write.
    #[must_use]
    pub fn from_word(word: u32) -> Self {
        match word {
            0 => Self::Step,
            1 => Self::Limit,
            2 => Self::Call,
            3 => Self::Returned,
            _ => unreachable!("code writes reasons only"),
        }
    }
}

/// Code of a function.
#[derive(Debug)]
pub struct Made {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The offset in the arena of what calls go to.
    pub entry: usize,
    /// The offset in the arena of what loads the registers and goes to the address in rax.
    pub fill: usize,
    /// The offset in the arena of the code of each instruction; `NOWHERE` where it has none.
    pub places: Vec<u32>,
}

impl Made {
    /// The place of an instruction without code.
    pub const NOWHERE: u32 = u32::MAX;
}

/// Offsets of the code that all functions share.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Shared {
    enter: usize,
    /// Jumped to where all is written.
    pub(crate) leave: usize,
    /// What calls of functions without code go to.
    pub(crate) call: usize,
}

/// Makes code of functions. Code begins with `prologue`, at the arena's start.
#[derive(Debug)]
pub struct Frames {
    features: Features,
    pub(crate) shared: Shared,
    prologue: Vec<u8>,
}

impl Frames {
    /// Instructions of a function that gets code.
    pub const INSNS_MAX: usize = 1 << 16;

    /// Bytes of its code: a few instructions of a kind that takes much must not drive out all else.
    pub const BYTES_MAX: usize = 4 << 20;

    /// For a host that can do this much.
    #[must_use]
    pub fn new(features: Features) -> Self {
        let mut asm = Asm::default();
        let leave = leave(&mut asm);
        let shared = Shared { leave, enter: enter(&mut asm, leave), call: call(&mut asm, leave) };
        let split = asm.here();
        let (prologue, _) = asm.settle(Place { split, at: 0, rest_at: split });
        Self { features, shared, prologue }
    }

    /// What the arena begins with.
    #[must_use]
    pub fn prologue(&self) -> &[u8] {
        &self.prologue
    }

    /// The offset of the function that enters code: `fn(words, place, fill)` by the System V
    /// convention.
    #[must_use]
    pub fn enter(&self) -> usize {
        self.shared.enter
    }

    /// The offset of what calls of functions without code go to.
    #[must_use]
    pub fn without_code(&self) -> usize {
        self.shared.call
    }

    /// Code for a function, for this offset in the arena; nothing where it is too large.
    #[must_use]
    pub fn compile(&self, function: &Function, at: usize) -> Option<Made> {
        if function.ends.len() > Self::INSNS_MAX || function.homes.len() > Slot::TEMPS.into() {
            return None;
        }
        function::compile(self, function, at)
    }

    /// What makes the operations of one function.
    pub(crate) fn tier(&self, map: crate::map::Map) -> Tier {
        let layout = Layout {
            slots: 0,
            control: 0,
            fetch_ids: 0,
            load_tags: 0,
            load_adds: 0,
            store_tags: 0,
            store_adds: 0,
        };
        let techniques =
            Techniques { sharing: false, registers: false, pairs: false, floats: true };
        Tier {
            map,
            layout,
            features: self.features,
            techniques,
            float: FloatRule::Plain,
            reservation: Slot(Slot::END),
            flags: Slot(Slot::END + 1),
            beside: None,
            frames: true,
            thunks: crate::Thunks::default(),
            prologue: vec![],
        }
    }
}

/// Goes back to the caller of `enter`.
fn leave(asm: &mut Asm) -> usize {
    let here = asm.here();
    asm.store(8, Mem::at(RBP, words::BASE), words::FRAME_REG);
    asm.store(8, Mem::at(RBP, words::LEFT), R15);
    // Return addresses are dropped.
    asm.mov(W::Q, RSP, Mem::at(RBP, words::NATIVE));
    SAVED.iter().rev().for_each(|&reg| asm.pop(reg));
    asm.ret();
    here
}

/// `fn(words, place, fill)`
fn enter(asm: &mut Asm, leave: usize) -> usize {
    let here = asm.here();
    SAVED.iter().for_each(|&reg| asm.push(reg));
    asm.mov(W::Q, RBP, RDI);
    asm.store(8, Mem::at(RBP, words::NATIVE), RSP);
    asm.lea(W::Q, RCX, Mem::at(RSP, -NATIVE_MAX));
    asm.store(8, Mem::at(RBP, words::NATIVE_END), RCX);
    asm.mov(W::Q, RAX, RSI);
    asm.mov(W::Q, words::FRAME_REG, Mem::at(RBP, words::BASE));
    asm.mov(W::Q, words::LOADS_REG, Mem::at(RBP, words::LOADS));
    asm.mov(W::Q, words::STORES_REG, Mem::at(RBP, words::STORES));
    asm.mov(W::Q, R15, Mem::at(RBP, words::LEFT));
    let over = asm.call();
    // Where a return goes whose call was not made since.
    asm.store_imm(4, Mem::at(RBP, words::WHY), Left::Returned as i32);
    let out = asm.jmp();
    asm.bind_to(out, offset(leave));
    asm.bind(over);
    asm.jmp_rm(RDX);
    here
}

/// A call, of which nothing is done: rax has the caller and where it goes on.
fn call(asm: &mut Asm, leave: usize) -> usize {
    let here = asm.here();
    asm.store(4, Mem::at(RBP, words::FUNC), RAX);
    asm.shift_imm(Shift::Shr, W::Q, RAX, 32);
    asm.alu_imm(Alu::Sub, W::D, RAX, 1);
    asm.store(4, Mem::at(RBP, words::PC), RAX);
    asm.store_imm(4, Mem::at(RBP, words::WHY), Left::Call as i32);
    let out = asm.jmp();
    asm.bind_to(out, offset(leave));
    here
}

const _: () = assert!(words::TEMPS % 8 == 0);
