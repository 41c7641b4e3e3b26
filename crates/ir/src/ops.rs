//! The integer operations: name, text and meaning of each in one table.

/// How a binary operation treats its operands and result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// 64 bits.
    Full,
    /// The low 32 bits of the operands; the result is sign-extended (RISC-V's `w` forms).
    Signed32,
    /// The low 32 bits of the operands; the result is zero-extended (x86 and Arm).
    Unsigned32,
}

impl Width {
    /// Every width.
    pub const ALL: &[Self] = &[Self::Full, Self::Signed32, Self::Unsigned32];
}

/// Bits of an operand as signed and unsigned words of one width, and back.
trait Word: Copy {
    const BITS: u32;
    fn of(value: u64) -> Self;
    fn signed(self) -> i128;
    fn unsigned(self) -> u128;
    fn quotient(self, by: Self) -> u64;
    fn remainder(self, by: Self) -> u64;
}

macro_rules! words {
    ($($word:ty, $signed:ty;)*) => {$(
        impl Word for $word {
            const BITS: u32 = <$word>::BITS;
            #[inline(always)]
            fn of(value: u64) -> Self {
                value as $word
            }
            #[inline(always)]
            fn signed(self) -> i128 {
                i128::from(self.cast_signed())
            }
            #[inline(always)]
            fn unsigned(self) -> u128 {
                u128::from(self)
            }
            // At the width itself: a division of 128 bits is a call into a library.
            #[inline(always)]
            fn quotient(self, by: Self) -> u64 {
                if by == 0 {
                    return u64::MAX;
                }
                i64::from(self.cast_signed().wrapping_div(by.cast_signed())).cast_unsigned()
            }
            #[inline(always)]
            fn remainder(self, by: Self) -> u64 {
                if by == 0 {
                    return i64::from(self.cast_signed()).cast_unsigned();
                }
                i64::from(self.cast_signed().wrapping_rem(by.cast_signed())).cast_unsigned()
            }
        }
    )*};
}
words! { u64, i64; u32, i32; }

macro_rules! binary_ops {
    ($( $(#[$doc:meta])* $name:ident = $text:literal, |$a:ident, $b:ident| $meaning:expr; )*) => {
        /// A binary operation. Every one is total: no operand makes it trap.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Binary { $( $(#[$doc])* $name, )* }

        impl Binary {
            /// Every operation, for tests that run each on every tier.
            pub const ALL: &[Self] = &[$( Self::$name ),*];

            /// The name in text.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// The meaning: what the interpreter does and what other tiers are tested against.
            #[inline(always)]
            #[must_use]
            pub fn eval(self, width: Width, a: u64, b: u64) -> u64 {
                match width {
                    Width::Full => self.eval_word::<u64>(a, b),
                    Width::Signed32 => {
                        let low = self.eval_word::<u32>(a, b) as u32;
                        i64::from(low.cast_signed()).cast_unsigned()
                    }
                    Width::Unsigned32 => u64::from(self.eval_word::<u32>(a, b) as u32),
                }
            }

            #[inline(always)]
            fn eval_word<W: Word>(self, a: u64, b: u64) -> u64 {
                match self { $( Self::$name => {
                    let ($a, $b) = (W::of(a), W::of(b));
                    $meaning
                } )* }
            }
        }
    };
}

fn low(value: u128) -> u64 {
    value as u64
}

fn low_signed(value: i128) -> u64 {
    value as u64
}

/// A shift count, modulo the width.
#[inline(always)]
fn count<W: Word>(b: W) -> u32 {
    (b.unsigned() as u32) & (W::BITS - 1)
}

#[inline(always)]
fn rotate_left<W: Word>(a: W, by: u32) -> u64 {
    let wide = a.unsigned();
    low(wide << by | wide >> ((W::BITS - by) & (W::BITS - 1)))
}

fn carryless(a: u128, b: u128) -> u128 {
    (0..64).filter(|at| b >> at & 1 == 1).fold(0, |sum, at| sum ^ a << at)
}

// The closures below are inlined where they stand; `W` is the word of the width asked for.
binary_ops! {
    /// Wrapping sum.
    Add = "add", |a, b| low(a.unsigned().wrapping_add(b.unsigned()));
    /// Wrapping difference.
    Sub = "sub", |a, b| low(a.unsigned().wrapping_sub(b.unsigned()));
    /// Low half of the product.
    Mul = "mul", |a, b| low(a.unsigned().wrapping_mul(b.unsigned()));
    /// High half of the unsigned product.
    MulHighU = "mulhu", |a, b| low((a.unsigned() * b.unsigned()) >> W::BITS);
    /// High half of the signed product.
    MulHighS = "mulhs", |a, b| low_signed((a.signed() * b.signed()) >> W::BITS);
    /// High half of the product of a signed and an unsigned operand.
    MulHighSU = "mulhsu", |a, b| low_signed((a.signed() * b.unsigned().cast_signed()) >> W::BITS);
    /// Unsigned quotient; all ones where the divisor is zero.
    DivU = "divu", |a, b| a.unsigned().checked_div(b.unsigned()).map_or(u64::MAX, low);
    /// Signed quotient towards zero; minus one where the divisor is zero.
    DivS = "divs", |a, b| a.quotient(b);
    /// Unsigned remainder; the dividend where the divisor is zero.
    RemU = "remu", |a, b| low(a.unsigned().checked_rem(b.unsigned()).unwrap_or(a.unsigned()));
    /// Signed remainder; the dividend where the divisor is zero.
    RemS = "rems", |a, b| a.remainder(b);
    /// Bits in both.
    And = "and", |a, b| low(a.unsigned() & b.unsigned());
    /// Bits in either.
    Or = "or", |a, b| low(a.unsigned() | b.unsigned());
    /// Bits in one.
    Xor = "xor", |a, b| low(a.unsigned() ^ b.unsigned());
    /// Bits in the first and not in the second.
    AndNot = "andn", |a, b| low(a.unsigned() & !b.unsigned());
    /// Bits in the first or not in the second.
    OrNot = "orn", |a, b| low(a.unsigned() | !b.unsigned());
    /// Bits in both or in none.
    XorNot = "xorn", |a, b| low(a.unsigned() ^ !b.unsigned());
    /// Left shift, count modulo the width.
    Shl = "shl", |a, b| low(a.unsigned() << count(b));
    /// Logical right shift, count modulo the width.
    Shr = "shr", |a, b| low(a.unsigned() >> count(b));
    /// Arithmetic right shift, count modulo the width.
    Sar = "sar", |a, b| low_signed(a.signed() >> count(b));
    /// Left rotation.
    RotL = "rotl", |a, b| rotate_left(a, count(b));
    /// Right rotation.
    RotR = "rotr", |a, b| rotate_left(a, (W::BITS - count(b)) & (W::BITS - 1));
    /// One if equal, else zero.
    Eq = "eq", |a, b| u64::from(a.unsigned() == b.unsigned());
    /// One if different, else zero.
    Ne = "ne", |a, b| u64::from(a.unsigned() != b.unsigned());
    /// One if unsigned less, else zero.
    LtU = "ltu", |a, b| u64::from(a.unsigned() < b.unsigned());
    /// One if signed less, else zero.
    LtS = "lts", |a, b| u64::from(a.signed() < b.signed());
    /// The lesser, unsigned.
    MinU = "minu", |a, b| low(a.unsigned().min(b.unsigned()));
    /// The lesser, signed.
    MinS = "mins", |a, b| low_signed(a.signed().min(b.signed()));
    /// The greater, unsigned.
    MaxU = "maxu", |a, b| low(a.unsigned().max(b.unsigned()));
    /// The greater, signed.
    MaxS = "maxs", |a, b| low_signed(a.signed().max(b.signed()));
    /// Twice the first, and the second: the address of an element.
    Sh1Add = "sh1add", |a, b| low((a.unsigned() << 1).wrapping_add(b.unsigned()));
    /// Four times the first, and the second.
    Sh2Add = "sh2add", |a, b| low((a.unsigned() << 2).wrapping_add(b.unsigned()));
    /// Eight times the first, and the second.
    Sh3Add = "sh3add", |a, b| low((a.unsigned() << 3).wrapping_add(b.unsigned()));
    /// Low half of the carry-less product.
    ClMul = "clmul", |a, b| low(carryless(a.unsigned(), b.unsigned()));
    /// High half of the carry-less product.
    ClMulHigh = "clmulh", |a, b| low(carryless(a.unsigned(), b.unsigned()) >> W::BITS);
    /// The carry-less product without its lowest `width - 1` bits.
    ClMulRev = "clmulr", |a, b| low(carryless(a.unsigned(), b.unsigned()) >> (W::BITS - 1));
    /// The first where the second is not zero, else zero.
    IfNonZero = "ifnz", |a, b| if b.unsigned() != 0 { low(a.unsigned()) } else { 0 };
    /// The first where the second is zero, else zero.
    IfZero = "ifz", |a, b| if b.unsigned() == 0 { low(a.unsigned()) } else { 0 };
}

macro_rules! unary_ops {
    ($( $(#[$doc:meta])* $name:ident = $text:literal, $meaning:expr; )*) => {
        /// A unary operation.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Unary { $( $(#[$doc])* $name, )* }

        impl Unary {
            /// Every operation, for tests that run each on every tier.
            pub const ALL: &[Self] = &[$( Self::$name ),*];

            /// The name in text.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }

            /// The meaning.
            #[inline(always)]
            #[must_use]
            pub fn eval(self, a: u64) -> u64 {
                match self { $( Self::$name => {
                    let meaning: fn(u64) -> u64 = $meaning;
                    meaning(a)
                } )* }
            }
        }
    };
}

/// Sign-extends the low `bits`.
#[inline(always)]
fn extend(a: u64, bits: u32) -> u64 {
    ((a << (64 - bits)).cast_signed() >> (64 - bits)).cast_unsigned()
}

const LOW_32: u64 = 0xffff_ffff;

unary_ops! {
    /// The same.
    Move = "move", |a| a;
    /// All bits inverted.
    Not = "not", |a| !a;
    /// Two's complement.
    Neg = "neg", |a| a.wrapping_neg();
    /// The low byte, sign-extended.
    Sext8 = "sext8", |a| extend(a, 8);
    /// The low 16 bits, sign-extended.
    Sext16 = "sext16", |a| extend(a, 16);
    /// The low 32 bits, sign-extended.
    Sext32 = "sext32", |a| extend(a, 32);
    /// The low byte.
    Zext8 = "zext8", |a| a & 0xff;
    /// The low 16 bits.
    Zext16 = "zext16", |a| a & 0xffff;
    /// The low 32 bits.
    Zext32 = "zext32", |a| a & LOW_32;
    /// Leading zeros of 64 bits; 64 where all are zero.
    Clz64 = "clz64", |a| u64::from(a.leading_zeros());
    /// Leading zeros of the low 32 bits; 32 where all are zero.
    Clz32 = "clz32", |a| u64::from((a as u32).leading_zeros());
    /// Trailing zeros of 64 bits; 64 where all are zero.
    Ctz64 = "ctz64", |a| u64::from(a.trailing_zeros());
    /// Trailing zeros of the low 32 bits; 32 where all are zero.
    Ctz32 = "ctz32", |a| u64::from((a as u32).trailing_zeros());
    /// Ones in 64 bits.
    Popcount64 = "popcount64", |a| u64::from(a.count_ones());
    /// Ones in the low 32 bits.
    Popcount32 = "popcount32", |a| u64::from((a as u32).count_ones());
    /// Bytes in reverse order.
    ByteSwap64 = "bswap64", |a| a.swap_bytes();
    /// The low four bytes in reverse order, zero-extended.
    ByteSwap32 = "bswap32", |a| u64::from((a as u32).swap_bytes());
    /// The low two bytes in reverse order, zero-extended.
    ByteSwap16 = "bswap16", |a| u64::from((a as u16).swap_bytes());
    /// Each byte all ones where it is not zero (RISC-V `orc.b`).
    OrCombine = "orcb", |a| u64::from_le_bytes(a.to_le_bytes().map(|b| 255 * u8::from(b != 0)));
    /// A single from a NaN-boxed register: the canonical NaN where the box is not all ones.
    Unbox32 = "unbox32", |a| if a >> 32 == LOW_32 { a & LOW_32 } else { 0x7fc0_0000 };
    /// A half from a NaN-boxed register: the canonical NaN where the box is not all ones.
    Unbox16 = "unbox16", |a| if a >> 16 == 0xffff_ffff_ffff { a & 0xffff } else { 0x7e00 };
    /// A single in its NaN box.
    Box32 = "box32", |a| a | !LOW_32;
    /// A half in its NaN box.
    Box16 = "box16", |a| a | !0xffff;
}

/// A comparison that decides a branch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cond {
    /// Equal.
    Eq,
    /// Different.
    Ne,
    /// Signed less.
    LtS,
    /// Signed greater or equal.
    GeS,
    /// Unsigned less.
    LtU,
    /// Unsigned greater or equal.
    GeU,
}

impl Cond {
    /// Every comparison.
    pub const ALL: &[Self] = &[Self::Eq, Self::Ne, Self::LtS, Self::GeS, Self::LtU, Self::GeU];

    /// Whether it holds, on 64 bits.
    #[inline(always)]
    #[must_use]
    pub fn holds(self, a: u64, b: u64) -> bool {
        match self {
            Self::Eq => a == b,
            Self::Ne => a != b,
            Self::LtS => a.cast_signed() < b.cast_signed(),
            Self::GeS => a.cast_signed() >= b.cast_signed(),
            Self::LtU => a < b,
            Self::GeU => a >= b,
        }
    }

    /// The comparison that holds where this one does not.
    #[must_use]
    pub fn negated(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::LtS => Self::GeS,
            Self::GeS => Self::LtS,
            Self::LtU => Self::GeU,
            Self::GeU => Self::LtU,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(op: Binary, a: u64, b: u64) -> u64 {
        op.eval(Width::Full, a, b)
    }

    #[test]
    fn division_is_total() {
        let min = 1 << 63;
        assert_eq!(full(Binary::DivS, min, u64::MAX), min);
        assert_eq!(full(Binary::RemS, min, u64::MAX), 0);
        assert_eq!(full(Binary::DivS, 7, 0), u64::MAX);
        assert_eq!(full(Binary::RemU, 7, 0), 7);
        assert_eq!(Binary::DivU.eval(Width::Signed32, 7, 1 << 32), u64::MAX);
        assert_eq!(Binary::DivS.eval(Width::Signed32, 0x8000_0000, u64::MAX), !0x7fff_ffff);
    }

    #[test]
    fn high_halves_agree_with_wide_products() {
        let words = [0_u64, 1, u64::MAX, 1 << 63, 0x1234_5678_9abc_def0, 3];
        for (a, b) in words.into_iter().flat_map(|a| words.map(|b| (a, b))) {
            let unsigned = (u128::from(a) * u128::from(b)) >> 64;
            assert_eq!(u128::from(full(Binary::MulHighU, a, b)), unsigned);
            let (sa, sb) = (i128::from(a.cast_signed()), i128::from(b.cast_signed()));
            assert_eq!(full(Binary::MulHighS, a, b), low_signed((sa * sb) >> 64));
            assert_eq!(full(Binary::MulHighSU, a, b), low_signed((sa * i128::from(b)) >> 64));
        }
    }

    #[test]
    fn rotations_undo_each_other() {
        for by in 0..130 {
            let a = 0x0123_4567_89ab_cdef;
            for width in [Width::Full, Width::Unsigned32] {
                let there = Binary::RotL.eval(width, a, by);
                let back = Binary::RotR.eval(width, there, by);
                assert_eq!(back, Binary::Or.eval(width, a, 0));
            }
        }
    }

    #[test]
    fn a_carryless_square_spreads_its_bits() {
        assert_eq!(full(Binary::ClMul, 0b1011, 0b1011), 0b100_0101);
        assert_eq!(full(Binary::ClMulHigh, 1 << 63, 1 << 63), 1 << 62);
        assert_eq!(full(Binary::ClMulRev, 1 << 63, 1 << 63), 1 << 63);
    }

    #[test]
    fn a_negated_condition_holds_where_the_other_does_not() {
        for cond in Cond::ALL {
            for (a, b) in [(0, 0), (1, 2), (u64::MAX, 1), (1, u64::MAX)] {
                assert_ne!(cond.holds(a, b), cond.negated().holds(a, b));
            }
        }
    }
}
