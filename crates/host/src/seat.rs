//! Which caches a machine runs with: its own, or, where machines of a process share, those whose
//! turn it has. One that runs for long has its own; one that is idle has none.

use crate::pool::{Pool, Turn};
use omni_machine::Machine;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a machine runs with the caches of all before it gets its own.
const SHARED_MAX: Duration = Duration::from_millis(100);

/// How long a machine is watched before it is judged by what it did.
const WINDOW: Duration = Duration::from_millis(500);

/// The part of that time below which a machine is idle, and needs no caches of its own: 1/64.
const IDLE: u32 = 64;

/// How long others wait for a machine that has its turn.
const TURN: Duration = Duration::from_millis(10);

enum Has {
    Own,
    None,
    Turn(Turn, Duration),
}

/// The caches of one machine, as its runner has them.
pub(crate) struct Seat {
    pool: Option<Arc<Pool>>,
    has: Has,
    /// Since when it is watched, and what it ran since.
    since: Instant,
    ran: Duration,
    /// It has been alone until now, so that its caches are the best that there are.
    alone: bool,
}

impl Seat {
    /// A machine alone.
    pub(crate) fn alone() -> Self {
        let (since, ran) = (Instant::now(), Duration::ZERO);
        Self { pool: None, has: Has::Own, since, ran, alone: true }
    }

    /// A machine that has none, where there is somebody to share with.
    pub(crate) fn sharing(pool: Arc<Pool>) -> Self {
        let alone = !pool.is_open();
        let has = if alone { Has::Own } else { Has::None };
        Self { pool: Some(pool), has, alone, ..Self::alone() }
    }

    /// The pool, once there is somebody to share with.
    fn pool(&self) -> Option<&Arc<Pool>> {
        self.pool.as_ref().filter(|pool| pool.is_open())
    }

    /// The machine is about to run: it has caches when this comes back.
    pub(crate) fn begin(&mut self, machine: &mut dyn Machine) {
        if let (Has::None, Some(pool)) = (&self.has, self.pool()) {
            let mut turn = pool.take();
            turn.caches = machine.exchange_caches(turn.caches.take());
            self.has = Has::Turn(turn, Duration::ZERO);
        }
    }

    /// The machine ran for so long, and could go on.
    pub(crate) fn ran(&mut self, machine: &mut dyn Machine, took: Duration) {
        self.ran += took;
        let Has::Turn(_, so_far) = &mut self.has else { return };
        *so_far += took;
        let over = *so_far > TURN && self.pool().is_some_and(|pool| pool.is_wanted());
        if self.ran > SHARED_MAX {
            self.own(machine);
        } else if over {
            self.leave(machine);
        }
    }

    /// The machine has nothing to do. Says when this should be looked at again.
    pub(crate) fn sleep(&mut self, machine: &mut dyn Machine) -> Option<Instant> {
        let pool = self.pool()?.clone();
        let watched = self.since.elapsed();
        let judged = watched >= WINDOW || self.alone;
        let idle = self.ran < watched / IDLE || std::mem::take(&mut self.alone);
        if judged {
            (self.since, self.ran) = (Instant::now(), Duration::ZERO);
        }
        match &self.has {
            Has::None => {}
            Has::Turn(..) => self.leave(machine),
            Has::Own if !judged => return self.since.checked_add(WINDOW),
            Has::Own if idle => {
                pool.donate(machine.exchange_caches(None));
                self.has = Has::None;
            }
            Has::Own => {}
        }
        None
    }

    /// The machine gets caches of its own, or keeps them.
    pub(crate) fn own(&mut self, machine: &mut dyn Machine) {
        self.leave(machine);
        self.has = Has::Own;
    }

    fn leave(&mut self, machine: &mut dyn Machine) {
        if let Has::Turn(mut turn, _) = std::mem::replace(&mut self.has, Has::None)
            && let Some(caches) = machine.exchange_caches(None)
        {
            turn.caches = Some(caches);
        }
    }
}
