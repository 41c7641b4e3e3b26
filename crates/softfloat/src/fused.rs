//! Fused multiply-add (IEEE 754-2019 section 5.4.1).

use crate::env::{Env, Flags, NanRule, Round};
use crate::format::{Float, is_nan, is_signaling};
use crate::host;
use crate::nan::{invalid, propagate};
use crate::pack::{
    TOP, is_infinite, is_negative, is_special, is_zero, round_pack, sign_bit, unpack,
};

/// Bit of the leading one in a product of two significands, or one above.
const WIDE_TOP: u32 = 2 * TOP;

/// `a * b + c`, rounded once. For the negated forms flip the signs of operands.
///
/// Which NaN is chosen depends on the order of the factors: x86 wants them in the order that the
/// form's digits give (`213`: second operand, then first), Arm in the order of the assembler.
#[inline]
pub fn mul_add<F: Float>(a: u64, b: u64, c: u64, env: &mut Env) -> u64 {
    match host::mul_add::<F>(a, b, c, env) {
        Some(sum) => sum,
        None => mul_add_in_integers::<F>(a, b, c, env),
    }
}

/// `a * b + c` without the host.
fn mul_add_in_integers<F: Float>(a: u64, b: u64, c: u64, env: &mut Env) -> u64 {
    if is_special::<F>(a) || is_special::<F>(b) || is_special::<F>(c) {
        return mul_add_special::<F>(a, b, c, env);
    }
    let negative = is_negative::<F>(a ^ b);
    let opposed = negative != is_negative::<F>(c);
    if is_zero::<F>(a) || is_zero::<F>(b) {
        return match (is_zero::<F>(c), opposed) {
            (true, true) => sign_bit::<F>(env.round == Round::Down),
            (true, false) | (false, _) => c & F::MASK,
        };
    }
    let (a, b) = (unpack::<F>(a), unpack::<F>(b));
    let mut exp = a.exp + b.exp - F::BIAS;
    let mut product = u128::from(a.significand) * u128::from(b.significand);
    let c = unpack::<F>(c);
    let mut addend = u128::from(c.significand) << TOP;
    if addend != 0 {
        let distance = exp.abs_diff(c.exp);
        if exp >= c.exp {
            addend = shift_right_sticky_wide(addend, distance);
        } else {
            product = shift_right_sticky_wide(product, distance);
            exp = c.exp;
        }
    }
    if !opposed {
        return round_pack_wide::<F>(negative, exp, product + addend, env);
    }
    if product == addend {
        return sign_bit::<F>(env.round == Round::Down);
    }
    round_pack_wide::<F>(negative != (product < addend), exp, product.abs_diff(addend), env)
}

/// Shifts right; a lost one bit stays as the lowest bit, so that rounding still sees it.
#[inline]
fn shift_right_sticky_wide(value: u128, count: u64) -> u128 {
    match u32::try_from(count) {
        Ok(0) => value,
        Ok(count @ 1..=127) => value >> count | u128::from(value << (128 - count) != 0),
        _ => u128::from(value != 0),
    }
}

/// Rounds `significand * 2^(exp - BIAS - WIDE_TOP)`, not normalized and not zero.
#[inline]
fn round_pack_wide<F: Float>(negative: bool, exp: i64, significand: u128, env: &mut Env) -> u64 {
    let shift = significand.leading_zeros() - 1;
    let normalized = significand << shift;
    let upper = (normalized >> 64) as u64 | u64::from(normalized as u64 != 0);
    // Unshifted, a leading one at bit 126 stands two above WIDE_TOP.
    let exp = exp + i64::from(126 - WIDE_TOP) - i64::from(shift);
    round_pack::<F>(negative, exp, upper, env)
}

/// [`mul_add`] with at least one infinity or NaN.
#[cold]
fn mul_add_special<F: Float>(a: u64, b: u64, c: u64, env: &mut Env) -> u64 {
    let impossible =
        is_infinite::<F>(a) && is_zero::<F>(b) || is_zero::<F>(a) && is_infinite::<F>(b);
    if is_nan::<F>(a) || is_nan::<F>(b) || is_nan::<F>(c) {
        return match env.nan {
            NanRule::RiscV => {
                if impossible {
                    env.raise(Flags::INVALID);
                }
                propagate::<F>(&[a, b, c], env)
            }
            // Arm ARM, FPMulAdd: the addend comes first, and a quiet one does not hide that
            // the product is impossible.
            NanRule::Arm { .. } if impossible && !is_signaling::<F>(c) => invalid::<F>(env),
            NanRule::Arm { .. } => propagate::<F>(&[c, a, b], env),
            // Intel SDM volume 1 section 14.5.2: a NaN addend goes before an impossible product.
            NanRule::X86Sse => propagate::<F>(&[a, b, c], env),
        };
    }
    if impossible {
        return invalid::<F>(env);
    }
    let sign = sign_bit::<F>(is_negative::<F>(a ^ b));
    if is_infinite::<F>(a) || is_infinite::<F>(b) {
        if is_infinite::<F>(c) && c & F::SIGN != sign {
            return invalid::<F>(env);
        }
        return sign | F::INFINITY;
    }
    c & F::MASK
}
