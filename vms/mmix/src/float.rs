//! Floating-point arithmetic as MMIX has it: results and exceptions of one operation.
//!
//! A result is tiny where it is, as delivered, below the least normal number; an overflow gives
//! infinity in all modes of rounding; of two NaNs the second is the result. So does Knuth's
//! arithmetic, whose results are the measure.

use omni_softfloat::{Env, F32, F64, Flags, Float, Round, is_nan, is_signaling};

/// Bits of exceptions; shifted right by eight they are the event bits of rA.
pub(crate) mod exception {
    pub(crate) const X: u32 = 1 << 8;
    pub(crate) const Z: u32 = 1 << 9;
    pub(crate) const U: u32 = 1 << 10;
    pub(crate) const O: u32 = 1 << 11;
    pub(crate) const I: u32 = 1 << 12;
    pub(crate) const W: u32 = 1 << 13;
    pub(crate) const V: u32 = 1 << 14;
    pub(crate) const D: u32 = 1 << 15;
    /// A trip asked for by the instruction `TRIP`.
    pub(crate) const H: u32 = 1 << 16;
}
use exception as e;

const SIGN: u64 = 1 << 63;
const INF: u64 = 0x7ff << 52;
const QUIET: u64 = 1 << 51;
const NAN: u64 = INF | QUIET;
const FRACTION: u64 = (1 << 52) - 1;

/// A result and its exceptions.
pub(crate) type Out = (u64, u32);

/// The direction of a rounding mode from 1 to 4; zero is the nearest.
pub(crate) fn direction(mode: u64) -> Round {
    match mode {
        1 => Round::Zero,
        2 => Round::Up,
        3 => Round::Down,
        _ => Round::NearestEven,
    }
}

fn env(round: Round) -> Env {
    Env::riscv(round, Flags::NONE)
}

fn is_inf(a: u64) -> bool {
    a & !SIGN == INF
}

fn is_zero(a: u64) -> bool {
    a & !SIGN == 0
}

/// The NaN that comes of operands of which one is a NaN.
fn usual_nan(y: u64, z: u64) -> Option<Out> {
    let (y_nan, z_nan) = (is_nan::<F64>(y), is_nan::<F64>(z));
    if !y_nan && !z_nan {
        return None;
    }
    let signals = is_signaling::<F64>(y) || is_signaling::<F64>(z);
    let exc = if signals { e::I } else { 0 };
    Some((if z_nan { z | QUIET } else { y | QUIET }, exc))
}

/// The exceptions of an operation on numbers, and its result.
fn packed<F: Float>(result: u64, flags: Flags, exponent: u64) -> Out {
    let sign = result & F::SIGN;
    let inexact = flags.contains(Flags::INEXACT);
    if flags.contains(Flags::OVERFLOW) {
        return (sign | exponent, e::O | e::X);
    }
    let tiny = result & exponent == 0 && (result & !F::SIGN != 0 || inexact);
    let mut exc = if inexact { e::X } else { 0 };
    if tiny {
        exc |= e::U;
    }
    (result, exc)
}

/// The sum.
pub(crate) fn add(y: u64, z: u64, round: Round) -> Out {
    if let Some(nan) = usual_nan(y, z) {
        return nan;
    }
    if is_inf(y) && is_inf(z) && y != z {
        return (NAN | z & SIGN, e::I);
    }
    let mut env = env(round);
    let sum = omni_softfloat::add::<F64>(y, z, &mut env);
    packed::<F64>(sum, env.flags, INF)
}

/// The difference.
pub(crate) fn sub(y: u64, z: u64, round: Round) -> Out {
    add(y, if is_nan::<F64>(z) { z } else { z ^ SIGN }, round)
}

/// The product.
pub(crate) fn mul(y: u64, z: u64, round: Round) -> Out {
    if let Some(nan) = usual_nan(y, z) {
        return nan;
    }
    if is_inf(y) && is_zero(z) || is_zero(y) && is_inf(z) {
        return (NAN | (y ^ z) & SIGN, e::I);
    }
    let mut env = env(round);
    let product = omni_softfloat::mul::<F64>(y, z, &mut env);
    packed::<F64>(product, env.flags, INF)
}

/// The quotient.
pub(crate) fn div(y: u64, z: u64, round: Round) -> Out {
    if let Some(nan) = usual_nan(y, z) {
        return nan;
    }
    let sign = (y ^ z) & SIGN;
    if is_inf(y) && is_inf(z) || is_zero(y) && is_zero(z) {
        return (NAN | sign, e::I);
    }
    if is_zero(z) {
        return (INF | sign, if is_inf(y) { 0 } else { e::Z });
    }
    let mut env = env(round);
    let quotient = omni_softfloat::div::<F64>(y, z, &mut env);
    packed::<F64>(quotient, env.flags, INF)
}

/// The square root.
pub(crate) fn sqrt(z: u64, round: Round) -> Out {
    if z & SIGN != 0 && !is_zero(z) {
        return (NAN | SIGN, e::I);
    }
    if is_nan::<F64>(z) {
        return (z | QUIET, if is_signaling::<F64>(z) { e::I } else { 0 });
    }
    let mut env = env(round);
    let root = omni_softfloat::sqrt::<F64>(z, &mut env);
    packed::<F64>(root, env.flags, INF)
}

/// A number other than zero as a fraction of 53 bits and its exponent, of two to which it is.
fn taken_apart(a: u64) -> (u64, i32) {
    let raw = i32::try_from(a >> 52 & 0x7ff).expect("eleven bits");
    if raw != 0 {
        return (a & FRACTION | 1 << 52, raw);
    }
    let fraction = a & FRACTION;
    let shift = fraction.leading_zeros() - 11;
    (fraction << shift, 1 - shift.cast_signed())
}

/// Puts an exact number together: `fraction` times two to `exponent`, as `taken_apart` has it.
fn put_together(mut fraction: u64, mut exponent: i32) -> u64 {
    while fraction < 1 << 52 && exponent > 1 {
        fraction <<= 1;
        exponent -= 1;
    }
    if exponent < 1 {
        return fraction >> (1 - exponent).unsigned_abs();
    }
    if fraction < 1 << 52 {
        return fraction;
    }
    fraction & FRACTION | u64::from(exponent.unsigned_abs()) << 52
}

/// The remainder, which is exact.
pub(crate) fn rem(y: u64, z: u64) -> Out {
    if let Some(nan) = usual_nan(y, z) {
        return nan;
    }
    if is_zero(z) || is_inf(y) {
        return (NAN | y & SIGN, e::I);
    }
    if is_zero(y) || is_inf(z) {
        return (y, 0);
    }
    let ((yf, ye), (mut zf, ze)) = (taken_apart(y), taken_apart(z));
    let (mut rest, mut odd, mut scale) = (yf, false, ze);
    match ye - ze {
        steps if steps >= 0 => {
            odd = (rest / zf) & 1 == 1;
            rest %= zf;
            for _ in 0..steps {
                rest <<= 1;
                odd = rest >= zf;
                if odd {
                    rest -= zf;
                }
            }
        }
        -1 => {
            zf <<= 1;
            scale = ye;
        }
        _ => return (y, tiny(y)),
    }
    if rest == 0 {
        return (y & SIGN, 0);
    }
    let mut sign = y & SIGN;
    if rest * 2 > zf || rest * 2 == zf && odd {
        rest = zf - rest;
        sign ^= SIGN;
    }
    let result = put_together(rest, scale);
    (result | sign, tiny(result))
}

fn tiny(a: u64) -> u32 {
    if a & INF == 0 { e::U } else { 0 }
}

/// The nearest integer by the rounding mode, as a float.
pub(crate) fn integral(z: u64, round: Round) -> Out {
    if is_nan::<F64>(z) {
        return (z | QUIET, if is_signaling::<F64>(z) { e::I } else { 0 });
    }
    let mut env = env(round);
    (omni_softfloat::round_to_integral::<F64>(z, &mut env), 0)
}

/// The nearest integer by the rounding mode, modulo 2^64.
pub(crate) fn fix(z: u64, round: Round) -> Out {
    if is_nan::<F64>(z) || is_inf(z) {
        return (z, e::I);
    }
    let (whole, _) = integral(z, round);
    if is_zero(whole) {
        return (0, 0);
    }
    let (fraction, exponent) = taken_apart(whole);
    // The exponent of a fraction whose lowest bit is one.
    let shift = exponent - 1075;
    let size = match shift {
        64.. => 0,
        0..64 => fraction << shift,
        _ => fraction.checked_shr(shift.unsigned_abs()).unwrap_or(0),
    };
    let negative = z & SIGN != 0;
    let out = shift > 11 || shift == 11 && !(negative && fraction == 1 << 52);
    let exc = if out { e::W } else { 0 };
    (if negative { size.wrapping_neg() } else { size }, exc)
}

/// A float of an integer; `short` rounds it to the precision of 32 bits.
pub(crate) fn float(z: u64, unsigned: bool, short: bool, round: Round) -> Out {
    let mut env = env(round);
    let whole = |env: &mut Env| {
        if short {
            let single = if unsigned {
                omni_softfloat::from_u64::<F32>(z, env)
            } else {
                omni_softfloat::from_i64::<F32>(z.cast_signed(), env)
            };
            omni_softfloat::convert::<F32, F64>(single, env)
        } else if unsigned {
            omni_softfloat::from_u64::<F64>(z, env)
        } else {
            omni_softfloat::from_i64::<F64>(z.cast_signed(), env)
        }
    };
    let result = whole(&mut env);
    (result, if env.flags.contains(Flags::INEXACT) { e::X } else { 0 })
}

/// What `LDSF` makes of 32 bits: always exact, and NaNs stay as they are.
pub(crate) fn load_short(bits: u64) -> u64 {
    let bits = bits & 0xffff_ffff;
    let sign = (bits & 0x8000_0000) << 32;
    if bits & 0x7fff_ffff > 0x7f80_0000 {
        return sign | INF | (bits & 0x7f_ffff) << 29;
    }
    omni_softfloat::convert::<F32, F64>(bits, &mut env(Round::NearestEven))
}

/// What `STSF` makes of a float.
pub(crate) fn store_short(a: u64, round: Round) -> Out {
    if is_nan::<F64>(a) {
        let exc = if is_signaling::<F64>(a) { e::I } else { 0 };
        let fraction = (a | QUIET) >> 29 & 0x7f_ffff;
        return (a >> 32 & 0x8000_0000 | 0x7f80_0000 | fraction, exc);
    }
    let mut env = env(round);
    let short = omni_softfloat::convert::<F64, F32>(a, &mut env);
    if is_zero(a) || is_inf(a) {
        return (short, 0);
    }
    packed::<F32>(short, env.flags, 0x7f80_0000)
}

/// How two numbers compare; nothing where one is a NaN.
pub(crate) fn compare(y: u64, z: u64) -> Option<std::cmp::Ordering> {
    f64::from_bits(y).partial_cmp(&f64::from_bits(z))
}

/// What `funpack` finds: a fraction of 55 bits and a raw exponent.
fn unpacked(a: u64) -> (u64, i64) {
    if is_zero(a) {
        return (0, -1000);
    }
    let (fraction, exponent) = taken_apart(a);
    (fraction << 2, i64::from(exponent) - 1)
}

/// Whether two numbers are about equal (section 4.2.2 of Seminumerical Algorithms), or similar
/// where `similar`; nothing where an operand is a NaN or the radius is negative.
pub(crate) fn near(y: u64, z: u64, radius: u64, similar: bool) -> Option<bool> {
    if radius & SIGN != 0 || [radius, y, z].iter().any(|&a| is_nan::<F64>(a)) {
        return None;
    }
    let (ef, mut ee) = if is_inf(radius) { (1 << 54, 10000) } else { unpacked(radius) };
    match (is_inf(y), is_inf(z)) {
        (true, true) => return Some(y == z || ee >= 1023),
        (true, false) | (false, true) => return Some(similar && ee >= 1022),
        (false, false) => {}
    }
    match (is_zero(y), is_zero(z)) {
        (true, true) => return Some(true),
        (true, false) | (false, true) if !similar => return Some(false),
        _ => {}
    }
    let level = |a: u64| {
        let (fraction, exponent) = unpacked(a);
        if exponent < 0 && !is_zero(a) { (a << 2, 0) } else { (fraction, exponent) }
    };
    let ((mut yf, mut ye), (mut zf, mut ze)) = (level(y), level(z));
    if (ye, yf) < (ze, zf) {
        ((yf, ye), (zf, ze)) = ((zf, ze), (yf, ye));
    }
    if ze == -1000 {
        ze = ye;
    }
    let apart = ye - ze;
    if !similar {
        ee -= apart;
    }
    if ee >= 1023 {
        return Some(true);
    }
    let same_sign = (y ^ z) & SIGN == 0;
    let (mut part, back) = if apart > 54 { (0, 0) } else { (zf >> apart, zf >> apart << apart) };
    if back != zf {
        if ee < 1020 {
            return Some(false);
        }
        part += u64::from(!same_sign);
    }
    let difference = if same_sign { yf - part } else { yf + part };
    if difference == 0 {
        return Some(true);
    }
    if ee < 968 {
        return Some(false);
    }
    let bound = if ee >= 1021 { ef << (ee - 1021) } else { ef >> (1021 - ee) };
    Some(difference <= bound)
}
