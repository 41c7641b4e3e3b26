//! How the ticks of a machine follow the host's time.
//!
//! A machine's clock is a function of its ticks alone. In real time an idle machine waits for the
//! host's clock to come to its next timer; a busy machine is never held back, and one that fell
//! behind makes up at most a little of it in its idle moments.

use omni_base::Tick;
use std::time::{Duration, Instant};

/// How much of the guest's time may be made up for, after the guest was slower than real time.
const DEBT_NS_MAX: u64 = 100_000_000;

/// The guest's time in a slice, at most: an idle guest can be this far ahead of real time.
const SLICE_GUEST_NS_MAX: u64 = 1_000_000;

/// The host's time in a slice, about.
const SLICE_HOST_US: u64 = 1500;

/// Slices without an idle moment after which a guest counts as busy.
const BUSY_SLICES: u32 = 8;

/// Maps the host's monotonic time to ticks.
#[derive(Debug)]
pub(crate) struct Pace {
    ns_per_tick: u64,
    /// A moment of the host, and the tick that belongs to it.
    anchor: (Instant, u64),
    ticks_per_ms: u64,
    busy: u32,
}

impl Pace {
    pub(crate) fn new(ns_per_tick: u32, tick: Tick) -> Self {
        let anchor = (Instant::now(), tick.0);
        Self { ns_per_tick: u64::from(ns_per_tick.max(1)), anchor, ticks_per_ms: 20_000, busy: 0 }
    }

    /// The tick of the present moment.
    pub(crate) fn target(&self) -> Tick {
        self.target_at(Instant::now())
    }

    fn target_at(&self, now: Instant) -> Tick {
        let ns = now.saturating_duration_since(self.anchor.0).as_nanos();
        let ticks = u64::try_from(ns / u128::from(self.ns_per_tick)).unwrap_or(u64::MAX);
        Tick(self.anchor.1.saturating_add(ticks))
    }

    /// When the host's clock comes to this tick; `None` where that is beyond any clock.
    pub(crate) fn moment(&self, tick: Tick) -> Option<Instant> {
        let ns = tick.0.saturating_sub(self.anchor.1).checked_mul(self.ns_per_tick)?;
        self.anchor.0.checked_add(Duration::from_nanos(ns))
    }

    /// Ticks to run before the queue is looked at again.
    pub(crate) fn slice(&self) -> u64 {
        let most = (SLICE_GUEST_NS_MAX / self.ns_per_tick).max(1);
        (self.ticks_per_ms * SLICE_HOST_US / 1000).clamp(1, most)
    }

    /// Learns from a slice in which the guest was never idle at its end.
    pub(crate) fn ran(&mut self, ticks: u64, took: Duration, tick: Tick) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        // Idle stretches inside a slice cost nothing, so a single slice tells little.
        let seen = (u128::from(ticks) * 1_000_000 / u128::from(ns)).min(10_000_000);
        let seen = u64::try_from(seen).expect("bounded above");
        self.ticks_per_ms = ((self.ticks_per_ms * 7 + seen) / 8).max(100);
        self.busy = self.busy.saturating_add(1);
        let now = Instant::now();
        let target = self.target_at(now).0;
        let debt_max = DEBT_NS_MAX / self.ns_per_tick;
        if target.saturating_sub(tick.0) > debt_max {
            self.anchor = (now, tick.0.saturating_add(debt_max));
        } else if tick.0 > target && self.busy >= BUSY_SLICES {
            self.anchor = (now, tick.0);
        }
    }

    /// The guest had nothing to do at the end of a slice.
    pub(crate) fn idled(&mut self) {
        self.busy = 0;
    }

    /// The machine did not run for reasons of the host: that time does not count.
    pub(crate) fn resumed(&mut self, tick: Tick) {
        self.anchor = (Instant::now(), tick.0);
        self.busy = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(pace: &Pace, ms: u64) -> Instant {
        pace.anchor.0 + Duration::from_millis(ms)
    }

    #[test]
    fn the_moment_of_a_tick_is_the_tick_of_that_moment() {
        let pace = Pace::new(10, Tick(500));
        let moment = pace.moment(Tick(1500)).expect("near");
        assert_eq!(pace.target_at(moment), Tick(1500));
        assert_eq!(pace.moment(Tick(3)), Some(pace.anchor.0));
        assert_eq!(pace.moment(Tick::MAX), None);
    }

    #[test]
    fn a_slow_guest_owes_a_bounded_time() {
        let mut pace = Pace::new(1, Tick(0));
        pace.anchor.0 -= Duration::from_secs(60);
        pace.ran(1000, Duration::from_millis(1), Tick(1000));
        let owed = pace.target_at(pace.anchor.0).0 - 1000;
        assert_eq!(owed, DEBT_NS_MAX);
    }

    #[test]
    fn a_guest_faster_than_its_clock_is_not_held_back() {
        let mut pace = Pace::new(1, Tick(0));
        let far = Tick(3_600_000_000_000);
        for _ in 0..BUSY_SLICES {
            pace.ran(1_000_000, Duration::from_micros(10), far);
        }
        let soon = later(&pace, 1);
        assert!(pace.target_at(soon) > far, "the clock follows the guest");
    }

    #[test]
    fn a_slice_is_bounded_in_guest_and_host_time() {
        let mut pace = Pace::new(1, Tick(0));
        for _ in 0..100 {
            pace.ran(u64::MAX / 2, Duration::from_nanos(1), Tick(0));
        }
        assert_eq!(pace.slice(), SLICE_GUEST_NS_MAX);
        for _ in 0..200 {
            pace.ran(0, Duration::from_secs(1), Tick(0));
        }
        assert!((1..=1000).contains(&pace.slice()));
        assert_eq!(Pace::new(u32::MAX, Tick(0)).slice(), 1);
    }
}
