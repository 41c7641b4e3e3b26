//! A sparse extent of a VMDK image: a directory of tables of grains.

use super::MAGIC;
use crate::claims::Claims;
use crate::compress::inflate;
use crate::error::{Result, damaged, ensure, unsupported};
use crate::layer::{Check, Content, Extent};
use crate::storage::{ReadAt, read_data};
use crate::tables::{Clusters, Tables, le32, le64};
use std::sync::Arc;

/// Bits of `flags`.
pub(super) mod flag {
    pub(crate) const NEWLINES: u32 = 1 << 0;
    pub(crate) const REDUNDANT: u32 = 1 << 1;
    pub(crate) const ZERO_GRAINS: u32 = 1 << 2;
    pub(crate) const COMPRESSED: u32 = 1 << 16;
    pub(crate) const MARKERS: u32 = 1 << 17;
}

/// `gdOffset` where it is in the footer.
pub(super) const AT_END: u64 = u64::MAX;

/// Grains that are looked at to find how far an extent goes.
const GRAINS_MAX: u64 = 4096;

/// The entry of a grain of zeros, where the flag says so.
const ZERO_GRAIN: u32 = 1;

#[derive(Debug)]
pub(super) struct Sparse {
    tables: Tables,
    file: Arc<dyn ReadAt>,
    /// The size of the part of the disk.
    pub(super) bytes: u64,
    pub(super) grain: u64,
    per_table: u64,
    directory: u64,
    pub(super) compressed: bool,
    markers: bool,
    zero_grains: bool,
    pub(super) unclean: bool,
    /// Where the descriptor is, and its size.
    pub(super) descriptor: Option<(u64, u64)>,
    clusters: Clusters,
}

impl Sparse {
    pub(super) fn open(file: Arc<dyn ReadAt>) -> Result<Self> {
        let tables = Tables::new(file.clone());
        let mut head = [0; 512];
        tables.read(0, &mut head, "header")?;
        ensure(head[..4] == *MAGIC, "magic", || "is not that of a sparse extent".into())?;
        let descriptor = (le64(&head, 28), le64(&head, 36));
        if le64(&head, 56) == AT_END {
            let at = file.bytes().checked_sub(1024);
            let at = at.ok_or_else(|| damaged("footer", "is cut off"))?;
            tables.read(at, &mut head, "footer")?;
            ensure(head[..4] == *MAGIC, "footer", || "has not the magic of one".into())?;
        }
        let (version, flags) = (le32(&head, 4), le32(&head, 8));
        if !(1..=3).contains(&version) {
            return Err(unsupported(format!("version {version} of sparse extents")));
        }
        let compressed = flags & flag::COMPRESSED != 0;
        let algorithm = u16::from_le_bytes([head[77], head[78]]);
        if compressed && algorithm != 1 {
            return Err(unsupported(format!("compression of the sort {algorithm}")));
        }
        let (sectors, grain) = (le64(&head, 12), le64(&head, 20));
        ensure(sectors < 1 << 50, "capacity", || format!("is {sectors}"))?;
        ensure(grain.is_power_of_two() && (1..=1 << 15).contains(&grain), "grainSize", || {
            format!("is {grain}")
        })?;
        let per_table = u64::from(le32(&head, 44));
        ensure((1..=1 << 16).contains(&per_table), "numGTEsPerGT", || format!("is {per_table}"))?;
        let directory = le64(&head, 56).saturating_mul(512);
        let count = sectors.div_ceil(grain * per_table);
        let inside = directory.checked_add(4 * count).is_some_and(|end| end <= file.bytes());
        ensure(inside, "gdOffset", || {
            format!("is {}: the directory is not within the file", directory / 512)
        })?;
        let sector = |value: u64| value.saturating_mul(512);
        Ok(Self {
            tables,
            bytes: sectors * 512,
            grain: grain * 512,
            per_table,
            directory,
            compressed,
            markers: flags & flag::MARKERS != 0,
            zero_grains: flags & flag::ZERO_GRAINS != 0,
            unclean: head[72] != 0,
            descriptor: (descriptor.0 != 0).then(|| (sector(descriptor.0), sector(descriptor.1))),
            // At most 16 MiB.
            clusters: Clusters::new((grain * 512) as usize),
            file,
        })
    }

    /// Where a table of grains is.
    fn table(&self, no: u64) -> Result<Option<u64>> {
        let entry = self.tables.le32(self.directory + 4 * no, "grain directory")?;
        Ok((entry != 0).then(|| u64::from(entry) * 512))
    }

    fn entry(&self, table: u64, index: u64) -> Result<u32> {
        self.tables.le32(table + 4 * index, "grain table")
    }

    fn content(&self, entry: u32) -> Content {
        match entry {
            0 => Content::Below,
            ZERO_GRAIN if self.zero_grains => Content::Zero,
            _ => Content::Data,
        }
    }

    pub(super) fn extent(&self, at: u64) -> Result<Extent> {
        let (no, start) = (at / self.grain, at % self.grain);
        let (table, mut index) = (no / self.per_table, no % self.per_table);
        let Some(table) = self.table(table)? else {
            let bytes = (self.per_table - index) * self.grain - start;
            return Ok(Extent { content: Content::Below, bytes });
        };
        let content = self.content(self.entry(table, index)?);
        let mut bytes = self.grain - start;
        for _ in 0..GRAINS_MAX {
            index += 1;
            if index == self.per_table || (bytes + at) >= self.bytes {
                break;
            }
            if self.content(self.entry(table, index)?) != content {
                break;
            }
            bytes += self.grain;
        }
        Ok(Extent { content, bytes })
    }

    pub(super) fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let (no, start) = (at / self.grain, at % self.grain);
            // Within a grain, which is at most 16 MiB.
            let count = rest.len().min((self.grain - start) as usize);
            let (piece, after) = rest.split_at_mut(count);
            let table = self.table(no / self.per_table)?;
            let table = table.ok_or_else(|| damaged("grain directory", "has changed"))?;
            let place = u64::from(self.entry(table, no % self.per_table)?) * 512;
            if self.compressed {
                let whole = self.clusters.get(place, || self.unpack(place))?;
                piece.copy_from_slice(&whole[start as usize..start as usize + count]);
            } else {
                read_data(&*self.file, place + start, piece, "grain table entry")?;
            }
            (at, rest) = (at + count as u64, after);
        }
        Ok(())
    }

    /// A compressed grain with what stands before it: where in the file, and its size.
    fn packed(&self, place: u64) -> Result<(u64, u64)> {
        let (at, size) = if self.markers { (place + 12, place + 8) } else { (place + 4, place) };
        let bytes = u64::from(self.tables.le32(size, "grain marker")?);
        let inside = at + bytes <= self.file.bytes();
        // What does not get smaller by compression gets hardly larger.
        ensure(inside && bytes <= 2 * self.grain + 1024, "grain marker", || {
            format!("at {place} says {bytes} bytes")
        })?;
        Ok((at, bytes))
    }

    fn unpack(&self, place: u64) -> Result<Vec<u8>> {
        let (at, bytes) = self.packed(place)?;
        let mut packed = vec![0; bytes as usize];
        self.file.read_exact_at(at, &mut packed)?;
        let mut out = vec![0; self.grain as usize];
        inflate(&packed, &mut out, true, false)?;
        Ok(out)
    }

    pub(super) fn check(&self, claims: &mut Claims, check: &mut Check) -> Result<()> {
        let file = self.file.bytes();
        let grains = self.bytes.div_ceil(self.grain);
        check.total += grains;
        let count = grains.div_ceil(self.per_table);
        claims.take((self.directory, 4 * count), file, "grain directory", check)?;
        for no in 0..count {
            let Some(table) = self.table(no)? else { continue };
            let before = check.corruptions;
            claims.take((table, 4 * self.per_table), file, "grain table", check)?;
            if check.corruptions > before {
                continue;
            }
            for index in 0..self.per_table.min(grains - no * self.per_table) {
                let entry = self.entry(table, index)?;
                if self.content(entry) != Content::Data {
                    continue;
                }
                check.allocated += 1;
                let at = u64::from(entry) * 512;
                if !self.compressed {
                    // The last grain of a file may be cut short.
                    let bytes = self.grain.min(file.saturating_sub(at)).max(1);
                    claims.take((at, bytes), file, "grain", check)?;
                } else if let Some((from, bytes)) = check.note(self.packed(at))? {
                    claims.take((at, from + bytes - at), file, "grain", check)?;
                }
            }
        }
        Ok(())
    }
}
