//! Zba: addresses of elements.

use super::base::arithmetic;
use crate::lower::Lower;
use crate::operand::{R, Reg, Sh6, Shift};
use omni_decode::instructions;
use omni_ir::{Binary, Unary, Val, Width};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Address generation.
    pub enum Addresses for Lower<'_> {
        /// `rd = rs1 + rs2`, the low word of rs1 zero-extended.
        AddUw    = "0000100 ..... ..... 000 ..... 0111011", R,
            "add.uw {rd}, {rs1}, {rs2}" => add_uw;
        /// `rd = (rs1 << 1) + rs2`.
        Sh1add   = "0010000 ..... ..... 010 ..... 0110011", R,
            "sh1add {rd}, {rs1}, {rs2}" => sh1add;
        /// `rd = (rs1 << 1) + rs2`, the low word of rs1 zero-extended.
        Sh1addUw = "0010000 ..... ..... 010 ..... 0111011", R,
            "sh1add.uw {rd}, {rs1}, {rs2}" => sh1add_uw;
        /// `rd = (rs1 << 2) + rs2`.
        Sh2add   = "0010000 ..... ..... 100 ..... 0110011", R,
            "sh2add {rd}, {rs1}, {rs2}" => sh2add;
        /// `rd = (rs1 << 2) + rs2`, the low word of rs1 zero-extended.
        Sh2addUw = "0010000 ..... ..... 100 ..... 0111011", R,
            "sh2add.uw {rd}, {rs1}, {rs2}" => sh2add_uw;
        /// `rd = (rs1 << 3) + rs2`.
        Sh3add   = "0010000 ..... ..... 110 ..... 0110011", R,
            "sh3add {rd}, {rs1}, {rs2}" => sh3add;
        /// `rd = (rs1 << 3) + rs2`, the low word of rs1 zero-extended.
        Sh3addUw = "0010000 ..... ..... 110 ..... 0111011", R,
            "sh3add.uw {rd}, {rs1}, {rs2}" => sh3add_uw;
        /// `rd = rs1 << shamt`, the low word of rs1 zero-extended.
        SlliUw   = "000010 ...... ..... 001 ..... 0011011", Sh6,
            "slli.uw {rd}, {rs1}, {shamt}" => slli_uw;
    }
}

arithmetic! { sh1add reg = Sh1Add Full; sh2add reg = Sh2Add Full; sh3add reg = Sh3Add Full; }

macro_rules! low_words {
    ($($name:ident = $op:ident;)*) => {$(
        fn $name(cx: &mut Lower<'_>, o: Reg) {
            let word = low_word(cx, o.rs1);
            super::base::binary(cx, (Binary::$op, Width::Full), o.rd, word, cx.x(o.rs2));
        }
    )*};
}
low_words! { add_uw = Add; sh1add_uw = Sh1Add; sh2add_uw = Sh2Add; sh3add_uw = Sh3Add; }

fn low_word(cx: &mut Lower<'_>, x: crate::operand::X) -> Val {
    let value = cx.x(x);
    cx.unary(Unary::Zext32, value)
}

fn slli_uw(cx: &mut Lower<'_>, o: Shift) {
    let word = low_word(cx, o.rs1);
    let count = Val::Const(u64::from(o.shamt.0));
    super::base::binary(cx, (Binary::Shl, Width::Full), o.rd, word, count);
}
