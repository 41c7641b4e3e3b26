//! In which files two images of a disk differ.

use crate::volume::{Volume, read, volumes};
use ext4_view::{Ext4, Ext4Error, Ext4Read, Metadata, PathBuf};
use omni_memory::Image;
use std::collections::BTreeMap;
use std::error::Error;
use std::io;

/// Files and folders that are looked at on a volume.
const ENTRIES_MAX: usize = 1 << 21;

/// Where the number is by which an ext4 file system is known (kernel documentation, ext4, "Super
/// Block").
const MAGIC_AT: u64 = 1024 + 0x38;
const MAGIC: [u8; 2] = [0x53, 0xef];

/// What became of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Only the newer image has it.
    Added,
    /// Only the older image has it.
    Removed,
    /// Its content, its mode or its owner is another. A file's content is taken for the same where
    /// its length and the time of its last change are.
    Changed,
}

/// A file that is not as it was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileChange {
    /// The number of the partition that it is in, where the disk has partitions.
    pub partition: Option<u32>,
    /// From the root of its file system. Bytes that are no text are replaced.
    pub path: String,
    /// What became of it.
    pub change: Change,
}

/// Why files cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The image cannot be read.
    #[error("the disk cannot be read: {0}")]
    Read(#[from] io::Error),
    /// The file system is damaged, or of a sort that cannot be read.
    #[error("its file system cannot be read: {0}")]
    System(String),
    /// There are too many files.
    #[error("it has more than {ENTRIES_MAX} files")]
    TooMany,
}

impl From<Ext4Error> for FileError {
    fn from(error: Ext4Error) -> Self {
        Self::System(error.to_string())
    }
}

/// The files in which two images of a disk of so many bytes differ, by volume and path. Nothing of
/// volumes that have no file system that is known here: that is ext2, ext3 and ext4.
///
/// # Errors
/// Where an image or a file system cannot be read, or has too many files.
pub fn differences(older: &Image, newer: &Image, bytes: u64) -> Result<Vec<FileChange>, FileError> {
    let (old, new) = (systems(older, bytes)?, systems(newer, bytes)?);
    let mut all: Vec<Volume> = old.keys().chain(new.keys()).copied().collect();
    all.sort_unstable();
    all.dedup();
    let mut found = Vec::new();
    for volume in all {
        let mut walk = Walk { left: ENTRIES_MAX, volume, found: &mut found };
        walk.compare(old.get(&volume), new.get(&volume))?;
    }
    Ok(found)
}

/// The file systems on a disk.
fn systems(image: &Image, bytes: u64) -> Result<BTreeMap<Volume, Ext4>, FileError> {
    let mut systems = BTreeMap::new();
    for volume in volumes(image, bytes)? {
        let mut magic = [0; 2];
        if volume.bytes < 2048 {
            continue;
        }
        read(image, volume.start + MAGIC_AT, &mut magic)?;
        if magic == MAGIC {
            let reader = VolumeReader { image: image.clone(), volume };
            systems.insert(volume, Ext4::load(Box::new(reader))?);
        }
    }
    Ok(systems)
}

struct VolumeReader {
    image: Image,
    volume: Volume,
}

impl Ext4Read for VolumeReader {
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        let end = at.checked_add(into.len() as u64);
        if end.is_none_or(|end| end > self.volume.bytes) {
            return Err("it reaches beyond its volume".into());
        }
        Ok(read(&self.image, self.volume.start + at, into)?)
    }
}

/// The entries of a folder by name.
type Folder = BTreeMap<Vec<u8>, (PathBuf, Metadata)>;

struct Walk<'a> {
    /// Entries that may still be looked at.
    left: usize,
    volume: Volume,
    found: &'a mut Vec<FileChange>,
}

impl Walk<'_> {
    fn compare(&mut self, old: Option<&Ext4>, new: Option<&Ext4>) -> Result<(), FileError> {
        let root = || PathBuf::new("/");
        let mut folders = vec![(old.map(|_| root()), new.map(|_| root()))];
        while let Some((before, after)) = folders.pop() {
            let mut before = self.folder(old, before)?;
            let after = self.folder(new, after)?;
            let mut below = Vec::new();
            for (name, (path, new_meta)) in after {
                let change = match before.remove(&name) {
                    None => {
                        below.push((None, new_meta.is_dir().then(|| path.clone())));
                        Some(Change::Added)
                    }
                    Some((old_path, old_meta)) => {
                        let old_dir = old_meta.is_dir().then_some(old_path.clone());
                        let new_dir = new_meta.is_dir().then_some(path.clone());
                        below.push((old_dir, new_dir));
                        let link = new_meta.is_symlink() && old_meta.is_symlink();
                        let retargeted = link && target(old, &old_path)? != target(new, &path)?;
                        (retargeted || !is_same(&old_meta, &new_meta)).then_some(Change::Changed)
                    }
                };
                self.note(change, &path);
            }
            for (path, meta) in before.into_values() {
                self.note(Some(Change::Removed), &path);
                below.push((meta.is_dir().then_some(path), None));
            }
            below.retain(|(before, after)| before.is_some() || after.is_some());
            folders.extend(below.into_iter().rev());
        }
        self.found
            .sort_by(|one, other| (one.partition, &one.path).cmp(&(other.partition, &other.path)));
        Ok(())
    }

    fn folder(
        &mut self,
        system: Option<&Ext4>,
        path: Option<PathBuf>,
    ) -> Result<Folder, FileError> {
        let mut folder = Folder::new();
        let (Some(system), Some(path)) = (system, path) else { return Ok(folder) };
        for entry in system.read_dir(&path)? {
            let entry = entry?;
            let name = entry.file_name().as_ref().to_vec();
            if name == b"." || name == b".." {
                continue;
            }
            self.left = self.left.checked_sub(1).ok_or(FileError::TooMany)?;
            folder.insert(name, (entry.path(), entry.metadata()?));
        }
        Ok(folder)
    }

    fn note(&mut self, change: Option<Change>, path: &PathBuf) {
        let Some(change) = change else { return };
        let path = String::from_utf8_lossy(path.as_ref()).into_owned();
        self.found.push(FileChange { partition: self.volume.partition, path, change });
    }
}

/// Where a link leads to.
fn target(system: Option<&Ext4>, path: &PathBuf) -> Result<Option<PathBuf>, FileError> {
    Ok(system.map(|system| system.read_link(path)).transpose()?)
}

/// Whether a file is as it was, as far as its inode tells. A folder is what it has.
fn is_same(old: &Metadata, new: &Metadata) -> bool {
    let rights = |of: &Metadata| (of.file_type(), of.mode(), of.uid(), of.gid());
    let content = |of: &Metadata| (!of.is_dir()).then(|| (of.len(), of.modified()));
    rights(old) == rights(new) && content(old) == content(new)
}
