//! Zbb: basic bit manipulation.

use super::base::arithmetic;
use crate::lower::Lower;
use crate::operand::{OneReg, R, R1, Reg, Sh5, Sh6, Shift};
use omni_decode::instructions;
use omni_ir::{Binary, Unary, Val, Width};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Basic bit manipulation.
    pub enum Bits for Lower<'_> {
        /// `rd = rs1 & !rs2`.
        Andn  = "0100000 ..... ..... 111 ..... 0110011", R, "andn {rd}, {rs1}, {rs2}" => andn;
        /// `rd = rs1 | !rs2`.
        Orn   = "0100000 ..... ..... 110 ..... 0110011", R, "orn {rd}, {rs1}, {rs2}" => orn;
        /// `rd = rs1 ^ !rs2`.
        Xnor  = "0100000 ..... ..... 100 ..... 0110011", R, "xnor {rd}, {rs1}, {rs2}" => xnor;
        /// Leading zeros.
        Clz   = "0110000 00000 ..... 001 ..... 0010011", R1, "clz {rd}, {rs1}" => clz;
        /// Trailing zeros.
        Ctz   = "0110000 00001 ..... 001 ..... 0010011", R1, "ctz {rd}, {rs1}" => ctz;
        /// Ones.
        Cpop  = "0110000 00010 ..... 001 ..... 0010011", R1, "cpop {rd}, {rs1}" => cpop;
        /// Leading zeros of the low word.
        Clzw  = "0110000 00000 ..... 001 ..... 0011011", R1, "clzw {rd}, {rs1}" => clzw;
        /// Trailing zeros of the low word.
        Ctzw  = "0110000 00001 ..... 001 ..... 0011011", R1, "ctzw {rd}, {rs1}" => ctzw;
        /// Ones in the low word.
        Cpopw = "0110000 00010 ..... 001 ..... 0011011", R1, "cpopw {rd}, {rs1}" => cpopw;
        /// The low byte, sign-extended.
        SextB = "0110000 00100 ..... 001 ..... 0010011", R1, "sext.b {rd}, {rs1}" => sext_b;
        /// The low halfword, sign-extended.
        SextH = "0110000 00101 ..... 001 ..... 0010011", R1, "sext.h {rd}, {rs1}" => sext_h;
        /// The low halfword, zero-extended.
        ZextH = "0000100 00000 ..... 100 ..... 0111011", R1, "zext.h {rd}, {rs1}" => zext_h;
        /// Each byte all ones where it is not zero.
        OrcB  = "0010100 00111 ..... 101 ..... 0010011", R1, "orc.b {rd}, {rs1}" => orc_b;
        /// Bytes in reverse order.
        Rev8  = "0110101 11000 ..... 101 ..... 0010011", R1, "rev8 {rd}, {rs1}" => rev8;
        /// The lesser.
        Min   = "0000101 ..... ..... 100 ..... 0110011", R, "min {rd}, {rs1}, {rs2}" => min;
        /// The lesser, unsigned.
        Minu  = "0000101 ..... ..... 101 ..... 0110011", R, "minu {rd}, {rs1}, {rs2}" => minu;
        /// The greater.
        Max   = "0000101 ..... ..... 110 ..... 0110011", R, "max {rd}, {rs1}, {rs2}" => max;
        /// The greater, unsigned.
        Maxu  = "0000101 ..... ..... 111 ..... 0110011", R, "maxu {rd}, {rs1}, {rs2}" => maxu;
        /// Rotates left.
        Rol   = "0110000 ..... ..... 001 ..... 0110011", R, "rol {rd}, {rs1}, {rs2}" => rol;
        /// Rotates right.
        Ror   = "0110000 ..... ..... 101 ..... 0110011", R, "ror {rd}, {rs1}, {rs2}" => ror;
        /// Rotates right by a constant.
        Rori  = "011000 ...... ..... 101 ..... 0010011", Sh6, "rori {rd}, {rs1}, {shamt}" => rori;
        /// Rotates the low word left.
        Rolw  = "0110000 ..... ..... 001 ..... 0111011", R, "rolw {rd}, {rs1}, {rs2}" => rolw;
        /// Rotates the low word right.
        Rorw  = "0110000 ..... ..... 101 ..... 0111011", R, "rorw {rd}, {rs1}, {rs2}" => rorw;
        /// Rotates the low word right by a constant.
        Roriw = "0110000 ..... ..... 101 ..... 0011011", Sh5, "roriw {rd}, {rs1}, {shamt}" => roriw;
    }
}

arithmetic! {
    andn reg = AndNot Full; orn reg = OrNot Full; xnor reg = XorNot Full;
    min reg = MinS Full; minu reg = MinU Full; max reg = MaxS Full; maxu reg = MaxU Full;
    rol reg = RotL Full; ror reg = RotR Full; rori shift = RotR Full;
    rolw reg = RotL Signed32; rorw reg = RotR Signed32; roriw shift = RotR Signed32;
}

macro_rules! of_one {
    ($($name:ident = $op:ident;)*) => {$(
        pub(super) fn $name(cx: &mut Lower<'_>, o: OneReg) {
            if o.rd.0 != 0 {
                let dst = cx.dst(o.rd);
                cx.b.unary(Unary::$op, dst, cx.x(o.rs1));
            }
        }
    )*};
}
of_one! {
    clz = Clz64; ctz = Ctz64; cpop = Popcount64; clzw = Clz32; ctzw = Ctz32; cpopw = Popcount32;
    sext_b = Sext8; sext_h = Sext16; zext_h = Zext16; orc_b = OrCombine; rev8 = ByteSwap64;
    zext_b = Zext8; zext_w = Zext32; not = Not;
}
