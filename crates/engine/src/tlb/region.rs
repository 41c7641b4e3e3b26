//! The memory of a view: mapped once, filled when touched, and read by machine code.
#![allow(unsafe_code, reason = "owns a mapping and reads it by pointer; E5 in SAFETY.md")]

use super::layout;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use std::ptr::NonNull;

/// A region of `layout::SIZE` bytes that began as zeros.
pub(super) struct Region(NonNull<u8>);

// SAFETY: E5: the mapping belongs to this value alone.
unsafe impl Send for Region {}

impl Region {
    pub(super) fn new() -> Self {
        let (prot, flags) =
            (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
        // SAFETY: an anonymous mapping at an address of the host's choice aliases nothing.
        let mapped = unsafe { mmap_anonymous(std::ptr::null_mut(), layout::SIZE, prot, flags) };
        // As for any allocation in Rust, there is no going on without memory.
        let start = mapped.expect("the host has address space for a view");
        // SAFETY: E5: the mapping is ours. A host without large pages says no, which is as good.
        let _ = unsafe { madvise(start, layout::SIZE, Advice::LinuxNoHugepage) };
        Self(NonNull::new(start.cast()).expect("a mapping is never at address zero"))
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.0
    }

    /// The word at `offset`.
    pub(super) fn word(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= layout::SIZE);
        // SAFETY: E5: the bytes are in the region.
        let at = unsafe { self.0.add(offset) };
        // SAFETY: E5: they are ours, aligned, and any bytes make a word.
        unsafe { at.cast().read() }
    }

    /// The half-word of 32 bits at `offset`.
    pub(super) fn half(&self, offset: usize) -> u32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= layout::SIZE);
        // SAFETY: E5: the bytes are in the region.
        let at = unsafe { self.0.add(offset) };
        // SAFETY: E5: as for a word.
        unsafe { at.cast().read() }
    }

    /// The `count` words from `offset` on.
    pub(super) fn words(&mut self, offset: usize, count: usize) -> &mut [u64] {
        assert!(offset.is_multiple_of(8) && offset + count * 8 <= layout::SIZE);
        // SAFETY: E5: the bytes are in the region.
        let start = unsafe { self.0.add(offset) };
        // SAFETY: E5: they are ours, aligned, and any bytes make words; machine code does not run
        // while the slice is borrowed.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr().cast(), count) }
    }

    /// The `count` half-words of 32 bits from `offset` on.
    pub(super) fn halves(&mut self, offset: usize, count: usize) -> &mut [u32] {
        assert!(offset.is_multiple_of(4) && offset + count * 4 <= layout::SIZE);
        // SAFETY: E5: the bytes are in the region.
        let start = unsafe { self.0.add(offset) };
        // SAFETY: E5: as for words.
        unsafe { std::slice::from_raw_parts_mut(start.as_ptr().cast(), count) }
    }

    /// Gives back the memory of all entries for loads and stores. All of them must be empty: they
    /// may stay as they are, as where the host's pages are larger, or read as zero then.
    pub(super) fn release_entries(&mut self) {
        self.release(layout::LOAD_TAGS, layout::SIZE);
    }

    /// The same for fetches, all of whose entries must be zero.
    pub(super) fn release_fetches(&mut self) {
        self.release(layout::FETCH_IDS, layout::LOAD_TAGS);
    }

    fn release(&mut self, from: usize, to: usize) {
        assert!(from <= to && to <= layout::SIZE);
        // SAFETY: E5: the bytes are in the region.
        let start = unsafe { self.0.add(from) };
        // SAFETY: E5: they are ours, and no reference to them is held.
        let _ = unsafe { madvise(start.as_ptr().cast(), to - from, Advice::LinuxDontNeed) };
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: E5: the mapping is ours, and nothing uses it after this.
        let unmapped = unsafe { munmap(self.0.as_ptr().cast(), layout::SIZE) };
        debug_assert!(unmapped.is_ok(), "what was mapped can be unmapped");
    }
}
