//! Blocks: straight-line code with side exits, and one terminator.

use crate::{Binary, Cond, Unary, Width};

/// A place in the file: below `TEMPS` a guest register, from there on a temporary.
///
/// Registers outlive the block; a temporary lives within one guest instruction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(pub u8);

impl Slot {
    /// The number of the first temporary.
    pub const TEMPS: u8 = 160;

    /// One past the last temporary; tiers use the slots from here on as they like.
    pub const END: u8 = 248;

    /// Whether it is a temporary.
    #[must_use]
    pub const fn is_temp(self) -> bool {
        self.0 >= Self::TEMPS
    }
}

/// An operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Val {
    /// What a slot holds.
    Slot(Slot),
    /// A constant.
    Const(u64),
}

impl From<Slot> for Val {
    fn from(slot: Slot) -> Self {
        Self::Slot(slot)
    }
}

impl From<u64> for Val {
    fn from(value: u64) -> Self {
        Self::Const(value)
    }
}

/// The size of a memory access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Size {
    /// One byte.
    B1,
    /// Two bytes.
    B2,
    /// Four bytes.
    B4,
    /// Eight bytes.
    B8,
    /// Sixteen bytes; only for compare-and-swap.
    B16,
}

impl Size {
    /// The size in bytes.
    #[inline(always)]
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::B1 => 1,
            Self::B2 => 2,
            Self::B4 => 4,
            Self::B8 => 8,
            Self::B16 => 16,
        }
    }
}

/// How a memory access is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Memory {
    /// How many bytes.
    pub size: Size,
    /// Whether a load sign-extends.
    pub signed: bool,
}

/// What an atomic operation does with the old value and the operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AtomicOp {
    /// Replaces it.
    Swap,
    /// A binary operation at the width of the access.
    Binary(Binary),
}

/// What a fence orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fence {
    /// Loads before against loads and stores after.
    Acquire,
    /// Loads and stores before against stores after.
    Release,
    /// Everything.
    Full,
}

/// A floating-point format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// binary16.
    F16,
    /// binary32.
    F32,
    /// binary64.
    F64,
}

/// A floating-point operation on the low bits of its operands; results have no box.
///
/// Exceptions are or-ed into the front-end's flags slot. The names are those of IEEE 754.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FloatOp {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient.
    Div,
    /// Square root of the first operand.
    Sqrt,
    /// `a * b + c` with one rounding.
    MulAdd,
    /// minimumNumber (2019).
    MinNumber,
    /// maximumNumber (2019).
    MaxNumber,
    /// minimum (2019): a NaN operand gives NaN.
    Minimum,
    /// maximum (2019).
    Maximum,
    /// One if equal; quiet.
    EqQuiet,
    /// One if less; signals on any NaN.
    LtSignal,
    /// One if less or equal; signals on any NaN.
    LeSignal,
    /// One if less; quiet.
    LtQuiet,
    /// One if less or equal; quiet.
    LeQuiet,
    /// The class as one of ten bits (RISC-V `fclass`).
    Class,
    /// To another format.
    ToFloat(Format),
    /// To a 32-bit signed integer, sign-extended; saturating.
    ToI32,
    /// To a 32-bit unsigned integer, sign-extended; saturating.
    ToU32,
    /// To a 64-bit signed integer; saturating.
    ToI64,
    /// To a 64-bit unsigned integer; saturating.
    ToU64,
    /// From a 32-bit signed integer.
    FromI32,
    /// From a 32-bit unsigned integer.
    FromU32,
    /// From a 64-bit signed integer.
    FromI64,
    /// From a 64-bit unsigned integer.
    FromU64,
    /// To an integral value, without the inexact flag.
    Round,
    /// To an integral value, with the inexact flag.
    RoundExact,
    /// To a 32-bit integer modulo 2^32, sign-extended (RISC-V `fcvtmod.w.d`).
    ToI32Modular,
}

/// A function of the front-end, called from code: what has no operation of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Helper(pub u16);

/// A synchronous exception, in the numbering of the guest architecture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trap {
    /// The cause.
    pub cause: u64,
    /// The address or word at fault.
    pub value: u64,
}

/// An instruction of the IR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inst {
    /// A guest instruction starts here, at this address.
    Start(u64),
    /// `dst = op a`
    Unary(Unary, Slot, Val),
    /// `dst = a op b`
    Binary(Binary, Width, Slot, Val, Val),
    /// `dst = if test != 0 { a } else { b }`
    Select(Slot, Val, Val, Val),
    /// `dst = base` with `bits` bits from `at` on replaced by the low bits of `value`.
    Deposit {
        /// The result.
        dst: Slot,
        /// What keeps the other bits.
        base: Val,
        /// The new bits.
        value: Val,
        /// The lowest place.
        at: u8,
        /// How many.
        bits: u8,
    },
    /// `dst = *(base + offset)`; traps.
    Load(Memory, Slot, Val, i32),
    /// `*(base + offset) = value`; traps.
    Store(Size, Val, i32, Val),
    /// `dst = *at; *at = dst op value`, in one step; `at` must be aligned; traps. The old value is
    /// sign-extended from the size.
    Atomic(AtomicOp, Size, Slot, Val, Val),
    /// `dst = *at` if it equals `expect` is replaced by `value`, in one step; `at` must be aligned;
    /// traps. The old value is sign-extended from the size; only its low bytes are compared.
    CompareSwap {
        /// How many bytes.
        size: Size,
        /// The old value.
        dst: Slot,
        /// The address.
        at: Val,
        /// What must be there.
        expect: Val,
        /// What replaces it.
        value: Val,
    },
    /// `dst = *at`, sign-extended, and reserves `at`: the front-end's reservation slot holds it.
    /// `at` must be aligned; traps.
    LoadReserved(Size, Slot, Val),
    /// `*at = value; dst = 0` if `at` is reserved, else `dst = 1`; the reservation is gone either
    /// way. `at` must be aligned; traps.
    StoreConditional(Size, Slot, Val, Val),
    /// Orders memory accesses of this vCPU as others see them.
    Fence(Fence),
    /// `dst = op(a, b, c)` with a rounding mode in the front-end's numbering.
    Float {
        /// The operation.
        op: FloatOp,
        /// The format of the operands, or of the result where they are integers.
        format: Format,
        /// The result.
        dst: Slot,
        /// The operands; those an operation does not have are zero.
        args: [Val; 3],
        /// The rounding mode.
        round: Val,
    },
    /// `dst = helper(a, b, c)`; may read and write every register; traps.
    Call(Helper, Slot, [Val; 3]),
    /// `dst =` an address at a known distance from this block: where the same bytes are at another
    /// address, it is another too. What is here is the one for the block's own address.
    Address(Slot, u64),
    /// Leaves for another address if the comparison holds. Counts as the end of its instruction.
    /// The address moves with the block.
    ExitIf(Cond, Val, Val, u64),
}

impl Inst {
    /// The slot that is written.
    #[must_use]
    pub fn dst(&self) -> Option<Slot> {
        match self {
            Self::Unary(_, dst, _)
            | Self::Binary(_, _, dst, _, _)
            | Self::Select(dst, ..)
            | Self::Deposit { dst, .. }
            | Self::Load(_, dst, ..)
            | Self::Atomic(_, _, dst, _, _)
            | Self::CompareSwap { dst, .. }
            | Self::LoadReserved(_, dst, _)
            | Self::StoreConditional(_, dst, _, _)
            | Self::Float { dst, .. }
            | Self::Address(dst, _)
            | Self::Call(_, dst, _) => Some(*dst),
            Self::Start(_) | Self::Store(..) | Self::Fence(_) | Self::ExitIf(..) => None,
        }
    }

    /// The operands.
    #[must_use]
    pub fn operands(&self) -> [Option<Val>; 4] {
        match *self {
            Self::Start(_) | Self::Fence(_) | Self::Address(..) => [None; 4],
            Self::Unary(_, _, a) | Self::Load(_, _, a, _) | Self::LoadReserved(_, _, a) => {
                [Some(a), None, None, None]
            }
            Self::Binary(_, _, _, a, b)
            | Self::Deposit { base: a, value: b, .. }
            | Self::Store(_, a, _, b)
            | Self::Atomic(_, _, _, a, b)
            | Self::StoreConditional(_, _, a, b)
            | Self::ExitIf(_, a, b, _) => [Some(a), Some(b), None, None],
            Self::Select(_, a, b, c)
            | Self::Call(_, _, [a, b, c])
            | Self::CompareSwap { at: a, expect: b, value: c, .. } => {
                [Some(a), Some(b), Some(c), None]
            }
            Self::Float { args: [a, b, c], round, .. } => [Some(a), Some(b), Some(c), Some(round)],
        }
    }

    /// Whether an operand is the slot. Some operations read and write slots that they do not name:
    /// the front-end's flags and reservation, and a call all of them.
    #[must_use]
    pub fn reads(&self, slot: Slot) -> bool {
        self.operands().contains(&Some(slot.into()))
    }

    /// Whether it may trap, so that nothing of its guest instruction may be done before it.
    #[must_use]
    pub fn may_trap(&self) -> bool {
        matches!(
            self,
            Self::Load(..)
                | Self::Store(..)
                | Self::Atomic(..)
                | Self::CompareSwap { .. }
                | Self::LoadReserved(..)
                | Self::StoreConditional(..)
                | Self::Call(..)
        )
    }
}

/// How a block ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Term {
    /// Goes on at an address at a known distance from this block, like those of `Inst::Address`.
    Jump(u64),
    /// Goes to the first such address if the comparison holds, else to the second.
    Branch(Cond, Val, Val, u64, u64),
    /// Goes to a computed address, or to one that is the same wherever the block is.
    Indirect(Val),
    /// The last instruction does not retire but traps.
    Trap(Trap),
    /// Goes back to whoever runs the vCPU, to go on at this address: the instruction changed the
    /// mode, the address space, or what interrupts are pending.
    Stop(Val),
}

impl Term {
    /// The operands.
    #[must_use]
    pub fn operands(&self) -> [Option<Val>; 2] {
        match *self {
            Self::Jump(_) | Self::Trap(_) => [None; 2],
            Self::Branch(_, a, b, _, _) => [Some(a), Some(b)],
            Self::Indirect(a) | Self::Stop(a) => [Some(a), None],
        }
    }

    /// Whether an operand is the slot.
    #[must_use]
    pub fn reads(&self, slot: Slot) -> bool {
        self.operands().contains(&Some(slot.into()))
    }
}

/// A translated block.
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// The body; begins with a `Start`.
    pub insts: Vec<Inst>,
    /// The end.
    pub term: Term,
    /// Guest instructions in the block, which is what running all of it costs in ticks.
    pub ticks: u32,
}

impl Block {
    /// Whether the load-reserved or store-conditional at this place is one of a pair of equal size
    /// with nothing but registers between, but for ways out of the block. Then no access tells
    /// when between the two the value was read.
    #[must_use]
    #[allow(clippy::wildcard_enum_match_arm, reason = "what is not one of two operations")]
    pub fn reserves_shortly(&self, at: usize) -> bool {
        let other = |inst: &&Inst| {
            !matches!(
                inst,
                Inst::Start(_)
                    | Inst::Unary(..)
                    | Inst::Binary(..)
                    | Inst::Select(..)
                    | Inst::Deposit { .. }
                    | Inst::ExitIf(..)
            )
        };
        match self.insts[at] {
            Inst::LoadReserved(size, ..) => matches!(
                self.insts[at + 1..].iter().find(other),
                Some(Inst::StoreConditional(of, ..)) if *of == size
            ),
            Inst::StoreConditional(size, ..) => matches!(
                self.insts[..at].iter().rev().find(other),
                Some(Inst::LoadReserved(of, ..)) if *of == size
            ),
            _ => false,
        }
    }
}
