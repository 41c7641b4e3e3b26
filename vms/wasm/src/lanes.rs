//! Lanes of vectors: what the rows of the table of vector operations are made of.

use crate::numeric::Float;
use std::array::from_fn;
use std::ops::{Add, Mul, Neg};

/// A vector as lanes of one type, the first in the lowest bits.
pub(crate) trait Lanes: Copy {
    /// The lanes of 128 bits.
    fn of(bits: u128) -> Self;
    /// The bits of the lanes.
    fn bits(self) -> u128;
}

macro_rules! lanes {
    ($($name:ident $ty:ident $count:literal;)*) => {$(
        /// Lanes of this type.
        pub(crate) type $name = [$ty; $count];

        impl Lanes for $name {
            #[inline(always)]
            fn of(bits: u128) -> Self {
                let bytes = bits.to_le_bytes();
                let (chunks, _) = bytes.as_chunks::<{ size_of::<$ty>() }>();
                from_fn(|lane| $ty::from_le_bytes(chunks[lane]))
            }
            #[inline(always)]
            fn bits(self) -> u128 {
                let mut bytes = [0; 16];
                let (chunks, _) = bytes.as_chunks_mut::<{ size_of::<$ty>() }>();
                chunks.iter_mut().zip(self).for_each(|(to, lane)| *to = lane.to_le_bytes());
                u128::from_le_bytes(bytes)
            }
        }
    )*};
}
lanes! {
    U8 u8 16;
    I8 i8 16;
    U16 u16 8;
    I16 i16 8;
    U32 u32 4;
    I32 i32 4;
    U64 u64 2;
    I64 i64 2;
    F32 f32 4;
    F64 f64 2;
}

/// What a comparison gives in a lane: all bits or none.
pub(crate) trait Mask: Copy {
    /// All bits where it is true.
    fn mask(is: bool) -> Self;
}

macro_rules! masks {
    ($($ty:ident)*) => {$(
        impl Mask for $ty {
            #[inline(always)]
            fn mask(is: bool) -> Self {
                Self::from(is).wrapping_neg()
            }
        }
    )*};
}
masks! { u8 u16 u32 u64 }

/// Each lane by itself.
#[inline(always)]
pub(crate) fn map<T: Copy, R, const N: usize>(a: [T; N], what: impl Fn(T) -> R) -> [R; N] {
    a.map(what)
}

/// Each lane with the same of another vector.
#[inline(always)]
pub(crate) fn zip<T: Copy, R, const N: usize>(
    a: [T; N],
    b: [T; N],
    what: impl Fn(T, T) -> R,
) -> [R; N] {
    from_fn(|lane| what(a[lane], b[lane]))
}

macro_rules! comparisons {
    ($($name:ident $op:tt;)*) => {$(
        /// Masks of the lanes in which it is so.
        #[inline(always)]
        pub(crate) fn $name<T: Copy + PartialOrd, R: Mask, const N: usize>(
            a: [T; N],
            b: [T; N],
        ) -> [R; N] {
            zip(a, b, |a, b| R::mask(a $op b))
        }
    )*};
}
comparisons! {
    eq ==;
    ne !=;
    lt <;
    gt >;
    le <=;
    ge >=;
}

/// The lanes of the lower half, widened.
#[inline(always)]
pub(crate) fn low<T: Copy, R: From<T>, const N: usize, const M: usize>(a: [T; N]) -> [R; M] {
    from_fn(|lane| R::from(a[lane]))
}

/// The lanes of the upper half, widened.
#[inline(always)]
pub(crate) fn high<T: Copy, R: From<T>, const N: usize, const M: usize>(a: [T; N]) -> [R; M] {
    from_fn(|lane| R::from(a[lane + M]))
}

/// Lanes of two vectors after one another, each as near as the narrower type has it.
#[inline(always)]
pub(crate) fn narrow<T: Copy, R, const N: usize, const M: usize>(
    a: [T; N],
    b: [T; N],
    what: impl Fn(T) -> R,
) -> [R; M] {
    from_fn(|lane| what(if lane < N { a[lane] } else { b[lane - N] }))
}

/// Sums of neighbours, widened.
#[inline(always)]
pub(crate) fn pairs<T: Copy, R: From<T>, const N: usize, const M: usize>(
    a: [T; N],
    add: impl Fn(R, R) -> R,
) -> [R; M] {
    from_fn(|lane| add(R::from(a[2 * lane]), R::from(a[2 * lane + 1])))
}

/// Bytes of the first vector by their number; zero where there is none of it.
#[inline(always)]
pub(crate) fn swizzle(a: U8, b: U8) -> U8 {
    b.map(|at| a.get(usize::from(at)).copied().unwrap_or(0))
}

/// A product of fractions of 15 bits, rounded.
#[inline(always)]
pub(crate) fn q15(a: i16, b: i16) -> i16 {
    let product = (i32::from(a) * i32::from(b) + 0x4000) >> 15;
    i16::try_from(product).unwrap_or(i16::MAX)
}

/// Sums of two products of neighbours.
#[inline(always)]
pub(crate) fn dot16(a: I16, b: I16) -> I32 {
    from_fn(|lane| {
        let product = |at: usize| i32::from(a[at]) * i32::from(b[at]);
        product(2 * lane).wrapping_add(product(2 * lane + 1))
    })
}

/// The same of bytes, whose sums end at the most that a lane can have (`ivdotsat`).
#[inline(always)]
pub(crate) fn dot8(a: I8, b: I8) -> I16 {
    from_fn(|lane| {
        let product = |at: usize| i16::from(a[at]) * i16::from(b[at]);
        product(2 * lane).saturating_add(product(2 * lane + 1))
    })
}

/// Sums of four products of neighbours, and of a third vector.
#[inline(always)]
pub(crate) fn dot8_add(a: u128, b: u128, c: u128) -> u128 {
    let sums: I32 = pairs(dot8(I8::of(a), I8::of(b)), i32::wrapping_add);
    zip(sums, I32::of(c), i32::wrapping_add).bits()
}

/// Bits of the first where the third has ones, and of the second elsewhere.
#[inline(always)]
pub(crate) fn select(a: u128, b: u128, c: u128) -> u128 {
    a & c | b & !c
}

/// The highest bits of the lanes.
#[inline(always)]
pub(crate) fn signs<T: Copy + PartialOrd + Default, const N: usize>(a: [T; N]) -> u64 {
    a.iter().enumerate().fold(0, |bits, (lane, a)| bits | u64::from(*a < T::default()) << lane)
}

/// Whether no lane is zero.
#[inline(always)]
pub(crate) fn all<T: Copy + PartialEq + Default, const N: usize>(a: [T; N]) -> u64 {
    a.iter().all(|a| *a != T::default()).into()
}

/// Products and sums, each rounded: what the deterministic profile of relaxed vectors asks for.
#[inline(always)]
pub(crate) fn muladd<T, const N: usize>(a: [T; N], b: [T; N], c: [T; N]) -> [T; N]
where
    T: Float + Mul<Output = T> + Add<Output = T>,
{
    from_fn(|lane| (a[lane] * b[lane] + c[lane]).canonical())
}

/// The same with the products negated.
#[inline(always)]
pub(crate) fn negmuladd<T, const N: usize>(a: [T; N], b: [T; N], c: [T; N]) -> [T; N]
where
    T: Float + Mul<Output = T> + Add<Output = T> + Neg<Output = T>,
{
    from_fn(|lane| (-(a[lane] * b[lane]) + c[lane]).canonical())
}
