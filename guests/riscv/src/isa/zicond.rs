//! Zicond: conditional zero.

use super::base::arithmetic;
use crate::lower::Lower;
use crate::operand::{R, Reg};
use omni_decode::instructions;
use omni_ir::{Binary, Width};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Conditional operations.
    pub enum Conditional for Lower<'_> {
        /// `rd = rs2 == 0 ? 0 : rs1`.
        CzeroEqz = "0000111 ..... ..... 101 ..... 0110011", R,
            "czero.eqz {rd}, {rs1}, {rs2}" => czero_eqz;
        /// `rd = rs2 != 0 ? 0 : rs1`.
        CzeroNez = "0000111 ..... ..... 111 ..... 0110011", R,
            "czero.nez {rd}, {rs1}, {rs2}" => czero_nez;
    }
}

arithmetic! { czero_eqz reg = IfNonZero Full; czero_nez reg = IfZero Full; }
