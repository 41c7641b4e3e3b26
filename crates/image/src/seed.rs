//! The archive from which a machine sets a disk up: every file of the packages where it belongs,
//! the records of `dpkg`, and the files that are ours. Nothing of it is run here.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Component, Path, PathBuf};

use tar::{Builder, EntryType, Header};

use crate::deb::{Item, merged_path, visit};
use crate::dpkg::{NEW, Records, conffiles};
use crate::error::ImageError;
use crate::packages::Package;
use crate::progress::Progress;
use crate::userland::OwnFile;

/// Folders at the root that are links into `/usr`.
const MERGED: [&str; 3] = ["bin", "lib", "sbin"];

/// The device that holds the archive is made of whole sectors, and read by pages.
const ALIGNMENT: u64 = 4096;

/// A folder with the rights of most folders.
const FOLDER_MODE: u32 = 0o755;

/// An archive in the making.
pub(crate) struct Seed {
    tar: Tree,
    records: Records,
}

/// A tar stream that makes every folder once.
struct Tree {
    tar: Builder<BufWriter<File>>,
    folders: BTreeSet<String>,
}

impl Seed {
    /// Begins an archive at a path.
    pub(crate) fn create(path: &Path) -> Result<Self, ImageError> {
        let file = File::create(path).map_err(ImageError::disk("create", path))?;
        let tar = Builder::new(BufWriter::with_capacity(1 << 20, file));
        let mut tree = Tree { tar, folders: BTreeSet::new() };
        let made = MERGED.iter().try_for_each(|name| {
            tree.folder("usr", FOLDER_MODE)?;
            tree.folder(&format!("usr/{name}"), FOLDER_MODE)?;
            let mut header = header(EntryType::Symlink, 0o777, 0);
            tree.tar.append_link(&mut header, name, format!("usr/{name}"))
        });
        made.map_err(ImageError::disk("write", path))?;
        Ok(Self { tar: tree, records: Records::default() })
    }

    /// Adds every file of a package.
    pub(crate) fn add(
        &mut self,
        package: &Package,
        file: &Path,
        progress: &mut dyn Progress,
    ) -> Result<(), ImageError> {
        let mut paths = Vec::new();
        let tree = &mut self.tar;
        let mut marked = None;
        let control = visit(file, &package.name, progress, &mut |control, item| {
            let marked = marked.get_or_insert_with(|| conffiles(control));
            tree.add(item, marked, &mut paths)
        })?;
        self.records.add(&package.name, control, &paths)
    }

    /// Adds the files of a package whose path is wanted, without a record of it.
    pub(crate) fn add_some(
        &mut self,
        package: &Package,
        file: &Path,
        progress: &mut dyn Progress,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<(), ImageError> {
        let (tree, none) = (&mut self.tar, BTreeSet::new());
        visit(file, &package.name, progress, &mut |_, item| {
            if wanted(&merged_path(&item.path)?) {
                tree.add(item, &none, &mut Vec::new())?;
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Adds the records and our own files, and ends the archive. Gives its size in bytes.
    pub(crate) fn finish(self, own: Vec<OwnFile>, path: &Path) -> Result<u64, ImageError> {
        let Self { mut tar, records } = self;
        let end = || -> io::Result<u64> {
            for name in ["info", "updates", "triggers", "parts", "alternatives"] {
                tar.folder(&format!("var/lib/dpkg/{name}"), FOLDER_MODE)?;
            }
            for (path, mode, bytes) in records.into_files() {
                tar.file(&path, mode, &bytes)?;
            }
            for (path, mode, text) in own {
                tar.file(&path, mode, text.as_bytes())?;
            }
            let mut writer = tar.tar.into_inner()?;
            writer.flush()?;
            let file = writer.into_inner().map_err(|error| error.into_error())?;
            let size = (&file).stream_position()?.next_multiple_of(ALIGNMENT);
            file.set_len(size)?;
            Ok(size)
        };
        end().map_err(ImageError::disk("write", path))
    }
}

impl Tree {
    /// Adds a file of a package; a configuration file under the name it has until its package is
    /// configured.
    fn add(
        &mut self,
        item: Item<'_>,
        marked: &BTreeSet<String>,
        paths: &mut Vec<String>,
    ) -> io::Result<()> {
        let path = merged_path(&item.path)?;
        let original = plain_path(&item.path);
        if original.is_empty() {
            return Ok(());
        }
        let kind = item.header.entry_type();
        let mut new = header(kind, item.header.mode()? & 0o7777, item.header.size()?);
        new.set_uid(item.header.uid()?);
        new.set_gid(item.header.gid()?);
        new.set_mtime(item.header.mtime()?);
        // Of the tar format's many kinds of entries, these are the ones that packages are made of.
        #[expect(clippy::wildcard_enum_match_arm, reason = "devices and pipes come about later")]
        match kind {
            EntryType::Directory if self.folders.insert(path.clone()) => {
                self.parents(&path)?;
                new.set_size(0);
                self.tar.append_data(&mut new, format!("{path}/"), io::empty())?;
            }
            // The links into /usr are there already.
            EntryType::Symlink if MERGED.contains(&&original[..]) => {}
            EntryType::Symlink | EntryType::Link => {
                let link = item.link.ok_or_else(|| io::Error::other("a link to nothing"))?;
                self.parents(&path)?;
                new.set_size(0);
                if kind == EntryType::Link {
                    self.tar.append_link(&mut new, &path, merged_path(&link)?)?;
                } else {
                    self.tar.append_link(&mut new, &path, link)?;
                }
            }
            EntryType::Regular | EntryType::Continuous => {
                let end = if marked.contains(&format!("/{original}")) { NEW } else { "" };
                self.parents(&path)?;
                let mut content = item.content.take(new.size()?);
                self.tar.append_data(&mut new, format!("{path}{end}"), &mut content)?;
            }
            _ => {}
        }
        paths.push(original);
        Ok(())
    }

    /// Makes a folder and those above it, unless they are there.
    fn folder(&mut self, path: &str, mode: u32) -> io::Result<()> {
        if self.folders.insert(path.to_owned()) {
            self.parents(path)?;
            let mut header = header(EntryType::Directory, mode, 0);
            self.tar.append_data(&mut header, format!("{path}/"), io::empty())?;
        }
        Ok(())
    }

    fn parents(&mut self, path: &str) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((above, _)) => self.folder(above, FOLDER_MODE),
            None => Ok(()),
        }
    }

    fn file(&mut self, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.parents(path)?;
        let mut header = header(EntryType::Regular, mode, bytes.len() as u64);
        self.tar.append_data(&mut header, path, bytes)
    }
}

/// A header of root's own.
fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// A path as a package has it, without what means nothing.
fn plain_path(path: &Path) -> String {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_)));
    parts.collect::<PathBuf>().to_string_lossy().into_owned()
}
