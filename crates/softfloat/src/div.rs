//! Division (IEEE 754-2019 section 5.4.1).

use crate::env::{Env, Flags};
use crate::format::{Float, is_nan};
use crate::host;
use crate::nan::{invalid, propagate};
use crate::pack::{
    TOP, is_infinite, is_negative, is_special, is_zero, round_pack, sign_bit, unpack,
};

/// `a / b`.
#[inline]
pub fn div<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    match host::div::<F>(a, b, env) {
        Some(quotient) => quotient,
        None => div_in_integers::<F>(a, b, env),
    }
}

/// `a / b` without the host.
fn div_in_integers<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    if is_special::<F>(a) || is_special::<F>(b) || is_zero::<F>(a) || is_zero::<F>(b) {
        return div_special::<F>(a, b, env);
    }
    let negative = is_negative::<F>(a ^ b);
    let (mut a, b) = (unpack::<F>(a), unpack::<F>(b));
    let mut exp = a.exp - b.exp + F::BIAS;
    if a.significand < b.significand {
        a.significand <<= 1;
        exp -= 1;
    }
    // The quotient of the significands is now at least one and below two.
    let significand = if F::FRAC_BITS <= 23 {
        divide_narrow(a.significand, b.significand)
    } else {
        divide_wide(a.significand, b.significand)
    };
    round_pack::<F>(negative, exp, significand, env)
}

/// `2^TOP * a / b`, sticky, where neither has more than 25 significant bits.
#[inline]
fn divide_narrow(a: u64, b: u64) -> u64 {
    // Both are cut to 24 bits, `a` to 25 if it was doubled, with nothing lost.
    let (a, b) = ((a >> (TOP - 23)) << 38, b >> (TOP - 23));
    (a / b) << (TOP - 38) | u64::from(a % b != 0)
}

/// `2^TOP * a / b`, sticky, where `b <= a < 2 * b`.
#[inline]
fn divide_wide(a: u64, b: u64) -> u64 {
    let (a, b) = (u128::from(a) << TOP, u128::from(b));
    (a / b) as u64 | u64::from(a % b != 0)
}

/// [`div`] with at least one zero, infinity or NaN.
#[cold]
fn div_special<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate::<F>(&[a, b], env);
    }
    let sign = sign_bit::<F>(is_negative::<F>(a ^ b));
    match (is_infinite::<F>(a), is_infinite::<F>(b)) {
        (true, true) => invalid::<F>(env),
        (true, false) => sign | F::INFINITY,
        (false, true) => sign,
        (false, false) if !is_zero::<F>(b) => sign,
        (false, false) if is_zero::<F>(a) => invalid::<F>(env),
        (false, false) => {
            env.raise(Flags::DIVIDE_BY_ZERO);
            sign | F::INFINITY
        }
    }
}
