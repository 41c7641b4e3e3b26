//! Multiplication (IEEE 754-2019 section 5.4.1).

use crate::env::Env;
use crate::format::{Float, is_nan};
use crate::host;
use crate::nan::{invalid, propagate};
use crate::pack::{
    TOP, is_negative, is_special, is_zero, round_pack, shift_right_sticky, sign_bit, unpack,
};

/// `a * b`.
#[inline]
pub fn mul<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    match host::mul::<F>(a, b, env) {
        Some(product) => product,
        None => mul_in_integers::<F>(a, b, env),
    }
}

/// `a * b` without the host.
fn mul_in_integers<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    if is_special::<F>(a) || is_special::<F>(b) {
        return mul_special::<F>(a, b, env);
    }
    let negative = is_negative::<F>(a ^ b);
    if is_zero::<F>(a) || is_zero::<F>(b) {
        return sign_bit::<F>(negative);
    }
    let (a, b) = (unpack::<F>(a), unpack::<F>(b));
    let exp = a.exp + b.exp - F::BIAS;
    // Leading one at bit 126 or 127 of the product, so at 62 or 63 of its upper half.
    let product = u128::from(a.significand << 1) * u128::from(b.significand << 1);
    let significand = (product >> 64) as u64 | u64::from(product as u64 != 0);
    if significand >> (TOP + 1) == 0 {
        return round_pack::<F>(negative, exp, significand, env);
    }
    round_pack::<F>(negative, exp + 1, shift_right_sticky(significand, 1), env)
}

/// [`mul`] with at least one infinity or NaN.
#[cold]
fn mul_special<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate::<F>(&[a, b], env);
    }
    if is_zero::<F>(a) || is_zero::<F>(b) {
        return invalid::<F>(env);
    }
    sign_bit::<F>(is_negative::<F>(a ^ b)) | F::INFINITY
}
