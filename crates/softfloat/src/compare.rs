//! Comparison predicates (IEEE 754-2019 section 5.11).

use crate::env::{Env, Flags};
use crate::format::{Float, is_nan, is_signaling};

/// `a == b`; only a signaling NaN is invalid. RISC-V `feq`.
#[inline]
pub fn eq<F: Float>(a: u64, b: u64, env: &mut Env) -> bool {
    !unordered_quiet::<F>(a, b, env) && key::<F>(a) == key::<F>(b)
}

/// `a < b`; any NaN is invalid. RISC-V `flt`.
#[inline]
pub fn lt<F: Float>(a: u64, b: u64, env: &mut Env) -> bool {
    !unordered::<F>(a, b, env) && key::<F>(a) < key::<F>(b)
}

/// `a <= b`; any NaN is invalid. RISC-V `fle`.
#[inline]
pub fn le<F: Float>(a: u64, b: u64, env: &mut Env) -> bool {
    !unordered::<F>(a, b, env) && key::<F>(a) <= key::<F>(b)
}

/// `a < b`; only a signaling NaN is invalid. RISC-V `fltq`.
#[inline]
pub fn lt_quiet<F: Float>(a: u64, b: u64, env: &mut Env) -> bool {
    !unordered_quiet::<F>(a, b, env) && key::<F>(a) < key::<F>(b)
}

/// `a <= b`; only a signaling NaN is invalid. RISC-V `fleq`.
#[inline]
pub fn le_quiet<F: Float>(a: u64, b: u64, env: &mut Env) -> bool {
    !unordered_quiet::<F>(a, b, env) && key::<F>(a) <= key::<F>(b)
}

/// An integer with the order of the number; both zeros have the same.
#[inline]
fn key<F: Float>(bits: u64) -> i64 {
    let magnitude = (bits & F::MASK & !F::SIGN).cast_signed();
    if bits & F::SIGN == 0 { magnitude } else { -magnitude }
}

/// Whether there is a NaN, which is invalid.
#[inline]
fn unordered<F: Float>(a: u64, b: u64, env: &mut Env) -> bool {
    let unordered = is_nan::<F>(a) || is_nan::<F>(b);
    if unordered {
        env.raise(Flags::INVALID);
    }
    unordered
}

/// Whether there is a NaN, which is invalid if it is a signaling one.
#[inline]
fn unordered_quiet<F: Float>(a: u64, b: u64, env: &mut Env) -> bool {
    let unordered = is_nan::<F>(a) || is_nan::<F>(b);
    if unordered && (is_signaling::<F>(a) || is_signaling::<F>(b)) {
        env.raise(Flags::INVALID);
    }
    unordered
}
