//! Locks that the kernel lets go of when their holder dies.

use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// An exclusive lock on a file, held while this lives.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock, or `None` where another process has it.
    ///
    /// # Errors
    /// What the host says where the file cannot be opened.
    pub fn try_take(path: &Path) -> io::Result<Option<Self>> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes the lock, and waits for it. For locks that are held for moments only.
    ///
    /// # Errors
    /// What the host says where the file cannot be opened.
    pub fn take(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Self { _file: file })
    }

    /// Whether a process holds the lock.
    #[must_use]
    pub fn is_held(path: &Path) -> bool {
        // Shared, so that two who look at once do not see each other.
        let Ok(file) = File::open(path) else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared).is_err()
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;

    #[test]
    fn a_lock_is_held_until_it_is_dropped() {
        let dir = TempDir::new("lock").expect("a writable host");
        let path = dir.path().join("lock");
        assert!(!FileLock::is_held(&path));
        let held = FileLock::try_take(&path).expect("openable").expect("free");
        assert!(FileLock::is_held(&path));
        assert!(FileLock::try_take(&path).expect("openable").is_none());
        drop(held);
        assert!(!FileLock::is_held(&path));
    }
}
