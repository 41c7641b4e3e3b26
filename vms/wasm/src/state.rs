//! What changes while a program runs, apart from the bytes of its memories.

use crate::code::FRAME_SLOTS;

/// Slots of all frames.
pub(crate) const STACK_SLOTS: usize = 1 << 20;

/// Calls within each other.
pub(crate) const FRAMES_MAX: usize = 1 << 16;

/// Elements of all tables.
pub(crate) const TABLE_SLOTS_MAX: u64 = 10_000_000;

pub(crate) use omni_engine::Call as Frame;

/// The instruction that is next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct At {
    pub(crate) func: u32,
    pub(crate) pc: u32,
    /// The first slot of its frame.
    pub(crate) base: u32,
    /// It ends at this tick and as many more as the instructions of the module are, from the start
    /// of its function, that are done then.
    pub(crate) origin: i64,
}

/// A table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Table {
    pub(crate) slots: Vec<u64>,
    pub(crate) max: u64,
}

/// A memory: its size, of which its space has the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MemorySize {
    /// Pages of 64 KiB.
    pub(crate) pages: u64,
    pub(crate) max: u64,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct State {
    /// Slots of frames; those above all frames are nothing. A frame that waits may end above the
    /// present one.
    pub(crate) stack: Vec<u64>,
    pub(crate) frames: Vec<Frame>,
    pub(crate) at: At,
    pub(crate) tick: u64,
    pub(crate) globals: Vec<u64>,
    pub(crate) tables: Vec<Table>,
    pub(crate) memories: Vec<MemorySize>,
    pub(crate) elements_dropped: Vec<bool>,
    pub(crate) data_dropped: Vec<bool>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            // Zeros that the host does not hold until they are written.
            stack: vec![0; STACK_SLOTS + FRAME_SLOTS],
            frames: Vec::new(),
            at: At { func: u32::MAX, pc: 0, base: 0, origin: 0 },
            tick: 0,
            globals: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            elements_dropped: Vec::new(),
            data_dropped: Vec::new(),
        }
    }
}
