//! The size of memory, and the heap (the specification, sections 2.14 and 2.15).

use crate::fault::Fault;
use crate::world::{MEMORY, World};
use omni_base::{Gpa, PAGE_SIZE_U64};
use std::ops::Range;

/// Blocks of the heap at most.
pub(crate) const BLOCKS_MAX: usize = 1 << 14;

/// Where a block is, how large, and whether it is free.
pub(crate) type Block = (u32, u32, bool);

impl World {
    /// `setmemsize`: says whether it could.
    pub(crate) fn resize_by_story(&mut self, endmem: u32) -> Result<bool, Fault> {
        if self.cpu.heap_start != 0 || endmem < self.story.endmem || !endmem.is_multiple_of(256) {
            return Err(Fault::Resize);
        }
        Ok(self.resize(endmem))
    }

    /// Changes the end of memory; what is new is zero, and so is what is beyond the end.
    pub(crate) fn resize(&mut self, endmem: u32) -> bool {
        if endmem > self.layout.endmem_max {
            return false;
        }
        if endmem < self.cpu.endmem {
            self.clear_above(endmem);
        }
        if endmem != self.cpu.endmem {
            self.cpu.endmem = endmem;
            self.stop = true;
            // Memory and undo share what there may be of both.
            self.drop_undo(0);
        }
        true
    }

    fn clear_above(&mut self, endmem: u32) {
        let delta = u64::from(self.layout.delta);
        let (first, last) = (u64::from(endmem) + delta, u64::from(self.cpu.endmem) + delta);
        let whole = first.next_multiple_of(PAGE_SIZE_U64);
        let space = &mut self.memory.spaces[MEMORY];
        let filled = space.fill(Gpa(first), whole.min(last) - first, 0);
        filled.expect("memory is in the space");
        let pages =
            whole / PAGE_SIZE_U64..last.div_ceil(PAGE_SIZE_U64).min(self.layout.stack_page());
        space.clear(pages.map(omni_base::PageNo));
    }

    /// `malloc`: the address, or zero.
    pub(crate) fn allocate(&mut self, bytes: u32) -> Result<u32, Fault> {
        if bytes == 0 || bytes > i32::MAX.cast_unsigned() {
            return if bytes == 0 { Err(Fault::Heap) } else { Ok(0) };
        }
        self.worked(16 * self.cpu.heap.len() as u64);
        if self.cpu.heap.len() >= BLOCKS_MAX {
            self.merge_free();
            if self.cpu.heap.len() >= BLOCKS_MAX {
                return Ok(0);
            }
        }
        let mut at = 0;
        while let Some((_, held, free)) = self.cpu.heap.get(at).copied() {
            if free && held >= bytes {
                break;
            }
            // Two free blocks are one.
            match self.cpu.heap.get(at + 1).copied() {
                Some((_, more, true)) if free => {
                    self.cpu.heap[at].1 += more;
                    self.cpu.heap.remove(at + 1);
                }
                _ => at += 1,
            }
        }
        if at == self.cpu.heap.len() {
            let Some(grown) = self.grow_heap(bytes) else { return Ok(0) };
            at = grown;
        }
        let (first, held, _) = self.cpu.heap[at];
        self.cpu.heap[at] = (first, bytes, false);
        if held > bytes {
            self.cpu.heap.insert(at + 1, (first + bytes, held - bytes, true));
        }
        Ok(first)
    }

    /// Makes one of free blocks that are one after the other.
    fn merge_free(&mut self) {
        self.cpu.heap.dedup_by(|next, held| {
            let both = next.2 && held.2;
            held.1 += if both { next.1 } else { 0 };
            both
        });
    }

    /// Makes room at the end: as much as there is, as is asked for, or as is missing.
    fn grow_heap(&mut self, bytes: u32) -> Option<usize> {
        let end = self.cpu.endmem;
        let held = if self.cpu.heap_start == 0 { 0 } else { end - self.cpu.heap_start };
        let free = self.cpu.heap.last().map_or(0, |block| if block.2 { block.1 } else { 0 });
        let mut sizes = [held.max(bytes).max(256), bytes, bytes.saturating_sub(free)].into_iter();
        let more = sizes.find_map(|size| {
            let more = size.checked_next_multiple_of(256)?;
            self.resize(end.checked_add(more)?).then_some(more)
        })?;
        if self.cpu.heap_start == 0 {
            self.cpu.heap_start = end;
        }
        match self.cpu.heap.last_mut() {
            Some((_, held, true)) => *held += more,
            _ => self.cpu.heap.push((end, more, true)),
        }
        Some(self.cpu.heap.len() - 1)
    }

    /// `mfree`.
    pub(crate) fn free(&mut self, at: u32) -> Result<(), Fault> {
        let found = self.cpu.heap.binary_search_by_key(&at, |block| block.0);
        let nth = found.map_err(|_| Fault::Heap)?;
        self.worked(16 * self.cpu.heap.len() as u64);
        if self.cpu.heap[nth].2 {
            return Err(Fault::Heap);
        }
        self.cpu.heap[nth].2 = true;
        if self.cpu.heap.iter().all(|block| block.2) {
            self.drop_heap();
        }
        Ok(())
    }

    /// Ends the heap: memory ends where it began.
    pub(crate) fn drop_heap(&mut self) {
        if self.cpu.heap_start != 0 {
            let start = self.cpu.heap_start;
            self.cpu.heap.clear();
            self.cpu.heap_start = 0;
            let shrunk = self.resize(start);
            assert!(shrunk, "the heap began within memory");
        }
    }

    /// The heap as a saved game has it: its start, the count of blocks in use, and they.
    pub(crate) fn heap_summary(&self) -> Vec<u32> {
        if self.cpu.heap_start == 0 {
            return Vec::new();
        }
        let used = || self.cpu.heap.iter().filter(|block| !block.2);
        let head = [self.cpu.heap_start, used().count() as u32];
        head.into_iter().chain(used().flat_map(|block| [block.0, block.1])).collect()
    }

    /// The blocks that such a summary tells of, between the end of the story and that of memory.
    pub(crate) fn heap_of(words: &[u32], room: Range<u32>) -> Option<(u32, Vec<Block>)> {
        let [start, count, blocks @ ..] = words else { return Some((0, Vec::new())) };
        if *start == 0 && *count == 0 {
            return Some((0, Vec::new()));
        }
        if blocks.len() as u64 != 2 * u64::from(*count) || blocks.len() > 2 * BLOCKS_MAX {
            return None;
        }
        if *count == 0 || !room.contains(start) || !start.is_multiple_of(256) {
            return None;
        }
        let (mut heap, mut end) = (Vec::new(), *start);
        for block in blocks.chunks_exact(2) {
            let [at, bytes] = [block[0], block[1]];
            if at < end || bytes == 0 {
                return None;
            }
            if at > end {
                heap.push((end, at - end, true));
            }
            heap.push((at, bytes, false));
            end = at.checked_add(bytes)?;
        }
        if end > room.end {
            return None;
        }
        if end < room.end {
            heap.push((end, room.end - end, true));
        }
        Some((*start, heap))
    }
}
