//! Which bytes of a file are used, so that nothing is used twice.

use crate::error::{Result, unsupported};
use crate::layer::Check;
use std::collections::BTreeMap;

/// Stretches that are kept apart. An image that was written in any sane order needs far fewer.
const STRETCHES_MAX: usize = 1 << 20;

/// Stretches of a file that are used. Those that touch are one.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Ends by beginnings.
    stretches: BTreeMap<u64, u64>,
}

impl Claims {
    /// Uses a stretch that must lie within a file of this size and be used by nothing else.
    pub(crate) fn take(
        &mut self,
        (start, bytes): (u64, u64),
        file_bytes: u64,
        what: &str,
        check: &mut Check,
    ) -> Result<()> {
        let Some(mut end) = start.checked_add(bytes).filter(|&end| end <= file_bytes) else {
            check.corrupt(|| format!("{what} at {start} reaches beyond the end of the file"));
            return Ok(());
        };
        if bytes == 0 {
            return Ok(());
        }
        let before = self.stretches.range(..end).next_back().map(|(&from, &to)| (from, to));
        if before.is_some_and(|(_, to)| to > start) {
            check.corrupt(|| format!("{what} at {start} overlaps something else"));
            return Ok(());
        }
        let mut from = start;
        if let Some((first, to)) = before
            && to == start
        {
            from = first;
        }
        if let Some(after) = self.stretches.remove(&end) {
            end = after;
        }
        self.stretches.insert(from, end);
        if self.stretches.len() > STRETCHES_MAX {
            return Err(unsupported("too many scattered pieces for a check"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_twice_or_lies_outside_is_found_and_neighbours_are_one() {
        let (mut claims, mut check) = (Claims::default(), Check::default());
        for (start, bytes) in [(10, 10), (30, 10), (20, 10), (0, 10), (40, 0)] {
            claims.take((start, bytes), 100, "block", &mut check).expect("few");
        }
        assert_eq!(check.corruptions, 0);
        assert_eq!(claims.stretches, BTreeMap::from([(0, 40)]));
        for (start, bytes) in [(5, 1), (35, 10), (39, 1), (95, 6), (u64::MAX, 2)] {
            claims.take((start, bytes), 100, "block", &mut check).expect("few");
        }
        assert_eq!(check.corruptions, 5, "{check:?}");
    }
}
