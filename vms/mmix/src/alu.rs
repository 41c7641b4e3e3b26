//! What instructions make of numbers: results, exceptions and second results.

use crate::float::{self, Out, exception as e};
use crate::opcode::op;
use crate::state::special;
use std::cmp::Ordering;

const SIGN: u64 = 1 << 63;

/// Operands of an instruction.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Operands {
    pub(crate) y: u64,
    pub(crate) z: u64,
    /// Register X, or the special register that the instruction reads.
    pub(crate) b: u64,
}

/// What an instruction gives.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Result {
    pub(crate) x: u64,
    pub(crate) exc: u32,
    /// A special register and what goes there.
    pub(crate) aux: Option<(u8, u64)>,
}

impl From<u64> for Result {
    fn from(x: u64) -> Self {
        Self { x, exc: 0, aux: None }
    }
}

impl From<Out> for Result {
    fn from((x, exc): Out) -> Self {
        Self { x, exc, aux: None }
    }
}

/// The special register that an instruction reads, where there is one.
pub(crate) fn third(family: u8, opcode: u8) -> Option<u8> {
    match opcode {
        op::FCMPE | op::FUNE | op::FEQLE => Some(special::E),
        _ if family == op::DIVU => Some(special::D),
        _ if family == op::MUX => Some(special::M),
        _ => None,
    }
}

/// Whether a number is as the low bits of an opcode of a branch ask for.
pub(crate) fn holds(opcode: u8, value: u64) -> bool {
    let is = match opcode >> 1 & 3 {
        0 => value & SIGN != 0,
        1 => value == 0,
        2 => value.cast_signed() > 0,
        _ => value & 1 == 1,
    };
    is != (opcode & 8 != 0)
}

/// Whether the rounding mode in a field is one: otherwise the instruction is illegal.
pub(crate) fn has_rounding_field(opcode: u8) -> bool {
    matches!(opcode, op::FIX | op::FIXU | op::FSQRT | op::FINT | 0x08..=0x0f)
}

/// The result of an instruction on registers, by its opcode; `round` is the mode in rA, and the
/// mode of a field is in `y`.
pub(crate) fn run(opcode: u8, operands: Operands, round: u64) -> Result {
    match opcode {
        0x01..=0x17 => floating(opcode, operands, round),
        0x18..=0x3f => integer(opcode & !1, operands),
        0x60..=0x7f => {
            let Operands { y, z, b } = operands;
            let other = if opcode < op::ZSN { b } else { 0 };
            Result::from(if holds(opcode, y) { z } else { other })
        }
        _ => Result::from(bits(opcode, operands)),
    }
}

fn floating(opcode: u8, Operands { y, z, b }: Operands, round: u64) -> Result {
    let now = float::direction(round);
    let here = if y == 0 { now } else { float::direction(y) };
    match opcode {
        op::FCMP => ordered(y, z),
        op::FUN => u64::from(float::compare(y, z).is_none()).into(),
        op::FEQL => u64::from(float::compare(y, z) == Some(Ordering::Equal)).into(),
        op::FADD => float::add(y, z, now).into(),
        op::FSUB => float::sub(y, z, now).into(),
        op::FMUL => float::mul(y, z, now).into(),
        op::FDIV => float::div(y, z, now).into(),
        op::FREM => float::rem(y, z).into(),
        op::FSQRT => float::sqrt(z, here).into(),
        op::FINT => float::integral(z, here).into(),
        op::FIX => float::fix(z, here).into(),
        op::FIXU => {
            let (x, exc) = float::fix(z, here);
            (x, exc & !e::W).into()
        }
        op::FCMPE => match float::near(y, z, b, true) {
            None => (0, e::I).into(),
            Some(true) => 0.into(),
            Some(false) => ordered(y, z),
        },
        op::FUNE => u64::from(float::near(y, z, b, true).is_none()).into(),
        op::FEQLE => match float::near(y, z, b, false) {
            None => (0, e::I).into(),
            Some(near) => u64::from(near).into(),
        },
        _ => float::float(z, opcode & 2 != 0, opcode & 4 != 0, here).into(),
    }
}

fn ordered(y: u64, z: u64) -> Result {
    match float::compare(y, z) {
        None => (0, e::I).into(),
        Some(order) => sign(order).into(),
    }
}

fn sign(order: Ordering) -> u64 {
    match order {
        Ordering::Less => u64::MAX,
        Ordering::Equal => 0,
        Ordering::Greater => 1,
    }
}

fn overflow(x: u64, over: bool) -> Result {
    Result { x, exc: if over { e::V } else { 0 }, aux: None }
}

fn integer(family: u8, Operands { y, z, b }: Operands) -> Result {
    let (sy, sz) = (y.cast_signed(), z.cast_signed());
    match family {
        op::MUL => {
            let (x, over) = sy.overflowing_mul(sz);
            overflow(x.cast_unsigned(), over)
        }
        op::MULU => {
            let product = u128::from(y) * u128::from(z);
            let aux = Some((special::H, (product >> 64) as u64));
            Result { x: product as u64, exc: 0, aux }
        }
        op::DIV => divide(sy, sz),
        op::DIVU if b >= z => Result { x: b, exc: 0, aux: Some((special::R, y)) },
        op::DIVU => {
            let whole = u128::from(b) << 64 | u128::from(y);
            let (quotient, rest) = (whole / u128::from(z), whole % u128::from(z));
            // The high half is below the divisor, so the quotient has 64 bits.
            Result { x: quotient as u64, exc: 0, aux: Some((special::R, rest as u64)) }
        }
        op::ADD => {
            let (x, over) = sy.overflowing_add(sz);
            overflow(x.cast_unsigned(), over)
        }
        op::SUB | op::NEG => {
            let (x, over) = sy.overflowing_sub(sz);
            overflow(x.cast_unsigned(), over)
        }
        op::ADDU => y.wrapping_add(z).into(),
        op::SUBU | op::NEGU => y.wrapping_sub(z).into(),
        op::CMP => sign(sy.cmp(&sz)).into(),
        op::CMPU => sign(y.cmp(&z)).into(),
        op::SL | op::SLU | op::SR | op::SRU => shift(family, y, z),
        // 2ADDU to 16ADDU.
        _ => (y << ((family >> 1 & 3) + 1)).wrapping_add(z).into(),
    }
}

fn shift(family: u8, y: u64, z: u64) -> Result {
    let count = u32::try_from(z.min(64)).expect("at most 64");
    let left = y.checked_shl(count).unwrap_or(0);
    match family {
        op::SL => {
            let back = (left.cast_signed() >> count.min(63)).cast_unsigned();
            overflow(left, back != y)
        }
        op::SLU => left.into(),
        op::SR => (y.cast_signed() >> count.min(63)).cast_unsigned().into(),
        _ => y.checked_shr(count).unwrap_or(0).into(),
    }
}

/// The quotient is rounded down, and the remainder has the sign of the divisor.
fn divide(y: i64, z: i64) -> Result {
    if z == 0 {
        return Result { x: 0, exc: e::D, aux: Some((special::R, y.cast_unsigned())) };
    }
    let (quotient, over) = y.overflowing_div(z);
    let rest = y.wrapping_rem(z);
    let down = rest != 0 && (rest < 0) != (z < 0);
    let (quotient, rest) = if down { (quotient - 1, rest + z) } else { (quotient, rest) };
    let aux = Some((special::R, rest.cast_unsigned()));
    Result { x: quotient.cast_unsigned(), exc: if over { e::V } else { 0 }, aux }
}

fn bits(opcode: u8, Operands { y, z, b }: Operands) -> u64 {
    match opcode {
        0xc0 | 0xc1 | 0xe8..=0xeb => y | z,
        0xc2 | 0xc3 => y | !z,
        0xc4 | 0xc5 => !(y | z),
        0xc6 | 0xc7 => y ^ z,
        0xc8 | 0xc9 => y & z,
        0xca | 0xcb | 0xec..=0xef => y & !z,
        0xcc | 0xcd => !(y & z),
        0xce | 0xcf => !(y ^ z),
        0xd0 | 0xd1 => differences(y, z, 8),
        0xd2 | 0xd3 => differences(y, z, 16),
        0xd4 | 0xd5 => differences(y, z, 32),
        0xd6 | 0xd7 => y.saturating_sub(z),
        0xd8 | 0xd9 => y & b | z & !b,
        0xda | 0xdb => u64::from((y & !z).count_ones()),
        0xdc | 0xdd => multiply(y, z, |a, b| a | b),
        0xde | 0xdf => multiply(y, z, |a, b| a ^ b),
        0xe4..=0xe7 => y.wrapping_add(z),
        // SETH to SETL.
        _ => z,
    }
}

/// Parts of `width` bits are subtracted where they can be, and are zero elsewhere.
fn differences(y: u64, z: u64, width: u32) -> u64 {
    let mask = (1u64 << width) - 1;
    let part = |at: u32| (y >> at & mask).saturating_sub(z >> at & mask) << at;
    (0..64).step_by(width as usize).map(|at| part(at as u32)).sum()
}

/// The product of two matrices of bits.
fn multiply(y: u64, z: u64, join: fn(u64, u64) -> u64) -> u64 {
    let row = |of: u64, at: u32| of >> (8 * at) & 0xff;
    let one = |at: u32| {
        let chosen = (0..8).filter(|bit| row(z, at) >> bit & 1 == 1);
        chosen.fold(0, |sum, bit| join(sum, row(y, bit))) << (8 * at)
    };
    (0..8).map(one).sum()
}
