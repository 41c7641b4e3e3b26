//! Square roots against the definition, since the oracle has none.

use crate::apfloat::Known;
use crate::check;
use crate::operands::{Stream, cases};
use omni_softfloat::{F16, F32, F64, Flags, Round, Tininess, is_nan, is_signaling, sqrt};

/// The root of positive finite bits by bisection over all representable numbers: the last number
/// whose square is not above, then the direction's choice between it and the next.
fn expected<F: Known>(a: u64, round: Round) -> (u64, Flags) {
    let (mut low, mut high) = (0, F::INFINITY);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if square_is_at_most::<F>(middle, 0, a) { low = middle } else { high = middle }
    }
    if square_is_at_most::<F>(low, 0, a) && square_is_at_least::<F>(low, a) {
        return (low, Flags::NONE);
    }
    // The midpoint of two neighbours is never a root: its square has too many bits.
    let nearest = if square_is_at_most::<F>(low, 1, a) { high } else { low };
    let root = match round {
        Round::NearestEven | Round::NearestMaxMagnitude => nearest,
        Round::Zero | Round::Down => low,
        Round::Up => high,
    };
    (root, Flags::INEXACT)
}

/// Twice the significand plus `half`, and the power of two of its last place.
fn number<F: Known>(bits: u64, half: u64) -> (u128, i64) {
    let exp = (bits >> F::FRAC_BITS).cast_signed();
    let significand = bits & F::FRAC | if exp == 0 { 0 } else { F::MIN_NORMAL };
    (u128::from(2 * significand + half), exp.max(1) - F::BIAS - i64::from(F::FRAC_BITS) - 1)
}

/// Whether `(root + half a place)^2 <= a`.
fn square_is_at_most<F: Known>(root: u64, half: u64, a: u64) -> bool {
    compare::<F>(root, half, a).is_le()
}

fn square_is_at_least<F: Known>(root: u64, a: u64) -> bool {
    compare::<F>(root, 0, a).is_ge()
}

fn compare<F: Known>(root: u64, half: u64, a: u64) -> std::cmp::Ordering {
    let (root, root_power) = number::<F>(root, half);
    let (a, power) = number::<F>(a, 0);
    let (square, square_power) = (root * root, 2 * root_power);
    if square == 0 {
        return 0.cmp(&a);
    }
    // By the place of the leading one first, then by the aligned digits.
    let top = |value: u128, power: i64| i64::from(value.ilog2()) + power;
    let aligned = |value: u128| value << value.leading_zeros();
    (top(square, square_power), aligned(square)).cmp(&(top(a, power), aligned(a)))
}

fn check_roots<F: Known>(test: u64) {
    let mut stream = Stream::new(test);
    for _ in 0..cases(6_000) {
        let a = stream.operand::<F>();
        for round in Round::ALL {
            let expected = if is_nan::<F>(a) {
                (F::NAN, if is_signaling::<F>(a) { Flags::INVALID } else { Flags::NONE })
            } else if a & !F::SIGN == 0 || a == F::INFINITY {
                (a, Flags::NONE)
            } else if a & F::SIGN != 0 {
                (F::NAN, Flags::INVALID)
            } else {
                expected::<F>(a, round)
            };
            let case = || format!("{a:x}");
            check(round, Tininess::AfterRounding, expected, |env| sqrt::<F>(a, env), case);
        }
    }
}

#[test]
fn roots_are_the_neighbours_that_the_direction_asks_for() {
    check_roots::<F16>(1);
    check_roots::<F32>(2);
    check_roots::<F64>(3);
}

#[test]
fn roots_of_squares_are_exact() {
    let mut stream = Stream::new(4);
    for _ in 0..cases(20_000) {
        let root = (stream.next() >> 38) as f64 + 1.0;
        let square = (root * root).to_bits();
        let expected = (root.to_bits(), Flags::NONE);
        for round in Round::ALL {
            let case = || format!("{square:x}");
            check(round, Tininess::AfterRounding, expected, |env| sqrt::<F64>(square, env), case);
        }
    }
}
