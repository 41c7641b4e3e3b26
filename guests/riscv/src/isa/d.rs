//! D: double-precision floating point.

use super::float::{self, Fmt32, Fmt64};
use crate::lower::Lower;
use crate::operand::{F1r, F2, F2r, F3r, Fc, Fl, Fs, Fx, Fxr, Xf, Xfr};
use omni_decode::instructions;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Double-precision instructions.
    pub enum Double for Lower<'_> {
        /// `rd = mem64[rs1 + imm]`, boxed.
        Fld      = "....... ..... ..... 011 ..... 0000111", Fl,
            "fld {rd}, {imm}({rs1})" => float::load::<Fmt64>;
        /// `mem64[rs1 + imm] = rs2`.
        Fsd      = "....... ..... ..... 011 ..... 0100111", Fs,
            "fsd {rs2}, {imm}({rs1})" => float::store::<Fmt64>;
        /// `rd = rs1 * rs2 + rs3`.
        FmaddD   = "..... 01 ..... ..... ... ..... 1000011", F3r,
            "fmadd.d {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fmadd::<Fmt64>;
        /// `rd = rs1 * rs2 - rs3`.
        FmsubD   = "..... 01 ..... ..... ... ..... 1000111", F3r,
            "fmsub.d {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fmsub::<Fmt64>;
        /// `rd = -(rs1 * rs2) + rs3`.
        FnmsubD  = "..... 01 ..... ..... ... ..... 1001011", F3r,
            "fnmsub.d {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fnmsub::<Fmt64>;
        /// `rd = -(rs1 * rs2) - rs3`.
        FnmaddD  = "..... 01 ..... ..... ... ..... 1001111", F3r,
            "fnmadd.d {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fnmadd::<Fmt64>;
        /// `rd = rs1 + rs2`.
        FaddD    = "0000001 ..... ..... ... ..... 1010011", F2r,
            "fadd.d {rd}, {rs1}, {rs2}, {rm}" => float::fadd::<Fmt64>;
        /// `rd = rs1 - rs2`.
        FsubD    = "0000101 ..... ..... ... ..... 1010011", F2r,
            "fsub.d {rd}, {rs1}, {rs2}, {rm}" => float::fsub::<Fmt64>;
        /// `rd = rs1 * rs2`.
        FmulD    = "0001001 ..... ..... ... ..... 1010011", F2r,
            "fmul.d {rd}, {rs1}, {rs2}, {rm}" => float::fmul::<Fmt64>;
        /// `rd = rs1 / rs2`.
        FdivD    = "0001101 ..... ..... ... ..... 1010011", F2r,
            "fdiv.d {rd}, {rs1}, {rs2}, {rm}" => float::fdiv::<Fmt64>;
        /// `rd = sqrt(rs1)`.
        FsqrtD   = "0101101 00000 ..... ... ..... 1010011", F1r,
            "fsqrt.d {rd}, {rs1}, {rm}" => float::fsqrt::<Fmt64>;
        /// `rd = rs1` with the sign of rs2.
        FsgnjD   = "0010001 ..... ..... 000 ..... 1010011", F2,
            "fsgnj.d {rd}, {rs1}, {rs2}" => float::fsgnj::<Fmt64>;
        /// `rd = rs1` with the other sign than rs2.
        FsgnjnD  = "0010001 ..... ..... 001 ..... 1010011", F2,
            "fsgnjn.d {rd}, {rs1}, {rs2}" => float::fsgnjn::<Fmt64>;
        /// `rd = rs1`, negated where rs2 is negative.
        FsgnjxD  = "0010001 ..... ..... 010 ..... 1010011", F2,
            "fsgnjx.d {rd}, {rs1}, {rs2}" => float::fsgnjx::<Fmt64>;
        /// The lesser.
        FminD    = "0010101 ..... ..... 000 ..... 1010011", F2,
            "fmin.d {rd}, {rs1}, {rs2}" => float::fmin::<Fmt64>;
        /// The greater.
        FmaxD    = "0010101 ..... ..... 001 ..... 1010011", F2,
            "fmax.d {rd}, {rs1}, {rs2}" => float::fmax::<Fmt64>;
        /// `rd = rs1 <= rs2`.
        FleD     = "1010001 ..... ..... 000 ..... 1010011", Fc,
            "fle.d {rd}, {rs1}, {rs2}" => float::fle::<Fmt64>;
        /// `rd = rs1 < rs2`.
        FltD     = "1010001 ..... ..... 001 ..... 1010011", Fc,
            "flt.d {rd}, {rs1}, {rs2}" => float::flt::<Fmt64>;
        /// `rd = rs1 == rs2`.
        FeqD     = "1010001 ..... ..... 010 ..... 1010011", Fc,
            "feq.d {rd}, {rs1}, {rs2}" => float::feq::<Fmt64>;
        /// To an integer, `w`.
        FcvtWD   = "1100001 00000 ..... ... ..... 1010011", Fxr,
            "fcvt.w.d {rd}, {rs1}, {rm}" => float::to_i32::<Fmt64>;
        /// From an integer, `w`.
        FcvtDW   = "1101001 00000 ..... ... ..... 1010011", Xfr,
            "fcvt.d.w {rd}, {rs1}, {rm}" => float::from_i32::<Fmt64>;
        /// To an integer, `wu`.
        FcvtWuD  = "1100001 00001 ..... ... ..... 1010011", Fxr,
            "fcvt.wu.d {rd}, {rs1}, {rm}" => float::to_u32::<Fmt64>;
        /// From an integer, `wu`.
        FcvtDWu  = "1101001 00001 ..... ... ..... 1010011", Xfr,
            "fcvt.d.wu {rd}, {rs1}, {rm}" => float::from_u32::<Fmt64>;
        /// To an integer, `l`.
        FcvtLD   = "1100001 00010 ..... ... ..... 1010011", Fxr,
            "fcvt.l.d {rd}, {rs1}, {rm}" => float::to_i64::<Fmt64>;
        /// From an integer, `l`.
        FcvtDL   = "1101001 00010 ..... ... ..... 1010011", Xfr,
            "fcvt.d.l {rd}, {rs1}, {rm}" => float::from_i64::<Fmt64>;
        /// To an integer, `lu`.
        FcvtLuD  = "1100001 00011 ..... ... ..... 1010011", Fxr,
            "fcvt.lu.d {rd}, {rs1}, {rm}" => float::to_u64::<Fmt64>;
        /// From an integer, `lu`.
        FcvtDLu  = "1101001 00011 ..... ... ..... 1010011", Xfr,
            "fcvt.d.lu {rd}, {rs1}, {rm}" => float::from_u64::<Fmt64>;
        /// The bits to an integer register.
        FmvXD    = "1110001 00000 ..... 000 ..... 1010011", Fx,
            "fmv.x.d {rd}, {rs1}" => float::to_bits::<Fmt64>;
        /// The bits from an integer register.
        FmvDX    = "1111001 00000 ..... 000 ..... 1010011", Xf,
            "fmv.d.x {rd}, {rs1}" => float::from_bits::<Fmt64>;
        /// The class as one of ten bits.
        FclassD  = "1110001 00000 ..... 001 ..... 1010011", Fx,
            "fclass.d {rd}, {rs1}" => float::class::<Fmt64>;
        /// To single.
        FcvtSD   = "0100000 00001 ..... ... ..... 1010011", F1r,
            "fcvt.s.d {rd}, {rs1}, {rm}" => float::convert::<Fmt64, Fmt32>;
        /// From single.
        FcvtDS   = "0100001 00000 ..... ... ..... 1010011", F1r,
            "fcvt.d.s {rd}, {rs1}, {rm}" => float::convert::<Fmt32, Fmt64>;
    }
}
