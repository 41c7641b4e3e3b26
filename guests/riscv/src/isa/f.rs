//! F: single-precision floating point.

use super::float::{self, Fmt32};
use crate::lower::Lower;
use crate::operand::{F1r, F2, F2r, F3r, Fc, Fl, Fs, Fx, Fxr, Xf, Xfr};
use omni_decode::instructions;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Single-precision instructions.
    pub enum Single for Lower<'_> {
        /// `rd = mem32[rs1 + imm]`, boxed.
        Flw      = "....... ..... ..... 010 ..... 0000111", Fl,
            "flw {rd}, {imm}({rs1})" => float::load::<Fmt32>;
        /// `mem32[rs1 + imm] = rs2`.
        Fsw      = "....... ..... ..... 010 ..... 0100111", Fs,
            "fsw {rs2}, {imm}({rs1})" => float::store::<Fmt32>;
        /// `rd = rs1 * rs2 + rs3`.
        FmaddS   = "..... 00 ..... ..... ... ..... 1000011", F3r,
            "fmadd.s {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fmadd::<Fmt32>;
        /// `rd = rs1 * rs2 - rs3`.
        FmsubS   = "..... 00 ..... ..... ... ..... 1000111", F3r,
            "fmsub.s {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fmsub::<Fmt32>;
        /// `rd = -(rs1 * rs2) + rs3`.
        FnmsubS  = "..... 00 ..... ..... ... ..... 1001011", F3r,
            "fnmsub.s {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fnmsub::<Fmt32>;
        /// `rd = -(rs1 * rs2) - rs3`.
        FnmaddS  = "..... 00 ..... ..... ... ..... 1001111", F3r,
            "fnmadd.s {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fnmadd::<Fmt32>;
        /// `rd = rs1 + rs2`.
        FaddS    = "0000000 ..... ..... ... ..... 1010011", F2r,
            "fadd.s {rd}, {rs1}, {rs2}, {rm}" => float::fadd::<Fmt32>;
        /// `rd = rs1 - rs2`.
        FsubS    = "0000100 ..... ..... ... ..... 1010011", F2r,
            "fsub.s {rd}, {rs1}, {rs2}, {rm}" => float::fsub::<Fmt32>;
        /// `rd = rs1 * rs2`.
        FmulS    = "0001000 ..... ..... ... ..... 1010011", F2r,
            "fmul.s {rd}, {rs1}, {rs2}, {rm}" => float::fmul::<Fmt32>;
        /// `rd = rs1 / rs2`.
        FdivS    = "0001100 ..... ..... ... ..... 1010011", F2r,
            "fdiv.s {rd}, {rs1}, {rs2}, {rm}" => float::fdiv::<Fmt32>;
        /// `rd = sqrt(rs1)`.
        FsqrtS   = "0101100 00000 ..... ... ..... 1010011", F1r,
            "fsqrt.s {rd}, {rs1}, {rm}" => float::fsqrt::<Fmt32>;
        /// `rd = rs1` with the sign of rs2.
        FsgnjS   = "0010000 ..... ..... 000 ..... 1010011", F2,
            "fsgnj.s {rd}, {rs1}, {rs2}" => float::fsgnj::<Fmt32>;
        /// `rd = rs1` with the other sign than rs2.
        FsgnjnS  = "0010000 ..... ..... 001 ..... 1010011", F2,
            "fsgnjn.s {rd}, {rs1}, {rs2}" => float::fsgnjn::<Fmt32>;
        /// `rd = rs1`, negated where rs2 is negative.
        FsgnjxS  = "0010000 ..... ..... 010 ..... 1010011", F2,
            "fsgnjx.s {rd}, {rs1}, {rs2}" => float::fsgnjx::<Fmt32>;
        /// The lesser.
        FminS    = "0010100 ..... ..... 000 ..... 1010011", F2,
            "fmin.s {rd}, {rs1}, {rs2}" => float::fmin::<Fmt32>;
        /// The greater.
        FmaxS    = "0010100 ..... ..... 001 ..... 1010011", F2,
            "fmax.s {rd}, {rs1}, {rs2}" => float::fmax::<Fmt32>;
        /// `rd = rs1 <= rs2`.
        FleS     = "1010000 ..... ..... 000 ..... 1010011", Fc,
            "fle.s {rd}, {rs1}, {rs2}" => float::fle::<Fmt32>;
        /// `rd = rs1 < rs2`.
        FltS     = "1010000 ..... ..... 001 ..... 1010011", Fc,
            "flt.s {rd}, {rs1}, {rs2}" => float::flt::<Fmt32>;
        /// `rd = rs1 == rs2`.
        FeqS     = "1010000 ..... ..... 010 ..... 1010011", Fc,
            "feq.s {rd}, {rs1}, {rs2}" => float::feq::<Fmt32>;
        /// To an integer, `w`.
        FcvtWS   = "1100000 00000 ..... ... ..... 1010011", Fxr,
            "fcvt.w.s {rd}, {rs1}, {rm}" => float::to_i32::<Fmt32>;
        /// From an integer, `w`.
        FcvtSW   = "1101000 00000 ..... ... ..... 1010011", Xfr,
            "fcvt.s.w {rd}, {rs1}, {rm}" => float::from_i32::<Fmt32>;
        /// To an integer, `wu`.
        FcvtWuS  = "1100000 00001 ..... ... ..... 1010011", Fxr,
            "fcvt.wu.s {rd}, {rs1}, {rm}" => float::to_u32::<Fmt32>;
        /// From an integer, `wu`.
        FcvtSWu  = "1101000 00001 ..... ... ..... 1010011", Xfr,
            "fcvt.s.wu {rd}, {rs1}, {rm}" => float::from_u32::<Fmt32>;
        /// To an integer, `l`.
        FcvtLS   = "1100000 00010 ..... ... ..... 1010011", Fxr,
            "fcvt.l.s {rd}, {rs1}, {rm}" => float::to_i64::<Fmt32>;
        /// From an integer, `l`.
        FcvtSL   = "1101000 00010 ..... ... ..... 1010011", Xfr,
            "fcvt.s.l {rd}, {rs1}, {rm}" => float::from_i64::<Fmt32>;
        /// To an integer, `lu`.
        FcvtLuS  = "1100000 00011 ..... ... ..... 1010011", Fxr,
            "fcvt.lu.s {rd}, {rs1}, {rm}" => float::to_u64::<Fmt32>;
        /// From an integer, `lu`.
        FcvtSLu  = "1101000 00011 ..... ... ..... 1010011", Xfr,
            "fcvt.s.lu {rd}, {rs1}, {rm}" => float::from_u64::<Fmt32>;
        /// The bits to an integer register.
        FmvXW    = "1110000 00000 ..... 000 ..... 1010011", Fx,
            "fmv.x.w {rd}, {rs1}" => float::to_bits::<Fmt32>;
        /// The bits from an integer register.
        FmvWX    = "1111000 00000 ..... 000 ..... 1010011", Xf,
            "fmv.w.x {rd}, {rs1}" => float::from_bits::<Fmt32>;
        /// The class as one of ten bits.
        FclassS  = "1110000 00000 ..... 001 ..... 1010011", Fx,
            "fclass.s {rd}, {rs1}" => float::class::<Fmt32>;
    }
}
