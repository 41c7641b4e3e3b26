//! Square root (IEEE 754-2019 section 5.4.1).

use crate::env::Env;
use crate::format::{Float, is_nan};
use crate::host;
use crate::nan::{invalid, propagate};
use crate::pack::{TOP, is_negative, is_special, is_zero, round_pack, unpack};

/// The square root of `a`.
#[inline]
pub fn sqrt<F: Float>(a: u64, env: &mut Env) -> u64 {
    match host::sqrt::<F>(a, env) {
        Some(root) => root,
        None => sqrt_in_integers::<F>(a, env),
    }
}

/// The square root of `a` without the host.
fn sqrt_in_integers<F: Float>(a: u64, env: &mut Env) -> u64 {
    if is_special::<F>(a) || is_zero::<F>(a) || is_negative::<F>(a) {
        return sqrt_special::<F>(a, env);
    }
    let a = unpack::<F>(a);
    let exp = a.exp - F::BIAS;
    // An even exponent is halved; the one taken off an odd exponent doubles the significand.
    let radicand = a.significand << (exp & 1);
    let significand = if F::FRAC_BITS <= 23 { root_narrow(radicand) } else { root_wide(radicand) };
    round_pack::<F>(false, (exp >> 1) + F::BIAS, significand, env)
}

/// `sqrt(radicand * 2^TOP)`, sticky, good for 32 bits.
#[inline]
fn root_narrow(radicand: u64) -> u64 {
    let root = radicand.isqrt();
    // The radicand has its leading one at TOP or above, so the root has its own at bit 31.
    root << (TOP / 2) | u64::from(root * root != radicand)
}

/// `sqrt(radicand * 2^TOP)`, sticky, good for 56 bits.
#[inline]
fn root_wide(radicand: u64) -> u64 {
    // Zimmermann's "Karatsuba square root": of 112 bits, the upper 56 are rooted, the root and
    // its remainder then take in the lower 56 by one division and at most one correction.
    let upper = radicand >> 8;
    let lower = (radicand & 0xff) << 48;
    let root = upper.isqrt();
    let partial = (upper - root * root) << 28 | lower >> 28;
    let (quotient, rest) = (partial / (2 * root), partial % (2 * root));
    let root = (root << 28) + quotient;
    let rest = rest << 28 | lower & 0x0fff_ffff;
    let (root, exact) = match rest.checked_sub(quotient * quotient) {
        Some(rest) => (root, rest == 0),
        // Correcting leaves a positive remainder, or there would be nothing to correct.
        None => (root - 1, false),
    };
    root << (TOP - 55) | u64::from(!exact)
}

/// [`sqrt`] of zero, a negative number, an infinity or a NaN.
#[cold]
fn sqrt_special<F: Float>(a: u64, env: &mut Env) -> u64 {
    if is_nan::<F>(a) {
        return propagate::<F>(&[a], env);
    }
    if is_negative::<F>(a) && !is_zero::<F>(a) {
        return invalid::<F>(env);
    }
    a & F::MASK
}
