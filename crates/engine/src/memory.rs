//! The long way of a memory access: translation, filling of the TLB, devices, page crossings.
#![allow(unsafe_code, reason = "reads and writes guest pages by pointer; SAFETY.md")]

use crate::cache::Cache;
use crate::counters::Counters;
use crate::float::FloatRules;
use crate::interp::bits;
use crate::profiler::{Marker, Phase};
use crate::tlb::Tlb;
use crate::{Access, At, Env, Mapping, Target};
use omni_base::{PAGE_SIZE, PAGE_SIZE_U64, PageNo};
use omni_ir::{Size, Slot, Trap};
use std::collections::BTreeMap;
use std::ptr::NonNull;

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

/// The pages of tables that TLB entries were made from, all of them watched; with each the number
/// of stores since a walk used it.
pub(crate) type Tables = BTreeMap<PageNo, u8>;

/// All that accesses of one vCPU go through.
pub(crate) struct MemoryPath<'a, E> {
    pub(crate) env: &'a mut E,
    pub(crate) tlb: &'a mut Tlb,
    /// The TLBs of the other vCPUs.
    pub(crate) others: [&'a mut [Tlb]; 2],
    pub(crate) tables: &'a mut Tables,
    pub(crate) pages: &'a mut Cache,
    pub(crate) float: FloatRules,
    pub(crate) float_flags: Slot,
    pub(crate) reservation: Slot,
    pub(crate) counters: &'a mut Counters,
    pub(crate) mark: Marker<'a>,
}

impl<E: Env> MemoryPath<'_, E> {
    fn each_tlb(&mut self, mut each: impl FnMut(&mut Tlb)) {
        each(self.tlb);
        self.others.iter_mut().flat_map(|tlbs| tlbs.iter_mut()).for_each(each);
    }

    /// Hears what RAM has to say, and drops what is stale. Says whether the code that runs may
    /// be elsewhere, or other code, from the next instruction on.
    pub(crate) fn hear(&mut self) -> bool {
        if !self.env.ram().has_changes() {
            return self.tlb.must_stop();
        }
        let changes = self.env.ram().take_changes();
        for no in changes.moved {
            self.each_tlb(|tlb| tlb.page_moved(no));
        }
        for no in changes.written {
            if self.tables.remove(&no).is_some() {
                self.each_tlb(|tlb| tlb.table_written(no));
            }
            self.forget_code(no);
        }
        // A table whose entries mean what they meant is one still; as code they are other bytes.
        for no in changes.amended {
            self.forget_code(no);
        }
        self.tlb.must_stop()
    }

    fn forget_code(&mut self, no: PageNo) {
        if self.pages.has_page(no) {
            for at in self.pages.invalidate(no) {
                self.each_tlb(|tlb| tlb.drop_fetch_ids(at));
            }
            self.counters.pages_dropped += 1;
            self.tlb.stop();
        }
    }

    /// Watches a page, so that the next write to it is heard of.
    pub(crate) fn watch(&mut self, no: PageNo) {
        if !self.env.ram().is_watched(no) {
            self.env.ram().watch(no);
            self.each_tlb(|tlb| tlb.page_watched(no));
        }
    }

    fn translate(&mut self, at: u64, size: Size, access: Access) -> Result<Mapping, Trap> {
        let _walk = self.mark.within(Phase::Walk);
        match access {
            Access::Load => self.counters.walks_load += 1,
            Access::Store => self.counters.walks_store += 1,
            Access::Fetch => self.counters.walks_fetch += 1,
        }
        let mapping = self.env.translate(at, size, access)?;
        // The walk may have set accessed and dirty bits.
        self.hear();
        if mapping.keep && mapping.depth > 0 && !self.tlb.knows(at, &mapping) {
            self.note(at, &mapping);
        }
        Ok(mapping)
    }

    /// Notes the tables of a walk, and watches them.
    fn note(&mut self, at: u64, mapping: &Mapping) {
        if self.tables.len() >= TABLES_MAX {
            self.each_tlb(Tlb::flush);
            self.tables.clear();
            self.counters.tlb_flushes += 1;
        }
        for &no in &mapping.tables[..usize::from(mapping.depth)] {
            self.watch(no);
            self.tables.insert(no, 0);
        }
        self.tlb.note(at, mapping);
    }

    /// The page of RAM that code is in, entered into the TLB; `None` where it is not RAM.
    pub(crate) fn fetch(&mut self, at: u64) -> Result<Option<PageNo>, Trap> {
        if let Some(no) = self.tlb.fetch(at) {
            return Ok(Some(no));
        }
        let mapping = self.translate(at, Size::B2, Access::Fetch)?;
        let Target::Ram(no) = mapping.target else { return Ok(None) };
        if mapping.keep {
            let id = self.pages.link_id(at, no);
            self.tlb.insert_fetch(at, no, id);
            self.counters.fills_fetch += 1;
        }
        Ok(Some(no))
    }

    pub(crate) fn load(&mut self, at: u64, size: Size, when: At) -> Result<Slow, Trap> {
        if crosses(at, size) {
            return self.load_crossing(at, size);
        }
        let mapping = self.translate(at, size, Access::Load)?;
        match mapping.target {
            Target::Device(gpa) => {
                self.counters.device_loads += 1;
                let _device = self.mark.within(Phase::Device);
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
        if keep {
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
        if crosses(at, size) {
            return self.store_crossing(at, size, value, when);
        }
        let mapping = self.translate(at, size, Access::Store)?;
        match mapping.target {
            Target::Device(gpa) => {
                self.counters.device_stores += 1;
                let _device = self.mark.within(Phase::Device);
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
        change: impl FnOnce(u64) -> Option<u64>,
    ) -> Result<Slow, Trap> {
        if !at.is_multiple_of(size.bytes()) {
            return Err(self.env.bad_atomic(at, Access::Store));
        }
        let place = match self.tlb.store_ptr(at, size.bytes()) {
            Some(ptr) => Place { page: page_of(ptr, at), table: None },
            None => {
                let mapping = self.translate(at, size, Access::Store)?;
                let Target::Ram(no) = mapping.target else {
                    return Err(self.env.bad_atomic(at, Access::Store));
                };
                self.open(at, no, &mapping)?
            }
        };
        let shift = 64 - bits(size);
        let old = read(place.page, at, size);
        let value = ((old << shift).cast_signed() >> shift).cast_unsigned();
        if let Some(new) = change(value) {
            self.put(place, at, size, new);
        }
        Ok(Slow { value, stop: self.tlb.must_stop() })
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
        if !mapping.keep || !mapping.load || own_table || self.env.ram().is_watched(no) {
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
        if !quiet {
            self.keep_store(at, no, page, mapping);
        }
        Ok(Place { page, table })
    }

    /// Whether a store to the page is one to a table that is used, and counts it. A page that is
    /// written time and again without a walk by it is none any more, or is being cleared.
    fn is_table(&mut self, no: PageNo) -> bool {
        if !self.env.ram().is_watched(no) || self.pages.has_page(no) {
            return false;
        }
        let Some(stores) = self.tables.get_mut(&no) else { return false };
        *stores = stores.saturating_add(1);
        *stores <= STORES_MAX
    }

    /// Whether a store to a page of code misses the lines that blocks come from: they stay.
    fn is_beside_code(&mut self, at: u64, no: PageNo) -> bool {
        self.env.ram().is_watched(no)
            && !self.tables.contains_key(&no)
            && self.pages.misses_code(no, (at % PAGE_SIZE_U64) as usize)
    }

    /// Stores, and drops what was made from a table's entries where they change.
    fn put(&mut self, place: Place, at: u64, size: Size, value: u64) {
        let old = place.table.map(|table| (table, read(place.page, at, size)));
        write(place.page, at, size, value);
        if let Some((table, old)) = old
            && old != read(place.page, at, size)
        {
            let offset = (at % PAGE_SIZE_U64) as usize;
            self.each_tlb(|tlb| tlb.entries_written(table, offset, count(size)));
        }
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

/// The value at `at` in the page at `page`, which it does not leave.
fn read(page: NonNull<u8>, at: u64, size: Size) -> u64 {
    let offset = (at % PAGE_SIZE_U64) as usize;
    // SAFETY: E2: `page` is a page of RAM.
    let page = unsafe { page.cast::<[u8; PAGE_SIZE]>().as_ref() };
    let mut bytes = [0; 8];
    bytes[..count(size)].copy_from_slice(&page[offset..][..count(size)]);
    u64::from_le_bytes(bytes)
}

/// Puts a value at `at` in the page at `page`, which it does not leave.
fn write(page: NonNull<u8>, at: u64, size: Size, value: u64) {
    let offset = (at % PAGE_SIZE_U64) as usize;
    // SAFETY: E3: `page` is a page of RAM that its space owns.
    let page = unsafe { page.cast::<[u8; PAGE_SIZE]>().as_mut() };
    page[offset..][..count(size)].copy_from_slice(&value.to_le_bytes()[..count(size)]);
}
