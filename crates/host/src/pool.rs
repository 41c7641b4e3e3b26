//! Caches that the machines of a process use in turns: as many sets of them as the host has CPUs,
//! so that a machine that has nothing to do holds none, and finds them warm when it has.

use omni_machine::Caches;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time between moments at which machines are woken together that may be as late as that.
const STEP_MAX: Duration = Duration::from_secs(1);

/// How often that time is halved for those that may not.
const STEPS: u32 = 9;

/// Machines that may have caches of their own beside each set.
const OWNERS: usize = 4;

struct Inner {
    /// Sets that nobody has; those that were not made yet are made by whoever takes them.
    free: Vec<Option<Caches>>,
    waiting: usize,
    /// How many machines may yet have sets of their own.
    owners: usize,
    /// How many keep all others from their turns.
    shut: usize,
}

/// Sets of caches for machines made from one spec.
pub struct Pool {
    inner: Mutex<Inner>,
    freed: Condvar,
    open: AtomicBool,
    /// What the moments are counted from at which machines are woken together.
    born: Instant,
}

impl Pool {
    /// So many sets, for whoever wants them once it is open.
    #[must_use]
    pub fn new(sets: usize) -> Arc<Self> {
        let free = (0..sets.max(1)).map(|_| None).collect();
        let inner = Mutex::new(Inner { free, waiting: 0, owners: sets * OWNERS, shut: 0 });
        Arc::new(Self {
            inner,
            freed: Condvar::new(),
            open: AtomicBool::new(false),
            born: Instant::now(),
        })
    }

    /// From now on machines take turns: there is more than one.
    pub fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Lets no turn begin until what this gives is dropped.
    #[must_use]
    pub fn shut(self: &Arc<Self>) -> Shut {
        self.inner().shut += 1;
        Shut(self.clone())
    }

    /// Waits for a set, and takes it: the last that was given back first, which is the warmest.
    pub(crate) fn take(self: &Arc<Self>) -> Turn {
        let mut inner = self.inner();
        inner.waiting += 1;
        loop {
            if inner.shut == 0
                && let Some(caches) = inner.free.pop()
            {
                inner.waiting -= 1;
                return Turn { caches, pool: self.clone() };
            }
            inner = self.freed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether somebody waits.
    pub(crate) fn is_wanted(&self) -> bool {
        self.inner().waiting > 0
    }

    /// The first moment from this one on, and no later than allowed, at which others are woken too.
    pub(crate) fn together(&self, due: Instant, slack: Duration) -> Option<Instant> {
        let step =
            (0..STEPS).map(|halved| STEP_MAX / 2_u32.pow(halved)).find(|step| *step <= slack);
        let Some(step) = step else { return due.checked_add(slack) };
        let since = due.saturating_duration_since(self.born).as_nanos();
        let at = since.next_multiple_of(step.as_nanos());
        self.born.checked_add(Duration::from_nanos(u64::try_from(at).ok()?))
    }

    /// Lets a machine have a set of its own, unless enough of them have.
    pub(crate) fn own(self: &Arc<Self>) -> Option<Owner> {
        let mut inner = self.inner();
        inner.owners = inner.owners.checked_sub(1)?;
        Some(Owner(self.clone()))
    }

    /// Takes caches in that somebody needs no more, where a set was not made yet.
    pub(crate) fn donate(&self, caches: Option<Caches>) {
        if let Some(place) = self.inner().free.iter_mut().rev().find(|place| place.is_none()) {
            *place = caches;
        }
    }

    fn give(&self, caches: Option<Caches>) {
        self.inner().free.push(caches);
        self.freed.notify_one();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("free", &self.inner().free.len()).finish_non_exhaustive()
    }
}

/// A set of caches that is given back with this, even where its machine fell.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) caches: Option<Caches>,
    pool: Arc<Pool>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.pool.give(self.caches.take());
    }
}

/// The right to a set of one's own.
#[derive(Debug)]
pub(crate) struct Owner(Arc<Pool>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.inner().owners += 1;
    }
}

/// Nobody's turn begins while this is there.
#[derive(Debug)]
pub struct Shut(Arc<Pool>);

impl Drop for Shut {
    fn drop(&mut self) {
        self.0.inner().shut -= 1;
        self.0.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_woken_together_and_never_early_nor_later_than_they_may() {
        let pool = Pool::new(1);
        let after = |ms: u64| pool.born + Duration::from_millis(ms);
        let at = |due, slack| pool.together(after(due), Duration::from_millis(slack));
        assert_eq!(at(1300, 1000), Some(after(2000)));
        assert_eq!(at(1999, 5000), Some(after(2000)));
        assert_eq!(at(2000, 1000), Some(after(2000)));
        assert_eq!(at(1300, 999), Some(after(1500)));
        assert_eq!(at(1300, 1), Some(after(1301)));
        for (due, slack) in (1..2000).step_by(7).zip((0..700).cycle()) {
            let then = at(due, slack).expect("near");
            assert!(then >= after(due) && then <= after(due + slack), "{due} {slack}");
        }
    }

    #[test]
    fn sets_go_from_hand_to_hand_and_no_turn_begins_while_the_pool_is_shut() {
        let pool = Pool::new(2);
        pool.donate(Some(Caches::new(1u8)));
        pool.donate(Some(Caches::new(2u8)));
        pool.donate(Some(Caches::new(3u8)));
        let (one, two) = (pool.take(), pool.take());
        let waits = {
            let pool = pool.clone();
            std::thread::spawn(move || pool.take().caches.take().and_then(Caches::into_inner))
        };
        while !pool.is_wanted() {
            std::thread::yield_now();
        }
        let shut = pool.shut();
        drop((one, two));
        assert!(pool.is_wanted(), "it waits while the pool is shut");
        drop(shut);
        let got: Option<u8> = waits.join().expect("it got one");
        assert!(matches!(got, Some(1 | 2)), "there was no room for a third: {got:?}");
    }
}
