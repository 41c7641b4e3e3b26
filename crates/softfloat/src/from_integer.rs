//! Conversion from integers (IEEE 754-2019 section 5.4.1, `convertFromInt`).

use crate::env::Env;
use crate::format::Float;
use crate::pack::{TOP, round_pack, shift_right_sticky};

/// The number nearest to a signed 32-bit integer.
#[inline]
pub fn from_i32<F: Float>(value: i32, env: &mut Env) -> u64 {
    from_magnitude::<F>(value < 0, value.unsigned_abs().into(), env)
}

/// The number nearest to an unsigned 32-bit integer.
#[inline]
pub fn from_u32<F: Float>(value: u32, env: &mut Env) -> u64 {
    from_magnitude::<F>(false, value.into(), env)
}

/// The number nearest to a signed 64-bit integer.
#[inline]
pub fn from_i64<F: Float>(value: i64, env: &mut Env) -> u64 {
    from_magnitude::<F>(value < 0, value.unsigned_abs(), env)
}

/// The number nearest to an unsigned 64-bit integer.
#[inline]
pub fn from_u64<F: Float>(value: u64, env: &mut Env) -> u64 {
    from_magnitude::<F>(false, value, env)
}

#[inline]
fn from_magnitude<F: Float>(negative: bool, magnitude: u64, env: &mut Env) -> u64 {
    if magnitude == 0 {
        return 0;
    }
    let zeros = magnitude.leading_zeros();
    let significand = shift_right_sticky(magnitude << zeros, u64::from(63 - TOP));
    round_pack::<F>(negative, F::BIAS + 63 - i64::from(zeros), significand, env)
}
