//! Which entries of jump caches lead to which page: a list for each entry for fetches, so that
//! what is dropped with a page takes as long as there is of it.

use super::layout::{BANK_ENTRIES, BANKS};

/// Entries of all banks.
const ENTRIES: usize = BANKS * BANK_ENTRIES;

/// The lists. An entry is in one of them at most; numbers are one more than what they name, and
/// zero is nothing. Where a list begins is kept elsewhere: `heads`, by list.
pub(super) struct Jumps {
    /// By entry, those after and before it. The first has its list before it, beyond all entries.
    links: Vec<[u32; 2]>,
    count: usize,
}

impl Jumps {
    pub(super) fn new() -> Self {
        Self { links: vec![[0; 2]; ENTRIES], count: 0 }
    }

    /// How many entries are in lists.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Puts an entry into a list, out of the one that it was in.
    pub(super) fn put(&mut self, heads: &mut [u32], bank: usize, index: usize, list: usize) {
        let entry = bank * BANK_ENTRIES + index;
        self.take(heads, entry);
        let next = std::mem::replace(&mut heads[list], number(entry));
        self.links[entry] = [next, number(ENTRIES + list)];
        if next != 0 {
            self.links[next as usize - 1][1] = number(entry);
        }
        self.count += 1;
    }

    fn take(&mut self, heads: &mut [u32], entry: usize) {
        let [next, before] = std::mem::take(&mut self.links[entry]);
        if before == 0 {
            return;
        }
        match (before as usize - 1).checked_sub(ENTRIES) {
            Some(list) => heads[list] = next,
            None => self.links[before as usize - 1][0] = next,
        }
        if next != 0 {
            self.links[next as usize - 1][1] = before;
        }
        self.count -= 1;
    }

    /// Takes the first entry out of a list: its bank and index.
    pub(super) fn pop(&mut self, heads: &mut [u32], list: usize) -> Option<(usize, usize)> {
        let entry = heads[list].checked_sub(1)? as usize;
        self.take(heads, entry);
        Some((entry / BANK_ENTRIES, entry % BANK_ENTRIES))
    }

    /// Takes the first entry of a bank, from an index on, out of its list: its index.
    pub(super) fn take_from(
        &mut self,
        heads: &mut [u32],
        bank: usize,
        index: usize,
    ) -> Option<usize> {
        let index =
            (index..BANK_ENTRIES).find(|at| self.links[bank * BANK_ENTRIES + at][1] != 0)?;
        self.take(heads, bank * BANK_ENTRIES + index);
        Some(index)
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at + 1).expect("there are few entries and lists")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_what_was_put_there_last() {
        let (mut jumps, mut heads) = (Jumps::new(), [0; 100]);
        let all = |jumps: &mut Jumps, heads: &mut [u32], list| {
            let mut all: Vec<_> = std::iter::from_fn(|| jumps.pop(heads, list)).collect();
            all.sort_unstable();
            all
        };
        for index in 0..10 {
            jumps.put(&mut heads, index % 2, index, 5);
        }
        (3..7).for_each(|index| jumps.put(&mut heads, index % 2, index, 6));
        jumps.put(&mut heads, 0, 0, 5);
        assert_eq!(jumps.count(), 10);
        assert_eq!(all(&mut jumps, &mut heads, 6), [(0, 4), (0, 6), (1, 3), (1, 5)]);
        assert_eq!(jumps.take_from(&mut heads, 1, 2), Some(7));
        assert_eq!(jumps.take_from(&mut heads, 1, 0), Some(1));
        assert_eq!(jumps.take_from(&mut heads, 1, 1), Some(9));
        assert_eq!(jumps.take_from(&mut heads, 1, 1), None);
        assert_eq!(all(&mut jumps, &mut heads, 5), [(0, 0), (0, 2), (0, 8)]);
        assert_eq!((jumps.count(), all(&mut jumps, &mut heads, 4)), (0, vec![]));
        jumps.put(&mut heads, BANKS - 1, BANK_ENTRIES - 1, 99);
        assert_eq!(all(&mut jumps, &mut heads, 99), [(BANKS - 1, BANK_ENTRIES - 1)]);
        assert_eq!(heads, [0; 100]);
    }
}
