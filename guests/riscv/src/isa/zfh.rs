//! Zfh: half-precision floating point.

use super::float::{self, Fmt16, Fmt32, Fmt64};
use crate::lower::Lower;
use crate::operand::{F1r, F2, F2r, F3r, Fc, Fl, Fs, Fx, Fxr, Xf, Xfr};
use omni_decode::instructions;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Half-precision instructions.
    pub enum Half for Lower<'_> {
        /// `rd = mem16[rs1 + imm]`, boxed.
        Flh      = "....... ..... ..... 001 ..... 0000111", Fl,
            "flh {rd}, {imm}({rs1})" => float::load::<Fmt16>;
        /// `mem16[rs1 + imm] = rs2`.
        Fsh      = "....... ..... ..... 001 ..... 0100111", Fs,
            "fsh {rs2}, {imm}({rs1})" => float::store::<Fmt16>;
        /// `rd = rs1 * rs2 + rs3`.
        FmaddH   = "..... 10 ..... ..... ... ..... 1000011", F3r,
            "fmadd.h {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fmadd::<Fmt16>;
        /// `rd = rs1 * rs2 - rs3`.
        FmsubH   = "..... 10 ..... ..... ... ..... 1000111", F3r,
            "fmsub.h {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fmsub::<Fmt16>;
        /// `rd = -(rs1 * rs2) + rs3`.
        FnmsubH  = "..... 10 ..... ..... ... ..... 1001011", F3r,
            "fnmsub.h {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fnmsub::<Fmt16>;
        /// `rd = -(rs1 * rs2) - rs3`.
        FnmaddH  = "..... 10 ..... ..... ... ..... 1001111", F3r,
            "fnmadd.h {rd}, {rs1}, {rs2}, {rs3}, {rm}" => float::fnmadd::<Fmt16>;
        /// `rd = rs1 + rs2`.
        FaddH    = "0000010 ..... ..... ... ..... 1010011", F2r,
            "fadd.h {rd}, {rs1}, {rs2}, {rm}" => float::fadd::<Fmt16>;
        /// `rd = rs1 - rs2`.
        FsubH    = "0000110 ..... ..... ... ..... 1010011", F2r,
            "fsub.h {rd}, {rs1}, {rs2}, {rm}" => float::fsub::<Fmt16>;
        /// `rd = rs1 * rs2`.
        FmulH    = "0001010 ..... ..... ... ..... 1010011", F2r,
            "fmul.h {rd}, {rs1}, {rs2}, {rm}" => float::fmul::<Fmt16>;
        /// `rd = rs1 / rs2`.
        FdivH    = "0001110 ..... ..... ... ..... 1010011", F2r,
            "fdiv.h {rd}, {rs1}, {rs2}, {rm}" => float::fdiv::<Fmt16>;
        /// `rd = sqrt(rs1)`.
        FsqrtH   = "0101110 00000 ..... ... ..... 1010011", F1r,
            "fsqrt.h {rd}, {rs1}, {rm}" => float::fsqrt::<Fmt16>;
        /// `rd = rs1` with the sign of rs2.
        FsgnjH   = "0010010 ..... ..... 000 ..... 1010011", F2,
            "fsgnj.h {rd}, {rs1}, {rs2}" => float::fsgnj::<Fmt16>;
        /// `rd = rs1` with the other sign than rs2.
        FsgnjnH  = "0010010 ..... ..... 001 ..... 1010011", F2,
            "fsgnjn.h {rd}, {rs1}, {rs2}" => float::fsgnjn::<Fmt16>;
        /// `rd = rs1`, negated where rs2 is negative.
        FsgnjxH  = "0010010 ..... ..... 010 ..... 1010011", F2,
            "fsgnjx.h {rd}, {rs1}, {rs2}" => float::fsgnjx::<Fmt16>;
        /// The lesser.
        FminH    = "0010110 ..... ..... 000 ..... 1010011", F2,
            "fmin.h {rd}, {rs1}, {rs2}" => float::fmin::<Fmt16>;
        /// The greater.
        FmaxH    = "0010110 ..... ..... 001 ..... 1010011", F2,
            "fmax.h {rd}, {rs1}, {rs2}" => float::fmax::<Fmt16>;
        /// `rd = rs1 <= rs2`.
        FleH     = "1010010 ..... ..... 000 ..... 1010011", Fc,
            "fle.h {rd}, {rs1}, {rs2}" => float::fle::<Fmt16>;
        /// `rd = rs1 < rs2`.
        FltH     = "1010010 ..... ..... 001 ..... 1010011", Fc,
            "flt.h {rd}, {rs1}, {rs2}" => float::flt::<Fmt16>;
        /// `rd = rs1 == rs2`.
        FeqH     = "1010010 ..... ..... 010 ..... 1010011", Fc,
            "feq.h {rd}, {rs1}, {rs2}" => float::feq::<Fmt16>;
        /// To an integer, `w`.
        FcvtWH   = "1100010 00000 ..... ... ..... 1010011", Fxr,
            "fcvt.w.h {rd}, {rs1}, {rm}" => float::to_i32::<Fmt16>;
        /// From an integer, `w`.
        FcvtHW   = "1101010 00000 ..... ... ..... 1010011", Xfr,
            "fcvt.h.w {rd}, {rs1}, {rm}" => float::from_i32::<Fmt16>;
        /// To an integer, `wu`.
        FcvtWuH  = "1100010 00001 ..... ... ..... 1010011", Fxr,
            "fcvt.wu.h {rd}, {rs1}, {rm}" => float::to_u32::<Fmt16>;
        /// From an integer, `wu`.
        FcvtHWu  = "1101010 00001 ..... ... ..... 1010011", Xfr,
            "fcvt.h.wu {rd}, {rs1}, {rm}" => float::from_u32::<Fmt16>;
        /// To an integer, `l`.
        FcvtLH   = "1100010 00010 ..... ... ..... 1010011", Fxr,
            "fcvt.l.h {rd}, {rs1}, {rm}" => float::to_i64::<Fmt16>;
        /// From an integer, `l`.
        FcvtHL   = "1101010 00010 ..... ... ..... 1010011", Xfr,
            "fcvt.h.l {rd}, {rs1}, {rm}" => float::from_i64::<Fmt16>;
        /// To an integer, `lu`.
        FcvtLuH  = "1100010 00011 ..... ... ..... 1010011", Fxr,
            "fcvt.lu.h {rd}, {rs1}, {rm}" => float::to_u64::<Fmt16>;
        /// From an integer, `lu`.
        FcvtHLu  = "1101010 00011 ..... ... ..... 1010011", Xfr,
            "fcvt.h.lu {rd}, {rs1}, {rm}" => float::from_u64::<Fmt16>;
        /// The bits to an integer register.
        FmvXH    = "1110010 00000 ..... 000 ..... 1010011", Fx,
            "fmv.x.h {rd}, {rs1}" => float::to_bits::<Fmt16>;
        /// The bits from an integer register.
        FmvHX    = "1111010 00000 ..... 000 ..... 1010011", Xf,
            "fmv.h.x {rd}, {rs1}" => float::from_bits::<Fmt16>;
        /// The class as one of ten bits.
        FclassH  = "1110010 00000 ..... 001 ..... 1010011", Fx,
            "fclass.h {rd}, {rs1}" => float::class::<Fmt16>;
        /// To single.
        FcvtSH   = "0100000 00010 ..... ... ..... 1010011", F1r,
            "fcvt.s.h {rd}, {rs1}, {rm}" => float::convert::<Fmt16, Fmt32>;
        /// From single.
        FcvtHS   = "0100010 00000 ..... ... ..... 1010011", F1r,
            "fcvt.h.s {rd}, {rs1}, {rm}" => float::convert::<Fmt32, Fmt16>;
        /// To double.
        FcvtDH   = "0100001 00010 ..... ... ..... 1010011", F1r,
            "fcvt.d.h {rd}, {rs1}, {rm}" => float::convert::<Fmt16, Fmt64>;
        /// From double.
        FcvtHD   = "0100010 00001 ..... ... ..... 1010011", F1r,
            "fcvt.h.d {rd}, {rs1}, {rm}" => float::convert::<Fmt64, Fmt16>;
    }
}
