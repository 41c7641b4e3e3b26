//! The clock that engines measure themselves by, who hears of the code they make, and the mark
//! by which a sampler knows what a thread is at.

use crate::Mode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

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

    /// Hears of machine code that was made just now: of each block what is run often, and then
    /// the rest.
    fn made(&self, code: &MadeCode);

    /// Whether it asks threads what they are at, by [`phase_here`]: it is asked once.
    fn samples(&self) -> bool;

    /// Hears, on a thread that runs an engine for the first time, that it does: where it samples.
    fn engaged(&self);
}

/// What a thread that runs an engine is at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Phase {
    /// No engine ran on the thread so far.
    Never,
    /// Between two runs: the board, timers of devices, and whoever owns the machine.
    Outside,
    /// Finding blocks, and linking them.
    Search,
    /// Interpreting blocks.
    Interpreter,
    /// Running machine code, or entering and leaving it.
    MachineCode,
    /// An operation that machine code left to the interpreter.
    Step,
    /// Making blocks for the interpreter.
    Translation,
    /// Making machine code of blocks.
    Compilation,
    /// Translating addresses, and filling the TLB.
    Walk,
    /// Loads from devices and stores to them.
    Device,
}

impl Phase {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Never,
        Self::Outside,
        Self::Search,
        Self::Interpreter,
        Self::MachineCode,
        Self::Step,
        Self::Translation,
        Self::Compilation,
        Self::Walk,
        Self::Device,
    ];

    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "no engine",
            Self::Outside => "outside the engine",
            Self::Search => "block search",
            Self::Interpreter => "interpreter",
            Self::MachineCode => "machine code",
            Self::Step => "step",
            Self::Translation => "translation",
            Self::Compilation => "compilation",
            Self::Walk => "TLB refill",
            Self::Device => "device",
        }
    }
}

/// What a thread is at, and for which address of the guest: written as it runs, and read by the
/// handler of a signal.
pub(crate) struct Mark {
    phase: AtomicU8,
    pc: AtomicU64,
}

thread_local! {
    static MARK: Mark = const { Mark { phase: AtomicU8::new(0), pc: AtomicU64::new(0) } };
}

/// Writes the mark of a thread, where someone takes samples; else it does nothing at all.
#[derive(Clone, Copy)]
pub(crate) struct Marker<'a>(Option<&'a Mark>);

impl<'a> Marker<'a> {
    /// The thread is at this from now on.
    #[inline(always)]
    pub(crate) fn begin(self, phase: Phase) {
        if let Some(mark) = self.0 {
            mark.phase.store(phase as u8, Ordering::Relaxed);
        }
    }

    /// The same, for a block of the guest at this address.
    #[inline(always)]
    pub(crate) fn begin_at(self, phase: Phase, pc: u64) {
        if let Some(mark) = self.0 {
            mark.phase.store(phase as u8, Ordering::Relaxed);
            mark.pc.store(pc, Ordering::Relaxed);
        }
    }

    /// The thread is at this until what is given here is dropped, and then at what it was.
    #[inline(always)]
    pub(crate) fn within(self, phase: Phase) -> Within<'a> {
        let before = self.0.map(|mark| (mark, mark.phase.load(Ordering::Relaxed)));
        self.begin(phase);
        Within(before)
    }
}

/// Puts back what a thread was at.
pub(crate) struct Within<'a>(Option<(&'a Mark, u8)>);

impl Drop for Within<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some((mark, before)) = self.0 {
            mark.phase.store(before, Ordering::Relaxed);
        }
    }
}

/// Whether the profiler takes samples.
static SAMPLED: AtomicBool = AtomicBool::new(false);

/// Does what is a run of an engine, with the marker of this thread.
pub(crate) fn marked<T>(run: impl FnOnce(Marker<'_>) -> T) -> T {
    if !SAMPLED.load(Ordering::Relaxed) {
        return run(Marker(None));
    }
    MARK.with(|mark| {
        let marker = Marker(Some(mark));
        if mark.phase.load(Ordering::Relaxed) == Phase::Never as u8
            && let Some(profiler) = profiler()
        {
            profiler.engaged();
        }
        marker.begin(Phase::Search);
        let done = run(marker);
        marker.begin(Phase::Outside);
        done
    })
}

/// What this thread is at, and the address of the guest for which. In machine code the address is
/// that of what ran before; where the host's thread is tells more. A signal handler may call it.
#[must_use]
pub fn phase_here() -> (Phase, u64) {
    MARK.with(|mark| {
        let phase = usize::from(mark.phase.load(Ordering::Relaxed));
        (Phase::ALL[phase.min(Phase::ALL.len() - 1)], mark.pc.load(Ordering::Relaxed))
    })
}

static PROFILER: OnceLock<&dyn Profiler> = OnceLock::new();

/// Lends the engines of this process a profiler from now on. Says whether it is the first, which
/// stays.
pub fn set_profiler(profiler: &'static dyn Profiler) -> bool {
    let first = PROFILER.set(profiler).is_ok();
    if first {
        SAMPLED.store(profiler.samples(), Ordering::Relaxed);
    }
    first
}

pub(crate) fn profiler() -> Option<&'static dyn Profiler> {
    PROFILER.get().copied()
}

/// The time, or zero where nobody lends a clock.
pub(crate) fn now_ns() -> u64 {
    profiler().map_or(0, Profiler::now_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_have_the_number_of_their_place_and_a_name_of_their_own() {
        for (at, phase) in Phase::ALL.iter().enumerate() {
            assert_eq!(*phase as usize, at);
            assert_eq!(Phase::ALL.iter().filter(|other| other.name() == phase.name()).count(), 1);
        }
    }

    #[test]
    fn what_ends_within_something_leaves_it_as_it_was() {
        assert_eq!(phase_here(), (Phase::Never, 0));
        MARK.with(|mark| {
            let marker = Marker(Some(mark));
            marker.begin_at(Phase::Interpreter, 0x1000);
            {
                let _walk = marker.within(Phase::Walk);
                let _device = marker.within(Phase::Device);
                assert_eq!(phase_here(), (Phase::Device, 0x1000));
            }
            assert_eq!(phase_here(), (Phase::Interpreter, 0x1000));
        });
        // Nobody samples in this process.
        marked(|marker| marker.begin(Phase::Walk));
        assert_eq!(phase_here(), (Phase::Interpreter, 0x1000));
    }
}
