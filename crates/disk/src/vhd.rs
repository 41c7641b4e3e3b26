//! Virtual PC's format: fixed, dynamic and differencing images.

use crate::claims::Claims;
use crate::error::{Result, damaged, ensure, unsupported};
use crate::layer::{Backing, Check, Content, Extent, Format, Info, Layer};
use crate::storage::{ReadAt, read_data};
use crate::tables::{Tables, be32, be64, field};
use std::sync::Arc;

mod write;
pub(crate) use write::sink;

const FOOTER_BYTES: u64 = 512;
const HEADER_BYTES: u64 = 1024;
const COOKIE: &[u8; 8] = b"conectix";
const HEADER_COOKIE: &[u8; 8] = b"cxsparse";

/// The sorts of images, by `disk_type`.
const FIXED: u32 = 2;
const DYNAMIC: u32 = 3;
const DIFFERENCING: u32 = 4;

/// An entry of the table of a block that is not stored.
const FREE: u32 = u32::MAX;

/// Entries and sectors that are looked at to find how far an extent goes.
const ENTRIES_MAX: u64 = 4096;

/// The geometry that says nothing of the size: 65535 cylinders, 16 heads, 255 sectors.
const GEOMETRY_MAX: u64 = 65535 * 16 * 255;

/// Programs that say the exact size in `current_size`; of other images the geometry has it.
const EXACT_CREATORS: &[&[u8; 4]] = &[b"win ", b"qem2", b"d2v ", b"tap\0", b"wa\0\0", b"CTXS"];

/// Whether a file is a fixed image: its footer, at its end, tells.
pub(crate) fn is_fixed(file: &dyn ReadAt) -> Result<bool> {
    let bytes = file.bytes();
    if bytes < 2 * FOOTER_BYTES || !bytes.is_multiple_of(512) {
        return Ok(false);
    }
    let mut footer = [0; FOOTER_BYTES as usize];
    file.read_exact_at(bytes - FOOTER_BYTES, &mut footer)?;
    let sound = footer[..8] == *COOKIE && be32(&footer, 64) == checksum(&footer, 64);
    Ok(sound && be32(&footer, 60) == FIXED && be64(&footer, 48) == bytes - FOOTER_BYTES)
}

/// The sum of all bytes but the checksum's own, inverted.
fn checksum(bytes: &[u8], at: usize) -> u32 {
    let all = bytes.iter().enumerate().filter(|(no, _)| !(at..at + 4).contains(no));
    !all.fold(0u32, |sum, (_, &byte)| sum.wrapping_add(u32::from(byte)))
}

/// Where the checksums of an image are, and what they are to be.
pub(crate) fn seals(file: &dyn ReadAt) -> Vec<(u64, [u8; 4])> {
    let mut sums = Vec::new();
    let end = file.bytes().saturating_sub(FOOTER_BYTES);
    for (at, bytes, sum_at) in [(0, 512, 64), (FOOTER_BYTES, 1024, 36), (end, 512, 64)] {
        let mut part = vec![0; bytes];
        if file.read_exact_at(at, &mut part).is_ok() {
            sums.push((at + sum_at as u64, checksum(&part, sum_at).to_be_bytes()));
        }
    }
    sums
}

#[derive(Debug)]
pub(crate) enum Vhd {
    Fixed(Arc<dyn ReadAt>),
    Dynamic(Dynamic),
}

/// An image with a table of blocks.
#[derive(Debug)]
pub(crate) struct Dynamic {
    tables: Tables,
    file: Arc<dyn ReadAt>,
    table: u64,
    block: u64,
    count: u64,
    /// Bytes of the bitmap before each block.
    bitmap: u64,
    /// Whether sectors that are not in a block are in the parent.
    differencing: bool,
}

pub(crate) fn open(file: Arc<dyn ReadAt>) -> Result<(Vhd, Info)> {
    ensure(file.bytes() >= FOOTER_BYTES, "footer", || "is cut off".into())?;
    let mut footer = [0; FOOTER_BYTES as usize];
    file.read_exact_at(file.bytes() - FOOTER_BYTES, &mut footer)?;
    let sound = |footer: &[u8; FOOTER_BYTES as usize]| {
        footer[..8] == *COOKIE && be32(footer, 64) == checksum(footer, 64)
    };
    let mut notes = Vec::new();
    if !sound(&footer) {
        // Images that are not fixed have a copy at the beginning.
        file.read_exact_at(0, &mut footer)?;
        ensure(sound(&footer), "footer", || "has no right cookie and checksum".into())?;
        notes.push("its footer is damaged; the copy was used".into());
    }
    if be32(&footer, 12) >> 16 != 1 {
        return Err(unsupported(format!("version {:#x} of the format", be32(&footer, 12))));
    }
    let bytes = disk_bytes(&footer)?;
    let (vhd, mut info) = match be32(&footer, 60) {
        FIXED => {
            ensure(bytes <= file.bytes(), "current_size", || format!("is {bytes}"))?;
            (Vhd::Fixed(file), Info::new(Format::Vhd, "fixed", bytes))
        }
        kind @ (DYNAMIC | DIFFERENCING) => {
            let at = be64(&footer, 16);
            let (image, info) = dynamic(file, at, kind == DIFFERENCING, bytes)?;
            (Vhd::Dynamic(image), info)
        }
        other => return Err(unsupported(format!("an image of the sort {other}"))),
    };
    info.notes = notes;
    info.identity = Some(hex(&footer[68..84]));
    Ok((vhd, info))
}

fn disk_bytes(footer: &[u8; FOOTER_BYTES as usize]) -> Result<u64> {
    let (cylinders, heads, sectors) = (field::<2>(footer, 56), footer[58], footer[59]);
    let cylinders = u64::from(u16::from_be_bytes(cylinders));
    let geometry = cylinders * u64::from(heads) * u64::from(sectors);
    let (creator, exact) = (field::<4>(footer, 28), be64(footer, 48));
    let by_size = geometry == GEOMETRY_MAX || EXACT_CREATORS.contains(&&creator);
    let bytes = if by_size { exact } else { geometry * 512 };
    ensure(bytes < 1 << 62, "current_size", || format!("is {bytes}"))?;
    Ok(bytes)
}

fn dynamic(
    file: Arc<dyn ReadAt>,
    at: u64,
    differencing: bool,
    bytes: u64,
) -> Result<(Dynamic, Info)> {
    let tables = Tables::new(file.clone());
    let mut head = [0; HEADER_BYTES as usize];
    tables.read(at, &mut head, "dynamic header")?;
    let sound = head[..8] == *HEADER_COOKIE && be32(&head, 36) == checksum(&head, 36);
    ensure(sound, "dynamic header", || "has no right cookie and checksum".into())?;
    let (table, count) = (be64(&head, 16), u64::from(be32(&head, 28)));
    let block = u64::from(be32(&head, 32));
    let good = block.is_power_of_two() && (512..=1 << 28).contains(&block);
    ensure(good, "block_size", || format!("is {block}"))?;
    let needed = bytes.div_ceil(block);
    ensure(needed <= count, "max_table_entries", || {
        format!("is {count}, and the disk needs {needed}")
    })?;
    let inside = table.checked_add(4 * count).is_some_and(|end| end <= file.bytes());
    ensure(inside, "table_offset", || format!("is {table}: the table is not within the file"))?;
    let name = if differencing { "differencing" } else { "dynamic" };
    let mut info = Info::new(Format::Vhd, name, bytes);
    info.cluster_bytes = Some(block);
    if differencing {
        let names = parent_names(&tables, &head)?;
        let identity = Some(hex(&head[40..56]));
        info.backing = Some(Backing { names, format: Some(Format::Vhd), identity });
    }
    let bitmap = (block / 512).div_ceil(8).next_multiple_of(512);
    Ok((Dynamic { tables, file, table, block, count: needed, bitmap, differencing }, info))
}

/// The names of the parent: relative ones first.
fn parent_names(tables: &Tables, head: &[u8; HEADER_BYTES as usize]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for wanted in [b"W2ru", b"W2ku"] {
        for locator in head[576..768].chunks(24) {
            let bytes = be32(locator, 8) as usize;
            if locator[..4] != *wanted || bytes == 0 {
                continue;
            }
            ensure(bytes <= 2048, "parent locator", || format!("has {bytes} bytes"))?;
            let mut name = vec![0; bytes];
            tables.read(be64(locator, 16), &mut name, "parent locator")?;
            names.push(utf16(name.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]))));
        }
    }
    let name = head[64..576].chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    names.push(utf16(name));
    names.retain(|name| !name.is_empty());
    Ok(names)
}

/// A name, with the separators of other systems as ours.
fn utf16(units: impl Iterator<Item = u16>) -> String {
    let text = char::decode_utf16(units.take_while(|&unit| unit != 0));
    let name: String = text.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    name.replace('\\', "/")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Dynamic {
    /// Where the bitmap of a block is in the file; its data follows.
    fn place(&self, no: u64) -> Result<Option<u64>> {
        match self.tables.be32(self.table + 4 * no, "block allocation table")? {
            FREE => Ok(None),
            sector => Ok(Some(u64::from(sector) * 512)),
        }
    }

    /// Whether a sector of a block is in this image.
    fn has(&self, place: u64, sector: u64) -> Result<bool> {
        let mut byte = [0];
        self.tables.read(place + sector / 8, &mut byte, "sector bitmap")?;
        Ok(byte[0] >> (7 - sector % 8) & 1 == 1)
    }

    fn sectors(&self, place: u64, at: u64) -> Result<Extent> {
        let start = at % self.block;
        let mut sector = start / 512;
        let stored = self.has(place, sector)?;
        let mut bytes = 512 - at % 512;
        for _ in 0..ENTRIES_MAX {
            sector += 1;
            if sector == self.block / 512 || self.has(place, sector)? != stored {
                break;
            }
            bytes += 512;
        }
        Ok(Extent { content: if stored { Content::Data } else { Content::Below }, bytes })
    }
}

impl Layer for Vhd {
    fn extent(&self, at: u64) -> Result<Extent> {
        let image = match self {
            Self::Fixed(file) => {
                let (data, bytes) = file.run_at(at)?;
                let content = if data { Content::Data } else { Content::Zero };
                return Ok(Extent { content, bytes });
            }
            Self::Dynamic(image) => image,
        };
        let mut no = at / image.block;
        let place = image.place(no)?;
        if let Some(place) = place.filter(|_| image.differencing) {
            return image.sectors(place, at);
        }
        let mut bytes = image.block - at % image.block;
        for _ in 0..ENTRIES_MAX {
            no += 1;
            if no >= image.count || image.place(no)?.is_some() != place.is_some() {
                break;
            }
            if place.is_some() && image.differencing {
                break;
            }
            bytes += image.block;
        }
        let content = if place.is_some() { Content::Data } else { Content::Below };
        Ok(Extent { content, bytes })
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let image = match self {
            Self::Fixed(file) => return Ok(file.read_exact_at(at, into)?),
            Self::Dynamic(image) => image,
        };
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let start = at % image.block;
            // Within a block, which is at most 256 MiB.
            let count = rest.len().min((image.block - start) as usize);
            let (piece, after) = rest.split_at_mut(count);
            let place = image.place(at / image.block)?;
            let place = place.ok_or_else(|| damaged("block allocation table", "has changed"))?;
            let from = place + image.bitmap + start;
            read_data(&*image.file, from, piece, "block allocation table entry")?;
            (at, rest) = (at + count as u64, after);
        }
        Ok(())
    }

    fn check(&self) -> Result<Check> {
        let (mut check, mut claims) = (Check::default(), Claims::default());
        let Self::Dynamic(image) = self else { return Ok(check) };
        let file = image.file.bytes();
        claims.take((0, FOOTER_BYTES), file, "copy of the footer", &mut check)?;
        claims.take((image.table, 4 * image.count), file, "block table", &mut check)?;
        check.total = image.count;
        for no in 0..image.count {
            let Some(at) = image.place(no)? else { continue };
            check.allocated += 1;
            let bytes = image.bitmap + image.block;
            claims.take((at, bytes), file, "block", &mut check)?;
        }
        Ok(check)
    }
}
