//! An engine that goes from one machine to another.

use super::Engine;
use crate::Counters;
use crate::tlb::Tlb;
use omni_base::PageNo;
use omni_memory::Space;

impl Engine {
    /// Begins with a machine, of which this is the RAM, with nothing made from it yet: what was
    /// written there before concerns nobody here.
    pub fn meet(ram: &mut Space) {
        drop(ram.take_changes());
    }

    /// Lets go of a machine whose vCPUs took turns, of which this is the RAM, and counts anew:
    /// another one with as many vCPUs of the same sort may be run next. What both have in the same
    /// frames need not be translated again.
    ///
    /// # Panics
    /// Where vCPUs run side by side.
    pub fn part(&mut self, ram: &mut Space) -> Counters {
        assert!(self.only.is_none(), "each vCPU side by side is bound to its engine");
        // What was written since the last run has other blocks, or none.
        let changes = ram.take_changes();
        let stale = changes.written.into_iter().chain(changes.amended).chain(changes.cleared);
        let stale: Vec<PageNo> = stale.collect();
        stale.iter().for_each(|no| self.sources.forget(*no));
        for no in self.sources.part(ram).into_iter().chain(stale) {
            self.cache.invalidate(no);
            self.sources.forget(no);
        }
        self.cache.sweep();
        self.each_tlb(Tlb::part);
        // SAFETY: E9: vCPUs take turns, so there is one thread.
        let known = unsafe { &mut *self.crew.0.known() };
        known.tables.clear();
        known.code.clear();
        known.reserved.fill(None);
        std::mem::take(&mut self.counters)
    }
}
