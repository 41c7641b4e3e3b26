//! Which caches a machine runs with: its own, or, where machines of a process share, those whose
//! turn it has. One that runs for long has its own; one that is idle has none.

use crate::pool::{Owner, Pool, Turn};
use omni_machine::Machine;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a machine runs with the caches of all before it gets its own, in CPU time: on a host
/// that is busy with other things, caches for each would only make it busier.
const SHARED_MAX: Duration = Duration::from_millis(100);

/// How long a machine is watched before it is judged by what it did.
const WINDOW: Duration = Duration::from_millis(500);

/// The part of that time below which a machine is idle, and needs no caches of its own: 1/64.
const IDLE: u32 = 64;

/// How long others wait for a machine that has its turn.
const TURN: Duration = Duration::from_millis(10);

/// The part of its silence that a machine may be woken late: 1/64. It sees its own time all the
/// same: it makes up for what it slept too long.
const SLACK: u32 = 64;

/// How late that is at most, for a machine alone.
const SLACK_ALONE: Duration = Duration::from_millis(50);

enum Has {
    /// Its own, as one of the few that have such beside those of all.
    Own {
        _right: Option<Owner>,
    },
    None,
    /// Since when, by the clock.
    Turn(Turn, Instant),
}

/// Its own by no right of the pool.
const ALONE: Has = Has::Own { _right: None };

/// The caches of one machine, as its runner has them.
pub(crate) struct Seat {
    pool: Option<Arc<Pool>>,
    has: Has,
    /// Since when it is watched, and what it ran since.
    since: Instant,
    ran: Duration,
    /// CPU time of the thread when the machine was about to run.
    began: Duration,
    /// It has been alone until now, so that its caches are the best that there are.
    alone: bool,
}

impl Seat {
    /// A machine alone.
    pub(crate) fn alone() -> Self {
        let (since, ran) = (Instant::now(), Duration::ZERO);
        Self { pool: None, has: ALONE, since, ran, began: ran, alone: true }
    }

    /// A machine that has none, where there is somebody to share with.
    pub(crate) fn sharing(pool: Arc<Pool>) -> Self {
        let alone = !pool.is_open();
        let has = if alone { ALONE } else { Has::None };
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
            self.has = Has::Turn(turn, Instant::now());
        }
        if self.pool().is_some() {
            self.began = thread_cpu();
        }
    }

    /// The machine ran, and could go on.
    pub(crate) fn ran(&mut self, machine: &mut dyn Machine) {
        let Some(pool) = self.pool().cloned() else { return };
        let wanted = pool.is_wanted();
        self.ran += thread_cpu().saturating_sub(self.began);
        let Has::Turn(_, since) = &self.has else { return };
        let over = wanted && since.elapsed() > TURN;
        let owner = if self.ran > SHARED_MAX { pool.own() } else { None };
        if owner.is_some() {
            self.leave(machine);
            self.has = Has::Own { _right: owner };
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
            Has::Own { .. } if !judged => return self.since.checked_add(WINDOW),
            Has::Own { .. } if idle => {
                pool.donate(machine.exchange_caches(None));
                self.has = Has::None;
            }
            Has::Own { .. } => {}
        }
        None
    }

    /// The machine gets caches of its own, or keeps them.
    pub(crate) fn own(&mut self, machine: &mut dyn Machine) {
        self.leave(machine);
        self.has = ALONE;
    }

    /// When to wake a machine whose next timer is due at a moment, after so long a silence. Those
    /// that share are woken together, one right after the other, as far as each may be late.
    pub(crate) fn later(&self, due: Instant, silent: Duration) -> Instant {
        let slack = silent / SLACK;
        let late = match self.pool() {
            Some(pool) => pool.together(due, slack),
            None => due.checked_add(slack.min(SLACK_ALONE)),
        };
        late.unwrap_or(due)
    }

    /// Gives back what belongs to all.
    pub(crate) fn leave(&mut self, machine: &mut dyn Machine) {
        if let Has::Turn(mut turn, _) = std::mem::replace(&mut self.has, Has::None)
            && let Some(caches) = machine.exchange_caches(None)
        {
            turn.caches = Some(caches);
        }
    }
}

/// The CPU time that this thread has used.
fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}
