//! Taking numbers apart, and rounding the exact result of an operation into a format.

use crate::env::{Env, Flags, Round, Tininess};
use crate::format::Float;

/// Bit of the leading one in a normalized significand.
pub(crate) const TOP: u32 = 62;

/// A finite number: `significand * 2^(exp - BIAS - TOP)`.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    /// The biased exponent; it has no bounds.
    pub(crate) exp: i64,
    /// Normalized: zero, or with its leading one at [`TOP`].
    pub(crate) significand: u64,
}

/// Whether the sign bit is set.
#[inline]
pub(crate) fn is_negative<F: Float>(bits: u64) -> bool {
    bits & F::SIGN != 0
}

/// The sign bit, alone.
#[inline]
pub(crate) fn sign_bit<F: Float>(negative: bool) -> u64 {
    u64::from(negative) << (F::BITS - 1)
}

/// The exponent field.
#[inline]
pub(crate) fn exponent<F: Float>(bits: u64) -> i64 {
    ((bits & F::INFINITY) >> F::FRAC_BITS).cast_signed()
}

/// Whether the bits are zero of either sign.
#[inline]
pub(crate) fn is_zero<F: Float>(bits: u64) -> bool {
    bits & F::MASK & !F::SIGN == 0
}

/// Whether the bits are an infinity or a NaN.
#[inline]
pub(crate) fn is_special<F: Float>(bits: u64) -> bool {
    bits & F::INFINITY == F::INFINITY
}

/// Whether the bits are an infinity.
#[inline]
pub(crate) fn is_infinite<F: Float>(bits: u64) -> bool {
    bits & F::MASK & !F::SIGN == F::INFINITY
}

/// The number that finite bits stand for, normalized.
#[inline]
pub(crate) fn unpack<F: Float>(bits: u64) -> Number {
    let exp = exponent::<F>(bits);
    let frac = (bits & F::FRAC) << (TOP - F::FRAC_BITS);
    if exp != 0 {
        return Number { exp, significand: frac | 1 << TOP };
    }
    normalize(1, frac)
}

/// Moves the leading one to [`TOP`]; the bit above it must be clear.
#[inline]
pub(crate) fn normalize(exp: i64, significand: u64) -> Number {
    if significand == 0 {
        return Number { exp, significand };
    }
    let shift = significand.leading_zeros() - 1;
    Number { exp: exp - i64::from(shift), significand: significand << shift }
}

/// Shifts right; a lost one bit stays as the lowest bit, so that rounding still sees it.
#[inline]
pub(crate) fn shift_right_sticky(value: u64, count: u64) -> u64 {
    match u32::try_from(count) {
        Ok(0) => value,
        Ok(count @ 1..=63) => value >> count | u64::from(value << (64 - count) != 0),
        _ => u64::from(value != 0),
    }
}

/// What is added below the last kept place before the rest is cut off.
#[inline]
fn increment(negative: bool, below: u64, round: Round) -> u64 {
    match round {
        Round::NearestEven | Round::NearestMaxMagnitude => (below >> 1) + 1,
        Round::Zero => 0,
        Round::Down => below * u64::from(negative),
        Round::Up => below * u64::from(!negative),
    }
}

/// Rounds a normalized, nonzero, exact but sticky result into the format, and raises its flags.
///
/// `exp` and `significand` are as in [`Number`]. A result with exponent 1 need not be normalized
/// if it is exact in the format.
#[inline]
pub(crate) fn round_pack<F: Float>(
    negative: bool,
    exp: i64,
    significand: u64,
    env: &mut Env,
) -> u64 {
    let below = (1 << (TOP - F::FRAC_BITS)) - 1;
    let increment = increment(negative, below, env.round);
    // One comparison for both ends: the exponents 1 to EXP_MAX - 2 cannot leave the range.
    if (exp - 1).cast_unsigned() >= (F::EXP_MAX - 2).cast_unsigned() {
        return round_pack_at_the_ends::<F>(negative, exp, significand, env);
    }
    if significand & below != 0 {
        env.raise(Flags::INEXACT);
    }
    round_in_range::<F>(negative, exp, significand, increment, env.round)
}

/// [`round_pack`] where the result may be tiny or too large.
#[cold]
fn round_pack_at_the_ends<F: Float>(
    negative: bool,
    exp: i64,
    mut significand: u64,
    env: &mut Env,
) -> u64 {
    let below = (1 << (TOP - F::FRAC_BITS)) - 1;
    let increment = increment(negative, below, env.round);
    if exp >= F::EXP_MAX || exp == F::EXP_MAX - 1 && significand + increment >= 1 << (TOP + 1) {
        env.raise(Flags::OVERFLOW | Flags::INEXACT);
        let magnitude = if increment == 0 { F::MAX_FINITE } else { F::INFINITY };
        return sign_bit::<F>(negative) | magnitude;
    }
    if exp < 1 {
        let tiny = match env.tininess {
            Tininess::BeforeRounding => true,
            Tininess::AfterRounding => exp < 0 || significand + increment < 1 << (TOP + 1),
        };
        significand = shift_right_sticky(significand, exp.abs_diff(1));
        if tiny && significand & below != 0 {
            env.raise(Flags::UNDERFLOW);
        }
    }
    if significand & below != 0 {
        env.raise(Flags::INEXACT);
    }
    round_in_range::<F>(negative, exp.max(1), significand, increment, env.round)
}

/// Cuts the significand to the format's precision. A carry out of it moves into the exponent,
/// which is what it should do, up to infinity and from subnormal to normal.
#[inline]
fn round_in_range<F: Float>(
    negative: bool,
    exp: i64,
    significand: u64,
    increment: u64,
    round: Round,
) -> u64 {
    let shift = TOP - F::FRAC_BITS;
    let below = (1 << shift) - 1;
    let mut kept = (significand + increment) >> shift;
    if round == Round::NearestEven && significand & below == 1 << (shift - 1) {
        kept &= !1;
    }
    // The leading one is at FRAC_BITS and adds one to the exponent field.
    sign_bit::<F>(negative) | (((exp - 1).cast_unsigned() << F::FRAC_BITS) + kept)
}
