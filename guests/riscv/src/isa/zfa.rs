//! Zfa: constants, rounding to integers, quiet comparisons, the other minimum and maximum.

use super::float::{self, Fmt16, Fmt32, Fmt64};
use crate::lower::Lower;
use crate::operand::{F1r, F2, Fc, Fk, FloatToX, Fx};
use omni_decode::instructions;
use omni_ir::{FloatOp, Format};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Additional floating-point instructions.
    pub enum Additional for Lower<'_> {
        /// Loads a constant.
        FliS      = "1111000 00001 ..... 000 ..... 1010011", Fk,
            "fli.s {rd}, {constant}" => float::constant::<Fmt32>;
        /// The lesser; NaN where an operand is.
        FminmS    = "0010100 ..... ..... 010 ..... 1010011", F2,
            "fminm.s {rd}, {rs1}, {rs2}" => float::fminm::<Fmt32>;
        /// The greater; NaN where an operand is.
        FmaxmS    = "0010100 ..... ..... 011 ..... 1010011", F2,
            "fmaxm.s {rd}, {rs1}, {rs2}" => float::fmaxm::<Fmt32>;
        /// To an integral value.
        FroundS   = "0100000 00100 ..... ... ..... 1010011", F1r,
            "fround.s {rd}, {rs1}, {rm}" => float::fround::<Fmt32>;
        /// To an integral value, telling where it was none.
        FroundnxS = "0100000 00101 ..... ... ..... 1010011", F1r,
            "froundnx.s {rd}, {rs1}, {rm}" => float::froundnx::<Fmt32>;
        /// `rd = rs1 <= rs2`, quiet.
        FleqS     = "1010000 ..... ..... 100 ..... 1010011", Fc,
            "fleq.s {rd}, {rs1}, {rs2}" => float::fleq::<Fmt32>;
        /// `rd = rs1 < rs2`, quiet.
        FltqS     = "1010000 ..... ..... 101 ..... 1010011", Fc,
            "fltq.s {rd}, {rs1}, {rs2}" => float::fltq::<Fmt32>;
        /// Loads a constant.
        FliD      = "1111001 00001 ..... 000 ..... 1010011", Fk,
            "fli.d {rd}, {constant}" => float::constant::<Fmt64>;
        /// The lesser; NaN where an operand is.
        FminmD    = "0010101 ..... ..... 010 ..... 1010011", F2,
            "fminm.d {rd}, {rs1}, {rs2}" => float::fminm::<Fmt64>;
        /// The greater; NaN where an operand is.
        FmaxmD    = "0010101 ..... ..... 011 ..... 1010011", F2,
            "fmaxm.d {rd}, {rs1}, {rs2}" => float::fmaxm::<Fmt64>;
        /// To an integral value.
        FroundD   = "0100001 00100 ..... ... ..... 1010011", F1r,
            "fround.d {rd}, {rs1}, {rm}" => float::fround::<Fmt64>;
        /// To an integral value, telling where it was none.
        FroundnxD = "0100001 00101 ..... ... ..... 1010011", F1r,
            "froundnx.d {rd}, {rs1}, {rm}" => float::froundnx::<Fmt64>;
        /// `rd = rs1 <= rs2`, quiet.
        FleqD     = "1010001 ..... ..... 100 ..... 1010011", Fc,
            "fleq.d {rd}, {rs1}, {rs2}" => float::fleq::<Fmt64>;
        /// `rd = rs1 < rs2`, quiet.
        FltqD     = "1010001 ..... ..... 101 ..... 1010011", Fc,
            "fltq.d {rd}, {rs1}, {rs2}" => float::fltq::<Fmt64>;
        /// Loads a constant.
        FliH      = "1111010 00001 ..... 000 ..... 1010011", Fk,
            "fli.h {rd}, {constant}" => float::constant::<Fmt16>;
        /// The lesser; NaN where an operand is.
        FminmH    = "0010110 ..... ..... 010 ..... 1010011", F2,
            "fminm.h {rd}, {rs1}, {rs2}" => float::fminm::<Fmt16>;
        /// The greater; NaN where an operand is.
        FmaxmH    = "0010110 ..... ..... 011 ..... 1010011", F2,
            "fmaxm.h {rd}, {rs1}, {rs2}" => float::fmaxm::<Fmt16>;
        /// To an integral value.
        FroundH   = "0100010 00100 ..... ... ..... 1010011", F1r,
            "fround.h {rd}, {rs1}, {rm}" => float::fround::<Fmt16>;
        /// To an integral value, telling where it was none.
        FroundnxH = "0100010 00101 ..... ... ..... 1010011", F1r,
            "froundnx.h {rd}, {rs1}, {rm}" => float::froundnx::<Fmt16>;
        /// `rd = rs1 <= rs2`, quiet.
        FleqH     = "1010010 ..... ..... 100 ..... 1010011", Fc,
            "fleq.h {rd}, {rs1}, {rs2}" => float::fleq::<Fmt16>;
        /// `rd = rs1 < rs2`, quiet.
        FltqH     = "1010010 ..... ..... 101 ..... 1010011", Fc,
            "fltq.h {rd}, {rs1}, {rs2}" => float::fltq::<Fmt16>;
        /// To a 32-bit integer modulo 2^32.
        FcvtmodWD = "1100001 01000 ..... 001 ..... 1010011", Fx,
            "fcvtmod.w.d {rd}, {rs1}, rtz" => fcvtmod;
    }
}

fn fcvtmod(cx: &mut Lower<'_>, o: FloatToX) {
    if cx.float_on() {
        let a = cx.f(o.rs1);
        float::to_x(cx, (FloatOp::ToI32Modular, Format::F64), o.rd, &[a], 1.into());
    }
}
