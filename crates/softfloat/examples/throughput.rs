//! Prints the time of each operation: in integers, and where the host may compute.
#![allow(clippy::print_stdout, reason = "the figures are what this program prints")]

use omni_softfloat::{
    Env, F16, F32, F64, Flags, Float, Round, add, convert, div, from_i64, le, minimum_number, mul,
    mul_add, round_to_integral, sqrt, sub, to_i64,
};
use std::hint::black_box;
use std::time::Instant;

const OPERANDS: usize = 1024;
const ROUNDS: u32 = 4_000;

type Operation = fn(u64, u64, u64, &mut Env) -> u64;

/// Nanoseconds per operation over normal numbers of like size.
fn measure(operation: Operation, operands: &[u64; OPERANDS], flags: Flags) -> f64 {
    let mut env = Env::riscv(Round::NearestEven, flags);
    let mut sum = 0u64;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        for index in 0..OPERANDS {
            let [a, b, c] =
                [index, index * 7 + 1, index * 3 + 5].map(|index| operands[index % OPERANDS]);
            env.flags = black_box(flags);
            sum = sum.wrapping_add(operation(a, b, c, &mut env));
        }
    }
    black_box(sum);
    start.elapsed().as_nanos() as f64 / f64::from(ROUNDS) / OPERANDS as f64
}

fn format<F: Float>(name: &str) {
    let mut state = 1u64;
    let operands = std::array::from_fn(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        // Exponents from -4 to 3, as numbers in programs have.
        let exponent = F::ONE - 4 * F::MIN_NORMAL + (state >> 61) * F::MIN_NORMAL;
        exponent | state >> 8 & F::FRAC
    });
    let operations: [(&str, Operation); 12] = [
        ("add", |a, b, _, env| add::<F>(a, b, env)),
        ("sub", |a, b, _, env| sub::<F>(a, b, env)),
        ("mul", |a, b, _, env| mul::<F>(a, b, env)),
        ("div", |a, b, _, env| div::<F>(a, b, env)),
        ("sqrt", |a, _, _, env| sqrt::<F>(a, env)),
        ("mul_add", |a, b, c, env| mul_add::<F>(a, b, c, env)),
        ("le", |a, b, _, env| le::<F>(a, b, env).into()),
        ("minimum_number", |a, b, _, env| minimum_number::<F>(a, b, env)),
        ("convert to F32", |a, _, _, env| convert::<F, F32>(a, env)),
        ("from_i64", |a, _, _, env| from_i64::<F>(a.cast_signed(), env)),
        ("to_i64", |a, _, _, env| to_i64::<F>(a, env).cast_unsigned()),
        ("round_to_integral", |a, _, _, env| round_to_integral::<F>(a, env)),
    ];
    for (operation_name, operation) in operations {
        let integers = measure(operation, &operands, Flags::NONE);
        let host = measure(operation, &operands, Flags::INEXACT);
        println!("{name} {operation_name:18} {integers:6.1} ns {host:6.1} ns");
    }
}

fn main() {
    println!("{:22} integers      host", "");
    format::<F16>("F16");
    format::<F32>("F32");
    format::<F64>("F64");
}
