//! Zacas: compare and swap.

use crate::lower::{Lower, helper};
use crate::operand::{Am, Amo};
use omni_decode::instructions;
use omni_ir::{Size, Val};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Compare and swap.
    pub enum CompareSwap for Lower<'_> {
        /// 32 bits.
        AmocasW = "00101 .. ..... ..... 010 ..... 0101111", Am,
            "amocas.w{order} {rd}, {rs2}, ({rs1})" => word;
        /// 64 bits.
        AmocasD = "00101 .. ..... ..... 011 ..... 0101111", Am,
            "amocas.d{order} {rd}, {rs2}, ({rs1})" => double;
        /// 128 bits, in pairs of registers.
        AmocasQ = "00101 .. ..... ..... 100 ..... 0101111", Am,
            "amocas.q{order} {rd}, {rs2}, ({rs1})" => quad;
    }
}

fn word(cx: &mut Lower<'_>, o: Amo) {
    swap(cx, Size::B4, o);
}

fn double(cx: &mut Lower<'_>, o: Amo) {
    swap(cx, Size::B8, o);
}

fn swap(cx: &mut Lower<'_>, size: Size, o: Amo) {
    let swap = (cx.x(o.rd), cx.x(o.rs2));
    let dst = cx.dst(o.rd);
    cx.b.compare_swap(size, dst, cx.x(o.rs1), swap);
}

fn quad(cx: &mut Lower<'_>, o: Amo) {
    // Pairs begin at even registers.
    if (o.rd.0 | o.rs2.0) & 1 == 1 {
        cx.illegal();
        return;
    }
    let pairs = [o.rd.0, o.rs2.0].map(|number| Val::Const(u64::from(number)));
    let at = cx.x(o.rs1);
    cx.call(helper::SWAP_PAIR, [at, pairs[0], pairs[1]]);
}
