//! Arithmetic, comparison and rounding to integral against the oracle.

use crate::apfloat::{Known, Op, arithmetic, direction};
use crate::check;
use crate::operands::{Stream, cases};
use omni_softfloat::{
    Env, F16, F32, F64, Flags, Round, Tininess, add, div, eq, is_nan, is_signaling, le, le_quiet,
    lt, lt_quiet, mul, mul_add, round_to_integral, round_to_integral_exact, sub,
};
use rustc_apfloat::Float as _;
use std::cmp::Ordering;

fn apply<F: Known>(op: Op, [a, b, c]: [u64; 3], env: &mut Env) -> u64 {
    match op {
        Op::Add => add::<F>(a, b, env),
        Op::Sub => sub::<F>(a, b, env),
        Op::Mul => mul::<F>(a, b, env),
        Op::Div => div::<F>(a, b, env),
        Op::MulAdd => mul_add::<F>(a, b, c, env),
    }
}

fn check_arithmetic<F: Known>(test: u64) {
    let mut stream = Stream::new(test);
    for case in 0..cases(12_000) {
        let operands = stream.operands::<F>();
        let tininess =
            if case % 4 == 0 { Tininess::BeforeRounding } else { Tininess::AfterRounding };
        for op in Op::ALL {
            for round in Round::ALL {
                let expected = arithmetic::<F>(op, operands, round, tininess);
                let operation = |env: &mut Env| apply::<F>(op, operands, env);
                check(round, tininess, expected, operation, || format!("{op:?} {operands:x?}"));
            }
        }
    }
}

#[test]
fn half_arithmetic_is_exact_to_the_bit_and_flag() {
    check_arithmetic::<F16>(16);
}

#[test]
fn single_arithmetic_is_exact_to_the_bit_and_flag() {
    check_arithmetic::<F32>(32);
}

#[test]
fn double_arithmetic_is_exact_to_the_bit_and_flag() {
    check_arithmetic::<F64>(64);
}

type Predicate = fn(u64, u64, &mut Env) -> bool;

fn check_comparison<F: Known>(test: u64) {
    let mut stream = Stream::new(test);
    for _ in 0..cases(20_000) {
        let [a, b, _] = stream.operands::<F>();
        let [x, y] = [a, b].map(|bits| F::Ap::from_bits(bits.into()));
        let order = x.partial_cmp(&y);
        assert_eq!(order.is_none(), is_nan::<F>(a) || is_nan::<F>(b));
        let invalid = |raised: bool| if raised { Flags::INVALID } else { Flags::NONE };
        let any = invalid(order.is_none());
        let signaling = invalid(is_signaling::<F>(a) || is_signaling::<F>(b));
        let (less, equal) = (order == Some(Ordering::Less), order == Some(Ordering::Equal));
        let rows: [(bool, Flags, Predicate); 5] = [
            (equal, signaling, eq::<F>),
            (less, any, lt::<F>),
            (less || equal, any, le::<F>),
            (less, signaling, lt_quiet::<F>),
            (less || equal, signaling, le_quiet::<F>),
        ];
        for (expected, flags, predicate) in rows {
            let operation = |env: &mut Env| predicate(a, b, env);
            let case = || format!("{a:x} {b:x}");
            check(Round::Up, Tininess::AfterRounding, (expected, flags), operation, case);
        }
    }
}

#[test]
fn comparison_orders_numbers_and_flags_nans() {
    check_comparison::<F16>(1);
    check_comparison::<F32>(2);
    check_comparison::<F64>(3);
}

fn check_rounding<F: Known>(test: u64) {
    let mut stream = Stream::new(test);
    for _ in 0..cases(20_000) {
        let a = stream.operand::<F>();
        for round in Round::ALL {
            let (expected, flags) = if is_nan::<F>(a) {
                (F::NAN, if is_signaling::<F>(a) { Flags::INVALID } else { Flags::NONE })
            } else {
                let rounded = F::Ap::from_bits(a.into()).round_to_integral(direction(round));
                (rounded.value.to_bits() as u64, Flags::NONE)
            };
            let case = || format!("{a:x}");
            let quiet = |env: &mut Env| round_to_integral::<F>(a, env);
            check(round, Tininess::AfterRounding, (expected, flags), quiet, case);
            let inexact = !is_nan::<F>(a) && expected != a;
            let flags = flags | if inexact { Flags::INEXACT } else { Flags::NONE };
            let exact = |env: &mut Env| round_to_integral_exact::<F>(a, env);
            check(round, Tininess::AfterRounding, (expected, flags), exact, case);
        }
    }
}

#[test]
fn rounding_to_integral_keeps_the_format_and_tells_of_change_only_if_asked() {
    check_rounding::<F16>(4);
    check_rounding::<F32>(5);
    check_rounding::<F64>(6);
}

#[test]
fn results_to_nearest_are_those_of_the_host() {
    let mut stream = Stream::new(7);
    for _ in 0..cases(100_000) {
        let [a, b, _] = stream.operands::<F64>();
        let mut env = Env::default();
        let [x, y] = [a, b].map(f64::from_bits);
        same_f64(add::<F64>(a, b, &mut env), x + y);
        same_f64(sub::<F64>(a, b, &mut env), x - y);
        same_f64(mul::<F64>(a, b, &mut env), x * y);
        env.flags = Flags::NONE;
        same_f64(div::<F64>(a, b, &mut env), x / y);
        let [a, b, _] = stream.operands::<F32>();
        let [x, y] = [a, b].map(|bits| f32::from_bits(bits as u32));
        env.flags = Flags::NONE;
        same_f32(add::<F32>(a, b, &mut env), x + y);
        env.flags = Flags::NONE;
        same_f32(mul::<F32>(a, b, &mut env), x * y);
        env.flags = Flags::NONE;
        same_f32(div::<F32>(a, b, &mut env), x / y);
    }
}

fn same_f64(ours: u64, host: f64) {
    assert_eq!(ours, if host.is_nan() { F64_NAN } else { host.to_bits() });
}

fn same_f32(ours: u64, host: f32) {
    assert_eq!(ours, if host.is_nan() { F32_NAN } else { host.to_bits().into() });
}

const F64_NAN: u64 = 0x7ff8_0000_0000_0000;
const F32_NAN: u64 = 0x7fc0_0000;
