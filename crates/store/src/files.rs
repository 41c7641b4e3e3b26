//! The few ways in which the store touches files, in one place so that tests can cut any of them.

use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The files of a host. Cloning gives another handle of the same.
#[derive(Clone, Default, Debug)]
pub struct Files {
    fuse: Option<Arc<Fuse>>,
    /// Whether a loss of power may take what was written.
    careless: bool,
}

/// Stops every change after so many of them, as a crash does. For tests.
#[derive(Debug)]
pub struct Fuse {
    state: Mutex<State>,
    full: bool,
    loses: bool,
}

#[derive(Debug)]
struct State {
    left: u64,
    /// What would be left of each file after a loss of power.
    synced: BTreeMap<PathBuf, u64>,
}

impl Fuse {
    /// Lets `steps` changes happen, the last one by half, and none after it.
    #[must_use]
    pub fn crash(steps: u64) -> Arc<Self> {
        Self::new(steps, false, false)
    }

    /// As `crash`, and what was not synced by then is lost.
    #[must_use]
    pub fn power_loss(steps: u64) -> Arc<Self> {
        Self::new(steps, false, true)
    }

    /// Lets `steps` changes happen; then the file system is full: writes fail, the rest goes on.
    #[must_use]
    pub fn full(steps: u64) -> Arc<Self> {
        Self::new(steps, true, false)
    }

    fn new(left: u64, full: bool, loses: bool) -> Arc<Self> {
        let state = Mutex::new(State { left, synced: BTreeMap::new() });
        Arc::new(Self { state, full, loses })
    }

    /// Whether it has stopped something.
    #[must_use]
    pub fn blown(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).left == 0
    }

    /// What of a change may happen: all, half, or none.
    fn burn(&self, writes: bool) -> io::Result<bool> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.full && !writes {
            return Ok(true);
        }
        let error = || match self.full {
            true => io::Error::from(io::ErrorKind::StorageFull),
            false => io::Error::other("the fuse is blown"),
        };
        match state.left {
            0 => Err(error()),
            1 => {
                state.left = 0;
                if self.full {
                    return Err(error());
                }
                if self.loses {
                    for (path, bytes) in &state.synced {
                        if let Ok(file) = OpenOptions::new().write(true).open(path) {
                            file.set_len(*bytes)?;
                        }
                    }
                }
                Ok(false)
            }
            _ => {
                state.left -= 1;
                Ok(true)
            }
        }
    }

    fn note(&self, path: &Path, synced: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.synced.insert(path.to_owned(), synced);
    }

    fn note_name(&self, from: &Path, to: &Path) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = state.synced.remove(from).unwrap_or(0);
        state.synced.insert(to.to_owned(), bytes);
    }
}

impl Files {
    /// Files behind a fuse.
    #[must_use]
    pub fn with_fuse(fuse: Arc<Fuse>) -> Self {
        Self { fuse: Some(fuse), careless: false }
    }

    /// Files that a loss of power may take: for a store that is made to be measured.
    #[must_use]
    pub fn careless() -> Self {
        Self { fuse: None, careless: true }
    }

    fn step(&self, writes: bool) -> io::Result<()> {
        let Some(fuse) = &self.fuse else { return Ok(()) };
        let whole = fuse.burn(writes)?;
        // A step that is not a write is done or not done.
        if whole { Ok(()) } else { Err(io::Error::other("the fuse is blown")) }
    }

    /// Makes a folder that only its owner can use.
    pub(crate) fn make_dir(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        self.step(true)?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    /// Makes a file that is not there yet.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.step(true)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(path)?;
        if let Some(fuse) = &self.fuse {
            fuse.note(path, 0);
        }
        Ok(file)
    }

    /// Writes at an offset.
    pub(crate) fn write_at(&self, file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
        let Some(fuse) = &self.fuse else { return file.write_all_at(bytes, at) };
        match fuse.burn(true) {
            Ok(true) => file.write_all_at(bytes, at),
            Ok(false) => {
                file.write_all_at(&bytes[..bytes.len() / 2], at)?;
                Err(io::Error::other("the fuse is blown"))
            }
            Err(error) => {
                if fuse.full {
                    // As much as there is room for.
                    file.write_all_at(&bytes[..bytes.len() / 3], at)?;
                }
                Err(error)
            }
        }
    }

    /// Makes the content of a file survive a loss of power.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.step(false)?;
        if !self.careless {
            file.sync_data()?;
        }
        if let Some(fuse) = &self.fuse {
            fuse.note(path, file.metadata()?.len());
        }
        Ok(())
    }

    /// Gives a file its name, and makes that survive a loss of power.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(false)?;
        fs::rename(from, to)?;
        if let Some(fuse) = &self.fuse {
            fuse.note_name(from, to);
        }
        self.sync_dir(to)
    }

    /// Makes the names in the folder of this file survive a loss of power.
    pub(crate) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(false)?;
        let Some(dir) = path.parent() else { return Ok(()) };
        // A bare name is one in the folder that the process is in.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        if self.careless { Ok(()) } else { File::open(dir)?.sync_all() }
    }

    /// Removes a file, where it is there.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(false)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Cuts a file off.
    pub(crate) fn truncate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.step(false)?;
        file.set_len(bytes)
    }

    /// Puts a small file in place, whole.
    pub(crate) fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let file = self.create(&fresh)?;
        let written = self
            .write_at(&file, 0, bytes)
            .and_then(|()| self.sync(&file, &fresh))
            .and_then(|()| self.rename(&fresh, path));
        if written.is_err() {
            // The error at hand says more than one about the file left over would.
            let _ = fs::remove_file(&fresh);
        }
        written
    }
}

/// A lock of the kernel's on a file, let go of when this is dropped or its process dies.
#[derive(Debug)]
pub(crate) struct Lock(#[allow(dead_code, reason = "held for its lock")] File);

impl Lock {
    pub(crate) fn shared(path: &Path) -> io::Result<Self> {
        let file = open_lock(path)?;
        flock(&file, FlockOperation::LockShared)?;
        Ok(Self(file))
    }

    pub(crate) fn exclusive(path: &Path) -> io::Result<Self> {
        let file = open_lock(path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok(Self(file))
    }

    /// The lock, or `None` where another process has it.
    pub(crate) fn try_exclusive(path: &Path) -> io::Result<Option<Self>> {
        let file = open_lock(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A lock on a file that is open.
    pub(crate) fn of(file: File) -> io::Result<Option<Self>> {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Who has a lock, as the kernel tells it.
pub(crate) fn holder(path: &Path) -> String {
    let inode = fs::metadata(path).map(|meta| format!(":{} ", meta.ino())).unwrap_or_default();
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut lines = locks.lines().filter(|line| line.contains("FLOCK") && line.contains(&inode));
    let pid = lines.next().and_then(|line| line.split_ascii_whitespace().nth(4));
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
