//! The clock that engines measure themselves by, and who hears of the code they make.

use crate::Mode;
use std::sync::OnceLock;

/// Machine code of a block, while it is in use: until all code is dropped, and its memory used
/// for other code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MadeCode {
    /// Where it is, in this process.
    pub address: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// The address of the block in the guest.
    pub pc: u64,
    /// The mode of the guest that it runs in.
    pub mode: Mode,
}

/// What a process lends its engines. It is for measurements only: what it says changes nothing
/// that a guest can see.
pub trait Profiler: Sync {
    /// Nanoseconds by a clock that never goes back.
    fn now_ns(&self) -> u64;

    /// Hears of machine code that was made just now.
    fn made(&self, code: &MadeCode);
}

static PROFILER: OnceLock<&dyn Profiler> = OnceLock::new();

/// Lends the engines of this process a profiler from now on. Says whether it is the first, which
/// stays.
pub fn set_profiler(profiler: &'static dyn Profiler) -> bool {
    PROFILER.set(profiler).is_ok()
}

pub(crate) fn profiler() -> Option<&'static dyn Profiler> {
    PROFILER.get().copied()
}

/// The time, or zero where nobody lends a clock.
pub(crate) fn now_ns() -> u64 {
    profiler().map_or(0, Profiler::now_ns)
}
