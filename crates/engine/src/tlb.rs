//! The softmmu TLB of one vCPU: guest-virtual pages to host pointers, precise at all times.
//!
//! An entry exists only while the tables it was made from are unwritten, so dropping one, or the
//! guest's fences, change nothing. A write entry exists only for a page that is dirty in this
//! epoch and that nobody watches, so the first write of an epoch is always seen.
#![allow(unsafe_code, reason = "reads and writes guest pages by pointer; SAFETY.md")]

use crate::{Context, Mapping};
use omni_base::{PAGE_SIZE_U64, PageNo};
use std::ptr::NonNull;

/// Entries of one address space; a power of two.
const ENTRIES: usize = 256;

/// Address spaces kept per vCPU.
const SETS: usize = 8;

/// One guest-virtual page for loads and stores.
#[derive(Clone, Copy)]
struct Entry {
    read_tag: u64,
    read_add: usize,
    write_tag: u64,
    write_add: usize,
}

/// What is needed to find entries that have become stale, and fetch mappings.
#[derive(Clone, Copy)]
struct Origin {
    read_page: PageNo,
    write_page: PageNo,
    /// The lowest table of the walk that made the data entry.
    leaf: PageNo,
    fetch_tag: u64,
    fetch_page: PageNo,
    fetch_leaf: PageNo,
}

const NO_PAGE: PageNo = PageNo(u64::MAX);

/// The entries of one address space.
struct Set {
    context: Context,
    /// Differs between any two fillings of any set: caches keyed by it need no flush.
    serial: u32,
    entries: Box<[Entry; ENTRIES]>,
    origins: Box<[Origin; ENTRIES]>,
}

/// The TLB of one vCPU.
pub(crate) struct Tlb {
    sets: Vec<Set>,
    data: usize,
    fetch: usize,
    next: usize,
    serial: u32,
}

// SAFETY: E1: the pointers are into frames of the machine's RAM, which moves with the engine.
unsafe impl Send for Tlb {}

fn index(at: u64) -> usize {
    ((at / PAGE_SIZE_U64) as usize) % ENTRIES
}

/// A tag that no address with this index matches: one of the neighbouring index.
fn no_tag(index: usize) -> u64 {
    ((index ^ 1) as u64) * PAGE_SIZE_U64
}

impl Set {
    fn new(context: Context, serial: u32) -> Self {
        let origin = Origin {
            read_page: NO_PAGE,
            write_page: NO_PAGE,
            leaf: NO_PAGE,
            fetch_tag: 0,
            fetch_page: NO_PAGE,
            fetch_leaf: NO_PAGE,
        };
        let entry = |at| {
            let tag = no_tag(at);
            Entry { read_tag: tag, read_add: 0, write_tag: tag, write_add: 0 }
        };
        let origins = std::array::from_fn(|at| Origin { fetch_tag: no_tag(at), ..origin });
        let entries = Box::new(std::array::from_fn(entry));
        Self { context, serial, entries, origins: Box::new(origins) }
    }
}

impl Tlb {
    pub(crate) fn new() -> Self {
        let sets = vec![Set::new(Context::default(), 0)];
        Self { sets, data: 0, fetch: 0, next: 0, serial: 0 }
    }

    /// Chooses the address spaces of a run. Gives the serial of the one for fetches.
    pub(crate) fn select(&mut self, fetch: Context, data: Context) -> u32 {
        self.data = self.set_of(data, self.fetch);
        self.fetch = if fetch == data { self.data } else { self.set_of(fetch, self.data) };
        self.sets[self.fetch].serial
    }

    fn set_of(&mut self, context: Context, keep: usize) -> usize {
        if let Some(at) = self.sets.iter().position(|set| set.context == context) {
            return at;
        }
        self.serial += 1;
        let set = Set::new(context, self.serial);
        if self.sets.len() < SETS {
            self.sets.push(set);
            return self.sets.len() - 1;
        }
        self.next = (self.next + 1) % SETS;
        if self.next == keep {
            self.next = (self.next + 1) % SETS;
        }
        self.sets[self.next] = set;
        self.next
    }

    /// Loads `N` bytes at `at` if they are in one page that is here.
    #[inline(always)]
    pub(crate) fn load<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let entry = &self.sets[self.data].entries[index(at)];
        if at.wrapping_sub(entry.read_tag) > PAGE_SIZE_U64 - N as u64 {
            return None;
        }
        let ptr = std::ptr::with_exposed_provenance::<[u8; N]>(
            (at as usize).wrapping_add(entry.read_add),
        );
        // SAFETY: E2: a read entry points to a page of RAM that is readable, and the bytes are
        // within it.
        Some(unsafe { ptr.read_unaligned() })
    }

    /// Stores `N` bytes at `at` if they are in one page that is here for writing.
    #[inline(always)]
    pub(crate) fn store<const N: usize>(&self, at: u64, bytes: [u8; N]) -> bool {
        let Some(ptr) = self.store_ptr(at, N as u64) else { return false };
        // SAFETY: E3: a write entry points to a page that its space owns; the bytes are within it.
        unsafe { ptr.cast::<[u8; N]>().write_unaligned(bytes) };
        true
    }

    #[inline(always)]
    pub(crate) fn store_ptr(&self, at: u64, size: u64) -> Option<NonNull<u8>> {
        let entry = &self.sets[self.data].entries[index(at)];
        if at.wrapping_sub(entry.write_tag) > PAGE_SIZE_U64 - size {
            return None;
        }
        NonNull::new(std::ptr::with_exposed_provenance_mut(
            (at as usize).wrapping_add(entry.write_add),
        ))
    }

    /// The page of RAM that code at `at` is in, if it is here.
    pub(crate) fn fetch(&self, at: u64) -> Option<PageNo> {
        let origin = &self.sets[self.fetch].origins[index(at)];
        (at & !(PAGE_SIZE_U64 - 1) == origin.fetch_tag).then_some(origin.fetch_page)
    }

    pub(crate) fn insert_load(&mut self, at: u64, no: PageNo, ptr: NonNull<u8>, map: &Mapping) {
        let (at, set) = (at & !(PAGE_SIZE_U64 - 1), &mut self.sets[self.data]);
        let (entry, origin) = (&mut set.entries[index(at)], &mut set.origins[index(at)]);
        if entry.write_tag != at {
            entry.write_tag = no_tag(index(at));
            origin.write_page = NO_PAGE;
        }
        entry.read_tag = at;
        entry.read_add = ptr.as_ptr().expose_provenance().wrapping_sub(at as usize);
        origin.read_page = no;
        origin.leaf = leaf(map);
    }

    pub(crate) fn insert_store(&mut self, at: u64, no: PageNo, ptr: NonNull<u8>, map: &Mapping) {
        let (at, set) = (at & !(PAGE_SIZE_U64 - 1), &mut self.sets[self.data]);
        let (entry, origin) = (&mut set.entries[index(at)], &mut set.origins[index(at)]);
        if entry.read_tag != at {
            entry.read_tag = no_tag(index(at));
            origin.read_page = NO_PAGE;
        }
        entry.write_tag = at;
        entry.write_add = ptr.as_ptr().expose_provenance().wrapping_sub(at as usize);
        origin.write_page = no;
        origin.leaf = leaf(map);
    }

    pub(crate) fn insert_fetch(&mut self, at: u64, no: PageNo, map: &Mapping) {
        let (at, set) = (at & !(PAGE_SIZE_U64 - 1), &mut self.sets[self.fetch]);
        let origin = &mut set.origins[index(at)];
        origin.fetch_tag = at;
        origin.fetch_page = no;
        origin.fetch_leaf = leaf(map);
    }

    /// Forgets where a page was read: its content is in another frame now.
    pub(crate) fn page_moved(&mut self, no: PageNo) {
        self.retain(|at, entry, origin| {
            if origin.read_page == no {
                entry.read_tag = no_tag(at);
                origin.read_page = NO_PAGE;
            }
        });
    }

    /// Forgets where a page was written: the next write to it must be seen.
    pub(crate) fn page_watched(&mut self, no: PageNo) {
        self.retain(|at, entry, origin| {
            if origin.write_page == no {
                entry.write_tag = no_tag(at);
                origin.write_page = NO_PAGE;
            }
        });
    }

    /// Forgets what was made from a table whose entries are pages.
    pub(crate) fn leaf_written(&mut self, no: PageNo) {
        self.retain(|at, entry, origin| {
            if origin.leaf == no {
                (entry.read_tag, entry.write_tag) = (no_tag(at), no_tag(at));
                (origin.read_page, origin.write_page) = (NO_PAGE, NO_PAGE);
                origin.leaf = NO_PAGE;
            }
            if origin.fetch_leaf == no {
                origin.fetch_tag = no_tag(at);
                origin.fetch_leaf = NO_PAGE;
            }
        });
    }

    /// Forgets every write entry: an epoch has ended.
    pub(crate) fn epoch_ended(&mut self) {
        self.retain(|at, entry, origin| {
            entry.write_tag = no_tag(at);
            origin.write_page = NO_PAGE;
        });
    }

    /// Forgets everything, and gives every set a new serial.
    pub(crate) fn flush(&mut self) {
        for set in &mut self.sets {
            self.serial += 1;
            *set = Set::new(set.context, self.serial);
        }
    }

    /// Gives every set a new serial: the mapping of code has changed.
    pub(crate) fn renew_serials(&mut self) {
        for set in &mut self.sets {
            self.serial += 1;
            set.serial = self.serial;
        }
    }

    /// The serial of the address space of fetches.
    pub(crate) fn fetch_serial(&self) -> u32 {
        self.sets[self.fetch].serial
    }

    fn retain(&mut self, mut each: impl FnMut(usize, &mut Entry, &mut Origin)) {
        for set in &mut self.sets {
            let both = set.entries.iter_mut().zip(set.origins.iter_mut());
            both.enumerate().for_each(|(at, (entry, origin))| each(at, entry, origin));
        }
    }
}

fn leaf(map: &Mapping) -> PageNo {
    match usize::from(map.depth) {
        0 => NO_PAGE,
        depth => map.tables[depth - 1],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;

    #[test]
    fn an_empty_entry_matches_no_address() {
        let tlb = Tlb::new();
        for at in [0, 0x1000, 0xfff, 0xffff_ffff_ffff_f000, u64::MAX, 0x1_0000] {
            assert_eq!(tlb.load::<1>(at), None);
            assert!(!tlb.store::<8>(at, [0; 8]));
            assert_eq!(tlb.fetch(at), None);
        }
    }

    #[test]
    fn an_entry_serves_its_page_and_no_byte_more() {
        let page = [7u8; 4096];
        let mut tlb = Tlb::new();
        let mapping = Mapping {
            target: Target::Ram(PageNo(3)),
            load: true,
            store: false,
            keep: true,
            tables: [PageNo(9); 6],
            depth: 1,
        };
        tlb.insert_load(0x5123, PageNo(3), NonNull::from(&page).cast(), &mapping);
        assert_eq!(tlb.load::<4>(0x5ffc), Some([7; 4]));
        assert_eq!(tlb.load::<4>(0x5ffd), None);
        assert_eq!(tlb.load::<1>(0x4fff), None);
        assert_eq!(tlb.load::<1>(0x6000), None);
        assert!(!tlb.store::<1>(0x5000, [1]));
        tlb.leaf_written(PageNo(9));
        assert_eq!(tlb.load::<4>(0x5ffc), None);
    }
}
