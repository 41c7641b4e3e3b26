//! Exact conversion between ticks and the guest's nanoseconds and counters.

use omni_base::Tick;

/// How fast the guest's clocks go: every clock of a machine is a function of its tick.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeBase {
    ns_per_tick: u32,
}

impl TimeBase {
    /// A time base of `ns_per_tick` nanoseconds a tick; zero is taken as one.
    #[must_use]
    pub const fn new(ns_per_tick: u32) -> Self {
        Self { ns_per_tick: if ns_per_tick == 0 { 1 } else { ns_per_tick } }
    }

    /// Nanoseconds per tick; never zero.
    #[must_use]
    pub const fn ns_per_tick(self) -> u32 {
        self.ns_per_tick
    }

    /// Nanoseconds since tick zero.
    #[must_use]
    pub fn ns(self, at: Tick) -> u128 {
        u128::from(at.0) * u128::from(self.ns_per_tick)
    }

    /// The value of a counter that steps every `period_ns` and is zero at tick zero.
    #[must_use]
    pub fn count(self, at: Tick, period_ns: u32) -> u128 {
        self.ns(at) / u128::from(period_ns.max(1))
    }

    /// The first tick at which `ns` or more have passed; `None` where time ends before.
    #[must_use]
    pub fn first_tick_at_ns(self, ns: u128) -> Option<Tick> {
        u64::try_from(ns.div_ceil(u128::from(self.ns_per_tick))).ok().map(Tick)
    }

    /// The first tick at which `count(tick, period_ns)` is `value` or more; `None` where time
    /// ends before.
    #[must_use]
    pub fn first_tick_at_count(self, value: u128, period_ns: u32) -> Option<Tick> {
        self.first_tick_at_ns(value.checked_mul(u128::from(period_ns.max(1)))?)
    }

    /// The tick `ns` nanoseconds after `from`, rounded up; the end of time where it is beyond.
    #[must_use]
    pub fn after_ns(self, from: Tick, ns: u64) -> Tick {
        Tick(from.0.saturating_add(ns.div_ceil(u64::from(self.ns_per_tick))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_conversion_gives_the_very_first_tick(
            ns in 1u32..5000, period in 1u32..5000, value in 1u64..,
        ) {
            let base = TimeBase::new(ns);
            if let Some(tick) = base.first_tick_at_count(value.into(), period) {
                prop_assert!(base.count(tick, period) >= value.into());
                prop_assert!(base.count(Tick(tick.0 - 1), period) < value.into());
            } else {
                prop_assert!(base.count(Tick::MAX, period) < value.into());
            }
        }

        #[test]
        fn the_first_tick_of_a_time_is_not_before_it(ns in 1u32..5000, at in 1u128..1 << 90) {
            let base = TimeBase::new(ns);
            if let Some(tick) = base.first_tick_at_ns(at) {
                prop_assert!(base.ns(tick) >= at && base.ns(Tick(tick.0 - 1)) < at);
            }
        }
    }

    #[test]
    fn a_clock_faster_than_its_counter_still_counts_exactly() {
        let base = TimeBase::new(1);
        assert_eq!(base.count(Tick(99), 100), 0);
        assert_eq!(base.count(Tick(100), 100), 1);
        assert_eq!(base.first_tick_at_count(1, 100), Some(Tick(100)));
        assert_eq!(TimeBase::new(0), base);
    }
}
