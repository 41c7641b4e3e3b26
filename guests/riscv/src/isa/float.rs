//! Meanings of floating-point instructions, one for all formats.

use crate::lower::Lower;
use crate::operand::{
    F, Float1Rm, Float2, Float2Rm, Float3Rm, FloatCompare, FloatConst, FloatFromX, FloatFromXRm,
    FloatLoad, FloatStore, FloatToX, FloatToXRm, X,
};
use omni_ir::{Binary, FloatOp, Format, Size, Slot, Unary, Val};
use omni_softfloat::{FLI_F16, FLI_F32, FLI_F64};

/// A format as the table's rows name it.
pub(super) trait Kind {
    /// In the IR.
    const FORMAT: Format;
    /// In memory.
    const SIZE: Size;
    /// Takes a value out of its box; `None` where it fills the register.
    const UNBOX: Option<Unary>;
    /// Puts a value into its box.
    const BOX: Unary;
    /// Sign-extends its bits to an integer register.
    const EXTEND: Unary;
    /// The place of the sign.
    const SIGN: u8;
    /// A constant of Zfa.
    fn constant(number: u8) -> u64;
}

/// Half precision.
pub(super) enum Fmt16 {}
/// Single precision.
pub(super) enum Fmt32 {}
/// Double precision.
pub(super) enum Fmt64 {}

impl Kind for Fmt16 {
    const FORMAT: Format = Format::F16;
    const SIZE: Size = Size::B2;
    const UNBOX: Option<Unary> = Some(Unary::Unbox16);
    const BOX: Unary = Unary::Box16;
    const EXTEND: Unary = Unary::Sext16;
    const SIGN: u8 = 15;
    fn constant(number: u8) -> u64 {
        FLI_F16[usize::from(number)].into()
    }
}

impl Kind for Fmt32 {
    const FORMAT: Format = Format::F32;
    const SIZE: Size = Size::B4;
    const UNBOX: Option<Unary> = Some(Unary::Unbox32);
    const BOX: Unary = Unary::Box32;
    const EXTEND: Unary = Unary::Sext32;
    const SIGN: u8 = 31;
    fn constant(number: u8) -> u64 {
        FLI_F32[usize::from(number)].into()
    }
}

impl Kind for Fmt64 {
    const FORMAT: Format = Format::F64;
    const SIZE: Size = Size::B8;
    const UNBOX: Option<Unary> = None;
    const BOX: Unary = Unary::Move;
    const EXTEND: Unary = Unary::Move;
    const SIGN: u8 = 63;
    fn constant(number: u8) -> u64 {
        FLI_F64[usize::from(number)]
    }
}

/// A source, out of its box.
fn source<K: Kind>(cx: &mut Lower<'_>, f: F) -> Val {
    let held = cx.f(f);
    K::UNBOX.map_or(held, |unbox| cx.unary(unbox, held))
}

/// Puts a result into its box and register, and ends the instruction.
fn put<K: Kind>(cx: &mut Lower<'_>, rd: F, value: impl Into<Val>) {
    let value = value.into();
    cx.dirty();
    let dst = cx.f_dst(rd);
    cx.b.unary(K::BOX, dst, value);
    cx.dirtied();
}

/// `rd = op(args)` in the format of the result.
fn to_f<K: Kind>(
    cx: &mut Lower<'_>,
    (op, format): (FloatOp, Format),
    rd: F,
    args: &[Val],
    round: Val,
) {
    let value = cx.b.temp();
    cx.b.float(op, format, value, args, round);
    put::<K>(cx, rd, value);
}

/// `rd = op(args)` for an integer register; raises flags.
pub(super) fn to_x(
    cx: &mut Lower<'_>,
    (op, format): (FloatOp, Format),
    rd: X,
    args: &[Val],
    round: Val,
) {
    let value = cx.b.temp();
    cx.b.float(op, format, value, args, round);
    cx.dirty();
    let dst = cx.dst(rd);
    cx.b.put(dst, value);
    cx.dirtied();
}

pub(super) fn load<K: Kind>(cx: &mut Lower<'_>, o: FloatLoad) {
    if cx.float_on() {
        let value = cx.b.temp();
        cx.b.load(K::SIZE, false, value, cx.x(o.rs1), o.imm.0);
        put::<K>(cx, o.rd, value);
    }
}

pub(super) fn store<K: Kind>(cx: &mut Lower<'_>, o: FloatStore) {
    if cx.float_on() {
        cx.b.store(K::SIZE, cx.x(o.rs1), o.imm.0, cx.f(o.rs2));
    }
}

/// Multiplication and addition, rounded once: which of product and addend are negated.
macro_rules! fused {
    ($($name:ident = $product:literal $addend:literal;)*) => {$(
        pub(super) fn $name<K: Kind>(cx: &mut Lower<'_>, o: Float3Rm) {
            if !cx.float_on() {
                return;
            }
            let Some(round) = cx.round(o.rm) else { return };
            let a = source::<K>(cx, o.rs1);
            let b = source::<K>(cx, o.rs2);
            let c = source::<K>(cx, o.rs3);
            let args = [negate::<K>(cx, a, $product), b, negate::<K>(cx, c, $addend)];
            to_f::<K>(cx, (FloatOp::MulAdd, K::FORMAT), o.rd, &args, round);
        }
    )*};
}
fused! { fmadd = false false; fmsub = false true; fnmsub = true false; fnmadd = true true; }

fn negate<K: Kind>(cx: &mut Lower<'_>, a: Val, negated: bool) -> Val {
    if !negated {
        return a;
    }
    let temp = cx.b.temp();
    cx.b.binary(Binary::Xor, temp, a, 1 << K::SIGN);
    temp.into()
}

macro_rules! rounded {
    ($($name:ident = $op:ident;)*) => {$(
        pub(super) fn $name<K: Kind>(cx: &mut Lower<'_>, o: Float2Rm) {
            if !cx.float_on() {
                return;
            }
            let Some(round) = cx.round(o.rm) else { return };
            let args = [source::<K>(cx, o.rs1), source::<K>(cx, o.rs2)];
            to_f::<K>(cx, (FloatOp::$op, K::FORMAT), o.rd, &args, round);
        }
    )*};
}
rounded! { fadd = Add; fsub = Sub; fmul = Mul; fdiv = Div; }

macro_rules! of_one {
    ($($name:ident = $op:ident;)*) => {$(
        pub(super) fn $name<K: Kind>(cx: &mut Lower<'_>, o: Float1Rm) {
            if !cx.float_on() {
                return;
            }
            let Some(round) = cx.round(o.rm) else { return };
            let args = [source::<K>(cx, o.rs1)];
            to_f::<K>(cx, (FloatOp::$op, K::FORMAT), o.rd, &args, round);
        }
    )*};
}
of_one! { fsqrt = Sqrt; fround = Round; froundnx = RoundExact; }

/// From one format to another.
pub(super) fn convert<From: Kind, To: Kind>(cx: &mut Lower<'_>, o: Float1Rm) {
    if !cx.float_on() {
        return;
    }
    let Some(round) = cx.round(o.rm) else { return };
    let args = [source::<From>(cx, o.rs1)];
    to_f::<To>(cx, (FloatOp::ToFloat(To::FORMAT), From::FORMAT), o.rd, &args, round);
}

macro_rules! least_and_most {
    ($($name:ident = $op:ident;)*) => {$(
        pub(super) fn $name<K: Kind>(cx: &mut Lower<'_>, o: Float2) {
            if cx.float_on() {
                let args = [source::<K>(cx, o.rs1), source::<K>(cx, o.rs2)];
                to_f::<K>(cx, (FloatOp::$op, K::FORMAT), o.rd, &args, 0.into());
            }
        }
    )*};
}
least_and_most! { fmin = MinNumber; fmax = MaxNumber; fminm = Minimum; fmaxm = Maximum; }

macro_rules! comparisons {
    ($($name:ident = $op:ident;)*) => {$(
        pub(super) fn $name<K: Kind>(cx: &mut Lower<'_>, o: FloatCompare) {
            if cx.float_on() {
                let args = [source::<K>(cx, o.rs1), source::<K>(cx, o.rs2)];
                to_x(cx, (FloatOp::$op, K::FORMAT), o.rd, &args, 0.into());
            }
        }
    )*};
}
comparisons! {
    feq = EqQuiet; flt = LtSignal; fle = LeSignal; fltq = LtQuiet; fleq = LeQuiet;
}

macro_rules! integers {
    ($($to:ident = $to_op:ident, $from:ident = $from_op:ident;)*) => {$(
        pub(super) fn $to<K: Kind>(cx: &mut Lower<'_>, o: FloatToXRm) {
            if !cx.float_on() {
                return;
            }
            let Some(round) = cx.round(o.rm) else { return };
            let args = [source::<K>(cx, o.rs1)];
            to_x(cx, (FloatOp::$to_op, K::FORMAT), o.rd, &args, round);
        }
        pub(super) fn $from<K: Kind>(cx: &mut Lower<'_>, o: FloatFromXRm) {
            if !cx.float_on() {
                return;
            }
            let Some(round) = cx.round(o.rm) else { return };
            let args = [cx.x(o.rs1)];
            to_f::<K>(cx, (FloatOp::$from_op, K::FORMAT), o.rd, &args, round);
        }
    )*};
}
integers! {
    to_i32 = ToI32, from_i32 = FromI32; to_u32 = ToU32, from_u32 = FromU32;
    to_i64 = ToI64, from_i64 = FromI64; to_u64 = ToU64, from_u64 = FromU64;
}

/// What a sign injection makes of the two signs.
enum Inject {
    Same,
    Other,
    Product,
}

fn inject<K: Kind>(cx: &mut Lower<'_>, o: Float2, how: &Inject) {
    if !cx.float_on() {
        return;
    }
    let a = source::<K>(cx, o.rs1);
    if o.rs1 == o.rs2 {
        // A move, the opposite and the absolute value. Above the sign there is nothing.
        let value = match how {
            Inject::Same => a,
            Inject::Other => negate::<K>(cx, a, true),
            Inject::Product => {
                let temp = cx.b.temp();
                cx.b.binary(Binary::And, temp, a, (1 << K::SIGN) - 1);
                temp.into()
            }
        };
        return put::<K>(cx, o.rd, value);
    }
    let b = source::<K>(cx, o.rs2);
    let sign: Slot = cx.b.temp();
    match how {
        Inject::Same => cx.b.put(sign, b),
        Inject::Other => cx.b.unary(Unary::Not, sign, b),
        Inject::Product => cx.b.binary(Binary::Xor, sign, a, b),
    }
    cx.b.binary(Binary::Shr, sign, sign, u64::from(K::SIGN));
    let value = cx.b.temp();
    cx.b.deposit(value, a, sign, (K::SIGN, 1));
    put::<K>(cx, o.rd, value);
}

pub(super) fn fsgnj<K: Kind>(cx: &mut Lower<'_>, o: Float2) {
    inject::<K>(cx, o, &Inject::Same);
}

pub(super) fn fsgnjn<K: Kind>(cx: &mut Lower<'_>, o: Float2) {
    inject::<K>(cx, o, &Inject::Other);
}

pub(super) fn fsgnjx<K: Kind>(cx: &mut Lower<'_>, o: Float2) {
    inject::<K>(cx, o, &Inject::Product);
}

pub(super) fn to_bits<K: Kind>(cx: &mut Lower<'_>, o: FloatToX) {
    if cx.float_on() {
        let dst = cx.dst(o.rd);
        cx.b.unary(K::EXTEND, dst, cx.f(o.rs1));
    }
}

pub(super) fn from_bits<K: Kind>(cx: &mut Lower<'_>, o: FloatFromX) {
    if cx.float_on() {
        let value = cx.x(o.rs1);
        put::<K>(cx, o.rd, value);
    }
}

pub(super) fn class<K: Kind>(cx: &mut Lower<'_>, o: FloatToX) {
    if cx.float_on() {
        let a = source::<K>(cx, o.rs1);
        let dst = cx.dst(o.rd);
        cx.b.float(FloatOp::Class, K::FORMAT, dst, &[a], 0);
    }
}

pub(super) fn constant<K: Kind>(cx: &mut Lower<'_>, o: FloatConst) {
    if cx.float_on() {
        put::<K>(cx, o.rd, K::constant(o.constant.0));
    }
}
