//! Memory for machine code: written by one mapping, run by another, never both by one.
#![allow(unsafe_code, reason = "maps memory and runs what was written there; SAFETY.md")]

use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mprotect,
    mremap, munmap,
};
use std::io;
use std::ptr::NonNull;

/// Bytes of code at most. Beyond, everything is translated anew.
pub(crate) const SIZE: usize = 32 << 20;

/// How much is written before the pages of the writing side are given back.
const WRITTEN_MAX: usize = 1 << 20;

/// An arena of machine code, filled from the start.
pub(crate) struct Arena {
    /// The mapping that is written.
    write: NonNull<u8>,
    /// The mapping that is run.
    run: NonNull<u8>,
    used: usize,
    /// From where on the writing side holds pages.
    held: usize,
}

// SAFETY: E1: the mappings belong to the arena alone, and move with the engine.
unsafe impl Send for Arena {}

/// Two mappings of the same fresh memory, the first to be written, the second to be run.
///
/// It is memory without a name, as tools that profile look up what runs in such only by the map
/// that a process makes for them.
fn map_twice() -> io::Result<(NonNull<u8>, NonNull<u8>)> {
    let some = |at: *mut std::ffi::c_void| {
        NonNull::new(at.cast::<u8>()).ok_or_else(|| io::Error::other("a mapping at address zero"))
    };
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: E8: a fresh mapping at an address of the host's choice touches no other memory.
    let write = unsafe { mmap_anonymous(std::ptr::null_mut(), SIZE, prot, MapFlags::SHARED) };
    let write = some(write?)?;
    // SAFETY: E8: from a size of zero, shared memory is mapped a second time, and the first mapping
    // stays as it is.
    let run = unsafe { mremap(write.as_ptr().cast(), 0, SIZE, MremapFlags::MAYMOVE) };
    let run = run.map_err(io::Error::from).and_then(some).inspect_err(|_| unmap(write))?;
    let flags = MprotectFlags::READ | MprotectFlags::EXEC;
    // SAFETY: E8: a whole mapping of ours, which nobody refers to yet.
    let protected = unsafe { mprotect(run.as_ptr().cast(), SIZE, flags) };
    if protected.is_err() {
        unmap(write);
        unmap(run);
        return Err(io::Error::other("the host forbids memory that code is run in"));
    }
    Ok((write, run))
}

impl Arena {
    /// An arena that begins with these bytes.
    ///
    /// # Errors
    /// Where the host has no memory, or forbids that code is made.
    pub(crate) fn new(prologue: &[u8]) -> io::Result<Self> {
        let (write, run) = map_twice()?;
        let mut arena = Self { write, run, used: 0, held: 0 };
        arena.put(prologue);
        Ok(arena)
    }

    /// Where the next code goes.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// Whether so many bytes more fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes <= SIZE - self.used
    }

    /// Appends code.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        assert!(self.has_room(bytes.len()), "asked before");
        self.write_at(self.used, bytes);
        self.used = (self.used + bytes.len()).next_multiple_of(16).min(SIZE);
        if self.used - self.held > WRITTEN_MAX {
            self.give_back();
        }
    }

    /// Forgets all code from `start` on.
    pub(crate) fn truncate(&mut self, start: usize) {
        self.used = start;
        self.held = 0;
    }

    /// Replaces a word of code: a displacement or an immediate, which nobody is running.
    pub(crate) fn patch(&mut self, at: usize, word: u32) {
        assert!(at + 4 <= self.used, "only code that was put is patched");
        self.write_at(at, &word.to_le_bytes());
    }

    /// The address at which the code at this offset is run.
    pub(crate) fn address(&self, at: usize) -> u64 {
        self.run.as_ptr().expose_provenance() as u64 + at as u64
    }

    fn write_at(&mut self, at: usize, bytes: &[u8]) {
        // SAFETY: E8: the callers keep `at` and the length within the mapping.
        let to = unsafe { self.write.add(at) };
        // SAFETY: E8: as above, and nothing else refers to the writing side.
        unsafe { to.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) };
    }

    /// Lets the host drop the pages of the writing side, which would count twice; the code is
    /// still there by the other mapping.
    fn give_back(&mut self) {
        // SAFETY: E8: a whole mapping of ours, shared: no content is lost.
        let done = unsafe { madvise(self.write.as_ptr().cast(), SIZE, Advice::LinuxDontNeed) };
        if done.is_ok() {
            self.held = self.used;
        }
    }
}

fn unmap(at: NonNull<u8>) {
    // SAFETY: E8: the mapping is ours, and nobody refers to it any more.
    let done = unsafe { munmap(at.as_ptr().cast(), SIZE) };
    debug_assert!(done.is_ok(), "a mapping of ours can be given back");
}

impl Drop for Arena {
    fn drop(&mut self) {
        unmap(self.write);
        unmap(self.run);
    }
}
