//! Packs: files of objects, complete before they have their name. Section 3 of the format.

use crate::StoreError;
use crate::files::Files;
use crate::object::{Coding, HEAD_BYTES, Head, Sort};
use omni_base::{Digest, PAGE_SIZE};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"OMNIPACK";
const END: [u8; 8] = *b"PACK-END";
const VERSION: u32 = 1;

/// Bytes before the first record: magic, version, zero.
pub(crate) const HEADER_BYTES: u64 = 16;

/// Bytes after the last record: magic, count of records, digest.
pub(crate) const FOOTER_BYTES: u64 = 48;

/// The decoded size of an object.
pub(crate) const OBJECT_BYTES_MAX: u32 = 2 << 30;

/// Bytes that are written at a time.
const BATCH_BYTES: usize = 1 << 20;

/// A level that shrinks pages well and is still fast; for packs that rest.
const LEVEL: i32 = 3;

/// Where an object lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place {
    pub(crate) digest: Digest,
    pub(crate) pack: u64,
    pub(crate) offset: u64,
}

/// A pack that is being written.
pub(crate) struct PackWriter {
    files: Files,
    file: File,
    path: PathBuf,
    hasher: blake3::Hasher,
    batch: Vec<u8>,
    at: u64,
    count: u64,
    /// Made once, as it costs more than a page does.
    coder: Option<zstd::bulk::Compressor<'static>>,
}

impl PackWriter {
    pub(crate) fn create(files: &Files, path: &Path) -> io::Result<Self> {
        let file = files.create(path)?;
        let mut batch = MAGIC.to_vec();
        batch.extend_from_slice(&VERSION.to_le_bytes());
        batch.extend_from_slice(&[0; 4]);
        let (files, path) = (files.clone(), path.to_owned());
        let (hasher, coder) = (blake3::Hasher::new(), None);
        Ok(Self { files, file, path, hasher, batch, at: 0, count: 0, coder })
    }

    /// Adds an object and gives its offset.
    pub(crate) fn put(
        &mut self,
        sort: Sort,
        digest: Digest,
        bytes: &[u8],
        compress: bool,
    ) -> io::Result<u64> {
        let large = || io::Error::new(io::ErrorKind::FileTooLarge, "an object over 2 GiB");
        let decoded = u32::try_from(bytes.len()).map_err(|_| large())?;
        if decoded > OBJECT_BYTES_MAX {
            return Err(large());
        }
        if compress && self.coder.is_none() {
            self.coder = Some(zstd::bulk::Compressor::new(LEVEL)?);
        }
        let coder = self.coder.as_mut().filter(|_| compress);
        let coded = coder.map(|coder| coder.compress(bytes)).transpose()?;
        let coded = coded.filter(|coded| coded.len() < bytes.len());
        let (coding, stored) = match &coded {
            Some(coded) => (Coding::Zstd, &coded[..]),
            None => (Coding::Raw, bytes),
        };
        let size = u32::try_from(stored.len()).map_err(|_| large())?;
        let offset = self.at + self.batch.len() as u64;
        let head = Head { sort, coding, stored: size, decoded, digest };
        self.batch.extend_from_slice(&head.to_bytes());
        self.batch.extend_from_slice(stored);
        self.count += 1;
        if self.batch.len() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hasher.update(&self.batch);
        self.files.write_at(&self.file, self.at, &self.batch)?;
        self.at += self.batch.len() as u64;
        self.batch.clear();
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.at + self.batch.len() as u64
    }

    /// Writes the end and makes all of it survive a loss of power. It has no name yet.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.batch.extend_from_slice(&END);
        self.batch.extend_from_slice(&self.count.to_le_bytes());
        self.flush()?;
        let digest = *self.hasher.finalize().as_bytes();
        self.files.write_at(&self.file, self.at, &digest)?;
        self.files.sync(&self.file, &self.path)
    }
}

/// Checks that a file is a pack of a version that this build knows, and gives the end of its
/// records.
pub(crate) fn check_frame(file: &File, path: &Path) -> Result<(u64, u64), StoreError> {
    let size = file.metadata().map_err(StoreError::io(path))?.len();
    let mut header = [0; 16];
    let mut footer = [0; 48];
    if size < HEADER_BYTES + FOOTER_BYTES {
        return Err(StoreError::damaged(path, "it is cut short"));
    }
    file.read_exact_at(&mut header, 0).map_err(StoreError::io(path))?;
    if header[..8] != MAGIC {
        return Err(StoreError::damaged(path, "it does not begin as a pack does"));
    }
    let version = u32::from_le_bytes(*header[8..].first_chunk().expect("four bytes"));
    if version != VERSION || header[12..] != [0; 4] {
        return Err(StoreError::Newer(path.to_owned(), format!("a pack of format {version}")));
    }
    file.read_exact_at(&mut footer, size - FOOTER_BYTES).map_err(StoreError::io(path))?;
    if footer[..8] != END {
        return Err(StoreError::damaged(path, "it does not end as a pack does"));
    }
    let count = u64::from_le_bytes(*footer[8..].first_chunk().expect("eight bytes"));
    Ok((size - FOOTER_BYTES, count))
}

/// Checks the digest of a whole pack.
pub(crate) fn check_whole(file: &File, path: &Path) -> Result<(), StoreError> {
    let (end, _) = check_frame(file, path)?;
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    let mut part = vec![0; BATCH_BYTES];
    let end = end + FOOTER_BYTES - 32;
    while at < end {
        let count = usize::try_from(end - at).map_or(BATCH_BYTES, |left| left.min(BATCH_BYTES));
        file.read_exact_at(&mut part[..count], at).map_err(StoreError::io(path))?;
        hasher.update(&part[..count]);
        at += count as u64;
    }
    let mut digest = [0; 32];
    file.read_exact_at(&mut digest, end).map_err(StoreError::io(path))?;
    if *hasher.finalize().as_bytes() == digest {
        Ok(())
    } else {
        Err(StoreError::damaged(path, "its bytes do not have the digest at its end"))
    }
}

/// Visits the head of each record with its offset.
pub(crate) fn scan(
    file: &File,
    path: &Path,
    visit: &mut dyn FnMut(u64, Head) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (end, count) = check_frame(file, path)?;
    let (mut at, mut seen) = (HEADER_BYTES, 0);
    while at < end {
        let head = read_head(file, path, at)?;
        let next = at + HEAD_BYTES as u64 + u64::from(head.stored);
        if next > end {
            return Err(StoreError::damaged(path, format!("the record at {at} goes beyond it")));
        }
        visit(at, head)?;
        (at, seen) = (next, seen + 1);
    }
    if seen == count { Ok(()) } else { Err(StoreError::damaged(path, "records are missing")) }
}

pub(crate) fn read_head(file: &File, path: &Path, at: u64) -> Result<Head, StoreError> {
    let mut bytes = [0; HEAD_BYTES];
    file.read_exact_at(&mut bytes, at).map_err(|error| short(path, at, error))?;
    let damaged = || StoreError::damaged(path, format!("no record begins at byte {at}"));
    let head = Head::from_bytes(&bytes).ok_or_else(damaged)?;
    let page = head.sort == Sort::Page && head.decoded as usize != PAGE_SIZE;
    if page || head.decoded > OBJECT_BYTES_MAX { Err(damaged()) } else { Ok(head) }
}

/// Reads a record, decoded, and holds it against its digest.
pub(crate) fn read_record(
    file: &File,
    path: &Path,
    at: u64,
    wanted: (Sort, Digest),
) -> Result<Vec<u8>, StoreError> {
    let head = read_head(file, path, at)?;
    let bytes = read_payload(file, path, at, &head)?;
    check_record(path, at, &head, wanted, &bytes)?;
    Ok(bytes)
}

/// Reads some bytes of a record that is stored as it is; says whether it is. What is read is a
/// part, so it is not held against the digest.
pub(crate) fn read_part(
    file: &File,
    path: &Path,
    at: u64,
    from: u64,
    into: &mut [u8],
) -> Result<bool, StoreError> {
    let head = read_head(file, path, at)?;
    let end = from.checked_add(into.len() as u64);
    let there = end.is_some_and(|end| end <= u64::from(head.stored));
    if head.coding != Coding::Raw || !there {
        return Ok(false);
    }
    let start = at + HEAD_BYTES as u64 + from;
    file.read_exact_at(into, start).map_err(|error| short(path, at, error))?;
    Ok(true)
}

/// Reads a page into its place, without memory of its own where it is stored as it is.
pub(crate) fn read_page(
    file: &File,
    path: &Path,
    at: u64,
    digest: Digest,
    into: &mut [u8; PAGE_SIZE],
) -> Result<(), StoreError> {
    let head = read_head(file, path, at)?;
    if head.decoded as usize == PAGE_SIZE && head.coding == Coding::Raw {
        let from = at + HEAD_BYTES as u64;
        file.read_exact_at(into, from).map_err(|error| short(path, at, error))?;
    } else {
        let bytes = read_payload(file, path, at, &head)?;
        let whole: &[u8; PAGE_SIZE] = bytes.as_slice().try_into().map_err(|_| {
            StoreError::damaged(path, format!("the record at {at} is not the page {digest}"))
        })?;
        *into = *whole;
    }
    check_record(path, at, &head, (Sort::Page, digest), into)
}

fn check_record(
    path: &Path,
    at: u64,
    head: &Head,
    (sort, digest): (Sort, Digest),
    bytes: &[u8],
) -> Result<(), StoreError> {
    // The same bytes may be an object of two sorts: they are stored once.
    if head.digest == digest && Digest::of(bytes) == digest {
        return Ok(());
    }
    let what = format!("the record at {at} is not the {} {digest}", sort.word());
    Err(StoreError::damaged(path, what))
}

fn read_payload(file: &File, path: &Path, at: u64, head: &Head) -> Result<Vec<u8>, StoreError> {
    let size = file.metadata().map_err(StoreError::io(path))?.len();
    let from = at + HEAD_BYTES as u64;
    if from + u64::from(head.stored) > size {
        return Err(StoreError::damaged(path, format!("the record at {at} goes beyond it")));
    }
    let mut stored = vec![0; head.stored as usize];
    file.read_exact_at(&mut stored, from).map_err(|error| short(path, at, error))?;
    match head.coding {
        Coding::Raw => Ok(stored),
        Coding::Zstd => inflate(&stored, head.decoded).ok_or_else(|| {
            StoreError::damaged(path, format!("the record at {at} cannot be decompressed"))
        }),
    }
}

/// Undoes the compression. Grows with what is there, not with what is promised.
fn inflate(stored: &[u8], decoded: u32) -> Option<Vec<u8>> {
    let reader = zstd::stream::read::Decoder::with_buffer(stored).ok()?;
    let mut bytes = Vec::new();
    reader.take(u64::from(decoded) + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() == decoded as usize).then_some(bytes)
}

fn short(path: &Path, at: u64, error: io::Error) -> StoreError {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        StoreError::damaged(path, format!("the record at {at} goes beyond it"))
    } else {
        StoreError::Io(path.to_owned(), error)
    }
}
