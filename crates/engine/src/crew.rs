//! The vCPUs of a machine, in turns on one thread or side by side on threads of their own: the TLB
//! of each, what they know in common, and the lock of those that run side by side.
//!
//! Side by side, a vCPU holds the crew in all that it does but while it runs machine code, which
//! touches nothing but the frames of RAM and its own view. Whoever holds the crew may ask the
//! others to stand still, and has their TLBs then too. ADR 12 tells why.
#![allow(unsafe_code, reason = "the holder of the crew has what it owns; E9 in SAFETY.md")]

use crate::tlb::Tlb;
use omni_base::PageNo;
use omni_memory::{Changes, Space};
use std::cell::UnsafeCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Holds no crew.
const NOBODY: usize = usize::MAX;

/// Holds the crew and is none of its vCPUs.
const STRANGER: usize = usize::MAX - 1;

/// Looks at a vCPU in code, or at who holds the crew, before the host is asked to run something
/// else.
const SPINS: u32 = 200;

/// A stretch of 64 bytes within a page, which is reserved as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Granule {
    pub(crate) page: PageNo,
    line: u64,
}

impl Granule {
    pub(crate) fn of(page: PageNo, at: u64) -> Self {
        Self { page, line: at / 64 % 64 }
    }
}

/// What all vCPUs know.
#[derive(Default)]
pub(crate) struct Known {
    /// The pages of tables that TLB entries were made from, all of them watched; with each the
    /// number of stores since a walk used it.
    pub(crate) tables: BTreeMap<PageNo, u8>,
    /// Side by side: the pages that blocks come from, with a bit for each vCPU that has such.
    pub(crate) code: BTreeMap<PageNo, u64>,
    /// Side by side: what vCPUs have reserved in a way that stores of others must be seen.
    pub(crate) reserved: Vec<Option<Granule>>,
}

/// What belongs to one vCPU.
struct Lane {
    tlb: UnsafeCell<Tlb>,
    /// Pages of its code that others have written.
    mail: UnsafeCell<Vec<PageNo>>,
    /// It runs machine code, and does not hold the crew.
    in_code: AtomicBool,
}

/// The vCPUs of a machine.
pub(crate) struct Lanes {
    lanes: Box<[Lane]>,
    known: UnsafeCell<Known>,
    /// They run side by side, so the crew must be held.
    apart: bool,
    /// The vCPU that holds the crew.
    holder: AtomicUsize,
    /// Those that sleep until nobody does, which they begin and end with the door held.
    waiting: AtomicUsize,
    door: Mutex<()>,
    freed: Condvar,
}

// SAFETY: E9: what is in the cells is touched by whoever holds the crew alone, or, where vCPUs
// take turns, by the thread that has the only engine.
unsafe impl Send for Lanes {}
// SAFETY: E9: as above.
unsafe impl Sync for Lanes {}

/// The vCPUs of a machine that run side by side, for the board that they are on.
#[derive(Clone)]
pub struct Crew(pub(crate) Arc<Lanes>);

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").field("vcpus", &self.0.count()).finish_non_exhaustive()
    }
}

impl Crew {
    pub(crate) fn new(vcpus: usize, apart: bool) -> Self {
        let lane = |_| Lane {
            tlb: UnsafeCell::new(Tlb::new()),
            mail: UnsafeCell::default(),
            in_code: AtomicBool::new(false),
        };
        let known = Known { reserved: vec![None; vcpus], ..Known::default() };
        Self(Arc::new(Lanes {
            lanes: (0..vcpus).map(lane).collect(),
            known: UnsafeCell::new(known),
            apart,
            holder: AtomicUsize::new(NOBODY),
            waiting: AtomicUsize::new(0),
            door: Mutex::new(()),
            freed: Condvar::new(),
        }))
    }

    /// As `still`, where vCPUs run side by side at all.
    pub(crate) fn rest(&self) -> Option<Still<'_>> {
        self.0.apart.then(|| self.still())
    }

    /// Lets no vCPU run until what this gives is dropped: for what devices do to memory by
    /// themselves. Waits for each to come out of its code, which takes as long as its budget.
    ///
    /// A thread must not ask while it runs a vCPU, or has what this gave already.
    #[must_use]
    pub fn still(&self) -> Still<'_> {
        let held = self.0.take(STRANGER);
        self.0.still(STRANGER);
        Still(held)
    }
}

/// All vCPUs of a crew stand still.
#[derive(Debug)]
pub struct Still<'a>(Held<'a>);

impl Still<'_> {
    /// Lets vCPUs hear what happened to RAM.
    pub fn hear(&mut self, ram: &mut Space) {
        if ram.has_changes() {
            self.0.lanes.tell(STRANGER, &ram.take_changes());
        }
    }
}

/// The crew is held by a vCPU, or by a stranger to it, but while the vCPU runs code.
pub(crate) struct Held<'a> {
    lanes: &'a Lanes,
    by: usize,
}

impl std::fmt::Debug for Held<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("by", &self.by).finish_non_exhaustive()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.lanes.give(self.by);
    }
}

impl Lanes {
    pub(crate) fn count(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn apart(&self) -> bool {
        self.apart
    }

    fn is_taken_by(&self, who: usize) -> bool {
        // In one order with `waiting`: who begins to sleep is seen, or sees that it need not.
        let taken = self.holder.compare_exchange(NOBODY, who, Ordering::SeqCst, Ordering::SeqCst);
        taken.is_ok()
    }

    fn wait_for_turn(&self, who: usize) {
        // It is held for less than a sleep takes, mostly.
        for _ in 0..SPINS {
            if self.holder.load(Ordering::Relaxed) == NOBODY && self.is_taken_by(who) {
                return;
            }
            std::hint::spin_loop();
        }
        let asleep = "nothing panics while it looks who holds the crew";
        let mut door = self.door.lock().expect(asleep);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while !self.is_taken_by(who) {
            door = self.freed.wait(door).expect(asleep);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }

    /// Waits until nobody holds the crew, and holds it.
    pub(crate) fn take(&self, who: usize) -> Held<'_> {
        self.wait_for_turn(who);
        Held { lanes: self, by: who }
    }

    fn give(&self, who: usize) {
        let given = self.holder.compare_exchange(who, NOBODY, Ordering::SeqCst, Ordering::Relaxed);
        if given.is_ok() && self.waiting.load(Ordering::SeqCst) > 0 {
            // Whoever counts as waiting sleeps by the time that the door can be had.
            drop(self.door.lock().expect("nothing panics while it looks who holds the crew"));
            self.freed.notify_one();
        }
    }

    /// The vCPU, which holds the crew, gives it up for as long as it runs code.
    pub(crate) fn enter_code(&self, lane: usize) {
        self.lanes[lane].in_code.store(true, Ordering::Release);
        self.give(lane);
    }

    /// The vCPU has come out of code, and takes the crew again.
    pub(crate) fn leave_code(&self, lane: usize) {
        self.lanes[lane].in_code.store(false, Ordering::Release);
        self.wait_for_turn(lane);
    }

    /// Waits until no vCPU but this one runs code. None can begin while the crew is held.
    pub(crate) fn still(&self, but: usize) {
        for (_, lane) in self.lanes.iter().enumerate().filter(|(at, _)| *at != but) {
            let mut looks = 0;
            while lane.in_code.load(Ordering::Acquire) {
                looks += 1;
                if looks < SPINS {
                    std::hint::spin_loop();
                } else {
                    std::thread::yield_now();
                }
            }
        }
    }

    /// The TLB of a vCPU.
    pub(crate) fn tlb(&self, lane: usize) -> *mut Tlb {
        self.lanes[lane].tlb.get()
    }

    /// What all know.
    pub(crate) fn known(&self) -> *mut Known {
        self.known.get()
    }

    /// The pages of a vCPU's code that others have written since it asked last.
    pub(crate) fn mail(&self, lane: usize) -> Vec<PageNo> {
        // SAFETY: E9: the vCPU asks while it holds the crew.
        std::mem::take(unsafe { &mut *self.lanes[lane].mail.get() })
    }

    /// Does something to the TLB of each vCPU, of others but `own` only where they have something
    /// that concerns it, and while they stand still.
    pub(crate) fn each_tlb(
        &self,
        own: usize,
        has: impl Fn(&Tlb) -> bool,
        mut each: impl FnMut(&mut Tlb),
    ) {
        for (at, lane) in self.lanes.iter().enumerate() {
            if self.apart && at != own {
                // SAFETY: E9: the crew is held, so this is changed by nobody; code that may run
                // looks at regions alone.
                if !has(unsafe { &*lane.tlb.get() }) {
                    continue;
                }
                self.still(own);
            }
            // SAFETY: E9: the crew is held, and the vCPU is this one or stands still.
            each(unsafe { &mut *lane.tlb.get() });
        }
    }

    /// Drops from TLBs what changes of RAM have made stale, and sends word to vCPUs that have code
    /// of pages that were written, but for `own`, which must look at those pages itself.
    pub(crate) fn tell(&self, own: usize, changes: &Changes) {
        for &no in &changes.moved {
            self.each_tlb(own, |tlb| tlb.has_page(no), |tlb| tlb.page_moved(no));
        }
        for &no in &changes.cleared {
            self.each_tlb(own, |tlb| tlb.has_page(no), |tlb| tlb.page_gone(no));
        }
        for &no in &changes.written {
            // SAFETY: E9: the crew is held.
            if unsafe { &mut *self.known() }.tables.remove(&no).is_some() {
                self.each_tlb(own, |tlb| tlb.has_table(no), |tlb| tlb.table_written(no));
            }
        }
        if self.apart {
            changes.written.iter().chain(&changes.amended).for_each(|no| self.send(own, *no));
        }
    }

    /// Sends word that a page was written to all that have code of it, but for `own`.
    fn send(&self, own: usize, no: PageNo) {
        // SAFETY: E9: the crew is held.
        let Some(users) = unsafe { &mut *self.known() }.code.remove(&no) else { return };
        let others = (0..self.count()).filter(|at| *at != own && users >> at & 1 == 1);
        for lane in others {
            // They hear of it when they hold the crew the next time, before they run code again.
            self.still(own);
            // SAFETY: E9: the crew is held.
            unsafe { &mut *self.lanes[lane].mail.get() }.push(no);
        }
    }
}

/// Runs each job on a thread of its own and `here` on this one, until all of them have ended.
pub fn beside<J: FnOnce() + Send>(jobs: impl IntoIterator<Item = J>, here: impl FnOnce()) {
    std::thread::scope(|scope| {
        for job in jobs {
            scope.spawn(job);
        }
        here();
    });
}
