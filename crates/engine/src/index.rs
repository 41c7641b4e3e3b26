//! A table of the numbers of blocks, found by a hash: four bytes a block, as the keys are in the
//! blocks. What a number of 22 bits leaves of them is of the hash, so that few blocks are looked at
//! in vain.

use crate::cache::BlockId;

/// A place that was never used, and one whose block has gone.
const EMPTY: u32 = u32::MAX;
const GONE: u32 = u32::MAX - 1;

/// Bits of a place that are a block's number; the others are its tag.
const ID_BITS: u32 = 22;
const ID_MASK: u32 = (1 << ID_BITS) - 1;

/// Places at first; a power of two, as ever.
const PLACES_MIN: usize = 1024;

/// The table. Linear probing, at most three quarters full.
#[derive(Default)]
pub(crate) struct Index {
    places: Vec<u32>,
    /// Places in use, and those that are not empty.
    live: usize,
    filled: usize,
}

impl Index {
    /// Blocks in the table.
    pub(crate) fn len(&self) -> usize {
        self.live
    }

    /// The block of this hash that `is` the one.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl Fn(BlockId) -> bool) -> Option<BlockId> {
        if self.places.is_empty() {
            return None;
        }
        let (mut at, tag) = (self.start(hash), tag(hash));
        loop {
            match self.places[at] {
                EMPTY => return None,
                GONE => {}
                place if place & !ID_MASK == tag && is(place & ID_MASK) => {
                    return Some(place & ID_MASK);
                }
                _ => {}
            }
            at = (at + 1) & (self.places.len() - 1);
        }
    }

    /// Puts a block in. `hash_of` gives the hash of those that are in.
    ///
    /// # Panics
    /// Where the number has more than 22 bits, or all of them are ones.
    pub(crate) fn insert(&mut self, hash: u64, id: BlockId, hash_of: impl Fn(BlockId) -> u64) {
        assert!(id < ID_MASK - 1, "the cache is bounded");
        if (self.filled + 1) * 4 > self.places.len() * 3 {
            self.rebuild(hash_of);
        }
        self.put(hash, id);
        self.live += 1;
    }

    /// Takes a block out that is in.
    pub(crate) fn remove(&mut self, hash: u64, id: BlockId) {
        let mut at = self.start(hash);
        while self.places[at] != tag(hash) | id {
            at = (at + 1) & (self.places.len() - 1);
        }
        self.places[at] = GONE;
        self.live -= 1;
    }

    /// Puts a block in for one of the same hash that is in.
    pub(crate) fn replace(&mut self, hash: u64, old: BlockId, new: BlockId) {
        let mut at = self.start(hash);
        while self.places[at] != tag(hash) | old {
            at = (at + 1) & (self.places.len() - 1);
        }
        self.places[at] = tag(hash) | new;
    }

    fn start(&self, hash: u64) -> usize {
        // The upper bits of a product are the better ones.
        (hash >> 32) as usize & (self.places.len() - 1)
    }

    fn put(&mut self, hash: u64, id: BlockId) {
        let mut at = self.start(hash);
        while self.places[at] != EMPTY {
            at = (at + 1) & (self.places.len() - 1);
        }
        self.places[at] = tag(hash) | id;
        self.filled += 1;
    }

    fn rebuild(&mut self, hash_of: impl Fn(BlockId) -> u64) {
        let count = ((self.live + 1) * 2).next_power_of_two().max(PLACES_MIN);
        let old = std::mem::replace(&mut self.places, vec![EMPTY; count]);
        self.filled = 0;
        for place in old.into_iter().filter(|place| !matches!(*place, EMPTY | GONE)) {
            let id = place & ID_MASK;
            self.put(hash_of(id), id);
        }
    }
}

/// What a place has of a hash: bits that do not say where it is.
fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32 & !ID_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_while_they_are_in_and_not_after() {
        let hash = |id: BlockId| u64::from(id % 97) << 32;
        let mut index = Index::default();
        assert_eq!(index.find(hash(5), |_| true), None);
        for id in 0..5000 {
            index.insert(hash(id), id, hash);
            if id % 3 == 0 {
                index.remove(hash(id), id);
            }
        }
        for id in 0..5000 {
            let found = index.find(hash(id), |at| at == id);
            assert_eq!(found, (id % 3 != 0).then_some(id));
        }
        assert_eq!(index.len(), 3333);
    }
}
