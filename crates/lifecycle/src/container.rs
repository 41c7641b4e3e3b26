//! The container of a snapshot file: a fixed header and digested sections. See
//! `docs/formats/snapshot.md`, sections 1 and 2.

use crate::FileError;
use omni_base::Digest;
use std::io::Read;

/// The first bytes of the file (section 1).
const MAGIC: [u8; 8] = *b"OMNISNAP";

/// The version of the format that this build writes and reads.
const VERSION: u32 = 1;

/// Bytes before the table: magic, version, count, length, digest.
const HEADER: usize = 56;

/// Bytes of one row of the table: id, coding, stored, decoded, digest.
const ROW: usize = 56;

/// Bytes to which a compressed section may grow. What is larger is stored as it is.
pub(crate) const CODED_BYTES_MAX: usize = 64 << 20;

/// The largest window that a compressed section may ask for, as a power of two.
const WINDOW_LOG_MAX: u32 = 23;

/// A fast level: snapshots are taken often, and most pages of a guest shrink well anyhow.
const LEVEL: i32 = 1;

/// Coding of a section: its bytes as they are.
const RAW: u32 = 0;
/// Coding of a section: one zstd frame.
const ZSTD: u32 = 1;

/// One section, decoded.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) id: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Collects sections into a file.
pub(crate) struct Packer {
    compress: bool,
    table: Vec<u8>,
    body: Vec<u8>,
}

impl Packer {
    pub(crate) fn new(compress: bool) -> Self {
        Self { compress, table: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn put(&mut self, id: u32, bytes: &[u8]) {
        let coded = (self.compress && bytes.len() <= CODED_BYTES_MAX)
            .then(|| zstd::bulk::compress(bytes, LEVEL).ok())
            .flatten()
            .filter(|coded| coded.len() < bytes.len());
        let (coding, stored) = match &coded {
            Some(coded) => (ZSTD, &coded[..]),
            None => (RAW, bytes),
        };
        self.table.extend_from_slice(&id.to_le_bytes());
        self.table.extend_from_slice(&coding.to_le_bytes());
        self.table.extend_from_slice(&(stored.len() as u64).to_le_bytes());
        self.table.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.table.extend_from_slice(&Digest::of(stored).0);
        self.body.extend_from_slice(stored);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let length = HEADER + self.table.len() + self.body.len();
        let count = u32::try_from(self.table.len() / ROW).expect("a file has few sections");
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&(length as u64).to_le_bytes());
        let digest = Digest::of_parts([&out[..], &self.table]);
        out.extend_from_slice(&digest.0);
        out.extend_from_slice(&self.table);
        out.extend_from_slice(&self.body);
        out
    }
}

/// A file whose header and table are sound; sections are checked as they are taken.
pub(crate) struct Unpacker<'a> {
    rows: &'a [u8],
    body: &'a [u8],
}

impl<'a> Unpacker<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, FileError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(FileError::NotSnapshot);
        }
        let short = || FileError::Truncated { have: bytes.len() as u64 };
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or_else(short)?;
        let version = u32_at(header, 8);
        if version != VERSION {
            return Err(FileError::Version(version));
        }
        let rows = usize::try_from(u32_at(header, 12)).map_err(|_| FileError::Damaged("header"))?;
        let rows = rows.checked_mul(ROW).ok_or(FileError::Damaged("header"))?;
        // A file cut in its table or after it is told from a damaged one by its stated length.
        let (rows, body) = rest.split_at_checked(rows).ok_or_else(short)?;
        if header[24..] != Digest::of_parts([&header[..24], rows]).0 {
            return Err(FileError::Damaged("header"));
        }
        let length = u64_at(header, 16);
        if length > bytes.len() as u64 {
            return Err(short());
        }
        if length != bytes.len() as u64 {
            return Err(FileError::Shape("bytes after its end"));
        }
        Ok(Self { rows, body })
    }

    /// Takes the next section, `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Section>, FileError> {
        let Some((row, rows)) = self.rows.split_at_checked(ROW) else {
            let end = self.body.is_empty();
            return if end { Ok(None) } else { Err(FileError::Shape("bytes in no section")) };
        };
        self.rows = rows;
        let (id, coding) = (u32_at(row, 0), u32_at(row, 4));
        let size = |at| usize::try_from(u64_at(row, at)).map_err(|_| FileError::Shape("lengths"));
        let (stored, decoded) = (size(8)?, size(16)?);
        let split = self.body.split_at_checked(stored).ok_or(FileError::Shape("lengths"))?;
        self.body = split.1;
        if row[24..] != Digest::of(split.0).0 {
            return Err(FileError::Damaged(name(id)));
        }
        let bytes = match coding {
            RAW if stored == decoded => split.0.to_vec(),
            ZSTD if decoded <= CODED_BYTES_MAX => inflate(split.0, decoded)?,
            _ => return Err(FileError::Shape("coding of a section")),
        };
        Ok(Some(Section { id, bytes }))
    }
}

/// Undoes the compression. Grows with what is there, not with what is promised.
fn inflate(stored: &[u8], decoded: usize) -> Result<Vec<u8>, FileError> {
    let broken = |_| FileError::Shape("compression");
    let mut reader = zstd::stream::read::Decoder::with_buffer(stored).map_err(broken)?;
    reader.window_log_max(WINDOW_LOG_MAX).map_err(broken)?;
    let mut bytes = Vec::new();
    reader.take(decoded as u64 + 1).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() == decoded { Ok(bytes) } else { Err(FileError::Shape("compression")) }
}

/// The ids of sections (section 2) and the names that errors use.
pub(crate) mod id {
    pub(crate) const MACHINE: u32 = 1;
    pub(crate) const SPEC: u32 = 2;
    pub(crate) const RECORDS: u32 = 3;
    pub(crate) const PENDING: u32 = 4;
    pub(crate) const SPACES: u32 = 5;
    pub(crate) const PAGES: u32 = 6;
}

fn name(id: u32) -> &'static str {
    match id {
        id::MACHINE => "machine",
        id::SPEC => "spec",
        id::RECORDS => "records",
        id::PENDING => "pending",
        id::SPACES => "spaces",
        id::PAGES => "pages",
        _ => "unknown",
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
