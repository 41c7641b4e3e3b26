//! Where Arm and x86 differ: NaNs, impossible integers, fused operations.

use omni_softfloat::{
    Env, F32, F64, Flags, Float, Round, add, convert, div, maximum, minimum_number, mul_add, sub,
    to_i32, to_u32, to_u64,
};

const NV: Flags = Flags::INVALID;
const NONE: Flags = Flags::NONE;
const SIGNALING: u64 = F64::INFINITY | 0x11;
const QUIET: u64 = F64::NAN | F64::SIGN | 0x22;
const ONE: u64 = F64::ONE;

fn arm() -> Env {
    Env::arm(Round::NearestEven, false, NONE)
}

fn x86() -> Env {
    Env::x86_sse(Round::NearestEven, NONE)
}

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    mut env: Env,
    expected: (T, Flags),
    operation: impl Fn(&mut Env) -> T,
) {
    let result = operation(&mut env);
    assert_eq!((result, env.flags), expected);
}

#[test]
fn arm_takes_a_signaling_operand_before_a_quiet_one() {
    let quieted = SIGNALING | F64::QUIET;
    check(arm(), (quieted, NV), |env| add::<F64>(QUIET, SIGNALING, env));
    check(arm(), (QUIET, NONE), |env| add::<F64>(QUIET, F64::NAN, env));
    check(arm(), (QUIET, NONE), |env| sub::<F64>(ONE, QUIET, env));
    let mut default_nan = arm();
    default_nan.nan = Env::arm(Round::NearestEven, true, NONE).nan;
    check(default_nan, (F64::NAN, NONE), |env| add::<F64>(QUIET, ONE, env));
}

#[test]
fn x86_takes_the_first_nan_and_makes_negative_ones() {
    check(x86(), (QUIET, NV), |env| add::<F64>(QUIET, SIGNALING, env));
    check(x86(), (SIGNALING | F64::QUIET, NV), |env| add::<F64>(SIGNALING, QUIET, env));
    check(x86(), (F64::NAN | F64::SIGN, NV), |env| div::<F64>(0, 0, env));
}

#[test]
fn arm_looks_at_the_addend_of_a_fused_operation_first() {
    let infinity = F64::INFINITY;
    check(arm(), (QUIET, NONE), |env| mul_add::<F64>(F64::NAN, ONE, QUIET, env));
    check(arm(), (F64::NAN, NV), |env| mul_add::<F64>(infinity, 0, QUIET, env));
    let quieted = SIGNALING | F64::QUIET;
    check(arm(), (quieted, NV), |env| mul_add::<F64>(infinity, 0, SIGNALING, env));
}

#[test]
fn x86_lets_a_quiet_addend_hide_an_impossible_product() {
    let infinity = F64::INFINITY;
    check(x86(), (QUIET, NONE), |env| mul_add::<F64>(infinity, 0, QUIET, env));
    check(x86(), (F64::NAN, NONE), |env| mul_add::<F64>(F64::NAN, ONE, QUIET, env));
    check(x86(), (F64::NAN | F64::SIGN, NV), |env| mul_add::<F64>(infinity, 0, ONE, env));
}

#[test]
fn payloads_keep_their_upper_end_when_formats_change() {
    let nan = F64::NAN | F64::SIGN | 0x1234 << 29 | 5;
    for env in [arm(), x86()] {
        check(env, (0xffc0_1234, NONE), |env| convert::<F64, F32>(nan, env));
        let narrow = 0x7f80_0001;
        let wide = F64::NAN | 1 << 29;
        check(env, (wide, NV), |env| convert::<F32, F64>(narrow, env));
    }
}

#[test]
fn arm_prefers_a_number_to_a_quiet_nan_only() {
    check(arm(), (ONE, NONE), |env| minimum_number::<F64>(QUIET, ONE, env));
    let quieted = SIGNALING | F64::QUIET;
    check(arm(), (quieted, NV), |env| minimum_number::<F64>(SIGNALING, ONE, env));
    check(arm(), (QUIET, NONE), |env| maximum::<F64>(ONE, QUIET, env));
}

#[test]
fn impossible_integers_are_each_guests_own() {
    let big = 1e30f64.to_bits();
    check(arm(), (0, NV), |env| to_i32::<F64>(QUIET, env));
    check(arm(), (i32::MIN, NV), |env| to_i32::<F64>(big | F64::SIGN, env));
    check(arm(), (u64::MAX, NV), |env| to_u64::<F64>(big, env));
    check(x86(), (i32::MIN, NV), |env| to_i32::<F64>(QUIET, env));
    check(x86(), (i32::MIN, NV), |env| to_i32::<F64>(big, env));
    check(x86(), (u32::MAX, NV), |env| to_u32::<F64>(big | F64::SIGN, env));
}
