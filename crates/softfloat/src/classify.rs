//! The class of a number (IEEE 754-2019 section 5.7.2).

use crate::format::{Float, is_nan};
use crate::pack::{exponent, is_infinite, is_negative, is_zero};

/// What sort of datum bits are; the discriminant is the bit that RISC-V's `fclass` sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Class {
    /// Negative infinity.
    NegativeInfinity = 0,
    /// A negative normal number.
    NegativeNormal = 1,
    /// A negative subnormal number.
    NegativeSubnormal = 2,
    /// Negative zero.
    NegativeZero = 3,
    /// Positive zero.
    PositiveZero = 4,
    /// A positive subnormal number.
    PositiveSubnormal = 5,
    /// A positive normal number.
    PositiveNormal = 6,
    /// Positive infinity.
    PositiveInfinity = 7,
    /// A signaling NaN.
    SignalingNan = 8,
    /// A quiet NaN.
    QuietNan = 9,
}

impl Class {
    /// The result of RISC-V's `fclass`: ten bits of which one is set.
    #[inline]
    #[must_use]
    pub const fn riscv_mask(self) -> u64 {
        1 << self as u8
    }
}

/// The class of these bits.
#[inline]
#[must_use]
pub fn classify<F: Float>(bits: u64) -> Class {
    if is_nan::<F>(bits) {
        return if bits & F::QUIET == 0 { Class::SignalingNan } else { Class::QuietNan };
    }
    let (positive, negative) = if is_infinite::<F>(bits) {
        (Class::PositiveInfinity, Class::NegativeInfinity)
    } else if is_zero::<F>(bits) {
        (Class::PositiveZero, Class::NegativeZero)
    } else if exponent::<F>(bits) == 0 {
        (Class::PositiveSubnormal, Class::NegativeSubnormal)
    } else {
        (Class::PositiveNormal, Class::NegativeNormal)
    };
    if is_negative::<F>(bits) { negative } else { positive }
}
