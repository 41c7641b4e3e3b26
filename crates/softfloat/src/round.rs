//! Rounding to an integer in the same format (IEEE 754-2019 section 5.9).

use crate::env::{Env, Flags, Round};
use crate::format::{Float, is_nan};
use crate::nan::propagate;
use crate::pack::{exponent, is_negative};

/// The integer nearest to `a` in the direction of rounding; never inexact. RISC-V `fround`.
#[inline]
pub fn round_to_integral<F: Float>(a: u64, env: &mut Env) -> u64 {
    if is_nan::<F>(a) {
        return propagate::<F>(&[a], env);
    }
    integral::<F>(a & F::MASK, env.round)
}

/// The integer nearest to `a`, inexact if it is not `a`. RISC-V `froundnx`.
#[inline]
pub fn round_to_integral_exact<F: Float>(a: u64, env: &mut Env) -> u64 {
    if is_nan::<F>(a) {
        return propagate::<F>(&[a], env);
    }
    let rounded = integral::<F>(a & F::MASK, env.round);
    if rounded != a & F::MASK {
        env.raise(Flags::INEXACT);
    }
    rounded
}

/// Rounds bits that are not a NaN.
#[inline]
fn integral<F: Float>(bits: u64, round: Round) -> u64 {
    let places = i64::from(F::FRAC_BITS) + F::BIAS - exponent::<F>(bits);
    if places <= 0 {
        return bits;
    }
    let negative = is_negative::<F>(bits);
    if places > i64::from(F::FRAC_BITS) {
        return below_one::<F>(bits, round);
    }
    // Adding below the last integral place carries into the exponent where it should.
    let one = 1u64 << places;
    let below = one - 1;
    let raised = match round {
        Round::NearestEven => bits + (below >> 1) + u64::from(bits & one != 0),
        Round::NearestMaxMagnitude => bits + (one >> 1),
        Round::Zero => bits,
        Round::Down => bits + below * u64::from(negative),
        Round::Up => bits + below * u64::from(!negative),
    };
    raised & !below
}

/// Rounds a number of magnitude below one.
fn below_one<F: Float>(bits: u64, round: Round) -> u64 {
    let sign = bits & F::SIGN;
    let magnitude = bits ^ sign;
    let half = F::ONE - F::MIN_NORMAL;
    let to_one = match round {
        Round::NearestEven => magnitude > half,
        Round::NearestMaxMagnitude => magnitude >= half,
        Round::Zero => false,
        Round::Down => magnitude != 0 && sign != 0,
        Round::Up => magnitude != 0 && sign == 0,
    };
    if to_one { sign | F::ONE } else { sign }
}
