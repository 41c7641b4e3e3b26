//! Writing an image: the contract of formats, and the copy of a disk into one.

use crate::chain::Chain;
use crate::compress::Compression;
use crate::error::{FormatError, ImageError, Result, request};
use crate::layer::{Content, Format};
use crate::storage::{Workers, WriteAt, is_zero};
use crate::{qcow2, raw, vdi, vhd, vhdx, vmdk};
use std::fmt::Debug;
use std::path::Path;

/// What is copied at a time, at least: large enough for the host, small enough for caches.
const CHUNK_BYTES: u64 = 4 << 20;

/// The largest disk of all formats here, below what signed offsets can say.
pub const DISK_BYTES_MAX: u64 = 1 << 62;

/// What sort of image is to be made.
#[derive(Clone, Debug)]
pub struct Target {
    /// The format.
    pub format: Format,
    /// The sort within the format; its usual one where there is none.
    pub subformat: Option<String>,
    /// Whether and how clusters are compressed, where the format can.
    pub compression: Option<Compression>,
    /// The image below, by the name that is written, and its format.
    pub backing: Option<(String, Format)>,
    /// A number that no other image has.
    pub unique: [u8; 16],
    /// Now, in seconds since 1970.
    pub seconds: u64,
    /// The name of the file, for formats that have it inside.
    pub file_name: String,
}

/// A stretch of whole units that are not all zero, in the order of the disk. What lies beyond the
/// end of the disk is zero.
pub(crate) struct Piece<'a> {
    pub(crate) at: u64,
    pub(crate) bytes: &'a [u8],
    pub(crate) workers: &'a dyn Workers,
}

/// Writes one format, in one pass.
pub(crate) trait Sink: Debug {
    /// What is left out where it is zero, in bytes.
    fn unit(&self) -> u64;
    /// Writes what comes before any data.
    fn begin(&mut self, out: &mut dyn WriteAt) -> Result<()>;
    /// Takes data of one or more units.
    fn put(&mut self, out: &mut dyn WriteAt, piece: &Piece<'_>) -> Result<()>;
    /// Writes what comes after all data.
    fn finish(&mut self, out: &mut dyn WriteAt) -> Result<()>;
}

fn sink(target: &Target, bytes: u64) -> Result<Box<dyn Sink>> {
    if bytes > DISK_BYTES_MAX {
        return Err(request(format!("{bytes} bytes large: the most is {DISK_BYTES_MAX}")));
    }
    let Target { format, .. } = *target;
    if target.compression.is_some() && format != Format::Qcow2 {
        let what = "compressed as asked: only qcow2 has a choice (vmdk has streamOptimized)";
        return Err(request(what));
    }
    if target.backing.is_some() && format != Format::Qcow2 {
        return Err(request("made above another image: only qcow2 can be made so here"));
    }
    Ok(match format {
        Format::Raw => {
            target.only(&["raw"])?;
            Box::new(raw::RawSink { bytes })
        }
        Format::Qcow2 => Box::new(qcow2::sink(target, bytes)?),
        Format::Vmdk => vmdk::sink(target, bytes)?,
        Format::Vdi => Box::new(vdi::sink(target, bytes)?),
        Format::Vhd => Box::new(vhd::sink(target, bytes)?),
        Format::Vhdx => Box::new(vhdx::sink(target, bytes)?),
    })
}

impl Target {
    /// Which of the sorts of its format is asked for: the first unless said.
    pub(crate) fn only(&self, names: &[&'static str]) -> Result<&'static str> {
        let Some(wanted) = &self.subformat else { return Ok(names[0]) };
        names.iter().find(|name| name.eq_ignore_ascii_case(wanted)).copied().ok_or_else(|| {
            let (format, names) = (self.format, names.join(", "));
            request(format!("'{wanted}': the sorts of {format} made here are {names}"))
        })
    }
}

/// Makes an image of an empty disk, or of one that is as its backing image.
///
/// # Errors
/// Where the format cannot have such a disk, and what the host says.
pub fn create(target: &Target, bytes: u64, out: &mut dyn WriteAt) -> Result<()> {
    let mut sink = sink(target, bytes)?;
    sink.begin(out)?;
    sink.finish(out)?;
    Ok(out.sync()?)
}

/// Copies a whole disk into a new image, and says on the way up to which byte it is.
///
/// # Errors
/// Where the source is damaged or the format cannot have such a disk, and what the host says.
pub fn convert(
    source: &Chain,
    target: &Target,
    out: (&Path, &mut dyn WriteAt),
    workers: &dyn Workers,
    progress: &mut dyn FnMut(u64),
) -> Result<(), ImageError> {
    let (name, out) = out;
    let fail = |error| ImageError { name: name.into(), format: target.format, error };
    let mut sink = sink(target, source.bytes()).map_err(fail)?;
    sink.begin(out).map_err(fail)?;
    let mut copy = Copy { source, sink: &mut *sink, out, workers, buffer: Vec::new() };
    copy.run(progress).map_err(|error| match error {
        Side::Source(error) => error,
        Side::Target(error) => fail(error),
    })?;
    sink.finish(out).map_err(fail)?;
    out.sync().map_err(|error| fail(error.into()))
}

enum Side {
    Source(ImageError),
    Target(FormatError),
}

struct Copy<'a> {
    source: &'a Chain,
    sink: &'a mut dyn Sink,
    out: &'a mut dyn WriteAt,
    workers: &'a dyn Workers,
    buffer: Vec<u8>,
}

impl Copy<'_> {
    fn run(&mut self, progress: &mut dyn FnMut(u64)) -> Result<(), Side> {
        let (bytes, unit) = (self.source.bytes(), self.sink.unit());
        let chunk = CHUNK_BYTES.max(unit).next_multiple_of(unit);
        let mut at = 0;
        while at < bytes {
            let extent = self.source.extent(at).map_err(Side::Source)?;
            if extent.content != Content::Data {
                let next = at.saturating_add(extent.bytes).min(bytes);
                // The unit that it ends in may have data behind it.
                let aligned = next / unit * unit;
                if next == bytes || aligned > at {
                    at = if next == bytes { bytes } else { aligned };
                    progress(at);
                    continue;
                }
            }
            let count = chunk.min(bytes - at);
            self.chunk(at, count)?;
            at += count;
            progress(at);
        }
        Ok(())
    }

    /// Copies `count` bytes: whole units, or up to the end of the disk.
    fn chunk(&mut self, at: u64, count: u64) -> Result<(), Side> {
        // A chunk is of a few megabytes.
        let (unit, count) = (self.sink.unit() as usize, count as usize);
        self.buffer.clear();
        self.buffer.resize(count.next_multiple_of(unit), 0);
        self.source.read_at(at, &mut self.buffer[..count]).map_err(Side::Source)?;
        let mut start = 0;
        while start < self.buffer.len() {
            let next = |from: usize, zero: bool| {
                let mut units = self.buffer[from..].chunks(unit);
                units.position(|piece| is_zero(piece) == zero).map(|units| from + units * unit)
            };
            let Some(first) = next(start, false) else { break };
            let end = next(first, true).unwrap_or(self.buffer.len());
            let bytes = &self.buffer[first..end];
            let piece = Piece { at: at + first as u64, bytes, workers: self.workers };
            self.sink.put(self.out, &piece).map_err(Side::Target)?;
            start = end;
        }
        Ok(())
    }
}
