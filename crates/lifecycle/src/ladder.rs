//! Which rungs of a long timeline are kept: many of late, fewer the longer ago.

use omni_base::Tick;

/// Rungs that stay in each doubling of their age.
const PER_DOUBLING: u64 = 8;

/// What `surplus` lets stay at most, however long the timeline: eight in each of 64 doublings, one
/// for each that a gap may lack, and the two ends.
pub const MAX_RUNGS: usize = 2 * 8 * 64 + 2;

/// Which of some rungs to give up, by their places: those without which no gap is longer than an
/// eighth of its age. `ticks` are in order; the first and the last always stay.
///
/// Going back `age` ticks from `now` then means to replay at most about an eighth of that, and a
/// timeline of any length has a bounded number of rungs.
#[must_use]
pub fn surplus(ticks: &[Tick], now: Tick) -> Vec<usize> {
    let mut gone = Vec::new();
    let Some((first, rest)) = ticks.split_first() else { return gone };
    let mut kept = *first;
    for (at, pair) in rest.windows(2).enumerate() {
        let [this, next] = [pair[0], pair[1]];
        let age = now.0.saturating_sub(this.0);
        if next.0.saturating_sub(kept.0) <= age / PER_DOUBLING {
            gone.push(at + 1);
        } else {
            kept = this;
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rungs as they are after each of `count` steps, thinned at each.
    fn grown(count: u64, mut check: impl FnMut(&[Tick], Tick)) {
        let mut rungs = vec![Tick(5)];
        for step in 1..=count {
            let now = Tick(5 + step * 1000);
            rungs.push(now);
            for at in surplus(&rungs, now).into_iter().rev() {
                rungs.remove(at);
            }
            check(&rungs, now);
        }
    }

    #[test]
    fn rungs_are_few_however_long_the_timeline() {
        let mut most = 0;
        grown(100_000, |rungs, _| most = most.max(rungs.len()));
        assert!(most < 130, "{most} rungs");
        assert!(most < MAX_RUNGS);
    }

    #[test]
    fn no_gap_is_longer_than_a_part_of_its_age() {
        grown(20_000, |rungs, now| {
            for pair in rungs.windows(2) {
                let (gap, age) = (pair[1].0 - pair[0].0, now.0 - pair[0].0);
                assert!(gap <= 1000.max(age / PER_DOUBLING), "{gap} at {age}");
            }
        });
    }

    #[test]
    fn the_first_and_the_last_stay() {
        assert!(surplus(&[], Tick(9)).is_empty());
        assert!(surplus(&[Tick(1)], Tick::MAX).is_empty());
        assert!(surplus(&[Tick(1), Tick(2)], Tick::MAX).is_empty());
        assert_eq!(surplus(&[Tick(1), Tick(2), Tick(3)], Tick::MAX), [1]);
    }
}
