//! A function in the register form, and what it was made from.

use crate::atomics::Atomic;
use crate::objects::Gc;
use crate::ops::Insn;
use crate::vector::Vector;
use crate::wide::Wide;

/// Slots of a frame: as many as a register's number can name.
pub(crate) const FRAME_SLOTS: usize = 1 << 16;

/// A function that can be run. All of it is a function of its module and of this build.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) insns: Vec<Insn>,
    /// The instructions of the module that are done once one of these is, counted from the start
    /// of the function along its text.
    pub(crate) ends: Vec<u32>,
    /// Where in the module the last of those is.
    pub(crate) offsets: Vec<u32>,
    pub(crate) cold: Vec<Cold>,
    pub(crate) vectors: Vec<Vector>,
    /// What catches exceptions, the inner ones first.
    pub(crate) handlers: Vec<Handler>,
    /// Slots of its parameters.
    pub(crate) params: u16,
    /// Slots of its frame.
    pub(crate) slots: u16,
}

impl Code {
    /// All instructions of the module in it.
    pub(crate) fn total(&self) -> i64 {
        self.ends.last().copied().unwrap_or(0).into()
    }

    /// The room that it takes, in instructions: each of what stands beside them counts for two.
    pub(crate) fn weight(&self) -> usize {
        self.insns.len() + 2 * self.vectors.len() + 2 * self.cold.len() + 2 * self.handlers.len()
    }

    /// What is done once the instruction before `pc` is.
    pub(crate) fn done_before(&self, pc: usize) -> i64 {
        pc.checked_sub(1).and_then(|at| self.ends.get(at)).copied().unwrap_or(0).into()
    }
}

/// What is done outside of the interpreter's loop. Operands are in slots one after the other, from
/// the first on, and results come there. Numbers are those of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cold {
    MemorySize(u32),
    MemoryGrow(u32),
    MemoryFill(u32),
    MemoryCopy {
        to: u32,
        from: u32,
    },
    MemoryInit {
        memory: u32,
        data: u32,
    },
    DataDrop(u32),
    TableSize(u32),
    TableGrow(u32),
    TableFill(u32),
    TableCopy {
        to: u32,
        from: u32,
    },
    TableInit {
        table: u32,
        elements: u32,
    },
    ElementsDrop(u32),
    /// Throws an exception with this tag.
    Throw(u32),
    ThrowRef,
    Atomic(Atomic),
    Gc(Gc),
    Wide(Wide),
}

/// What catches exceptions that some instructions throw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handler {
    /// The instructions: the first, and the first that is not.
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// The tag in the store; none where all are caught.
    pub(crate) tag: Option<u32>,
    /// Whether the exception itself is wanted, after its values.
    pub(crate) reference: bool,
    /// The instruction to go on with.
    pub(crate) target: u32,
    /// Where the values go.
    pub(crate) home: u16,
    /// The instructions of the module before the target.
    pub(crate) ticks: u32,
}
