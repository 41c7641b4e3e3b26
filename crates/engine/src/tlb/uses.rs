//! From pages of tables to the addresses that were translated through them.

use super::view::Range;
use crate::Mapping;
use crate::cache::Multiply;
use omni_base::PageNo;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// Uses of one table at most; beyond, the oldest gives way and what was made by it is dropped.
const TABLE_USES_MAX: usize = 32;

/// Lists that stay allocated while no table has them.
const SPARE_MAX: usize = 64;

/// Bits of the offset in a page, and so in a table.
const PAGE_BITS: u32 = 12;

/// A table as one view uses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Use {
    pub(super) view: usize,
    /// The first address that is translated by the table.
    base: u64,
    /// Log2 of the bytes that one entry maps.
    span: u32,
    /// Log2 of the bytes of an entry.
    entry: u32,
}

impl Use {
    /// The use of the table of `level`, counted from the root, for the address `at`.
    fn of(view: usize, at: u64, mapping: &Mapping, level: u8) -> Self {
        let entry = u32::from(mapping.entry_size);
        let above = u32::from(mapping.depth - 1 - level);
        let span = u32::from(mapping.span) + above * (PAGE_BITS - entry);
        let base = Range::around(at, span + PAGE_BITS - entry).start;
        Self { view, base, span, entry }
    }

    /// All that is translated by the table.
    pub(super) fn whole(&self) -> Range {
        Range::around(self.base, self.span + PAGE_BITS - self.entry)
    }

    /// What is translated by the entries that the `count` bytes at `offset` are in.
    pub(super) fn part(&self, offset: usize, count: usize) -> impl Iterator<Item = Range> + use<> {
        let Self { base, span, entry, .. } = *self;
        (offset >> entry..=(offset + count - 1) >> entry).map(move |nth| {
            let start = (nth as u64).checked_shl(span).unwrap_or(0);
            Range::around(base.wrapping_add(start), span)
        })
    }
}

/// What the memo of `Uses` is of.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Known {
    view: usize,
    tables: [PageNo; 6],
    depth: u8,
    shape: (u8, u8),
    /// The first address that the leaf table translates.
    base: u64,
}

impl Known {
    fn of(view: usize, at: u64, mapping: &Mapping) -> Self {
        let shape = (mapping.span, mapping.entry_size);
        let bits = u32::from(mapping.span) + PAGE_BITS - u32::from(mapping.entry_size);
        let base = Range::around(at, bits).start;
        Self { view, tables: mapping.tables, depth: mapping.depth, shape, base }
    }
}

/// For each page of tables how it is used.
#[derive(Default)]
pub(super) struct Uses {
    by_table: HashMap<PageNo, Vec<Use>, BuildHasherDefault<Multiply>>,
    /// Empty lists, for tables to come.
    spare: Vec<Vec<Use>>,
    /// The walk that was noted last.
    known: Option<Known>,
}

impl Uses {
    /// Whether this walk is noted already.
    pub(super) fn has(&self, view: usize, at: u64, mapping: &Mapping) -> bool {
        self.known == Some(Known::of(view, at, mapping))
    }

    /// Notes a walk. Gives to `full` the uses that had to give way.
    pub(super) fn add(&mut self, view: usize, at: u64, mapping: &Mapping, full: impl FnMut(Use)) {
        let mut full = full;
        for level in 0..mapping.depth {
            let table = mapping.tables[usize::from(level)];
            let used = Use::of(view, at, mapping, level);
            let new = || self.spare.pop().unwrap_or_default();
            let uses = self.by_table.entry(table).or_insert_with(new);
            if uses.contains(&used) {
                continue;
            }
            if uses.len() >= TABLE_USES_MAX {
                full(uses.remove(0));
            }
            uses.push(used);
        }
        self.known = Some(Known::of(view, at, mapping));
    }

    /// The nth use of a table.
    pub(super) fn get(&self, table: PageNo, nth: usize) -> Option<Use> {
        self.by_table.get(&table)?.get(nth).copied()
    }

    /// Takes the uses of a table out.
    pub(super) fn take(&mut self, table: PageNo) -> Vec<Use> {
        self.known = None;
        self.by_table.remove(&table).unwrap_or_default()
    }

    /// Forgets which walk was noted last, so that the next one is noted again.
    pub(super) fn forget_last(&mut self) {
        self.known = None;
    }

    pub(super) fn clear(&mut self) {
        self.known = None;
        for (_, mut uses) in self.by_table.drain().take(SPARE_MAX) {
            uses.clear();
            self.spare.push(uses);
        }
        self.spare.truncate(SPARE_MAX);
    }
}
