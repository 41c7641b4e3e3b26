//! Writing a dynamic VHDX image.

use super::header::{
    BAT_REGION, FILE_MAGIC, HEADER_BYTES, HEADER_MAGIC, HEADERS_AT, METADATA_REGION, REGION_MAGIC,
    REGIONS_AT, REGIONS_BYTES, checksum,
};
use super::metadata::{
    BYTES_MAX, DISK_ID, DISK_SIZE, FILE_PARAMETERS, LOGICAL_SECTOR, MAGIC, PHYSICAL_SECTOR,
};
use super::{Guid, MIB, SECTORS_PER_BITMAP, state};
use crate::error::{Result, request};
use crate::sink::{Piece, Sink, Target};
use crate::storage::WriteAt;

const SECTOR: u32 = 512;

/// Blocks are small, so that little is stored that is zero; but a table has bounds too.
const BLOCK: u64 = 2 << 20;
const BLOCK_LARGE: u64 = 32 << 20;
const LARGE: u64 = 4 << 40;

/// Where the parts are: header section, log, metadata, table of blocks.
const LOG_AT: u64 = MIB;
const METADATA_AT: u64 = 2 * MIB;
const TABLE_AT: u64 = 3 * MIB;

/// Where items begin behind the table of metadata.
const ITEMS_AT: u32 = 64 << 10;

/// Bits of the entries of metadata.
const IS_DISK: u32 = 1 << 1;
const REQUIRED: u32 = 1 << 2;

#[derive(Debug)]
pub(crate) struct VhdxSink {
    bytes: u64,
    block: u64,
    unique: [u8; 16],
    table: Vec<u64>,
    end: u64,
}

pub(crate) fn sink(target: &Target, bytes: u64) -> Result<VhdxSink> {
    target.only(&["dynamic"])?;
    if !bytes.is_multiple_of(512) || bytes == 0 || bytes > BYTES_MAX {
        let what = "vhdx takes multiples of 512 up to 64 TiB";
        return Err(request(format!("{bytes} bytes large: {what}")));
    }
    let block = if bytes > LARGE { BLOCK_LARGE } else { BLOCK };
    let (count, ratio) = (bytes.div_ceil(block), SECTORS_PER_BITMAP * u64::from(SECTOR) / block);
    // At most two million, and some.
    let entries = (count + (count - 1) / ratio) as usize;
    let end = TABLE_AT + (entries as u64 * 8).next_multiple_of(MIB);
    let table = vec![state::NOT_PRESENT; entries];
    Ok(VhdxSink { bytes, block, unique: target.unique, table, end })
}

/// Puts bytes into a structure, and its checksum in.
fn sealed(size: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; size];
    for (at, part) in parts {
        bytes[*at..*at + part.len()].copy_from_slice(part);
    }
    let sum = checksum(&bytes);
    bytes[4..8].copy_from_slice(&sum.to_le_bytes());
    bytes
}

impl VhdxSink {
    /// A GUID that no other image has, one for each purpose.
    fn guid(&self, purpose: u8) -> [u8; 16] {
        let mut id = self.unique;
        id[15] ^= purpose;
        // Version 4, the usual variant.
        id[7] = id[7] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        id
    }

    fn header(&self, sequence: u64) -> Vec<u8> {
        sealed(
            HEADER_BYTES,
            &[
                (0, HEADER_MAGIC),
                (8, &sequence.to_le_bytes()),
                (16, &self.guid(1)),
                (32, &self.guid(2)),
                (66, &1u16.to_le_bytes()),
                (68, &(MIB as u32).to_le_bytes()),
                (72, &LOG_AT.to_le_bytes()),
            ],
        )
    }

    fn regions(&self) -> Vec<u8> {
        // The table has at most 17 MiB.
        let table_bytes = (self.table.len() * 8).next_multiple_of(MIB as usize) as u32;
        let region = |id: Guid, at: u64, bytes: u32| {
            let mut entry = id.0.to_vec();
            entry.extend_from_slice(&at.to_le_bytes());
            entry.extend_from_slice(&bytes.to_le_bytes());
            entry.extend_from_slice(&1u32.to_le_bytes());
            entry
        };
        let entries = [
            region(BAT_REGION, TABLE_AT, table_bytes),
            region(METADATA_REGION, METADATA_AT, MIB as u32),
        ];
        let count = 2u32.to_le_bytes();
        sealed(REGIONS_BYTES, &[(0, REGION_MAGIC), (8, &count), (16, &entries.concat())])
    }

    fn metadata(&self) -> Vec<u8> {
        let mut parameters = (self.block as u32).to_le_bytes().to_vec();
        parameters.extend_from_slice(&[0; 4]);
        let (size, id) = (self.bytes.to_le_bytes(), self.guid(3));
        let sector = SECTOR.to_le_bytes();
        let items: [(Guid, &[u8], u32); 5] = [
            (FILE_PARAMETERS, &parameters, REQUIRED),
            (DISK_SIZE, &size, IS_DISK | REQUIRED),
            (DISK_ID, &id, IS_DISK | REQUIRED),
            (LOGICAL_SECTOR, &sector, IS_DISK | REQUIRED),
            (PHYSICAL_SECTOR, &sector, IS_DISK | REQUIRED),
        ];
        let mut table = MAGIC.to_vec();
        table.extend_from_slice(&[0; 2]);
        table.extend_from_slice(&(items.len() as u16).to_le_bytes());
        table.resize(32, 0);
        let mut body = Vec::new();
        for (id, bytes, flags) in items {
            table.extend_from_slice(&id.0);
            table.extend_from_slice(&(ITEMS_AT + body.len() as u32).to_le_bytes());
            table.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
            table.extend_from_slice(&flags.to_le_bytes());
            table.extend_from_slice(&[0; 4]);
            body.extend_from_slice(bytes);
        }
        table.resize(ITEMS_AT as usize, 0);
        table.extend_from_slice(&body);
        table
    }
}

impl Sink for VhdxSink {
    fn unit(&self) -> u64 {
        self.block
    }

    fn begin(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        Ok(out.set_bytes(self.end)?)
    }

    fn put(&mut self, out: &mut dyn WriteAt, piece: &Piece<'_>) -> Result<()> {
        out.write_all_at(self.end, piece.bytes)?;
        let ratio = SECTORS_PER_BITMAP * u64::from(SECTOR) / self.block;
        let first = piece.at / self.block;
        for no in first..first + piece.bytes.len() as u64 / self.block {
            // Within the table.
            self.table[(no + no / ratio) as usize] = self.end | state::FULLY_PRESENT;
            self.end += self.block;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        let table: Vec<u8> = self.table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        out.write_all_at(TABLE_AT, &table)?;
        out.write_all_at(METADATA_AT, &self.metadata())?;
        for at in REGIONS_AT {
            out.write_all_at(at, &self.regions())?;
        }
        for (at, sequence) in HEADERS_AT.into_iter().zip(1..) {
            out.write_all_at(at, &self.header(sequence))?;
        }
        let mut head = FILE_MAGIC.to_vec();
        head.extend("Omnivisor".encode_utf16().flat_map(u16::to_le_bytes));
        Ok(out.write_all_at(0, &head)?)
    }
}
