//! Conversion between formats (IEEE 754-2019 section 5.4.2).

use crate::env::{Env, Flags, NanRule};
use crate::format::{Float, is_nan, is_signaling};
use crate::nan::default_nan;
use crate::pack::{is_negative, is_special, is_zero, round_pack, sign_bit, unpack};

/// The number `a` of format `F` in format `G`.
#[inline]
pub fn convert<F: Float, G: Float>(a: u64, env: &mut Env) -> u64 {
    let negative = is_negative::<F>(a);
    if is_special::<F>(a) {
        return convert_special::<F, G>(a, env);
    }
    if is_zero::<F>(a) {
        return sign_bit::<G>(negative);
    }
    let number = unpack::<F>(a);
    round_pack::<G>(negative, number.exp - F::BIAS + G::BIAS, number.significand, env)
}

/// [`convert`] of an infinity or a NaN.
#[cold]
fn convert_special<F: Float, G: Float>(a: u64, env: &mut Env) -> u64 {
    let sign = sign_bit::<G>(is_negative::<F>(a));
    if !is_nan::<F>(a) {
        return sign | G::INFINITY;
    }
    if is_signaling::<F>(a) {
        env.raise(Flags::INVALID);
    }
    match env.nan {
        NanRule::RiscV | NanRule::Arm { default_nan: true } => default_nan::<G>(env.nan),
        // The payload keeps its upper end.
        NanRule::Arm { default_nan: false } | NanRule::X86Sse => {
            let payload = (a & F::FRAC) << (64 - F::FRAC_BITS) >> (64 - G::FRAC_BITS);
            sign | G::NAN | payload
        }
    }
}
