//! A disk: an image with those that it is made above.

use crate::error::{FormatError, ImageError, Result, damaged};
use crate::layer::{Backing, Check, Content, Extent, Format, Info, Layer};
use crate::probe::probe;
use crate::raw::Raw;
use crate::storage::{Files, Opened, ReadAt};
use crate::{qcow2, vdi, vhd, vhdx, vmdk};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Images above each other. Longer chains are a mistake, or meant to hurt.
pub const LAYERS_MAX: usize = 64;

/// An image with those below it, open for reading.
#[derive(Debug)]
pub struct Chain {
    links: Vec<Link>,
}

/// One image of a chain.
#[derive(Debug)]
struct Link {
    name: PathBuf,
    info: Info,
    layer: Box<dyn Layer>,
}

impl Link {
    fn fail(&self, error: FormatError) -> ImageError {
        ImageError { name: self.name.clone(), format: self.info.format, error }
    }
}

impl Chain {
    /// Opens an image by the name that the user gave, and all those below it. Its format is told by
    /// its content unless it is given.
    ///
    /// # Errors
    /// Where one of them is damaged, needs what is not supported, or names a file that is not
    /// given.
    pub fn open(name: &str, format: Option<Format>, files: &dyn Files) -> Result<Self, ImageError> {
        Self::open_links(name, format, files, true)
    }

    /// Opens an image without those below it: where it has nothing, there are zeros.
    ///
    /// # Errors
    /// As for the whole chain.
    pub fn open_top(
        name: &str,
        format: Option<Format>,
        files: &dyn Files,
    ) -> Result<Self, ImageError> {
        Self::open_links(name, format, files, false)
    }

    fn open_links(
        name: &str,
        format: Option<Format>,
        files: &dyn Files,
        whole: bool,
    ) -> Result<Self, ImageError> {
        let fail = |format, name: &Path, error| ImageError { name: name.into(), format, error };
        let opened = files.open(None, name).map_err(|why| {
            let error = FormatError::Io(std::io::Error::other(why));
            fail(format.unwrap_or(Format::Raw), Path::new(name), error)
        })?;
        let mut links: Vec<Link> = Vec::new();
        let mut next = Some((opened, format, None));
        while let Some((Opened { name, file }, format, mark)) = next.take() {
            let format = match format {
                Some(format) => format,
                None => probe(&*file)
                    .map_err(|error| fail(Format::Raw, &name, error))?
                    .unwrap_or(Format::Raw),
            };
            let failed = |error| fail(format, &name, error);
            let (layer, info) = open_one(format, file, &name, files).map_err(failed)?;
            check_mark(mark, &info).map_err(failed)?;
            if let Some(backing) = info.backing.as_ref().filter(|_| whole) {
                let below = below(backing, &name, files).map_err(failed)?;
                let seen = links.iter().any(|link| link.name == below.name) || name == below.name;
                if seen || links.len() + 1 >= LAYERS_MAX {
                    let why = if seen { "a loop" } else { "a chain that is too long" };
                    let why = format!("leads to {} again, or on: {why}", below.name.display());
                    return Err(failed(damaged("backing file", why)));
                }
                next = Some((below, backing.format, backing.identity.clone()));
            }
            links.push(Link { name, info, layer });
        }
        Ok(Self { links })
    }

    /// The size of the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.links[0].info.bytes
    }

    /// The images, from the top down: their files, and what they say of themselves.
    pub fn images(&self) -> impl Iterator<Item = (&Path, &Info)> {
        self.links.iter().map(|link| (&*link.name, &link.info))
    }

    /// Every file that the disk is read from, the image itself first.
    pub fn file_names(&self) -> impl Iterator<Item = &Path> {
        self.links
            .iter()
            .flat_map(|link| std::iter::once(&link.name).chain(&link.info.files))
            .map(|name| &**name)
    }

    /// What begins at an offset within the disk: zeros, or data of some image.
    ///
    /// # Errors
    /// Where an image is damaged, and what the host says.
    pub fn extent(&self, at: u64) -> Result<Extent, ImageError> {
        let (link, bytes) = self.find(at, self.bytes().saturating_sub(at))?;
        let content = if link.is_some() { Content::Data } else { Content::Zero };
        Ok(Extent { content, bytes })
    }

    /// Reads bytes at an offset; beyond the end they are zero.
    ///
    /// # Errors
    /// Where an image is damaged, and what the host says.
    pub fn read_at(&self, at: u64, into: &mut [u8]) -> Result<(), ImageError> {
        let within = usize::try_from(self.bytes().saturating_sub(at)).unwrap_or(usize::MAX);
        let within = within.min(into.len());
        let (mut rest, beyond) = into.split_at_mut(within);
        beyond.fill(0);
        let mut at = at;
        while !rest.is_empty() {
            let (link, bytes) = self.find(at, rest.len() as u64)?;
            // No more than what is asked for.
            let (piece, after) = rest.split_at_mut(bytes as usize);
            match link {
                Some(link) => link.layer.read(at, piece).map_err(|error| link.fail(error))?,
                None => piece.fill(0),
            }
            at += bytes;
            rest = after;
        }
        Ok(())
    }

    /// Looks at all tables of the image itself, not of those below.
    ///
    /// # Errors
    /// Where the check cannot go on; what it finds is no error.
    pub fn check(&self) -> Result<Check, ImageError> {
        let top = &self.links[0];
        top.layer.check().map_err(|error| top.fail(error))
    }

    /// The image that has the data at an offset, and for how many of `most` bytes that is so.
    fn find(&self, at: u64, most: u64) -> Result<(Option<&Link>, u64), ImageError> {
        let mut bytes = most;
        for link in &self.links {
            let Some(rest) = link.info.bytes.checked_sub(at).filter(|&rest| rest > 0) else {
                // A shorter image below: beyond its end there are zeros.
                return Ok((None, bytes));
            };
            let extent = link.layer.extent(at).map_err(|error| link.fail(error))?;
            bytes = bytes.min(extent.bytes).min(rest).max(1);
            match extent.content {
                Content::Data => return Ok((Some(link), bytes)),
                Content::Zero => return Ok((None, bytes)),
                Content::Below => {}
            }
        }
        Ok((None, bytes))
    }
}

/// Opens the image below, by the first of its names that leads to a file.
fn below(backing: &Backing, from: &Path, files: &dyn Files) -> Result<Opened> {
    let mut first = None;
    for name in &backing.names {
        match files.open(Some(from), name) {
            Ok(opened) => return Ok(opened),
            Err(why) => {
                first.get_or_insert((name.clone(), why));
            }
        }
    }
    let nothing = || (String::new(), "is no name: the image says of no file below it".into());
    let (name, why) = first.unwrap_or_else(nothing);
    Err(FormatError::Reference { name, why })
}

/// An image above another one knows it by a mark, which changes when that is written.
fn check_mark(wanted: Option<String>, info: &Info) -> Result<()> {
    match (wanted, &info.identity) {
        (Some(wanted), Some(own)) if wanted != *own => {
            let why = format!("is {own}, and the image above was made over {wanted}");
            Err(damaged("identity", why))
        }
        _ => Ok(()),
    }
}

type Parts = (Box<dyn Layer>, Info);

fn open_one(
    format: Format,
    file: Arc<dyn ReadAt>,
    name: &Path,
    files: &dyn Files,
) -> Result<Parts> {
    fn boxed<L: Layer + 'static>((layer, info): (L, Info)) -> Parts {
        (Box::new(layer), info)
    }
    Ok(match format {
        Format::Raw => boxed(Raw::open(file)),
        Format::Qcow2 => boxed(qcow2::open(file, name, files)?),
        Format::Vmdk => boxed(vmdk::open(file, name, files)?),
        Format::Vdi => boxed(vdi::open(file)?),
        Format::Vhd => boxed(vhd::open(file)?),
        Format::Vhdx => boxed(vhdx::open(file)?),
    })
}
