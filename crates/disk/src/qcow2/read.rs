//! Reading the disk of a qcow2 image.

use super::header::{Header, OFFSET, incompatible};
use crate::compress::{Compression, inflate, unzstd};
use crate::error::{FormatError, Result, damaged, ensure};
use crate::layer::{Check, Content, Extent, Info, Layer};
use crate::storage::{Files, ReadAt, read_data};
use crate::tables::{Clusters, Tables};
use std::path::Path;
use std::sync::Arc;

/// Pieces that are looked at to find how far an extent goes.
const PIECES_MAX: u64 = 4096;

/// Bits of an entry of an L2 table.
pub(super) const COMPRESSED: u64 = 1 << 62;
pub(super) const COPIED: u64 = 1 << 63;
pub(super) const ZERO: u64 = 1;

/// Subclusters of an extended entry.
const SUBCLUSTERS: u64 = 32;

#[derive(Debug)]
pub(crate) struct Qcow2 {
    pub(super) header: Header,
    pub(super) tables: Tables,
    file: Arc<dyn ReadAt>,
    data: Arc<dyn ReadAt>,
    clusters: Clusters,
}

pub(crate) fn open(file: Arc<dyn ReadAt>, name: &Path, files: &dyn Files) -> Result<(Qcow2, Info)> {
    let header = Header::read(&*file)?;
    let tables = Tables::new(file.clone());
    let mut info = header.info(&tables)?;
    let data = match &header.data_file {
        None => file.clone(),
        Some(other) => {
            let opened = files.open(Some(name), other);
            let opened =
                opened.map_err(|why| FormatError::Reference { name: other.clone(), why })?;
            info.files.push(opened.name);
            opened.file
        }
    };
    // At most 2 MiB.
    let clusters = Clusters::new(header.cluster() as usize);
    Ok((Qcow2 { header, tables, file, data, clusters }, info))
}

/// Where the data of a cluster is.
pub(super) enum Place {
    Nowhere,
    At(u64),
    Packed { at: u64, bytes: u64 },
}

impl Header {
    /// Whether data lies in a file of its own.
    pub(super) fn external(&self) -> bool {
        self.incompatible & incompatible::DATA_FILE != 0
    }

    /// Where an L2 table is, by an entry of an L1 table.
    pub(super) fn l2_at(&self, entry: u64) -> Result<Option<u64>> {
        let at = entry & OFFSET;
        ensure(at.is_multiple_of(self.cluster()), "L1 entry", || {
            format!("points to {at}, within a cluster")
        })?;
        Ok((at != 0).then_some(at))
    }

    /// Where a cluster is, by an entry of an L2 table.
    pub(super) fn place(&self, entry: u64) -> Result<Place> {
        if entry & COMPRESSED != 0 {
            if self.external() {
                return Err(damaged("L2 entry", "is compressed in an external data file"));
            }
            let shift = 62 - (self.cluster_bits - 8);
            let at = entry & ((1 << shift) - 1);
            let sectors = ((entry & (COMPRESSED - 1)) >> shift) + 1;
            return Ok(Place::Packed { at, bytes: sectors * 512 - at % 512 });
        }
        let at = entry & OFFSET;
        if at == 0 && !(self.external() && entry & COPIED != 0) {
            return Ok(Place::Nowhere);
        }
        ensure(at.is_multiple_of(self.cluster()), "L2 entry", || {
            format!("points to {at}, within a cluster")
        })?;
        Ok(Place::At(at))
    }

    /// A compressed cluster, unpacked.
    pub(super) fn unpack(&self, file: &dyn ReadAt, at: u64, bytes: u64) -> Result<Vec<u8>> {
        let rest = file.bytes().saturating_sub(at);
        ensure(rest > 0, "L2 entry", || {
            format!("has a compressed cluster at {at}, beyond the end of the file")
        })?;
        // Both below two clusters.
        let mut packed = vec![0; bytes.min(rest) as usize];
        file.read_exact_at(at, &mut packed)?;
        let mut out = vec![0; self.cluster() as usize];
        match self.compression {
            Compression::Zlib => inflate(&packed, &mut out, false, true)?,
            Compression::Zstd => unzstd(&packed, &mut out)?,
        }
        Ok(out)
    }
}

impl Qcow2 {
    /// An entry of an L2 table and its bitmap: the lower half says what is stored, the upper half
    /// what is zero. Entries that have none are given one.
    pub(super) fn entry(&self, l2: u64, index: u64) -> Result<(u64, u64)> {
        if self.header.extended() {
            let at = l2 + 16 * index;
            return Ok((self.tables.be64(at, "L2 table")?, self.tables.be64(at + 8, "L2 table")?));
        }
        let entry = self.tables.be64(l2 + 8 * index, "L2 table")?;
        let zero = self.header.version > 2 && entry & COMPRESSED == 0 && entry & ZERO != 0;
        Ok((entry, if zero { u64::MAX << 32 } else { u64::from(u32::MAX) }))
    }

    /// What a subcluster holds.
    fn content(&self, (entry, bitmap): (u64, u64), subcluster: u64) -> Result<Content> {
        let place = self.header.place(entry)?;
        if let Place::Packed { .. } = place {
            return Ok(Content::Data);
        }
        let (stored, zero) = (bitmap >> subcluster & 1, bitmap >> (32 + subcluster) & 1);
        match (stored, zero, place) {
            (1, 1, _) => Err(damaged("subcluster bitmap", "says both stored and zero")),
            (_, 1, _) => Ok(Content::Zero),
            (1, _, Place::At(_)) => Ok(Content::Data),
            (1, _, _) if self.header.extended() => {
                Err(damaged("subcluster bitmap", "says stored, where no cluster is"))
            }
            _ => Ok(Content::Below),
        }
    }

    /// The L2 table and the index in it that an offset of the disk leads to.
    fn walk(&self, at: u64) -> Result<(Option<u64>, u64)> {
        let bits = self.header.cluster_bits;
        let l1 = at >> (bits + self.header.l2_bits());
        let entry = self.tables.be64(self.header.l1 + 8 * l1, "L1 table")?;
        let index = at >> bits & ((1 << self.header.l2_bits()) - 1);
        Ok((self.header.l2_at(entry)?, index))
    }

    /// Bytes from the beginning of an L2 table's part of the disk on for which there are no tables.
    fn empty(&self, at: u64) -> Result<u64> {
        let bits = self.header.cluster_bits + self.header.l2_bits();
        let first = at >> bits;
        let end = u64::from(self.header.l1_count).min(first.saturating_add(PIECES_MAX));
        let mut next = first;
        while next < end && self.tables.be64(self.header.l1 + 8 * next, "L1 table")? & OFFSET == 0 {
            next += 1;
        }
        Ok((next - first) << bits)
    }
}

impl Layer for Qcow2 {
    fn extent(&self, at: u64) -> Result<Extent> {
        let cluster = self.header.cluster();
        let count = 1 << self.header.l2_bits();
        let (l2, mut index) = self.walk(at)?;
        let Some(l2) = l2 else {
            let bytes = (count - index) * cluster - at % cluster;
            return Ok(Extent { content: Content::Below, bytes: bytes + self.empty(at + bytes)? });
        };
        // All subclusters of an entry without a bitmap are alike.
        let pieces = if self.header.extended() { SUBCLUSTERS } else { 1 };
        let piece_bytes = cluster / pieces;
        let mut piece = at % cluster / piece_bytes;
        let mut entry = self.entry(l2, index)?;
        let content = self.content(entry, piece)?;
        let mut bytes = piece_bytes - at % piece_bytes;
        for _ in 0..PIECES_MAX {
            piece += 1;
            if piece == pieces {
                (piece, index) = (0, index + 1);
                if index == count {
                    break;
                }
                entry = self.entry(l2, index)?;
            }
            // What is wrong further on is told when one gets there.
            if self.content(entry, piece).ok() != Some(content) {
                break;
            }
            bytes += piece_bytes;
        }
        Ok(Extent { content, bytes })
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let cluster = self.header.cluster();
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let (l2, index) = self.walk(at)?;
            let Some(l2) = l2 else {
                return Err(damaged("L1 entry", "has changed"));
            };
            let start = at % cluster;
            // Within a cluster, which is at most 2 MiB.
            let count = rest.len().min((cluster - start) as usize);
            let (piece, after) = rest.split_at_mut(count);
            match self.header.place(self.entry(l2, index)?.0)? {
                Place::Packed { at, bytes } => {
                    let unpack = || self.header.unpack(&*self.file, at, bytes);
                    let whole = self.clusters.get(at, unpack)?;
                    piece.copy_from_slice(&whole[start as usize..start as usize + count]);
                }
                Place::At(base) => read_data(&*self.data, base + start, piece, "L2 entry")?,
                Place::Nowhere => return Err(damaged("L2 entry", "has changed")),
            }
            (at, rest) = (at + count as u64, after);
        }
        Ok(())
    }

    fn check(&self) -> Result<Check> {
        super::check::check(self)
    }
}
