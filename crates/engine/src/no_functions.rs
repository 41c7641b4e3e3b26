//! Functions where the host has no machine code that is made here.

use omni_ir::Function;
use omni_memory::Space;

/// Why code of a function was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// The next instruction has no code, or not for this case.
    Step,
    /// The ticks that are left may not be enough.
    Limit,
    /// A call has to be made by whoever runs the code.
    Call,
    /// A function has returned.
    Returned,
}

/// A call that waits: where it goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Call {
    /// The function.
    pub func: u32,
    /// Its next instruction.
    pub pc: u32,
    /// The number of the first slot of its frame.
    pub base: u32,
}

/// What functions work on.
#[derive(Debug)]
pub struct World<'a> {
    /// Slots of frames.
    pub stack: &'a mut [u64],
    /// Where the last frame must end.
    pub stack_end: usize,
    /// Calls that wait.
    pub calls: &'a mut Vec<Call>,
    /// How many there may be.
    pub calls_max: usize,
    /// The memory.
    pub memory: &'a mut Space,
    /// Words that functions share.
    pub shared: &'a mut [u64],
}

/// Where a run begins and ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spot {
    /// The function.
    pub func: u32,
    /// The instruction.
    pub pc: u32,
    /// The number of the first slot of its frame.
    pub base: u32,
    /// Ticks that are left.
    pub left: i64,
}

/// There are none.
#[derive(Debug)]
pub enum Functions {}

impl Functions {
    /// There are none.
    #[must_use]
    pub fn new(_: impl IntoIterator<Item = u32>) -> Option<Self> {
        None
    }

    /// How many functions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match *self {}
    }

    /// Makes code for a function.
    pub fn add(&mut self, _: &Function) -> bool {
        match *self {}
    }

    /// Drops all code.
    pub fn clear(&mut self) {
        match *self {}
    }

    /// How often all code was dropped to make room.
    #[must_use]
    pub fn drops(&self) -> u64 {
        match *self {}
    }

    /// Whether a function has code.
    #[must_use]
    pub fn has(&self, _: u32) -> bool {
        match *self {}
    }

    /// Whether code can be entered at an instruction.
    #[must_use]
    pub fn has_place(&self, _: u32, _: u32) -> bool {
        match *self {}
    }

    /// Bytes of code.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match *self {}
    }

    /// Runs from an instruction on.
    pub fn run<'t>(
        &mut self,
        _: World<'_>,
        _: impl Iterator<Item = &'t [u64]>,
        _: Spot,
    ) -> Option<(Left, Spot)> {
        match *self {}
    }
}
