//! The binary formats: widths, field masks and the constants that follow from them.

use crate::host::Host;

/// A binary interchange format of IEEE 754-2019 section 3.4, at most 64 bits wide.
///
/// Values travel as bits in the low end of a `u64`. Bits above the format are ignored in operands
/// and are zero in results.
pub trait Float: Host + Copy + 'static {
    /// Width of the format, bits.
    const BITS: u32;
    /// Width of the stored fraction, bits.
    const FRAC_BITS: u32;

    /// Width of the exponent field, bits.
    const EXP_BITS: u32 = Self::BITS - Self::FRAC_BITS - 1;
    /// All ones in the exponent field: infinities and NaNs.
    const EXP_MAX: i64 = (1 << Self::EXP_BITS) - 1;
    /// What the exponent field of one holds.
    const BIAS: i64 = (1 << (Self::EXP_BITS - 1)) - 1;
    /// All bits of the format.
    const MASK: u64 = u64::MAX >> (64 - Self::BITS);
    /// The sign bit.
    const SIGN: u64 = 1 << (Self::BITS - 1);
    /// The fraction field.
    const FRAC: u64 = (1 << Self::FRAC_BITS) - 1;
    /// The most significant fraction bit, set in a quiet NaN.
    const QUIET: u64 = 1 << (Self::FRAC_BITS - 1);
    /// Positive infinity, which is also the exponent field.
    const INFINITY: u64 = Self::MASK & !Self::SIGN & !Self::FRAC;
    /// The positive quiet NaN without payload: RISC-V's canonical NaN, Arm's default NaN.
    const NAN: u64 = Self::INFINITY | Self::QUIET;
    /// The smallest positive normal number.
    const MIN_NORMAL: u64 = 1 << Self::FRAC_BITS;
    /// The largest finite number.
    const MAX_FINITE: u64 = Self::INFINITY - 1;
    /// One.
    const ONE: u64 = Self::INFINITY >> 1 & Self::INFINITY;
}

/// binary16, "half".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum F16 {}

/// binary32, "single".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum F32 {}

/// binary64, "double".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum F64 {}

impl Float for F16 {
    const BITS: u32 = 16;
    const FRAC_BITS: u32 = 10;
}

impl Float for F32 {
    const BITS: u32 = 32;
    const FRAC_BITS: u32 = 23;
}

impl Float for F64 {
    const BITS: u32 = 64;
    const FRAC_BITS: u32 = 52;
}

/// Whether these bits are a NaN.
#[inline]
#[must_use]
pub fn is_nan<F: Float>(bits: u64) -> bool {
    bits & F::MASK & !F::SIGN > F::INFINITY
}

/// Whether these bits are a signaling NaN.
#[inline]
#[must_use]
pub fn is_signaling<F: Float>(bits: u64) -> bool {
    is_nan::<F>(bits) && bits & F::QUIET == 0
}
