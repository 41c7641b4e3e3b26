//! Operations on vectors of 128 bits: their table, and how they are done.
//!
//! They are outside of the interpreter's loop, whose own operations are to stay fast. A vector
//! takes two slots, the lower half first. What is relaxed is done as the deterministic profile of
//! the specification has it, so it is the same on every host.

use crate::code::FRAME_SLOTS;
use crate::exec::pick;
use crate::lanes::{
    F32, F64, I8, I16, I32, I64, Lanes, U8, U16, U32, U64, all, dot8, dot8_add, dot16, eq, ge, gt,
    high, le, low, lt, map, muladd, narrow, ne, negmuladd, pairs, q15, select, signs, swizzle, zip,
};
use crate::numeric::{Bits, Float};
use crate::ops::{Insn, Op};
use omni_memory::Space;

/// An operation with what it needs beside registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vector {
    pub(crate) op: VectorOp,
    /// The register of its third operand.
    pub(crate) c: u16,
    pub(crate) lane: u8,
    /// The number of the memory in the store.
    pub(crate) memory: u32,
    /// What is added to an address.
    pub(crate) offset: u64,
    /// Numbers of bytes, for a shuffle.
    pub(crate) bytes: [u8; 16],
}

/// Gives the table to a macro.
macro_rules! vectors {
    ($with:ident) => {
        $with! {
            // One vector.
            one {
                I8x16Abs (I8 => I8) |a| map(a, i8::wrapping_abs);
                I8x16Neg (U8 => U8) |a| map(a, u8::wrapping_neg);
                I16x8Abs (I16 => I16) |a| map(a, i16::wrapping_abs);
                I16x8Neg (U16 => U16) |a| map(a, u16::wrapping_neg);
                I16x8ExtendLowI8x16S (I8 => I16) low;
                I16x8ExtendHighI8x16S (I8 => I16) high;
                I16x8ExtAddPairwiseI8x16S (I8 => I16) |a| pairs(a, i16::wrapping_add);
                I16x8ExtendLowI8x16U (U8 => U16) low;
                I16x8ExtendHighI8x16U (U8 => U16) high;
                I16x8ExtAddPairwiseI8x16U (U8 => U16) |a| pairs(a, u16::wrapping_add);
                I32x4Abs (I32 => I32) |a| map(a, i32::wrapping_abs);
                I32x4Neg (U32 => U32) |a| map(a, u32::wrapping_neg);
                I32x4ExtendLowI16x8S (I16 => I32) low;
                I32x4ExtendHighI16x8S (I16 => I32) high;
                I32x4ExtAddPairwiseI16x8S (I16 => I32) |a| pairs(a, i32::wrapping_add);
                I32x4ExtendLowI16x8U (U16 => U32) low;
                I32x4ExtendHighI16x8U (U16 => U32) high;
                I32x4ExtAddPairwiseI16x8U (U16 => U32) |a| pairs(a, u32::wrapping_add);
                I64x2Abs (I64 => I64) |a| map(a, i64::wrapping_abs);
                I64x2Neg (U64 => U64) |a| map(a, u64::wrapping_neg);
                I64x2ExtendLowI32x4S (I32 => I64) low;
                I64x2ExtendHighI32x4S (I32 => I64) high;
                I64x2ExtendLowI32x4U (U32 => U64) low;
                I64x2ExtendHighI32x4U (U32 => U64) high;
                I8x16Popcnt (U8 => U8) |a| map(a, |a: u8| a.count_ones() as u8);
                F32x4Ceil (F32 => F32) |a| map(a, |a: f32| a.ceil().canonical());
                F32x4Floor (F32 => F32) |a| map(a, |a: f32| a.floor().canonical());
                F32x4Trunc (F32 => F32) |a| map(a, |a: f32| a.trunc().canonical());
                F32x4Nearest (F32 => F32) |a| map(a, |a: f32| a.round_ties_even().canonical());
                F32x4Sqrt (F32 => F32) |a| map(a, |a: f32| a.sqrt().canonical());
                F32x4Abs (F32 => F32) |a| map(a, f32::abs);
                F32x4Neg (F32 => F32) |a| map(a, |a: f32| -a);
                F64x2Ceil (F64 => F64) |a| map(a, |a: f64| a.ceil().canonical());
                F64x2Floor (F64 => F64) |a| map(a, |a: f64| a.floor().canonical());
                F64x2Trunc (F64 => F64) |a| map(a, |a: f64| a.trunc().canonical());
                F64x2Nearest (F64 => F64) |a| map(a, |a: f64| a.round_ties_even().canonical());
                F64x2Sqrt (F64 => F64) |a| map(a, |a: f64| a.sqrt().canonical());
                F64x2Abs (F64 => F64) |a| map(a, f64::abs);
                F64x2Neg (F64 => F64) |a| map(a, |a: f64| -a);
                I32x4TruncSatF32x4S (F32 => I32) |a| map(a, |a| a as i32);
                I32x4TruncSatF64x2SZero (F64 => I32) |a| [a[0] as i32, a[1] as i32, 0, 0];
                I32x4TruncSatF32x4U (F32 => U32) |a| map(a, |a| a as u32);
                I32x4TruncSatF64x2UZero (F64 => U32) |a| [a[0] as u32, a[1] as u32, 0, 0];
                I32x4RelaxedTruncF32x4S (F32 => I32) |a| map(a, |a| a as i32);
                I32x4RelaxedTruncF64x2SZero (F64 => I32) |a| [a[0] as i32, a[1] as i32, 0, 0];
                I32x4RelaxedTruncF32x4U (F32 => U32) |a| map(a, |a| a as u32);
                I32x4RelaxedTruncF64x2UZero (F64 => U32) |a| [a[0] as u32, a[1] as u32, 0, 0];
                F32x4ConvertI32x4S (I32 => F32) |a| map(a, |a| a as f32);
                F64x2ConvertLowI32x4S (I32 => F64) low;
                F32x4ConvertI32x4U (U32 => F32) |a| map(a, |a| a as f32);
                F64x2ConvertLowI32x4U (U32 => F64) low;
                F32x4DemoteF64x2Zero (F64 => F32)
                    |a| [(a[0] as f32).canonical(), (a[1] as f32).canonical(), 0.0, 0.0];
                F64x2PromoteLowF32x4 (F32 => F64)
                    |a| [f64::from(a[0]).canonical(), f64::from(a[1]).canonical()];
                V128Not (U64 => U64) |a| map(a, |a: u64| !a);
            }
            // Two vectors.
            two {
                I8x16Eq (U8 => U8) eq;
                I8x16Ne (U8 => U8) ne;
                I8x16LtS (I8 => U8) lt;
                I8x16LtU (U8 => U8) lt;
                I8x16GtS (I8 => U8) gt;
                I8x16GtU (U8 => U8) gt;
                I8x16LeS (I8 => U8) le;
                I8x16LeU (U8 => U8) le;
                I8x16GeS (I8 => U8) ge;
                I8x16GeU (U8 => U8) ge;
                I8x16Add (U8 => U8) |a, b| zip(a, b, u8::wrapping_add);
                I8x16Sub (U8 => U8) |a, b| zip(a, b, u8::wrapping_sub);
                I8x16AddSatS (I8 => I8) |a, b| zip(a, b, i8::saturating_add);
                I8x16AddSatU (U8 => U8) |a, b| zip(a, b, u8::saturating_add);
                I8x16SubSatS (I8 => I8) |a, b| zip(a, b, i8::saturating_sub);
                I8x16SubSatU (U8 => U8) |a, b| zip(a, b, u8::saturating_sub);
                I8x16AvgrU (U8 => U8) |a, b| zip(a, b, |a: u8, b| a.midpoint(b) + ((a ^ b) & 1));
                I8x16MinS (I8 => I8) |a, b| zip(a, b, i8::min);
                I8x16MinU (U8 => U8) |a, b| zip(a, b, u8::min);
                I8x16MaxS (I8 => I8) |a, b| zip(a, b, i8::max);
                I8x16MaxU (U8 => U8) |a, b| zip(a, b, u8::max);
                I16x8Eq (U16 => U16) eq;
                I16x8Ne (U16 => U16) ne;
                I16x8LtS (I16 => U16) lt;
                I16x8LtU (U16 => U16) lt;
                I16x8GtS (I16 => U16) gt;
                I16x8GtU (U16 => U16) gt;
                I16x8LeS (I16 => U16) le;
                I16x8LeU (U16 => U16) le;
                I16x8GeS (I16 => U16) ge;
                I16x8GeU (U16 => U16) ge;
                I16x8Add (U16 => U16) |a, b| zip(a, b, u16::wrapping_add);
                I16x8Sub (U16 => U16) |a, b| zip(a, b, u16::wrapping_sub);
                I16x8Mul (U16 => U16) |a, b| zip(a, b, u16::wrapping_mul);
                I16x8AddSatS (I16 => I16) |a, b| zip(a, b, i16::saturating_add);
                I16x8AddSatU (U16 => U16) |a, b| zip(a, b, u16::saturating_add);
                I16x8SubSatS (I16 => I16) |a, b| zip(a, b, i16::saturating_sub);
                I16x8SubSatU (U16 => U16) |a, b| zip(a, b, u16::saturating_sub);
                I16x8AvgrU (U16 => U16) |a, b| zip(a, b, |a: u16, b| a.midpoint(b) + ((a ^ b) & 1));
                I16x8MinS (I16 => I16) |a, b| zip(a, b, i16::min);
                I16x8MinU (U16 => U16) |a, b| zip(a, b, u16::min);
                I16x8MaxS (I16 => I16) |a, b| zip(a, b, i16::max);
                I16x8MaxU (U16 => U16) |a, b| zip(a, b, u16::max);
                I16x8ExtMulLowI8x16S (I8 => I16) |a, b| zip(low(a), low(b), i16::wrapping_mul);
                I16x8ExtMulHighI8x16S (I8 => I16) |a, b| zip(high(a), high(b), i16::wrapping_mul);
                I16x8ExtMulLowI8x16U (U8 => U16) |a, b| zip(low(a), low(b), u16::wrapping_mul);
                I16x8ExtMulHighI8x16U (U8 => U16) |a, b| zip(high(a), high(b), u16::wrapping_mul);
                I32x4Eq (U32 => U32) eq;
                I32x4Ne (U32 => U32) ne;
                I32x4LtS (I32 => U32) lt;
                I32x4LtU (U32 => U32) lt;
                I32x4GtS (I32 => U32) gt;
                I32x4GtU (U32 => U32) gt;
                I32x4LeS (I32 => U32) le;
                I32x4LeU (U32 => U32) le;
                I32x4GeS (I32 => U32) ge;
                I32x4GeU (U32 => U32) ge;
                I32x4Add (U32 => U32) |a, b| zip(a, b, u32::wrapping_add);
                I32x4Sub (U32 => U32) |a, b| zip(a, b, u32::wrapping_sub);
                I32x4Mul (U32 => U32) |a, b| zip(a, b, u32::wrapping_mul);
                I32x4MinS (I32 => I32) |a, b| zip(a, b, i32::min);
                I32x4MinU (U32 => U32) |a, b| zip(a, b, u32::min);
                I32x4MaxS (I32 => I32) |a, b| zip(a, b, i32::max);
                I32x4MaxU (U32 => U32) |a, b| zip(a, b, u32::max);
                I32x4ExtMulLowI16x8S (I16 => I32) |a, b| zip(low(a), low(b), i32::wrapping_mul);
                I32x4ExtMulHighI16x8S (I16 => I32) |a, b| zip(high(a), high(b), i32::wrapping_mul);
                I32x4ExtMulLowI16x8U (U16 => U32) |a, b| zip(low(a), low(b), u32::wrapping_mul);
                I32x4ExtMulHighI16x8U (U16 => U32) |a, b| zip(high(a), high(b), u32::wrapping_mul);
                I64x2Eq (U64 => U64) eq;
                I64x2Ne (U64 => U64) ne;
                I64x2LtS (I64 => U64) lt;
                I64x2GtS (I64 => U64) gt;
                I64x2LeS (I64 => U64) le;
                I64x2GeS (I64 => U64) ge;
                I64x2Add (U64 => U64) |a, b| zip(a, b, u64::wrapping_add);
                I64x2Sub (U64 => U64) |a, b| zip(a, b, u64::wrapping_sub);
                I64x2Mul (U64 => U64) |a, b| zip(a, b, u64::wrapping_mul);
                I64x2ExtMulLowI32x4S (I32 => I64) |a, b| zip(low(a), low(b), i64::wrapping_mul);
                I64x2ExtMulHighI32x4S (I32 => I64) |a, b| zip(high(a), high(b), i64::wrapping_mul);
                I64x2ExtMulLowI32x4U (U32 => U64) |a, b| zip(low(a), low(b), u64::wrapping_mul);
                I64x2ExtMulHighI32x4U (U32 => U64) |a, b| zip(high(a), high(b), u64::wrapping_mul);
                I8x16NarrowI16x8S (I16 => I8)
                    |a, b| narrow(a, b, |a: i16| a.clamp(i8::MIN.into(), i8::MAX.into()) as i8);
                I8x16NarrowI16x8U (I16 => U8)
                    |a, b| narrow(a, b, |a: i16| a.clamp(u8::MIN.into(), u8::MAX.into()) as u8);
                I16x8NarrowI32x4S (I32 => I16)
                    |a, b| narrow(a, b, |a: i32| a.clamp(i16::MIN.into(), i16::MAX.into()) as i16);
                I16x8NarrowI32x4U (I32 => U16)
                    |a, b| narrow(a, b, |a: i32| a.clamp(u16::MIN.into(), u16::MAX.into()) as u16);
                I16x8Q15MulrSatS (I16 => I16) |a, b| zip(a, b, q15);
                I16x8RelaxedQ15mulrS (I16 => I16) |a, b| zip(a, b, q15);
                I32x4DotI16x8S (I16 => I32) dot16;
                I16x8RelaxedDotI8x16I7x16S (I8 => I16) dot8;
                I8x16Swizzle (U8 => U8) swizzle;
                I8x16RelaxedSwizzle (U8 => U8) swizzle;
                F32x4Eq (F32 => U32) eq;
                F32x4Ne (F32 => U32) ne;
                F32x4Lt (F32 => U32) lt;
                F32x4Gt (F32 => U32) gt;
                F32x4Le (F32 => U32) le;
                F32x4Ge (F32 => U32) ge;
                F32x4Add (F32 => F32) |a, b| zip(a, b, |a: f32, b| (a + b).canonical());
                F32x4Sub (F32 => F32) |a, b| zip(a, b, |a: f32, b| (a - b).canonical());
                F32x4Mul (F32 => F32) |a, b| zip(a, b, |a: f32, b| (a * b).canonical());
                F32x4Div (F32 => F32) |a, b| zip(a, b, |a: f32, b| (a / b).canonical());
                F32x4Min (F32 => F32) |a, b| zip(a, b, f32::lesser);
                F32x4Max (F32 => F32) |a, b| zip(a, b, f32::greater);
                F32x4RelaxedMin (F32 => F32) |a, b| zip(a, b, f32::lesser);
                F32x4RelaxedMax (F32 => F32) |a, b| zip(a, b, f32::greater);
                F32x4PMin (F32 => F32) |a, b| zip(a, b, |a: f32, b| if b < a { b } else { a });
                F32x4PMax (F32 => F32) |a, b| zip(a, b, |a: f32, b| if a < b { b } else { a });
                F64x2Eq (F64 => U64) eq;
                F64x2Ne (F64 => U64) ne;
                F64x2Lt (F64 => U64) lt;
                F64x2Gt (F64 => U64) gt;
                F64x2Le (F64 => U64) le;
                F64x2Ge (F64 => U64) ge;
                F64x2Add (F64 => F64) |a, b| zip(a, b, |a: f64, b| (a + b).canonical());
                F64x2Sub (F64 => F64) |a, b| zip(a, b, |a: f64, b| (a - b).canonical());
                F64x2Mul (F64 => F64) |a, b| zip(a, b, |a: f64, b| (a * b).canonical());
                F64x2Div (F64 => F64) |a, b| zip(a, b, |a: f64, b| (a / b).canonical());
                F64x2Min (F64 => F64) |a, b| zip(a, b, f64::lesser);
                F64x2Max (F64 => F64) |a, b| zip(a, b, f64::greater);
                F64x2RelaxedMin (F64 => F64) |a, b| zip(a, b, f64::lesser);
                F64x2RelaxedMax (F64 => F64) |a, b| zip(a, b, f64::greater);
                F64x2PMin (F64 => F64) |a, b| zip(a, b, |a: f64, b| if b < a { b } else { a });
                F64x2PMax (F64 => F64) |a, b| zip(a, b, |a: f64, b| if a < b { b } else { a });
                V128And (U64 => U64) |a, b| zip(a, b, |a: u64, b| a & b);
                V128AndNot (U64 => U64) |a, b| zip(a, b, |a: u64, b| a & !b);
                V128Or (U64 => U64) |a, b| zip(a, b, |a: u64, b| a | b);
                V128Xor (U64 => U64) |a, b| zip(a, b, |a: u64, b| a ^ b);
            }
            // Three vectors, as bits.
            three {
                F32x4RelaxedMadd |a, b, c| muladd(F32::of(a), F32::of(b), F32::of(c)).bits();
                F32x4RelaxedNmadd |a, b, c| negmuladd(F32::of(a), F32::of(b), F32::of(c)).bits();
                F64x2RelaxedMadd |a, b, c| muladd(F64::of(a), F64::of(b), F64::of(c)).bits();
                F64x2RelaxedNmadd |a, b, c| negmuladd(F64::of(a), F64::of(b), F64::of(c)).bits();
                V128Bitselect select;
                I8x16RelaxedLaneselect select;
                I16x8RelaxedLaneselect select;
                I32x4RelaxedLaneselect select;
                I64x2RelaxedLaneselect select;
                I32x4RelaxedDotI8x16I7x16AddS dot8_add;
            }
            // A vector, and a count that is taken modulo the bits of a lane.
            shift {
                I8x16Shl (U8 => U8) |a, by| map(a, |a: u8| a.wrapping_shl(by));
                I8x16ShrS (I8 => I8) |a, by| map(a, |a: i8| a.wrapping_shr(by));
                I8x16ShrU (U8 => U8) |a, by| map(a, |a: u8| a.wrapping_shr(by));
                I16x8Shl (U16 => U16) |a, by| map(a, |a: u16| a.wrapping_shl(by));
                I16x8ShrS (I16 => I16) |a, by| map(a, |a: i16| a.wrapping_shr(by));
                I16x8ShrU (U16 => U16) |a, by| map(a, |a: u16| a.wrapping_shr(by));
                I32x4Shl (U32 => U32) |a, by| map(a, |a: u32| a.wrapping_shl(by));
                I32x4ShrS (I32 => I32) |a, by| map(a, |a: i32| a.wrapping_shr(by));
                I32x4ShrU (U32 => U32) |a, by| map(a, |a: u32| a.wrapping_shr(by));
                I64x2Shl (U64 => U64) |a, by| map(a, |a: u64| a.wrapping_shl(by));
                I64x2ShrS (I64 => I64) |a, by| map(a, |a: i64| a.wrapping_shr(by));
                I64x2ShrU (U64 => U64) |a, by| map(a, |a: u64| a.wrapping_shr(by));
            }
            // A number in all lanes.
            splat {
                I8x16Splat (U8 u8);
                I16x8Splat (U16 u16);
                I32x4Splat (U32 u32);
                I64x2Splat (U64 u64);
                F32x4Splat (U32 u32);
                F64x2Splat (U64 u64);
            }
            // A vector that gives a number.
            test {
                I8x16AllTrue (U8) all;
                I8x16Bitmask (I8) signs;
                I16x8AllTrue (U16) all;
                I16x8Bitmask (I16) signs;
                I32x4AllTrue (U32) all;
                I32x4Bitmask (I32) signs;
                I64x2AllTrue (U64) all;
                I64x2Bitmask (I64) signs;
                V128AnyTrue (U64) |a| u64::from(a != [0, 0]);
            }
            // A lane, widened.
            extract {
                F32x4ExtractLane (U32 => u32);
                F64x2ExtractLane (U64 => u64);
                I8x16ExtractLaneS (I8 => i32);
                I8x16ExtractLaneU (U8 => u32);
                I16x8ExtractLaneS (I16 => i32);
                I16x8ExtractLaneU (U16 => u32);
                I32x4ExtractLane (U32 => u32);
                I64x2ExtractLane (U64 => u64);
            }
            // A vector with one lane replaced.
            replace {
                I8x16ReplaceLane (U8 u8);
                I16x8ReplaceLane (U16 u16);
                I32x4ReplaceLane (U32 u32);
                I64x2ReplaceLane (U64 u64);
                F32x4ReplaceLane (U32 u32);
                F64x2ReplaceLane (U64 u64);
            }
            // Loads: bytes that are read, and what is made of them, with zeros above.
            load {
                V128Load 16 (U64 => U64) |a| a;
                V128Load8x8S 8 (I8 => I16) low;
                V128Load8x8U 8 (U8 => U16) low;
                V128Load16x4S 8 (I16 => I32) low;
                V128Load16x4U 8 (U16 => U32) low;
                V128Load32x2S 8 (I32 => I64) low;
                V128Load32x2U 8 (U32 => U64) low;
                V128Load8Splat 1 (U8 => U8) |a| [a[0]; 16];
                V128Load16Splat 2 (U16 => U16) |a| [a[0]; 8];
                V128Load32Splat 4 (U32 => U32) |a| [a[0]; 4];
                V128Load64Splat 8 (U64 => U64) |a| [a[0]; 2];
                V128Load32Zero 4 (U32 => U32) |a| a;
                V128Load64Zero 8 (U64 => U64) |a| a;
            }
            // Loads of one lane.
            load_lane {
                V128Load8Lane 1 U8;
                V128Load16Lane 2 U16;
                V128Load32Lane 4 U32;
                V128Load64Lane 8 U64;
            }
            // Stores of one lane.
            store_lane {
                V128Store8Lane 1;
                V128Store16Lane 2;
                V128Store32Lane 4;
                V128Store64Lane 8;
            }
        }
    };
}
pub(crate) use vectors;

macro_rules! define_vector_op {
    (
        one { $($one:ident ($onet:ty => $oner:ty) $onef:expr;)* }
        two { $($two:ident ($twot:ty => $twor:ty) $twof:expr;)* }
        three { $($three:ident $threef:expr;)* }
        shift { $($shift:ident ($shiftt:ty => $shiftr:ty) $shiftf:expr;)* }
        splat { $($splat:ident ($splatt:ident $splatn:ident);)* }
        test { $($test:ident ($testt:ty) $testf:expr;)* }
        extract { $($extract:ident ($extractt:ty => $extractr:ty);)* }
        replace { $($replace:ident ($replacet:ident $replacen:ident);)* }
        load { $($load:ident $loadn:literal ($loadt:ty => $loadr:ty) $loadf:expr;)* }
        load_lane { $($ll:ident $lln:literal $llt:ty;)* }
        store_lane { $($sl:ident $sln:literal;)* }
    ) => {
        /// An operation on vectors.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum VectorOp {
            $($one,)* $($two,)* $($three,)* $($shift,)* $($splat,)* $($test,)* $($extract,)*
            $($replace,)* $($load,)* $($ll,)* $($sl,)* V128Store, I8x16Shuffle,
        }
    };
}
vectors!(define_vector_op);

/// The registers of a frame.
type Registers = [u64; FRAME_SLOTS];

#[inline(always)]
fn wide(fr: &Registers, at: u16) -> u128 {
    let at = usize::from(at);
    u128::from(fr[at + 1]) << 64 | u128::from(fr[at])
}

#[inline(always)]
fn set_wide(fr: &mut Registers, at: u16, bits: u128) {
    let at = usize::from(at);
    // The halves.
    (fr[at], fr[at + 1]) = (bits as u64, (bits >> 64) as u64);
}

#[inline(always)]
fn one<T: Lanes, R: Lanes>(what: impl Fn(T) -> R, a: u128) -> u128 {
    what(T::of(a)).bits()
}

#[inline(always)]
fn two<T: Lanes, R: Lanes>(what: impl Fn(T, T) -> R, a: u128, b: u128) -> u128 {
    what(T::of(a), T::of(b)).bits()
}

#[inline(always)]
fn shift<T: Lanes, R: Lanes>(what: impl Fn(T, u32) -> R, a: u128, by: u64) -> u128 {
    // Cut on purpose: only the lowest bits of the count matter.
    what(T::of(a), by as u32).bits()
}

#[inline(always)]
fn three(what: impl Fn(u128, u128, u128) -> u128, a: u128, b: u128, c: u128) -> u128 {
    what(a, b, c)
}

#[inline(always)]
fn test<T: Lanes>(what: impl Fn(T) -> u64, a: u128) -> u64 {
    what(T::of(a))
}

/// The bytes of two vectors by their number.
fn shuffle(a: u128, b: u128, bytes: [u8; 16]) -> u128 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    let byte = |at: u8| if at < 16 { a[usize::from(at)] } else { b[usize::from(at & 15)] };
    u128::from_le_bytes(bytes.map(byte))
}

/// Does any operation; false where an access is beyond the end of its memory.
#[cold]
#[inline(never)]
pub(crate) fn step(
    vectors: &[Vector],
    insn: &Insn,
    fr: &mut Registers,
    mem: &mut Space,
    far: &mut [Space],
) -> bool {
    let vector = &vectors[insn.imm as usize];
    if insn.op == Op::Vector {
        run(vector, *insn, fr);
        return true;
    }
    access(vector, *insn, fr, pick(mem, far, vector.memory as usize)).is_some()
}

macro_rules! define_run {
    (
        one { $($one:ident ($onet:ty => $oner:ty) $onef:expr;)* }
        two { $($two:ident ($twot:ty => $twor:ty) $twof:expr;)* }
        three { $($three:ident $threef:expr;)* }
        shift { $($shift:ident ($shiftt:ty => $shiftr:ty) $shiftf:expr;)* }
        splat { $($splat:ident ($splatt:ident $splatn:ident);)* }
        test { $($test:ident ($testt:ty) $testf:expr;)* }
        extract { $($extract:ident ($extractt:ty => $extractr:ty);)* }
        replace { $($replace:ident ($replacet:ident $replacen:ident);)* }
        load { $($load:ident $loadn:literal ($loadt:ty => $loadr:ty) $loadf:expr;)* }
        load_lane { $($ll:ident $lln:literal $llt:ty;)* }
        store_lane { $($sl:ident $sln:literal;)* }
    ) => {
        /// Does an operation on registers.
        #[inline(never)]
        fn run(vector: &Vector, insn: Insn, fr: &mut Registers) {
            let (d, a, b) = (insn.d, insn.a, insn.b);
            let lane = usize::from(vector.lane);
            match vector.op {
                $(VectorOp::$one => {
                    let value = one::<$onet, $oner>($onef, wide(fr, a));
                    set_wide(fr, d, value);
                })*
                $(VectorOp::$two => {
                    let value = two::<$twot, $twor>($twof, wide(fr, a), wide(fr, b));
                    set_wide(fr, d, value);
                })*
                $(VectorOp::$three => {
                    let value = three($threef, wide(fr, a), wide(fr, b), wide(fr, vector.c));
                    set_wide(fr, d, value);
                })*
                $(VectorOp::$shift => {
                    let by = fr[usize::from(b)];
                    let value = shift::<$shiftt, $shiftr>($shiftf, wide(fr, a), by);
                    set_wide(fr, d, value);
                })*
                $(VectorOp::$splat => {
                    // Cut on purpose: a lane has the low bits.
                    let mut lanes = <$splatt>::of(0);
                    lanes.fill(fr[usize::from(a)] as $splatn);
                    set_wide(fr, d, lanes.bits());
                })*
                $(VectorOp::$test => {
                    fr[usize::from(d)] = test::<$testt>($testf, wide(fr, a));
                })*
                $(VectorOp::$extract => {
                    let lane = <$extractt>::of(wide(fr, a))[lane];
                    fr[usize::from(d)] = <$extractr>::from(lane).bits();
                })*
                $(VectorOp::$replace => {
                    let mut lanes = <$replacet>::of(wide(fr, a));
                    // Cut on purpose: a lane has the low bits.
                    lanes[lane] = fr[usize::from(b)] as $replacen;
                    set_wide(fr, d, lanes.bits());
                })*
                VectorOp::I8x16Shuffle => {
                    let value = shuffle(wide(fr, a), wide(fr, b), vector.bytes);
                    set_wide(fr, d, value);
                }
                VectorOp::V128Store $(| VectorOp::$load)* $(| VectorOp::$ll)*
                $(| VectorOp::$sl)* => {
                    unreachable!("the compiler has another instruction for accesses of memory")
                }
            }
        }
    };
}
vectors!(define_run);

/// Bytes with zeros above.
#[inline(always)]
fn zeros<const N: usize>(bytes: [u8; N]) -> u128 {
    let mut all = [0; 16];
    all[..N].copy_from_slice(&bytes);
    u128::from_le_bytes(all)
}

/// The low bytes of a value.
#[inline(always)]
fn cut<const N: usize>(value: u128) -> [u8; N] {
    *value.to_le_bytes().first_chunk().expect("a lane is no more than a vector")
}

macro_rules! define_access {
    (
        one { $($one:ident ($onet:ty => $oner:ty) $onef:expr;)* }
        two { $($two:ident ($twot:ty => $twor:ty) $twof:expr;)* }
        three { $($three:ident $threef:expr;)* }
        shift { $($shift:ident ($shiftt:ty => $shiftr:ty) $shiftf:expr;)* }
        splat { $($splat:ident ($splatt:ident $splatn:ident);)* }
        test { $($test:ident ($testt:ty) $testf:expr;)* }
        extract { $($extract:ident ($extractt:ty => $extractr:ty);)* }
        replace { $($replace:ident ($replacet:ident $replacen:ident);)* }
        load { $($load:ident $loadn:literal ($loadt:ty => $loadr:ty) $loadf:expr;)* }
        load_lane { $($ll:ident $lln:literal $llt:ty;)* }
        store_lane { $($sl:ident $sln:literal;)* }
    ) => {
        /// Does an operation on memory; gives nothing where it is beyond its end.
        #[inline(never)]
        fn access(
            vector: &Vector,
            insn: Insn,
            fr: &mut Registers,
            space: &mut Space,
        ) -> Option<()> {
            let (d, a, b) = (insn.d, insn.a, insn.b);
            let at = fr[usize::from(a)].checked_add(vector.offset)?;
            let lane = usize::from(vector.lane);
            match vector.op {
                $(VectorOp::$load => {
                    let bits = zeros(space.flat_load::<$loadn>(at)?);
                    set_wide(fr, d, one::<$loadt, $loadr>($loadf, bits));
                })*
                $(VectorOp::$ll => {
                    let read = <$llt>::of(zeros(space.flat_load::<$lln>(at)?))[0];
                    let mut lanes = <$llt>::of(wide(fr, b));
                    lanes[lane] = read;
                    set_wide(fr, d, lanes.bits());
                })*
                $(VectorOp::$sl => {
                    let bits = wide(fr, b) >> (lane * $sln * 8);
                    space.flat_store::<$sln>(at, cut(bits))?;
                })*
                VectorOp::V128Store => space.flat_store::<16>(at, cut(wide(fr, b)))?,
                _ => unreachable!("the compiler has another instruction for what has no address"),
            }
            Some(())
        }
    };
}
vectors!(define_access);
