//! The softmmu TLB of one vCPU: guest-virtual pages to host pointers, precise at all times.
//!
//! An entry exists only while the tables it was made from are unwritten, so dropping one, or the
//! guest's fences, change nothing. A write entry exists only for a page that is dirty in this
//! epoch and that nobody watches, so the first write of an epoch is always seen.
#![allow(unsafe_code, reason = "reads and writes guest pages by pointer; SAFETY.md")]

use crate::{Context, Mapping};
use omni_base::{PAGE_SIZE_U64, PageNo};
use std::ptr::NonNull;

/// Entries for loads, and as many for stores, of one address space; a power of two.
const ENTRIES: usize = 512;

/// Entries for instruction fetches.
const FETCHES: usize = 256;

/// Address spaces kept per vCPU.
const SETS: usize = 8;

const NO_PAGE: PageNo = PageNo(u64::MAX);

/// One guest-virtual page.
#[derive(Clone, Copy)]
struct Entry {
    tag: u64,
    /// What leads from an address in it to the host's.
    add: usize,
}

/// What is needed to find entries that have become stale.
#[derive(Clone, Copy)]
struct Origin {
    page: PageNo,
    /// The lowest table of the walk that made the entry.
    leaf: PageNo,
}

/// Which pages may be among some, by the low bits of their numbers.
#[derive(Clone, Copy, Default)]
struct Filter([u64; 16]);

impl Filter {
    fn add(&mut self, no: PageNo) {
        self.0[(no.0 >> 6 & 15) as usize] |= 1 << (no.0 & 63);
    }

    fn may_have(&self, no: PageNo) -> bool {
        self.0[(no.0 >> 6 & 15) as usize] >> (no.0 & 63) & 1 == 1
    }
}

/// The entries of one address space for one sort of access.
struct Side<const N: usize> {
    entries: Box<[Entry; N]>,
    origins: Box<[Origin; N]>,
    pages: Filter,
    leaves: Filter,
}

/// A tag that no address with this index matches: one of the neighbouring index.
fn no_tag(index: usize) -> u64 {
    ((index ^ 1) as u64) * PAGE_SIZE_U64
}

fn page_start(at: u64) -> u64 {
    at & !(PAGE_SIZE_U64 - 1)
}

impl<const N: usize> Side<N> {
    fn new() -> Self {
        let none = Origin { page: NO_PAGE, leaf: NO_PAGE };
        Self {
            entries: Box::new(std::array::from_fn(|at| Entry { tag: no_tag(at), add: 0 })),
            origins: Box::new([none; N]),
            pages: Filter::default(),
            leaves: Filter::default(),
        }
    }

    #[inline(always)]
    fn index(at: u64) -> usize {
        ((at / PAGE_SIZE_U64) as usize) % N
    }

    /// What leads to the host's address of `size` bytes at `at`, if they are in a page here.
    #[inline(always)]
    fn find(&self, at: u64, size: u64) -> Option<usize> {
        let entry = &self.entries[Self::index(at)];
        let here = at.wrapping_sub(entry.tag) <= PAGE_SIZE_U64 - size;
        here.then(|| (at as usize).wrapping_add(entry.add))
    }

    fn insert(&mut self, at: u64, ptr: NonNull<u8>, origin: Origin) {
        let start = page_start(at);
        let add = ptr.as_ptr().expose_provenance().wrapping_sub(start as usize);
        self.entries[Self::index(at)] = Entry { tag: start, add };
        self.origins[Self::index(at)] = origin;
        self.pages.add(origin.page);
        self.leaves.add(origin.leaf);
    }

    fn forget(&mut self, stale: impl Fn(&Origin) -> bool) {
        for (at, origin) in self.origins.iter_mut().enumerate() {
            if stale(origin) {
                *origin = Origin { page: NO_PAGE, leaf: NO_PAGE };
                self.entries[at].tag = no_tag(at);
            }
        }
    }

    fn forget_page(&mut self, no: PageNo) {
        if self.pages.may_have(no) {
            self.forget(|origin| origin.page == no);
        }
    }

    fn forget_leaf(&mut self, no: PageNo) {
        if self.leaves.may_have(no) {
            self.forget(|origin| origin.leaf == no);
        }
    }
}

/// The entries of one address space.
struct Set {
    context: Context,
    /// Differs between any two fillings of any set: caches keyed by it need no flush.
    serial: u32,
    loads: Side<ENTRIES>,
    stores: Side<ENTRIES>,
    fetches: Side<FETCHES>,
}

impl Set {
    fn new(context: Context, serial: u32) -> Self {
        Self { context, serial, loads: Side::new(), stores: Side::new(), fetches: Side::new() }
    }
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

impl Tlb {
    pub(crate) fn new() -> Self {
        let sets = vec![Set::new(Context::default(), 0)];
        Self { sets, data: 0, fetch: 0, next: 0, serial: 0 }
    }

    /// Chooses the address spaces of a run.
    pub(crate) fn select(&mut self, fetch: Context, data: Context) {
        self.data = self.set_of(data, self.fetch);
        self.fetch = if fetch == data { self.data } else { self.set_of(fetch, self.data) };
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
        let host = self.sets[self.data].loads.find(at, N as u64)?;
        let ptr = std::ptr::with_exposed_provenance::<[u8; N]>(host);
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
        let host = self.sets[self.data].stores.find(at, size)?;
        NonNull::new(std::ptr::with_exposed_provenance_mut(host))
    }

    /// The page of RAM that code at `at` is in, if it is here.
    pub(crate) fn fetch(&self, at: u64) -> Option<PageNo> {
        let fetches = &self.sets[self.fetch].fetches;
        let index = Side::<FETCHES>::index(at);
        (page_start(at) == fetches.entries[index].tag).then_some(fetches.origins[index].page)
    }

    pub(crate) fn insert_load(&mut self, at: u64, no: PageNo, ptr: NonNull<u8>, map: &Mapping) {
        self.sets[self.data].loads.insert(at, ptr, Origin { page: no, leaf: leaf(map) });
    }

    pub(crate) fn insert_store(&mut self, at: u64, no: PageNo, ptr: NonNull<u8>, map: &Mapping) {
        self.sets[self.data].stores.insert(at, ptr, Origin { page: no, leaf: leaf(map) });
    }

    pub(crate) fn insert_fetch(&mut self, at: u64, no: PageNo, map: &Mapping) {
        // Code is found by its page: no pointer is kept.
        let origin = Origin { page: no, leaf: leaf(map) };
        self.sets[self.fetch].fetches.insert(at, NonNull::dangling(), origin);
    }

    /// Forgets where a page was read: its content is in another frame now.
    pub(crate) fn page_moved(&mut self, no: PageNo) {
        self.sets.iter_mut().for_each(|set| set.loads.forget_page(no));
    }

    /// Forgets where a page was written: the next write to it must be seen.
    pub(crate) fn page_watched(&mut self, no: PageNo) {
        self.sets.iter_mut().for_each(|set| set.stores.forget_page(no));
    }

    /// Forgets what was made from a table whose entries are pages.
    pub(crate) fn leaf_written(&mut self, no: PageNo) {
        for set in &mut self.sets {
            set.loads.forget_leaf(no);
            set.stores.forget_leaf(no);
            set.fetches.forget_leaf(no);
        }
    }

    /// Forgets every write entry: an epoch has ended.
    pub(crate) fn epoch_ended(&mut self) {
        self.sets.iter_mut().for_each(|set| set.stores = Side::new());
    }

    /// Forgets everything. The sets in use are made anew, the others dropped.
    pub(crate) fn flush(&mut self) {
        let (fetch, data) = (self.sets[self.fetch].context, self.sets[self.data].context);
        self.sets.clear();
        (self.data, self.fetch, self.next) = (0, 0, 0);
        self.select(fetch, data);
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
