//! Writing a VHD image: dynamic or fixed.

use super::{
    COOKIE, DYNAMIC, FIXED, FOOTER_BYTES, FREE, GEOMETRY_MAX, HEADER_BYTES, HEADER_COOKIE, checksum,
};
use crate::error::{Result, request};
use crate::sink::{Piece, Sink, Target};
use crate::storage::WriteAt;

/// Blocks as all programs make them.
const BLOCK: u64 = 2 << 20;

/// The bitmap before each block.
const BITMAP: u64 = 512;

const TABLE_AT: u64 = FOOTER_BYTES + HEADER_BYTES;

/// What the format allows for images with blocks: 2040 GiB.
const DYNAMIC_BYTES_MAX: u64 = 2040 << 30;

/// What a fixed image is left out in where it is zero.
const FIXED_UNIT: u64 = 4096;

/// Seconds from 1970 to 2000, from which the format counts.
const EPOCH: u64 = 946_684_800;

#[derive(Debug)]
pub(crate) struct VhdSink {
    bytes: u64,
    footer: [u8; FOOTER_BYTES as usize],
    /// The table, where the image has one.
    table: Option<Vec<u32>>,
    end: u64,
}

pub(crate) fn sink(target: &Target, bytes: u64) -> Result<VhdSink> {
    let fixed = target.only(&["dynamic", "fixed"])? == "fixed";
    if !bytes.is_multiple_of(512) || bytes == 0 {
        return Err(request(format!("{bytes} bytes large: vhd takes multiples of 512")));
    }
    if !fixed && bytes > DYNAMIC_BYTES_MAX {
        let what = "the most of a dynamic vhd is 2040 GiB; vhdx takes more";
        return Err(request(format!("{bytes} bytes large: {what}")));
    }
    let footer = footer(target, bytes, fixed);
    // At most a million entries.
    let table = (!fixed).then(|| vec![FREE; bytes.div_ceil(BLOCK) as usize]);
    let end = table.as_ref().map_or(0, |table| TABLE_AT + 4 * table.len() as u64);
    Ok(VhdSink { bytes, footer, table, end: end.next_multiple_of(512) })
}

/// Cylinders, heads and sectors, as the format's own text computes them.
fn geometry(bytes: u64) -> (u16, u8, u8) {
    let total = (bytes / 512).min(GEOMETRY_MAX);
    let (mut heads, mut sectors, mut tracks);
    if total >= 65535 * 16 * 63 {
        (heads, sectors) = (16, 255);
        tracks = total / sectors;
    } else {
        sectors = 17;
        tracks = total / sectors;
        heads = tracks.div_ceil(1024).max(4);
        if tracks >= heads * 1024 || heads > 16 {
            (heads, sectors) = (16, 31);
            tracks = total / sectors;
        }
        if tracks >= heads * 1024 {
            (heads, sectors) = (16, 63);
            tracks = total / sectors;
        }
    }
    // By the limits above.
    ((tracks / heads) as u16, heads as u8, sectors as u8)
}

fn footer(target: &Target, bytes: u64, fixed: bool) -> [u8; FOOTER_BYTES as usize] {
    let mut footer = [0; FOOTER_BYTES as usize];
    let mut put = |at: usize, bytes: &[u8]| footer[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, COOKIE);
    put(8, &2u32.to_be_bytes());
    put(12, &0x0001_0000u32.to_be_bytes());
    put(16, &if fixed { u64::MAX } else { FOOTER_BYTES }.to_be_bytes());
    let seconds = target.seconds.saturating_sub(EPOCH);
    put(24, &u32::try_from(seconds).unwrap_or(u32::MAX).to_be_bytes());
    // Readers take the exact size only from programs that they know to give it, as Windows does.
    put(28, b"win ");
    put(32, &0x000a_0000u32.to_be_bytes());
    put(36, b"Wi2k");
    put(40, &bytes.to_be_bytes());
    put(48, &bytes.to_be_bytes());
    let (cylinders, heads, sectors) = geometry(bytes);
    put(56, &cylinders.to_be_bytes());
    put(58, &[heads, sectors]);
    put(60, &if fixed { FIXED } else { DYNAMIC }.to_be_bytes());
    put(68, &target.unique);
    let sum = checksum(&footer, 64);
    footer[64..68].copy_from_slice(&sum.to_be_bytes());
    footer
}

fn header(count: u32) -> [u8; HEADER_BYTES as usize] {
    let mut head = [0; HEADER_BYTES as usize];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, HEADER_COOKIE);
    put(8, &u64::MAX.to_be_bytes());
    put(16, &TABLE_AT.to_be_bytes());
    put(24, &0x0001_0000u32.to_be_bytes());
    put(28, &count.to_be_bytes());
    put(32, &(BLOCK as u32).to_be_bytes());
    let sum = checksum(&head, 36);
    head[36..40].copy_from_slice(&sum.to_be_bytes());
    head
}

impl Sink for VhdSink {
    fn unit(&self) -> u64 {
        if self.table.is_some() { BLOCK } else { FIXED_UNIT }
    }

    fn begin(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        Ok(out.set_bytes(if self.table.is_some() { self.end } else { self.bytes })?)
    }

    fn put(&mut self, out: &mut dyn WriteAt, piece: &Piece<'_>) -> Result<()> {
        let Some(table) = &mut self.table else {
            let rest = usize::try_from(self.bytes - piece.at).unwrap_or(usize::MAX);
            let bytes = &piece.bytes[..piece.bytes.len().min(rest)];
            return Ok(out.write_all_at(piece.at, bytes)?);
        };
        let first = (piece.at / BLOCK) as usize;
        for (no, block) in (first..).zip(piece.bytes.chunks(BLOCK as usize)) {
            // Below 2040 GiB, which is below 2^32 sectors.
            table[no] = (self.end / 512) as u32;
            out.write_all_at(self.end, &[0xff; BITMAP as usize])?;
            out.write_all_at(self.end + BITMAP, block)?;
            self.end += BITMAP + BLOCK;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        let Some(table) = &self.table else {
            return Ok(out.write_all_at(self.bytes, &self.footer)?);
        };
        let mut bytes: Vec<u8> = table.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(512), 0xff);
        out.write_all_at(TABLE_AT, &bytes)?;
        // At most a million.
        out.write_all_at(FOOTER_BYTES, &header(table.len() as u32))?;
        out.write_all_at(self.end, &self.footer)?;
        Ok(out.write_all_at(0, &self.footer)?)
    }
}
