//! The flat view of a space: two tables of page addresses, for code that reads and writes a lot.
#![allow(unsafe_code, reason = "reads and writes frames by pointer; invariant M6 in SAFETY.md")]

use crate::Space;
use omni_base::{Gpa, PAGE_SIZE, PAGE_SIZE_U64, PageNo};

/// The low bits of an address, which are the offset in its page.
const OFFSET: u64 = PAGE_SIZE_U64 - 1;

/// What leads from an address in a page to where that is, as far as is known; zero where it is not.
/// Both tables are of one length, which is the bound of all accesses.
#[derive(Default)]
pub(crate) struct Flat {
    read: Vec<usize>,
    write: Vec<usize>,
}

impl Flat {
    /// Notes where a page is now; `owned` where it may be written there.
    #[inline]
    pub(crate) fn set(&mut self, no: PageNo, address: usize, owned: bool) {
        let Ok(no) = usize::try_from(no.0) else { return };
        if let (Some(read), Some(write)) = (self.read.get_mut(no), self.write.get_mut(no)) {
            let add = address.wrapping_sub(no * PAGE_SIZE);
            *read = add;
            *write = if owned { add } else { 0 };
        }
    }

    /// Knows of no page any more.
    pub(crate) fn forget(&mut self) {
        self.read.fill(0);
        self.write.fill(0);
    }

    /// Notes that a page may no longer be written where it is.
    #[inline]
    pub(crate) fn share(&mut self, no: PageNo) {
        let write = usize::try_from(no.0).ok().and_then(|no| self.write.get_mut(no));
        if let Some(write) = write {
            *write = 0;
        }
    }
}

/// The address in a table, where it is known and the access is within its page.
#[inline]
fn find<const N: usize>(table: &[usize], at: u64) -> Option<*mut u8> {
    let entry = *table.get(usize::try_from(at / PAGE_SIZE_U64).ok()?)?;
    let offset = (at & OFFSET) as usize;
    (entry != 0 && offset <= PAGE_SIZE - N)
        .then(|| std::ptr::with_exposed_provenance_mut(entry.wrapping_add(at as usize)))
}

impl Space {
    /// Makes the flat view reach over the first `pages` pages; what is beyond is no memory to it.
    pub fn set_flat(&mut self, pages: u64) {
        let pages = usize::try_from(pages.min(self.page_count())).expect("a 64-bit host");
        self.flat.read.resize(pages, 0);
        self.flat.write.resize(pages, 0);
    }

    /// Where the tables of the flat view are, for loads and for stores, and how many pages they
    /// reach over: for each page what leads from an address in it to the host's, or zero. Good
    /// until anything else is done with the space.
    pub fn flat_tables(&mut self) -> (*const usize, *const usize, usize) {
        (self.flat.read.as_ptr(), self.flat.write.as_ptr(), self.flat.read.len())
    }

    /// How many bytes the flat view reaches over.
    #[inline]
    #[must_use]
    pub fn flat_bytes(&self) -> u64 {
        self.flat.read.len() as u64 * PAGE_SIZE_U64
    }

    /// Reads `N` bytes at any address; `None` where one of them is beyond the flat view or cannot
    /// be had.
    #[inline]
    pub fn flat_load<const N: usize>(&mut self, at: u64) -> Option<[u8; N]> {
        match find::<N>(&self.flat.read, at) {
            // SAFETY: M6: the entry is the address of the page's frame, and all bytes are in it.
            Some(from) => Some(unsafe { from.cast::<[u8; N]>().read() }),
            None => self.flat_load_slowly(at),
        }
    }

    /// Writes `N` bytes at any address: all, or none and `None` where one of them is beyond the
    /// flat view or cannot be had.
    #[inline]
    pub fn flat_store<const N: usize>(&mut self, at: u64, bytes: [u8; N]) -> Option<()> {
        match find::<N>(&self.flat.write, at) {
            Some(to) => {
                // SAFETY: M6: the slot owns the frame, is not watched, and all bytes are in it.
                unsafe { to.cast::<[u8; N]>().write(bytes) };
                Some(())
            }
            None => self.flat_store_slowly(at, bytes),
        }
    }

    #[cold]
    fn flat_load_slowly<const N: usize>(&mut self, at: u64) -> Option<[u8; N]> {
        self.flat_check(at, N)?;
        let no = Gpa(at).page();
        if let Some(address) = self.resolved(no) {
            let owned = self.is_writable(no);
            self.flat.set(no, address, owned);
        }
        self.load(Gpa(at)).ok()
    }

    #[cold]
    fn flat_store_slowly<const N: usize>(&mut self, at: u64, bytes: [u8; N]) -> Option<()> {
        self.flat_check(at, N)?;
        // Owning a page puts it into the view.
        self.store(Gpa(at), &bytes).ok()
    }

    fn flat_check(&self, at: u64, count: usize) -> Option<()> {
        (at.checked_add(count as u64)? <= self.flat_bytes()).then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flat_view_shows_what_the_space_holds_whatever_is_done_to_its_pages() {
        let mut space = Space::new("flat", 8);
        space.set_flat(4);
        let edge = PAGE_SIZE_U64 - 4;
        assert_eq!(space.flat_load::<8>(edge), Some([0; 8]));
        assert_eq!(space.flat_store(edge, [1; 8]), Some(()));
        assert_eq!(space.dirty().len(), 2);
        space.seal();
        assert_eq!(space.flat_store(0, [2]), Some(()));
        assert_eq!(space.dirty().len(), 1, "a sealed page is written anew");
        space.clear([PageNo(1)]);
        assert_eq!(space.flat_load::<8>(edge), Some([1, 1, 1, 1, 0, 0, 0, 0]));
        let kept = space.seal().image;
        assert!(space.send_out(&kept, kept.clone()));
        assert_eq!(space.flat_load::<1>(0), Some([2]));
        space.watch(PageNo(0));
        assert_eq!(space.flat_store(0, [3]), Some(()));
        assert_eq!(space.take_changes().written, [PageNo(0)]);
        let end = 4 * PAGE_SIZE_U64;
        assert_eq!(space.flat_load::<8>(end - 7), None);
        assert_eq!(space.flat_store(end, [1]), None);
        assert_eq!(space.flat_load::<1>(u64::MAX), None);
    }
}
