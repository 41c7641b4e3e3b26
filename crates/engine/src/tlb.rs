//! The softmmu TLB of one vCPU: guest-virtual pages to host pointers, precise at all times.
//!
//! An entry exists only while the table entries it was made from are as they were, so dropping
//! one, or the guest's fences, change nothing. A write entry exists only for a page that is dirty
//! in this epoch and that nobody watches, so the first write of an epoch is always seen.
//!
//! There is a view for each pair of address spaces, of fetches and of data. Its entries lie in
//! memory that machine code probes too: `layout` says where.
#![allow(unsafe_code, reason = "reads and writes guest pages by pointer; SAFETY.md")]

mod jumps;
pub(crate) mod layout;
mod region;
mod reverse;
mod uses;
mod view;

use crate::{Context, Mapping, Mode};
use omni_base::{PAGE_SIZE_U64, PageNo};
use reverse::{Place, Reverse};
use std::ptr::NonNull;
use uses::Uses;
use view::{Range, Side, View};

/// Views kept per vCPU.
const VIEWS: usize = 16;

/// Bytes of a chunk of 512 entries: a tag and an address each.
const CHUNK_BYTES: usize = 512 * 16;

/// Chunks of 512 entries with memory of the host in one view at most, of 8 KiB each.
const VIEW_CHUNKS_MAX: usize = 1024;

/// The same in all views of a vCPU together: 16 MiB.
const CHUNKS_MAX: usize = 2048;

/// Chunks with memory that a view may keep when it is taken for other address spaces.
const CHUNKS_KEPT: usize = 24;

/// The TLB of one vCPU.
pub(crate) struct Tlb {
    /// The region of the view that is chosen.
    base: NonNull<u8>,
    current: usize,
    views: Vec<View>,
    reverse: Reverse,
    uses: Uses,
    /// The serial given last.
    serial: u32,
    /// Counts changes of view.
    clock: u64,
    /// Chunks with memory in all views.
    resident: usize,
    /// See `must_stop`.
    stop: bool,
}

// SAFETY: E1: the pointers are into frames of the machine's RAM, which moves with the engine, and
// into regions that the views own.
unsafe impl Send for Tlb {}

impl Tlb {
    pub(crate) fn new() -> Self {
        let view = View::new(Default::default(), 0);
        Self {
            base: view.base(),
            current: 0,
            views: vec![view],
            reverse: Reverse::default(),
            uses: Uses::default(),
            serial: 0,
            clock: 0,
            resident: 0,
            stop: false,
        }
    }

    /// Chooses the address spaces of a run.
    pub(crate) fn select(&mut self, fetch: Context, data: Context) {
        self.stop = false;
        if self.views[self.current].contexts == (fetch, data) {
            return;
        }
        self.current = self.view_of((fetch, data));
        self.clock += 1;
        self.views[self.current].used = self.clock;
        self.base = self.views[self.current].base();
    }

    fn view_of(&mut self, contexts: (Context, Context)) -> usize {
        if let Some(at) = self.views.iter().position(|view| view.contexts == contexts) {
            return at;
        }
        self.serial = self.serial.wrapping_add(1);
        if self.views.len() < VIEWS {
            self.views.push(View::new(contexts, self.serial));
            return self.views.len() - 1;
        }
        let oldest = self.views.iter().enumerate().min_by_key(|(_, view)| view.used);
        let (at, _) = oldest.expect("there are views");
        if self.views[at].resident_count > CHUNKS_KEPT {
            self.release(at);
        }
        let view = &mut self.views[at];
        Side::BOTH.into_iter().for_each(|side| view.clear_side(side));
        view.drop_fetches(Range::ALL);
        view.forget_parked();
        (view.contexts, view.serial) = (contexts, self.serial);
        at
    }

    /// The region of the view of this run, laid out as `layout` says. It stays where it is, and
    /// its entries may be dropped but not moved, until the next `select`.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The word of a table of entries for the page that `at` is in.
    #[inline(always)]
    fn word(&self, table: usize, at: u64) -> u64 {
        let offset = table + layout::index(at) * 8;
        // SAFETY: E5: the tables and all their indices are within the region.
        let word = unsafe { self.base.add(offset) };
        // SAFETY: E5: it is aligned, and nobody else writes it now.
        unsafe { word.cast::<u64>().read() }
    }

    /// The host's address of `size` bytes at `at`, if they are in one page that has an entry.
    #[inline(always)]
    fn find(&self, (tags, adds): (usize, usize), at: u64, size: u64) -> Option<usize> {
        let here = at.wrapping_sub(self.word(tags, at)) <= PAGE_SIZE_U64 - size;
        here.then(|| at.wrapping_add(self.word(adds, at)) as usize)
    }

    /// Loads `N` bytes at `at` if they are in one page that is here.
    #[inline(always)]
    pub(crate) fn load<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let host = self.find((layout::LOAD_TAGS, layout::LOAD_ADDS), at, N as u64)?;
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
        let host = self.find((layout::STORE_TAGS, layout::STORE_ADDS), at, size)?;
        NonNull::new(std::ptr::with_exposed_provenance_mut(host))
    }

    /// The page of RAM that code at `at` is in, if it is here.
    pub(crate) fn fetch(&self, at: u64) -> Option<PageNo> {
        self.views[self.current].fetch(at)
    }

    /// Keeps where the page of loads at `at` is. The walk must have been noted.
    pub(crate) fn insert_load(&mut self, at: u64, no: PageNo, ptr: NonNull<u8>) {
        self.insert(Side::Load, at, no, ptr);
    }

    /// Keeps where the page of stores at `at` is. The walk must have been noted.
    pub(crate) fn insert_store(&mut self, at: u64, no: PageNo, ptr: NonNull<u8>) {
        self.insert(Side::Store, at, no, ptr);
    }

    fn insert(&mut self, side: Side, at: u64, no: PageNo, ptr: NonNull<u8>) {
        if self.reverse.is_full() {
            self.clear_entries();
        }
        if self.views[self.current].would_grow(side, at) {
            self.make_room();
            self.resident += 1;
        }
        let place = Place { view: self.current, side, index: layout::index(at) };
        if let Some(old) = self.reverse.add(no, place) {
            self.views[old.view].drop_at(old.side, old.index);
        }
        self.views[self.current].insert(side, at, ptr);
    }

    /// Makes sure that a chunk may be filled: what a guest can make us hold is bounded.
    fn make_room(&mut self) {
        if self.views[self.current].resident_count >= VIEW_CHUNKS_MAX {
            self.release(self.current);
        }
        while self.resident >= CHUNKS_MAX {
            let held = self.views.iter().enumerate().filter(|(_, view)| view.resident_count > 0);
            let oldest = held.min_by_key(|(at, view)| (*at == self.current, view.used));
            self.release(oldest.map_or(self.current, |(at, _)| at));
        }
    }

    fn release(&mut self, view: usize) {
        self.resident -= self.views[view].resident_count;
        self.views[view].release();
    }

    /// Keeps where the code of the page at `at` is, by the name `id` that machine code knows.
    pub(crate) fn insert_fetch(&mut self, at: u64, no: PageNo, id: u32) {
        if self.views[self.current].insert_fetch(at, no, id) {
            self.renew_serial(self.current);
        }
    }

    /// The bank of the jump cache of this view for a mode.
    pub(crate) fn bank(&mut self, mode: Mode) -> usize {
        self.views[self.current].bank(mode)
    }

    /// Where a bank is.
    pub(crate) fn bank_address(&self, bank: usize) -> usize {
        self.base.as_ptr().expose_provenance() + view::bank_start(bank)
    }

    /// Forgets where all code is.
    pub(crate) fn forget_code(&mut self) {
        self.views.iter_mut().for_each(View::forget_parked);
        (0..self.views.len()).for_each(|view| self.drop_fetches(view, Range::ALL));
    }

    /// Keeps what runs the code at `pc` in the jump cache of this view. The only way to do so:
    /// what is entered here is dropped together with the page's entry for fetches.
    pub(crate) fn insert_jump(&mut self, bank: usize, pc: u64, code: u64) {
        self.views[self.current].insert_jump(bank, pc, code);
    }

    /// Forgets where the code of the page at `at` is, in every view.
    pub(crate) fn drop_fetch_ids(&mut self, at: u64) {
        (0..self.views.len()).for_each(|view| self.drop_fetches(view, Range::around(at, 0)));
    }

    /// Whether this walk is noted already. Cheap, and may say no.
    pub(crate) fn knows(&self, at: u64, mapping: &Mapping) -> bool {
        self.uses.has(self.current, at, mapping)
    }

    /// Notes by which tables the address was found, so that a write to them drops what was made.
    pub(crate) fn note(&mut self, at: u64, mapping: &Mapping) {
        let mut old = Vec::new();
        self.uses.add(self.current, at, mapping, |used| old.push(used));
        old.into_iter().for_each(|used| self.drop_range(used.view, used.whole()));
    }

    /// Whether entries may lead to the page. Cheap, and may say yes.
    pub(crate) fn has_page(&self, no: PageNo) -> bool {
        self.reverse.has(no)
    }

    /// Whether something may have been made from the table. Cheap, and may say yes.
    pub(crate) fn has_table(&self, table: PageNo) -> bool {
        self.uses.get(table, 0).is_some()
    }

    /// Forgets where a page was read: its content is in another frame now.
    pub(crate) fn page_moved(&mut self, no: PageNo) {
        self.drop_page(no, Side::Load);
    }

    /// Forgets where a page was written: the next write to it must be seen.
    pub(crate) fn page_watched(&mut self, no: PageNo) {
        self.drop_page(no, Side::Store);
    }

    /// Forgets where a page was, for reads and for writes.
    pub(crate) fn page_gone(&mut self, no: PageNo) {
        Side::BOTH.into_iter().for_each(|side| self.drop_page(no, side));
    }

    fn drop_page(&mut self, no: PageNo, side: Side) {
        let Self { reverse, views, .. } = self;
        reverse.take(no, side, |place| views[place.view].drop_at(side, place.index));
    }

    /// Forgets what was made from a table, and that it is one.
    pub(crate) fn table_written(&mut self, table: PageNo) {
        for used in self.uses.take(table) {
            self.drop_range(used.view, used.whole());
        }
    }

    /// Forgets what was made from the table entries that the `count` bytes at `offset` are in.
    pub(crate) fn entries_written(&mut self, table: PageNo, offset: usize, count: usize) {
        // So that the next walk by the table is noted, which is how its use is seen.
        self.uses.forget_last();
        let mut nth = 0;
        while let Some(used) = self.uses.get(table, nth) {
            nth += 1;
            used.part(offset, count).for_each(|range| self.drop_range(used.view, range));
        }
    }

    fn drop_range(&mut self, view: usize, range: Range) {
        Side::BOTH.into_iter().for_each(|side| self.views[view].drop_range(side, range));
        self.drop_fetches(view, range);
    }

    fn drop_fetches(&mut self, view: usize, range: Range) {
        if self.views[view].drop_fetches(range) {
            self.renew_serial(view);
            self.stop = true;
        }
    }

    /// Forgets every write entry: an epoch has ended.
    pub(crate) fn epoch_ended(&mut self) {
        self.views.iter_mut().for_each(|view| view.clear_side(Side::Store));
    }

    /// Forgets everything; no region moves.
    pub(crate) fn flush(&mut self) {
        self.clear_entries();
        (0..self.views.len()).for_each(|view| self.drop_fetches(view, Range::ALL));
        self.uses.clear();
    }

    /// As `flush`, but that code which has the same number again is found at once.
    pub(crate) fn part(&mut self) {
        for view in 0..self.views.len() {
            if self.views[view].park_fetches() {
                self.renew_serial(view);
                self.stop = true;
            }
        }
        self.flush();
    }

    /// Bytes of the host's memory that entries take up.
    pub(crate) fn held_bytes(&self) -> u64 {
        let rest: usize = self.views.iter().map(View::held_bytes).sum();
        (self.resident * CHUNK_BYTES + rest) as u64
    }

    fn clear_entries(&mut self) {
        for view in &mut self.views {
            Side::BOTH.into_iter().for_each(|side| view.clear_side(side));
        }
        self.reverse.clear();
    }

    fn renew_serial(&mut self, view: usize) {
        self.serial = self.serial.wrapping_add(1);
        self.views[view].serial = self.serial;
    }

    /// The serial of the view: it changes when an entry for fetches is dropped.
    pub(crate) fn fetch_serial(&self) -> u32 {
        self.views[self.current].serial
    }

    /// Whether the code that runs may be elsewhere from the next instruction on, as entries for
    /// fetches were dropped since the last `select`. Says so even if it was by mere lack of room:
    /// from then on nobody would notice that the mapping changes.
    pub(crate) fn must_stop(&self) -> bool {
        self.stop
    }

    /// As if entries for fetches had been dropped: code was written.
    pub(crate) fn stop(&mut self) {
        self.stop = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Target;

    static PAGE: [u8; 4096] = [7; 4096];

    fn page() -> NonNull<u8> {
        NonNull::from(&PAGE).cast()
    }

    /// A walk by a root and a leaf table, of entries of eight bytes.
    fn mapping(root: u64, leaf: u64) -> Mapping {
        let no = |no| PageNo(no);
        Mapping {
            target: Target::Ram(PageNo(3)),
            load: true,
            store: false,
            keep: true,
            tables: [no(root), no(leaf), no(0), no(0), no(0), no(0)],
            depth: 2,
            span: 12,
            entry_size: 3,
        }
    }

    fn context(no: u64) -> Context {
        Context([no, 0])
    }

    #[test]
    fn an_empty_entry_matches_no_address() {
        let mut tlb = Tlb::new();
        for flushed in [false, true] {
            for at in [0, 0x1000, 0xfff, 0xffff_ffff_ffff_f000, u64::MAX, 0x1_0000, 1 << 32] {
                assert_eq!(tlb.load::<1>(at), None);
                assert!(!tlb.store::<8>(at, [0; 8]));
                assert_eq!(tlb.fetch(at), None);
                assert!(flushed || tlb.load::<8>(at).is_none());
            }
            tlb.insert_load(0, PageNo(3), page());
            tlb.insert_load(1 << 32, PageNo(3), page());
            tlb.flush();
        }
        tlb.release(0);
        assert_eq!(tlb.load::<1>(0), None);
    }

    #[test]
    fn an_entry_serves_its_page_and_no_byte_more() {
        let mut tlb = Tlb::new();
        tlb.note(0x5123, &mapping(8, 9));
        tlb.insert_load(0x5123, PageNo(3), page());
        assert_eq!(tlb.load::<4>(0x5ffc), Some([7; 4]));
        assert_eq!(tlb.load::<4>(0x5ffd), None);
        assert_eq!(tlb.load::<1>(0x4fff), None);
        assert_eq!(tlb.load::<1>(0x6000), None);
        assert_eq!(tlb.load::<1>(0x1_0000_5000), None);
        assert!(!tlb.store::<1>(0x5000, [1]));
        tlb.table_written(PageNo(9));
        assert_eq!(tlb.load::<4>(0x5ffc), None);
    }

    #[test]
    fn a_written_table_entry_takes_with_it_what_it_maps_and_nothing_else() {
        let mut tlb = Tlb::new();
        let places = [0x5000, 0x6000, 0x20_5000, 0x4000_5000];
        for (at, (root, leaf)) in places.into_iter().zip([(8, 9), (8, 9), (8, 10), (12, 11)]) {
            tlb.note(at, &mapping(root, leaf));
            tlb.insert_load(at, PageNo(3), page());
            tlb.insert_fetch(at, PageNo(3), 5);
        }
        let here =
            |tlb: &Tlb| places.map(|at| (tlb.load::<1>(at).is_some(), tlb.fetch(at).is_some()));
        // The last address shares the place of the first, and has taken it for fetches.
        assert_eq!(here(&tlb), [(true, false), (true, true), (true, true), (true, true)]);
        tlb.entries_written(PageNo(9), 6 * 8 + 3, 2);
        assert!(tlb.must_stop());
        assert_eq!(here(&tlb), [(true, false), (false, false), (true, true), (true, true)]);
        tlb.entries_written(PageNo(8), 0, 8);
        assert_eq!(here(&tlb), [(false, false), (false, false), (true, true), (true, true)]);
        tlb.entries_written(PageNo(8), 8, 8);
        assert_eq!(here(&tlb), [(false, false), (false, false), (false, false), (true, true)]);
    }

    #[test]
    fn an_entry_goes_from_every_view_with_its_page() {
        let mut tlb = Tlb::new();
        for view in 0..40 {
            tlb.select(context(view), context(view / 2));
            tlb.insert_load(0x5000, PageNo(3), page());
            tlb.insert_store(0x6000, PageNo(3), page());
        }
        tlb.page_moved(PageNo(3));
        for view in 24..40 {
            tlb.select(context(view), context(view / 2));
            assert_eq!(tlb.load::<1>(0x5000), None);
            assert!(tlb.store_ptr(0x6000, 1).is_some());
        }
        tlb.page_watched(PageNo(3));
        for view in 24..40 {
            tlb.select(context(view), context(view / 2));
            assert!(tlb.store_ptr(0x6000, 1).is_none());
        }
        assert_eq!(tlb.views.len(), VIEWS);
    }

    #[test]
    fn a_page_at_a_great_many_addresses_goes_from_all_of_them() {
        let mut tlb = Tlb::new();
        for at in 0..1000 {
            tlb.insert_load(at << 12, PageNo(3), page());
        }
        tlb.page_moved(PageNo(3));
        assert!((0..1000).all(|at| tlb.load::<1>(at << 12).is_none()));
    }

    #[test]
    fn what_a_table_made_at_a_great_many_addresses_goes_with_it() {
        for precise in [false, true] {
            let mut tlb = Tlb::new();
            for nth in 0..1000 {
                tlb.note(nth << 21, &mapping(8, 9));
                tlb.insert_load(nth << 21, PageNo(nth), page());
            }
            if precise {
                tlb.entries_written(PageNo(9), 0, 8);
            } else {
                tlb.table_written(PageNo(9));
            }
            assert!((0..1000).all(|nth| tlb.load::<1>(nth << 21).is_none()));
        }
    }

    #[test]
    fn memory_is_bounded_whatever_is_touched() {
        let mut tlb = Tlb::new();
        for no in 0..50_000_u64 {
            if no % 1000 == 0 {
                tlb.select(context(no / 1000), context(0));
            }
            let at = no << 21;
            tlb.insert_load(at, PageNo(no), page());
            tlb.insert_store(at, PageNo(no), page());
            assert_eq!(tlb.load::<1>(at), Some([7]));
        }
        assert!(tlb.resident <= CHUNKS_MAX);
        assert_eq!(tlb.resident, tlb.views.iter().map(|view| view.resident_count).sum());
        tlb.flush();
        assert_eq!(tlb.load::<1>(49_999 << 21), None);
    }

    /// Pages of the host that the entries of the view hold, where the host tells.
    fn pages_held(tlb: &Tlb) -> Option<usize> {
        use std::os::unix::fs::FileExt;
        let (first, count) = (layout::LOAD_TAGS, (layout::SIZE - layout::LOAD_TAGS) / 4096);
        let at = tlb.base().as_ptr().addr() + first;
        let mut words = vec![0; count * 8];
        if cfg!(not(target_arch = "x86_64")) {
            // An emulator's map is not the program's.
            return None;
        }
        let map = std::fs::File::open("/proc/self/pagemap").ok()?;
        map.read_exact_at(&mut words, (at / 4096 * 8) as u64).ok()?;
        let (words, _) = words.as_chunks::<8>();
        Some(words.iter().filter(|word| u64::from_le_bytes(**word) >> 63 == 1).count())
    }

    #[test]
    fn dropping_what_has_gone_already_takes_no_memory() {
        let mut tlb = Tlb::new();
        for no in 0..20_000 {
            tlb.insert_load(no << 21, PageNo(no % 500), page());
        }
        tlb.release(0);
        let Some(before) = pages_held(&tlb) else { return };
        (0..500).for_each(|no| tlb.page_moved(PageNo(no)));
        assert_eq!(pages_held(&tlb), Some(before));
        assert!(before < 10, "{before}");
    }

    #[test]
    fn a_jump_is_forgotten_with_the_page_it_leads_to() {
        let mut tlb = Tlb::new();
        // What machine code does.
        let jump = |tlb: &mut Tlb, bank: usize, pc: u64| {
            let at = layout::JUMPS + (bank * layout::BANK_ENTRIES + layout::jump_index(pc)) * 16;
            // SAFETY: E5: the jump caches are in the region.
            let entry = unsafe { tlb.base().add(at) };
            // SAFETY: E5: as above.
            let [found, code] = unsafe { entry.cast::<[u64; 2]>().read() };
            (found == pc).then_some(code)
        };
        let all = |tlb: &mut Tlb| [0, 0x5004, 0x5008, 0x6004].map(|pc| jump(tlb, 2, pc));
        assert_eq!(all(&mut tlb), [None; 4]);
        tlb.insert_jump(2, 0x5004, 1);
        assert_eq!(all(&mut tlb), [None; 4]);
        tlb.insert_fetch(0x5000, PageNo(3), 1);
        tlb.insert_fetch(0x6000, PageNo(4), 2);
        let fill = |tlb: &mut Tlb| {
            tlb.insert_jump(2, 0x5004, 1);
            tlb.insert_jump(2, 0x5008, 2);
        };
        fill(&mut tlb);
        assert_eq!(all(&mut tlb), [None, Some(1), Some(2), None]);
        tlb.drop_fetch_ids(0x6ffe);
        assert_eq!(all(&mut tlb), [None, Some(1), Some(2), None]);
        tlb.drop_fetch_ids(0x5ffe);
        assert_eq!(all(&mut tlb), [None; 4]);
        assert_eq!(tlb.fetch(0x5000), None);
        tlb.insert_fetch(0x5000, PageNo(3), 1);
        fill(&mut tlb);
        let serial = tlb.fetch_serial();
        tlb.insert_fetch(0x5000 + (layout::FETCHES << 12) as u64, PageNo(3), 1);
        assert_ne!(tlb.fetch_serial(), serial);
        assert_eq!(all(&mut tlb), [None; 4]);
        tlb.insert_fetch(0x5000, PageNo(3), 1);
        fill(&mut tlb);
        tlb.flush();
        assert_eq!(all(&mut tlb), [None; 4]);
    }
}
