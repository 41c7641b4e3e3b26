//! Writing a VMDK image: sparse in one file, or stream-optimized.

use super::MAGIC;
use super::sparse::{AT_END, flag};
use crate::compress::zlib;
use crate::error::{Result, request};
use crate::sink::{Piece, Sink, Target};
use crate::storage::WriteAt;

const SECTOR: u64 = 512;

/// Grains, as all programs make them.
const GRAIN: u64 = 64 << 10;
const PER_TABLE: u64 = 512;
const TABLE_BYTES: u64 = 4 * PER_TABLE;

/// Where the descriptor is, and how much room it has.
const DESCRIPTOR_AT: u64 = SECTOR;
const DESCRIPTOR_BYTES: u64 = 20 * SECTOR;

/// What the format allows: places are numbers of sectors of 32 bits.
const BYTES_MAX: u64 = 2 << 40;

/// The sorts of markers in a stream.
const MARKER_TABLE: u32 = 1;
const MARKER_DIRECTORY: u32 = 2;
const MARKER_FOOTER: u32 = 3;

/// The table of grains that is being filled.
#[derive(Debug)]
struct Open {
    no: u64,
    entries: Vec<u8>,
}

impl Open {
    fn set(&mut self, grain: u64, sector: u64) -> Result<()> {
        let sector =
            u32::try_from(sector).map_err(|_| request("so large: a file of over 2 TiB"))?;
        // Within the table.
        let at = (grain % PER_TABLE * 4) as usize;
        self.entries[at..at + 4].copy_from_slice(&sector.to_le_bytes());
        Ok(())
    }
}

fn fresh(no: u64) -> Open {
    Open { no, entries: vec![0; TABLE_BYTES as usize] }
}

/// What both sorts have.
#[derive(Debug)]
struct Shape {
    bytes: u64,
    tables: u64,
    descriptor: String,
}

pub(crate) fn sink(target: &Target, bytes: u64) -> Result<Box<dyn Sink>> {
    let sort = target.only(&["monolithicSparse", "streamOptimized"])?;
    if !bytes.is_multiple_of(SECTOR) || bytes > BYTES_MAX {
        let what = "vmdk takes multiples of 512 up to 2 TiB";
        return Err(request(format!("{bytes} bytes large: {what}")));
    }
    let descriptor = descriptor(target, bytes, sort)?;
    let shape = Shape { bytes, tables: bytes.div_ceil(GRAIN * PER_TABLE), descriptor };
    if sort == "monolithicSparse" {
        return Ok(Box::new(SparseSink::new(shape)));
    }
    let end = (DESCRIPTOR_AT + DESCRIPTOR_BYTES).next_multiple_of(GRAIN);
    Ok(Box::new(StreamSink { shape, directory: Vec::new(), open: None, end }))
}

fn descriptor(target: &Target, bytes: u64, sort: &str) -> Result<String> {
    let sectors = bytes / SECTOR;
    // What would end the name in the text is not written into it.
    let odd = |c: char| c.is_control() || c == '"';
    let name: String = target.file_name.chars().map(|c| if odd(c) { '_' } else { c }).collect();
    let mark = u32::from_le_bytes(target.unique[..4].try_into().expect("four bytes"));
    // The marks of "no parent" and of "unknown" mean something else.
    let mark = mark.clamp(1, u32::MAX - 2);
    let cylinders = (sectors / (16 * 63)).clamp(1, 16383);
    let text = format!(
        "# Disk DescriptorFile\nversion=1\nCID={mark:08x}\nparentCID=ffffffff\n\
         createType=\"{sort}\"\n\n# Extent description\nRW {sectors} SPARSE \"{name}\"\n\n\
         # The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"4\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\nddb.geometry.heads = \"16\"\n\
         ddb.geometry.sectors = \"63\"\nddb.adapterType = \"ide\"\n"
    );
    if text.len() as u64 > DESCRIPTOR_BYTES {
        return Err(request("written under a name of that length"));
    }
    Ok(text)
}

/// The header; what differs between the sorts is given.
fn header(shape: &Shape, version: u32, flags: u32, places: [u64; 3]) -> [u8; SECTOR as usize] {
    let mut head = [0; SECTOR as usize];
    let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, MAGIC);
    put(4, &version.to_le_bytes());
    put(8, &flags.to_le_bytes());
    put(12, &(shape.bytes / SECTOR).to_le_bytes());
    put(20, &(GRAIN / SECTOR).to_le_bytes());
    put(28, &(DESCRIPTOR_AT / SECTOR).to_le_bytes());
    put(36, &(DESCRIPTOR_BYTES / SECTOR).to_le_bytes());
    put(44, &(PER_TABLE as u32).to_le_bytes());
    let [redundant, directory, overhead] = places;
    put(48, &redundant.to_le_bytes());
    put(56, &directory.to_le_bytes());
    put(64, &overhead.to_le_bytes());
    put(73, b"\n \r\n");
    put(77, &u16::from(flags & flag::COMPRESSED != 0).to_le_bytes());
    head
}

/// Writes `monolithicSparse`: two copies of the tables, then grains.
#[derive(Debug)]
struct SparseSink {
    shape: Shape,
    open: Option<Open>,
    end: u64,
}

impl SparseSink {
    fn new(shape: Shape) -> Self {
        let mut sink = Self { shape, open: None, end: 0 };
        sink.end = sink.tables(2).next_multiple_of(GRAIN);
        sink
    }

    /// Where a directory begins; its tables follow. The third is the end of both.
    fn tables(&self, copy: u64) -> u64 {
        let directory = (4 * self.shape.tables).next_multiple_of(SECTOR);
        let start = DESCRIPTOR_AT + DESCRIPTOR_BYTES;
        start + copy * (directory + self.shape.tables * TABLE_BYTES)
    }

    fn table(&self, copy: u64, no: u64) -> u64 {
        let directory = (4 * self.shape.tables).next_multiple_of(SECTOR);
        self.tables(copy) + directory + no * TABLE_BYTES
    }

    fn flush(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        if let Some(open) = self.open.take() {
            out.write_all_at(self.table(0, open.no), &open.entries)?;
            out.write_all_at(self.table(1, open.no), &open.entries)?;
        }
        Ok(())
    }
}

impl Sink for SparseSink {
    fn unit(&self) -> u64 {
        GRAIN
    }

    fn begin(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        out.set_bytes(self.end)?;
        for copy in 0..2 {
            let places = (0..self.shape.tables).map(|no| self.table(copy, no) / SECTOR);
            // The tables of 2 TiB end before 300 MiB.
            let directory: Vec<u8> =
                places.flat_map(|sector| (sector as u32).to_le_bytes()).collect();
            out.write_all_at(self.tables(copy), &directory)?;
        }
        Ok(())
    }

    fn put(&mut self, out: &mut dyn WriteAt, piece: &Piece<'_>) -> Result<()> {
        out.write_all_at(self.end, piece.bytes)?;
        let first = piece.at / GRAIN;
        for grain in first..first + piece.bytes.len() as u64 / GRAIN {
            let no = grain / PER_TABLE;
            if self.open.as_ref().is_none_or(|open| open.no != no) {
                self.flush(out)?;
            }
            self.open.get_or_insert_with(|| fresh(no)).set(grain, self.end / SECTOR)?;
            self.end += GRAIN;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        self.flush(out)?;
        out.write_all_at(DESCRIPTOR_AT, self.shape.descriptor.as_bytes())?;
        let overhead = self.tables(2).next_multiple_of(GRAIN);
        let places = [self.tables(0), self.tables(1), overhead].map(|at| at / SECTOR);
        let flags = flag::NEWLINES | flag::REDUNDANT;
        Ok(out.write_all_at(0, &header(&self.shape, 1, flags, places))?)
    }
}

/// Writes `streamOptimized`: compressed grains with tables between them, and a footer.
#[derive(Debug)]
struct StreamSink {
    shape: Shape,
    /// Sectors of the tables so far.
    directory: Vec<u32>,
    open: Option<Open>,
    end: u64,
}

impl StreamSink {
    fn marker(&mut self, out: &mut dyn WriteAt, sort: u32, body: &[u8]) -> Result<u64> {
        let mut marker = [0; SECTOR as usize];
        let sectors = (body.len() as u64).div_ceil(SECTOR);
        marker[..8].copy_from_slice(&sectors.to_le_bytes());
        marker[12..16].copy_from_slice(&sort.to_le_bytes());
        let at = self.end + SECTOR;
        out.write_all_at(self.end, &marker)?;
        out.write_all_at(at, body)?;
        self.end = at + sectors * SECTOR;
        Ok(at / SECTOR)
    }

    fn flush(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        if let Some(open) = self.open.take() {
            let sector = self.marker(out, MARKER_TABLE, &open.entries)?;
            // At most 65,536 tables.
            self.directory.resize(open.no as usize, 0);
            let wrong = |_| request("so large: a file of over 2 TiB");
            self.directory.push(u32::try_from(sector).map_err(wrong)?);
        }
        Ok(())
    }
}

impl Sink for StreamSink {
    fn unit(&self) -> u64 {
        GRAIN
    }

    fn begin(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        Ok(out.set_bytes(self.end)?)
    }

    fn put(&mut self, out: &mut dyn WriteAt, piece: &Piece<'_>) -> Result<()> {
        let grains: Vec<_> = piece.bytes.chunks(GRAIN as usize).collect();
        let packed = piece.workers.map(&grains, &|grain| zlib(grain));
        for (grain, packed) in (piece.at / GRAIN..).zip(packed) {
            let no = grain / PER_TABLE;
            if self.open.as_ref().is_none_or(|open| open.no != no) {
                self.flush(out)?;
            }
            let open = self.open.get_or_insert_with(|| fresh(no));
            open.set(grain, self.end / SECTOR)?;
            let mut record = (grain * (GRAIN / SECTOR)).to_le_bytes().to_vec();
            // Little more than a grain.
            record.extend_from_slice(&(packed.len() as u32).to_le_bytes());
            record.extend_from_slice(&packed);
            record.resize(record.len().next_multiple_of(SECTOR as usize), 0);
            out.write_all_at(self.end, &record)?;
            self.end += record.len() as u64;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn WriteAt) -> Result<()> {
        self.flush(out)?;
        // At most 65,536 tables.
        self.directory.resize(self.shape.tables as usize, 0);
        let mut directory: Vec<u8> =
            self.directory.iter().flat_map(|sector| sector.to_le_bytes()).collect();
        directory.resize(directory.len().next_multiple_of(SECTOR as usize), 0);
        let directory = self.marker(out, MARKER_DIRECTORY, &directory)?;
        let flags = flag::NEWLINES | flag::COMPRESSED | flag::MARKERS;
        let overhead = (DESCRIPTOR_AT + DESCRIPTOR_BYTES).next_multiple_of(GRAIN) / SECTOR;
        let footer = header(&self.shape, 3, flags, [0, directory, overhead]);
        self.marker(out, MARKER_FOOTER, &footer)?;
        // The end of the stream: a sector of zeros.
        out.write_all_at(self.end, &[0; SECTOR as usize])?;
        out.write_all_at(DESCRIPTOR_AT, self.shape.descriptor.as_bytes())?;
        Ok(out.write_all_at(0, &header(&self.shape, 3, flags, [0, AT_END, overhead]))?)
    }
}
