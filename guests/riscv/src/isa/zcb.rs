//! Zcb: more short forms.

use super::{base, m, zbb};
use crate::lower::Lower;
use crate::operand::{Ca, ClB, ClH, CsB, CsH, Cu};
use omni_decode::instructions;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// More compressed instructions.
    pub enum MoreCompressed for Lower<'_> {
        /// `lbu`.
        Clbu   = "100 000 ... .. ... 00", ClB, "c.lbu {rd}, {imm}({rs1})" => base::lbu;
        /// `lhu`.
        Clhu   = "100 001 ... 0. ... 00", ClH, "c.lhu {rd}, {imm}({rs1})" => base::lhu;
        /// `lh`.
        Clh    = "100 001 ... 1. ... 00", ClH, "c.lh {rd}, {imm}({rs1})" => base::lh;
        /// `sb`.
        Csb    = "100 010 ... .. ... 00", CsB, "c.sb {rs2}, {imm}({rs1})" => base::sb;
        /// `sh`.
        Csh    = "100 011 ... 0. ... 00", CsH, "c.sh {rs2}, {imm}({rs1})" => base::sh;
        /// `mul`.
        Cmul   = "100 1 11 ... 10 ... 01", Ca, "c.mul {rd}, {rs2}" => m::mul;
        /// The low byte, zero-extended.
        CzextB = "100 1 11 ... 11 000 01", Cu, "c.zext.b {rd}" => zbb::zext_b;
        /// `sext.b`.
        CsextB = "100 1 11 ... 11 001 01", Cu, "c.sext.b {rd}" => zbb::sext_b;
        /// `zext.h`.
        CzextH = "100 1 11 ... 11 010 01", Cu, "c.zext.h {rd}" => zbb::zext_h;
        /// `sext.h`.
        CsextH = "100 1 11 ... 11 011 01", Cu, "c.sext.h {rd}" => zbb::sext_h;
        /// The low word, zero-extended.
        CzextW = "100 1 11 ... 11 100 01", Cu, "c.zext.w {rd}" => zbb::zext_w;
        /// All bits inverted.
        Cnot   = "100 1 11 ... 11 101 01", Cu, "c.not {rd}" => zbb::not;
    }
}
