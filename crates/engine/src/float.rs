//! Floating-point operations of the IR, in terms of the soft float library.

use crate::NanRule;
use omni_ir::{FloatOp, Format};
use omni_softfloat as sf;
use omni_softfloat::{Env, F16, F32, F64, Flags, Float, Round, Tininess};

/// What an operation needs besides its operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatRules {
    pub(crate) nan: NanRule,
}

impl FloatRules {
    /// Runs one operation; gives the result and the flags, which include `flags`.
    ///
    /// A rounding mode that does not exist is taken as the default one: front-ends let no
    /// instruction with such a mode through.
    pub(crate) fn eval(
        self,
        (op, format): (FloatOp, Format),
        args: [u64; 3],
        round: u64,
        flags: u64,
    ) -> (u64, u64) {
        let tininess = match self.nan {
            NanRule::Arm { .. } => Tininess::BeforeRounding,
            NanRule::RiscV | NanRule::X86Sse => Tininess::AfterRounding,
        };
        let round = u8::try_from(round).ok().and_then(Round::from_riscv).unwrap_or_default();
        let flags = Flags((flags & 0x1f) as u8);
        let mut env = Env { round, nan: self.nan, tininess, flags };
        let value = match format {
            Format::F16 => eval::<F16>(op, args, &mut env),
            Format::F32 => eval::<F32>(op, args, &mut env),
            Format::F64 => eval::<F64>(op, args, &mut env),
        };
        (value, u64::from(env.flags.0))
    }
}

fn eval<F: Float>(op: FloatOp, [a, b, c]: [u64; 3], env: &mut Env) -> u64 {
    let signed = |value: i32| i64::from(value).cast_unsigned();
    match op {
        FloatOp::Add => sf::add::<F>(a, b, env),
        FloatOp::Sub => sf::sub::<F>(a, b, env),
        FloatOp::Mul => sf::mul::<F>(a, b, env),
        FloatOp::Div => sf::div::<F>(a, b, env),
        FloatOp::Sqrt => sf::sqrt::<F>(a, env),
        FloatOp::MulAdd => sf::mul_add::<F>(a, b, c, env),
        FloatOp::MinNumber => sf::minimum_number::<F>(a, b, env),
        FloatOp::MaxNumber => sf::maximum_number::<F>(a, b, env),
        FloatOp::Minimum => sf::minimum::<F>(a, b, env),
        FloatOp::Maximum => sf::maximum::<F>(a, b, env),
        FloatOp::EqQuiet => u64::from(sf::eq::<F>(a, b, env)),
        FloatOp::LtSignal => u64::from(sf::lt::<F>(a, b, env)),
        FloatOp::LeSignal => u64::from(sf::le::<F>(a, b, env)),
        FloatOp::LtQuiet => u64::from(sf::lt_quiet::<F>(a, b, env)),
        FloatOp::LeQuiet => u64::from(sf::le_quiet::<F>(a, b, env)),
        FloatOp::Class => sf::classify::<F>(a).riscv_mask(),
        FloatOp::ToFloat(Format::F16) => sf::convert::<F, F16>(a, env),
        FloatOp::ToFloat(Format::F32) => sf::convert::<F, F32>(a, env),
        FloatOp::ToFloat(Format::F64) => sf::convert::<F, F64>(a, env),
        FloatOp::ToI32 => signed(sf::to_i32::<F>(a, env)),
        FloatOp::ToU32 => signed(sf::to_u32::<F>(a, env).cast_signed()),
        FloatOp::ToI64 => sf::to_i64::<F>(a, env).cast_unsigned(),
        FloatOp::ToU64 => sf::to_u64::<F>(a, env),
        FloatOp::FromI32 => sf::from_i32::<F>((a as u32).cast_signed(), env),
        FloatOp::FromU32 => sf::from_u32::<F>(a as u32, env),
        FloatOp::FromI64 => sf::from_i64::<F>(a.cast_signed(), env),
        FloatOp::FromU64 => sf::from_u64::<F>(a, env),
        FloatOp::Round => sf::round_to_integral::<F>(a, env),
        FloatOp::RoundExact => sf::round_to_integral_exact::<F>(a, env),
        FloatOp::ToI32Modular => signed(sf::to_i32_modular(a, env)),
    }
}
