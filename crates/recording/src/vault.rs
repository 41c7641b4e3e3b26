//! Where the rungs of a recording are kept, and how they are named there.

use omni_base::{Digest, Tick};
use omni_lifecycle::{Moment, Shelf, Snapshot};
use std::io;

/// A rung that was put away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The name by which it is read.
    pub id: Digest,
    /// Bytes that it took in addition to what was there.
    pub bytes: u64,
}

/// Keeps the rungs of one recording.
pub trait Vault: Shelf {
    /// Keeps a snapshot under a name of `rung_name`. Once this returns it stays.
    ///
    /// # Errors
    /// What the host says.
    fn put(&self, name: &str, snapshot: &Snapshot) -> io::Result<Kept>;

    /// Gives a rung up.
    ///
    /// # Errors
    /// What the host says.
    fn remove(&self, id: Digest) -> io::Result<()>;
}

/// The name of the rung of a moment: its tick, a hyphen, and the events before it.
#[must_use]
pub fn rung_name(moment: Moment) -> String {
    format!("{}-{}", moment.tick.0, moment.events)
}

/// The moment of the rung of this name.
#[must_use]
pub fn rung_moment(name: &str) -> Option<Moment> {
    let (tick, events) = name.split_once('-')?;
    let moment = Moment { events: events.parse().ok()?, tick: Tick(tick.parse().ok()?) };
    (rung_name(moment) == name).then_some(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_rung_is_its_moment() {
        for (tick, events) in [(0, 0), (7, 1), (u64::MAX, usize::MAX)] {
            let moment = Moment { events, tick: Tick(tick) };
            assert_eq!(rung_moment(&rung_name(moment)), Some(moment));
        }
        for wrong in
            ["", "-", "1", "1-", "-1", "01-2", "1-+2", "1-2-3", "s1", "99999999999999999999-1"]
        {
            assert_eq!(rung_moment(wrong), None, "{wrong}");
        }
    }
}
