//! Caches that the machines of a process use in turns: as many sets of them as the host has CPUs,
//! so that a machine that has nothing to do holds none, and finds them warm when it has.

use omni_machine::Caches;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

struct Inner {
    /// Sets that nobody has; those that were not made yet are made by whoever takes them.
    free: Vec<Option<Caches>>,
    waiting: usize,
    /// How many keep all others from their turns.
    shut: usize,
}

/// Sets of caches for machines made from one spec.
pub struct Pool {
    inner: Mutex<Inner>,
    freed: Condvar,
    open: AtomicBool,
}

impl Pool {
    /// So many sets, for whoever wants them once it is open.
    #[must_use]
    pub fn new(sets: usize) -> Arc<Self> {
        let free = (0..sets.max(1)).map(|_| None).collect();
        let inner = Mutex::new(Inner { free, waiting: 0, shut: 0 });
        Arc::new(Self { inner, freed: Condvar::new(), open: AtomicBool::new(false) })
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
