//! A table of the numbers of blocks, found by a hash: four bytes a block, as the keys are in the
//! blocks.

use crate::cache::BlockId;

/// A place that was never used, and one whose block has gone.
const EMPTY: BlockId = BlockId::MAX;
const GONE: BlockId = BlockId::MAX - 1;

/// Places at first; a power of two, as ever.
const PLACES_MIN: usize = 1024;

/// The table. Linear probing, at most three quarters full.
#[derive(Default)]
pub(crate) struct Index {
    places: Vec<BlockId>,
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
        let mut at = self.start(hash);
        loop {
            match self.places[at] {
                EMPTY => return None,
                GONE => {}
                id if is(id) => return Some(id),
                _ => {}
            }
            at = (at + 1) & (self.places.len() - 1);
        }
    }

    /// Puts a block in. `hash_of` gives the hash of those that are in.
    pub(crate) fn insert(&mut self, hash: u64, id: BlockId, hash_of: impl Fn(BlockId) -> u64) {
        if (self.filled + 1) * 4 > self.places.len() * 3 {
            self.rebuild(hash_of);
        }
        self.put(hash, id);
        self.live += 1;
    }

    /// Takes a block out that is in.
    pub(crate) fn remove(&mut self, hash: u64, id: BlockId) {
        let mut at = self.start(hash);
        while self.places[at] != id {
            at = (at + 1) & (self.places.len() - 1);
        }
        self.places[at] = GONE;
        self.live -= 1;
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
        self.places[at] = id;
        self.filled += 1;
    }

    fn rebuild(&mut self, hash_of: impl Fn(BlockId) -> u64) {
        let count = ((self.live + 1) * 2).next_power_of_two().max(PLACES_MIN);
        let old = std::mem::replace(&mut self.places, vec![EMPTY; count]);
        self.filled = 0;
        for id in old.into_iter().filter(|id| !matches!(*id, EMPTY | GONE)) {
            self.put(hash_of(id), id);
        }
    }
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
