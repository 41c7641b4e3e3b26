//! Where things are in the region of a view: bytes from its base, for machine code too.

/// The file of 256 slots of eight bytes.
pub(crate) const SLOTS: usize = 0;

/// Words of the tier that runs machine code; nothing here touches them.
pub(crate) const CONTROL: usize = 2048;

/// The jump caches: banks of entries of two words, an address of code and what runs it.
pub(crate) const JUMPS: usize = 4096;

/// Banks of the jump cache, for what is not in the context of a view.
pub(crate) const BANKS: usize = 4;

/// Entries of one bank, by the bits of an address from the first on and from the twelfth on.
pub(crate) const BANK_JUMPS: usize = 4096;

/// Entries of one bank in all: after those come as many for what was displaced there, by another
/// function of the address.
pub(crate) const BANK_ENTRIES: usize = 2 * BANK_JUMPS;

/// Bytes of an entry of a jump cache.
pub(crate) const JUMP_BYTES: usize = 16;

/// Entries for fetches, by the bits of an address from the twelfth on. Only those of pages with
/// code are touched, so many of them cost little, and few addresses share one.
pub(crate) const FETCHES: usize = 1 << 16;

/// What tells where code is: a `u32` for each entry for fetches, zero where there is none.
pub(crate) const FETCH_IDS: usize = JUMPS + BANKS * BANK_ENTRIES * JUMP_BYTES;

/// The address of the page that an entry for fetches serves, and one; zero where there is none.
pub(crate) const FETCH_TAGS: usize = FETCH_IDS + FETCHES * 4;

/// The page of RAM there, 32 bits.
pub(crate) const FETCH_PAGES: usize = FETCH_TAGS + FETCHES * 8;

/// The first entry of jump caches that leads there, 32 bits; see `jumps`.
pub(crate) const FETCH_JUMPS: usize = FETCH_PAGES + FETCHES * 4;

/// Entries for loads, and as many for stores, by bits 12 to 31 of an address.
pub(crate) const ENTRIES: usize = 1 << 20;

/// Bytes between the ends and beginnings of the arrays below, so that the four words of a page
/// do not contend for one set of the host's caches.
const SKEW: usize = 1024;

/// The first byte of the page that an entry for loads serves.
pub(crate) const LOAD_TAGS: usize = FETCH_JUMPS + FETCHES * 4;

/// What leads from an address in that page to the host's.
pub(crate) const LOAD_ADDS: usize = LOAD_TAGS + ENTRIES * 8 + SKEW;

/// As `LOAD_TAGS`, for stores.
pub(crate) const STORE_TAGS: usize = LOAD_ADDS + ENTRIES * 8 + SKEW;

/// As `LOAD_ADDS`, for stores.
pub(crate) const STORE_ADDS: usize = STORE_TAGS + ENTRIES * 8 + SKEW;

/// Bytes of a region.
pub(crate) const SIZE: usize = (STORE_ADDS + ENTRIES * 8).next_multiple_of(4096);

const _: () = assert!(SLOTS + 256 * 8 <= CONTROL);
const _: () = assert!(CONTROL + 2048 <= JUMPS);
const _: () = assert!(FETCH_IDS.is_multiple_of(4096), "the tables are released by pages");
const _: () = assert!(LOAD_TAGS.is_multiple_of(4096), "the tables are released by pages");

/// The index of the entry for loads or stores of the page that `at` is in.
#[inline(always)]
pub(crate) const fn index(at: u64) -> usize {
    (at >> 12) as usize & (ENTRIES - 1)
}

/// The index of the entry for fetches of the page that `at` is in.
pub(crate) const fn fetch_index(at: u64) -> usize {
    (at >> 12) as usize & (FETCHES - 1)
}

/// The index of code at `pc` in a bank of the jump cache. Functions of many pages begin at the same
/// places of them, so the page counts too.
pub(crate) const fn jump_index(pc: u64) -> usize {
    (pc >> 1 ^ pc >> 12) as usize & (BANK_JUMPS - 1)
}

/// What the second place of a jump is mixed with: 2^32 by the golden ratio, as machine code has it.
pub(crate) const SECOND_JUMP: u32 = 0x9e37_79b1;

/// The index of code at `pc` among the second entries of a bank, where it was displaced.
pub(crate) const fn second_jump_index(pc: u64) -> usize {
    let mixed = (pc as u32).wrapping_mul(SECOND_JUMP);
    BANK_JUMPS + (mixed >> (32 - BANK_JUMPS.trailing_zeros())) as usize
}

/// The tag of an empty entry for loads or stores, which no access with its index matches.
pub(crate) const fn no_tag(index: usize) -> u64 {
    if index == 0 { 4096 } else { 0 }
}

/// The address in an empty entry of a jump cache, which none with its index equals.
pub(crate) const fn no_pc(index: usize) -> u64 {
    if index.is_multiple_of(BANK_JUMPS) { 2 } else { 0 }
}

const _: () = assert!(second_jump_index(2) != second_jump_index(0), "see `no_pc`");
