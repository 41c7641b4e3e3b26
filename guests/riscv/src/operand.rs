//! Operands of instructions, and where each format of the manual keeps them.
#![allow(missing_docs, reason = "operands are named as in the manual's formats")]

use omni_decode::{Operand, at, fixed, formats, operands, pieces, signed};

/// An integer register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct X(pub u8);

/// A floating-point register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct F(pub u8);

/// A signed immediate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imm(pub i32);

/// An unsigned immediate, or bits that only the meaning knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field(pub u32);

/// The upper 20 bits of a word; those above them repeat the sign or are zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct High(pub u32);

/// The distance of a jump or branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target(pub i32);

/// A rounding mode, static or dynamic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rm(pub u8);

/// The ordering bits of an atomic instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order(pub u8);

/// The number of a CSR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CsrNo(pub u16);

/// The number of one of Zfa's constants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Constant(pub u8);

/// Names of the integer registers.
pub(crate) const X_NAMES: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

/// Names of the floating-point registers.
pub(crate) const F_NAMES: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2",
    "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9",
    "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
];

macro_rules! small_operands {
    ($($name:ident, |$value:ident| $show:expr;)*) => {$(
        impl Operand for $name {
            fn of(bits: u32) -> Self {
                Self(bits.try_into().expect("the format gives so many bits"))
            }
            fn raw(self) -> u32 {
                self.0.into()
            }
            fn show(self) -> String {
                let $value = self.0;
                $show
            }
        }
    )*};
}
small_operands! {
    X, |number| X_NAMES[usize::from(number)].to_owned();
    F, |number| F_NAMES[usize::from(number)].to_owned();
    Field, |value| value.to_string();
    High, |value| (value & 0xf_ffff).to_string();
    CsrNo, |number| format!("{number:#x}");
    Constant, |number| number.to_string();
    Rm, |mode| ["rne", "rtz", "rdn", "rup", "rmm", "5", "6", "dyn"][usize::from(mode)].to_owned();
    Order, |bits| ["", ".rl", ".aq", ".aqrl"][usize::from(bits)].to_owned();
}

impl Operand for Imm {
    fn of(bits: u32) -> Self {
        Self(bits.cast_signed())
    }
    fn raw(self) -> u32 {
        self.0.cast_unsigned()
    }
    fn show(self) -> String {
        self.0.to_string()
    }
}

impl Operand for Target {
    fn of(bits: u32) -> Self {
        Self(bits.cast_signed())
    }
    fn raw(self) -> u32 {
        self.0.cast_unsigned()
    }
    fn show(self) -> String {
        format!(".{:+}", self.0)
    }
}

operands! {
    /// No operands.
    pub struct None {}
    /// Two sources and a result.
    pub struct Reg { rd: X, rs1: X, rs2: X }
    /// One source and a result.
    pub struct OneReg { rd: X, rs1: X }
    /// A source, an immediate and a result.
    pub struct RegImm { rd: X, rs1: X, imm: Imm }
    /// A source, a count and a result.
    pub struct Shift { rd: X, rs1: X, shamt: Field }
    /// An immediate and a result.
    pub struct Upper { rd: X, imm: High }
    /// A jump with a link.
    pub struct Jump { rd: X, imm: Target }
    /// A branch.
    pub struct Branch { rs1: X, rs2: X, imm: Target }
    /// A store.
    pub struct Store { rs1: X, rs2: X, imm: Imm }
    /// A fence, with every bit of it.
    pub struct Fence { rd: X, rs1: X, fm: Field, pred: Field, succ: Field }
    /// A fence of instructions, with every bit of it.
    pub struct FenceI { rd: X, rs1: X, imm: Imm }
    /// An access to a CSR.
    pub struct Csr { rd: X, rs1: X, csr: CsrNo }
    /// An access to a CSR with an immediate.
    pub struct CsrImm { rd: X, uimm: Field, csr: CsrNo }
    /// An address to act on.
    pub struct Address { rs1: X }
    /// An address and an address space.
    pub struct Space { rs1: X, rs2: X }
    /// An atomic operation.
    pub struct Amo { rd: X, rs1: X, rs2: X, order: Order }
    /// A load that reserves.
    pub struct Reserve { rd: X, rs1: X, order: Order }
    /// A floating-point load.
    pub struct FloatLoad { rd: F, rs1: X, imm: Imm }
    /// A floating-point store.
    pub struct FloatStore { rs1: X, rs2: F, imm: Imm }
    /// Two floating-point sources and a result.
    pub struct Float2 { rd: F, rs1: F, rs2: F }
    /// The same, rounded.
    pub struct Float2Rm { rd: F, rs1: F, rs2: F, rm: Rm }
    /// Three floating-point sources and a result, rounded.
    pub struct Float3Rm { rd: F, rs1: F, rs2: F, rs3: F, rm: Rm }
    /// One floating-point source and a result, rounded.
    pub struct Float1Rm { rd: F, rs1: F, rm: Rm }
    /// A comparison.
    pub struct FloatCompare { rd: X, rs1: F, rs2: F }
    /// A floating-point source and an integer result.
    pub struct FloatToX { rd: X, rs1: F }
    /// The same, rounded.
    pub struct FloatToXRm { rd: X, rs1: F, rm: Rm }
    /// An integer source and a floating-point result.
    pub struct FloatFromX { rd: F, rs1: X }
    /// The same, rounded.
    pub struct FloatFromXRm { rd: F, rs1: X, rm: Rm }
    /// A constant.
    pub struct FloatConst { rd: F, constant: Constant }
    /// An operation that may be: a number of it, a source and a result.
    pub struct MayBe { rd: X, rs1: X, n: Field }
    /// The same with two sources.
    pub struct MayBe2 { rd: X, rs1: X, rs2: X, n: Field }
    /// The number alone.
    pub struct MayBeShort { n: Field }
}

const RD: omni_decode::Bits = at(7, 5);
const RS1: omni_decode::Bits = at(15, 5);
const RS2: omni_decode::Bits = at(20, 5);
const RM: omni_decode::Bits = at(12, 3);
const IMM_I: omni_decode::Bits = signed(12, &[(20, 12, 0)]);
const IMM_S: omni_decode::Bits = signed(12, &[(25, 7, 5), (7, 5, 0)]);

formats! {
    /// Nothing.
    Bare for None {}
    /// R-type.
    R for Reg { rd = RD, rs1 = RS1, rs2 = RS2 }
    /// R-type of one source.
    R1 for OneReg { rd = RD, rs1 = RS1 }
    /// I-type.
    I for RegImm { rd = RD, rs1 = RS1, imm = IMM_I }
    /// Shift by six bits.
    Sh6 for Shift { rd = RD, rs1 = RS1, shamt = at(20, 6) }
    /// Shift by five bits.
    Sh5 for Shift { rd = RD, rs1 = RS1, shamt = at(20, 5) }
    /// U-type; the immediate is the upper 20 bits.
    U for Upper { rd = RD, imm = at(12, 20) }
    /// J-type.
    J for Jump {
        rd = RD,
        imm = signed(21, &[(31, 1, 20), (12, 8, 12), (20, 1, 11), (21, 10, 1)]),
    }
    /// B-type.
    B for Branch {
        rs1 = RS1,
        rs2 = RS2,
        imm = signed(13, &[(31, 1, 12), (7, 1, 11), (25, 6, 5), (8, 4, 1)]),
    }
    /// S-type.
    S for Store { rs1 = RS1, rs2 = RS2, imm = IMM_S }
    /// The fence.
    Fen for Fence { rd = RD, rs1 = RS1, fm = at(28, 4), pred = at(24, 4), succ = at(20, 4) }
    /// The fence of instructions.
    FenI for FenceI { rd = RD, rs1 = RS1, imm = IMM_I }
    /// CSR by register.
    C for Csr { rd = RD, rs1 = RS1, csr = at(20, 12) }
    /// CSR by immediate.
    Ci for CsrImm { rd = RD, uimm = RS1, csr = at(20, 12) }
    /// An address.
    A1 for Address { rs1 = RS1 }
    /// An address and a space.
    A2 for Space { rs1 = RS1, rs2 = RS2 }
    /// Atomic.
    Am for Amo { rd = RD, rs1 = RS1, rs2 = RS2, order = at(25, 2) }
    /// Load-reserved.
    Lr for Reserve { rd = RD, rs1 = RS1, order = at(25, 2) }
    /// Floating-point load.
    Fl for FloatLoad { rd = RD, rs1 = RS1, imm = IMM_I }
    /// Floating-point store.
    Fs for FloatStore { rs1 = RS1, rs2 = RS2, imm = IMM_S }
    /// Floating-point of two sources.
    F2 for Float2 { rd = RD, rs1 = RS1, rs2 = RS2 }
    /// The same, rounded.
    F2r for Float2Rm { rd = RD, rs1 = RS1, rs2 = RS2, rm = RM }
    /// R4-type.
    F3r for Float3Rm { rd = RD, rs1 = RS1, rs2 = RS2, rs3 = at(27, 5), rm = RM }
    /// Floating-point of one source, rounded.
    F1r for Float1Rm { rd = RD, rs1 = RS1, rm = RM }
    /// Comparison.
    Fc for FloatCompare { rd = RD, rs1 = RS1, rs2 = RS2 }
    /// To integer register.
    Fx for FloatToX { rd = RD, rs1 = RS1 }
    /// To integer register, rounded.
    Fxr for FloatToXRm { rd = RD, rs1 = RS1, rm = RM }
    /// From integer register.
    Xf for FloatFromX { rd = RD, rs1 = RS1 }
    /// From integer register, rounded.
    Xfr for FloatFromXRm { rd = RD, rs1 = RS1, rm = RM }
    /// Loadable constant.
    Fk for FloatConst { rd = RD, constant = RS1 }
    /// May-be-operation of one source.
    Mo1 for MayBe { rd = RD, rs1 = RS1, n = pieces(&[(30, 1, 4), (26, 2, 2), (20, 2, 0)]) }
    /// May-be-operation of two sources.
    Mo2 for MayBe2 { rd = RD, rs1 = RS1, rs2 = RS2, n = pieces(&[(30, 1, 2), (26, 2, 0)]) }
}

const C_RD: omni_decode::Bits = at(7, 5);
const C_RS2: omni_decode::Bits = at(2, 5);
/// The registers x8 to x15, at either place.
const C_LOW: omni_decode::Bits = at(2, 3).or(8);
const C_HIGH: omni_decode::Bits = at(7, 3).or(8);
const C_IMM6: omni_decode::Bits = signed(6, &[(12, 1, 5), (2, 5, 0)]);
const C_SHAMT: omni_decode::Bits = pieces(&[(12, 1, 5), (2, 5, 0)]);
const C_OFF_W: omni_decode::Bits = pieces(&[(10, 3, 3), (6, 1, 2), (5, 1, 6)]);
const C_OFF_D: omni_decode::Bits = pieces(&[(10, 3, 3), (5, 2, 6)]);
const C_SP_W: omni_decode::Bits = pieces(&[(12, 1, 5), (4, 3, 2), (2, 2, 6)]);
const C_SP_D: omni_decode::Bits = pieces(&[(12, 1, 5), (5, 2, 3), (2, 3, 6)]);
const C_SP_SW: omni_decode::Bits = pieces(&[(9, 4, 2), (7, 2, 6)]);
const C_SP_SD: omni_decode::Bits = pieces(&[(10, 3, 3), (7, 3, 6)]);
const SP: omni_decode::Bits = fixed(2);
const ZERO: omni_decode::Bits = fixed(0);

formats! {
    /// CIW where the immediate is reserved.
    CiwZero for OneReg { rd = C_LOW, rs1 = ZERO }
    /// CI where the immediate is reserved.
    CiZero for OneReg { rd = C_RD, rs1 = ZERO }
    /// CI where the register is reserved.
    CiNoRd for RegImm { rd = ZERO, rs1 = ZERO, imm = C_IMM6 }
    /// CIW: an address on the stack.
    Ciw for RegImm {
        rd = C_LOW,
        rs1 = SP,
        imm = pieces(&[(11, 2, 4), (7, 4, 6), (6, 1, 2), (5, 1, 3)]),
    }
    /// CL of words.
    ClW for RegImm { rd = C_LOW, rs1 = C_HIGH, imm = C_OFF_W }
    /// CL of doublewords.
    ClD for RegImm { rd = C_LOW, rs1 = C_HIGH, imm = C_OFF_D }
    /// CL of doubles.
    ClFd for FloatLoad { rd = C_LOW, rs1 = C_HIGH, imm = C_OFF_D }
    /// CS of words.
    CsW for Store { rs1 = C_HIGH, rs2 = C_LOW, imm = C_OFF_W }
    /// CS of doublewords.
    CsD for Store { rs1 = C_HIGH, rs2 = C_LOW, imm = C_OFF_D }
    /// CS of doubles.
    CsFd for FloatStore { rs1 = C_HIGH, rs2 = C_LOW, imm = C_OFF_D }
    /// CI: a register and an immediate.
    CiImm for RegImm { rd = C_RD, rs1 = C_RD, imm = C_IMM6 }
    /// CI: an immediate alone.
    CiLi for RegImm { rd = C_RD, rs1 = ZERO, imm = C_IMM6 }
    /// CI: the stack pointer.
    CiSp for RegImm {
        rd = SP,
        rs1 = SP,
        imm = signed(10, &[(12, 1, 9), (6, 1, 4), (5, 1, 6), (3, 2, 7), (2, 1, 5)]),
    }
    /// CI: an upper immediate; the value is the upper 20 bits.
    CiLui for Upper { rd = C_RD, imm = signed(6, &[(12, 1, 5), (2, 5, 0)]) }
    /// CI: a shift.
    CiSh for Shift { rd = C_RD, rs1 = C_RD, shamt = C_SHAMT }
    /// CI: a word from the stack.
    CiLw for RegImm { rd = C_RD, rs1 = SP, imm = C_SP_W }
    /// CI: a doubleword from the stack.
    CiLd for RegImm { rd = C_RD, rs1 = SP, imm = C_SP_D }
    /// CI: a double from the stack.
    CiFld for FloatLoad { rd = C_RD, rs1 = SP, imm = C_SP_D }
    /// CSS: a word to the stack.
    CssW for Store { rs1 = SP, rs2 = C_RS2, imm = C_SP_SW }
    /// CSS: a doubleword to the stack.
    CssD for Store { rs1 = SP, rs2 = C_RS2, imm = C_SP_SD }
    /// CSS: a double to the stack.
    CssFd for FloatStore { rs1 = SP, rs2 = C_RS2, imm = C_SP_SD }
    /// CB: a shift.
    CbSh for Shift { rd = C_HIGH, rs1 = C_HIGH, shamt = C_SHAMT }
    /// CB: an immediate.
    CbImm for RegImm { rd = C_HIGH, rs1 = C_HIGH, imm = C_IMM6 }
    /// CB: a branch.
    Cb for Branch {
        rs1 = C_HIGH,
        rs2 = ZERO,
        imm = signed(9, &[(12, 1, 8), (10, 2, 3), (5, 2, 6), (3, 2, 1), (2, 1, 5)]),
    }
    /// CA: two registers.
    Ca for Reg { rd = C_HIGH, rs1 = C_HIGH, rs2 = C_LOW }
    /// CJ: a jump.
    Cj for Jump {
        rd = ZERO,
        imm = signed(12, &[
            (12, 1, 11), (11, 1, 4), (9, 2, 8), (8, 1, 10),
            (7, 1, 6), (6, 1, 7), (3, 3, 1), (2, 1, 5),
        ]),
    }
    /// CR: a jump to a register.
    Cjr for RegImm { rd = ZERO, rs1 = C_RD, imm = ZERO }
    /// CR: a call of a register.
    Cjalr for RegImm { rd = fixed(1), rs1 = C_RD, imm = ZERO }
    /// CR: a move.
    Cmv for Reg { rd = C_RD, rs1 = ZERO, rs2 = C_RS2 }
    /// CR: a sum.
    Cadd for Reg { rd = C_RD, rs1 = C_RD, rs2 = C_RS2 }
    /// CLB: bytes.
    ClB for RegImm { rd = C_LOW, rs1 = C_HIGH, imm = pieces(&[(6, 1, 0), (5, 1, 1)]) }
    /// CLH: halfwords.
    ClH for RegImm { rd = C_LOW, rs1 = C_HIGH, imm = pieces(&[(5, 1, 1)]) }
    /// CSB: bytes.
    CsB for Store { rs1 = C_HIGH, rs2 = C_LOW, imm = pieces(&[(6, 1, 0), (5, 1, 1)]) }
    /// CSH: halfwords.
    CsH for Store { rs1 = C_HIGH, rs2 = C_LOW, imm = pieces(&[(5, 1, 1)]) }
    /// CU: one register.
    Cu for OneReg { rd = C_HIGH, rs1 = C_HIGH }
    /// A short may-be-operation.
    Cmo for MayBeShort { n = pieces(&[(8, 3, 1)]).or(1) }
}
