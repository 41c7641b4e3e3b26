//! Where a debugger has the engine stop, before an instruction runs or an access is made.
//!
//! No code is made for them: blocks end before an instruction to stop at, which no link leads to,
//! and a page that is watched has no entry in a TLB. So they cost nothing where there are none.

use crate::Access;
use omni_base::PAGE_SIZE_U64;
use omni_ir::Trap;

/// Addresses that code is cut at, besides those to stop at now, before it is made anew.
const CUTS_MAX: usize = 64;

/// Data to stop at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watch {
    /// The guest-virtual address of its first byte.
    pub at: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Whether loads are stopped.
    pub load: bool,
    /// Whether stores are stopped; what loads and stores in one step is both.
    pub store: bool,
}

impl Watch {
    fn touches(&self, at: u64, bytes: u64) -> bool {
        // The distance of one from the other, whichever is first; addresses go round.
        at.wrapping_sub(self.at) < self.bytes || self.at.wrapping_sub(at) < bytes
    }
}

/// Why a run stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Caught {
    /// The next instruction is one to stop at.
    Break(u64),
    /// The next instruction would access this address of the watch of this number.
    Watch(usize, u64),
}

/// What an engine stops at.
#[derive(Default, Debug)]
pub(crate) struct Stops {
    breaks: Vec<u64>,
    watches: Vec<Watch>,
    /// Where code is cut: all of `breaks`, and some that were.
    cuts: Vec<u64>,
    /// There is nothing to stop at any more, so the next run is to have code without cuts.
    idle: bool,
    ignored: bool,
    caught: Option<Caught>,
}

impl Stops {
    /// Replaces them. Says whether code must be made anew, and whether TLBs must be flushed.
    pub(crate) fn set(&mut self, breaks: &[u64], watches: &[Watch]) -> (bool, bool) {
        let cut = |at: &u64| self.cuts.contains(at);
        // They may come again before anything runs, and then the code is as it has to be.
        self.idle = breaks.is_empty() && !self.cuts.is_empty();
        let many = self.cuts.len() > CUTS_MAX + breaks.len();
        let code = !self.idle && (many || !breaks.iter().all(cut));
        if code {
            // Those that come and go with each stop of the debugger are cut at once for all.
            let keep = if self.cuts.len() > CUTS_MAX { 0 } else { self.cuts.len() };
            self.cuts.truncate(keep);
            self.cuts.extend_from_slice(breaks);
            self.cuts.sort_unstable();
            self.cuts.dedup();
        }
        let flush = self.watches != watches;
        self.breaks = breaks.to_vec();
        self.watches = watches.to_vec();
        (code, flush)
    }

    /// Before a run: whether code must be made anew, as it is cut where nobody wants that.
    pub(crate) fn settle(&mut self) -> bool {
        let idle = std::mem::take(&mut self.idle);
        if idle {
            self.cuts.clear();
        }
        idle
    }

    /// Whether runs go on as if there were none.
    pub(crate) fn ignore(&mut self, ignored: bool) {
        self.ignored = ignored;
    }

    /// Where blocks must end.
    pub(crate) fn cuts(&self) -> &[u64] {
        &self.cuts
    }

    /// Whether a block may begin at `pc` only where it is looked for.
    pub(crate) fn is_cut(&self, pc: u64) -> bool {
        !self.cuts.is_empty() && self.cuts.binary_search(&pc).is_ok()
    }

    /// Whether the instruction at `pc` is one to stop at; then that is why.
    pub(crate) fn stops_at(&mut self, pc: u64) -> bool {
        let stops = !self.ignored && self.is_cut(pc) && self.breaks.contains(&pc);
        if stops {
            self.caught = Some(Caught::Break(pc));
        }
        stops
    }

    /// Whether the page of `at` may have no entry in a TLB.
    pub(crate) fn watches_page(&self, at: u64) -> bool {
        let page = at & !(PAGE_SIZE_U64 - 1);
        self.watches.iter().any(|watch| watch.touches(page, PAGE_SIZE_U64))
    }

    /// Lets an access pass.
    ///
    /// # Errors
    /// What stands for a trap where it is one to stop at: nothing has happened then.
    #[inline]
    pub(crate) fn pass(&mut self, at: u64, bytes: u64, access: Access) -> Result<(), Trap> {
        if self.watches.is_empty() || self.ignored { Ok(()) } else { self.look(at, bytes, access) }
    }

    #[cold]
    fn look(&mut self, at: u64, bytes: u64, access: Access) -> Result<(), Trap> {
        let wanted = |watch: &Watch| match access {
            Access::Load => watch.load,
            // An atomic access loads as well.
            Access::Store => watch.store,
            Access::Fetch => false,
        };
        let hit = self.watches.iter().position(|watch| wanted(watch) && watch.touches(at, bytes));
        let Some(nth) = hit else { return Ok(()) };
        let watch = self.watches[nth];
        let first = if at.wrapping_sub(watch.at) < watch.bytes { at } else { watch.at };
        self.caught = Some(Caught::Watch(nth, first));
        Err(Trap { cause: 0, value: at })
    }

    /// Whether something was caught and not taken yet.
    pub(crate) fn has_caught(&self) -> bool {
        self.caught.is_some()
    }

    /// Takes what was caught.
    pub(crate) fn take(&mut self) -> Option<Caught> {
        self.caught.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(at: u64, bytes: u64) -> Watch {
        Watch { at, bytes, load: false, store: true }
    }

    #[test]
    fn an_access_is_caught_where_it_touches_what_is_watched() {
        let mut stops = Stops::default();
        stops.set(&[], &[watch(0x1004, 4), watch(u64::MAX - 1, 4)]);
        let mut caught = |at, bytes, access| {
            let passed = stops.pass(at, bytes, access).is_ok();
            let caught = stops.take();
            assert_eq!(passed, caught.is_none());
            caught
        };
        assert_eq!(caught(0x1000, 4, Access::Store), None);
        assert_eq!(caught(0x1008, 8, Access::Store), None);
        assert_eq!(caught(0x1000, 8, Access::Load), None);
        assert_eq!(caught(0x1000, 8, Access::Store), Some(Caught::Watch(0, 0x1004)));
        assert_eq!(caught(0x1007, 1, Access::Store), Some(Caught::Watch(0, 0x1007)));
        assert_eq!(caught(1, 1, Access::Store), Some(Caught::Watch(1, 1)));
        assert_eq!(caught(2, 1, Access::Store), None);
        assert!(stops.watches_page(0x1fff) && stops.watches_page(0));
        assert!(!stops.watches_page(0x2000));
        stops.ignore(true);
        assert!(stops.pass(0x1004, 4, Access::Store).is_ok());
    }

    #[test]
    fn code_is_made_anew_only_where_it_runs_over_a_new_stop() {
        let mut stops = Stops::default();
        assert_eq!(stops.set(&[8], &[]), (true, false));
        assert_eq!(stops.set(&[8, 4], &[]), (true, false));
        assert_eq!(stops.set(&[4], &[watch(0, 1)]), (false, true));
        assert!(stops.is_cut(8) && !stops.stops_at(8) && stops.stops_at(4));
        assert_eq!(stops.set(&[8], &[watch(0, 1)]), (false, false));
        assert!(stops.stops_at(8) && !stops.stops_at(4));
        assert!(!stops.settle());
        assert_eq!(stops.set(&[], &[]), (false, true));
        assert!(!stops.stops_at(8));
        assert_eq!(stops.set(&[8], &[]), (false, false), "it came again before anything ran");
        assert!(stops.stops_at(8) && !stops.settle());
        stops.set(&[], &[]);
        assert!(stops.settle() && !stops.is_cut(8) && !stops.settle());
        assert_eq!(stops.set(&[8], &[]), (true, false));
    }

    #[test]
    fn cuts_are_bounded_whatever_comes_and_goes() {
        let mut stops = Stops::default();
        for at in 0..10_000 {
            stops.set(&[at * 2], &[]);
            assert!(stops.stops_at(at * 2) && stops.cuts.len() <= CUTS_MAX + 2);
        }
    }
}
