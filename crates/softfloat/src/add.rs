//! Addition and subtraction (IEEE 754-2019 section 5.4.1).

use crate::env::{Env, Round};
use crate::format::{Float, is_nan};
use crate::host;
use crate::nan::{invalid, propagate};
use crate::pack::{
    TOP, exponent, is_infinite, is_negative, is_special, normalize, round_pack, shift_right_sticky,
    sign_bit,
};

/// `a + b`.
#[inline]
pub fn add<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    match host::add::<F>(a, b, env) {
        Some(sum) => sum,
        None => add_signed::<F>(a, b, 0, env),
    }
}

/// `a - b`.
#[inline]
pub fn sub<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    match host::add::<F>(a, b ^ F::SIGN, env) {
        Some(difference) => difference,
        None => add_signed::<F>(a, b, F::SIGN, env),
    }
}

/// `a + b`, where the sign of `b` is flipped by `flip` unless `b` is a NaN.
fn add_signed<F: Float>(a: u64, b: u64, flip: u64, env: &mut Env) -> u64 {
    if is_special::<F>(a) || is_special::<F>(b) {
        return add_special::<F>(a, b, flip, env);
    }
    let b = b ^ flip;
    let (exp_a, significand_a) = place::<F>(a);
    let (exp_b, significand_b) = place::<F>(b);
    let distance = exp_a.abs_diff(exp_b);
    let (exp, large, small) = if exp_a >= exp_b {
        (exp_a, significand_a, shift_right_sticky(significand_b, distance))
    } else {
        (exp_b, significand_b, shift_right_sticky(significand_a, distance))
    };
    let negative = is_negative::<F>(a);
    if negative == is_negative::<F>(b) {
        let sum = large + small;
        // A carry makes room for itself; a sum below the top is subnormal or zero, and exact.
        if sum >> (TOP + 1) == 0 {
            return round_pack::<F>(negative, exp, sum, env);
        }
        return round_pack::<F>(negative, exp + 1, shift_right_sticky(sum, 1), env);
    }
    if large == small {
        return sign_bit::<F>(env.round == Round::Down);
    }
    // With equal exponents `small` is that of `b` and may be the larger one.
    let swapped = exp_a < exp_b || large < small;
    let difference = normalize(exp, large.abs_diff(small));
    round_pack::<F>(negative != swapped, difference.exp, difference.significand, env)
}

/// Exponent and significand at their place, not normalized: zero and subnormals have exponent 1.
#[inline]
fn place<F: Float>(bits: u64) -> (i64, u64) {
    let exp = exponent::<F>(bits);
    let frac = (bits & F::FRAC) << (TOP - F::FRAC_BITS);
    (exp.max(1), frac | u64::from(exp != 0) << TOP)
}

/// [`add_signed`] with at least one infinity or NaN.
#[cold]
fn add_special<F: Float>(a: u64, b: u64, flip: u64, env: &mut Env) -> u64 {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate::<F>(&[a, b], env);
    }
    let (a, b) = (a & F::MASK, (b ^ flip) & F::MASK);
    if is_infinite::<F>(a) && is_infinite::<F>(b) && a != b {
        return invalid::<F>(env);
    }
    if is_infinite::<F>(a) { a } else { b }
}
