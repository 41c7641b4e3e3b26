//! What a VHDX image says of its disk: sizes, and the parent.

use super::header::Region;
use super::{Guid, SECTORS_PER_BITMAP, guid};
use crate::error::{FormatError, Result, damaged, ensure, unsupported};
use crate::layer::{Backing, Format};
use crate::tables::{Tables, field, le16, le32};

pub(super) const MAGIC: &[u8; 8] = b"metadata";
pub(super) const TABLE_BYTES: usize = 64 << 10;

pub(super) const FILE_PARAMETERS: Guid =
    guid(0xcaa1_6737, 0xfa36, 0x4d43, [0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b]);
pub(super) const DISK_SIZE: Guid =
    guid(0x2fa5_4224, 0xcd1b, 0x4876, [0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8]);
pub(super) const DISK_ID: Guid =
    guid(0xbeca_12ab, 0xb2e6, 0x4523, [0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46]);
pub(super) const LOGICAL_SECTOR: Guid =
    guid(0x8141_bf1d, 0xa96f, 0x4709, [0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f]);
pub(super) const PHYSICAL_SECTOR: Guid =
    guid(0xcda3_48c7, 0x445d, 0x4471, [0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56]);
pub(super) const PARENT_LOCATOR: Guid =
    guid(0xa8d3_5f2d, 0xb30b, 0x454d, [0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c]);
pub(super) const PARENT_IS_VHDX: Guid =
    guid(0xb04a_efb7, 0xd19e, 0x4a81, [0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13]);

/// The bit of an entry that must be understood.
const REQUIRED: u32 = 1 << 2;

/// Flags of the file parameters.
const LEAVE_ALLOCATED: u32 = 1;
const HAS_PARENT: u32 = 2;

/// Items of the table, by the format.
const ITEMS_MAX: usize = 2047;

/// The largest disk, by the format: 64 TiB.
pub(super) const BYTES_MAX: u64 = 64 << 40;

/// The largest locator of a parent that is read.
const LOCATOR_BYTES_MAX: u32 = 1 << 20;
const LOCATOR_KEYS_MAX: usize = 64;

#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) bytes: u64,
    pub(super) block: u64,
    pub(super) sector: u64,
    pub(super) fixed: bool,
    pub(super) backing: Option<Backing>,
}

/// Where an item is.
type Item = (u64, u32);

impl Metadata {
    pub(super) fn read(tables: &Tables, region: Region) -> Result<Self> {
        let mut table = vec![0; TABLE_BYTES];
        tables.read(region.at, &mut table, "metadata table")?;
        ensure(table[..8] == *MAGIC, "metadata table", || "has another signature".into())?;
        let count = usize::from(le16(&table, 10));
        ensure(count <= ITEMS_MAX, "metadata table", || format!("has {count} entries"))?;
        let mut items: Vec<(Guid, Item)> = Vec::new();
        for entry in table[32..].chunks_exact(32).take(count) {
            let (id, at, bytes) = (Guid(field(entry, 0)), le32(entry, 16), le32(entry, 20));
            let known = [FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR];
            if !known.contains(&id) && id != PARENT_LOCATOR && le32(entry, 24) & REQUIRED != 0 {
                return Err(unsupported(format!("the metadata item {id}")));
            }
            let inside = u64::from(at) + u64::from(bytes) <= region.bytes;
            ensure(inside, "metadata table", || format!("has an item at {at} of {bytes} bytes"))?;
            items.push((id, (region.at + u64::from(at), bytes)));
        }
        let find = |id: Guid, least: u32, field: &'static str| {
            let found = items.iter().find(|(of, (_, bytes))| *of == id && *bytes >= least);
            found.map(|(_, item)| *item).ok_or_else(|| damaged(field, "is missing"))
        };
        let parameters = find(FILE_PARAMETERS, 8, "file parameters")?.0;
        let block = u64::from(tables.le32(parameters, "file parameters")?);
        let flags = tables.le32(parameters + 4, "file parameters")?;
        let bytes = tables.le64(find(DISK_SIZE, 8, "virtual disk size")?.0, "virtual disk size")?;
        let sector = find(LOGICAL_SECTOR, 4, "logical sector size")?.0;
        let sector = u64::from(tables.le32(sector, "logical sector size")?);
        ensure(sector == 512 || sector == 4096, "logical sector size", || format!("is {sector}"))?;
        let good = block.is_power_of_two() && (1 << 20..=1 << 28).contains(&block);
        ensure(good, "block size", || format!("is {block}"))?;
        ensure(bytes <= BYTES_MAX && bytes.is_multiple_of(sector), "virtual disk size", || {
            format!("is {bytes}")
        })?;
        let backing = if flags & HAS_PARENT == 0 {
            None
        } else {
            Some(parent(tables, find(PARENT_LOCATOR, 20, "parent locator")?)?)
        };
        Ok(Self { bytes, block, sector, fixed: flags & LEAVE_ALLOCATED != 0, backing })
    }

    /// Blocks of the disk that share a block of the sector bitmap.
    pub(super) fn ratio(&self) -> u64 {
        SECTORS_PER_BITMAP * self.sector / self.block
    }

    /// Entries of the table for so many blocks, those of sector bitmaps included.
    pub(super) fn entries(&self, count: u64) -> u64 {
        let chunks = count.div_ceil(self.ratio());
        if self.backing.is_some() {
            chunks * (self.ratio() + 1)
        } else {
            count + chunks.saturating_sub(1)
        }
    }
}

fn parent(tables: &Tables, (at, bytes): Item) -> Result<Backing> {
    ensure(bytes <= LOCATOR_BYTES_MAX, "parent locator", || format!("has {bytes} bytes"))?;
    let mut locator = vec![0; bytes as usize];
    tables.read(at, &mut locator, "parent locator")?;
    let sort = Guid(field(&locator, 0));
    if sort != PARENT_IS_VHDX {
        return Err(unsupported(format!("a parent of the sort {sort}")));
    }
    let count = usize::from(le16(&locator, 18));
    ensure(count <= LOCATOR_KEYS_MAX, "parent locator", || format!("has {count} entries"))?;
    let text = |at: u32, bytes: u16| {
        let units = locator.get(at as usize..).and_then(|rest| rest.get(..usize::from(bytes)));
        let units =
            units.ok_or_else(|| damaged("parent locator", "has an entry beyond its end"))?;
        let units = units.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
        let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok::<_, FormatError>(text.collect::<String>())
    };
    let (mut names, mut identity) = (Vec::new(), None);
    let mut entries = Vec::new();
    for entry in locator[20..].chunks_exact(12).take(count) {
        let key = text(le32(entry, 0), le16(entry, 8))?;
        entries.push((key, text(le32(entry, 4), le16(entry, 10))?));
    }
    for wanted in ["relative_path", "absolute_win32_path", "volume_path"] {
        let found = entries.iter().filter(|(key, _)| key == wanted);
        names.extend(found.map(|(_, value)| value.replace('\\', "/")));
    }
    if let Some((_, value)) = entries.iter().find(|(key, _)| key == "parent_linkage") {
        identity = Some(value.trim_matches(['{', '}']).to_ascii_lowercase());
    }
    Ok(Backing { names, format: Some(Format::Vhdx), identity })
}
