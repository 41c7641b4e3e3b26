//! The long way of a memory access: translation, filling of the TLB, devices, page crossings.
#![allow(unsafe_code, reason = "reads and writes guest pages by pointer; SAFETY.md")]

use crate::cache::{BlockId, Cache, Key};
use crate::code::Operations;
use crate::counters::Counters;
use crate::crew::{Granule, Known, Lanes};
use crate::float::FloatRules;
use crate::interp::bits;
use crate::profiler::{Marker, Phase, now_ns};
use crate::shape::{Shape, Start, translate};
use crate::sources::Sources;
use crate::stops::Stops;
use crate::tlb::Tlb;
use crate::{Access, At, Env, Frontend, Mapping, Target};
use omni_base::{PAGE_SIZE, PAGE_SIZE_U64, PageNo};
use omni_ir::{Size, Slot, Trap};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// What a slow access gives.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Slow {
    pub(crate) value: u64,
    /// Nothing may run after this instruction before the world was looked at.
    pub(crate) stop: bool,
}

/// Pages of tables known at most, but for those of one walk; beyond, everything is dropped.
const TABLES_MAX: usize = 8192;

/// Stores to a table without a walk by it between, before it is taken for an ordinary page.
const STORES_MAX: u8 = 32;

/// The TLB of the vCPU that runs. Others may drop what is in it while this one is in code, so no
/// reference to it is held from one use to the next.
pub(crate) struct OwnTlb<'a>(NonNull<Tlb>, PhantomData<&'a mut Tlb>);

impl OwnTlb<'_> {
    /// # Safety
    /// The vCPU must have its TLB, by E9, whenever this is used.
    pub(crate) unsafe fn new(tlb: *mut Tlb) -> Self {
        Self(NonNull::new(tlb).expect("it points into the crew"), PhantomData)
    }
}

impl Deref for OwnTlb<'_> {
    type Target = Tlb;
    #[inline(always)]
    fn deref(&self) -> &Tlb {
        // SAFETY: E9: as `new` asks.
        unsafe { self.0.as_ref() }
    }
}

impl DerefMut for OwnTlb<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Tlb {
        // SAFETY: E9: as `new` asks.
        unsafe { self.0.as_mut() }
    }
}

/// All that accesses of one vCPU go through.
pub(crate) struct MemoryPath<'a, E> {
    pub(crate) env: &'a mut E,
    pub(crate) tlb: OwnTlb<'a>,
    /// All vCPUs, and which this one is.
    pub(crate) lanes: &'a Lanes,
    pub(crate) own: usize,
    pub(crate) pages: &'a mut Cache,
    pub(crate) sources: &'a mut Sources,
    pub(crate) front: &'a dyn Frontend,
    /// Blocks of the same bytes have things in common.
    pub(crate) moves: bool,
    /// The shape of blocks with machine code.
    pub(crate) shape: Shape,
    pub(crate) float: FloatRules,
    pub(crate) float_flags: Slot,
    pub(crate) reservation: Slot,
    pub(crate) counters: &'a mut Counters,
    pub(crate) stops: &'a mut Stops,
    pub(crate) mark: Marker<'a>,
}

impl<E: Env> MemoryPath<'_, E> {
    /// What all vCPUs know.
    fn known(&mut self) -> &mut Known {
        // SAFETY: E9: the crew is held, or there is one thread.
        unsafe { &mut *self.lanes.known() }
    }

    /// Lets other vCPUs have the world while this one runs code.
    pub(crate) fn enter_code(&mut self) {
        if self.lanes.apart() {
            self.env.release();
            self.lanes.enter_code(self.own);
        }
    }

    /// Takes the world back, and hears what became of this vCPU's code.
    pub(crate) fn leave_code(&mut self) {
        if self.lanes.apart() {
            self.lanes.leave_code(self.own);
            self.env.hold();
            self.read_mail();
        }
    }

    /// Hears which of its code others have written.
    pub(crate) fn read_mail(&mut self) {
        for no in self.lanes.mail(self.own) {
            self.forget_code(no);
        }
    }

    /// Hears what RAM has to say, and drops what is stale. Says whether the code that runs may
    /// be elsewhere, or other code, from the next instruction on.
    pub(crate) fn hear(&mut self) -> bool {
        if !self.env.ram().has_changes() {
            return self.tlb.must_stop();
        }
        let changes = self.env.ram().take_changes();
        self.lanes.tell(self.own, &changes);
        // A table whose entries mean what they meant is one still; as code they are other bytes.
        for no in changes.written.into_iter().chain(changes.amended) {
            self.forget_code(no);
        }
        self.tlb.must_stop()
    }

    fn forget_code(&mut self, no: PageNo) {
        self.sources.forget(no);
        if self.pages.has_page(no) {
            for at in self.pages.invalidate(no) {
                // Numbers of mappings are this engine's own: of all vCPUs that take turns.
                if self.lanes.apart() {
                    self.tlb.drop_fetch_ids(at);
                } else {
                    self.lanes.each_tlb(self.own, |_| true, |tlb| tlb.drop_fetch_ids(at));
                }
            }
            self.counters.pages_dropped += 1;
            self.tlb.stop();
        }
    }

    /// Watches a page, so that the next write to it is heard of. Says whether it was not before.
    fn watch(&mut self, no: PageNo) -> bool {
        let new = !self.env.ram().is_watched(no);
        if new {
            self.env.ram().watch(no);
            self.lanes.each_tlb(self.own, |tlb| tlb.has_page(no), |tlb| tlb.page_watched(no));
        }
        new
    }

    /// Watches a page that a block is made of.
    pub(crate) fn watch_code(&mut self, no: PageNo) {
        if self.lanes.apart() {
            let bit = 1 << self.own;
            *self.known().code.entry(no).or_default() |= bit;
        }
        self.watch(no);
        self.sources.note(no, self.env.ram());
    }

    /// Makes sure that blocks of a page are of what this machine has there.
    fn check_code(&mut self, no: PageNo) {
        if !self.sources.is_doubtful(no) {
            return;
        }
        if self.sources.fits(no, self.env.ram()) {
            // Another machine asked for that, of its own memory.
            self.watch(no);
        } else {
            self.forget_code(no);
        }
    }

    /// Makes sure that a block can be interpreted. Its page must be as it was when it was made.
    #[inline(always)]
    pub(crate) fn bring(&mut self, id: BlockId) {
        if !self.pages.running(id).code.is_whole() {
            self.make_operations(id);
        }
    }

    #[cold]
    fn make_operations(&mut self, id: BlockId) {
        let key = self.pages.running(id).key();
        if let Some(shared) = self.shared_operations(id, &key) {
            self.pages.bring(id, shared);
            self.counters.blocks_shared += 1;
            return;
        }
        let Key { page, pc, mode, .. } = key;
        let began = now_ns();
        let _translation = self.mark.within(Phase::Translation);
        let ptr = self.env.ram().read_ptr(page).expect("a page that a block comes from is in RAM");
        // SAFETY: E2: the page is readable, and nothing writes while a front-end looks at it.
        let bytes = unsafe { std::slice::from_raw_parts(ptr.as_ptr(), PAGE_SIZE) };
        let buffer = std::mem::take(&mut self.pages.buffer);
        let from = Start { pc, mode, shape: self.shape, cuts: self.stops.cuts() };
        let block = translate(self.front, bytes, &from, buffer);
        let block = block.expect("the same bytes were a block before");
        let operations = self.pages.compiler.operations(&block, true);
        self.pages.bring(id, Arc::new(operations));
        self.pages.buffer = block.insts;
        self.counters.blocks_translated += 1;
        self.counters.instructions_translated += self.pages.running(id).code.pcs.len() as u64;
        self.counters.translate_ns += now_ns() - began;
    }

    /// What a block with code runs by steps, of a block of the same bytes, which gets it where it
    /// has not: so those at further addresses need not make it.
    fn shared_operations(&mut self, id: BlockId, key: &Key) -> Option<Arc<Operations>> {
        let model = self.model(key).filter(|model| *model != id)?;
        // One that was written meanwhile is made of other bytes than what is there now.
        if self.pages.find(key) != Some(id) || !self.pages.is_moved(id, model) {
            return None;
        }
        self.bring(model);
        self.pages.running(model).code.shared()
    }

    /// A block of the same bytes at another address, where there can be such.
    pub(crate) fn model(&self, key: &Key) -> Option<BlockId> {
        // Where it is to stop is said by address, and side by side the bytes may be others by now.
        let can = self.stops.cuts().is_empty() && !self.lanes.apart() && key.second.is_none();
        (can && self.moves).then(|| self.pages.model(key)).flatten()
    }

    fn translate(&mut self, at: u64, size: Size, access: Access) -> Result<Mapping, Trap> {
        let _walk = self.mark.within(Phase::Walk);
        match access {
            Access::Load => self.counters.walks_load += 1,
            Access::Store => self.counters.walks_store += 1,
            Access::Fetch => self.counters.walks_fetch += 1,
        }
        loop {
            let mapping = self.env.translate(at, size, access)?;
            // The walk may have set accessed and dirty bits.
            self.hear();
            let new = mapping.keep && mapping.depth > 0 && !self.tlb.knows(at, &mapping);
            // A table that was not watched may have been written since it was read.
            if !(new && self.note(at, &mapping) && self.lanes.apart()) {
                return Ok(mapping);
            }
        }
    }

    /// Notes the tables of a walk, and watches them. Says whether one was not watched before.
    fn note(&mut self, at: u64, mapping: &Mapping) -> bool {
        if self.known().tables.len() >= TABLES_MAX {
            self.lanes.each_tlb(self.own, |_| true, Tlb::flush);
            self.known().tables.clear();
            self.counters.tlb_flushes += 1;
        }
        let mut new = false;
        for &no in &mapping.tables[..usize::from(mapping.depth)] {
            new |= self.watch(no);
            self.known().tables.insert(no, 0);
        }
        self.tlb.note(at, mapping);
        new
    }

    /// The page of RAM that code is in, entered into the TLB; `None` where it is not RAM.
    pub(crate) fn fetch(&mut self, at: u64) -> Result<Option<PageNo>, Trap> {
        if let Some(no) = self.tlb.fetch(at) {
            return Ok(Some(no));
        }
        let mapping = self.translate(at, Size::B2, Access::Fetch)?;
        let Target::Ram(no) = mapping.target else { return Ok(None) };
        self.check_code(no);
        if mapping.keep {
            let id = self.pages.link_id(at, no);
            self.tlb.insert_fetch(at, no, id);
            self.counters.fills_fetch += 1;
        }
        Ok(Some(no))
    }

    pub(crate) fn load(&mut self, at: u64, size: Size, when: At) -> Result<Slow, Trap> {
        self.stops.pass(at, size.bytes(), Access::Load)?;
        if crosses(at, size) {
            return self.load_crossing(at, size);
        }
        let mapping = self.translate(at, size, Access::Load)?;
        match mapping.target {
            Target::Device(gpa) => {
                self.counters.device_loads += 1;
                let _device = self.mark.within(Phase::Device);
                self.lanes.still(self.own);
                let reply = self.env.device_load(at, gpa, size, when)?;
                let changed = self.hear();
                Ok(Slow { value: reply.value, stop: reply.stop || changed })
            }
            Target::Ram(no) => self.load_ram(at, size, no, mapping.keep),
        }
    }

    /// A load that must be aligned and from RAM.
    pub(crate) fn load_aligned(&mut self, at: u64, size: Size) -> Result<Slow, Trap> {
        if !at.is_multiple_of(size.bytes()) {
            return Err(self.env.bad_atomic(at, Access::Load));
        }
        self.stops.pass(at, size.bytes(), Access::Load)?;
        if let Some(value) = self.find(at, size) {
            return Ok(Slow { value, stop: self.tlb.must_stop() });
        }
        let mapping = self.translate(at, size, Access::Load)?;
        match mapping.target {
            Target::Ram(no) => self.load_ram(at, size, no, mapping.keep),
            Target::Device(_) => Err(self.env.bad_atomic(at, Access::Load)),
        }
    }

    /// The value at `at` by the TLB.
    fn find(&self, at: u64, size: Size) -> Option<u64> {
        match size {
            Size::B1 => self.tlb.load(at).map(u8::from_le_bytes).map(u64::from),
            Size::B2 => self.tlb.load(at).map(u16::from_le_bytes).map(u64::from),
            Size::B4 => self.tlb.load(at).map(u32::from_le_bytes).map(u64::from),
            Size::B8 | Size::B16 => self.tlb.load(at).map(u64::from_le_bytes),
        }
    }

    fn load_ram(&mut self, at: u64, size: Size, no: PageNo, keep: bool) -> Result<Slow, Trap> {
        let ptr = self.read_ptr(at, no)?;
        if keep && !self.stops.watches_page(at) {
            self.tlb.insert_load(at, no, ptr);
            self.counters.fills_load += 1;
        }
        Ok(Slow { value: read(ptr, at, size), stop: self.tlb.must_stop() })
    }

    pub(crate) fn store(
        &mut self,
        at: u64,
        size: Size,
        value: u64,
        when: At,
    ) -> Result<bool, Trap> {
        self.stops.pass(at, size.bytes(), Access::Store)?;
        if crosses(at, size) {
            return self.store_crossing(at, size, value, when);
        }
        let mapping = self.translate(at, size, Access::Store)?;
        match mapping.target {
            Target::Device(gpa) => {
                self.counters.device_stores += 1;
                let _device = self.mark.within(Phase::Device);
                self.lanes.still(self.own);
                let reply = self.env.device_store(at, gpa, size, value, when)?;
                let changed = self.hear();
                Ok(reply.stop || changed)
            }
            Target::Ram(no) => {
                let place = self.open(at, no, &mapping)?;
                self.put(place, at, size, value);
                Ok(self.tlb.must_stop())
            }
        }
    }

    /// Reads and perhaps writes RAM in one step; gives the old value, sign-extended.
    pub(crate) fn atomic(
        &mut self,
        at: u64,
        size: Size,
        change: impl Fn(u64) -> Option<u64>,
    ) -> Result<Slow, Trap> {
        if !at.is_multiple_of(size.bytes()) {
            return Err(self.env.bad_atomic(at, Access::Store));
        }
        let place = match self.tlb.store_ptr(at, size.bytes()) {
            Some(ptr) => Place { page: page_of(ptr, at), table: None },
            None => self.open_atomic(at, size)?.1,
        };
        Ok(self.change(place, at, size, change))
    }

    /// The page of an atomic access, and its number.
    fn open_atomic(&mut self, at: u64, size: Size) -> Result<(PageNo, Place), Trap> {
        self.stops.pass(at, size.bytes(), Access::Load)?;
        self.stops.pass(at, size.bytes(), Access::Store)?;
        let mapping = self.translate(at, size, Access::Store)?;
        let Target::Ram(no) = mapping.target else {
            return Err(self.env.bad_atomic(at, Access::Store));
        };
        Ok((no, self.open(at, no, &mapping)?))
    }

    fn change(
        &mut self,
        place: Place,
        at: u64,
        size: Size,
        change: impl Fn(u64) -> Option<u64>,
    ) -> Slow {
        let (old, new) = exchange(place.page, at, size, change);
        if let (Some(table), Some(new)) = (place.table, new)
            && old != new
        {
            self.entries_written(table, at, size);
        }
        Slow { value: old, stop: self.tlb.must_stop() }
    }

    /// A load that reserves what it loads from, in a way that stores of other vCPUs side by side
    /// are seen: they have no entry for the page until the reservation is over.
    pub(crate) fn reserve(&mut self, at: u64, size: Size) -> Result<Slow, Trap> {
        if !at.is_multiple_of(size.bytes()) {
            return Err(self.env.bad_atomic(at, Access::Load));
        }
        self.stops.pass(at, size.bytes(), Access::Load)?;
        let mapping = self.translate(at, size, Access::Load)?;
        let Target::Ram(no) = mapping.target else {
            return Err(self.env.bad_atomic(at, Access::Load));
        };
        let own = self.own;
        self.known().reserved[own] = Some(Granule::of(no, at));
        self.lanes.each_tlb(own, |tlb| tlb.has_page(no), |tlb| tlb.page_watched(no));
        self.load_ram(at, size, no, mapping.keep)
    }

    /// The store that belongs to `reserve`, unless that was `lost` already. Says whether it is.
    pub(crate) fn store_reserved(
        &mut self,
        at: u64,
        size: Size,
        lost: bool,
        value: u64,
    ) -> Result<(Slow, bool), Trap> {
        if !at.is_multiple_of(size.bytes()) {
            return Err(self.env.bad_atomic(at, Access::Store));
        }
        let (no, place) = self.open_atomic(at, size)?;
        let own = self.own;
        let reserved = self.known().reserved[own].take();
        let lost = lost || reserved != Some(Granule::of(no, at));
        let slow = self.change(place, at, size, |_| (!lost).then_some(value));
        Ok((slow, lost))
    }

    /// Lets go of what is reserved by `reserve`.
    pub(crate) fn forget_reservation(&mut self) {
        let own = self.own;
        self.known().reserved[own] = None;
    }

    /// Breaks what other vCPUs have reserved there, as this one stores.
    fn break_reservations(&mut self, no: PageNo, at: u64) {
        let (own, granule) = (self.own, Granule::of(no, at));
        for (lane, reserved) in self.known().reserved.iter_mut().enumerate() {
            if lane != own && *reserved == Some(granule) {
                *reserved = None;
            }
        }
    }

    fn is_reserved_by_others(&mut self, no: PageNo) -> bool {
        let own = self.own;
        let mut reserved = self.known().reserved.iter().enumerate();
        reserved.any(|(lane, of)| lane != own && of.is_some_and(|granule| granule.page == no))
    }

    fn load_crossing(&mut self, at: u64, size: Size) -> Result<Slow, Trap> {
        let mut bytes = [0; 8];
        let mut stop = false;
        for (nth, byte) in bytes[..count(size)].iter_mut().enumerate() {
            // As one from RAM: a device has no part of a value.
            let slow = self.load_aligned(at.wrapping_add(nth as u64), Size::B1)?;
            *byte = (slow.value & 0xff) as u8;
            stop |= slow.stop;
        }
        Ok(Slow { value: u64::from_le_bytes(bytes), stop })
    }

    fn store_crossing(&mut self, at: u64, size: Size, value: u64, when: At) -> Result<bool, Trap> {
        // Both pages are asked before a byte is written: a trap leaves no trace.
        for nth in [0, size.bytes() - 1] {
            let at = at.wrapping_add(nth);
            if self.tlb.store_ptr(at, 1).is_some() {
                continue;
            }
            let mapping = self.translate(at, Size::B1, Access::Store)?;
            if let Target::Device(_) = mapping.target {
                return Err(self.env.bad_atomic(at, Access::Store));
            }
        }
        let mut stop = false;
        for (nth, byte) in value.to_le_bytes()[..count(size)].iter().enumerate() {
            let at = at.wrapping_add(nth as u64);
            if !self.tlb.store(at, [*byte]) {
                stop |= self.store(at, Size::B1, u64::from(*byte), when)?;
            }
        }
        Ok(stop)
    }

    fn keep_store(&mut self, at: u64, no: PageNo, ptr: NonNull<u8>, mapping: &Mapping) {
        // A store to a table of its own mapping makes the mapping stale at once.
        let own_table = mapping.tables[..usize::from(mapping.depth)].contains(&no);
        // Who finds an entry for stores may load there too.
        let allowed = mapping.keep && mapping.load && !own_table;
        let quiet = self.env.ram().is_watched(no) || self.stops.watches_page(at);
        if !allowed || quiet || self.is_reserved_by_others(no) {
            return;
        }
        self.tlb.insert_store(at, no, ptr);
        self.counters.fills_store += 1;
        if let Some(ptr) = self.env.ram().read_ptr(no) {
            self.tlb.insert_load(at, no, ptr);
            self.counters.fills_load += 1;
        }
    }

    fn read_ptr(&mut self, at: u64, no: PageNo) -> Result<NonNull<u8>, Trap> {
        let ptr = self.env.ram().read_ptr(no);
        ptr.ok_or_else(|| self.env.bad_atomic(at, Access::Load))
    }

    /// The page for writing, as a table where it is one, else entered into the TLB.
    fn open(&mut self, at: u64, no: PageNo, mapping: &Mapping) -> Result<Place, Trap> {
        let table = self.is_table(no).then_some(no);
        let quiet = table.is_some() || self.is_beside_code(at, no);
        let ram = self.env.ram();
        let page = if quiet { ram.write_ptr_watched(no) } else { ram.write_ptr(no) };
        let page = page.ok_or_else(|| self.env.bad_atomic(at, Access::Store))?;
        self.hear();
        self.break_reservations(no, at);
        if !quiet {
            self.keep_store(at, no, page, mapping);
        }
        Ok(Place { page, table })
    }

    /// Whether a store to the page is one to a table that is used, and counts it. A page that is
    /// written time and again without a walk by it is none any more, or is being cleared.
    fn is_table(&mut self, no: PageNo) -> bool {
        let code = self.pages.has_page(no) || self.known().code.contains_key(&no);
        if code || !self.env.ram().is_watched(no) {
            return false;
        }
        let Some(stores) = self.known().tables.get_mut(&no) else { return false };
        *stores = stores.saturating_add(1);
        *stores <= STORES_MAX
    }

    /// Whether a store to a page of code misses the lines that blocks come from: they stay.
    fn is_beside_code(&mut self, at: u64, no: PageNo) -> bool {
        // Side by side, only the page as a whole is known to have code of others.
        !self.lanes.apart()
            && self.env.ram().is_watched(no)
            && !self.known().tables.contains_key(&no)
            && self.pages.misses_code(no, (at % PAGE_SIZE_U64) as usize)
    }

    /// Stores, and drops what was made from a table's entries where they change.
    fn put(&mut self, place: Place, at: u64, size: Size, value: u64) {
        let old = place.table.map(|table| (table, read(place.page, at, size)));
        write(place.page, at, size, value);
        if let Some((table, old)) = old
            && old != read(place.page, at, size)
        {
            self.entries_written(table, at, size);
        }
    }

    fn entries_written(&mut self, table: PageNo, at: u64, size: Size) {
        let offset = (at % PAGE_SIZE_U64) as usize;
        let drop = |tlb: &mut Tlb| tlb.entries_written(table, offset, count(size));
        self.lanes.each_tlb(self.own, |tlb| tlb.has_table(table), drop);
    }
}

/// A page that may be written.
#[derive(Clone, Copy)]
struct Place {
    page: NonNull<u8>,
    /// Its number, if it is a table.
    table: Option<PageNo>,
}

fn crosses(at: u64, size: Size) -> bool {
    at % PAGE_SIZE_U64 + size.bytes() > PAGE_SIZE_U64
}

/// The bytes of a value; those of a pair are accessed one value at a time.
fn count(size: Size) -> usize {
    match size {
        Size::B1 => 1,
        Size::B2 => 2,
        Size::B4 => 4,
        Size::B8 | Size::B16 => 8,
    }
}

/// The start of the page that `ptr`, a pointer to the byte at `at`, is in.
fn page_of(ptr: NonNull<u8>, at: u64) -> NonNull<u8> {
    ptr.map_addr(|addr| {
        let start = addr.get() - (at % PAGE_SIZE_U64) as usize;
        start.try_into().expect("a page is not at address zero")
    })
}

/// The value at `at` in the page at `page`, which it does not leave; read in one step where it is
/// aligned.
fn read(page: NonNull<u8>, at: u64, size: Size) -> u64 {
    // SAFETY: E2: `page` is a page of RAM, and the value is within it.
    let ptr = unsafe { page.add((at % PAGE_SIZE_U64) as usize) };
    macro_rules! read {
        ($int:ty) => {
            // SAFETY: E2 and E10: the bytes are readable.
            u64::from(<$int>::from_le(unsafe { ptr.cast::<$int>().read_unaligned() }))
        };
    }
    match size {
        Size::B1 => read!(u8),
        Size::B2 => read!(u16),
        Size::B4 => read!(u32),
        Size::B8 | Size::B16 => read!(u64),
    }
}

/// Puts a value at `at` in the page at `page`, which it does not leave; in one step where it is
/// aligned.
fn write(page: NonNull<u8>, at: u64, size: Size, value: u64) {
    // SAFETY: E3: `page` is a page of RAM, and the value is within it.
    let ptr = unsafe { page.add((at % PAGE_SIZE_U64) as usize) };
    macro_rules! write {
        ($int:ty) => {
            // SAFETY: E3 and E10: the space owns the page.
            unsafe { ptr.cast::<$int>().write_unaligned((value as $int).to_le()) }
        };
    }
    match size {
        Size::B1 => write!(u8),
        Size::B2 => write!(u16),
        Size::B4 => write!(u32),
        Size::B8 | Size::B16 => write!(u64),
    }
}

/// Changes the aligned value at `at` in one step, where `change` says so. Gives the old value and
/// the new one, both sign-extended.
fn exchange(
    page: NonNull<u8>,
    at: u64,
    size: Size,
    change: impl Fn(u64) -> Option<u64>,
) -> (u64, Option<u64>) {
    // SAFETY: E3: `page` is a page of RAM that its space owns, and the value is within it.
    let ptr = unsafe { page.add((at % PAGE_SIZE_U64) as usize) };
    let shift = 64 - bits(size);
    let extend = |value: u64| ((value << shift).cast_signed() >> shift).cast_unsigned();
    macro_rules! exchange {
        ($int:ty, $atomic:ty) => {{
            // SAFETY: E3 and E10: the value is aligned, and whoever else is at it is so in one
            // step.
            let word = unsafe { <$atomic>::from_ptr(ptr.as_ptr().cast()) };
            let mut found = word.load(Ordering::SeqCst);
            loop {
                let old = extend(u64::from(<$int>::from_le(found)));
                let Some(new) = change(old) else { return (old, None) };
                let to = (new as $int).to_le();
                match word.compare_exchange(found, to, Ordering::SeqCst, Ordering::SeqCst) {
                    Ok(_) => return (old, Some(extend(new))),
                    Err(other) => found = other,
                }
            }
        }};
    }
    match size {
        Size::B1 => exchange!(u8, AtomicU8),
        Size::B2 => exchange!(u16, AtomicU16),
        Size::B4 => exchange!(u32, AtomicU32),
        Size::B8 | Size::B16 => exchange!(u64, AtomicU64),
    }
}
