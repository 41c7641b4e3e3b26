//! Snapshots as files: self-contained but for named bases. See `docs/formats/snapshot.md`.

use crate::container::{Packer, Section, Unpacker, id};
use crate::{Snapshot, SpaceImage};
use omni_base::{Digest, PAGE_SIZE, PageNo, Tick};
use omni_machine::{Effect, Spec};
use omni_memory::{Base, Image, Page, PageRef};
use omni_state::{Field, Reader, StateError, Writer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Pages in one section of pages, so that a file is read piece by piece.
const PAGES_PER_SECTION: usize = 1024;

/// Pages that all spaces of a file may have: 16 TiB. A live space costs memory by its size.
const SPACE_PAGES_MAX: u64 = 1 << 32;

/// Spaces that a file may have.
const SPACES_MAX: usize = 4096;

/// Why a snapshot file cannot be read, or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file does not begin as a snapshot does.
    #[error("this is not a snapshot")]
    NotSnapshot,
    /// The file is of a format this build does not know.
    #[error("the snapshot has format {0}, which this build does not know")]
    Version(u32),
    /// The file is shorter than it says.
    #[error("the snapshot is cut short: only {have} bytes are here")]
    Truncated {
        /// The bytes that are there.
        have: u64,
    },
    /// A digest does not fit.
    #[error("the snapshot is damaged: its {0} section does not have the digest it should")]
    Damaged(&'static str),
    /// The file is whole, but not as the format says.
    #[error("the snapshot is not sound: {0}")]
    Shape(&'static str),
    /// A section is whole, but cannot be decoded.
    #[error("the snapshot is not sound: {0}")]
    State(#[from] StateError),
    /// A space lies over an image that was not given.
    #[error("space '{space}' lies over the image with digest {digest}, which was not given")]
    NoBase {
        /// The name of the space.
        space: String,
        /// What names the image.
        digest: Digest,
    },
    /// A page or node that is kept elsewhere cannot be read.
    #[error("a page of the snapshot cannot be read: {0}")]
    Read(std::io::Error),
    /// The image below a space cannot be read, so it cannot be made part of the file.
    #[error("the image below space '{space}' cannot be read at page {}: {why}", page.0)]
    BaseRead {
        /// The name of the space.
        space: String,
        /// Where.
        page: PageNo,
        /// What the host says.
        why: std::io::Error,
    },
}

/// How a snapshot is written.
#[derive(Clone, Copy, Debug)]
pub struct WriteOptions {
    /// Compress with zstd.
    pub compress: bool,
    /// Make the content of bases part of the file, so that it needs nothing else. The digest of
    /// such a space changes, as it lies over nothing then.
    pub flatten: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { compress: true, flatten: false }
    }
}

impl Snapshot {
    /// The snapshot as a file. Each distinct page is in it once, zero pages not at all.
    ///
    /// # Errors
    /// Where a base is to be made part of the file and cannot be read.
    pub fn to_bytes(&self, options: WriteOptions) -> Result<Vec<u8>, FileError> {
        let mut pages = PageTable::default();
        let mut spaces = Writer::default();
        u32::try_from(self.spaces.len()).expect("a machine has few spaces").put(&mut spaces);
        for space in &self.spaces {
            put_space(space, options.flatten, &mut pages, &mut spaces)?;
        }
        let spec = self.spec.gathered().map_err(FileError::Read)?;
        let mut packer = Packer::new(options.compress);
        packer.put(id::MACHINE, &encoded(&(self.spec.kind.clone(), self.semantics, self.tick)));
        packer.put(id::SPEC, &encoded(&spec));
        packer.put(id::RECORDS, &self.records);
        packer.put(id::PENDING, &encoded(&self.pending));
        packer.put(id::SPACES, &spaces.0);
        for pages in pages.pages.chunks(PAGES_PER_SECTION) {
            let mut bytes = Vec::with_capacity(pages.len() * PAGE_SIZE);
            for page in pages {
                bytes.extend_from_slice(page.bytes().map_err(FileError::Read)?);
            }
            packer.put(id::PAGES, &bytes);
        }
        Ok(packer.finish())
    }

    /// Reads a snapshot file. Each space that lies over a base needs it among `bases`.
    ///
    /// The bytes may come from anywhere: nothing is believed that a digest does not cover, and
    /// no memory is reserved for content that is only promised.
    ///
    /// # Errors
    /// Where the file is damaged, not sound, or needs a base that is not given.
    pub fn from_bytes(bytes: &[u8], bases: &[Arc<dyn Base>]) -> Result<Self, FileError> {
        let mut file = Unpacker::open(bytes)?;
        let mut section = |id| match file.next()? {
            Some(section) if section.id == id => Ok(section.bytes),
            _ => Err(FileError::Shape("sections are missing or out of order")),
        };
        let (kind, semantics, tick): (String, u32, Tick) = decoded(&section(id::MACHINE)?)?;
        let spec: Spec = decoded(&section(id::SPEC)?)?;
        if spec.kind != kind {
            return Err(FileError::Shape("it names two kinds"));
        }
        let records = section(id::RECORDS)?;
        let pending: Vec<Effect> = decoded(&section(id::PENDING)?)?;
        let spaces = section(id::SPACES)?;
        let pages = read_pages(&mut file)?;
        let spaces = get_spaces(&spaces, &pages, bases)?;
        Ok(Self { spec, semantics, tick, spaces, records, pending })
    }
}

/// The distinct pages of a file, in order of first mention.
#[derive(Default)]
struct PageTable {
    index: BTreeMap<Digest, u32>,
    pages: Vec<PageRef>,
}

impl PageTable {
    /// The number by which the file calls a page: zero for the zero page.
    fn number(&mut self, page: &PageRef) -> u32 {
        let Some(digest) = page.digest() else { return 0 };
        *self.index.entry(digest).or_insert_with(|| {
            self.pages.push(page.clone());
            u32::try_from(self.pages.len()).expect("fewer than 2^32 pages are held")
        })
    }
}

fn put_space(
    space: &SpaceImage,
    flatten: bool,
    table: &mut PageTable,
    out: &mut Writer,
) -> Result<(), FileError> {
    let mut image = space.image.clone();
    if let Some(base) = space.image.base().filter(|_| flatten) {
        image = flat(space, &**base)?;
    }
    let over = image.base().map(|base| base.digest());
    let mut list: Vec<(u64, u32)> = Vec::new();
    let all = image.for_each(&mut |no, page| {
        let number = table.number(page);
        // A zero page is as good as none, but where it hides one of the base.
        if number != 0 || over.is_some() {
            list.push((no.0, number));
        }
    });
    all.map_err(FileError::Read)?;
    space.name.put(out);
    space.pages.put(out);
    over.put(out);
    (list.len() as u64).put(out);
    list.iter().for_each(|entry| entry.put(out));
    Ok(())
}

/// The content of a space over a base, with nothing below.
fn flat(space: &SpaceImage, base: &dyn Base) -> Result<Image, FileError> {
    let mut image = Image::default();
    for no in (0..space.pages).map(PageNo) {
        if let Some(page) = space.image.get(no).map_err(FileError::Read)? {
            image.set(no, page.clone()).map_err(FileError::Read)?;
            continue;
        }
        let mut bytes = [0; PAGE_SIZE];
        let name = || space.name.clone();
        base.read(no, &mut bytes).map_err(|why| FileError::BaseRead {
            space: name(),
            page: no,
            why,
        })?;
        if bytes.iter().any(|byte| *byte != 0) {
            image.set(no, Page::new(&bytes)).map_err(FileError::Read)?;
        }
    }
    Ok(image)
}

fn read_pages(file: &mut Unpacker<'_>) -> Result<Vec<PageRef>, FileError> {
    let mut pages: Vec<PageRef> = Vec::new();
    while let Some(Section { id, bytes }) = file.next()? {
        // All sections of pages but the last are full.
        let follows = pages.len().is_multiple_of(PAGES_PER_SECTION);
        let (whole, rest) = bytes.as_chunks::<PAGE_SIZE>();
        let fits = (1..=PAGES_PER_SECTION).contains(&whole.len()) && rest.is_empty();
        if id != id::PAGES || !follows || !fits {
            return Err(FileError::Shape("sections of pages"));
        }
        pages.extend(whole.iter().map(Page::new));
    }
    Ok(pages)
}

fn get_spaces(
    bytes: &[u8],
    pages: &[PageRef],
    bases: &[Arc<dyn Base>],
) -> Result<Vec<SpaceImage>, FileError> {
    let mut from = Reader(bytes);
    let mut spaces: Vec<SpaceImage> = Vec::new();
    let mut total = 0u64;
    for _ in 0..u32::get(&mut from)? {
        let space = get_space(&mut from, pages, bases)?;
        total = total.saturating_add(space.pages);
        if total > SPACE_PAGES_MAX || spaces.len() == SPACES_MAX {
            return Err(FileError::Shape("more or larger spaces than any machine has"));
        }
        if spaces.iter().any(|other| other.name == space.name) {
            return Err(FileError::Shape("two spaces of one name"));
        }
        spaces.push(space);
    }
    if from.0.is_empty() { Ok(spaces) } else { Err(FileError::Shape("bytes after the spaces")) }
}

fn get_space(
    from: &mut Reader<'_>,
    pages: &[PageRef],
    bases: &[Arc<dyn Base>],
) -> Result<SpaceImage, FileError> {
    let name = String::get(from)?;
    let count = u64::get(from)?;
    if count > SPACE_PAGES_MAX {
        return Err(FileError::Shape("more or larger spaces than any machine has"));
    }
    let mut image = match Option::<Digest>::get(from)? {
        None => Image::default(),
        Some(digest) => {
            let base = bases.iter().find(|base| base.digest() == digest);
            let none = || FileError::NoBase { space: name.clone(), digest };
            Image::over(base.ok_or_else(none)?.clone())
        }
    };
    let zero = Page::new(&[0; PAGE_SIZE]);
    let mut next = 0;
    for _ in 0..u64::get(from)? {
        let (no, number) = <(u64, u32)>::get(from)?;
        if no < next || no >= count {
            return Err(FileError::Shape("pages out of order or outside their space"));
        }
        next = no + 1;
        let page = match number.checked_sub(1) {
            Some(at) => {
                pages.get(at as usize).ok_or(FileError::Shape("a page that is not there"))?
            }
            None if image.base().is_some() => &zero,
            None => return Err(FileError::Shape("a zero page where none is needed")),
        };
        image.set(PageNo(no), page.clone()).map_err(FileError::Read)?;
    }
    Ok(SpaceImage { name, pages: count, image })
}

fn encoded(value: &impl Field) -> Vec<u8> {
    let mut out = Writer::default();
    value.put(&mut out);
    out.0
}

fn decoded<T: Field>(bytes: &[u8]) -> Result<T, FileError> {
    let mut from = Reader(bytes);
    let value = T::get(&mut from)?;
    if from.0.is_empty() { Ok(value) } else { Err(FileError::Shape("bytes after a section's end")) }
}
