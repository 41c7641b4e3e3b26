//! What a machine wrote to a disk: an append-only log of pages with commits.
//!
//! The format is in `docs/formats/disk-overlay.md`. A crash at any point leaves the state of the
//! last commit or of the one that was being made, never a mixture.

use crate::place::sync_parent;
use omni_base::{Digest, PAGE_SIZE, PageNo};
use omni_memory::{Image, Page, PageRef, Source};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: [u8; 8] = *b"OMNIDSK1";
const HEADER: usize = 96;
const PAGE_RECORD: usize = 16 + PAGE_SIZE;
const COMMIT_RECORD: usize = 64;
const PAGE_TAG: [u8; 8] = *b"page\0\0\0\0";

/// Garbage in bytes below which a log is not rewritten.
const GARBAGE_BYTES_MIN: u64 = 64 << 20;

/// Why an overlay could not be used.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The host could not read or write it.
    #[error("the overlay {0}: {1}")]
    Io(PathBuf, io::Error),
    /// It is damaged where a crash cannot have damaged it.
    #[error("the overlay {0} is damaged: {1}; 'omni rm' and 'omni create' begin anew")]
    Damaged(PathBuf, &'static str),
    /// The disk below is another one, or has changed.
    #[error("the disk below the overlay {0} has changed since the machine was created")]
    OtherBase(PathBuf),
}

/// Where committed pages lie, as of the opening.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) file: Arc<File>,
    pub(crate) offsets: BTreeMap<u64, u64>,
    /// The digests of the pages that were there at the opening; `None` of a zero page.
    pub(crate) digests: BTreeMap<u64, Option<Digest>>,
    /// Names all that is committed.
    pub(crate) chain: Digest,
}

/// An overlay that is open for commits.
#[derive(Debug)]
pub struct Overlay {
    path: PathBuf,
    salt: [u8; 16],
    base: Digest,
    index: Index,
    end: u64,
    sequence: u64,
}

impl Overlay {
    /// Opens the overlay at `path` over a base of this identity, or makes an empty one. What a
    /// crash left half-written at the end is cut off.
    ///
    /// # Errors
    /// Where the host cannot, where the base is another one, and where committed bytes are
    /// damaged.
    pub fn open(path: &Path, base: Digest) -> Result<Self, OverlayError> {
        let fail = |error| OverlayError::Io(path.into(), error);
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(fail)?;
        let size = file.metadata().map_err(fail)?.len();
        let mut overlay = if size < HEADER as u64 {
            // Nothing was ever committed: the header comes before all else.
            Self::fresh(path, file, base).map_err(fail)?
        } else {
            Self::replay(path, file, base, size)?
        };
        overlay.compact_if_worthwhile().map_err(fail)?;
        Ok(overlay)
    }

    /// What is committed, as of now.
    #[cfg(test)]
    pub(crate) fn index(&self) -> &Index {
        &self.index
    }

    /// Puts what was committed at the opening over an image; pages are read when they are touched.
    pub(crate) fn over(&mut self, mut below: Image) -> io::Result<Image> {
        let source: Arc<dyn Source> = Arc::new(Committed(self.index.file.clone()));
        for (no, digest) in std::mem::take(&mut self.index.digests) {
            let page = match (digest, self.index.offsets.get(&no)) {
                (Some(digest), Some(&at)) => Page::stored(digest, at, source.clone()),
                _ => Page::new(&[0; PAGE_SIZE]),
            };
            below.set(PageNo(no), page)?;
        }
        Ok(below)
    }

    /// Pages that are committed.
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.index.offsets.len() as u64
    }

    /// Bytes of the log.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.end
    }

    /// Adds pages and makes them survive a loss of power: all of them, or none and an error.
    ///
    /// # Errors
    /// What the host says; the overlay is as before, and a later commit may succeed.
    pub fn commit(&mut self, pages: &[(PageNo, PageRef)]) -> io::Result<()> {
        let (file, start) = (self.index.file.clone(), self.end);
        match self.append(&file, pages) {
            Ok(added) => {
                self.index.offsets.extend(added);
                // Where it fails the log is only longer than it need be.
                let _ = self.compact_if_worthwhile();
                Ok(())
            }
            Err(error) => {
                // Where even that fails, the next commit writes over the remains.
                let _ = file.set_len(start);
                Err(error)
            }
        }
    }

    fn append(&mut self, file: &File, pages: &[(PageNo, PageRef)]) -> io::Result<Vec<(u64, u64)>> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.index.chain.0);
        let (mut at, mut added) = (self.end, Vec::new());
        let mut batch = Vec::new();
        for (no, page) in pages {
            let record = batch.len();
            batch.extend_from_slice(&PAGE_TAG);
            batch.extend_from_slice(&no.0.to_le_bytes());
            batch.extend_from_slice(page.bytes()?);
            hasher.update(&batch[record..]);
            added.push((no.0, at + record as u64 + 16));
            if batch.len() >= 1 << 20 {
                file.write_all_at(&batch, at)?;
                at += batch.len() as u64;
                batch.clear();
            }
        }
        let sequence = self.sequence + 1;
        hasher.update(&sequence.to_le_bytes());
        hasher.update(&(pages.len() as u64).to_le_bytes());
        let chain = Digest(*hasher.finalize().as_bytes());
        batch.extend_from_slice(&self.salt);
        batch.extend_from_slice(&sequence.to_le_bytes());
        batch.extend_from_slice(&(pages.len() as u64).to_le_bytes());
        batch.extend_from_slice(&chain.0);
        file.write_all_at(&batch, at)?;
        file.sync_data()?;
        self.end = at + batch.len() as u64;
        (self.sequence, self.index.chain) = (sequence, chain);
        Ok(added)
    }

    fn fresh(path: &Path, file: File, base: Digest) -> io::Result<Self> {
        let mut salt = [0; 16];
        rustix::rand::getrandom(&mut salt, rustix::rand::GetRandomFlags::empty())?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&(PAGE_SIZE as u64).to_le_bytes());
        header.extend_from_slice(&salt);
        header.extend_from_slice(&base.0);
        let chain = Digest::of(&header);
        header.extend_from_slice(&chain.0);
        file.set_len(0)?;
        file.write_all_at(&header, 0)?;
        file.sync_data()?;
        sync_parent(path)?;
        let (offsets, digests) = Default::default();
        let index = Index { file: Arc::new(file), offsets, digests, chain };
        Ok(Self { path: path.into(), salt, base, index, end: HEADER as u64, sequence: 0 })
    }

    fn replay(path: &Path, file: File, base: Digest, size: u64) -> Result<Self, OverlayError> {
        let fail = |error| OverlayError::Io(path.into(), error);
        let damaged = |why| OverlayError::Damaged(path.into(), why);
        let mut header = [0; HEADER];
        file.read_exact_at(&mut header, 0).map_err(fail)?;
        let (content, chain) = header.split_at(HEADER - 32);
        if Digest::of(content).0 != chain {
            return Err(damaged("its header"));
        }
        if content[..8] != MAGIC || content[8..16] != (PAGE_SIZE as u64).to_le_bytes() {
            return Err(damaged("its version is unknown"));
        }
        if content[32..64] != base.0 {
            return Err(OverlayError::OtherBase(path.into()));
        }
        let salt = content[16..32].try_into().expect("sixteen bytes");
        let chain = Digest(chain.try_into().expect("the tail is 32 bytes"));
        let (offsets, digests) = Default::default();
        let index = Index { file: Arc::new(file), offsets, digests, chain };
        let (end, sequence) = (HEADER as u64, 0);
        let mut overlay = Self { path: path.into(), salt, base, index, end, sequence };
        while overlay.replay_commit(size).map_err(fail)? {}
        if overlay.end < size {
            // Only the last transaction can be torn: the one before was synced before it began.
            if overlay.holds_later_commit(size).map_err(fail)? {
                return Err(damaged("bytes before its last commit have changed"));
            }
            overlay.index.file.set_len(overlay.end).map_err(fail)?;
            overlay.index.file.sync_data().map_err(fail)?;
        }
        Ok(overlay)
    }

    /// Takes in the next transaction. Says whether there was a whole one.
    fn replay_commit(&mut self, size: u64) -> io::Result<bool> {
        let mut from = io::BufReader::with_capacity(1 << 20, At(&self.index.file, self.end));
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.index.chain.0);
        let (mut at, mut added, mut digests) = (self.end, Vec::new(), Vec::new());
        let mut page = [0; PAGE_RECORD];
        loop {
            if at + COMMIT_RECORD as u64 > size {
                return Ok(false);
            }
            from.read_exact(&mut page[..16])?;
            if page[..16] == self.salt {
                break;
            }
            if page[..8] != PAGE_TAG || at + PAGE_RECORD as u64 > size {
                return Ok(false);
            }
            from.read_exact(&mut page[16..])?;
            hasher.update(&page);
            let no = word(&page[8..16]);
            added.push((no, at + 16));
            let zero = page[16..].iter().all(|byte| *byte == 0);
            digests.push((no, (!zero).then(|| Digest::of(&page[16..]))));
            at += PAGE_RECORD as u64;
        }
        let mut commit = [0; COMMIT_RECORD - 16];
        from.read_exact(&mut commit)?;
        hasher.update(&commit[..16]);
        let chain = Digest(*hasher.finalize().as_bytes());
        let (sequence, count) = (word(&commit[..8]), word(&commit[8..16]));
        let whole =
            chain.0 == commit[16..] && sequence == self.sequence + 1 && count == added.len() as u64;
        if whole {
            self.index.offsets.extend(added);
            self.index.digests.extend(digests);
            self.index.chain = chain;
            (self.sequence, self.end) = (sequence, at + COMMIT_RECORD as u64);
        }
        Ok(whole)
    }

    /// Whether a commit after the next one lies beyond the end: its mark is secret, so that no
    /// guest can write it into a page.
    fn holds_later_commit(&self, size: u64) -> io::Result<bool> {
        let mut from = io::BufReader::with_capacity(1 << 20, At(&self.index.file, self.end));
        let (mut last, mut left) = ([0; 16], size - self.end);
        let mut block = [0; 16];
        // Every record is a multiple of sixteen bytes, and so is the header.
        while left >= 16 {
            from.read_exact(&mut block)?;
            if last == self.salt && word(&block[..8]) > self.sequence + 1 {
                return Ok(true);
            }
            (last, left) = (block, left - 16);
        }
        Ok(false)
    }

    /// Rewrites a log of which more is garbage than not.
    fn compact_if_worthwhile(&mut self) -> io::Result<()> {
        let live = self.index.offsets.len() as u64 * PAGE_RECORD as u64;
        if self.end - (HEADER as u64) < 2 * live + GARBAGE_BYTES_MIN {
            return Ok(());
        }
        self.compact()
    }

    fn compact(&mut self) -> io::Result<()> {
        let path = self.path.with_extension("overlay-new");
        // One left over from a crash is worth nothing.
        let _ = fs::remove_file(&path);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        let mut fresh = Self::fresh(&path, file, self.base)?;
        let written = self.copy_into(&mut fresh);
        let done = written.and_then(|()| fs::rename(&path, &self.path));
        if let Err(error) = done.and_then(|()| sync_parent(&self.path)) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        fresh.path.clone_from(&self.path);
        fresh.index.digests = std::mem::take(&mut self.index.digests);
        *self = fresh;
        Ok(())
    }

    /// Copies every live page into one transaction of another overlay, without holding them all.
    fn copy_into(&self, fresh: &mut Self) -> io::Result<()> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&fresh.index.chain.0);
        let target = fresh.index.file.clone();
        let mut out = io::BufWriter::with_capacity(1 << 20, ToFile(&target, fresh.end));
        let mut record = [0; PAGE_RECORD];
        record[..8].copy_from_slice(&PAGE_TAG);
        let mut at = fresh.end;
        for (&no, &offset) in &self.index.offsets {
            record[8..16].copy_from_slice(&no.to_le_bytes());
            self.index.file.read_exact_at(&mut record[16..], offset)?;
            hasher.update(&record);
            out.write_all(&record)?;
            fresh.index.offsets.insert(no, at + 16);
            at += PAGE_RECORD as u64;
        }
        let tail = [1u64.to_le_bytes(), (self.index.offsets.len() as u64).to_le_bytes()];
        hasher.update(tail.as_flattened());
        let chain = Digest(*hasher.finalize().as_bytes());
        out.write_all(&fresh.salt)?;
        out.write_all(tail.as_flattened())?;
        out.write_all(&chain.0)?;
        out.flush()?;
        drop(out);
        target.sync_data()?;
        (fresh.index.chain, fresh.sequence, fresh.end) = (chain, 1, at + COMMIT_RECORD as u64);
        Ok(())
    }
}

/// The pages of the log, by their offset.
#[derive(Debug)]
struct Committed(Arc<File>);

impl Source for Committed {
    fn page(&self, digest: Digest, place: u64, into: &mut [u8; PAGE_SIZE]) -> io::Result<()> {
        self.0.read_exact_at(into, place)?;
        let same = Digest::of(into) == digest;
        same.then_some(()).ok_or_else(|| {
            let what = format!("the page at byte {place} of a disk's overlay has changed");
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }

    fn node(&self, _: Digest) -> io::Result<Vec<u8>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "an overlay has no nodes"))
    }
}

fn word(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

/// Reads a file from an offset on, without moving the place that others use.
struct At<'a>(&'a File, u64);

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read_at(into, self.1)?;
        self.1 += count as u64;
        Ok(count)
    }
}

/// Writes a file from an offset on.
struct ToFile<'a>(&'a File, u64);

impl Write for ToFile<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.0.write_at(bytes, self.1)?;
        self.1 += count as u64;
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "overlay_tests.rs"]
mod tests;
