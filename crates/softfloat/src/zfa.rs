//! What only RISC-V's Zfa extension has: modular conversion and loadable constants.

use crate::env::{Env, Flags, Round};
use crate::format::{F64, Float};
use crate::pack::{TOP, is_negative, is_special, unpack};
use crate::to_integer::to_i32;

/// `fcvtmod.w.d`: a double toward zero, modulo 2^32; zero for infinities and NaNs.
///
/// The flags are those of `fcvt.w.d` toward zero: out of range is invalid, not inexact.
pub fn to_i32_modular(a: u64, env: &mut Env) -> i32 {
    let round = env.round;
    let before = env.flags;
    env.round = Round::Zero;
    env.flags = Flags::NONE;
    let saturated = to_i32::<F64>(a, env);
    let raised = env.flags;
    env.round = round;
    env.flags = before | raised;
    if !raised.contains(Flags::INVALID) {
        return saturated;
    }
    if is_special::<F64>(a) {
        return 0;
    }
    let number = unpack::<F64>(a);
    // Invalid and finite, so at least 2^31 in magnitude.
    let power = number.exp - F64::BIAS - i64::from(TOP);
    let magnitude = match power {
        ..0 => number.significand >> power.unsigned_abs(),
        0..32 => number.significand << power,
        32.. => 0,
    };
    // The low half is what the instruction asks for.
    let low = (magnitude as u32).cast_signed();
    if is_negative::<F64>(a) { low.wrapping_neg() } else { low }
}

/// The constants of `fli.h` by the number in its `rs1` field; 2^16 is infinity in this format.
pub const FLI_F16: [u16; 32] = [
    0xbc00, 0x0400, 0x0100, 0x0200, 0x1c00, 0x2000, 0x2c00, 0x3000, //
    0x3400, 0x3500, 0x3600, 0x3700, 0x3800, 0x3900, 0x3a00, 0x3b00, //
    0x3c00, 0x3d00, 0x3e00, 0x3f00, 0x4000, 0x4100, 0x4200, 0x4400, //
    0x4800, 0x4c00, 0x5800, 0x5c00, 0x7800, 0x7c00, 0x7c00, 0x7e00,
];

/// The constants of `fli.s` by the number in its `rs1` field.
pub const FLI_F32: [u32; 32] = [
    0xbf80_0000,
    0x0080_0000,
    0x3780_0000,
    0x3800_0000,
    0x3b80_0000,
    0x3c00_0000,
    0x3d80_0000,
    0x3e00_0000,
    0x3e80_0000,
    0x3ea0_0000,
    0x3ec0_0000,
    0x3ee0_0000,
    0x3f00_0000,
    0x3f20_0000,
    0x3f40_0000,
    0x3f60_0000,
    0x3f80_0000,
    0x3fa0_0000,
    0x3fc0_0000,
    0x3fe0_0000,
    0x4000_0000,
    0x4020_0000,
    0x4040_0000,
    0x4080_0000,
    0x4100_0000,
    0x4180_0000,
    0x4300_0000,
    0x4380_0000,
    0x4700_0000,
    0x4780_0000,
    0x7f80_0000,
    0x7fc0_0000,
];

/// The constants of `fli.d` by the number in its `rs1` field.
pub const FLI_F64: [u64; 32] = {
    let mut table = [0; 32];
    let mut index = 0;
    while index < 32 {
        table[index] = widen(FLI_F32[index]);
        index += 1;
    }
    // The smallest normal number is each format's own.
    table[1] = F64::MIN_NORMAL;
    table
};

/// A normal single, an infinity or a NaN as a double.
const fn widen(bits: u32) -> u64 {
    let bits = bits as u64;
    let magnitude = bits & 0x7fff_ffff;
    let rebias = if magnitude >= 0x7f80_0000 { 2047 - 255 } else { 1023 - 127 };
    ((bits >> 31) << 63) | ((magnitude << 29) + (rebias << 52))
}
