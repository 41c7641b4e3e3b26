//! IEEE 754-2019 arithmetic in integers, with every guest's NaN rules and exact flags.
//!
//! Operations are functions over a [`Float`] format; operands and results are bits in a `u64`.
//! Rounding direction, NaN rule and accrued flags are in an [`Env`].
//!
//! ```
//! use omni_softfloat::{Env, F64, Flags, Round, div};
//!
//! let mut env = Env::riscv(Round::NearestEven, Flags::NONE);
//! let third = div::<F64>(1f64.to_bits(), 3f64.to_bits(), &mut env);
//! assert_eq!((third, env.flags), ((1.0f64 / 3.0).to_bits(), Flags::INEXACT));
//! ```
//!
//! Architecture invariant: results and flags are a function of the operands and the [`Env`]
//! alone, on every host; the host's arithmetic is used only where it cannot be told apart.

mod add;
mod classify;
mod compare;
mod convert;
mod div;
mod env;
mod format;
mod from_integer;
mod fused;
mod host;
mod min_max;
mod mul;
mod nan;
mod pack;
mod round;
mod sqrt;
mod to_integer;
mod zfa;

pub use add::{add, sub};
pub use classify::{Class, classify};
pub use compare::{eq, le, le_quiet, lt, lt_quiet};
pub use convert::convert;
pub use div::div;
pub use env::{Env, Flags, NanRule, Round, Tininess};
pub use format::{F16, F32, F64, Float, is_nan, is_signaling};
pub use from_integer::{from_i32, from_i64, from_u32, from_u64};
pub use fused::mul_add;
pub use min_max::{maximum, maximum_number, minimum, minimum_number};
pub use mul::mul;
pub use round::{round_to_integral, round_to_integral_exact};
pub use sqrt::sqrt;
pub use to_integer::{to_i32, to_i64, to_u32, to_u64};
pub use zfa::{FLI_F16, FLI_F32, FLI_F64, to_i32_modular};
