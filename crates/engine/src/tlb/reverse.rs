//! From physical pages to the entries that may lead to them.

use super::layout;
use super::view::Side;
use crate::cache::Multiply;
use omni_base::PageNo;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;

/// References of one page at most; beyond, the oldest gives way and its entry is dropped.
const PAGE_REFS_MAX: usize = 64;

/// References at most: two MiB. Beyond, the TLB drops its entries and begins anew.
const REFS_MAX: usize = 1 << 18;

/// References that room is kept for while there are none.
const KEPT_MAX: usize = 1 << 12;

/// The end of a list.
const END: u32 = u32::MAX;

/// Where an entry for loads or stores is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) view: usize,
    pub(super) side: Side,
    pub(super) index: usize,
}

impl Place {
    fn pack(self) -> u32 {
        let place = (self.view * 2 + self.side as usize) * layout::ENTRIES + self.index;
        u32::try_from(place).expect("sixteen views, two sides and 2^20 entries are 25 bits")
    }

    fn unpack(packed: u32) -> Self {
        let packed = packed as usize;
        let above = packed / layout::ENTRIES;
        let side = if above & 1 == 0 { Side::Load } else { Side::Store };
        Self { view: above >> 1, side, index: packed % layout::ENTRIES }
    }
}

/// One reference in the list of its page.
#[derive(Clone, Copy)]
struct Node {
    place: u32,
    next: u32,
}

/// For each page the entries that were made for it. An entry may have gone since, or be another
/// page's by now: dropping it through a reference that is old is as invisible as any drop.
#[derive(Default)]
pub(super) struct Reverse {
    heads: HashMap<PageNo, u32, BuildHasherDefault<Multiply>>,
    nodes: Vec<Node>,
    free: Vec<u32>,
}

impl Reverse {
    pub(super) fn is_full(&self) -> bool {
        self.nodes.len() >= REFS_MAX && self.free.is_empty()
    }

    /// Whether the page has references.
    pub(super) fn has(&self, no: PageNo) -> bool {
        self.heads.contains_key(&no)
    }

    /// Forgets all. What a machine needs that is awake for a moment stays allocated for the next.
    pub(super) fn clear(&mut self) {
        if self.nodes.capacity() > KEPT_MAX {
            *self = Self::default();
            return;
        }
        self.heads.clear();
        self.nodes.clear();
        self.free.clear();
    }

    /// Notes that an entry leads to a page. Gives the entry that must be dropped for that.
    pub(super) fn add(&mut self, no: PageNo, place: Place) -> Option<Place> {
        let packed = place.pack();
        let head = self.heads.entry(no).or_insert(END);
        let (mut at, mut count, mut last, mut before) = (*head, 0, END, END);
        while at != END {
            let node = self.nodes[at as usize];
            if node.place == packed {
                return None;
            }
            (before, last, at, count) = (last, at, node.next, count + 1);
        }
        if count >= PAGE_REFS_MAX {
            // It is the newest now: were it to stay the last, entries for loads and for stores of
            // one address would drop each other for ever.
            self.nodes[before as usize].next = END;
            let old = std::mem::replace(
                &mut self.nodes[last as usize],
                Node { place: packed, next: *head },
            );
            *head = last;
            return Some(Place::unpack(old.place));
        }
        let node = Node { place: packed, next: *head };
        *head = match self.free.pop() {
            Some(at) => {
                self.nodes[at as usize] = node;
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).expect("the references are bounded")
            }
        };
        None
    }

    /// Takes the references of one side of a page out, and gives each to `each`.
    pub(super) fn take(&mut self, no: PageNo, side: Side, mut each: impl FnMut(Place)) {
        let Some(head) = self.heads.get_mut(&no) else { return };
        let (mut at, mut kept) = (std::mem::replace(head, END), END);
        while at != END {
            let node = &mut self.nodes[at as usize];
            let (here, place) = (at, Place::unpack(node.place));
            at = node.next;
            if place.side == side {
                each(place);
                self.free.push(here);
            } else {
                node.next = kept;
                kept = here;
            }
        }
        if kept == END {
            self.heads.remove(&no);
        } else {
            *head = kept;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_references_of_a_page_at_too_many_addresses_stay() {
        let mut reverse = Reverse::default();
        let place = |index, side| Place { view: 0, side, index };
        for index in 0..PAGE_REFS_MAX {
            assert_eq!(reverse.add(PageNo(3), place(index, Side::Load)), None);
        }
        for index in 100..200 {
            let (store, load) = (place(index, Side::Store), place(index, Side::Load));
            assert!(reverse.add(PageNo(3), store).is_some_and(|old| old.index != index));
            assert!(reverse.add(PageNo(3), load).is_some_and(|old| old.index != index));
            assert_eq!(reverse.add(PageNo(3), store), None);
        }
        let mut left = 0;
        for side in Side::BOTH {
            reverse.take(PageNo(3), side, |_| left += 1);
        }
        assert_eq!(left, PAGE_REFS_MAX);
    }
}
