//! Minimum and maximum (IEEE 754-2019 section 9.6), where negative zero is below positive zero.

use crate::env::{Env, Flags, NanRule};
use crate::format::{Float, is_nan, is_signaling};
use crate::nan::propagate;

/// The lesser; a NaN if there is one. RISC-V `fminm`, Arm `FMIN`.
#[inline]
pub fn minimum<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate::<F>(&[a, b], env);
    }
    lesser::<F>(a, b)
}

/// The greater; a NaN if there is one. RISC-V `fmaxm`, Arm `FMAX`.
#[inline]
pub fn maximum<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return propagate::<F>(&[a, b], env);
    }
    greater::<F>(a, b)
}

/// The lesser, or the only number. RISC-V `fmin`, Arm `FMINNM`.
#[inline]
pub fn minimum_number<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return only_number::<F>(a, b, env);
    }
    lesser::<F>(a, b)
}

/// The greater, or the only number. RISC-V `fmax`, Arm `FMAXNM`.
#[inline]
pub fn maximum_number<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        return only_number::<F>(a, b, env);
    }
    greater::<F>(a, b)
}

/// An integer with the order of the bits' `totalOrder`.
#[inline]
fn key<F: Float>(bits: u64) -> i64 {
    let magnitude = (bits & F::MASK & !F::SIGN).cast_signed();
    if bits & F::SIGN == 0 { magnitude } else { !magnitude }
}

#[inline]
fn lesser<F: Float>(a: u64, b: u64) -> u64 {
    (if key::<F>(a) <= key::<F>(b) { a } else { b }) & F::MASK
}

#[inline]
fn greater<F: Float>(a: u64, b: u64) -> u64 {
    (if key::<F>(a) >= key::<F>(b) { a } else { b }) & F::MASK
}

/// The number that stands beside a NaN, or a NaN if both are.
#[cold]
fn only_number<F: Float>(a: u64, b: u64, env: &mut Env) -> u64 {
    let signaling = is_signaling::<F>(a) || is_signaling::<F>(b);
    // Arm keeps the rule of IEEE 754-2008: a number wins over a quiet NaN only.
    let arm = matches!(env.nan, NanRule::Arm { .. });
    let number = match (is_nan::<F>(a), is_nan::<F>(b)) {
        (false, true) => a,
        (true, false) => b,
        (true, true) | (false, false) => return propagate::<F>(&[a, b], env),
    };
    if signaling && arm {
        return propagate::<F>(&[a, b], env);
    }
    if signaling {
        env.raise(Flags::INVALID);
    }
    number & F::MASK
}
