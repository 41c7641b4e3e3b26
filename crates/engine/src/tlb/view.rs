//! One view: how a pair of address spaces, of fetches and of data, looks to a vCPU.

use super::jumps::Jumps;
use super::layout::{self, BANK_ENTRIES, BANK_JUMPS, BANKS, ENTRIES, FETCHES, JUMP_BYTES};
use super::region::Region;
use crate::cache::Multiply;
use crate::{Context, Mode};
use omni_base::{PAGE_SIZE_U64, PageNo};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::ptr::NonNull;

/// Entries that are filled and cleared together: a page of tags.
const CHUNK: usize = 512;

/// Chunks of a side.
const CHUNKS: usize = ENTRIES / CHUNK;

/// Entries for fetches that take memory together, about.
const FETCH_CHUNK: usize = 1024;

/// How many such may be used in one view: the code of ordinary guests is in a few places.
const FETCH_CHUNKS_MAX: usize = 16;

/// The memory that they take.
const FETCH_CHUNK_BYTES: usize = FETCH_CHUNK * (layout::LOAD_TAGS - layout::FETCH_IDS) / FETCHES;

/// What an entry is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Load,
    Store,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Load, Self::Store];

    fn tags(self) -> usize {
        match self {
            Self::Load => layout::LOAD_TAGS,
            Self::Store => layout::STORE_TAGS,
        }
    }

    fn adds(self) -> usize {
        match self {
            Self::Load => layout::LOAD_ADDS,
            Self::Store => layout::STORE_ADDS,
        }
    }
}

/// The pages from `start` on, of two to the power of `bits` bytes together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) bits: u32,
}

impl Range {
    pub(super) const ALL: Self = Self { start: 0, bits: 64 };

    /// The aligned range of so many bits around `at`; at least a page.
    pub(super) fn around(at: u64, bits: u32) -> Self {
        let bits = bits.max(PAGE_SIZE_U64.trailing_zeros());
        Self { start: at & u64::MAX.checked_shl(bits).unwrap_or(0), bits }
    }

    fn has(self, at: u64) -> bool {
        (at ^ self.start).checked_shr(self.bits).unwrap_or(0) == 0
    }

    /// The first index and the last, in a table of `count` entries.
    fn indices(self, count: usize) -> (usize, usize) {
        let pages = 1_usize.checked_shl(self.bits - 12).unwrap_or(usize::MAX);
        if pages >= count {
            return (0, count - 1);
        }
        let first = (self.start >> 12) as usize & (count - 1);
        (first, first + pages - 1)
    }
}

/// A set of small numbers.
struct Bits<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Bits<WORDS> {
    fn new() -> Self {
        Self([0; WORDS])
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    /// Says whether it is new.
    fn add(&mut self, at: usize) -> bool {
        let new = !self.has(at);
        self.0[at / 64] |= 1 << (at % 64);
        new
    }

    fn remove(&mut self, at: usize) {
        self.0[at / 64] &= !(1 << (at % 64));
    }

    /// The least number from `at` on.
    fn next(&self, at: usize) -> Option<usize> {
        self.next_before(at, WORDS * 64)
    }

    /// The same below `end`, a multiple of 64.
    fn next_before(&self, at: usize, end: usize) -> Option<usize> {
        let word = at / 64;
        let words = &self.0[..end / 64];
        let first = *words.get(word)? & u64::MAX << (at % 64);
        let rest = words[word + 1..].iter().copied();
        let (nth, bits) = std::iter::once(first).chain(rest).enumerate().find(|(_, w)| *w != 0)?;
        Some((word + nth) * 64 + bits.trailing_zeros() as usize)
    }

    fn clear(&mut self) {
        self.0 = [0; WORDS];
    }
}

type Chunks = Bits<{ CHUNKS / 64 }>;

/// Entries of jump caches that are kept apart at most, in one view.
const PARKED_MAX: usize = 4 * BANKS * BANK_JUMPS;

/// Lists of jumps that stay allocated while no page has them, and how long they may be.
const SPARE_MAX: usize = 256;
const SPARE_JUMPS_MAX: usize = 64;

/// What jump caches had for a page.
struct Parked {
    /// The number of its mapping.
    id: u32,
    jumps: Vec<(u8, u64, u64)>,
}

/// Which entries for fetches there are; what they hold is in the region.
struct Fetches {
    /// The entries that are not empty.
    present: Box<Bits<{ FETCHES / 64 }>>,
    /// Chunks that were used.
    touched: Bits<{ FETCHES / FETCH_CHUNK / 64 }>,
    touched_count: usize,
}

impl Fetches {
    /// The first entry from `at` on that is not empty. Most guests use a few chunks, and only those
    /// are looked through: all is dropped whenever a guest flushes.
    fn next(&self, at: usize) -> Option<usize> {
        let mut at = at;
        loop {
            let chunk = self.touched.next(at / FETCH_CHUNK)?;
            let end = (chunk + 1) * FETCH_CHUNK;
            let found = self.present.next_before(at.max(chunk * FETCH_CHUNK), end);
            if found.is_some() {
                return found;
            }
            at = end;
        }
    }
}

/// What the code of one mode of a vCPU sees, and the memory that machine code finds it in.
pub(super) struct View {
    pub(super) contexts: (Context, Context),
    /// Differs between any two fillings of any view: caches keyed by it need no flush.
    pub(super) serial: u32,
    /// When it was chosen last.
    pub(super) used: u64,
    region: Region,
    /// By side, the chunks that may have entries.
    filled: [Chunks; 2],
    /// By side, the chunks that hold memory of the host.
    resident: [Chunks; 2],
    pub(super) resident_count: usize,
    fetches: Fetches,
    /// The entries of jump caches that are not empty, by the entry for fetches of their page.
    jumps: Jumps,
    /// Entries of jump caches that wait for their page's entry for fetches to come back with the
    /// same number, as bank, address and what runs it, by page; and how many.
    parked: HashMap<u64, Parked, BuildHasherDefault<Multiply>>,
    parked_count: usize,
    /// Empty lists, for pages to come.
    spare: Vec<Vec<(u8, u64, u64)>>,
    /// What mode each bank is of.
    modes: [Option<Mode>; BANKS],
    next_bank: usize,
}

impl View {
    pub(super) fn new(contexts: (Context, Context), serial: u32) -> Self {
        let mut view = Self {
            contexts,
            serial,
            used: 0,
            region: Region::new(),
            filled: [Chunks::new(), Chunks::new()],
            resident: [Chunks::new(), Chunks::new()],
            resident_count: 0,
            fetches: Fetches {
                present: Box::new(Bits::new()),
                touched: Bits::new(),
                touched_count: 0,
            },
            jumps: Jumps::new(),
            parked: HashMap::default(),
            parked_count: 0,
            spare: vec![],
            modes: [None; BANKS],
            next_bank: 0,
        };
        Side::BOTH.into_iter().for_each(|side| view.empty(side, 0));
        for bank in 0..BANKS {
            view.empty_jump(bank, 0);
            view.empty_jump(bank, BANK_JUMPS);
        }
        view
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.region.base()
    }

    /// Bytes of the host's memory that it takes up, but for entries of loads and stores, and for
    /// what the lists of jumps take, which are bounded.
    pub(super) fn held_bytes(&self) -> usize {
        layout::FETCH_IDS + self.fetches.touched_count * FETCH_CHUNK_BYTES
    }

    /// Whether an entry here would take memory that is not held yet.
    pub(super) fn would_grow(&self, side: Side, at: u64) -> bool {
        !self.resident[side as usize].has(layout::index(at) / CHUNK)
    }

    pub(super) fn insert(&mut self, side: Side, at: u64, page: NonNull<u8>) {
        let (index, start) = (layout::index(at), Range::around(at, 12).start);
        let chunk = index / CHUNK;
        self.filled[side as usize].add(chunk);
        if self.resident[side as usize].add(chunk) {
            self.resident_count += 1;
        }
        let add = page.as_ptr().expose_provenance().wrapping_sub(start as usize);
        self.region.words(side.adds() + index * 8, 1)[0] = add as u64;
        self.region.words(side.tags() + index * 8, 1)[0] = start;
    }

    /// Empties an entry. Where its chunk holds no memory, it has none, and must not by this.
    pub(super) fn drop_at(&mut self, side: Side, index: usize) {
        if self.resident[side as usize].has(index / CHUNK) {
            self.empty(side, index);
        }
    }

    fn empty(&mut self, side: Side, index: usize) {
        self.region.words(side.tags() + index * 8, 1)[0] = layout::no_tag(index);
    }

    /// Drops the entries of one side in a range.
    pub(super) fn drop_range(&mut self, side: Side, range: Range) {
        let (first, last) = range.indices(ENTRIES);
        let mut from = first / CHUNK;
        while let Some(chunk) = self.filled[side as usize].next(from) {
            if chunk > last / CHUNK {
                break;
            }
            from = chunk + 1;
            let (low, high) = (first.max(chunk * CHUNK), last.min(chunk * CHUNK + CHUNK - 1));
            let tags = self.region.words(side.tags() + low * 8, high - low + 1);
            let mut left = false;
            for (index, tag) in (low..).zip(tags) {
                if range.has(*tag) {
                    *tag = layout::no_tag(index);
                }
                left |= *tag != layout::no_tag(index);
            }
            if !left && high - low + 1 == CHUNK {
                self.filled[side as usize].remove(chunk);
            }
        }
    }

    /// Drops all entries of one side.
    pub(super) fn clear_side(&mut self, side: Side) {
        let mut from = 0;
        while let Some(chunk) = self.filled[side as usize].next(from) {
            self.region.words(side.tags() + chunk * CHUNK * 8, CHUNK).fill(0);
            from = chunk + 1;
        }
        self.filled[side as usize].clear();
        self.empty(side, 0);
    }

    /// Drops all entries for loads and stores, and gives their memory back.
    pub(super) fn release(&mut self) {
        Side::BOTH.into_iter().for_each(|side| self.clear_side(side));
        self.region.release_entries();
        for side in Side::BOTH {
            self.resident[side as usize].clear();
            self.empty(side, 0);
        }
        self.resident_count = 0;
    }

    /// The page that code at `at` is in, if it is here.
    pub(super) fn fetch(&self, at: u64) -> Option<PageNo> {
        let index = layout::fetch_index(at);
        let here = self.region.word(layout::FETCH_TAGS + index * 8) == fetch_tag(at);
        here.then(|| PageNo(self.region.half(layout::FETCH_PAGES + index * 4).into()))
    }

    /// The start of the page that an entry for fetches is of; not where it is empty.
    fn fetched(&self, index: usize) -> u64 {
        self.region.word(layout::FETCH_TAGS + index * 8) - 1
    }

    /// Puts in where the code at `at` is. Says whether that took the place of others.
    pub(super) fn insert_fetch(&mut self, at: u64, no: PageNo, id: u32) -> bool {
        let (index, page) = (layout::fetch_index(at), Range::around(at, 12));
        let mut other = self.fetches.present.has(index) && self.fetched(index) != page.start;
        if other {
            self.drop_fetches(Range::around(self.fetched(index), 12));
        }
        if self.fetches.touched_count >= FETCH_CHUNKS_MAX
            && !self.fetches.touched.has(index / FETCH_CHUNK)
        {
            other |= self.drop_fetches(Range::ALL);
            self.region.release_fetches();
            self.fetches.touched.clear();
            self.fetches.touched_count = 0;
        }
        let no = u32::try_from(no.0).expect("RAM has fewer than 2^32 pages");
        self.region.words(layout::FETCH_TAGS + index * 8, 1)[0] = fetch_tag(at);
        self.region.halves(layout::FETCH_PAGES + index * 4, 1)[0] = no;
        self.region.halves(layout::FETCH_IDS + index * 4, 1)[0] = id;
        self.fetches.present.add(index);
        self.fetches.touched_count += usize::from(self.fetches.touched.add(index / FETCH_CHUNK));
        if let Some(parked) = self.parked.remove(&page.start) {
            self.parked_count -= parked.jumps.len();
            let mut jumps = parked.jumps;
            for (bank, pc, code) in jumps.drain(..) {
                // The same number: the same page, and what runs its code is there still.
                if parked.id == id {
                    self.insert_jump(bank.into(), pc, code);
                }
            }
            if self.spare.len() < SPARE_MAX && jumps.capacity() <= SPARE_JUMPS_MAX {
                self.spare.push(jumps);
            }
        }
        other
    }

    /// Drops all entries for fetches, and keeps what jump caches have for when they come back.
    pub(super) fn park_fetches(&mut self) -> bool {
        if self.parked_count + self.jumps.count() > PARKED_MAX {
            self.forget_parked();
        }
        let mut from = 0;
        while let Some(fetch) = self.fetches.next(from) {
            from = fetch + 1;
            let start = self.fetched(fetch);
            let id = self.region.half(layout::FETCH_IDS + fetch * 4);
            while let Some((bank, index)) = self.pop_jump(fetch) {
                let (pc, code) = (self.jump(bank, index)[0], self.jump(bank, index)[1]);
                self.empty_jump(bank, index);
                let new = || Parked { id, jumps: self.spare.pop().unwrap_or_default() };
                let parked = self.parked.entry(start).or_insert_with(new);
                if parked.id == id {
                    parked.jumps.push((bank as u8, pc, code));
                    self.parked_count += 1;
                }
            }
        }
        self.drop_fetches(Range::ALL)
    }

    /// What runs code is no longer there, or means something else.
    pub(super) fn forget_parked(&mut self) {
        self.parked.clear();
        self.spare.clear();
        self.parked_count = 0;
    }

    /// Drops the entries for fetches in a range, and what jump caches have there. Says whether
    /// there was any.
    pub(super) fn drop_fetches(&mut self, range: Range) -> bool {
        let (first, last) = range.indices(FETCHES);
        let (mut any, mut from) = (false, first);
        while let Some(index) = self.fetches.next(from) {
            if index > last {
                break;
            }
            from = index + 1;
            if !range.has(self.fetched(index)) {
                continue;
            }
            any = true;
            self.region.words(layout::FETCH_TAGS + index * 8, 1)[0] = 0;
            self.fetches.present.remove(index);
            self.region.halves(layout::FETCH_IDS + index * 4, 1)[0] = 0;
            while let Some((bank, jump)) = self.pop_jump(index) {
                self.empty_jump(bank, jump);
            }
        }
        any
    }

    /// Enters into a bank of the jump cache what runs the code at `pc`, the page of which must be
    /// here for fetches.
    pub(super) fn insert_jump(&mut self, bank: usize, pc: u64, code: u64) {
        if self.fetch(pc).is_none() {
            return;
        }
        let index = layout::jump_index(pc);
        let old = [self.jump(bank, index)[0], self.jump(bank, index)[1]];
        if old[0] != pc && old[0] != layout::no_pc(index) {
            self.put_jump(bank, layout::second_jump_index(old[0]), old);
        }
        self.put_jump(bank, index, [pc, code]);
    }

    fn put_jump(&mut self, bank: usize, index: usize, [pc, code]: [u64; 2]) {
        self.jump(bank, index).copy_from_slice(&[pc, code]);
        let heads = self.region.halves(layout::FETCH_JUMPS, FETCHES);
        self.jumps.put(heads, bank, index, layout::fetch_index(pc));
    }

    /// The bank of the jump cache for a mode, taken from another if need be.
    pub(super) fn bank(&mut self, mode: Mode) -> usize {
        if let Some(bank) = self.modes.iter().position(|of| *of == Some(mode)) {
            return bank;
        }
        let free = self.modes.iter().position(Option::is_none);
        let bank = free.unwrap_or_else(|| {
            self.next_bank = (self.next_bank + 1) % BANKS;
            self.next_bank
        });
        self.empty_bank(bank);
        self.forget_parked();
        self.modes[bank] = Some(mode);
        bank
    }

    fn empty_bank(&mut self, bank: usize) {
        let mut from = 0;
        loop {
            let heads = self.region.halves(layout::FETCH_JUMPS, FETCHES);
            let Some(index) = self.jumps.take_from(heads, bank, from) else { return };
            self.empty_jump(bank, index);
            from = index + 1;
        }
    }

    /// Takes an entry of jump caches that leads to the page of an entry for fetches out of the
    /// page's list.
    fn pop_jump(&mut self, fetch: usize) -> Option<(usize, usize)> {
        self.jumps.pop(self.region.halves(layout::FETCH_JUMPS, FETCHES), fetch)
    }

    fn empty_jump(&mut self, bank: usize, index: usize) {
        self.jump(bank, index).copy_from_slice(&[layout::no_pc(index), 0]);
    }

    fn jump(&mut self, bank: usize, index: usize) -> &mut [u64] {
        self.region.words(bank_start(bank) + index * JUMP_BYTES, 2)
    }
}

/// The tag of the entry for fetches of the page that `at` is in.
fn fetch_tag(at: u64) -> u64 {
    Range::around(at, 12).start | 1
}

pub(super) fn bank_start(bank: usize) -> usize {
    assert!(bank < BANKS);
    layout::JUMPS + bank * BANK_ENTRIES * JUMP_BYTES
}
