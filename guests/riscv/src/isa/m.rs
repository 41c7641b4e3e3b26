//! M: multiplication and division.

use super::base::arithmetic;
use crate::lower::Lower;
use crate::operand::{R, Reg};
use omni_decode::instructions;
use omni_ir::{Binary, Width};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Multiplication and division.
    pub enum Multiply for Lower<'_> {
        /// `rd = low(rs1 * rs2)`
        Mul    = "0000001 ..... ..... 000 ..... 0110011", R, "mul {rd}, {rs1}, {rs2}" => mul;
        /// `rd = high(rs1 * rs2)`
        Mulh   = "0000001 ..... ..... 001 ..... 0110011", R, "mulh {rd}, {rs1}, {rs2}" => mulh;
        /// `rd = high(rs1 * rs2)`, rs2 unsigned
        Mulhsu = "0000001 ..... ..... 010 ..... 0110011", R, "mulhsu {rd}, {rs1}, {rs2}" => mulhsu;
        /// `rd = high(rs1 * rs2)`, unsigned
        Mulhu  = "0000001 ..... ..... 011 ..... 0110011", R, "mulhu {rd}, {rs1}, {rs2}" => mulhu;
        /// `rd = rs1 / rs2`
        Div    = "0000001 ..... ..... 100 ..... 0110011", R, "div {rd}, {rs1}, {rs2}" => div;
        /// `rd = rs1 / rs2`, unsigned
        Divu   = "0000001 ..... ..... 101 ..... 0110011", R, "divu {rd}, {rs1}, {rs2}" => divu;
        /// `rd = rs1 % rs2`
        Rem    = "0000001 ..... ..... 110 ..... 0110011", R, "rem {rd}, {rs1}, {rs2}" => rem;
        /// `rd = rs1 % rs2`, unsigned
        Remu   = "0000001 ..... ..... 111 ..... 0110011", R, "remu {rd}, {rs1}, {rs2}" => remu;
        /// `rd = rs1 * rs2`, 32 bits
        Mulw   = "0000001 ..... ..... 000 ..... 0111011", R, "mulw {rd}, {rs1}, {rs2}" => mulw;
        /// `rd = rs1 / rs2`, 32 bits
        Divw   = "0000001 ..... ..... 100 ..... 0111011", R, "divw {rd}, {rs1}, {rs2}" => divw;
        /// `rd = rs1 / rs2`, unsigned, 32 bits
        Divuw  = "0000001 ..... ..... 101 ..... 0111011", R, "divuw {rd}, {rs1}, {rs2}" => divuw;
        /// `rd = rs1 % rs2`, 32 bits
        Remw   = "0000001 ..... ..... 110 ..... 0111011", R, "remw {rd}, {rs1}, {rs2}" => remw;
        /// `rd = rs1 % rs2`, unsigned, 32 bits
        Remuw  = "0000001 ..... ..... 111 ..... 0111011", R, "remuw {rd}, {rs1}, {rs2}" => remuw;
    }
}

arithmetic! {
    mul reg = Mul Full; mulh reg = MulHighS Full; mulhsu reg = MulHighSU Full;
    mulhu reg = MulHighU Full; div reg = DivS Full; divu reg = DivU Full;
    rem reg = RemS Full; remu reg = RemU Full; mulw reg = Mul Signed32;
    divw reg = DivS Signed32; divuw reg = DivU Signed32; remw reg = RemS Signed32;
    remuw reg = RemU Signed32;
}
