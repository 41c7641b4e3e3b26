//! Compares every operation with Berkeley TestFloat's generator, run as a child process.
//!
//! `cargo run --release --example testfloat -- PATH/testfloat_gen riscv|arm|x86 [LEVEL]`, with the
//! generator built for the same specialization (`SPECIALIZE_TYPE=RISCV` and so on).
#![allow(clippy::print_stdout, reason = "the comparison is what this program prints")]

use omni_softfloat::{
    Env, F16, F32, F64, Flags, Float, Round, add, convert, div, eq, from_i32, from_i64, from_u32,
    from_u64, le, le_quiet, lt, lt_quiet, mul, mul_add, round_to_integral, round_to_integral_exact,
    sqrt, sub, to_i32, to_i64, to_u32, to_u64,
};
use std::env::args;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

const DIRECTIONS: [(&str, Round); 5] = [
    ("-rnear_even", Round::NearestEven),
    ("-rminMag", Round::Zero),
    ("-rmin", Round::Down),
    ("-rmax", Round::Up),
    ("-rnear_maxMag", Round::NearestMaxMagnitude),
];

const ARITHMETIC: [&str; 14] = [
    "add",
    "sub",
    "mul",
    "div",
    "sqrt",
    "mulAdd",
    "roundToInt",
    "eq",
    "lt",
    "le",
    "lt_quiet",
    "le_quiet",
    "to_i32",
    "to_i64",
];

const CONVERSIONS: [&str; 20] = [
    "f16_to_ui32",
    "f16_to_ui64",
    "f32_to_ui32",
    "f32_to_ui64",
    "f64_to_ui32",
    "f64_to_ui64",
    "f16_to_f32",
    "f16_to_f64",
    "f32_to_f16",
    "f32_to_f64",
    "f64_to_f16",
    "f64_to_f32",
    "i32_to_f16",
    "i32_to_f32",
    "i64_to_f32",
    "i64_to_f64",
    "ui32_to_f32",
    "ui64_to_f16",
    "ui64_to_f32",
    "ui64_to_f64",
];

/// The operation of TestFloat's name on operands as they stand in a line of its output.
fn compute(name: &str, exact: bool, x: &[u64], env: &mut Env) -> Option<u64> {
    let (format, operation) = name.split_once('_')?;
    match format {
        "f16" => on_format::<F16>(operation, exact, x, env),
        "f32" => on_format::<F32>(operation, exact, x, env),
        "f64" => on_format::<F64>(operation, exact, x, env),
        source => match operation {
            "to_f16" => from_integer::<F16>(source, x[0], env),
            "to_f32" => from_integer::<F32>(source, x[0], env),
            _ => from_integer::<F64>(source, x[0], env),
        },
    }
}

fn from_integer<F: Float>(source: &str, x: u64, env: &mut Env) -> Option<u64> {
    Some(match source {
        "i32" => from_i32::<F>((x as u32).cast_signed(), env),
        "i64" => from_i64::<F>(x.cast_signed(), env),
        "ui32" => from_u32::<F>(x as u32, env),
        "ui64" => from_u64::<F>(x, env),
        _ => return None,
    })
}

fn on_format<F: Float>(operation: &str, exact: bool, x: &[u64], env: &mut Env) -> Option<u64> {
    Some(match operation {
        "add" => add::<F>(x[0], x[1], env),
        "sub" => sub::<F>(x[0], x[1], env),
        "mul" => mul::<F>(x[0], x[1], env),
        "div" => div::<F>(x[0], x[1], env),
        "sqrt" => sqrt::<F>(x[0], env),
        "mulAdd" => mul_add::<F>(x[0], x[1], x[2], env),
        "roundToInt" if exact => round_to_integral_exact::<F>(x[0], env),
        "roundToInt" => round_to_integral::<F>(x[0], env),
        "eq" => eq::<F>(x[0], x[1], env).into(),
        "lt" => lt::<F>(x[0], x[1], env).into(),
        "le" => le::<F>(x[0], x[1], env).into(),
        "lt_quiet" => lt_quiet::<F>(x[0], x[1], env).into(),
        "le_quiet" => le_quiet::<F>(x[0], x[1], env).into(),
        "to_i32" => to_i32::<F>(x[0], env).cast_unsigned().into(),
        "to_i64" => to_i64::<F>(x[0], env).cast_unsigned(),
        "to_ui32" => to_u32::<F>(x[0], env).into(),
        "to_ui64" => to_u64::<F>(x[0], env),
        "to_f16" => convert::<F, F16>(x[0], env),
        "to_f32" => convert::<F, F32>(x[0], env),
        "to_f64" => convert::<F, F64>(x[0], env),
        _ => return None,
    })
}

/// Compares one operation in one direction; gives the numbers of cases and of differences.
fn compare(
    generator: &str,
    level: &str,
    name: &str,
    (option, round): (&str, Round),
    start: Env,
) -> Result<(u64, u64), Box<dyn Error>> {
    let tininess = match start.tininess {
        omni_softfloat::Tininess::AfterRounding => "-tininessafter",
        omni_softfloat::Tininess::BeforeRounding => "-tininessbefore",
    };
    let mut child = Command::new(generator)
        .args(["-level", level, option, tininess, "-exact", name])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take().ok_or("the generator has no output")?;
    let (mut cases, mut differences) = (0, 0);
    let mut numbers = Vec::with_capacity(5);
    for line in BufReader::new(output).lines() {
        let line = line?;
        numbers.clear();
        for word in line.split_ascii_whitespace() {
            numbers.push(u64::from_str_radix(word, 16)?);
        }
        let [operands @ .., expected, flags] = numbers.as_slice() else {
            return Err(format!("{name}: {line}").into());
        };
        // Once from nothing, once with the flag that lets the host compute.
        for accrued in [Flags::NONE, Flags::INEXACT] {
            let mut env = Env { round, flags: accrued, ..start };
            let Some(result) = compute(name, true, operands, &mut env) else { return Ok((0, 0)) };
            let flags = Flags(u8::try_from(*flags)?) | accrued;
            if (result, env.flags) != (*expected, flags) {
                differences += 1;
                if differences <= 3 {
                    println!("{name} {option} {accrued:?}: {line}: {result:x} {:x}", env.flags.0);
                }
            }
        }
        cases += 1;
    }
    child.wait()?;
    Ok((cases, differences))
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let usage = "testfloat PATH/testfloat_gen riscv|arm|x86 [LEVEL]";
    let generator = args().nth(1).ok_or(usage)?;
    let env = match args().nth(2).as_deref() {
        Some("riscv") => Env::riscv(Round::NearestEven, Flags::NONE),
        Some("arm") => Env::arm(Round::NearestEven, false, Flags::NONE),
        Some("x86") => Env::x86_sse(Round::NearestEven, Flags::NONE),
        Some(_) | None => return Err(usage.into()),
    };
    let level = args().nth(3).unwrap_or_else(|| String::from("1"));
    let arithmetic =
        ["f16", "f32", "f64"].iter().flat_map(|f| ARITHMETIC.map(|name| format!("{f}_{name}")));
    let (mut cases, mut differences) = (0, 0);
    for name in arithmetic.chain(CONVERSIONS.map(String::from)) {
        for direction in DIRECTIONS {
            let (more_cases, more) = compare(&generator, &level, &name, direction, env)?;
            cases += more_cases;
            differences += more;
        }
    }
    println!("{cases} cases, {differences} differences");
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
