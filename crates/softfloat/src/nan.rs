//! Which NaN results from NaN operands and from invalid operations.

use crate::env::{Env, Flags, NanRule};
use crate::format::{Float, is_nan, is_signaling};

/// The NaN that an invalid operation gives.
pub(crate) fn default_nan<F: Float>(rule: NanRule) -> u64 {
    match rule {
        NanRule::RiscV | NanRule::Arm { .. } => F::NAN,
        NanRule::X86Sse => F::NAN | F::SIGN,
    }
}

/// Raises `INVALID` and gives the NaN for it.
#[cold]
pub(crate) fn invalid<F: Float>(env: &mut Env) -> u64 {
    env.raise(Flags::INVALID);
    default_nan::<F>(env.nan)
}

/// The result of an operation of which at least one operand is a NaN.
///
/// The operands come in the order in which the architecture looks for one.
#[cold]
pub(crate) fn propagate<F: Float>(operands: &[u64], env: &mut Env) -> u64 {
    let signaling = operands.iter().copied().find(|&bits| is_signaling::<F>(bits));
    if signaling.is_some() {
        env.raise(Flags::INVALID);
    }
    let first = operands.iter().copied().find(|&bits| is_nan::<F>(bits));
    let chosen = match env.nan {
        NanRule::RiscV | NanRule::Arm { default_nan: true } => None,
        NanRule::Arm { default_nan: false } => signaling.or(first),
        NanRule::X86Sse => first,
    };
    chosen.map_or_else(|| default_nan::<F>(env.nan), |bits| bits & F::MASK | F::QUIET)
}
