//! Atomic accesses of memory (the threads proposal), as they are where one thread runs.
#![allow(clippy::wildcard_enum_match_arm, reason = "the other operators are translated elsewhere")]

use crate::code::Cold;
use crate::cold::Step;
use crate::compile::{Compiler, TooLarge};
use crate::store::Store;
use crate::trap::Trap;
use crate::types::Value;
use omni_base::Gpa;
use wasmparser::{MemArg, Operator};

/// An atomic access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Atomic {
    op: AtomicOp,
    /// Bytes that it accesses; its address is a multiple of them.
    bytes: u8,
    /// The number of the memory in the store.
    memory: u32,
    offset: u64,
}

/// What an atomic access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum AtomicOp {
    Load,
    Store,
    Add,
    Sub,
    And,
    Or,
    Xor,
    Exchange,
    Compare,
    Notify,
    Wait,
}

impl AtomicOp {
    /// Operands, and whether there is a result.
    fn shape(self) -> (usize, bool) {
        match self {
            Self::Load => (1, true),
            Self::Store => (2, false),
            Self::Compare | Self::Wait => (3, true),
            Self::Add | Self::Sub | Self::And | Self::Or | Self::Xor => (2, true),
            Self::Exchange | Self::Notify => (2, true),
        }
    }
}

/// What `wait` gives.
const NOT_EQUAL: u64 = 1;
const TIMED_OUT: u64 = 2;

/// Ticks of a wait without an end, which nothing can end while one thread runs.
const FOR_EVER: u64 = 1 << 61;

macro_rules! atomics {
    ($($name:ident $op:ident $bytes:literal;)*) => {
        /// The access that an operator is.
        fn access<'a>(operator: &'a Operator<'_>) -> Option<(AtomicOp, u8, &'a MemArg)> {
            Some(match operator {
                $(Operator::$name { memarg } => (AtomicOp::$op, $bytes, memarg),)*
                _ => return None,
            })
        }
    };
}
atomics! {
    I32AtomicLoad Load 4;
    I64AtomicLoad Load 8;
    I32AtomicLoad8U Load 1;
    I32AtomicLoad16U Load 2;
    I64AtomicLoad8U Load 1;
    I64AtomicLoad16U Load 2;
    I64AtomicLoad32U Load 4;
    I32AtomicStore Store 4;
    I64AtomicStore Store 8;
    I32AtomicStore8 Store 1;
    I32AtomicStore16 Store 2;
    I64AtomicStore8 Store 1;
    I64AtomicStore16 Store 2;
    I64AtomicStore32 Store 4;
    I32AtomicRmwAdd Add 4;
    I64AtomicRmwAdd Add 8;
    I32AtomicRmw8AddU Add 1;
    I32AtomicRmw16AddU Add 2;
    I64AtomicRmw8AddU Add 1;
    I64AtomicRmw16AddU Add 2;
    I64AtomicRmw32AddU Add 4;
    I32AtomicRmwSub Sub 4;
    I64AtomicRmwSub Sub 8;
    I32AtomicRmw8SubU Sub 1;
    I32AtomicRmw16SubU Sub 2;
    I64AtomicRmw8SubU Sub 1;
    I64AtomicRmw16SubU Sub 2;
    I64AtomicRmw32SubU Sub 4;
    I32AtomicRmwAnd And 4;
    I64AtomicRmwAnd And 8;
    I32AtomicRmw8AndU And 1;
    I32AtomicRmw16AndU And 2;
    I64AtomicRmw8AndU And 1;
    I64AtomicRmw16AndU And 2;
    I64AtomicRmw32AndU And 4;
    I32AtomicRmwOr Or 4;
    I64AtomicRmwOr Or 8;
    I32AtomicRmw8OrU Or 1;
    I32AtomicRmw16OrU Or 2;
    I64AtomicRmw8OrU Or 1;
    I64AtomicRmw16OrU Or 2;
    I64AtomicRmw32OrU Or 4;
    I32AtomicRmwXor Xor 4;
    I64AtomicRmwXor Xor 8;
    I32AtomicRmw8XorU Xor 1;
    I32AtomicRmw16XorU Xor 2;
    I64AtomicRmw8XorU Xor 1;
    I64AtomicRmw16XorU Xor 2;
    I64AtomicRmw32XorU Xor 4;
    I32AtomicRmwXchg Exchange 4;
    I64AtomicRmwXchg Exchange 8;
    I32AtomicRmw8XchgU Exchange 1;
    I32AtomicRmw16XchgU Exchange 2;
    I64AtomicRmw8XchgU Exchange 1;
    I64AtomicRmw16XchgU Exchange 2;
    I64AtomicRmw32XchgU Exchange 4;
    I32AtomicRmwCmpxchg Compare 4;
    I64AtomicRmwCmpxchg Compare 8;
    I32AtomicRmw8CmpxchgU Compare 1;
    I32AtomicRmw16CmpxchgU Compare 2;
    I64AtomicRmw8CmpxchgU Compare 1;
    I64AtomicRmw16CmpxchgU Compare 2;
    I64AtomicRmw32CmpxchgU Compare 4;
    MemoryAtomicNotify Notify 4;
    MemoryAtomicWait32 Wait 4;
    MemoryAtomicWait64 Wait 8;
}

impl Compiler<'_> {
    /// Translates what is atomic; says whether it is.
    pub(crate) fn atomic(&mut self, operator: &Operator<'_>) -> Result<bool, TooLarge> {
        if matches!(operator, Operator::AtomicFence { .. }) {
            return Ok(true);
        }
        let Some((op, bytes, memarg)) = access(operator) else { return Ok(false) };
        let memory = self.memory(memarg).number;
        let (operands, gives) = op.shape();
        let results: &[Value] = if gives { &[Value::I64] } else { &[] };
        let atomic = Atomic { op, bytes, memory, offset: memarg.offset };
        self.cold(Cold::Atomic(atomic), operands, results)?;
        Ok(true)
    }
}

/// The low bytes of a value.
fn narrow(value: u64, bytes: u8) -> u64 {
    value & (u64::MAX >> (64 - 8 * u32::from(bytes)))
}

impl Store {
    /// Does an atomic access, whose operands are in slots from the first on.
    pub(crate) fn atomic(&mut self, atomic: Atomic, first: usize) -> Result<Step, Trap> {
        let Atomic { op, bytes, memory, offset } = atomic;
        let operand = |nth: usize| self.state.stack[first + nth];
        let at = operand(0).checked_add(offset).ok_or(Trap::Memory)?;
        if !at.is_multiple_of(bytes.into()) {
            return Err(Trap::Unaligned);
        }
        let (one, two) = (operand(1), operand(2));
        let count = usize::from(bytes);
        let mut read = [0; 8];
        self.check_memory(memory, at, bytes.into())?;
        let space = &mut self.memory.spaces[memory as usize];
        space.read(Gpa(at), &mut read[..count]).map_err(|_| Trap::Damage)?;
        let old = u64::from_le_bytes(read);
        let new = match op {
            AtomicOp::Load | AtomicOp::Notify | AtomicOp::Wait => None,
            AtomicOp::Store | AtomicOp::Exchange => Some(one),
            AtomicOp::Add => Some(old.wrapping_add(one)),
            AtomicOp::Sub => Some(old.wrapping_sub(one)),
            AtomicOp::And => Some(old & one),
            AtomicOp::Or => Some(old | one),
            AtomicOp::Xor => Some(old ^ one),
            // What is expected is as narrow as what is compared with it.
            AtomicOp::Compare => (old == narrow(one, bytes)).then_some(two),
        };
        if let Some(new) = new {
            let written = space.store(Gpa(at), &new.to_le_bytes()[..count]);
            written.map_err(|_| Trap::Damage)?;
        }
        let result = match op {
            AtomicOp::Store => return Ok(Step::Done),
            // Nobody waits.
            AtomicOp::Notify => 0,
            AtomicOp::Wait => {
                if !self.externs.memories[memory as usize].shared {
                    return Err(Trap::ExpectedShared);
                }
                match old == one {
                    false => NOT_EQUAL,
                    true if two == 0 => TIMED_OUT,
                    true => {
                        // Tried again when the time is over, which is noted as no time left.
                        self.state.stack[first + 2] = 0;
                        let ticks = two / self.ns_per_tick.max(1);
                        let endless = two.cast_signed() < 0;
                        let ticks = if endless { FOR_EVER } else { ticks.clamp(1, FOR_EVER) };
                        return Ok(Step::Later(ticks));
                    }
                }
            }
            _ => old,
        };
        self.state.stack[first] = result;
        Ok(Step::Done)
    }
}
