//! Disk images in files of the host: which other files they get, what they are known by, and new
//! ones written.

use crate::place::sync_parent;
use crate::random_u64;
use crate::raw::RawFile;
use omni_base::{Digest, PAGE_SIZE, PAGE_SIZE_U64, PageNo};
use omni_disk::{Chain, Files, Format, ImageError, Opened, ReadAt, Workers, WriteAt};
use omni_memory::Base;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Where a disk comes from, and how far its image is trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiskSource {
    /// The image.
    pub path: PathBuf,
    /// Its format; told by its content where there is none.
    pub format: Option<Format>,
    /// Whether it may name files outside of its own folder.
    pub follow: bool,
}

impl DiskSource {
    /// An image of whatever format that may name files beside and below it only.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.into(), format: None, follow: false }
    }
}

/// Gives an image the files that it names: those in its own folder, unless it is trusted.
#[derive(Debug)]
struct OwnFolder<'a> {
    source: &'a DiskSource,
    /// What was given so far.
    given: Mutex<Given>,
}

#[derive(Default, Debug)]
struct Given {
    identities: Vec<Digest>,
    allocated: u64,
}

impl Files for OwnFolder<'_> {
    fn open(&self, from: Option<&Path>, name: &str) -> Result<Opened, String> {
        let path = match from {
            None => self.source.path.clone(),
            Some(image) => named(image, name, self.source.follow)?,
        };
        let raw = RawFile::open(&path).map_err(|error| match from {
            None => error.to_string(),
            Some(_) => format!("cannot be read: {error}"),
        })?;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.identities.push(raw.digest());
        given.allocated += raw.allocated();
        Ok(Opened { name: raw.path().into(), file: Arc::new(raw) })
    }
}

/// The file that an image means by a name, where it may have that.
fn named(image: &Path, name: &str, follow: bool) -> Result<PathBuf, String> {
    let plain = name.strip_prefix("file:").unwrap_or(name);
    let scheme = plain.split_once(':').map(|(scheme, _)| scheme);
    let letter = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    if scheme.is_some_and(|scheme| !scheme.is_empty() && scheme.chars().all(letter)) {
        return Err("is not the name of a file here: an image gets other files only".into());
    }
    let folder = image.parent().unwrap_or(Path::new("/"));
    let path = folder.join(plain);
    // Without links: what counts is where the file is.
    let path = path.canonicalize().map_err(|error| format!("cannot be read: {error}"))?;
    let own = folder.canonicalize().map_err(|error| format!("cannot be read: {error}"))?;
    if !follow && !path.starts_with(&own) {
        return Err(format!(
            "is outside of the image's folder ({}); only if you trust whoever made the image, \
             allow it: '--follow' with a verb of disks, '--disk FILE,follow' with a machine",
            own.display()
        ));
    }
    Ok(path)
}

/// The content of a disk image and of those below it.
#[derive(Debug)]
pub struct DiskImage {
    chain: Chain,
    identity: Digest,
    allocated: u64,
}

type OpenChain = fn(&str, Option<Format>, &dyn Files) -> Result<Chain, ImageError>;

impl DiskImage {
    /// Opens an image for reading, with all files that it is made of.
    ///
    /// # Errors
    /// Where one of them cannot be read, is damaged, or may not be had.
    pub fn open(source: &DiskSource) -> Result<Self, ImageError> {
        Self::open_by(source, Chain::open)
    }

    /// Opens an image without those below it, to look at the image itself.
    ///
    /// # Errors
    /// As for the whole of it.
    pub fn open_top(source: &DiskSource) -> Result<Self, ImageError> {
        Self::open_by(source, Chain::open_top)
    }

    fn open_by(source: &DiskSource, open: OpenChain) -> Result<Self, ImageError> {
        let files = OwnFolder { source, given: Mutex::default() };
        let name = source.path.to_string_lossy();
        let chain = open(&name, source.format, &files)?;
        let given = files.given.into_inner().unwrap_or_else(PoisonError::into_inner);
        let format = chain.images().next().map_or(Format::Raw, |(_, info)| info.format);
        let identity = match &given.identities[..] {
            // The same as ever for the plainest image, so that overlays above it are good.
            [one] if format == Format::Raw => *one,
            all => {
                let all: Vec<&[u8]> = all.iter().map(|one| &one.0[..]).collect();
                Digest::of_parts([format.name().as_bytes(), b"\0", &all.concat()])
            }
        };
        Ok(Self { chain, identity, allocated: given.allocated })
    }

    /// The disk.
    #[must_use]
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Bytes that all its files take from the host, as of the opening.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.allocated
    }
}

impl Base for DiskImage {
    fn read(&self, no: PageNo, into: &mut [u8; PAGE_SIZE]) -> io::Result<()> {
        let at = no.0.saturating_mul(PAGE_SIZE_U64);
        self.chain.read_at(at, into).map_err(io::Error::other)
    }

    fn digest(&self) -> Digest {
        self.identity
    }
}

/// A new image: under another name until it is whole.
#[derive(Debug)]
pub struct NewImage {
    file: File,
    path: PathBuf,
    fresh: PathBuf,
    kept: bool,
}

impl NewImage {
    /// Begins an image that is to be at `path`.
    ///
    /// # Errors
    /// What the host says.
    pub fn create(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let name = format!(".{}.{:016x}", name.to_string_lossy(), random_u64());
        let fresh = path.with_file_name(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&fresh)?;
        Ok(Self { file, path: path.into(), fresh, kept: false })
    }

    /// Gives the image its name. What has the name already is replaced only if that is asked for.
    ///
    /// # Errors
    /// `AlreadyExists` where something has the name; what the host says.
    pub fn keep(mut self, replace: bool) -> io::Result<()> {
        self.file.sync_all()?;
        if replace {
            fs::rename(&self.fresh, &self.path)?;
        } else {
            match renameat_with(CWD, &self.fresh, CWD, &self.path, RenameFlags::NOREPLACE) {
                // A link cannot replace anything, on file systems that do not know the other way.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                    fs::hard_link(&self.fresh, &self.path)?;
                    fs::remove_file(&self.fresh)?;
                }
                other => other?,
            }
        }
        self.kept = true;
        sync_parent(&std::path::absolute(&self.path)?)
    }
}

impl Drop for NewImage {
    fn drop(&mut self) {
        if !self.kept {
            // Nobody can be told.
            let _ = fs::remove_file(&self.fresh);
        }
    }
}

impl WriteAt for NewImage {
    fn write_all_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn set_bytes(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // Once, when it is kept.
        Ok(())
    }
}

/// An image that is changed in place, and that nobody else changes meanwhile.
#[derive(Debug)]
pub struct ChangedImage {
    file: File,
    raw: RawFile,
    bytes: u64,
}

impl ChangedImage {
    /// Opens an image for changes.
    ///
    /// # Errors
    /// `WouldBlock` where another process has it locked; what the host says.
    pub fn open(path: &Path) -> io::Result<Self> {
        // Refuses what is no regular file, without waiting for it.
        let raw = RawFile::open(path)?;
        let file = OpenOptions::new().read(true).write(true).open(raw.path())?;
        file.try_lock().map_err(io::Error::from)?;
        let bytes = raw.bytes();
        Ok(Self { file, raw, bytes })
    }
}

impl ReadAt for ChangedImage {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    fn run_at(&self, at: u64) -> io::Result<(bool, u64)> {
        self.raw.run_at(at)
    }
}

impl WriteAt for ChangedImage {
    fn write_all_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)?;
        self.bytes = self.bytes.max(at + bytes.len() as u64);
        Ok(())
    }

    fn set_bytes(&mut self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// All processors of the host.
#[derive(Clone, Copy, Debug, Default)]
pub struct Processors;

impl Workers for Processors {
    fn map(&self, pieces: &[&[u8]], each: &(dyn Fn(&[u8]) -> Vec<u8> + Sync)) -> Vec<Vec<u8>> {
        let count = thread::available_parallelism().map_or(1, usize::from).min(pieces.len());
        if count < 2 {
            return pieces.iter().map(|piece| each(piece)).collect();
        }
        let share = pieces.len().div_ceil(count);
        thread::scope(|scope| {
            let run = |share: &'_ [&'_ [u8]]| share.iter().map(|piece| each(piece)).collect();
            let shares = pieces.chunks(share).map(|share| scope.spawn(move || run(share)));
            let running: Vec<thread::ScopedJoinHandle<'_, Vec<Vec<u8>>>> = shares.collect();
            let join = |one: thread::ScopedJoinHandle<'_, Vec<Vec<u8>>>| {
                one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            running.into_iter().flat_map(join).collect()
        })
    }
}

#[cfg(test)]
#[path = "disk_files_tests.rs"]
mod tests;
