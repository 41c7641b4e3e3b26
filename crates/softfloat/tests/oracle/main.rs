//! Every operation against independent ones, over operands biased to edges.
//!
//! `OMNI_CASES=100 cargo test --release -p omni-softfloat` tries a hundred times as many.

mod apfloat;
mod arithmetic;
mod conversions;
mod operands;
mod roots;

use omni_softfloat::{Env, Flags, Round, Tininess};

/// Runs `operation` with and without the flag that lets the host compute; both must agree with
/// what is expected.
fn check<T: Copy + Eq + std::fmt::Debug>(
    round: Round,
    tininess: Tininess,
    expected: (T, Flags),
    operation: impl Fn(&mut Env) -> T,
    case: impl Fn() -> String,
) {
    for accrued in [Flags::NONE, Flags::INEXACT] {
        let mut env = Env { tininess, ..Env::riscv(round, accrued) };
        let result = operation(&mut env);
        let expected = (expected.0, expected.1 | accrued);
        assert_eq!((result, env.flags), expected, "{} {round:?} {tininess:?}", case());
    }
}
