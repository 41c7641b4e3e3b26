//! Arithmetic as the specification has it (section 4.3), where Rust's operators do not.

use crate::trap::Trap;

/// A value in a slot of 64 bits; narrower ones have zeros above.
pub(crate) trait Bits: Copy {
    /// The value in a slot.
    fn of(slot: u64) -> Self;
    /// The slot of a value.
    fn bits(self) -> u64;
}

macro_rules! bits {
    ($($ty:ty: |$slot:ident| $of:expr, |$value:ident| $bits:expr;)*) => {$(
        impl Bits for $ty {
            #[inline(always)]
            fn of($slot: u64) -> Self {
                $of
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                let $value = self;
                $bits
            }
        }
    )*};
}
bits! {
    u32: |slot| slot as u32, |value| value.into();
    i32: |slot| (slot as u32).cast_signed(), |value| value.cast_unsigned().into();
    u64: |slot| slot, |value| value;
    i64: |slot| slot.cast_signed(), |value| value.cast_unsigned();
    f32: |slot| Self::from_bits(slot as u32), |value| value.to_bits().into();
    f64: |slot| Self::from_bits(slot), |value| value.to_bits();
    bool: |slot| slot != 0, |value| value.into();
}

/// What floats of both widths have.
pub(crate) trait Float: Copy + PartialOrd {
    /// The same value; of all NaNs the canonical one, so that every host gives the same.
    fn canonical(self) -> Self;
    /// The lesser, with negative zero below zero.
    fn lesser(self, other: Self) -> Self;
    /// The greater.
    fn greater(self, other: Self) -> Self;
}

macro_rules! floats {
    ($($ty:ident $nan:literal $infinity:literal;)*) => {$(
        impl Float for $ty {
            #[inline(always)]
            fn canonical(self) -> Self {
                // By its bits: LLVM takes a comparison of a float for one that does not matter, as
                // any NaN would do in its place, and leaves for example that of a square root out.
                let bits = self.to_bits();
                if bits << 1 > $infinity << 1 { Self::from_bits($nan) } else { self }
            }
            #[inline(always)]
            fn lesser(self, other: Self) -> Self {
                if self.is_nan() || other.is_nan() {
                    Self::from_bits($nan)
                } else if self == other {
                    Self::from_bits(self.to_bits() | other.to_bits())
                } else if self < other {
                    self
                } else {
                    other
                }
            }
            #[inline(always)]
            fn greater(self, other: Self) -> Self {
                if self.is_nan() || other.is_nan() {
                    Self::from_bits($nan)
                } else if self == other {
                    Self::from_bits(self.to_bits() & other.to_bits())
                } else if self > other {
                    self
                } else {
                    other
                }
            }
        }
    )*};
}
floats! {
    f32 0x7fc0_0000 0x7f80_0000u32;
    f64 0x7ff8_0000_0000_0000 0x7ff0_0000_0000_0000u64;
}

macro_rules! divisions {
    ($($int:ident $div:ident $rem:ident;)*) => {$(
        /// A quotient, rounded to zero.
        #[inline(always)]
        pub(crate) fn $div(a: $int, b: $int) -> Result<$int, Trap> {
            if b == 0 {
                return Err(Trap::DivideByZero);
            }
            a.checked_div(b).ok_or(Trap::IntegerOverflow)
        }

        /// A remainder, with the sign of the dividend.
        #[inline(always)]
        pub(crate) fn $rem(a: $int, b: $int) -> Result<$int, Trap> {
            if b == 0 { Err(Trap::DivideByZero) } else { Ok(a.wrapping_rem(b)) }
        }
    )*};
}
divisions! {
    i32 div_i32 rem_i32;
    u32 div_u32 rem_u32;
    i64 div_i64 rem_i64;
    u64 div_u64 rem_u64;
}

macro_rules! truncations {
    ($($name:ident $float:ident $int:ident $low:literal $strict:literal $high:literal;)*) => {$(
        /// A float rounded to zero, where it is an integer of the type then.
        #[inline(always)]
        pub(crate) fn $name(a: $float) -> Result<$int, Trap> {
            let above = if $strict { a > $low } else { a >= $low };
            if above && a < $high {
                // Within the bounds, which were looked at.
                Ok(a as $int)
            } else if a.is_nan() {
                Err(Trap::InvalidConversion)
            } else {
                Err(Trap::IntegerOverflow)
            }
        }
    )*};
}
truncations! {
    i32_of_f32 f32 i32 -2147483648.0 false 2147483648.0;
    u32_of_f32 f32 u32 -1.0 true 4294967296.0;
    i32_of_f64 f64 i32 -2147483649.0 true 2147483648.0;
    u32_of_f64 f64 u32 -1.0 true 4294967296.0;
    i64_of_f32 f32 i64 -9223372036854775808.0 false 9223372036854775808.0;
    u64_of_f32 f32 u64 -1.0 true 18446744073709551616.0;
    i64_of_f64 f64 i64 -9223372036854775808.0 false 9223372036854775808.0;
    u64_of_f64 f64 u64 -1.0 true 18446744073709551616.0;
}
