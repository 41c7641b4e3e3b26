//! Where machines are added that live from their first moment on.

use crate::names::{Names, free_number};
use crate::registry::{check_name, lock_path, new_id, to_json};
use crate::{ControlError, Entry, MachineFile, OriginFile, Registry, StateFile};
use omni_host::{FileLock, private_dir, sync, sync_all};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The files that a machine is known by.
const FILES: [&str; 3] = ["machine.json", "state.json", "origin.json"];

/// Machines that are made durable file by file; for more of them it is the whole file system.
const SYNCS_MAX: usize = 8;

/// What is behind the id in the name of a folder while nobody is to see it.
pub(crate) const FRESH: &str = "new";

/// The folder of a machine to come, with empty files, and its lock, held. It goes when it is
/// dropped.
#[derive(Debug)]
pub struct Cradle {
    id: String,
    /// Its folder under a name that no machine has, and where it is to be.
    fresh: PathBuf,
    dir: PathBuf,
    /// Until a machine has it.
    lock: Option<FileLock>,
}

impl Cradle {
    /// For whoever holds the lock of the registry, so that nobody sweeps it away half made.
    pub(crate) fn new(machines: &Path) -> Result<Self, ControlError> {
        let id = new_id()?;
        let dir = machines.join(&id);
        let fresh = dir.with_extension(FRESH);
        private_dir(&fresh).map_err(ControlError::io(&fresh))?;
        let path = lock_path(&fresh);
        let lock = FileLock::try_take(&path).map_err(ControlError::io(&path))?;
        let made = Self { id, fresh, dir, lock };
        FILES.iter().try_for_each(|name| made.write(name, &[]))?;
        Ok(made)
    }

    /// A file is not made anew where it is there: that costs a multiple of writing to it.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), ControlError> {
        let path = self.fresh.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let written = file.and_then(|mut file| file.write_all(bytes));
        written.map_err(ControlError::io(&path))
    }

    /// Makes a machine of it, whole in one step.
    fn fill(
        mut self,
        machine: &MachineFile,
        origin: &OriginFile,
        state: &StateFile,
    ) -> Result<(PathBuf, FileLock), ControlError> {
        self.write("machine.json", &to_json(machine))?;
        self.write("state.json", &to_json(state))?;
        if *origin == OriginFile::default() {
            let path = self.fresh.join("origin.json");
            fs::remove_file(&path).map_err(ControlError::io(&path))?;
        } else {
            self.write("origin.json", &to_json(origin))?;
        }
        let lock = self.lock.take().ok_or_else(|| ControlError::Exists(machine.name.clone()))?;
        fs::rename(&self.fresh, &self.dir).map_err(ControlError::io(&self.dir))?;
        Ok((std::mem::take(&mut self.dir), lock))
    }
}

impl Drop for Cradle {
    fn drop(&mut self) {
        // There is nothing where a machine was made of it; whatever stays is swept away later.
        let _ = fs::remove_dir_all(&self.fresh);
    }
}

/// Where machines are added that live from their first moment on.
#[derive(Debug)]
pub struct Nursery<'r> {
    registry: &'r Registry,
    _lock: FileLock,
    stem: String,
    names: Names,
    number: u64,
    cradle: Option<Cradle>,
}

impl<'r> Nursery<'r> {
    /// Names begin with the stem, and are none of those that are there. The lock is the registry's.
    pub(crate) fn new(registry: &'r Registry, lock: FileLock, stem: String, names: Names) -> Self {
        Self { registry, _lock: lock, stem, names, number: 0, cradle: None }
    }

    /// Has a folder for the next machine already.
    #[must_use]
    pub fn with_cradle(self, cradle: Option<Cradle>) -> Self {
        Self { cradle, ..self }
    }

    /// Adds a machine of a new id, and of a new name where it has none, and holds its lock. Others
    /// see it at once and whole, but a loss of power may undo it until `settle`.
    ///
    /// # Errors
    /// Where its name cannot be one or is taken, and what the host says.
    pub fn add(
        &mut self,
        machine: MachineFile,
        origin: OriginFile,
        state: StateFile,
    ) -> Result<(Entry, FileLock), ControlError> {
        let name = if machine.name.is_empty() { self.name() } else { machine.name.clone() };
        check_name(&name)?;
        if self.registry.named(&name).is_some() {
            return Err(ControlError::Exists(name));
        }
        let cradle = match self.cradle.take() {
            Some(cradle) => cradle,
            None => Cradle::new(&self.registry.dirs.machines())?,
        };
        let machine = MachineFile { id: cradle.id.clone(), name, ..machine };
        let socket = Some(self.registry.dirs.socket(&machine.id)?);
        let state = StateFile { socket, ..state };
        self.names.link_to(&machine.name, &machine.id)?;
        let (dir, lock) = cradle.fill(&machine, &origin, &state)?;
        Ok((Entry { dir, machine, state, origin }, lock))
    }

    /// The next name that is free.
    fn name(&mut self) -> String {
        let name = |number: u64| format!("{}-{number}", self.stem);
        self.number = free_number(self.number + 1, |number| self.names.is_linked(&name(number)));
        name(self.number)
    }

    /// Makes machines that were added survive a loss of power.
    ///
    /// # Errors
    /// What the host says.
    pub fn settle(&self, entries: &[Entry]) -> Result<(), ControlError> {
        let machines = self.registry.dirs.machines();
        if entries.len() > SYNCS_MAX {
            return sync_all(&machines).map_err(ControlError::io(&machines));
        }
        self.names.sync()?;
        for entry in entries {
            for path in FILES.map(|name| entry.dir.join(name)).iter().chain([&entry.dir]) {
                if path.exists() {
                    sync(path).map_err(ControlError::io(path))?;
                }
            }
        }
        sync(&machines).map_err(ControlError::io(&machines))
    }
}
