//! The front-end: decodes one instruction and calls its meaning, which writes IR.

use crate::isa::Insn;
use crate::mode::CodeMode;
use crate::operand::{F, F_NAMES, Rm, X, X_NAMES};
use crate::trap::cause;
use omni_engine::{Code, Flow, Frontend, HotSlots, Mode, NanRule, RegSlot};
use omni_ir::{Builder, Helper, Slot, Unary, Val};
use std::sync::OnceLock;

/// The slots of the register file.
pub mod slot {
    use omni_ir::Slot;

    /// Integer registers from here on; the first is never written.
    pub const X0: u8 = 0;
    /// Floating-point registers from here on.
    pub const F0: u8 = 32;
    /// The accrued exceptions, `fflags`.
    pub const FFLAGS: Slot = Slot(64);
    /// The rounding mode, `frm`.
    pub const FRM: Slot = Slot(65);
    /// The reserved address.
    pub const RESERVATION: Slot = Slot(66);
    /// Slots that are state.
    pub const COUNT: usize = 67;
}

/// The helpers: what has no operation in the IR.
pub mod helper {
    use omni_ir::Helper;

    /// Reads and writes a CSR: instruction word, operand.
    pub const CSR: Helper = Helper(0);
    /// Marks the floating-point state dirty.
    pub const DIRTY: Helper = Helper(1);
    /// Returns from a trap of M (3) or S (1); gives the next pc.
    pub const RETURN: Helper = Helper(2);
    /// Waits for an interrupt.
    pub const WAIT: Helper = Helper(3);
    /// Checks that a cache block may be managed: the address.
    pub const CACHE_BLOCK: Helper = Helper(4);
    /// Compares and swaps 16 bytes: address, numbers of rd and rs2. Fills the pair of rd.
    pub const SWAP_PAIR: Helper = Helper(5);
}

/// The RISC-V front-end. All harts share it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Riscv;

impl Frontend for Riscv {
    fn registers(&self) -> &'static [RegSlot] {
        static SLOTS: OnceLock<Vec<RegSlot>> = OnceLock::new();
        SLOTS.get_or_init(|| {
            let names = X_NAMES.iter().chain(&F_NAMES).chain(&["fflags", "frm", "reservation"]);
            (0_u8..)
                .zip(names)
                .map(|(slot, name)| RegSlot { slot: Slot(slot), name, bits: 64 })
                .collect()
        })
    }

    fn float_flags(&self) -> Slot {
        slot::FFLAGS
    }

    fn reservation(&self) -> Slot {
        slot::RESERVATION
    }

    fn nan_rule(&self) -> NanRule {
        NanRule::RiscV
    }

    /// What compilers give out first: arguments, the stack pointer, saved registers.
    fn hot_slots(&self) -> HotSlots {
        const fn x(number: u8) -> Slot {
            Slot(slot::X0 + number)
        }
        const fn f(number: u8) -> Slot {
            Slot(slot::F0 + number)
        }
        const INTEGERS: &[Slot] =
            &[x(15), x(14), x(10), x(13), x(12), x(11), x(2), x(8), x(9), x(16), x(17), x(1), x(6)];
        const FLOATS: &[Slot] =
            &[f(15), f(14), f(10), f(13), f(12), f(11), f(16), f(17), f(0), f(1), f(2), f(3), f(8)];
        HotSlots { integers: INTEGERS, floats: FLOATS }
    }

    fn code_moves(&self) -> bool {
        true
    }

    fn lower(&self, code: &Code, mode: Mode, into: &mut Builder) -> Flow {
        let half = u16::from_le_bytes([code.bytes[0], code.bytes[1]]);
        let size = if half & 3 == 3 { 4 } else { 2 };
        if code.count < usize::from(size) {
            return Flow::More;
        }
        let word = match size {
            2 => u32::from(half),
            _ => u32::from_le_bytes([code.bytes[0], code.bytes[1], code.bytes[2], code.bytes[3]]),
        };
        let mut cx = Lower { b: into, pc: code.pc, word, size, mode: CodeMode::unpack(mode) };
        match Insn::decode(word) {
            Some((insn, _)) => insn.apply(&mut cx),
            None => cx.illegal(),
        }
        if into.term().is_some() { Flow::End } else { Flow::Next(size) }
    }
}

/// What a meaning writes into: the builder, and where the instruction is.
#[derive(Debug)]
pub struct Lower<'a> {
    /// The block.
    pub b: &'a mut Builder,
    /// The address of the instruction.
    pub pc: u64,
    /// Its bits; the upper half is zero where it is compressed.
    pub word: u32,
    /// Its size in bytes.
    pub size: u8,
    /// What the hart is like.
    pub mode: CodeMode,
}

impl Lower<'_> {
    /// The address of the next instruction.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.pc.wrapping_add(u64::from(self.size))
    }

    /// Ends the block after this instruction, as code may mean something else from the next on.
    pub fn stop_next(&mut self) {
        let (to, next) = (self.b.temp(), self.next());
        self.b.address(to, next);
        self.b.stop(to);
    }

    /// What an integer register holds.
    #[must_use]
    pub fn x(&self, X(number): X) -> Val {
        if number == 0 { Val::Const(0) } else { Val::Slot(Slot(slot::X0 + number)) }
    }

    /// Where a result for an integer register goes: a temporary where that is x0.
    pub fn dst(&mut self, X(number): X) -> Slot {
        if number == 0 { self.b.temp() } else { Slot(slot::X0 + number) }
    }

    /// What a floating-point register holds, all 64 bits.
    #[must_use]
    pub fn f(&self, F(number): F) -> Val {
        Val::Slot(Slot(slot::F0 + number))
    }

    /// The slot of a floating-point register.
    #[must_use]
    pub fn f_dst(&self, F(number): F) -> Slot {
        Slot(slot::F0 + number)
    }

    /// `op a` in a fresh temporary.
    pub fn unary(&mut self, op: Unary, a: impl Into<Val>) -> Val {
        let temp = self.b.temp();
        self.b.unary(op, temp, a);
        temp.into()
    }

    /// Calls a helper for its effect or its value, in a fresh temporary.
    pub fn call(&mut self, helper: Helper, args: [Val; 3]) -> Slot {
        let temp = self.b.temp();
        self.b.call(helper, temp, args);
        temp
    }

    /// The instruction does not exist here.
    pub fn illegal(&mut self) {
        self.b.trap(cause::ILLEGAL, u64::from(self.word));
    }

    /// Whether floating-point instructions exist here; if not, the instruction traps.
    pub fn float_on(&mut self) -> bool {
        if !self.mode.float_on {
            self.illegal();
        }
        self.mode.float_on
    }

    /// The operand that says how to round, or `None` where the mode is reserved and the
    /// instruction traps.
    pub fn round(&mut self, Rm(mode): Rm) -> Option<Val> {
        match mode {
            0..=4 => Some(Val::Const(u64::from(mode))),
            7 if self.mode.frm_valid => Some(slot::FRM.into()),
            _ => {
                self.illegal();
                None
            }
        }
    }

    /// To be called before floating-point state is written, after all else that can trap: marks
    /// it dirty where it is not, and leaves, since code means something else then.
    pub fn dirty(&mut self) {
        if !self.mode.float_dirty {
            self.call(helper::DIRTY, [Val::Const(0); 3]);
        }
    }

    /// To be called when floating-point state has been written.
    pub fn dirtied(&mut self) {
        if !self.mode.float_dirty {
            self.stop_next();
        }
    }
}
