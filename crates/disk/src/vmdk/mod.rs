//! `VMware`'s format: flat, sparse and stream-optimized images, in one file or many.

mod descriptor;
mod sparse;
mod write;

pub(crate) use write::sink;

use crate::claims::Claims;
use crate::error::{FormatError, Result, damaged, ensure, unsupported};
use crate::layer::{Backing, Check, Content, Extent, Format, Info, Layer};
use crate::storage::{Files, ReadAt, read_data};
use descriptor::{Descriptor, Sort};
use sparse::Sparse;
use std::path::Path;
use std::sync::Arc;

/// The magic of sparse extents, and that of another format of the same maker.
const MAGIC: &[u8; 4] = b"KDMV";
const MAGIC_VMFS: &[u8; 4] = b"COWD";

/// The largest descriptor: a thousand extents have a hundred kilobytes.
const DESCRIPTOR_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug)]
pub(crate) struct Vmdk {
    /// In the order of the disk, without gaps.
    parts: Vec<Part>,
}

/// A part of the disk.
#[derive(Debug)]
struct Part {
    start: u64,
    bytes: u64,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Zero,
    Flat { file: Arc<dyn ReadAt>, offset: u64 },
    Sparse(Box<Sparse>),
}

pub(crate) fn open(file: Arc<dyn ReadAt>, name: &Path, files: &dyn Files) -> Result<(Vmdk, Info)> {
    let mut magic = [0; 4];
    ensure(file.bytes() >= 4, "header", || "is cut off".into())?;
    file.read_exact_at(0, &mut magic)?;
    if magic == *MAGIC_VMFS {
        return Err(unsupported("the vmfsSparse variant"));
    }
    if magic != *MAGIC {
        return of_text(&*file, name, files);
    }
    let sparse = Sparse::open(file.clone())?;
    let text = match sparse.descriptor {
        Some((at, bytes)) => Descriptor::parse_within(&read_text(&*file, at, bytes)?)?,
        None => Descriptor::default(),
    };
    let mut info = info(&text, sparse.bytes, if text.sort.is_empty() { "extent" } else { "" });
    info.cluster_bytes = Some(sparse.grain);
    info.compression = sparse.compressed.then_some(crate::Compression::Zlib);
    info.notes.extend(sparse.unclean.then(|| "was not closed".to_owned()));
    let (bytes, body) = (sparse.bytes, Body::Sparse(Box::new(sparse)));
    Ok((Vmdk { parts: vec![Part { start: 0, bytes, body }] }, info))
}

fn read_text(file: &dyn ReadAt, at: u64, bytes: u64) -> Result<String> {
    let inside = at.checked_add(bytes).is_some_and(|end| end <= file.bytes());
    ensure(inside && bytes <= DESCRIPTOR_BYTES_MAX, "descriptor", || {
        format!("at {at} of {bytes} bytes is not within the file, or too long")
    })?;
    let mut text = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(at, &mut text)?;
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    Ok(String::from_utf8_lossy(&text[..end]).into_owned())
}

fn info(text: &Descriptor, bytes: u64, otherwise: &str) -> Info {
    let sort = if text.sort.is_empty() { otherwise } else { &text.sort };
    let mut info = Info::new(Format::Vmdk, sort, bytes);
    info.identity.clone_from(&text.identity);
    info.backing = text.parent_identity.clone().map(|mark| Backing {
        names: text.parent.iter().cloned().collect(),
        format: Some(Format::Vmdk),
        identity: Some(mark),
    });
    info
}

/// Opens an image whose descriptor is a text of its own.
fn of_text(file: &dyn ReadAt, name: &Path, files: &dyn Files) -> Result<(Vmdk, Info)> {
    let text = Descriptor::parse(&read_text(file, 0, file.bytes().min(DESCRIPTOR_BYTES_MAX))?)?;
    ensure(!text.extents.is_empty(), "descriptor", || "names no extents".into())?;
    let (mut parts, mut start, mut names) = (Vec::new(), 0u64, Vec::new());
    let mut grain = None;
    for extent in &text.extents {
        let bytes = extent.sectors.checked_mul(512).filter(|&bytes| bytes < 1 << 62);
        let bytes = bytes.filter(|bytes| start + bytes < 1 << 62);
        let bytes =
            bytes.ok_or_else(|| damaged("extent", format!("has {} sectors", extent.sectors)))?;
        let open = || {
            let name = name.to_path_buf();
            let opened = files.open(Some(&name), &extent.file);
            opened.map_err(|why| FormatError::Reference { name: extent.file.clone(), why })
        };
        let body = match extent.sort {
            Sort::Zero => Body::Zero,
            Sort::Flat => {
                let opened = open()?;
                names.push(opened.name);
                let offset = extent.offset.saturating_mul(512);
                let end = offset.saturating_add(bytes);
                ensure(end <= opened.file.bytes(), "extent", || {
                    format!("'{}' is shorter than the descriptor says", extent.file)
                })?;
                Body::Flat { file: opened.file, offset }
            }
            Sort::Sparse => {
                let opened = open()?;
                names.push(opened.name);
                let sparse = Sparse::open(opened.file)?;
                ensure(sparse.bytes >= bytes, "capacity", || {
                    format!("of '{}' is less than the descriptor says", extent.file)
                })?;
                grain = Some(sparse.grain);
                Body::Sparse(Box::new(sparse))
            }
        };
        parts.push(Part { start, bytes, body });
        start += bytes;
    }
    let mut info = info(&text, start, "");
    info.files = names;
    info.cluster_bytes = grain;
    Ok((Vmdk { parts }, info))
}

impl Vmdk {
    /// The part that an offset within the disk lies in.
    fn part(&self, at: u64) -> &Part {
        let no = self.parts.partition_point(|part| part.start + part.bytes <= at);
        &self.parts[no.min(self.parts.len() - 1)]
    }
}

impl Layer for Vmdk {
    fn extent(&self, at: u64) -> Result<Extent> {
        let part = self.part(at);
        let rest = part.start + part.bytes - at;
        let mut extent = match &part.body {
            Body::Zero => Extent { content: Content::Zero, bytes: rest },
            Body::Flat { file, offset } => {
                let (data, bytes) = file.run_at(offset + at - part.start)?;
                Extent { content: if data { Content::Data } else { Content::Zero }, bytes }
            }
            Body::Sparse(sparse) => sparse.extent(at - part.start)?,
        };
        extent.bytes = extent.bytes.min(rest);
        Ok(extent)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> Result<()> {
        // An extent is within a part.
        let part = self.part(at);
        match &part.body {
            Body::Zero => into.fill(0),
            Body::Flat { file, offset } => {
                read_data(&**file, offset + at - part.start, into, "extent")?;
            }
            Body::Sparse(sparse) => sparse.read(at - part.start, into)?,
        }
        Ok(())
    }

    fn check(&self) -> Result<Check> {
        let mut check = Check::default();
        for part in &self.parts {
            if let Body::Sparse(sparse) = &part.body {
                sparse.check(&mut Claims::default(), &mut check)?;
            }
        }
        Ok(check)
    }
}
