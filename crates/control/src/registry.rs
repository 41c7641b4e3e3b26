//! The machines of this user: one directory each.

use crate::names::{Names, free_number};
use crate::nursery::{Cradle, FRESH, Nursery};
use crate::{ControlError, Dirs, MachineFile, OriginFile, Phase, StateFile};
use omni_host::{FileLock, Staged, private_dir, read_bounded, replace_file, show_file, stage_file};
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of a machine, in bytes.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Hexadecimal digits of an id.
const ID_DIGITS: usize = 12;

/// A machine as its files tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its directory.
    pub dir: PathBuf,
    /// What it was made from.
    pub machine: MachineFile,
    /// How it is; `failed` where it should live and no monitor does.
    pub state: StateFile,
    /// Where it goes on from.
    pub origin: OriginFile,
}

impl Entry {
    /// Reads the files of a machine.
    ///
    /// # Errors
    /// Where they cannot be read or are damaged.
    pub fn load(dir: &Path) -> Result<Self, ControlError> {
        let machine = read_json(&dir.join("machine.json"))?;
        let read = || read_state(&dir.join("state.json"));
        let mut state = read()?;
        if state.state.is_live() && !FileLock::is_held(&lock_path(dir)) {
            // It may have ended between the two looks, so a third one decides.
            state = read()?;
            if state.state.is_live() {
                state.state = Phase::Failed;
                state.error = Some("its monitor was lost".into());
            }
        }
        let origin = dir.join("origin.json");
        let origin = if origin.exists() { read_json(&origin)? } else { OriginFile::default() };
        Ok(Self { dir: dir.into(), machine, state, origin })
    }

    /// Writes what it was made from, again. For whoever has just made it.
    ///
    /// # Errors
    /// What the host says.
    pub fn write_machine(&self) -> Result<(), ControlError> {
        write_json(&self.dir.join("machine.json"), &self.machine)
    }

    /// Writes how it is. For its monitor, and for whoever made it.
    ///
    /// # Errors
    /// What the host says.
    pub fn write_state(dir: &Path, state: &StateFile) -> Result<(), ControlError> {
        write_json(&dir.join("state.json"), state)
    }

    /// As `write_state`, for how it is while it lives. Should the host lose power, what stood there
    /// before may come back, such as that it never ran, or nothing: it has failed then.
    ///
    /// # Errors
    /// What the host says.
    pub fn show_state(dir: &Path, state: &StateFile) -> Result<(), ControlError> {
        let path = dir.join("state.json");
        show_file(&path, &to_json(state)).map_err(ControlError::io(&path))
    }

    /// Writes where it goes on from. For its monitor, and for whoever holds its lock.
    ///
    /// # Errors
    /// What the host says.
    pub fn write_origin(dir: &Path, origin: &OriginFile) -> Result<(), ControlError> {
        write_json(&dir.join("origin.json"), origin)
    }

    /// As `write_origin`, but it is put in place later, and survives a loss of power once `dir` was
    /// synced after that.
    ///
    /// # Errors
    /// What the host says.
    pub fn stage_origin(dir: &Path, origin: &OriginFile) -> Result<Staged, ControlError> {
        let path = dir.join("origin.json");
        stage_file(&path, &to_json(origin)).map_err(ControlError::io(&path))
    }

    /// The lock that its monitor holds.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        lock_path(&self.dir)
    }

    /// The log of its console: the older part, and the newer.
    #[must_use]
    pub fn logs(&self) -> [PathBuf; 2] {
        [self.dir.join("console.log.1"), self.dir.join("console.log")]
    }

    /// The overlay of a disk.
    #[must_use]
    pub fn overlay(&self, disk: usize) -> PathBuf {
        match self.origin.generation {
            0 => self.dir.join(format!("disk{disk}.overlay")),
            number => self.dir.join(format!("disk{disk}.{number}.overlay")),
        }
    }
}

/// All machines of this user.
#[derive(Clone, Debug)]
pub struct Registry {
    pub(crate) dirs: Dirs,
}

impl Registry {
    /// Opens the registry, which may be empty.
    ///
    /// # Errors
    /// Where its directory cannot be made.
    pub fn open(dirs: &Dirs) -> Result<Self, ControlError> {
        let machines = dirs.machines();
        private_dir(&dirs.state).map_err(ControlError::io(&dirs.state))?;
        private_dir(&machines).map_err(ControlError::io(&machines))?;
        Ok(Self { dirs: dirs.clone() })
    }

    /// Adds a machine. An empty name is filled in from `stem`; the id is new.
    ///
    /// # Errors
    /// Where the name cannot be one or is taken, and what the host says.
    pub fn create(&self, mut machine: MachineFile, stem: &str) -> Result<Entry, ControlError> {
        let _lock = self.lock()?;
        let names = self.names()?;
        if machine.name.is_empty() {
            let stem = tame(stem);
            let name = |number: u64| format!("{stem}-{number}");
            machine.name = name(free_number(1, |number| names.is_linked(&name(number))));
        }
        check_name(&machine.name)?;
        if self.named(&machine.name).is_some() {
            return Err(ControlError::Exists(machine.name));
        }
        machine.id = new_id()?;
        // First, so that there is no machine whose name seems free.
        names.link_to(&machine.name, &machine.id)?;
        names.sync()?;
        let dir = self.dirs.machines().join(&machine.id);
        private_dir(&dir).map_err(ControlError::io(&dir))?;
        let state = StateFile::default();
        let written = write_json(&dir.join("state.json"), &state)
            .and_then(|()| write_json(&dir.join("machine.json"), &machine));
        if let Err(error) = written {
            // The first error is the one to tell of.
            let _ = fs::remove_dir_all(&dir);
            names.unlink(&machine.name, &machine.id);
            return Err(error);
        }
        Ok(Entry { dir, machine, state, origin: OriginFile::default() })
    }

    /// Begins to add machines that live from their first moment on, named by this one's stem.
    /// Nobody else adds or renames machines until it is dropped.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn nursery(&self, stem: &str) -> Result<Nursery<'_>, ControlError> {
        let lock = self.lock()?;
        Ok(Nursery::new(self, lock, tame(stem), self.names()?))
    }

    /// Makes the files of a machine to come, which nobody sees, so that it takes less time to add
    /// it. Removes those that a monitor has left behind.
    ///
    /// # Errors
    /// What the host says.
    pub fn cradle(&self) -> Result<Cradle, ControlError> {
        let _lock = self.lock()?;
        self.sweep()?;
        Cradle::new(&self.dirs.machines())
    }

    /// Removes what was to be a machine, where nobody is at it any more. Whoever calls this holds
    /// the lock under which such folders are made.
    fn sweep(&self) -> Result<(), ControlError> {
        let machines = self.dirs.machines();
        for item in fs::read_dir(&machines).map_err(ControlError::io(&machines))? {
            let dir = item.map_err(ControlError::io(&machines))?.path();
            let left = dir.extension().is_some_and(|end| end == FRESH);
            if left && !FileLock::is_held(&lock_path(&dir)) {
                // It is in nobody's way.
                let _ = fs::remove_dir_all(&dir);
            }
        }
        Ok(())
    }

    /// All machines, oldest first. One whose files are damaged is shown as failed, so that it can
    /// be removed.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, ControlError> {
        let folders = self.folders()?.into_iter();
        let mut all: Vec<Entry> = folders.filter_map(|(dir, id)| entry_of(&dir, &id)).collect();
        all.sort_by(|a, b| {
            (&a.machine.created, &a.machine.id).cmp(&(&b.machine.created, &b.machine.id))
        });
        Ok(all)
    }

    /// The names of all machines. Whoever calls this holds the lock.
    fn names(&self) -> Result<Names, ControlError> {
        #[derive(serde::Deserialize)]
        struct Named {
            name: String,
        }
        let names = Names::of(&self.dirs.machines());
        if !names.are_there() {
            let name = |(dir, id): (PathBuf, String)| {
                let named = read_json::<Named>(&dir.join("machine.json")).ok()?;
                check_name(&named.name).ok().map(|()| (named.name, id))
            };
            names.make(&self.folders()?.into_iter().filter_map(name).collect::<Vec<_>>())?;
        }
        Ok(names)
    }

    /// The machine of this name, where all have links and it is whole.
    pub(crate) fn named(&self, name: &str) -> Option<Entry> {
        check_name(name).ok()?;
        let machines = self.dirs.machines();
        let id = Names::of(&machines).id(name)?;
        Entry::load(&machines.join(id)).ok().filter(|entry| entry.machine.name == name)
    }

    /// The directories of machines, and their ids.
    fn folders(&self) -> Result<Vec<(PathBuf, String)>, ControlError> {
        let machines = self.dirs.machines();
        let mut all = Vec::new();
        for item in fs::read_dir(&machines).map_err(ControlError::io(&machines))? {
            let dir = item.map_err(ControlError::io(&machines))?.path();
            let id = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                all.push((dir, id));
            }
        }
        Ok(all)
    }

    /// The machine of this name, id, or unique beginning of an id.
    ///
    /// # Errors
    /// Where there is none, or more than one.
    pub fn find(&self, key: &str) -> Result<Entry, ControlError> {
        if let Some(entry) = self.named(key) {
            return Ok(entry);
        }
        if !Names::of(&self.dirs.machines()).are_there() {
            let mut all = self.list()?;
            if let Some(at) = all.iter().position(|entry| entry.machine.name == key) {
                return Ok(all.swap_remove(at));
            }
        }
        let mut fits = self.folders()?;
        fits.retain(|(_, id)| !key.is_empty() && id.starts_with(key));
        let mut all: Vec<Entry> =
            fits.into_iter().filter_map(|(dir, id)| entry_of(&dir, &id)).take(2).collect();
        match all.len() {
            0 => Err(ControlError::NoMachine(key.into())),
            1 => Ok(all.swap_remove(0)),
            _ => Err(ControlError::Ambiguous(key.into())),
        }
    }

    /// Gives a machine another name. A live one keeps running.
    ///
    /// # Errors
    /// As `find` and `create`.
    pub fn rename(&self, key: &str, name: &str) -> Result<Entry, ControlError> {
        check_name(name)?;
        let _lock = self.lock()?;
        let mut entry = self.find(key)?;
        let names = self.names()?;
        if self.named(name).is_some_and(|other| other.machine.id != entry.machine.id) {
            return Err(ControlError::Exists(name.into()));
        }
        names.link_to(name, &entry.machine.id)?;
        names.sync()?;
        let before = std::mem::replace(&mut entry.machine.name, name.into());
        write_json(&entry.dir.join("machine.json"), &entry.machine)?;
        if before != name {
            names.unlink(&before, &entry.machine.id);
        }
        Ok(entry)
    }

    /// Removes a machine that does not live, with its disks' overlays.
    ///
    /// # Errors
    /// Where it lives, and what the host says.
    pub fn remove(&self, entry: &Entry) -> Result<(), ControlError> {
        if entry.state.state.is_live() {
            return Err(ControlError::WrongState {
                name: entry.machine.name.clone(),
                state: entry.state.state.word(),
                hint: "'omni stop' it first, or use 'omni rm --force'".into(),
            });
        }
        self.remove_files(&entry.machine.id, &entry.dir)
    }

    /// Removes the files of a machine. For its own monitor, at its end.
    ///
    /// # Errors
    /// What the host says.
    pub fn remove_files(&self, id: &str, dir: &Path) -> Result<(), ControlError> {
        if let Ok(socket) = self.dirs.socket(id) {
            // There is none where the monitor ended in good order.
            let _ = fs::remove_file(socket);
        }
        let name = Entry::load(dir).map(|entry| entry.machine.name);
        // Out of sight in one step, so that no one finds half a machine.
        let hidden = dir.with_extension("removed");
        fs::rename(dir, &hidden).map_err(ControlError::io(dir))?;
        let lock = FileLock::try_take(&self.dirs.machines().join("lock"));
        if let (Ok(name), Ok(Some(_lock))) = (name, lock) {
            Names::of(&self.dirs.machines()).unlink(&name, id);
        }
        fs::remove_dir_all(&hidden).map_err(ControlError::io(&hidden))
    }

    fn lock(&self) -> Result<FileLock, ControlError> {
        let path = self.dirs.machines().join("lock");
        FileLock::take(&path).map_err(ControlError::io(&path))
    }
}

/// A machine as `list` shows it; none where it was removed while we looked, or is not whole yet.
fn entry_of(dir: &Path, id: &str) -> Option<Entry> {
    let gone = || !dir.join("machine.json").exists() && !dir.join("state.json").exists();
    match Entry::load(dir) {
        Ok(entry) => Some(entry),
        Err(_) if gone() => None,
        Err(error) => Some(damaged(dir, id, &error)),
    }
}

fn damaged(dir: &Path, id: &str, error: &ControlError) -> Entry {
    let machine = MachineFile { id: id.into(), name: id.into(), ..MachineFile::default() };
    let state =
        StateFile { state: Phase::Failed, error: Some(error.to_string()), ..StateFile::default() };
    Entry { dir: dir.into(), machine, state, origin: OriginFile::default() }
}

pub(crate) fn lock_path(dir: &Path) -> PathBuf {
    dir.join("monitor.lock")
}

pub(crate) fn check_name(name: &str) -> Result<(), ControlError> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let fits = first && rest && name.len() <= 63;
    if fits { Ok(()) } else { Err(ControlError::BadName(name.into())) }
}

/// What of a text can begin a name.
fn tame(stem: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let text: String = stem.chars().take(40).map(plain).collect();
    let text = text.trim_matches('-').to_ascii_lowercase();
    if text.is_empty() { "machine".into() } else { text }
}

pub(crate) fn new_id() -> Result<String, ControlError> {
    let mut random = [0; ID_DIGITS / 2];
    let flags = rustix::rand::GetRandomFlags::empty();
    let filled = rustix::rand::getrandom(&mut random, flags);
    filled.map_err(|error| ControlError::Io("getrandom".into(), error.into()))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What is left empty was written while the machine lived, and lost with the host's power.
fn read_state(path: &Path) -> Result<StateFile, ControlError> {
    if fs::metadata(path).is_ok_and(|meta| meta.len() == 0) {
        let error = Some("the host lost power while it lived".into());
        return Ok(StateFile { state: Phase::Failed, error, ..StateFile::default() });
    }
    read_json(path)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, ControlError> {
    let bytes = read_bounded(path, FILE_BYTES_MAX).map_err(ControlError::io(path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ControlError::Damaged(path.into(), error.to_string()))
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), ControlError> {
    replace_file(path, &to_json(value)).map_err(ControlError::io(path))
}

pub(crate) fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("plain data");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_host::TempDir;

    fn registry(dir: &TempDir) -> Registry {
        let at = |name: &str| dir.path().join(name);
        let dirs =
            Dirs { state: at("state"), cache: at("cache"), config: at("config"), run: at("run") };
        Registry::open(&dirs).expect("writable")
    }

    fn named(name: &str) -> MachineFile {
        MachineFile { name: name.into(), created: crate::now_text(), ..MachineFile::default() }
    }

    #[test]
    fn a_machine_is_found_by_name_id_and_unique_beginning() {
        let dir = TempDir::new("registry").expect("a writable host");
        let registry = registry(&dir);
        let one = registry.create(named("one"), "").expect("free");
        let two = registry.create(named(""), "Zork I.z3").expect("free");
        assert_eq!(two.machine.name, "zork-i-z3-1");
        for key in ["one", &one.machine.id, &one.machine.id[..11]] {
            assert_eq!(registry.find(key).expect("there").machine.id, one.machine.id);
        }
        assert!(matches!(registry.find(""), Err(ControlError::NoMachine(_))));
        assert!(matches!(registry.find("three"), Err(ControlError::NoMachine(_))));
        assert!(matches!(registry.create(named("one"), ""), Err(ControlError::Exists(_))));
        for bad in ["../x", "a b", ".hidden", "-f", "a/b"] {
            let got = registry.create(named(bad), "");
            assert!(matches!(got, Err(ControlError::BadName(_))), "{bad}");
        }
        registry.rename("one", "uno").expect("free");
        let clash = registry.rename("uno", "zork-i-z3-1");
        assert!(matches!(clash, Err(ControlError::Exists(_))));
        registry.remove(&registry.find("uno").expect("there")).expect("not live");
        assert_eq!(registry.list().expect("readable").len(), 1);
    }

    #[test]
    fn a_folder_that_waits_for_its_machine_is_seen_by_nobody_and_swept_away_once_it_is_left() {
        let dir = TempDir::new("registry-cradle").expect("a writable host");
        let registry = registry(&dir);
        let folders = || {
            let all = fs::read_dir(registry.dirs.machines()).expect("readable");
            let all = all.map(|item| item.expect("readable").path());
            all.filter(|path| path.is_dir() && !path.ends_with("names")).count()
        };
        let cradle = registry.cradle().expect("writable");
        let left = registry.dirs.machines().join("0123456789ab.new");
        fs::create_dir(&left).expect("writable");
        assert!(registry.list().expect("readable").is_empty());
        assert_eq!(folders(), 2);
        drop(registry.cradle().expect("writable"));
        assert_eq!(folders(), 1, "only what somebody is at stays");
        let live = StateFile { state: Phase::Running, ..StateFile::default() };
        let origin = OriginFile { generation: 1, ..OriginFile::default() };
        for origin in [OriginFile::default(), origin] {
            let cradle = registry.cradle().expect("writable");
            let mut nursery = registry.nursery("m").expect("readable").with_cradle(Some(cradle));
            let (entry, _lock) = nursery.add(named(""), origin, live.clone()).expect("it has room");
            drop(nursery);
            assert_eq!(registry.find(&entry.machine.id).expect("there"), entry);
        }
        drop(cradle);
        assert_eq!(folders(), 2);
    }

    #[test]
    fn machines_of_a_nursery_live_at_once_under_names_of_their_own() {
        let dir = TempDir::new("registry-nursery").expect("a writable host");
        let registry = registry(&dir);
        registry.create(named("m-2"), "").expect("free");
        let live = StateFile { state: Phase::Running, ..StateFile::default() };
        let mut nursery = registry.nursery("m").expect("readable");
        let mut add = || nursery.add(named(""), OriginFile::default(), live.clone());
        let (one, lock) = add().expect("writable");
        let (three, _) = add().expect("writable");
        nursery.settle(&[one.clone(), three]).expect("writable");
        let mut given = |name| nursery.add(named(name), OriginFile::default(), live.clone());
        assert_eq!(given("own").expect("free").0.machine.name, "own");
        assert!(matches!(given("m-2"), Err(ControlError::Exists(_))));
        assert!(matches!(given("../m"), Err(ControlError::BadName(_))));
        drop(nursery);
        let found = registry.find("m-1").expect("there");
        assert_eq!((found.state.state, &found), (Phase::Running, &one));
        assert_eq!(registry.find("m-3").expect("there").state.state, Phase::Failed, "not locked");
        drop(lock);
        assert_eq!(registry.find("m-1").expect("there").state.state, Phase::Failed);
    }

    #[test]
    fn names_of_a_home_without_links_are_not_given_again_and_are_linked_from_then_on() {
        let dir = TempDir::new("registry-links").expect("a writable host");
        let registry = registry(&dir);
        let ids = ["m-1", "m-2", "other"]
            .map(|name| registry.create(named(name), "").expect("free").machine.id);
        fs::remove_dir_all(registry.dirs.machines().join("names")).expect("there");
        assert_eq!(registry.find("m-2").expect("there").machine.id, ids[1]);
        assert!(matches!(registry.find("m-3"), Err(ControlError::NoMachine(_))));
        let mut nursery = registry.nursery("m").expect("readable");
        let state = StateFile::default();
        let added = nursery.add(named(""), OriginFile::default(), state).expect("writable");
        drop(nursery);
        assert_eq!(added.0.machine.name, "m-3");
        assert!(matches!(registry.create(named("other"), ""), Err(ControlError::Exists(_))));
        for (name, id) in ["m-1", "m-2", "other"].into_iter().zip(ids) {
            assert_eq!(registry.named(name).expect("linked").machine.id, id);
        }
    }

    #[test]
    fn a_name_is_free_once_its_machine_has_another_or_is_gone_whatever_link_is_left() {
        let dir = TempDir::new("registry-left").expect("a writable host");
        let registry = registry(&dir);
        let links = registry.dirs.machines().join("names");
        let one = registry.create(named("one"), "").expect("free");
        registry.rename("one", "uno").expect("free");
        assert!(matches!(registry.find("one"), Err(ControlError::NoMachine(_))));
        assert!(links.join("one").symlink_metadata().is_err());
        // As a crash in the middle of it leaves it.
        std::os::unix::fs::symlink(Path::new("..").join(&one.machine.id), links.join("one"))
            .expect("writable");
        assert!(matches!(registry.find("one"), Err(ControlError::NoMachine(_))));
        let two = registry.create(named("one"), "").expect("free");
        assert_eq!(registry.find("one").expect("there").machine.id, two.machine.id);
        // While somebody is at the names, its link stays behind.
        let lock = registry.lock().expect("free");
        registry.remove(&two).expect("not live");
        drop(lock);
        assert!(links.join("one").symlink_metadata().is_ok());
        assert!(matches!(registry.find("one"), Err(ControlError::NoMachine(_))));
        let three = registry.create(named("one"), "").expect("free");
        assert_eq!(registry.find("one").expect("there").machine.id, three.machine.id);
        registry.remove(&three).expect("not live");
        assert!(links.join("one").symlink_metadata().is_err());
    }

    #[test]
    fn a_machine_whose_monitor_is_lost_has_failed_and_can_be_removed() {
        let dir = TempDir::new("registry-lost").expect("a writable host");
        let registry = registry(&dir);
        let entry = registry.create(named("m"), "").expect("free");
        let lock = FileLock::try_take(&entry.lock()).expect("openable").expect("free");
        let live = StateFile { state: Phase::Running, ..StateFile::default() };
        Entry::write_state(&entry.dir, &live).expect("writable");
        let found = registry.find("m").expect("there");
        assert_eq!(found.state.state, Phase::Running);
        assert!(matches!(registry.remove(&found), Err(ControlError::WrongState { .. })));
        drop(lock);
        let found = registry.find("m").expect("there");
        assert_eq!(found.state.state, Phase::Failed);
        registry.remove(&found).expect("no one holds it");
        assert!(registry.list().expect("readable").is_empty());
    }

    #[test]
    fn a_machine_whose_state_was_lost_with_the_power_keeps_its_name() {
        let dir = TempDir::new("registry-power").expect("a writable host");
        let registry = registry(&dir);
        let entry = registry.create(named("m"), "").expect("free");
        let live = StateFile { state: Phase::Running, ..StateFile::default() };
        Entry::show_state(&entry.dir, &live).expect("writable");
        assert_eq!(registry.find("m").expect("there").state.state, Phase::Failed, "not locked");
        fs::write(entry.dir.join("state.json"), "").expect("writable");
        let found = registry.find("m").expect("there");
        assert_eq!(found.state.state, Phase::Failed);
        assert!(found.state.error.expect("said").contains("power"));
    }

    #[test]
    fn damaged_files_are_shown_and_can_be_removed() {
        let dir = TempDir::new("registry-damaged").expect("a writable host");
        let registry = registry(&dir);
        let entry = registry.create(named("m"), "").expect("free");
        let whole = fs::read(entry.dir.join("machine.json")).expect("there");
        for cut in [0, 1, whole.len() / 2] {
            fs::write(entry.dir.join("machine.json"), &whole[..cut]).expect("writable");
            let found = registry.find(&entry.machine.id).expect("by id");
            assert_eq!(found.state.state, Phase::Failed);
        }
        registry.remove(&registry.find(&entry.machine.id).expect("by id")).expect("removable");
        assert!(registry.list().expect("readable").is_empty());
    }
}
