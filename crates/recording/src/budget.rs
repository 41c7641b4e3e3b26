//! What rungs may cost: one is taken once it can be paid for, by what is known to have changed.

use omni_base::{PAGE_SIZE_U64, PageNo};
use std::collections::BTreeMap;
use std::time::Duration;

/// The part of a changed page that a rung takes, as long as none was put away: 1/6. A boot of
/// Debian takes less.
const STORED: u64 = 6;

/// Pages that one entry is of.
const GROUP: u64 = 64;

/// The pages that have changed since the last rung that was put away.
#[derive(Default, Debug)]
pub(crate) struct Changed {
    /// By space and group of pages: a bit for each page.
    groups: BTreeMap<(usize, u64), u64>,
    pages: u64,
}

impl Changed {
    /// Notes pages of a space, in whatever order.
    pub(crate) fn note(&mut self, space: usize, pages: &[PageNo]) {
        for run in pages.chunk_by(|one, next| one.0 / GROUP == next.0 / GROUP) {
            let Some(first) = run.first() else { continue };
            let bits = run.iter().fold(0, |bits, page| bits | 1 << (page.0 % GROUP));
            let group = self.groups.entry((space, first.0 / GROUP)).or_default();
            self.pages += u64::from((bits & !*group).count_ones());
            *group |= bits;
        }
    }

    /// How many there are.
    pub(crate) fn pages(&self) -> u64 {
        self.pages
    }

    /// Forgets them, and gives how many there were.
    pub(crate) fn take(&mut self) -> u64 {
        std::mem::take(self).pages
    }
}

/// Whether a rung of so many changed pages can be paid for after so long, at half as much again as
/// what there is in a second, where `spent` bytes were. `last` is what the one before took: pages
/// and bytes.
pub(crate) fn fits(
    pages: u64,
    last: Option<(u64, u64)>,
    spent: u64,
    (after, bytes_per_s): (Duration, u64),
) -> bool {
    let wanted = match last {
        // An eighth more, as what changes later may be less alike.
        Some((before, bytes)) if before > 0 => {
            let as_before = u128::from(pages) * u128::from(bytes) / u128::from(before);
            as_before.saturating_add(as_before / 8)
        }
        _ => u128::from(pages) * u128::from(PAGE_SIZE_U64 / STORED),
    };
    let there = (u128::from(bytes_per_s) * 3 / 2).saturating_mul(after.as_millis()) / 1000;
    wanted.saturating_add(u128::from(spent)) <= there
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_counts_once_however_often_it_changes() {
        let pages = |all: &[u64]| all.iter().copied().map(PageNo).collect::<Vec<_>>();
        let mut changed = Changed::default();
        changed.note(0, &pages(&[3, 1, 64, 2, 1]));
        assert_eq!(changed.pages(), 4);
        changed.note(0, &pages(&[1, 64, 65]));
        changed.note(1, &pages(&[1, 1 << 40]));
        changed.note(1, &[]);
        assert_eq!(changed.pages(), 7);
        assert_eq!((changed.take(), changed.pages()), (7, 0));
    }

    #[test]
    fn what_was_spent_and_is_wanted_never_exceeds_what_time_brought() {
        let (second, rate) = (Duration::from_secs(1), 1000);
        assert!(fits(0, None, 1500, (second, rate)) && !fits(0, None, 1501, (second, rate)));
        // Of the first a sixth is taken for granted, of others what the one before took.
        assert!(fits(1, None, 818, (second, rate)) && !fits(1, None, 819, (second, rate)));
        let last = Some((8, 800));
        assert!(fits(8, last, 600, (second, rate)) && !fits(8, last, 601, (second, rate)));
        assert!(fits(8, last, 2100, (2 * second, rate)));
        let most = Some((1, u64::MAX));
        assert!(!fits(u64::MAX, most, u64::MAX, (Duration::MAX, 1)));
        assert!(fits(u64::MAX, None, u64::MAX, (second * 1_000_000, u64::MAX)));
    }
}
