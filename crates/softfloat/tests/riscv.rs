//! Known results of RISC-V, chapters "F", "Zfh" and "Zfa" of the unprivileged manual.

use omni_softfloat::{
    Class, Env, F16, F32, F64, FLI_F16, FLI_F32, FLI_F64, Flags, Float, Round, add, classify,
    convert, div, eq, from_i32, lt, lt_quiet, maximum, maximum_number, minimum, minimum_number,
    mul, mul_add, round_to_integral, round_to_integral_exact, sqrt, sub, to_i32, to_i32_modular,
    to_i64, to_u32, to_u64,
};

const NX: Flags = Flags::INEXACT;
const NV: Flags = Flags::INVALID;
const SIGNALING: u64 = 0x7fa0_0000;
const NAN: u64 = 0x7fc0_0000;
const MINUS: u64 = 1 << 31;

fn s(value: f32) -> u64 {
    value.to_bits().into()
}

fn d(value: f64) -> u64 {
    value.to_bits()
}

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    round: Round,
    expected: (T, Flags),
    operation: impl Fn(&mut Env) -> T,
) {
    let mut env = Env::riscv(round, Flags::NONE);
    let result = operation(&mut env);
    assert_eq!((result, env.flags), expected);
}

#[test]
fn rounding_modes_decode_as_frm_and_reserved_ones_do_not() {
    let decoded: Vec<_> = (0..8).map(Round::from_riscv).collect();
    let valid = Round::ALL.map(Some);
    assert_eq!(decoded[..5], valid);
    assert_eq!(decoded[5..], [None; 3]);
}

#[test]
fn flags_have_the_bits_of_fflags() {
    let flags = [NX, Flags::UNDERFLOW, Flags::OVERFLOW, Flags::DIVIDE_BY_ZERO, NV];
    assert_eq!(flags.map(|flag| flag.0), [1, 2, 4, 8, 16]);
}

#[test]
fn nan_results_are_canonical_whatever_the_operands() {
    let payload = 0xffc1_2345;
    check(Round::NearestEven, (NAN, Flags::NONE), |env| add::<F32>(payload, s(1.0), env));
    check(Round::NearestEven, (NAN, NV), |env| mul::<F32>(s(1.0), SIGNALING | MINUS, env));
    check(Round::NearestEven, (F64::NAN, NV), |env| convert::<F32, F64>(SIGNALING | 5, env));
    check(Round::NearestEven, (NAN, NV), |env| sqrt::<F32>(s(-1.0), env));
    let infinity = s(f32::INFINITY);
    check(Round::NearestEven, (NAN, NV), |env| sub::<F32>(infinity, infinity, env));
    check(Round::NearestEven, (NAN, NV), |env| div::<F32>(0, MINUS, env));
}

#[test]
fn infinity_times_zero_plus_a_quiet_nan_is_invalid() {
    let infinity = s(f32::INFINITY);
    check(Round::NearestEven, (NAN, NV), |env| mul_add::<F32>(infinity, 0, NAN, env));
    check(Round::NearestEven, (NAN, NV), |env| mul_add::<F32>(0, infinity, NAN, env));
    check(Round::NearestEven, (NAN, Flags::NONE), |env| mul_add::<F32>(0, s(1.0), NAN, env));
}

#[test]
fn a_product_and_sum_is_rounded_once() {
    let x = d(1.0 + f64::EPSILON);
    let c = d(-1.0 - 2.0 * f64::EPSILON);
    let expected = d(f64::EPSILON * f64::EPSILON);
    check(Round::Down, (expected, Flags::NONE), |env| mul_add::<F64>(x, x, c, env));
}

#[test]
fn exact_cancellation_is_positive_zero_except_when_rounding_down() {
    for round in Round::ALL {
        let zero = if round == Round::Down { MINUS } else { 0 };
        check(round, (zero, Flags::NONE), |env| sub::<F32>(s(1.5), s(1.5), env));
        check(round, (zero, Flags::NONE), |env| add::<F32>(0, MINUS, env));
        check(round, (zero, Flags::NONE), |env| mul_add::<F32>(s(2.0), s(3.0), s(-6.0), env));
        check(round, (zero, Flags::NONE), |env| mul_add::<F32>(0, s(3.0), MINUS, env));
        check(round, (MINUS, Flags::NONE), |env| add::<F32>(MINUS, MINUS, env));
    }
}

#[test]
fn underflow_is_judged_after_rounding() {
    // Just below the smallest normal number: with an unbounded exponent the first rounds up to
    // it and is not tiny, though rounding as a subnormal gives the same bits.
    let largest_below_one = s(1.0) - 1;
    let smallest = F32::MIN_NORMAL;
    let near = |env: &mut Env| mul::<F32>(smallest + 1, largest_below_one - 1, env);
    check(Round::NearestEven, (smallest, NX), near);
    let tiny = |env: &mut Env| mul::<F32>(smallest, largest_below_one, env);
    check(Round::NearestEven, (smallest, NX | Flags::UNDERFLOW), tiny);
    let mut env = Env::arm(Round::NearestEven, false, Flags::NONE);
    assert_eq!(near(&mut env), smallest);
    assert_eq!(env.flags, NX | Flags::UNDERFLOW);
}

#[test]
fn exact_subnormal_results_do_not_underflow() {
    let half = s(0.5);
    check(Round::Up, (F32::MIN_NORMAL >> 1, Flags::NONE), |env| {
        mul::<F32>(F32::MIN_NORMAL, half, env)
    });
    let expected = (1, NX | Flags::UNDERFLOW);
    check(Round::Up, expected, |env| mul::<F32>(1, half, env));
}

#[test]
fn overflow_gives_infinity_or_the_largest_by_direction() {
    let largest = F64::MAX_FINITE;
    for (round, expected) in [
        (Round::NearestEven, F64::INFINITY),
        (Round::Zero, largest),
        (Round::Down, largest),
        (Round::Up, F64::INFINITY),
        (Round::NearestMaxMagnitude, F64::INFINITY),
    ] {
        check(round, (expected, NX | Flags::OVERFLOW), |env| add::<F64>(largest, largest, env));
    }
    let expected = (F64::INFINITY, Flags::DIVIDE_BY_ZERO);
    check(Round::Zero, expected, |env| div::<F64>(d(1.0), 0, env));
}

#[test]
fn minimum_number_orders_zeros_and_prefers_numbers() {
    let none = Flags::NONE;
    check(Round::NearestEven, (MINUS, none), |env| minimum_number::<F32>(0, MINUS, env));
    check(Round::NearestEven, (MINUS, none), |env| minimum_number::<F32>(MINUS, 0, env));
    check(Round::NearestEven, (0, none), |env| maximum_number::<F32>(MINUS, 0, env));
    check(Round::NearestEven, (s(1.0), none), |env| minimum_number::<F32>(NAN, s(1.0), env));
    check(Round::NearestEven, (s(1.0), NV), |env| maximum_number::<F32>(s(1.0), SIGNALING, env));
    check(Round::NearestEven, (NAN, none), |env| maximum_number::<F32>(NAN | MINUS, NAN, env));
    check(Round::NearestEven, (NAN, NV), |env| minimum_number::<F32>(SIGNALING, NAN, env));
    check(Round::NearestEven, (s(-2.0), none), |env| minimum_number::<F32>(s(-2.0), s(-1.0), env));
}

#[test]
fn minimum_and_maximum_of_zfa_give_nan_for_nan() {
    let none = Flags::NONE;
    check(Round::NearestEven, (NAN, none), |env| minimum::<F32>(NAN | 7, s(1.0), env));
    check(Round::NearestEven, (NAN, NV), |env| maximum::<F32>(s(1.0), SIGNALING, env));
    check(Round::NearestEven, (MINUS, none), |env| minimum::<F32>(0, MINUS, env));
    check(Round::NearestEven, (s(2.0), none), |env| maximum::<F32>(s(2.0), s(-3.0), env));
}

#[test]
fn only_the_relations_signal_quiet_nans() {
    check(Round::NearestEven, (false, Flags::NONE), |env| eq::<F32>(NAN, NAN, env));
    check(Round::NearestEven, (false, NV), |env| eq::<F32>(SIGNALING, 0, env));
    check(Round::NearestEven, (false, NV), |env| lt::<F32>(NAN, 0, env));
    check(Round::NearestEven, (false, Flags::NONE), |env| lt_quiet::<F32>(NAN, 0, env));
    check(Round::NearestEven, (true, Flags::NONE), |env| eq::<F32>(0, MINUS, env));
}

#[test]
fn integers_saturate_as_the_table_of_fcvt_says() {
    let zero = Round::Zero;
    let (infinity, none) = (d(f64::INFINITY), Flags::NONE);
    for nan in [F64::NAN, F64::NAN | F64::SIGN, F64::INFINITY | 1] {
        check(zero, (i32::MAX, NV), |env| to_i32::<F64>(nan, env));
        check(zero, (u32::MAX, NV), |env| to_u32::<F64>(nan, env));
        check(zero, (i64::MAX, NV), |env| to_i64::<F64>(nan, env));
        check(zero, (u64::MAX, NV), |env| to_u64::<F64>(nan, env));
    }
    check(zero, (i64::MIN, NV), |env| to_i64::<F64>(infinity | F64::SIGN, env));
    check(zero, (0, NV), |env| to_u64::<F64>(infinity | F64::SIGN, env));
    check(zero, (0, NX), |env| to_u32::<F64>(d(-0.9), env));
    check(Round::Down, (0, NV), |env| to_u32::<F64>(d(-0.1), env));
    check(zero, (0, NV), |env| to_u32::<F64>(d(-1.0), env));
    check(zero, (i32::MIN, NX), |env| to_i32::<F64>(d(-2_147_483_648.5), env));
    check(Round::Down, (i32::MIN, NV), |env| to_i32::<F64>(d(-2_147_483_648.5), env));
    check(zero, (i32::MAX, NV), |env| to_i32::<F64>(d(2_147_483_648.0), env));
    check(zero, (i64::MIN, none), |env| to_i64::<F64>(d(-9_223_372_036_854_775_808.0), env));
    check(zero, (u64::MAX, NV), |env| to_u64::<F64>(d(18_446_744_073_709_551_616.0), env));
}

#[test]
fn ties_go_to_even_or_away() {
    check(Round::NearestEven, (2, NX), |env| to_i32::<F32>(s(2.5), env));
    check(Round::NearestMaxMagnitude, (3, NX), |env| to_i32::<F32>(s(2.5), env));
    check(Round::NearestMaxMagnitude, (-3, NX), |env| to_i32::<F32>(s(-2.5), env));
    check(Round::NearestEven, (s(16_777_216.0), NX), |env| from_i32::<F32>(16_777_217, env));
    let away = |env: &mut Env| from_i32::<F32>(16_777_217, env);
    check(Round::NearestMaxMagnitude, (s(16_777_218.0), NX), away);
    check(Round::NearestEven, (F16::INFINITY, NX | Flags::OVERFLOW), |env| {
        from_i32::<F16>(65_520, env)
    });
}

#[test]
fn fround_keeps_the_sign_of_zero_and_only_froundnx_is_inexact() {
    check(Round::NearestEven, (s(-0.0), Flags::NONE), |env| round_to_integral::<F32>(s(-0.5), env));
    check(Round::NearestEven, (s(-0.0), NX), |env| round_to_integral_exact::<F32>(s(-0.5), env));
    check(Round::Up, (s(1.0), Flags::NONE), |env| round_to_integral::<F32>(1, env));
    check(Round::Zero, (NAN, NV), |env| round_to_integral::<F32>(SIGNALING, env));
}

#[test]
fn fcvtmod_wraps_and_flags_as_fcvt() {
    let any = Round::Up;
    check(any, (-1, NV), |env| to_i32_modular(d(4_294_967_295.0), env));
    check(any, (1, NV), |env| to_i32_modular(d(4_294_967_297.5), env));
    check(any, (i32::MIN, NV), |env| to_i32_modular(d(2_147_483_648.0), env));
    check(any, (-3, NX), |env| to_i32_modular(d(-3.75), env));
    check(any, (0, NV), |env| to_i32_modular(d(1e300), env));
    check(any, (0, NV), |env| to_i32_modular(d(f64::INFINITY), env));
    check(any, (0, NV), |env| to_i32_modular(F64::NAN, env));
}

#[test]
fn fclass_sets_one_of_ten_bits() {
    let negative = [F16::INFINITY, F16::ONE, 1, 0].map(|bits| classify::<F16>(bits | F16::SIGN));
    assert_eq!(negative.map(Class::riscv_mask), [1, 2, 4, 8]);
    let positive = [0, 1, F16::ONE, F16::INFINITY].map(classify::<F16>);
    assert_eq!(positive.map(Class::riscv_mask), [1 << 4, 1 << 5, 1 << 6, 1 << 7]);
    let nans = [F16::INFINITY | 1, F16::NAN].map(classify::<F16>);
    assert_eq!(nans.map(Class::riscv_mask), [1 << 8, 1 << 9]);
}

#[test]
fn constants_of_fli_are_the_same_numbers_in_all_formats() {
    let listed = [
        -1.0,
        0.0,
        2f64.powi(-16),
        2f64.powi(-15),
        2f64.powi(-8),
        2f64.powi(-7),
        0.0625,
        0.125,
        0.25,
        0.3125,
        0.375,
        0.4375,
        0.5,
        0.625,
        0.75,
        0.875,
        1.0,
        1.25,
        1.5,
        1.75,
        2.0,
        2.5,
        3.0,
        4.0,
        8.0,
        16.0,
        128.0,
        256.0,
        32_768.0,
        65_536.0,
        f64::INFINITY,
    ];
    let mut env = Env::riscv(Round::NearestEven, Flags::NONE);
    for (index, number) in listed.into_iter().enumerate().filter(|&(index, _)| index != 1) {
        assert_eq!(FLI_F64[index], number.to_bits());
        assert_eq!(u64::from(FLI_F32[index]), convert::<F64, F32>(d(number), &mut env));
        assert_eq!(u64::from(FLI_F16[index]), convert::<F64, F16>(d(number), &mut env));
    }
    // 2^16 in half precision is the only one that does not fit.
    assert_eq!(env.flags, Flags::OVERFLOW | NX);
    let smallest = [FLI_F16[1].into(), FLI_F32[1].into(), FLI_F64[1]];
    assert_eq!(smallest, [F16::MIN_NORMAL, F32::MIN_NORMAL, F64::MIN_NORMAL]);
    let nans = [FLI_F16[31].into(), FLI_F32[31].into(), FLI_F64[31]];
    assert_eq!(nans, [F16::NAN, F32::NAN, F64::NAN]);
}

#[test]
fn bits_above_the_format_do_not_matter() {
    let boxed = 0xffff_ffff_0000_0000;
    let mut env = Env::riscv(Round::NearestEven, Flags::NONE);
    for flags in [Flags::NONE, NX] {
        env.flags = flags;
        for (a, b) in [(s(1.5), s(-0.1)), (0, 0), (s(f32::INFINITY), s(1.0)), (1, MINUS)] {
            let [upper_a, upper_b] = [a | boxed, b | boxed];
            assert_eq!(add::<F32>(a, b, &mut env), add::<F32>(upper_a, upper_b, &mut env));
            assert_eq!(mul::<F32>(a, b, &mut env), mul::<F32>(upper_a, upper_b, &mut env));
            assert_eq!(div::<F32>(a, b, &mut env), div::<F32>(upper_a, upper_b, &mut env));
            assert_eq!(sqrt::<F32>(a, &mut env), sqrt::<F32>(upper_a, &mut env));
            let sums = [[a, b, a], [upper_a, upper_b, upper_a]]
                .map(|[a, b, c]| mul_add::<F32>(a, b, c, &mut env));
            assert_eq!(sums[0], sums[1]);
            let least = minimum_number::<F32>(a, b, &mut env);
            assert_eq!(least, minimum_number::<F32>(upper_a, upper_b, &mut env));
            let rounded = round_to_integral::<F32>(a, &mut env);
            assert_eq!(rounded, round_to_integral::<F32>(upper_a, &mut env));
            assert_eq!(to_i64::<F32>(a, &mut env), to_i64::<F32>(upper_a, &mut env));
            assert_eq!(classify::<F32>(a), classify::<F32>(upper_a));
            assert_eq!(eq::<F32>(a, b, &mut env), eq::<F32>(upper_a, upper_b, &mut env));
        }
    }
}
