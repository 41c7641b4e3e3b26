//! The names of machines, as links to their folders: one is found, or known to be free, without a
//! look at any other machine.

use crate::ControlError;
use std::fs;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The folder of links, beside the folders of machines.
const FOLDER: &str = "names";

/// The same while it is made: `sweep` removes one that was left behind.
const FRESH: &str = "names.new";

/// The names of machines. What a machine is called stands in its own file; a link only says where
/// to look. Each machine has the link of its name, and there may be others: one that leads nowhere,
/// or to a machine of another name, is left over. Whoever changes them holds the registry's lock.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    machines: PathBuf,
}

impl Names {
    pub(crate) fn of(machines: &Path) -> Self {
        Self { machines: machines.to_owned() }
    }

    /// Whether every machine has a link: they are made once.
    pub(crate) fn are_there(&self) -> bool {
        self.machines.join(FOLDER).exists()
    }

    /// Makes links to these machines, by name and id, all at once.
    pub(crate) fn make(&self, all: &[(String, String)]) -> Result<(), ControlError> {
        let fresh = self.machines.join(FRESH);
        let error = ControlError::io(&fresh);
        let made = || {
            if fresh.exists() {
                fs::remove_dir_all(&fresh)?;
            }
            omni_host::private_dir(&fresh)?;
            for (name, id) in all {
                let linked = symlink(Path::new("..").join(id), fresh.join(name));
                // Where two machines have one name, either is found by it.
                let is_there = |error: &Error| error.kind() == ErrorKind::AlreadyExists;
                linked.or_else(|error| if is_there(&error) { Ok(()) } else { Err(error) })?;
            }
            omni_host::sync(&fresh)?;
            fs::rename(&fresh, self.machines.join(FOLDER))?;
            omni_host::sync(&self.machines)
        };
        made().map_err(error)
    }

    /// The id of the machine that may have this name.
    pub(crate) fn id(&self, name: &str) -> Option<String> {
        let target = fs::read_link(self.link(name)).ok()?;
        target.file_name().and_then(|id| id.to_str()).map(str::to_owned)
    }

    /// Whether a link of this name leads to a machine, be it one of another name.
    pub(crate) fn is_linked(&self, name: &str) -> bool {
        fs::metadata(self.link(name)).is_ok()
    }

    /// Links a name to a machine, be it to come. What it led to before has it no longer.
    pub(crate) fn link_to(&self, name: &str, id: &str) -> Result<(), ControlError> {
        let (link, target) = (self.link(name), Path::new("..").join(id));
        let linked = symlink(&target, &link).or_else(|error| {
            if error.kind() != ErrorKind::AlreadyExists {
                return Err(error);
            }
            fs::remove_file(&link)?;
            symlink(&target, &link)
        });
        linked.map_err(ControlError::io(&link))
    }

    /// Removes the link of a name, where it leads to this machine.
    pub(crate) fn unlink(&self, name: &str, id: &str) {
        if self.id(name).as_deref() == Some(id) {
            // One that stays leads nowhere, and is in nobody's way.
            let _ = fs::remove_file(self.link(name));
        }
    }

    /// Makes the links survive a loss of power.
    pub(crate) fn sync(&self) -> Result<(), ControlError> {
        let folder = self.machines.join(FOLDER);
        omni_host::sync(&folder).map_err(ControlError::io(&folder))
    }

    fn link(&self, name: &str) -> PathBuf {
        self.machines.join(FOLDER).join(name)
    }
}

/// A number that is not taken, not below `from`: the first one where all that are taken follow each
/// other. Looks at few, however many are taken.
pub(crate) fn free_number(from: u64, taken: impl Fn(u64) -> bool) -> u64 {
    if !taken(from) {
        return from;
    }
    let (mut low, mut step) = (from, 1);
    while taken(low + step) {
        low += step;
        step *= 2;
    }
    let mut high = low + step;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if taken(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::BTreeSet;

    #[test]
    fn a_free_number_is_found_by_few_looks_and_is_the_first_after_an_unbroken_row() {
        for count in [0, 1, 2, 3, 7, 8, 1_000, 123_456] {
            let looks = Cell::new(0);
            let found = free_number(1, |number| {
                looks.set(looks.get() + 1);
                number <= count
            });
            assert_eq!(found, count + 1);
            assert!(looks.get() <= 40, "{} looks among {count}", looks.get());
        }
    }

    #[test]
    fn a_number_that_is_found_is_free_whatever_is_taken() {
        for mask in 0u64..1 << 12 {
            let taken: BTreeSet<u64> = (1..13).filter(|at| mask >> (at - 1) & 1 == 1).collect();
            for from in [1, 2, 5] {
                let found = free_number(from, |number| taken.contains(&number));
                assert!(found >= from && !taken.contains(&found), "{found} among {taken:?}");
            }
        }
    }
}
