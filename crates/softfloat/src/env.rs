//! What arithmetic depends on and adds to besides its operands: rounding, NaN rules, flags.

use std::ops::{BitOr, BitOrAssign};

/// A rounding direction (IEEE 754-2019 section 4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Round {
    /// To nearest, ties to even.
    #[default]
    NearestEven,
    /// Toward zero.
    Zero,
    /// Toward negative infinity.
    Down,
    /// Toward positive infinity.
    Up,
    /// To nearest, ties away from zero.
    NearestMaxMagnitude,
}

impl Round {
    /// All directions, in the order of RISC-V's encodings.
    pub const ALL: [Self; 5] =
        [Self::NearestEven, Self::Zero, Self::Down, Self::Up, Self::NearestMaxMagnitude];

    /// The direction of a RISC-V `frm` or static `rm` field; none for reserved encodings and for
    /// `DYN`, which is not a direction.
    #[inline]
    #[must_use]
    pub const fn from_riscv(rm: u8) -> Option<Self> {
        match rm {
            0 => Some(Self::NearestEven),
            1 => Some(Self::Zero),
            2 => Some(Self::Down),
            3 => Some(Self::Up),
            4 => Some(Self::NearestMaxMagnitude),
            _ => None,
        }
    }
}

/// A set of exception flags, in the bit order of RISC-V's `fflags`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The result was rounded (NX).
    pub const INEXACT: Self = Self(1);
    /// The result was tiny and rounded (UF).
    pub const UNDERFLOW: Self = Self(2);
    /// The result was too large (OF).
    pub const OVERFLOW: Self = Self(4);
    /// An exact infinity came from finite operands (DZ).
    pub const DIVIDE_BY_ZERO: Self = Self(8);
    /// The operation has no usefully definable result (NV).
    pub const INVALID: Self = Self(16);

    /// Whether every flag of `other` is in this set.
    #[inline]
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Adds flags; none is ever taken away.
    #[inline]
    pub const fn raise(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitOr for Flags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// Which NaN an operation gives, and what an impossible integer conversion gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NanRule {
    /// Always the canonical NaN; integers saturate and NaN converts to the largest.
    #[default]
    RiscV,
    /// The first signaling operand, else the first quiet one, quieted; or always the default NaN
    /// (`FPCR.DN`). Integers saturate and NaN converts to zero.
    Arm {
        /// Whether `FPCR.DN` is set.
        default_nan: bool,
    },
    /// The first NaN operand, quieted; a new NaN is negative. Impossible integers are the integer
    /// indefinite: the top bit alone if signed, all ones if unsigned.
    X86Sse,
}

/// When a result counts as tiny (IEEE 754-2019 section 7.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Tininess {
    /// Judged on the result rounded as if the exponent had no bound: RISC-V and x86.
    #[default]
    AfterRounding,
    /// Judged on the exact result: Arm.
    BeforeRounding,
}

/// The floating-point environment of one vCPU.
///
/// It is small and has no hidden state: a guest builds it from its control register before an
/// operation and folds `flags` back after it. Keeping the accumulated flags in it is quicker:
/// while [`Flags::INEXACT`] is set, most operations need not find out whether they rounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Env {
    /// The rounding direction.
    pub round: Round,
    /// Which NaN results.
    pub nan: NanRule,
    /// When underflow is judged.
    pub tininess: Tininess,
    /// The flags raised so far.
    pub flags: Flags,
}

impl Env {
    /// The environment of a RISC-V hart, given the direction and its accrued `fflags`.
    #[inline]
    #[must_use]
    pub const fn riscv(round: Round, flags: Flags) -> Self {
        Self { round, nan: NanRule::RiscV, tininess: Tininess::AfterRounding, flags }
    }

    /// The environment of an Arm vCPU, given the direction, `FPCR.DN` and the flags so far.
    #[inline]
    #[must_use]
    pub const fn arm(round: Round, default_nan: bool, flags: Flags) -> Self {
        let nan = NanRule::Arm { default_nan };
        Self { round, nan, tininess: Tininess::BeforeRounding, flags }
    }

    /// The environment of x86 SSE arithmetic, given the direction and the flags so far.
    #[inline]
    #[must_use]
    pub const fn x86_sse(round: Round, flags: Flags) -> Self {
        Self { round, nan: NanRule::X86Sse, tininess: Tininess::AfterRounding, flags }
    }

    /// Adds flags.
    #[inline]
    pub const fn raise(&mut self, flags: Flags) {
        self.flags.raise(flags);
    }
}
