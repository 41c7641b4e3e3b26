//! A machine that leaves where it is, whether it lives or not, to go on from a snapshot.

use crate::args::Schedule;
use crate::failure::Failure;
use crate::hold::hold;
use crate::life::{check_schedule, set_schedule};
use crate::saved;
use omni_base::Digest;
use omni_control::{BranchFile, Client, ControlError, Entry, OriginFile, Request};
use omni_host::{FileLock, Staged};
use omni_store::{Lease, Store};
use std::fs;
use std::path::PathBuf;

/// More than a machine's small files, and what the store keeps of it, take.
const RESERVE_BYTES: usize = 128 << 10;

/// A machine that may leave where it is: all that could refuse it has been asked, and nothing is
/// undone.
pub(crate) struct Ready {
    pub(crate) entry: Entry,
    /// The snapshot that it is to go on from, which stays.
    pub(crate) id: Digest,
    kept: Lease,
    schedule: Schedule,
    own: Own,
}

/// By what it is known that its files can be changed.
enum Own {
    /// It lives, and ends before that.
    Live(Reserve),
    /// It does not, and nobody else has it.
    Ended(FileLock),
}

impl Ready {
    pub(crate) fn of(
        entry: Entry,
        store: &Store,
        (id, schedule): (Digest, Schedule),
    ) -> Result<Self, Failure> {
        check_schedule(&entry, schedule)?;
        let kept = store.lease(&[id])?;
        let own = if entry.state.state.is_live() {
            Own::Live(Reserve::take(&entry)?)
        } else {
            Own::Ended(hold(&entry)?)
        };
        Ok(Self { entry, id, kept, schedule, own })
    }

    /// Makes it leave. It is not started, and the snapshot stays while the lease lives that is
    /// given.
    pub(crate) fn leave(
        self,
        store: &Store,
        branch: Option<BranchFile>,
    ) -> Result<(Entry, Lease, Left), Failure> {
        let Self { mut entry, id, kept, schedule, own } = self;
        // While it lives, so that it stands still the shorter.
        let change = Change::prepare(&mut entry, store, id, branch)?;
        let lock = match own {
            Own::Ended(lock) => lock,
            Own::Live(reserve) => {
                let kill = Request::Kill { keep: true };
                match Client::connect(&entry).and_then(|mut client| client.ask(&kill)) {
                    Ok(_) | Err(ControlError::Gone(_)) => {}
                    Err(error) => return Err(error.into()),
                }
                drop(reserve);
                hold(&entry)?
            }
        };
        set_schedule(&mut entry, schedule)?;
        let left = change.make(&entry)?;
        drop(lock);
        Ok((entry, kept, left))
    }
}

/// Room on the file system for what is written once a machine has been ended: it is not ended for
/// nothing where there is none.
struct Reserve(PathBuf);

impl Reserve {
    fn take(entry: &Entry) -> Result<Self, Failure> {
        let reserve = Self(entry.dir.join("reserve.new"));
        let written = fs::write(&reserve.0, [1; RESERVE_BYTES]);
        written.map_err(|error| Failure::io(&reserve.0.display().to_string(), &error))?;
        Ok(reserve)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        // One that is left over is written over by the next.
        let _ = fs::remove_file(&self.0);
    }
}

/// What a machine left behind that goes on elsewhere, and is of no use to it any more.
#[must_use]
pub(crate) struct Left {
    /// The directory in which the change was made that is to survive a loss of power.
    dir: PathBuf,
    overlays: Vec<PathBuf>,
    /// The snapshot that it goes on from, where another one is still pinned beside it.
    pinned: Option<Digest>,
}

impl Left {
    /// Makes the change survive a loss of power, and removes what is of no use since.
    pub(crate) fn remove(self, entry: &Entry, store: &Store) -> Result<(), Failure> {
        let failed = |error| Failure::io(&self.dir.display().to_string(), &error);
        omni_host::sync(&self.dir).map_err(failed)?;
        // What is left over is only in nobody's way.
        if let Some(id) = self.pinned {
            let _ = store.pin(&entry.machine.id, &[id]);
        }
        for path in self.overlays {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }
}

/// Makes a machine go on from a snapshot: from the next start on, its disks are those of that.
pub(crate) fn move_to(entry: &mut Entry, store: &Store, id: Digest) -> Result<(), Failure> {
    let change = Change::prepare(entry, store, id, None)?;
    change.make(entry)?.remove(entry, store)
}

/// A change of what a machine goes on from, which is to be made in one step.
struct Change {
    origin: Staged,
    left: Left,
}

impl Change {
    /// Keeps both what the disks of a machine are on and what they are to be on. The entry is as
    /// it will be.
    fn prepare(
        entry: &mut Entry,
        store: &Store,
        id: Digest,
        branch: Option<BranchFile>,
    ) -> Result<Self, Failure> {
        let disks = 0..entry.machine.disks.len();
        let overlays: Vec<PathBuf> = disks.clone().map(|at| entry.overlay(at)).collect();
        let before = match &entry.origin.disks {
            Some(id) => vec![saved::parse_id(id)?],
            None => vec![],
        };
        let mut both: Vec<Digest> = before.into_iter().chain([id]).collect();
        both.dedup();
        store.pin(&entry.machine.id, &both)?;
        entry.origin = OriginFile {
            parent: Some(id.to_string()),
            disks: (!disks.is_empty()).then(|| id.to_string()),
            generation: entry.origin.generation + 1,
            branch,
            fork: false,
        };
        let origin = Entry::stage_origin(&entry.dir, &entry.origin)?;
        let pinned = (both.len() > 1).then_some(id);
        Ok(Self { origin, left: Left { dir: entry.dir.clone(), overlays, pinned } })
    }

    fn make(self, entry: &Entry) -> Result<Left, Failure> {
        let failed = |error| Failure::io(&entry.dir.display().to_string(), &error);
        self.origin.put().map_err(failed)?;
        Ok(self.left)
    }
}
