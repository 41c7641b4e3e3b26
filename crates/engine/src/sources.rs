//! Where blocks come from, beyond the machine that they were made for: an engine that changes from
//! one machine to another takes along what both have in the same frames.

use omni_base::PageNo;
use omni_memory::{PageRef, Space};
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

/// A page that blocks were made from.
struct Source {
    /// Kept, so that nobody writes it; none where the machine owned it, and could.
    page: Option<PageRef>,
    /// The machine that is known to have it, by the number of its turn.
    turn: u64,
}

type Map = HashMap<PageNo, Source, BuildHasherDefault<crate::cache::Multiply>>;

/// The pages that an engine has blocks of.
#[derive(Default)]
pub(crate) struct Sources {
    pages: Map,
    /// Those of them that the machine owned when they were noted.
    own: BTreeSet<PageNo>,
    /// Rises with each machine.
    turn: u64,
}

impl Sources {
    /// The machine is about to have blocks made from the page as it is now.
    pub(crate) fn note(&mut self, no: PageNo, ram: &Space) {
        let turn = self.turn;
        let source = self.pages.entry(no).or_insert_with(|| Source { page: ram.hold(no), turn });
        // It may have been written where no block came from until now.
        source.page.take_if(|page| !ram.is_held(no, page));
        if source.page.is_none() {
            self.own.insert(no);
        }
    }

    /// The page has no blocks any more.
    pub(crate) fn forget(&mut self, no: PageNo) {
        self.pages.remove(&no);
        self.own.remove(&no);
    }

    /// No page has.
    pub(crate) fn clear(&mut self) {
        self.pages.clear();
        self.own.clear();
    }

    /// Whether blocks of the page may be those of another machine's.
    #[inline]
    pub(crate) fn is_doubtful(&self, no: PageNo) -> bool {
        self.pages.get(&no).is_some_and(|source| source.turn != self.turn)
    }

    /// Whether this machine has the very page that blocks were made from. The doubt is over then.
    pub(crate) fn fits(&mut self, no: PageNo, ram: &Space) -> bool {
        let Some(source) = self.pages.get_mut(&no) else { return false };
        let fits = source.page.as_ref().is_some_and(|page| ram.is_held(no, page));
        if fits {
            source.turn = self.turn;
        }
        fits
    }

    /// The machine goes. Gives the pages whose blocks no other machine may have: their frames are
    /// its own.
    pub(crate) fn part(&mut self, ram: &Space) -> BTreeSet<PageNo> {
        self.turn += 1;
        let mut own = std::mem::take(&mut self.own);
        own.retain(|no| {
            let Some(source) = self.pages.get_mut(no) else { return false };
            // It may have been sealed since.
            source.page = ram.hold(*no);
            source.page.is_none()
        });
        own
    }
}
