//! Zimop: operations that may come to be; until then they give zero.

use crate::lower::Lower;
use crate::operand::{MayBe, MayBe2, Mo1, Mo2, X};
use omni_decode::instructions;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// May-be-operations.
    pub enum MayBeOperations for Lower<'_> {
        /// One source.
        MopR  = "1.00 ..01 11.. ..... 100 ..... 1110011", Mo1, "mop.r.{n} {rd}, {rs1}" => mop_r;
        /// Two sources.
        MopRr = "1.00 ..1 ..... ..... 100 ..... 1110011", Mo2,
            "mop.rr.{n} {rd}, {rs1}, {rs2}" => mop_rr;
    }
}

fn mop_r(cx: &mut Lower<'_>, o: MayBe) {
    zero(cx, o.rd);
}

fn mop_rr(cx: &mut Lower<'_>, o: MayBe2) {
    zero(cx, o.rd);
}

fn zero(cx: &mut Lower<'_>, rd: X) {
    if rd.0 != 0 {
        let dst = cx.dst(rd);
        cx.b.put(dst, 0);
    }
}
