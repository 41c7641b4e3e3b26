//! The long way of a memory access: translation, filling of the TLB, devices, page crossings.
#![allow(unsafe_code, reason = "reads and writes guest pages by pointer; SAFETY.md")]

use crate::cache::Cache;
use crate::float::FloatRules;
use crate::interp::bits;
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

/// What a page of tables was used for.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct TableUse {
    /// Its entries led to further tables.
    upper: bool,
    /// Code was found through it.
    fetch: bool,
}

/// The pages of tables that TLB entries were made from; all are watched.
pub(crate) type Tables = BTreeMap<PageNo, TableUse>;

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
}

impl<E: Env> MemoryPath<'_, E> {
    fn each_tlb(&mut self, mut each: impl FnMut(&mut Tlb)) {
        each(self.tlb);
        self.others.iter_mut().flat_map(|tlbs| tlbs.iter_mut()).for_each(each);
    }

    /// Hears what RAM has to say, and drops what is stale. Says whether code has changed.
    pub(crate) fn hear(&mut self) -> bool {
        if !self.env.ram().has_changes() {
            return false;
        }
        let changes = self.env.ram().take_changes();
        for no in changes.moved {
            self.each_tlb(|tlb| tlb.page_moved(no));
        }
        let mut code_changed = false;
        for no in changes.written {
            if let Some(used) = self.tables.remove(&no) {
                if used.upper {
                    self.each_tlb(Tlb::flush);
                } else {
                    self.each_tlb(|tlb| tlb.leaf_written(no));
                }
                if used.fetch {
                    self.each_tlb(Tlb::renew_serials);
                    // The code that runs now may be elsewhere from the next instruction on.
                    code_changed = true;
                }
            }
            if self.pages.has_page(no) {
                self.pages.invalidate(no);
                code_changed = true;
            }
        }
        code_changed
    }

    /// Watches a page, so that the next write to it is heard of.
    pub(crate) fn watch(&mut self, no: PageNo) {
        if !self.env.ram().is_watched(no) {
            self.env.ram().watch(no);
            self.each_tlb(|tlb| tlb.page_watched(no));
        }
    }

    fn translate(&mut self, at: u64, size: Size, access: Access) -> Result<(Mapping, bool), Trap> {
        let mapping = self.env.translate(at, size, access)?;
        // The walk may have set accessed and dirty bits.
        let changed = self.hear();
        if mapping.keep {
            let depth = usize::from(mapping.depth);
            for (level, &no) in mapping.tables[..depth].iter().enumerate() {
                self.watch(no);
                let used = self.tables.entry(no).or_default();
                used.upper |= level + 1 < depth;
                used.fetch |= access == Access::Fetch;
            }
        }
        Ok((mapping, changed))
    }

    /// The page of RAM that code is in, entered into the TLB; `None` where it is not RAM.
    pub(crate) fn fetch(&mut self, at: u64) -> Result<Option<PageNo>, Trap> {
        if let Some(no) = self.tlb.fetch(at) {
            return Ok(Some(no));
        }
        let (mapping, _) = self.translate(at, Size::B2, Access::Fetch)?;
        let Target::Ram(no) = mapping.target else { return Ok(None) };
        if mapping.keep {
            self.tlb.insert_fetch(at, no, &mapping);
        }
        Ok(Some(no))
    }

    pub(crate) fn load(&mut self, at: u64, size: Size, when: At) -> Result<Slow, Trap> {
        if crosses(at, size) {
            return self.load_crossing(at, size, when);
        }
        let (mapping, changed) = self.translate(at, size, Access::Load)?;
        match mapping.target {
            Target::Device(gpa) => {
                let reply = self.env.device_load(at, gpa, size, when)?;
                let changed = self.hear() || changed;
                Ok(Slow { value: reply.value, stop: reply.stop || changed })
            }
            Target::Ram(no) => {
                let ptr = self.read_ptr(at, no)?;
                if mapping.keep {
                    self.tlb.insert_load(at, no, ptr, &mapping);
                }
                Ok(Slow { value: read(ptr, at, size), stop: changed })
            }
        }
    }

    /// A load that must be aligned and from RAM.
    pub(crate) fn load_aligned(&mut self, at: u64, size: Size, when: At) -> Result<Slow, Trap> {
        if !at.is_multiple_of(size.bytes()) {
            return Err(self.env.bad_atomic(at, Access::Load));
        }
        let (mapping, _) = self.translate(at, size, Access::Load)?;
        match mapping.target {
            Target::Ram(_) => self.load(at, size, when),
            Target::Device(_) => Err(self.env.bad_atomic(at, Access::Load)),
        }
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
        let (mapping, changed) = self.translate(at, size, Access::Store)?;
        match mapping.target {
            Target::Device(gpa) => {
                let reply = self.env.device_store(at, gpa, size, value, when)?;
                let heard = self.hear();
                Ok(reply.stop || changed || heard)
            }
            Target::Ram(no) => {
                let (ptr, heard) = self.write_ptr(at, no)?;
                self.keep_store(at, no, ptr, &mapping);
                write(ptr, at, size, value);
                Ok(changed || heard)
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
        let (ptr, stop) = match self.tlb.store_ptr(at, size.bytes()) {
            Some(ptr) => (page_of(ptr, at), false),
            None => {
                let (mapping, changed) = self.translate(at, size, Access::Store)?;
                let Target::Ram(no) = mapping.target else {
                    return Err(self.env.bad_atomic(at, Access::Store));
                };
                let (ptr, heard) = self.write_ptr(at, no)?;
                self.keep_store(at, no, ptr, &mapping);
                (ptr, changed || heard)
            }
        };
        let shift = 64 - bits(size);
        let old = read(ptr, at, size);
        let value = ((old << shift).cast_signed() >> shift).cast_unsigned();
        if let Some(new) = change(value) {
            write(ptr, at, size, new);
        }
        Ok(Slow { value, stop })
    }

    fn load_crossing(&mut self, at: u64, size: Size, when: At) -> Result<Slow, Trap> {
        let mut bytes = [0; 8];
        let mut stop = false;
        for (nth, byte) in bytes[..count(size)].iter_mut().enumerate() {
            let at = at.wrapping_add(nth as u64);
            let (mapping, _) = self.translate(at, Size::B1, Access::Load)?;
            if let Target::Device(_) = mapping.target {
                return Err(self.env.bad_atomic(at, Access::Load));
            }
            let slow = self.load(at, Size::B1, when)?;
            *byte = (slow.value & 0xff) as u8;
            stop |= slow.stop;
        }
        Ok(Slow { value: u64::from_le_bytes(bytes), stop })
    }

    fn store_crossing(&mut self, at: u64, size: Size, value: u64, when: At) -> Result<bool, Trap> {
        // Both pages are asked before a byte is written: a trap leaves no trace.
        for nth in [0, size.bytes() - 1] {
            let at = at.wrapping_add(nth);
            let (mapping, _) = self.translate(at, Size::B1, Access::Store)?;
            if let Target::Device(_) = mapping.target {
                return Err(self.env.bad_atomic(at, Access::Store));
            }
        }
        let mut stop = false;
        for (nth, byte) in value.to_le_bytes()[..count(size)].iter().enumerate() {
            let at = at.wrapping_add(nth as u64);
            stop |= self.store(at, Size::B1, u64::from(*byte), when)?;
        }
        Ok(stop)
    }

    fn keep_store(&mut self, at: u64, no: PageNo, ptr: NonNull<u8>, mapping: &Mapping) {
        // A store to a table of its own mapping makes the mapping stale at once.
        let own_table = mapping.tables[..usize::from(mapping.depth)].contains(&no);
        if !mapping.keep || own_table || self.env.ram().is_watched(no) {
            return;
        }
        self.tlb.insert_store(at, no, ptr, mapping);
        if mapping.load
            && let Some(ptr) = self.env.ram().read_ptr(no)
        {
            self.tlb.insert_load(at, no, ptr, mapping);
        }
    }

    fn read_ptr(&mut self, at: u64, no: PageNo) -> Result<NonNull<u8>, Trap> {
        let ptr = self.env.ram().read_ptr(no);
        ptr.ok_or_else(|| self.env.bad_atomic(at, Access::Load))
    }

    /// The page for writing, and whether code has changed by asking for it.
    fn write_ptr(&mut self, at: u64, no: PageNo) -> Result<(NonNull<u8>, bool), Trap> {
        let ptr = self.env.ram().write_ptr(no);
        let ptr = ptr.ok_or_else(|| self.env.bad_atomic(at, Access::Store))?;
        let heard = self.hear();
        Ok((ptr, heard))
    }
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
