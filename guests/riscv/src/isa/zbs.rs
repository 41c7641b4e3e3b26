//! Zbs: single bits.

use crate::lower::Lower;
use crate::operand::{R, Reg, Sh6, Shift, X};
use omni_decode::instructions;
use omni_ir::{Binary, Val, Width};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Single bits.
    pub enum SingleBits for Lower<'_> {
        /// Clears a bit.
        Bclr  = "0100100 ..... ..... 001 ..... 0110011", R, "bclr {rd}, {rs1}, {rs2}" => bclr;
        /// Clears a bit, by constant place.
        Bclri = "010010 ...... ..... 001 ..... 0010011", Sh6, "bclri {rd}, {rs1}, {shamt}" => bclri;
        /// Extracts a bit.
        Bext  = "0100100 ..... ..... 101 ..... 0110011", R, "bext {rd}, {rs1}, {rs2}" => bext;
        /// Extracts a bit, by constant place.
        Bexti = "010010 ...... ..... 101 ..... 0010011", Sh6, "bexti {rd}, {rs1}, {shamt}" => bexti;
        /// Inverts a bit.
        Binv  = "0110100 ..... ..... 001 ..... 0110011", R, "binv {rd}, {rs1}, {rs2}" => binv;
        /// Inverts a bit, by constant place.
        Binvi = "011010 ...... ..... 001 ..... 0010011", Sh6, "binvi {rd}, {rs1}, {shamt}" => binvi;
        /// Sets a bit.
        Bset  = "0010100 ..... ..... 001 ..... 0110011", R, "bset {rd}, {rs1}, {rs2}" => bset;
        /// Sets a bit, by constant place.
        Bseti = "001010 ...... ..... 001 ..... 0010011", Sh6, "bseti {rd}, {rs1}, {shamt}" => bseti;
    }
}

macro_rules! single_bits {
    ($($by_reg:ident $by_const:ident = $op:ident;)*) => {$(
        fn $by_reg(cx: &mut Lower<'_>, o: Reg) {
            let place = cx.x(o.rs2);
            change(cx, Binary::$op, (o.rd, o.rs1), place);
        }
        fn $by_const(cx: &mut Lower<'_>, o: Shift) {
            change(cx, Binary::$op, (o.rd, o.rs1), Val::Const(u64::from(o.shamt.0)));
        }
    )*};
}
single_bits! { bclr bclri = AndNot; binv binvi = Xor; bset bseti = Or; }

fn change(cx: &mut Lower<'_>, op: Binary, (rd, rs1): (X, X), place: Val) {
    let bit = cx.b.temp();
    cx.b.binary(Binary::Shl, bit, 1, place);
    super::base::binary(cx, (op, Width::Full), rd, cx.x(rs1), bit.into());
}

fn bext(cx: &mut Lower<'_>, o: Reg) {
    let place = cx.x(o.rs2);
    extract(cx, (o.rd, o.rs1), place);
}

fn bexti(cx: &mut Lower<'_>, o: Shift) {
    extract(cx, (o.rd, o.rs1), Val::Const(u64::from(o.shamt.0)));
}

fn extract(cx: &mut Lower<'_>, (rd, rs1): (X, X), place: Val) {
    let bit = cx.b.temp();
    cx.b.binary(Binary::Shr, bit, cx.x(rs1), place);
    super::base::binary(cx, (Binary::And, Width::Full), rd, bit.into(), Val::Const(1));
}
