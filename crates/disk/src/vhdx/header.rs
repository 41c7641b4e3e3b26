//! The header section of a VHDX image: two headers and two region tables, of which one each counts.

use super::{Guid, MIB, guid};
use crate::error::{Result, damaged, ensure, unsupported};
use crate::storage::ReadAt;
use crate::tables::{field, le16, le32, le64};

pub(super) const FILE_MAGIC: &[u8; 8] = b"vhdxfile";
pub(super) const HEADER_MAGIC: &[u8; 4] = b"head";
pub(super) const REGION_MAGIC: &[u8; 4] = b"regi";

pub(super) const HEADERS_AT: [u64; 2] = [64 << 10, 128 << 10];
pub(super) const REGIONS_AT: [u64; 2] = [192 << 10, 256 << 10];
pub(super) const HEADER_BYTES: usize = 4096;
pub(super) const REGIONS_BYTES: usize = 64 << 10;

pub(super) const BAT_REGION: Guid =
    guid(0x2dc2_7766, 0xf623, 0x4200, [0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08]);
pub(super) const METADATA_REGION: Guid =
    guid(0x8b7c_a206, 0x4790, 0x4b9a, [0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e]);

/// Regions of a table, by the format.
const REGIONS_MAX: usize = 2047;

/// The checksum of a structure, whose own field is taken for zero.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let sum = crc32c::crc32c(&bytes[..4]);
    crc32c::crc32c_append(crc32c::crc32c_append(sum, &[0; 4]), &bytes[8..])
}

/// Where the checksums of an image are, and what they are to be.
pub(crate) fn seals(file: &dyn ReadAt) -> Vec<(u64, [u8; 4])> {
    let headers = HEADERS_AT.map(|at| (at, HEADER_BYTES));
    let parts = headers.into_iter().chain(REGIONS_AT.map(|at| (at, REGIONS_BYTES)));
    let sum = |(at, bytes): (u64, usize)| {
        let mut part = vec![0; bytes];
        file.read_exact_at(at, &mut part).ok()?;
        Some((at + 4, checksum(&part).to_le_bytes()))
    };
    parts.filter_map(sum).collect()
}

/// The header that counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Headers {
    sequence: u64,
    pub(super) data_write: Guid,
    pub(super) log_guid: Guid,
    /// Where the log is, and its size.
    pub(super) log: (u64, u64),
}

impl Headers {
    pub(super) fn read(file: &dyn ReadAt) -> Result<Self> {
        ensure(file.bytes() >= MIB, "header section", || "is cut off".into())?;
        let mut magic = [0; 8];
        file.read_exact_at(0, &mut magic)?;
        ensure(magic == *FILE_MAGIC, "signature", || "is not that of VHDX".into())?;
        let mut best: Option<Self> = None;
        for at in HEADERS_AT {
            let mut head = vec![0; HEADER_BYTES];
            file.read_exact_at(at, &mut head)?;
            if head[..4] != *HEADER_MAGIC || le32(&head, 4) != checksum(&head) {
                continue;
            }
            let sequence = le64(&head, 8);
            if best.is_some_and(|best| best.sequence >= sequence) {
                continue;
            }
            if le16(&head, 66) != 1 || le16(&head, 64) != 0 {
                let (version, log) = (le16(&head, 66), le16(&head, 64));
                return Err(unsupported(format!("version {version} with log version {log}")));
            }
            best = Some(Self {
                sequence,
                data_write: Guid(field(&head, 32)),
                log_guid: Guid(field(&head, 48)),
                log: (le64(&head, 72), u64::from(le32(&head, 68))),
            });
        }
        let best = best.ok_or_else(|| damaged("headers", "have no right checksum, neither"))?;
        let (at, bytes) = best.log;
        let good = at.is_multiple_of(MIB) && bytes.is_multiple_of(MIB) && at >= MIB;
        ensure(good || bytes == 0, "log", || format!("at {at} of {bytes} bytes is not aligned"))?;
        Ok(best)
    }
}

/// An entry of the region table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Region {
    pub(super) id: Guid,
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// The regions of the first table that is whole.
pub(super) fn regions(file: &dyn ReadAt) -> Result<Vec<Region>> {
    let mut table = vec![0; REGIONS_BYTES];
    let mut sound = false;
    for at in REGIONS_AT {
        file.read_exact_at(at, &mut table)?;
        sound = table[..4] == *REGION_MAGIC && le32(&table, 4) == checksum(&table);
        if sound {
            break;
        }
    }
    ensure(sound, "region tables", || "have no right checksum, neither".into())?;
    let count = le32(&table, 8) as usize;
    ensure(count <= REGIONS_MAX, "region table", || format!("has {count} entries"))?;
    let mut regions = Vec::new();
    for entry in table[16..].chunks_exact(32).take(count) {
        let region = Region {
            id: Guid(field(entry, 0)),
            at: le64(entry, 16),
            bytes: u64::from(le32(entry, 24)),
        };
        let known = [BAT_REGION, METADATA_REGION].contains(&region.id);
        if !known && le32(entry, 28) & 1 == 1 {
            return Err(unsupported(format!("the region {}", region.id)));
        }
        let inside = region.at.checked_add(region.bytes).is_some_and(|end| end <= file.bytes());
        let aligned = region.at.is_multiple_of(MIB) && region.bytes.is_multiple_of(MIB);
        ensure(inside && aligned && region.at >= MIB, "region table", || {
            format!("has a region at {} of {} bytes", region.at, region.bytes)
        })?;
        regions.push(region);
    }
    Ok(regions)
}
