//! Conversion to integers (IEEE 754-2019 section 5.8, the forms that signal inexact).

use crate::env::{Env, Flags, NanRule, Round};
use crate::format::{Float, is_nan};
use crate::pack::{TOP, is_infinite, is_negative, shift_right_sticky, unpack};

/// The signed 32-bit integer nearest in the direction of rounding.
#[inline]
pub fn to_i32<F: Float>(a: u64, env: &mut Env) -> i32 {
    // Within the bounds of 32 bits, so nothing is cut off.
    to_signed::<F>(a, i64::from(i32::MAX), env) as i32
}

/// The unsigned 32-bit integer nearest in the direction of rounding.
#[inline]
pub fn to_u32<F: Float>(a: u64, env: &mut Env) -> u32 {
    // Within the bounds of 32 bits, so nothing is cut off.
    to_unsigned::<F>(a, u64::from(u32::MAX), env) as u32
}

/// The signed 64-bit integer nearest in the direction of rounding.
#[inline]
pub fn to_i64<F: Float>(a: u64, env: &mut Env) -> i64 {
    to_signed::<F>(a, i64::MAX, env)
}

/// The unsigned 64-bit integer nearest in the direction of rounding.
#[inline]
pub fn to_u64<F: Float>(a: u64, env: &mut Env) -> u64 {
    to_unsigned::<F>(a, u64::MAX, env)
}

/// Converts to the signed integers up to `max`.
#[inline]
fn to_signed<F: Float>(a: u64, max: i64, env: &mut Env) -> i64 {
    let negative = is_negative::<F>(a);
    let limit = max.cast_unsigned() + u64::from(negative);
    match magnitude::<F>(a, env.round) {
        Some((magnitude, inexact)) if magnitude <= limit => {
            if inexact {
                env.raise(Flags::INEXACT);
            }
            // The magnitude of the least integer wraps to that integer, as it should.
            let value = magnitude.cast_signed();
            if negative { value.wrapping_neg() } else { value }
        }
        Some(_) | None => {
            env.raise(Flags::INVALID);
            match env.nan {
                NanRule::RiscV if is_nan::<F>(a) => max,
                NanRule::Arm { .. } if is_nan::<F>(a) => 0,
                NanRule::X86Sse => -max - 1,
                NanRule::RiscV | NanRule::Arm { .. } if negative => -max - 1,
                NanRule::RiscV | NanRule::Arm { .. } => max,
            }
        }
    }
}

/// Converts to the unsigned integers up to `max`.
#[inline]
fn to_unsigned<F: Float>(a: u64, max: u64, env: &mut Env) -> u64 {
    let negative = is_negative::<F>(a);
    let limit = if negative { 0 } else { max };
    match magnitude::<F>(a, env.round) {
        Some((magnitude, inexact)) if magnitude <= limit => {
            if inexact {
                env.raise(Flags::INEXACT);
            }
            magnitude
        }
        Some(_) | None => {
            env.raise(Flags::INVALID);
            match env.nan {
                NanRule::RiscV if is_nan::<F>(a) => max,
                NanRule::Arm { .. } if is_nan::<F>(a) => 0,
                NanRule::X86Sse => max,
                NanRule::RiscV | NanRule::Arm { .. } if negative => 0,
                NanRule::RiscV | NanRule::Arm { .. } => max,
            }
        }
    }
}

/// The rounded magnitude and whether rounding changed it; none beyond 64 bits, and for NaN.
#[inline]
fn magnitude<F: Float>(a: u64, round: Round) -> Option<(u64, bool)> {
    if is_nan::<F>(a) || is_infinite::<F>(a) {
        return None;
    }
    let number = unpack::<F>(a);
    let power = number.exp - F::BIAS;
    if number.significand == 0 {
        return Some((0, false));
    }
    // The fraction's weights are 1/2, 1/4, ... from the top bit down; its lowest bit is sticky.
    let (whole, fraction) = match power {
        64.. => return None,
        63 => (number.significand << 1, 0),
        62 => (number.significand, 0),
        // 1 to 62 places below the point, so the other shift is 2 to 63.
        0..62 => {
            let below = i64::from(TOP) - power;
            (number.significand >> below, number.significand << (64 - below))
        }
        ..0 => (0, shift_right_sticky(number.significand << 1, power.abs_diff(-1))),
    };
    let half = 1 << 63;
    let up = match round {
        Round::NearestEven => fraction > half || fraction == half && whole & 1 == 1,
        Round::Zero => false,
        Round::Down => fraction != 0 && is_negative::<F>(a),
        Round::Up => fraction != 0 && !is_negative::<F>(a),
        Round::NearestMaxMagnitude => fraction >= half,
    };
    // A fraction leaves the whole part below 2^62, so this cannot overflow.
    Some((whole + u64::from(up), fraction != 0))
}
