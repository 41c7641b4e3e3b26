//! Hyper-V's format: dynamic, fixed and differencing images.

mod header;
mod log;
mod metadata;
mod write;

pub(crate) use header::seals;
pub(crate) use write::sink;

use crate::claims::Claims;
use crate::error::{FormatError, Result, damaged, ensure};
use crate::layer::{Check, Content, Extent, Format, Info, Layer};
use crate::storage::{ReadAt, read_data};
use crate::tables::Tables;
use header::{Headers, Region, regions};
use metadata::Metadata;
use std::fmt;
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// States of a block, in the lowest bits of its entry.
mod state {
    pub(super) const NOT_PRESENT: u64 = 0;
    pub(super) const UNDEFINED: u64 = 1;
    pub(super) const ZERO: u64 = 2;
    pub(super) const UNMAPPED: u64 = 3;
    pub(super) const FULLY_PRESENT: u64 = 6;
    pub(super) const PARTIALLY_PRESENT: u64 = 7;
    /// A block of the sector bitmap.
    pub(super) const BITMAP_PRESENT: u64 = 6;
}

/// Sectors that one block of the sector bitmap tells of.
const SECTORS_PER_BITMAP: u64 = 1 << 23;

/// Entries and sectors that are looked at to find how far an extent goes.
const ENTRIES_MAX: u64 = 4096;

/// A GUID, as it stands in files.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Guid([u8; 16]);

/// A GUID from the parts in which it is written down.
const fn guid(a: u32, b: u16, c: u16, rest: [u8; 8]) -> Guid {
    let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    let [d, e, f, g, h, i, j, k] = rest;
    Guid([a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d, e, f, g, h, i, j, k])
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for at in [3, 2, 1, 0, 16, 5, 4, 16, 7, 6, 16, 8, 9, 16, 10, 11, 12, 13, 14, 15] {
            match self.0.get(at as usize) {
                Some(byte) => write!(f, "{byte:02x}")?,
                None => f.write_str("-")?,
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Vhdx {
    tables: Tables,
    file: Arc<dyn ReadAt>,
    regions: Vec<Region>,
    log: (u64, u64),
    metadata: Metadata,
    /// Where the table of blocks is.
    table: u64,
    /// Blocks of the disk.
    count: u64,
}

pub(crate) fn open(file: Arc<dyn ReadAt>) -> Result<(Vhdx, Info)> {
    let headers = Headers::read(&*file)?;
    let (file, replayed) = log::replay(file, &headers)?;
    let regions = regions(&*file)?;
    let find = |id: Guid, field: &'static str| {
        let found = regions.iter().find(|region| region.id == id);
        found.copied().ok_or_else(|| damaged(field, "is missing in the region table"))
    };
    let tables = Tables::new(file.clone());
    let metadata = Metadata::read(&tables, find(header::METADATA_REGION, "metadata region")?)?;
    let table = find(header::BAT_REGION, "BAT region")?;
    let count = metadata.bytes.div_ceil(metadata.block);
    let entries = metadata.entries(count);
    ensure(entries * 8 <= table.bytes, "BAT region", || {
        format!("has {} bytes, and the disk needs {entries} entries", table.bytes)
    })?;
    let name = match (&metadata.backing, metadata.fixed) {
        (Some(_), _) => "differencing",
        (None, true) => "fixed",
        (None, false) => "dynamic",
    };
    let mut info = Info::new(Format::Vhdx, name, metadata.bytes);
    info.cluster_bytes = Some(metadata.block);
    info.backing.clone_from(&metadata.backing);
    info.identity = Some(headers.data_write.to_string());
    if replayed {
        info.notes.push("was not closed: its log is applied in memory".into());
    }
    let (log, table) = (headers.log, table.at);
    Ok((Vhdx { tables, file, regions, log, metadata, table, count }, info))
}

impl Vhdx {
    /// The state of a block, and where its data is.
    fn block(&self, no: u64) -> Result<(u64, u64)> {
        let at = self.table + 8 * (no + no / self.metadata.ratio());
        self.entry(at)
    }

    fn entry(&self, at: u64) -> Result<(u64, u64)> {
        let entry = self.tables.le64(at, "BAT")?;
        // Megabytes, from bit 20 on.
        Ok((entry & 7, entry & !(MIB - 1)))
    }

    fn content(&self, no: u64) -> Result<Content> {
        let (state, at) = self.block(no)?;
        let differencing = self.metadata.backing.is_some();
        match state {
            state::NOT_PRESENT => Ok(Content::Below),
            state::UNDEFINED | state::ZERO | state::UNMAPPED => Ok(Content::Zero),
            state::FULLY_PRESENT => Ok(Content::Data),
            state::PARTIALLY_PRESENT if differencing => Ok(Content::Data),
            other => Err(damaged("BAT", format!("has state {other} for block {no} at {at}"))),
        }
    }

    /// Where the part of the sector bitmap is that tells of a block.
    fn bitmap(&self, no: u64) -> Result<u64> {
        let ratio = self.metadata.ratio();
        let chunk = no / ratio;
        let (state, at) = self.entry(self.table + 8 * (chunk * (ratio + 1) + ratio))?;
        ensure(state == state::BITMAP_PRESENT, "BAT", || {
            format!("has state {state} for a sector bitmap that is needed")
        })?;
        let sectors = self.metadata.block / self.metadata.sector;
        Ok(at + no % ratio * sectors / 8)
    }

    /// A block of which some sectors are in the parent.
    fn partial(&self, at: u64) -> Result<Extent> {
        let (block, size) = (self.metadata.block, self.metadata.sector);
        let bitmap = self.bitmap(at / block)?;
        let has = |sector: u64| {
            let mut byte = [0];
            self.tables.read(bitmap + sector / 8, &mut byte, "sector bitmap")?;
            Ok::<_, FormatError>(byte[0] >> (sector % 8) & 1 == 1)
        };
        let mut sector = at % block / size;
        let stored = has(sector)?;
        let mut bytes = size - at % size;
        for _ in 0..ENTRIES_MAX {
            sector += 1;
            if sector == block / size || has(sector)? != stored {
                break;
            }
            bytes += size;
        }
        Ok(Extent { content: if stored { Content::Data } else { Content::Below }, bytes })
    }
}

impl Layer for Vhdx {
    fn extent(&self, at: u64) -> Result<Extent> {
        let block = self.metadata.block;
        let mut no = at / block;
        let content = self.content(no)?;
        if self.block(no)?.0 == state::PARTIALLY_PRESENT {
            return self.partial(at);
        }
        let mut bytes = block - at % block;
        for _ in 0..ENTRIES_MAX {
            no += 1;
            if no >= self.count
                || self.content(no).ok() != Some(content)
                || self.block(no)?.0 == state::PARTIALLY_PRESENT
            {
                break;
            }
            bytes += block;
        }
        Ok(Extent { content, bytes })
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let block = self.metadata.block;
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let start = at % block;
            // Within a block, which is at most 256 MiB.
            let count = rest.len().min((block - start) as usize);
            let (piece, after) = rest.split_at_mut(count);
            let (_, place) = self.block(at / block)?;
            ensure(place >= MIB, "BAT", || format!("has a block at {place}, in the header"))?;
            read_data(&*self.file, place.saturating_add(start), piece, "BAT entry")?;
            (at, rest) = (at + count as u64, after);
        }
        Ok(())
    }

    fn check(&self) -> Result<Check> {
        let (mut check, mut claims) = (Check::default(), Claims::default());
        let file = self.file.bytes();
        claims.take((0, MIB.min(file)), file, "header section", &mut check)?;
        claims.take(self.log, file, "log", &mut check)?;
        for region in &self.regions {
            claims.take((region.at, region.bytes), file, "region", &mut check)?;
        }
        check.total = self.count;
        for no in 0..self.count {
            let content = self.content(no);
            let Some(content) = check.note(content)? else { continue };
            if content == Content::Data {
                check.allocated += 1;
                let (_, at) = self.block(no)?;
                // The last block of a file may be cut short.
                let bytes = self.metadata.block.min(file.saturating_sub(at)).max(1);
                claims.take((at, bytes), file, "block", &mut check)?;
            }
        }
        let ratio = self.metadata.ratio();
        if self.metadata.backing.is_some() {
            for chunk in 0..self.count.div_ceil(ratio) {
                let (state, at) = self.entry(self.table + 8 * (chunk * (ratio + 1) + ratio))?;
                if state == state::BITMAP_PRESENT {
                    claims.take((at, MIB), file, "sector bitmap", &mut check)?;
                }
            }
        }
        Ok(check)
    }
}
