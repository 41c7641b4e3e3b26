//! The folder of a store: its files, its locks, and how objects are found.

use crate::files::{Files, Lock};
use crate::index::Index;
use crate::object::Sort;
use crate::pack::{self, Place};
use crate::tree::{Change, Replayed};
use crate::{Manifest, StoreError, Tree};
use omni_base::{Digest, PAGE_SIZE};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the file `format` says: section 1 of the format.
const FORMAT: &str = "omnivisor store 1\n";

/// Packs that are open at a time, to save descriptors.
const OPEN_MAX: usize = 128;

/// How often a list of indices is read again that changed meanwhile.
const RETRIES: usize = 100;

/// A store that is open. Cheap to open at any size; threads may share it.
#[derive(Debug)]
pub struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) files: Files,
    view: Mutex<View>,
    trees: Mutex<BTreeMap<String, Arc<Mutex<Replayed>>>>,
}

/// What of the store is in memory: the indices as of the last look, and packs that are open.
#[derive(Default, Debug)]
struct View {
    indices: Arc<[Arc<Index>]>,
    packs: BTreeMap<u64, Arc<File>>,
}

impl Store {
    /// Opens a store, or makes an empty one.
    ///
    /// # Errors
    /// Where the host cannot, where the store is of a later format, or an index is damaged.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Files::default())
    }

    /// As `open`, by these files. For tests.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_with(dir: &Path, files: Files) -> Result<Self, StoreError> {
        let store =
            Self { dir: dir.to_owned(), files, view: Mutex::default(), trees: Mutex::default() };
        let format = store.path("format");
        match fs::read_to_string(&format) {
            Ok(text) if text == FORMAT => store.make_folders()?,
            Ok(text) => return Err(unknown(dir, &text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => store.make()?,
            Err(error) => return Err(StoreError::Io(format, error)),
        }
        store.refresh()?;
        Ok(store)
    }

    fn make(&self) -> Result<(), StoreError> {
        self.make_folders()?;
        let format = self.path("format");
        self.files.replace(&format, FORMAT.as_bytes()).map_err(StoreError::io(&format))
    }

    fn make_folders(&self) -> Result<(), StoreError> {
        let folders = ["", "packs", "index", "trees", "leases", "pins"];
        let make = |name| self.files.make_dir(&self.path(name));
        folders.into_iter().try_for_each(make).map_err(StoreError::io(&self.dir))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn pack_path(&self, pack: u64) -> PathBuf {
        self.dir.join("packs").join(format!("{pack:016x}.pack"))
    }

    pub(crate) fn tree_path(&self, owner: &str) -> PathBuf {
        self.dir.join("trees").join(format!("{owner}.tree"))
    }

    /// Held while objects are written, or relied on to stay: `gc` waits for it, and it for `gc`.
    pub(crate) fn hold(&self) -> Result<Lock, StoreError> {
        Lock::shared(&self.path("lock")).map_err(StoreError::io(&self.dir))
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn indices(&self) -> Arc<[Arc<Index>]> {
        self.view().indices.clone()
    }

    /// Looks again which indices there are.
    pub(crate) fn refresh(&self) -> Result<(), StoreError> {
        let dir = self.path("index");
        for _ in 0..RETRIES {
            let names = index_files(&dir)?;
            let known = self.indices();
            let mut paths = known.iter().map(|index| index.path());
            if names.len() == known.len() && names.iter().all(|path| paths.any(|old| old == path)) {
                return Ok(());
            }
            // Names of indices are drawn at random: one that is known is the same as ever.
            let open = |path: &PathBuf| match known.iter().find(|index| index.path() == path) {
                Some(index) => Ok(index.clone()),
                None => Index::open(path).map(Arc::new),
            };
            match names.iter().map(open).collect::<Result<Vec<_>, _>>() {
                Ok(indices) => {
                    let mut view = self.view();
                    view.indices = indices.into();
                    view.packs.clear();
                    return Ok(());
                }
                // Merged into another one since it was listed.
                Err(StoreError::Io(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Busy(dir, "many writers at once".into()))
    }

    /// Where an object lies.
    pub(crate) fn find(&self, digest: &Digest) -> Result<Option<Place>, StoreError> {
        for index in self.indices().iter() {
            if let Some(place) = index.find(digest)? {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Whether the store has an object.
    ///
    /// # Errors
    /// Where an index cannot be read.
    pub fn has(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.find(digest)?.is_some())
    }

    pub(crate) fn open_pack(&self, pack: u64) -> Result<Arc<File>, StoreError> {
        if let Some(file) = self.view().packs.get(&pack) {
            return Ok(file.clone());
        }
        let path = self.pack_path(pack);
        let file = Arc::new(File::open(&path).map_err(StoreError::io(&path))?);
        let mut view = self.view();
        if view.packs.len() >= OPEN_MAX {
            view.packs.pop_first();
        }
        view.packs.insert(pack, file.clone());
        Ok(file)
    }

    /// Does something with the pack and offset of an object. What was cleaned up and written
    /// elsewhere since the last look is found by another look.
    fn locate<T>(
        &self,
        sort: Sort,
        digest: Digest,
        mut read: impl FnMut(&File, &Path, u64) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut again = true;
        loop {
            let look = self.find(&digest)?.map(|place| (place, self.open_pack(place.pack)));
            match look {
                Some((place, Ok(file))) => {
                    return read(&file, &self.pack_path(place.pack), place.offset);
                }
                _ if again => {
                    self.refresh()?;
                    again = false;
                }
                Some((_, Err(error))) => return Err(error),
                None => {
                    let (path, what) = (self.dir.clone(), sort.word());
                    return Err(StoreError::Missing { path, what, digest });
                }
            }
        }
    }

    /// Reads an object and holds it against its digest.
    ///
    /// # Errors
    /// Where it is not there, or is damaged.
    pub fn read(&self, sort: Sort, digest: Digest) -> Result<Vec<u8>, StoreError> {
        self.locate(sort, digest, |file, path, at| {
            pack::read_record(file, path, at, (sort, digest))
        })
    }

    /// How many bytes a blob has. They are not read.
    ///
    /// # Errors
    /// As `read`.
    pub fn blob_bytes(&self, digest: Digest) -> Result<u64, StoreError> {
        self.locate(Sort::Blob, digest, |file, path, at| {
            Ok(u64::from(pack::read_head(file, path, at)?.decoded))
        })
    }

    /// Reads some bytes of a blob. Only where these are all, or the blob is stored compressed, they
    /// are held against the digest.
    ///
    /// # Errors
    /// As `read`, and where it does not have as many.
    pub fn read_blob(&self, digest: Digest, from: u64, into: &mut [u8]) -> Result<(), StoreError> {
        let part = from > 0 || (into.len() as u64) < self.blob_bytes(digest)?;
        let read = |file: &File, path: &Path, at: u64| pack::read_part(file, path, at, from, into);
        if part && self.locate(Sort::Blob, digest, read)? {
            return Ok(());
        }
        let all = self.read(Sort::Blob, digest)?;
        let from = usize::try_from(from).ok();
        let end = from.and_then(|from| from.checked_add(into.len()));
        let found = from.zip(end).and_then(|(from, end)| all.get(from..end));
        let missing =
            || StoreError::Missing { path: self.dir.clone(), what: "part of blob", digest };
        into.copy_from_slice(found.ok_or_else(missing)?);
        Ok(())
    }

    /// Reads a page and holds it against its digest.
    ///
    /// # Errors
    /// As `read`.
    pub fn read_page(&self, digest: Digest, into: &mut [u8; PAGE_SIZE]) -> Result<(), StoreError> {
        self.locate(Sort::Page, digest, |file, path, at| {
            pack::read_page(file, path, at, digest, into)
        })
    }

    /// Reads the manifest of a snapshot.
    ///
    /// # Errors
    /// As `read`, and where it is of a later format.
    pub fn manifest(&self, id: Digest) -> Result<Manifest, StoreError> {
        let bytes = self.read(Sort::Manifest, id)?;
        Manifest::from_bytes(&bytes).map_err(|error| StoreError::Manifest(id, error))
    }

    /// The snapshots of an owner.
    ///
    /// # Errors
    /// Where the tree cannot be read, or is damaged.
    pub fn tree(&self, owner: &str) -> Result<Arc<Tree>, StoreError> {
        self.replayed(owner, |known| known.look(&self.tree_path(owner)))
    }

    /// As `tree`, and all of it is read again.
    pub(crate) fn tree_anew(&self, owner: &str) -> Result<Arc<Tree>, StoreError> {
        Replayed::read(&self.tree_path(owner))
    }

    fn replayed<T>(&self, owner: &str, act: impl FnOnce(&mut Replayed) -> T) -> T {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        let known = trees.entry(owner.to_owned()).or_default().clone();
        drop(trees);
        act(&mut known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Appends to the tree of an owner what `check` makes of it.
    pub(crate) fn grow(
        &self,
        owner: &str,
        check: impl FnOnce(&Tree) -> Result<Option<Change>, StoreError>,
    ) -> Result<(), StoreError> {
        let path = self.tree_path(owner);
        self.replayed(owner, |known| Tree::append(&self.files, &path, known, check))
    }

    /// Every owner that has a tree.
    ///
    /// # Errors
    /// What the host says.
    pub fn owners(&self) -> Result<Vec<String>, StoreError> {
        names(&self.path("trees"), "tree")
    }

    /// Removes a snapshot; those after it stay, and follow the one before it. What nothing needs
    /// any more goes with the next `gc`.
    ///
    /// # Errors
    /// Where there is none, and what the host says.
    pub fn remove(&self, owner: &str, id: Digest) -> Result<(), StoreError> {
        let _hold = self.hold()?;
        self.grow(owner, |tree| match tree.get(&id) {
            Some(_) => Ok(Some(Change::Remove(id))),
            None => Err(StoreError::NoSnapshot(id.short())),
        })
    }

    /// Removes all snapshots of an owner, and what it has pinned.
    ///
    /// # Errors
    /// What the host says.
    pub fn remove_owner(&self, owner: &str) -> Result<(), StoreError> {
        let _hold = self.hold()?;
        let path = self.tree_path(owner);
        for path in [path.with_extension("lock"), self.pin_path(owner), path] {
            self.files.remove(&path).map_err(StoreError::io(&path))?;
        }
        Ok(())
    }

    fn pin_path(&self, owner: &str) -> PathBuf {
        self.dir.join("pins").join(owner)
    }

    /// Keeps these snapshots for an owner, removed or not, until it pins others.
    ///
    /// # Errors
    /// Where one is not there, and what the host says.
    pub fn pin(&self, owner: &str, ids: &[Digest]) -> Result<(), StoreError> {
        let _hold = self.hold()?;
        self.check_there(ids)?;
        let path = self.pin_path(owner);
        self.files.replace(&path, lines_of(ids).as_bytes()).map_err(StoreError::io(&path))
    }

    /// Keeps these snapshots until what it gives is dropped, or this process ends.
    ///
    /// # Errors
    /// Where one is not there, and what the host says.
    pub fn lease(&self, ids: &[Digest]) -> Result<Lease, StoreError> {
        let _hold = self.hold()?;
        self.check_there(ids)?;
        let fail = StoreError::io(&self.dir);
        let name = random().map_err(fail)?;
        let path = self.dir.join("leases").join(format!("{name:016x}"));
        let take = || {
            // `gc` cannot look before the lock is there: it would need `hold` for itself.
            let file = self.files.create(&path)?;
            self.files.write_at(&file, 0, lines_of(ids).as_bytes())?;
            Lock::of(file)?.ok_or_else(|| io::Error::other("a fresh file is locked"))
        };
        let lock = take().map_err(StoreError::io(&path))?;
        Ok(Lease { path, _lock: lock })
    }

    fn check_there(&self, ids: &[Digest]) -> Result<(), StoreError> {
        self.refresh()?;
        let missing = |id: &Digest| StoreError::NoSnapshot(id.short());
        ids.iter().try_for_each(|id| self.has(id)?.then_some(()).ok_or_else(|| missing(id)))
    }

    /// What pins and leases keep. Leases of processes that have ended are removed.
    pub(crate) fn kept(&self) -> Result<Vec<Digest>, StoreError> {
        let mut all = Vec::new();
        for name in names(&self.path("pins"), "")? {
            all.extend(digests_of(&self.path("pins").join(name))?);
        }
        for name in names(&self.path("leases"), "")? {
            let path = self.path("leases").join(name);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::Io(path, error)),
            };
            if Lock::of(file).map_err(StoreError::io(&path))?.is_some() {
                self.files.remove(&path).map_err(StoreError::io(&path))?;
            } else {
                all.extend(digests_of(&path)?);
            }
        }
        Ok(all)
    }
}

/// Keeps snapshots while it lives.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    _lock: Lock,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // One that is left over is nobody's, and goes with the next `gc`.
        let _ = fs::remove_file(&self.path);
    }
}

/// A number that no one else has.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(u64::from_le_bytes(bytes))
}

/// The names in a folder, without this extension, in order. Files that are being made are left
/// out.
pub(crate) fn names(dir: &Path, extension: &str) -> Result<Vec<String>, StoreError> {
    let mut all = Vec::new();
    let items = match fs::read_dir(dir) {
        Ok(items) => items,
        // Whoever copied the store left empty folders out.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
        Err(error) => return Err(StoreError::Io(dir.to_owned(), error)),
    };
    for item in items {
        let path = item.map_err(StoreError::io(dir))?.path();
        let found = path.extension().and_then(|found| found.to_str()).unwrap_or_default();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        all.extend(stem.filter(|_| found == extension).map(str::to_owned));
    }
    all.sort();
    Ok(all)
}

pub(crate) fn index_files(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let path = |name| dir.join(format!("{name}.idx"));
    Ok(names(dir, "idx")?.into_iter().map(path).collect())
}

fn lines_of(ids: &[Digest]) -> String {
    ids.iter().map(|id| format!("{id}\n")).collect()
}

fn digests_of(path: &Path) -> Result<Vec<Digest>, StoreError> {
    let text = fs::read_to_string(path).map_err(StoreError::io(path))?;
    let parse = |line: &str| -> Option<Digest> {
        let mut digest = Digest::default();
        for (at, byte) in digest.0.iter_mut().enumerate() {
            *byte = u8::from_str_radix(line.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        (line.len() == 64).then_some(digest)
    };
    let damaged = || StoreError::damaged(path, "a line of it is no digest");
    text.lines().map(|line| parse(line).ok_or_else(damaged)).collect()
}

fn unknown(dir: &Path, text: &str) -> StoreError {
    let first = text.lines().next().unwrap_or_default();
    let path = dir.join("format");
    match first.strip_prefix("omnivisor store ") {
        Some("1") => {
            let more = text.lines().nth(1).unwrap_or("nothing");
            StoreError::Newer(dir.to_owned(), format!("the feature '{more}'"))
        }
        Some(version) => StoreError::Newer(dir.to_owned(), format!("format {version}")),
        None => StoreError::damaged(&path, "it is not what a store says of itself"),
    }
}
