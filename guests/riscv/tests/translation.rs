//! Address translation: every mode, every bit of an entry, and the rules around them.

mod machine;

use machine::{Machine, RAM_BASE};
use omni_guest_riscv::isa::Base;
use omni_guest_riscv::operand::{Imm, RegImm, Store, X};
use omni_guest_riscv::trap::cause;
use omni_guest_riscv::{envcfg, status};

const V: u64 = 1;
const R: u64 = 2;
const W: u64 = 4;
const EXEC: u64 = 8;
const U: u64 = 16;
const A: u64 = 64;
const D: u64 = 128;
const ALL: u64 = V | R | W | EXEC | A | D;

const HANDLER: u64 = RAM_BASE + 0x1000;
const TABLES: u64 = RAM_BASE + 0x1_0000;
const DATA: u64 = RAM_BASE + 0x4_0000;
/// Where tests map the data: different indices on every level.
const AT: u64 = 0x12_3456_7000;

fn load() -> u32 {
    Base::Ld(RegImm { rd: X(6), rs1: X(5), imm: Imm(0) }).encode()
}

fn store() -> u32 {
    Base::Sd(Store { rs1: X(5), rs2: X(7), imm: Imm(0) }).encode()
}

fn entry(at: u64, bits: u64) -> u64 {
    at >> 12 << 10 | bits
}

/// Code runs in M; loads and stores go as S, through tables of `levels`.
struct Case {
    m: Machine,
    levels: u64,
}

impl Case {
    /// One leaf for `AT`, at `level`, with these bits and this address.
    fn new(levels: u64, level: u64, leaf: u64) -> Self {
        let mut m = Machine::new(512);
        m.put_words(HANDLER, &[0x0000_006f]);
        let c = &mut m.hart.control;
        c.mtvec = HANDLER;
        c.satp = (levels + 5) << 60 | TABLES >> 12;
        c.mstatus = status::MPRV | 1 << status::MPP_SHIFT;
        c.pmpcfg[0] = 0x1f;
        c.pmpaddr[0] = (1 << 54) - 1;
        m.put(DATA, &0x1122_3344_5566_7788_u64.to_le_bytes());
        let mut case = Self { m, levels };
        for above in (level + 1..levels).rev() {
            let next = case.table(above - 1);
            case.set(above, entry(next, V));
        }
        case.set(level, leaf);
        case
    }

    /// The table of a level.
    fn table(&self, level: u64) -> u64 {
        TABLES + (self.levels - 1 - level) * 0x1000
    }

    fn place(&self, level: u64) -> u64 {
        self.table(level) + (AT >> (12 + 9 * level) & 0x1ff) * 8
    }

    fn set(&mut self, level: u64, entry: u64) {
        let place = self.place(level);
        self.m.put(place, &entry.to_le_bytes());
    }

    /// One instruction on an address; the cause of its trap, if it took one.
    fn access(&mut self, word: u32, at: u64) -> Option<u64> {
        self.m.put_words(RAM_BASE, &[word]);
        self.m.hart.control.pc = RAM_BASE;
        let c = &mut self.m.hart.control;
        c.mstatus = c.mstatus & !status::MPP | 1 << status::MPP_SHIFT;
        c.mcause = 99;
        self.m.hart.set_x(5, at);
        // Rights may have been changed behind the hart's back.
        self.m.engine.drop_caches(0);
        self.m.run(1);
        let c = &self.m.hart.control;
        if c.mcause == 99 {
            return None;
        }
        assert_eq!(c.mtval, at);
        Some(c.mcause)
    }

    fn loads(&mut self) -> Option<u64> {
        self.access(load(), AT)
    }

    fn stores(&mut self) -> Option<u64> {
        self.access(store(), AT)
    }
}

const LOAD: Option<u64> = Some(cause::LOAD_PAGE);
const STORE: Option<u64> = Some(cause::STORE_PAGE);

#[test]
fn every_mode_translates_at_every_level() {
    for levels in 3..=5 {
        for level in 0..levels.min(3) {
            // A large page holds the data at the same offset.
            let size = 0x1000_u64 << (9 * level);
            let base = DATA & !(size - 1);
            let mut case = Case::new(levels, level, entry(base, ALL));
            let at = AT & !(size - 1) | DATA & (size - 1);
            assert_eq!(case.access(load(), at), None, "{levels} {level}");
            assert_eq!(case.m.hart.x(6), 0x1122_3344_5566_7788);
            case.m.hart.set_x(7, 42);
            assert_eq!(case.access(store(), at), None);
            assert_eq!(case.m.get(DATA), 42);
        }
    }
}

#[test]
fn an_address_that_is_not_canonical_faults() {
    for levels in 3..=5 {
        let mut case = Case::new(levels, 0, entry(DATA, ALL));
        let sign = 1 << (11 + 9 * levels);
        assert_eq!(case.access(load(), AT | sign), LOAD);
        assert_eq!(case.access(load(), AT | 1 << 63), LOAD);
    }
}

#[test]
fn rights_are_those_of_the_leaf() {
    let cases = [
        (V | R | A | D, None, STORE),
        (V | R | W | A | D, None, None),
        (V | EXEC | A | D, LOAD, STORE),
        (V | W | A | D, LOAD, STORE),
        (R | W | A | D, LOAD, STORE),
        (ALL | U, LOAD, STORE),
        (ALL | 1 << 54, LOAD, STORE),
        (ALL | 1 << 60, LOAD, STORE),
        (ALL | 3 << 61, LOAD, STORE),
        (ALL | 1 << 61, LOAD, STORE),
        (V | R | W | D, LOAD, STORE),
        (V | R | W | A, None, STORE),
    ];
    for (bits, loads, stores) in cases {
        let mut case = Case::new(3, 0, entry(DATA, bits));
        assert_eq!((case.loads(), case.stores()), (loads, stores), "{bits:#x}");
    }
}

#[test]
fn status_bits_widen_rights() {
    let mut case = Case::new(3, 0, entry(DATA, ALL | U));
    case.m.hart.control.mstatus |= status::SUM;
    assert_eq!((case.loads(), case.stores()), (None, None));
    let mut case = Case::new(3, 0, entry(DATA, V | EXEC | A | D));
    case.m.hart.control.mstatus |= status::MXR;
    assert_eq!((case.loads(), case.stores()), (None, STORE));
    let mut case = Case::new(3, 0, entry(DATA, ALL | 1 << 61));
    case.m.hart.control.menvcfg |= envcfg::PBMTE;
    assert_eq!((case.loads(), case.stores()), (None, None));
}

#[test]
fn accessed_and_dirty_are_set_where_the_hart_is_asked_to() {
    let mut case = Case::new(3, 0, entry(DATA, V | R | W));
    case.m.hart.control.menvcfg |= envcfg::ADUE;
    let bits = |case: &Case| case.m.get(case.place(0)) & 0xff;
    assert_eq!(case.loads(), None);
    assert_eq!(bits(&case), V | R | W | A);
    assert_eq!(case.stores(), None);
    assert_eq!(bits(&case), V | R | W | A | D);
}

#[test]
fn tables_that_are_malformed_fault() {
    // A large page that is not aligned.
    let mut case = Case::new(3, 1, entry(DATA, ALL));
    assert_eq!(case.loads(), LOAD);
    // Bits that only leaves have.
    for bits in [A, D, U, 1 << 61, 1 << 63] {
        let mut case = Case::new(3, 0, entry(DATA, ALL));
        let next = case.table(0);
        case.set(1, entry(next, V | bits));
        assert_eq!(case.loads(), LOAD, "{bits:#x}");
    }
    // A pointer where a leaf must be.
    let mut case = Case::new(3, 0, entry(DATA, V));
    assert_eq!(case.loads(), LOAD);
    // A table outside RAM.
    let mut case = Case::new(3, 0, entry(DATA, ALL));
    case.set(1, entry(0x4000_0000, V));
    assert_eq!(case.loads(), Some(cause::LOAD_ACCESS));
    assert_eq!(case.stores(), Some(cause::STORE_ACCESS));
}

#[test]
fn sixty_four_kibibytes_are_one_entry_repeated() {
    const N: u64 = 1 << 63;
    let base = DATA & !0xffff;
    let mut case = Case::new(3, 0, entry(base + 0x8000, ALL | N));
    let at = AT & !0xf000 | AT & 0xf000;
    case.m.put(base + (at & 0xffff), &77_u64.to_le_bytes());
    assert_eq!(case.access(load(), at), None);
    assert_eq!(case.m.hart.x(6), 77);
    // The other sizes do not exist.
    let mut case = Case::new(3, 0, entry(base + 0x4000, ALL | N));
    assert_eq!(case.loads(), LOAD);
    let mut case = Case::new(3, 1, entry(RAM_BASE, ALL | N));
    assert_eq!(case.loads(), LOAD);
}

#[test]
fn a_table_that_is_written_is_heard_without_a_fence() {
    let mut case = Case::new(3, 0, entry(DATA, ALL));
    let other = DATA + 0x1000;
    case.m.put(other, &5_u64.to_le_bytes());
    // ld x6, (x5); sd x8, (x9): the table; ld x10, (x5)
    let write = Base::Sd(Store { rs1: X(9), rs2: X(8), imm: Imm(0) }).encode();
    let again = Base::Ld(RegImm { rd: X(10), rs1: X(5), imm: Imm(0) }).encode();
    case.m.put_words(RAM_BASE, &[load(), write, again]);
    // The table is written through a mapping of its own page.
    let window = AT + 0x1000;
    let table = case.table(0);
    let place = case.table(0) + (window >> 12 & 0x1ff) * 8;
    case.m.put(place, &entry(table, ALL).to_le_bytes());
    let inside = case.place(0) - table;
    case.m.hart.set_x(5, AT);
    case.m.hart.set_x(8, entry(other, ALL));
    case.m.hart.set_x(9, window + inside);
    case.m.run(3);
    assert_eq!((case.m.hart.x(6), case.m.hart.x(10)), (0x1122_3344_5566_7788, 5));
}

#[test]
fn protection_cuts_through_pages() {
    let mut case = Case::new(3, 0, entry(DATA, ALL));
    // The first 16 bytes of the data may only be read.
    let c = &mut case.m.hart.control;
    c.pmpaddr[0] = DATA >> 2 | 1;
    c.pmpaddr[1] = (1 << 54) - 1;
    (c.pmpcfg[0], c.pmpcfg[1]) = (0x19, 0x1f);
    assert_eq!(case.loads(), None);
    assert_eq!(case.stores(), Some(cause::STORE_ACCESS));
    assert_eq!(case.access(store(), AT + 16), None);
    // Half in and half out: neither rule serves.
    assert_eq!(case.access(load(), AT + 12), Some(cause::LOAD_ACCESS));
}
