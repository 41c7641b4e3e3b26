//! `VirtualBox`'s format: dynamic and fixed images.

use crate::claims::Claims;
use crate::error::{Result, damaged, ensure, request, unsupported};
use crate::layer::{Check, Content, Extent, Format, Info, Layer};
use crate::sink::{Piece, Sink, Target};
use crate::storage::{ReadAt, WriteAt, read_data};
use crate::tables::{Tables, le32, le64};
use std::sync::Arc;

const HEADER_BYTES: usize = 512;
const SIGNATURE: u32 = 0xbeda_107f;

/// Sorts of images.
const DYNAMIC: u32 = 1;
const FIXED: u32 = 2;

/// Entries of the map: nothing is stored; nothing is stored, and it was given back.
const FREE: u32 = 0xffff_ffff;
const DISCARDED: u32 = 0xffff_fffe;

/// Entries that are looked at to find how far an extent goes.
const ENTRIES_MAX: u64 = 4096;

/// Blocks of images made here, as `VirtualBox` makes them.
const BLOCK: u64 = 1 << 20;

/// What comes before the map, and before the data, in images made here.
const MAP_AT: u64 = 512;
const ALIGNMENT: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Vdi {
    tables: Tables,
    file: Arc<dyn ReadAt>,
    map: u64,
    data: u64,
    block: u64,
    /// Bytes before the data of each block.
    extra: u64,
    count: u64,
}

pub(crate) fn open(file: Arc<dyn ReadAt>) -> Result<(Vdi, Info)> {
    ensure(file.bytes() >= HEADER_BYTES as u64, "header", || "is cut off".into())?;
    let mut head = [0; HEADER_BYTES];
    file.read_exact_at(0, &mut head)?;
    ensure(le32(&head, 0x40) == SIGNATURE, "signature", || "is not that of VDI".into())?;
    if le32(&head, 0x44) >> 16 != 1 {
        return Err(unsupported(format!("version {:#x} of the format", le32(&head, 0x44))));
    }
    let subformat = match le32(&head, 0x4c) {
        DYNAMIC => "dynamic",
        FIXED => "fixed",
        3 => return Err(unsupported("an undo image")),
        4 => {
            return Err(unsupported("a differencing image, which names its parent by a UUID only"));
        }
        other => return Err(unsupported(format!("an image of the sort {other}"))),
    };
    let (map, data) = (u64::from(le32(&head, 0x154)), u64::from(le32(&head, 0x158)));
    let (bytes, block) = (le64(&head, 0x170), u64::from(le32(&head, 0x178)));
    let (extra, count) = (u64::from(le32(&head, 0x17c)), u64::from(le32(&head, 0x180)));
    ensure(le32(&head, 0x168) == 512, "sector_size", || format!("is {}", le32(&head, 0x168)))?;
    let good = block.is_power_of_two() && (4096..=1 << 28).contains(&block);
    ensure(good, "block_size", || format!("is {block}"))?;
    ensure(extra.is_multiple_of(512) && extra <= block, "block_extra", || format!("is {extra}"))?;
    ensure(bytes.div_ceil(block) <= count, "disk_size", || {
        format!("is {bytes}, more than blocks_in_image ({count}) hold")
    })?;
    let inside = map + 4 * count <= file.bytes() && map >= HEADER_BYTES as u64;
    ensure(inside, "offset_bmap", || format!("is {map}: the map is not within the file"))?;
    ensure(data >= map + 4 * count, "offset_data", || format!("is {data}, within the map"))?;
    let mut info = Info::new(Format::Vdi, subformat, bytes);
    info.cluster_bytes = Some(block);
    let tables = Tables::new(file.clone());
    Ok((Vdi { tables, file, map, data, block, extra, count: bytes.div_ceil(block) }, info))
}

impl Vdi {
    /// Where a block is in the file.
    fn place(&self, no: u64) -> Result<Option<u64>> {
        match self.tables.le32(self.map + 4 * no, "block map")? {
            FREE | DISCARDED => Ok(None),
            // Below 2^61.
            entry => Ok(Some(self.data + u64::from(entry) * (self.block + self.extra))),
        }
    }
}

impl Layer for Vdi {
    fn extent(&self, at: u64) -> Result<Extent> {
        let mut no = at / self.block;
        let stored = self.place(no)?.is_some();
        let mut bytes = self.block - at % self.block;
        for _ in 0..ENTRIES_MAX {
            no += 1;
            if no >= self.count || self.place(no)?.is_some() != stored {
                break;
            }
            bytes += self.block;
        }
        let content = if stored { Content::Data } else { Content::Zero };
        Ok(Extent { content, bytes })
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        let (mut at, mut rest) = (at, into);
        while !rest.is_empty() {
            let start = at % self.block;
            // Within a block, which is at most 256 MiB.
            let count = rest.len().min((self.block - start) as usize);
            let (piece, after) = rest.split_at_mut(count);
            let place = self.place(at / self.block)?;
            let place = place.ok_or_else(|| damaged("block map", "has changed"))?;
            read_data(&*self.file, place + self.extra + start, piece, "block map entry")?;
            (at, rest) = (at + count as u64, after);
        }
        Ok(())
    }

    fn check(&self) -> Result<Check> {
        let (mut check, mut claims) = (Check::default(), Claims::default());
        let file = self.file.bytes();
        claims.take((0, HEADER_BYTES as u64), file, "header", &mut check)?;
        claims.take((self.map, 4 * self.count), file, "block map", &mut check)?;
        check.total = self.count;
        let stride = self.block + self.extra;
        for no in 0..self.count {
            let Some(at) = self.place(no)? else { continue };
            check.allocated += 1;
            // The last block of a file may be cut short.
            let bytes = stride.min(file.saturating_sub(at)).max(1);
            claims.take((at, bytes), file, "block", &mut check)?;
        }
        let there = file.saturating_sub(self.data) / stride;
        if there > check.allocated && check.corruptions == 0 {
            let lost = there - check.allocated;
            check.leak(lost, || format!("{lost} blocks are used by nothing"));
        }
        Ok(check)
    }
}

/// Writes a dynamic image.
#[derive(Debug)]
pub(crate) struct VdiSink {
    bytes: u64,
    unique: [u8; 16],
    map: Vec<u32>,
    data: u64,
    used: u32,
}

pub(crate) fn sink(target: &Target, bytes: u64) -> Result<VdiSink> {
    target.only(&["dynamic"])?;
    if !bytes.is_multiple_of(512) {
        return Err(request(format!("{bytes} bytes large: vdi takes multiples of 512")));
    }
    // As a map of entries of 32 bits, kept in memory: 512 MiB for the largest.
    let count = usize::try_from(bytes.div_ceil(BLOCK)).unwrap_or(usize::MAX);
    if count > 1 << 27 {
        return Err(request(format!("{bytes} bytes large: the most of vdi is 128 TiB")));
    }
    let data = (MAP_AT + 4 * count as u64).next_multiple_of(ALIGNMENT);
    Ok(VdiSink { bytes, unique: target.unique, map: vec![FREE; count], data, used: 0 })
}

impl Sink for VdiSink {
    fn unit(&self) -> u64 {
        BLOCK
    }

    fn begin(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        Ok(out.set_bytes(self.data)?)
    }

    fn put(&mut self, out: &mut dyn WriteAt, piece: &Piece<'_>) -> Result<()> {
        out.write_all_at(self.data + u64::from(self.used) * BLOCK, piece.bytes)?;
        // The number of a block is below 2^27.
        let first = (piece.at / BLOCK) as usize;
        let count = piece.bytes.len() / BLOCK as usize;
        for entry in &mut self.map[first..first + count] {
            *entry = self.used;
            self.used += 1;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        let map: Vec<u8> = self.map.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        out.write_all_at(MAP_AT, &map)?;
        let mut head = [0; HEADER_BYTES];
        let text = b"<<< Omnivisor VDI >>>\n";
        head[..text.len()].copy_from_slice(text);
        let mut word = |at: usize, value: u32| {
            head[at..at + 4].copy_from_slice(&value.to_le_bytes());
        };
        word(0x40, SIGNATURE);
        word(0x44, 0x0001_0001);
        word(0x48, 0x190);
        word(0x4c, DYNAMIC);
        word(0x154, MAP_AT as u32);
        // The map has at most 512 MiB.
        word(0x158, self.data as u32);
        word(0x168, 512);
        word(0x178, BLOCK as u32);
        word(0x180, self.map.len() as u32);
        word(0x184, self.used);
        head[0x170..0x178].copy_from_slice(&self.bytes.to_le_bytes());
        head[0x188..0x198].copy_from_slice(&self.unique);
        // The mark of a state that a snapshot would have: different from the image's.
        let mut second = self.unique;
        second[0] ^= 0xff;
        head[0x198..0x1a8].copy_from_slice(&second);
        Ok(out.write_all_at(0, &head)?)
    }
}
