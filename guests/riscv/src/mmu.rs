//! Address translation: Bare, Sv39, Sv48, Sv57, with Svnapot, Svpbmt, Svade and Svadu.

use crate::board::Board;
use crate::hart::{Control, envcfg, status};
use crate::mode::Privilege;
use crate::trap::cause;
use omni_base::{Gpa, PAGE_SIZE_U64, PageNo};
use omni_engine::{Access, Mapping, Target};
use omni_ir::Trap;

/// Bits of a page-table entry.
mod pte {
    pub(super) const V: u64 = 1;
    pub(super) const R: u64 = 1 << 1;
    pub(super) const W: u64 = 1 << 2;
    pub(super) const X: u64 = 1 << 3;
    pub(super) const U: u64 = 1 << 4;
    pub(super) const A: u64 = 1 << 6;
    pub(super) const D: u64 = 1 << 7;
    /// Reserved for use by nobody yet.
    pub(super) const RESERVED: u64 = 0x7f << 54;
    pub(super) const PBMT: u64 = 3 << 61;
    pub(super) const N: u64 = 1 << 63;
    pub(super) const PPN_SHIFT: u32 = 10;
    pub(super) const PPN: u64 = (1 << 44) - 1;
}

/// What became of a walk.
enum Fault {
    Page,
    Access,
    /// Another hart has changed the entry that was to be amended: the walk must begin anew.
    Raced,
}

/// A translation in the making.
struct Walk {
    /// The physical address.
    at: u64,
    /// Whether the page may be loaded from, and stored to without setting a bit first.
    load: bool,
    store: bool,
    tables: [PageNo; 6],
    depth: u8,
    /// Log2 of the bytes that the leaf entry maps.
    span: u8,
}

/// One translation asked for.
#[derive(Clone, Copy)]
struct Asked {
    at: u64,
    size: u64,
    access: Access,
    privilege: Privilege,
}

impl Control {
    /// Where the byte at `at` is, for an access of `size` bytes that stays in its page.
    ///
    /// # Errors
    /// The trap that the access takes.
    pub(crate) fn translate<B: Board>(
        &self,
        board: &mut B,
        at: u64,
        size: u64,
        access: Access,
    ) -> Result<Mapping, Trap> {
        let privilege = match access {
            Access::Fetch => self.privilege(),
            Access::Load | Access::Store => self.data_privilege(),
        };
        let asked = Asked { at, size, access, privilege };
        self.map(board, asked).map_err(|fault| {
            let cause = match (fault, access) {
                (Fault::Page | Fault::Raced, Access::Fetch) => cause::FETCH_PAGE,
                (Fault::Page | Fault::Raced, Access::Load) => cause::LOAD_PAGE,
                (Fault::Page | Fault::Raced, Access::Store) => cause::STORE_PAGE,
                (Fault::Access, Access::Fetch) => cause::FETCH_ACCESS,
                (Fault::Access, Access::Load) => cause::LOAD_ACCESS,
                (Fault::Access, Access::Store) => cause::STORE_ACCESS,
            };
            Trap { cause, value: at }
        })
    }

    fn map<B: Board>(&self, board: &mut B, asked: Asked) -> Result<Mapping, Fault> {
        let bare = asked.privilege == Privilege::Machine || self.satp >> 60 == 0;
        let walk = if bare {
            let tables = [PageNo(0); 6];
            Walk { at: asked.at, load: true, store: true, tables, depth: 0, span: 12 }
        } else {
            loop {
                match self.walk(board, asked) {
                    Err(Fault::Raced) => {}
                    walk => break walk?,
                }
            }
        };
        let page = walk.at & !(PAGE_SIZE_U64 - 1);
        let (rights, whole) = self.pmp_rights(page, PAGE_SIZE_U64, asked.privilege);
        let allowed = if whole {
            rights.allow(asked.access)
        } else {
            self.pmp_rights(walk.at, asked.size, asked.privilege).0.allow(asked.access)
        };
        if !allowed {
            return Err(Fault::Access);
        }
        let target = board.target(Gpa(walk.at), asked.access).ok_or(Fault::Access)?;
        Ok(Mapping {
            target,
            load: walk.load && rights.allow(Access::Load),
            store: walk.store && rights.allow(Access::Store),
            keep: whole,
            tables: walk.tables,
            depth: walk.depth,
            span: walk.span,
            entry_size: 3,
        })
    }

    /// The physical address by the tables, whoever may go there.
    pub(crate) fn look_up(&self, at: u64, read: impl Fn(u64) -> Option<u64>) -> Option<Gpa> {
        let levels = u32::try_from((self.satp >> 60).checked_sub(5)?).ok()?;
        let unused = 64 - (12 + 9 * levels);
        if ((at << unused).cast_signed() >> unused).cast_unsigned() != at {
            return None;
        }
        let mut table = (self.satp & pte::PPN) * PAGE_SIZE_U64;
        for level in (0..levels).rev() {
            let entry = read(table + (at >> (12 + 9 * level) & 0x1ff) * 8)?;
            if entry & pte::V == 0 {
                return None;
            }
            let ppn = entry >> pte::PPN_SHIFT & pte::PPN;
            if entry & (pte::R | pte::X) != 0 {
                let napot = entry & pte::N != 0;
                let below = if napot { 0xf } else { (1_u64 << (9 * level)) - 1 };
                let page = ppn & !below | at >> 12 & below;
                return Some(Gpa(page << 12 | at & (PAGE_SIZE_U64 - 1)));
            }
            table = ppn * PAGE_SIZE_U64;
        }
        None
    }

    fn walk<B: Board>(&self, board: &mut B, asked: Asked) -> Result<Walk, Fault> {
        let levels = u32::try_from((self.satp >> 60) - 5).expect("a mode of four bits");
        let unused = 64 - (12 + 9 * levels);
        if ((asked.at << unused).cast_signed() >> unused).cast_unsigned() != asked.at {
            return Err(Fault::Page);
        }
        let mut tables = [PageNo(0); 6];
        let mut table = (self.satp & pte::PPN) * PAGE_SIZE_U64;
        for (depth, level) in (1_u8..).zip((0..levels).rev()) {
            let index = asked.at >> (12 + 9 * level) & 0x1ff;
            let place = table + index * 8;
            let (page, offset) = table_place(board, place)?;
            if !self.table_allows(place, Access::Load) {
                return Err(Fault::Access);
            }
            tables[usize::from(depth) - 1] = page;
            let entry = read_entry(board, offset)?;
            if entry & pte::V == 0 || entry & (pte::R | pte::W) == pte::W {
                return Err(Fault::Page);
            }
            if entry & pte::RESERVED != 0 {
                return Err(Fault::Page);
            }
            if entry & (pte::R | pte::X) != 0 {
                let (at, entry) = self.leaf(board, asked, (entry, place, offset), level)?;
                let load = self.readable(entry);
                let store = entry & pte::W != 0 && entry & pte::D != 0;
                let span = (12 + 9 * level) as u8;
                return Ok(Walk { at, load, store, tables, depth, span });
            }
            if entry & (pte::A | pte::D | pte::U | pte::PBMT | pte::N) != 0 {
                return Err(Fault::Page);
            }
            table = (entry >> pte::PPN_SHIFT & pte::PPN) * PAGE_SIZE_U64;
        }
        Err(Fault::Page)
    }

    /// The physical address by a leaf entry, and the entry as it is then.
    fn leaf<B: Board>(
        &self,
        board: &mut B,
        asked: Asked,
        (mut entry, place, offset): (u64, u64, Gpa),
        level: u32,
    ) -> Result<(u64, u64), Fault> {
        self.check_leaf(asked, entry)?;
        let ppn = entry >> pte::PPN_SHIFT & pte::PPN;
        let mut below = (1_u64 << (9 * level)) - 1;
        if ppn & below != 0 {
            return Err(Fault::Page);
        }
        if entry & pte::N != 0 {
            // The one size there is: 64 KiB.
            if level != 0 || ppn & 0xf != 8 {
                return Err(Fault::Page);
            }
            below = 0xf;
        }
        let wanted = pte::A | if asked.access == Access::Store { pte::D } else { 0 };
        if entry & wanted != wanted {
            if self.menvcfg & envcfg::ADUE == 0 {
                return Err(Fault::Page);
            }
            if !self.table_allows(place, Access::Store) {
                return Err(Fault::Access);
            }
            if !write_entry(board, offset, entry, entry | wanted)? {
                return Err(Fault::Raced);
            }
            entry |= wanted;
        }
        let vpn = asked.at >> 12;
        let page = ppn & !below | vpn & below;
        Ok((page << 12 | asked.at & (PAGE_SIZE_U64 - 1), entry))
    }

    fn check_leaf(&self, asked: Asked, entry: u64) -> Result<(), Fault> {
        let pbmt = entry & pte::PBMT;
        if pbmt == pte::PBMT || pbmt != 0 && self.menvcfg & envcfg::PBMTE == 0 {
            return Err(Fault::Page);
        }
        let user_page = entry & pte::U != 0;
        let sum = self.mstatus & status::SUM != 0 && asked.access != Access::Fetch;
        let level_fits = match asked.privilege {
            Privilege::User => user_page,
            Privilege::Supervisor | Privilege::Machine => !user_page || sum,
        };
        let allowed = match asked.access {
            Access::Load => self.readable(entry),
            Access::Store => entry & pte::W != 0,
            Access::Fetch => entry & pte::X != 0,
        };
        if level_fits && allowed { Ok(()) } else { Err(Fault::Page) }
    }

    fn readable(&self, entry: u64) -> bool {
        let mxr = self.mstatus & status::MXR != 0;
        entry & pte::R != 0 || mxr && entry & pte::X != 0
    }

    fn table_allows(&self, place: u64, access: Access) -> bool {
        self.pmp_rights(place, 8, Privilege::Supervisor).0.allow(access)
    }
}

/// Where a table entry is in the RAM space. Tables are in RAM alone.
fn table_place<B: Board>(board: &B, place: u64) -> Result<(PageNo, Gpa), Fault> {
    match board.target(Gpa(place), Access::Load) {
        Some(Target::Ram(page)) => Ok((page, Gpa(page.base().0 + Gpa(place).offset() as u64))),
        Some(Target::Device(_)) | None => Err(Fault::Access),
    }
}

fn read_entry<B: Board>(board: &mut B, at: Gpa) -> Result<u64, Fault> {
    board.ram().load(at).map(u64::from_le_bytes).map_err(|_| Fault::Access)
}

/// Sets accessed and dirty bits, which makes no translation wrong. Says no where the entry is
/// another by now.
fn write_entry<B: Board>(board: &mut B, at: Gpa, from: u64, to: u64) -> Result<bool, Fault> {
    board.ram().amend(at, from, to).map_err(|_| Fault::Access)
}
