//! A: load-reserved, store-conditional, and operations in one step.
//!
//! Every atomic of the IR is ordered with all others, so the ordering bits ask for nothing more.

use crate::lower::Lower;
use crate::operand::{Am, Amo, Lr, Reserve};
use omni_decode::instructions;
use omni_ir::{AtomicOp, Binary, Size};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Atomic instructions.
    pub enum Atomic for Lower<'_> {
        /// `rd = mem32[rs1]`, and reserves it.
        LrW = "00010 .. 00000 ..... 010 ..... 0101111", Lr, "lr.w{order} {rd}, ({rs1})" => lr_w;
        /// `mem32[rs1] = rs2; rd = 0` if reserved, else `rd = 1`.
        ScW = "00011 .. ..... ..... 010 ..... 0101111", Am,
            "sc.w{order} {rd}, {rs2}, ({rs1})" => sc_w;
        /// The old value is replaced, 32 bits.
        AmoswapW = "00001 .. ..... ..... 010 ..... 0101111", Am,
            "amoswap.w{order} {rd}, {rs2}, ({rs1})" => amoswap_w;
        /// Sum, 32 bits.
        AmoaddW = "00000 .. ..... ..... 010 ..... 0101111", Am,
            "amoadd.w{order} {rd}, {rs2}, ({rs1})" => amoadd_w;
        /// Exclusive or, 32 bits.
        AmoxorW = "00100 .. ..... ..... 010 ..... 0101111", Am,
            "amoxor.w{order} {rd}, {rs2}, ({rs1})" => amoxor_w;
        /// And, 32 bits.
        AmoandW = "01100 .. ..... ..... 010 ..... 0101111", Am,
            "amoand.w{order} {rd}, {rs2}, ({rs1})" => amoand_w;
        /// Or, 32 bits.
        AmoorW = "01000 .. ..... ..... 010 ..... 0101111", Am,
            "amoor.w{order} {rd}, {rs2}, ({rs1})" => amoor_w;
        /// Lesser, 32 bits.
        AmominW = "10000 .. ..... ..... 010 ..... 0101111", Am,
            "amomin.w{order} {rd}, {rs2}, ({rs1})" => amomin_w;
        /// Greater, 32 bits.
        AmomaxW = "10100 .. ..... ..... 010 ..... 0101111", Am,
            "amomax.w{order} {rd}, {rs2}, ({rs1})" => amomax_w;
        /// Lesser, unsigned, 32 bits.
        AmominuW = "11000 .. ..... ..... 010 ..... 0101111", Am,
            "amominu.w{order} {rd}, {rs2}, ({rs1})" => amominu_w;
        /// Greater, unsigned, 32 bits.
        AmomaxuW = "11100 .. ..... ..... 010 ..... 0101111", Am,
            "amomaxu.w{order} {rd}, {rs2}, ({rs1})" => amomaxu_w;
        /// `rd = mem64[rs1]`, and reserves it.
        LrD = "00010 .. 00000 ..... 011 ..... 0101111", Lr, "lr.d{order} {rd}, ({rs1})" => lr_d;
        /// `mem64[rs1] = rs2; rd = 0` if reserved, else `rd = 1`.
        ScD = "00011 .. ..... ..... 011 ..... 0101111", Am,
            "sc.d{order} {rd}, {rs2}, ({rs1})" => sc_d;
        /// The old value is replaced, 64 bits.
        AmoswapD = "00001 .. ..... ..... 011 ..... 0101111", Am,
            "amoswap.d{order} {rd}, {rs2}, ({rs1})" => amoswap_d;
        /// Sum, 64 bits.
        AmoaddD = "00000 .. ..... ..... 011 ..... 0101111", Am,
            "amoadd.d{order} {rd}, {rs2}, ({rs1})" => amoadd_d;
        /// Exclusive or, 64 bits.
        AmoxorD = "00100 .. ..... ..... 011 ..... 0101111", Am,
            "amoxor.d{order} {rd}, {rs2}, ({rs1})" => amoxor_d;
        /// And, 64 bits.
        AmoandD = "01100 .. ..... ..... 011 ..... 0101111", Am,
            "amoand.d{order} {rd}, {rs2}, ({rs1})" => amoand_d;
        /// Or, 64 bits.
        AmoorD = "01000 .. ..... ..... 011 ..... 0101111", Am,
            "amoor.d{order} {rd}, {rs2}, ({rs1})" => amoor_d;
        /// Lesser, 64 bits.
        AmominD = "10000 .. ..... ..... 011 ..... 0101111", Am,
            "amomin.d{order} {rd}, {rs2}, ({rs1})" => amomin_d;
        /// Greater, 64 bits.
        AmomaxD = "10100 .. ..... ..... 011 ..... 0101111", Am,
            "amomax.d{order} {rd}, {rs2}, ({rs1})" => amomax_d;
        /// Lesser, unsigned, 64 bits.
        AmominuD = "11000 .. ..... ..... 011 ..... 0101111", Am,
            "amominu.d{order} {rd}, {rs2}, ({rs1})" => amominu_d;
        /// Greater, unsigned, 64 bits.
        AmomaxuD = "11100 .. ..... ..... 011 ..... 0101111", Am,
            "amomaxu.d{order} {rd}, {rs2}, ({rs1})" => amomaxu_d;
    }
}

macro_rules! reservations {
    ($($load:ident $store:ident = $size:ident;)*) => {$(
        fn $load(cx: &mut Lower<'_>, o: Reserve) {
            let dst = cx.dst(o.rd);
            cx.b.load_reserved(Size::$size, dst, cx.x(o.rs1));
        }
        fn $store(cx: &mut Lower<'_>, o: Amo) {
            let dst = cx.dst(o.rd);
            cx.b.store_conditional(Size::$size, dst, cx.x(o.rs1), cx.x(o.rs2));
        }
    )*};
}
reservations! { lr_w sc_w = B4; lr_d sc_d = B8; }

macro_rules! operations {
    ($($word:ident $double:ident = $op:expr;)*) => {$(
        fn $word(cx: &mut Lower<'_>, o: Amo) {
            atomic(cx, $op, Size::B4, o);
        }
        fn $double(cx: &mut Lower<'_>, o: Amo) {
            atomic(cx, $op, Size::B8, o);
        }
    )*};
}
operations! {
    amoswap_w amoswap_d = AtomicOp::Swap;
    amoadd_w amoadd_d = AtomicOp::Binary(Binary::Add);
    amoxor_w amoxor_d = AtomicOp::Binary(Binary::Xor);
    amoand_w amoand_d = AtomicOp::Binary(Binary::And);
    amoor_w amoor_d = AtomicOp::Binary(Binary::Or);
    amomin_w amomin_d = AtomicOp::Binary(Binary::MinS);
    amomax_w amomax_d = AtomicOp::Binary(Binary::MaxS);
    amominu_w amominu_d = AtomicOp::Binary(Binary::MinU);
    amomaxu_w amomaxu_d = AtomicOp::Binary(Binary::MaxU);
}

fn atomic(cx: &mut Lower<'_>, op: AtomicOp, size: Size, o: Amo) {
    let dst = cx.dst(o.rd);
    cx.b.atomic(op, size, dst, cx.x(o.rs1), cx.x(o.rs2));
}
