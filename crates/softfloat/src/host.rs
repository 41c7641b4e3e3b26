//! The host's own arithmetic, where it provably gives the same bits and the same flags.
//!
//! With `INEXACT` already accrued and rounding to nearest even, the only flags left to find out
//! are those of results that are not finite, or may be tiny. So the host computes, and any other
//! result is taken as it is; a doubtful one is computed again in integers. Rust keeps the host in
//! its default environment: to nearest even, no flushing of subnormals, no contraction.

use crate::env::{Env, Flags, Round};
use crate::format::{F16, F32, F64, Float};

/// Whether scalar arithmetic of this host is IEEE 754 to the bit (the x87 is not).
const EXACT: bool = cfg!(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    all(target_arch = "x86", target_feature = "sse2")
));

/// Whether the host's fused multiply-add is an instruction, or glibc's choice of one at run time.
const FUSED: bool = EXACT
    && cfg!(any(
        target_feature = "fma",
        target_arch = "aarch64",
        target_arch = "riscv64",
        all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")
    ));

/// The operations of a host on a format; public in name only, so that formats are a closed set.
pub trait Host {
    /// Whether the host computes this format exactly.
    const EXACT: bool;
    /// Whether it also fuses multiplication and addition.
    const FUSED: bool;
    /// Addition.
    fn add(a: u64, b: u64) -> u64;
    /// Multiplication.
    fn mul(a: u64, b: u64) -> u64;
    /// Division.
    fn div(a: u64, b: u64) -> u64;
    /// Square root.
    fn sqrt(a: u64) -> u64;
    /// Fused multiply-add.
    fn mul_add(a: u64, b: u64, c: u64) -> u64;
}

/// Implements [`Host`] by a primitive type.
macro_rules! host {
    ($format:ty, $float:ty, $bits:ty) => {
        impl Host for $format {
            const EXACT: bool = EXACT;
            const FUSED: bool = FUSED;

            #[inline]
            fn add(a: u64, b: u64) -> u64 {
                (<$float>::from_bits(a as $bits) + <$float>::from_bits(b as $bits)).to_bits().into()
            }

            #[inline]
            fn mul(a: u64, b: u64) -> u64 {
                (<$float>::from_bits(a as $bits) * <$float>::from_bits(b as $bits)).to_bits().into()
            }

            #[inline]
            fn div(a: u64, b: u64) -> u64 {
                (<$float>::from_bits(a as $bits) / <$float>::from_bits(b as $bits)).to_bits().into()
            }

            #[inline]
            fn sqrt(a: u64) -> u64 {
                <$float>::from_bits(a as $bits).sqrt().to_bits().into()
            }

            #[inline]
            fn mul_add(a: u64, b: u64, c: u64) -> u64 {
                let [a, b, c] = [a, b, c].map(|bits| <$float>::from_bits(bits as $bits));
                a.mul_add(b, c).to_bits().into()
            }
        }
    };
}

host!(F32, f32, u32);
host!(F64, f64, u64);

/// No host type: never called, and zero is never taken as a result.
impl Host for F16 {
    const EXACT: bool = false;
    const FUSED: bool = false;

    #[inline]
    fn add(_: u64, _: u64) -> u64 {
        0
    }

    #[inline]
    fn mul(_: u64, _: u64) -> u64 {
        0
    }

    #[inline]
    fn div(_: u64, _: u64) -> u64 {
        0
    }

    #[inline]
    fn sqrt(_: u64) -> u64 {
        0
    }

    #[inline]
    fn mul_add(_: u64, _: u64, _: u64) -> u64 {
        0
    }
}

/// Whether the host may be asked at all.
#[inline]
fn serves<F: Float>(env: &Env) -> bool {
    F::EXACT && env.round == Round::NearestEven && env.flags.contains(Flags::INEXACT)
}

/// Whether a result is finite and above the smallest normal number in magnitude.
///
/// Then no operand was a NaN or an infinity, and no divisor zero; the exact result was not tiny
/// by either rule, since rounding is monotonic; and nothing overflowed. The smallest normal
/// number itself may have come from below by rounding, so it is not taken.
#[inline]
fn is_plain<F: Float>(bits: u64) -> bool {
    (bits & !F::SIGN).wrapping_sub(F::MIN_NORMAL + 1) < F::INFINITY - F::MIN_NORMAL - 1
}

/// The sum, unless it must be computed in integers. A tiny sum is exact, so any finite one serves.
#[inline]
pub(crate) fn add<F: Float>(a: u64, b: u64, env: &Env) -> Option<u64> {
    if !serves::<F>(env) {
        return None;
    }
    let sum = F::add(a, b);
    (sum & !F::SIGN < F::INFINITY).then_some(sum)
}

/// The product, unless it must be computed in integers.
#[inline]
pub(crate) fn mul<F: Float>(a: u64, b: u64, env: &Env) -> Option<u64> {
    if !serves::<F>(env) {
        return None;
    }
    Some(F::mul(a, b)).filter(|&product| is_plain::<F>(product))
}

/// The quotient, unless it must be computed in integers.
#[inline]
pub(crate) fn div<F: Float>(a: u64, b: u64, env: &Env) -> Option<u64> {
    if !serves::<F>(env) {
        return None;
    }
    Some(F::div(a, b)).filter(|&quotient| is_plain::<F>(quotient))
}

/// The square root, unless it must be computed in integers.
#[inline]
pub(crate) fn sqrt<F: Float>(a: u64, env: &Env) -> Option<u64> {
    if !serves::<F>(env) {
        return None;
    }
    Some(F::sqrt(a)).filter(|&root| is_plain::<F>(root))
}

/// `a * b + c` rounded once, unless it must be computed in integers.
#[inline]
pub(crate) fn mul_add<F: Float>(a: u64, b: u64, c: u64, env: &Env) -> Option<u64> {
    if !F::FUSED || !serves::<F>(env) {
        return None;
    }
    Some(F::mul_add(a, b, c)).filter(|&sum| is_plain::<F>(sum))
}
