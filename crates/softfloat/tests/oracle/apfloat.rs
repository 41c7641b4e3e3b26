//! Expectations by LLVM's arbitrary-precision floating point, in its Rust port.

use omni_softfloat::{F16, F32, F64, Flags, Float, Round, Tininess, is_nan, is_signaling};
use rustc_apfloat::{self as ap, Float as _, FloatConvert, Status, StatusAnd, ieee};
use std::cmp::Ordering;

/// A format that the oracle knows.
pub(crate) trait Known: Float {
    type Ap: ap::Float;
}

impl Known for F16 {
    type Ap = ieee::Half;
}

impl Known for F32 {
    type Ap = ieee::Single;
}

impl Known for F64 {
    type Ap = ieee::Double;
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    MulAdd,
}

impl Op {
    pub(crate) const ALL: [Self; 5] = [Self::Add, Self::Sub, Self::Mul, Self::Div, Self::MulAdd];

    fn operand_count(self) -> usize {
        match self {
            Self::Add | Self::Sub | Self::Mul | Self::Div => 2,
            Self::MulAdd => 3,
        }
    }
}

pub(crate) fn direction(round: Round) -> ap::Round {
    match round {
        Round::NearestEven => ap::Round::NearestTiesToEven,
        Round::Zero => ap::Round::TowardZero,
        Round::Down => ap::Round::TowardNegative,
        Round::Up => ap::Round::TowardPositive,
        Round::NearestMaxMagnitude => ap::Round::NearestTiesToAway,
    }
}

/// RISC-V's result and flags of an operation.
pub(crate) fn arithmetic<F: Known>(
    op: Op,
    operands: [u64; 3],
    round: Round,
    tininess: Tininess,
) -> (u64, Flags) {
    let used = &operands[..op.operand_count()];
    if used.iter().any(|&bits| is_nan::<F>(bits)) {
        let [a, b, _] = operands.map(|bits| bits & F::MASK & !F::SIGN);
        let impossible =
            matches!(op, Op::MulAdd) && (a == F::INFINITY && b == 0 || a == 0 && b == F::INFINITY);
        let invalid = impossible || used.iter().any(|&bits| is_signaling::<F>(bits));
        return (F::NAN, if invalid { Flags::INVALID } else { Flags::NONE });
    }
    let operands = operands.map(|bits| F::Ap::from_bits(bits.into()));
    let way = direction(round);
    let scaled = |power, way| {
        let [a, b, c] = operands;
        let scaled = match op {
            Op::Add | Op::Sub => [scale(a, power), scale(b, power), c],
            // Of the factors the one that stays in range.
            Op::Mul | Op::MulAdd if (a.abs() < b.abs()) == (power > 0) => {
                [scale(a, power), b, scale(c, power)]
            }
            Op::Mul | Op::MulAdd => [a, scale(b, power), scale(c, power)],
            Op::Div => [scale(a, power), b, c],
        };
        evaluate(op, scaled, way).value
    };
    settle::<F>(evaluate(op, operands, way), scaled, way, tininess)
}

/// RISC-V's result and flags of a conversion.
pub(crate) fn conversion<F: Known, G: Known>(
    a: u64,
    round: Round,
    tininess: Tininess,
) -> (u64, Flags)
where
    F::Ap: FloatConvert<G::Ap>,
{
    if is_nan::<F>(a) {
        let flags = if is_signaling::<F>(a) { Flags::INVALID } else { Flags::NONE };
        return (G::NAN, flags);
    }
    let a = F::Ap::from_bits(a.into());
    let way = direction(round);
    let scaled = |power, way| scale(a, power).convert_r(way, &mut false).value;
    settle::<G>(a.convert_r(way, &mut false), scaled, way, tininess)
}

fn evaluate<A: ap::Float>(op: Op, [a, b, c]: [A; 3], way: ap::Round) -> StatusAnd<A> {
    match op {
        Op::Add => a.add_r(b, way),
        Op::Sub => a.sub_r(b, way),
        Op::Mul => a.mul_r(b, way),
        Op::Div => a.div_r(b, way),
        Op::MulAdd => a.mul_add_r(b, c, way),
    }
}

/// Times a power of two; away from zero, so that a nonzero addend stays one.
fn scale<A: ap::Float>(value: A, power: i32) -> A {
    let away =
        if value.is_negative() { ap::Round::TowardNegative } else { ap::Round::TowardPositive };
    value.scalbn_r(power, away)
}

/// Bits and flags.
///
/// The oracle judges underflow by the denormal result, and calls no result that stays finite an
/// overflow. That differs from IEEE 754 in results that are the smallest normal or the largest
/// finite number; `scaled` computes them with a power of two put in, to see how they round when
/// the exponent has no bounds.
fn settle<F: Known>(
    outcome: StatusAnd<F::Ap>,
    scaled: impl Fn(i32, ap::Round) -> F::Ap,
    way: ap::Round,
    tininess: Tininess,
) -> (u64, Flags) {
    if outcome.value.is_nan() {
        return (F::NAN, Flags::INVALID);
    }
    let bits = u64::try_from(outcome.value.to_bits()).expect("a format has at most 64 bits");
    let magnitude = bits & !F::SIGN;
    let mut flags = flags(outcome.status);
    if !flags.contains(Flags::INEXACT) {
        return (bits, flags);
    }
    let scaled_order = |edge: u64, power: i32, way: ap::Round| {
        scaled(power, way).abs().partial_cmp(&F::Ap::from_bits(edge.into()).scalbn(power))
    };
    let is_tiny = || {
        let way = match tininess {
            Tininess::AfterRounding => way,
            Tininess::BeforeRounding => ap::Round::TowardZero,
        };
        let power = i32::try_from(F::FRAC_BITS + 2).expect("a width is small");
        scaled_order(F::MIN_NORMAL, power, way) == Some(Ordering::Less)
    };
    if magnitude < F::MIN_NORMAL || magnitude == F::MIN_NORMAL && is_tiny() {
        flags.raise(Flags::UNDERFLOW);
    }
    if magnitude == F::MAX_FINITE && scaled_order(F::MAX_FINITE, -2, way) == Some(Ordering::Greater)
    {
        flags.raise(Flags::OVERFLOW);
    }
    (bits, flags)
}

/// Flags other than underflow.
pub(crate) fn flags(status: Status) -> Flags {
    let mut flags = Flags::NONE;
    for (theirs, ours) in [
        (Status::INVALID_OP, Flags::INVALID),
        (Status::DIV_BY_ZERO, Flags::DIVIDE_BY_ZERO),
        (Status::OVERFLOW, Flags::OVERFLOW),
        (Status::INEXACT, Flags::INEXACT),
    ] {
        if status.contains(theirs) {
            flags.raise(ours);
        }
    }
    flags
}
