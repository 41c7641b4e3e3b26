//! Integers of 128 bits (the wide-arithmetic proposal), as pairs of slots.
#![allow(clippy::wildcard_enum_match_arm, reason = "the other operators are translated elsewhere")]

use crate::code::Cold;
use crate::compile::{Compiler, TooLarge};
use crate::store::Store;
use crate::types::Value;
use wasmparser::Operator;

/// An operation that gives 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wide {
    Add,
    Sub,
    MulS,
    MulU,
}

impl Compiler<'_> {
    /// Translates what gives 128 bits; says whether it does.
    pub(crate) fn wide(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        let (wide, operands) = match operator {
            Operator::I64Add128 => (Wide::Add, 4),
            Operator::I64Sub128 => (Wide::Sub, 4),
            Operator::I64MulWideS => (Wide::MulS, 2),
            Operator::I64MulWideU => (Wide::MulU, 2),
            _ => return Ok(false),
        };
        self.cold(Cold::Wide(wide), operands, &[Value::I64, Value::I64])?;
        Ok(true)
    }
}

impl Store {
    /// Does an operation whose operands are in slots from the first on.
    pub(crate) fn wide(&mut self, wide: Wide, first: usize) {
        let slots = &mut self.state.stack[first..first + 4];
        let pair = |at: usize| u128::from(slots[at + 1]) << 64 | u128::from(slots[at]);
        let signed = |at: usize| i128::from(slots[at].cast_signed());
        let value = match wide {
            Wide::Add => pair(0).wrapping_add(pair(2)),
            Wide::Sub => pair(0).wrapping_sub(pair(2)),
            Wide::MulS => (signed(0) * signed(1)).cast_unsigned(),
            Wide::MulU => u128::from(slots[0]) * u128::from(slots[1]),
        };
        // The halves.
        (slots[0], slots[1]) = (value as u64, (value >> 64) as u64);
    }
}
