//! Conversions between formats and to and from integers against the oracle.

use crate::apfloat::{Known, conversion, direction, flags};
use crate::check;
use crate::operands::{Stream, cases};
use omni_softfloat::{
    Env, F16, F32, F64, Flags, Round, Tininess, convert, from_i32, from_i64, from_u32, from_u64,
    to_i32, to_i32_modular, to_i64, to_u32, to_u64,
};
use rustc_apfloat::{Float as _, FloatConvert};

fn check_formats<F: Known, G: Known>(test: u64)
where
    F::Ap: FloatConvert<G::Ap>,
{
    let mut stream = Stream::new(test);
    for case in 0..cases(10_000) {
        let mut a = stream.operand::<F>();
        if case % 2 == 0 && F::BITS > G::BITS {
            // Into the range of the narrower format, around both of its ends.
            let exp = F::BIAS - G::BIAS - i64::from(G::FRAC_BITS) - 3
                + i64::try_from(stream.next()).unwrap_or(0) % (G::EXP_MAX + 30);
            a = a & !F::INFINITY | (exp.cast_unsigned() << F::FRAC_BITS & F::INFINITY);
        }
        for round in Round::ALL {
            for tininess in [Tininess::AfterRounding, Tininess::BeforeRounding] {
                let expected = conversion::<F, G>(a, round, tininess);
                let operation = |env: &mut Env| convert::<F, G>(a, env);
                check(round, tininess, expected, operation, || format!("{a:x}"));
            }
        }
    }
}

#[test]
fn formats_convert_with_the_flags_of_the_narrower() {
    check_formats::<F16, F32>(1);
    check_formats::<F16, F64>(2);
    check_formats::<F32, F16>(3);
    check_formats::<F32, F64>(4);
    check_formats::<F64, F16>(5);
    check_formats::<F64, F32>(6);
}

/// An operand, often of the size of integers.
fn near_integers<F: Known>(stream: &mut Stream) -> u64 {
    let a = stream.operand::<F>();
    if stream.next() & 1 == 0 {
        return a;
    }
    let exp =
        (F::BIAS + i64::try_from(stream.next() % 70).expect("it is small") - 3).min(F::EXP_MAX - 1);
    a & !F::INFINITY | exp.cast_unsigned() << F::FRAC_BITS
}

fn signed<F: Known>(a: u64, width: usize, round: Round) -> (i64, Flags) {
    let max = i64::MAX >> (64 - width);
    let value = F::Ap::from_bits(a.into());
    let outcome = value.to_i128_r(width, direction(round), &mut false);
    let flags = flags(outcome.status);
    let expected = match flags.contains(Flags::INVALID) {
        true if value.is_nan() || !value.is_negative() => max,
        true => -max - 1,
        false => i64::try_from(outcome.value).expect("it is in range"),
    };
    (expected, flags)
}

fn unsigned<F: Known>(a: u64, width: usize, round: Round) -> (u64, Flags) {
    let max = u64::MAX >> (64 - width);
    let value = F::Ap::from_bits(a.into());
    let outcome = value.to_u128_r(width, direction(round), &mut false);
    let flags = flags(outcome.status);
    let expected = match flags.contains(Flags::INVALID) {
        true if value.is_nan() || !value.is_negative() => max,
        true => 0,
        false => u64::try_from(outcome.value).expect("it is in range"),
    };
    (expected, flags)
}

fn check_to_integers<F: Known>(test: u64) {
    let mut stream = Stream::new(test);
    let after = Tininess::AfterRounding;
    for _ in 0..cases(15_000) {
        let a = near_integers::<F>(&mut stream);
        for round in Round::ALL {
            let case = || format!("{a:x}");
            let expected = signed::<F>(a, 32, round);
            check(round, after, expected, |env| to_i32::<F>(a, env).into(), case);
            check(round, after, signed::<F>(a, 64, round), |env| to_i64::<F>(a, env), case);
            let expected = unsigned::<F>(a, 32, round);
            check(round, after, expected, |env| to_u32::<F>(a, env).into(), case);
            check(round, after, unsigned::<F>(a, 64, round), |env| to_u64::<F>(a, env), case);
        }
    }
}

#[test]
fn numbers_become_integers_or_saturate() {
    check_to_integers::<F16>(7);
    check_to_integers::<F32>(8);
    check_to_integers::<F64>(9);
}

#[test]
fn modular_conversion_keeps_the_low_bits_of_any_double() {
    let mut stream = Stream::new(10);
    for _ in 0..cases(50_000) {
        let a = near_integers::<F64>(&mut stream);
        let value = f64::from_bits(a);
        let (_, flags) = signed::<F64>(a, 32, Round::Zero);
        // Beyond 2^127 every double is a multiple of 2^32; the cast saturates there.
        let whole = if value.abs() < 1e38 { value as i128 } else { 0 };
        let operation = |env: &mut Env| to_i32_modular(a, env);
        let case = || format!("{a:x}");
        check(Round::Up, Tininess::AfterRounding, (whole as i32, flags), operation, case);
    }
}

fn check_from_integers<F: Known>(test: u64) {
    let mut stream = Stream::new(test);
    for _ in 0..cases(15_000) {
        let place = stream.next() % 64;
        let x = match stream.next() % 3 {
            0 => stream.next() >> place,
            1 => (1u64 << place).wrapping_add(stream.next() % 5).wrapping_sub(2),
            _ => (u64::MAX << place).wrapping_add(stream.next() % 3),
        };
        let low = x as u32;
        type Row = (i128, fn(u64, &mut Env) -> u64);
        let rows: [Row; 4] = [
            (low.cast_signed().into(), |x, env| from_i32::<F>((x as u32).cast_signed(), env)),
            (low.into(), |x, env| from_u32::<F>(x as u32, env)),
            (x.cast_signed().into(), |x, env| from_i64::<F>(x.cast_signed(), env)),
            (x.into(), |x, env| from_u64::<F>(x, env)),
        ];
        for (value, operation) in rows {
            for round in Round::ALL {
                let outcome = F::Ap::from_i128_r(value, direction(round));
                let mut expected = (outcome.value.to_bits() as u64, flags(outcome.status));
                // The oracle calls no result that stays finite an overflow.
                if i64::from(value.unsigned_abs().max(1).ilog2()) > F::BIAS {
                    expected.1.raise(Flags::OVERFLOW);
                }
                let case = || format!("{value}");
                check(round, Tininess::AfterRounding, expected, |env| operation(x, env), case);
            }
        }
    }
}

#[test]
fn integers_become_the_nearest_numbers() {
    check_from_integers::<F16>(11);
    check_from_integers::<F32>(12);
    check_from_integers::<F64>(13);
}
