//! Zbc: carry-less multiplication.

use super::base::arithmetic;
use crate::lower::Lower;
use crate::operand::{R, Reg};
use omni_decode::instructions;
use omni_ir::{Binary, Width};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Carry-less multiplication.
    pub enum Carryless for Lower<'_> {
        /// Low half of the carry-less product.
        Clmul  = "0000101 ..... ..... 001 ..... 0110011", R, "clmul {rd}, {rs1}, {rs2}" => clmul;
        /// The carry-less product, reversed.
        Clmulr = "0000101 ..... ..... 010 ..... 0110011", R, "clmulr {rd}, {rs1}, {rs2}" => clmulr;
        /// High half of the carry-less product.
        Clmulh = "0000101 ..... ..... 011 ..... 0110011", R, "clmulh {rd}, {rs1}, {rs2}" => clmulh;
    }
}

arithmetic! { clmul reg = ClMul Full; clmulr reg = ClMulRev Full; clmulh reg = ClMulHigh Full; }
