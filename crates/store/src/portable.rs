//! One file that holds a snapshot whole, for another host. Section 7 of the format.

use crate::gc::{DEPTH, below};
use crate::object::Sort;
use crate::pack::{self, PackWriter};
use crate::{Commit, Entry, Manifest, SpaceRef, Store, StoreError, StoreSource};
use omni_base::{Digest, PAGE_SIZE, PageNo};
use omni_memory::{Base, Image, Page, PageRef, Sink, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Finds the content below a space.
pub type BaseOf<'a> = dyn FnMut(&SpaceRef) -> Result<Arc<dyn Base>, StoreError> + 'a;

/// What an exported file came to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Portable {
    /// Its size.
    pub bytes: u64,
    /// Distinct pages in it.
    pub pages: u64,
}

/// Writes a file of objects, each once.
struct FileSink {
    pack: PackWriter,
    there: BTreeSet<Digest>,
    pages: u64,
}

impl FileSink {
    fn put(&mut self, sort: Sort, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        if self.there.insert(digest) {
            self.pack.put(sort, digest, bytes, true)?;
            self.pages += u64::from(sort == Sort::Page);
        }
        Ok(())
    }
}

impl Sink for FileSink {
    fn has_node(&mut self, digest: Digest) -> io::Result<bool> {
        Ok(self.there.contains(&digest))
    }

    fn page(&mut self, digest: Digest, page: &PageRef) -> io::Result<()> {
        if self.there.contains(&digest) {
            return Ok(());
        }
        let mut bytes = [0; PAGE_SIZE];
        page.read(&mut bytes)?;
        self.put(Sort::Page, digest, &bytes)
    }

    fn node(&mut self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        self.put(Sort::Node, digest, bytes)
    }
}

impl Store {
    /// Writes a snapshot into one file that needs nothing else: the content below its spaces, which
    /// `base_of` finds, becomes part of it.
    ///
    /// # Errors
    /// Where something cannot be read, and what the host says; there is no file then.
    pub fn export(
        self: &Arc<Self>,
        id: Digest,
        base_of: &mut BaseOf<'_>,
        path: &Path,
    ) -> Result<Portable, StoreError> {
        let _lease = self.lease(&[id])?;
        let fresh = path.with_extension("part");
        let _ = fs::remove_file(&fresh);
        let done = self.export_to(id, base_of, &fresh).and_then(|done| {
            self.files.rename(&fresh, path).map_err(StoreError::io(path))?;
            Ok(done)
        });
        if done.is_err() {
            // The error at hand says more than one about the file left over would.
            let _ = fs::remove_file(&fresh);
        }
        done
    }

    fn export_to(
        self: &Arc<Self>,
        id: Digest,
        base_of: &mut BaseOf<'_>,
        path: &Path,
    ) -> Result<Portable, StoreError> {
        let fail = |error| StoreError::io(path)(error);
        let mut manifest = self.manifest(id)?;
        let pack = PackWriter::create(&self.files, path).map_err(fail)?;
        let mut sink = FileSink { pack, there: BTreeSet::new(), pages: 0 };
        let source = StoreSource(self.clone());
        let mut images = Vec::new();
        for space in &mut manifest.spaces {
            let image = match space.base {
                None => source.image(space, None),
                Some(_) => {
                    let image = source.image(space, Some(base_of(space)?));
                    flatten(&image, space.pages, &mut sink, &source).map_err(fail)?
                }
            };
            space.root = image.write(&mut sink).map_err(fail)?;
            space.base = None;
            images.push(image.digest());
        }
        for blob in manifest.blobs() {
            sink.put(Sort::Blob, blob, &self.read(Sort::Blob, blob)?).map_err(fail)?;
        }
        let memory = Digest::of_parts(images.iter().map(|digest| &digest.0[..]));
        let records = self.read(Sort::Blob, manifest.records)?;
        manifest.state = Digest::of_parts([&records[..], &memory.0]);
        let bytes = manifest.to_bytes();
        sink.put(Sort::Manifest, Digest::of(&bytes), &bytes).map_err(fail)?;
        let done = Portable { bytes: sink.pack.bytes() + pack::FOOTER_BYTES, pages: sink.pages };
        sink.pack.finish().map_err(fail)?;
        Ok(done)
    }

    /// The manifest of an exported file.
    ///
    /// # Errors
    /// Where the file is not one, or is damaged.
    pub fn portable_manifest(path: &Path) -> Result<Manifest, StoreError> {
        Bundle::open(path).map(|bundle| bundle.manifest)
    }

    /// Takes an exported file in, as the snapshot `tag` of an owner.
    ///
    /// # Errors
    /// Where the file is not one, or is damaged, and what the host says; nothing is there then.
    pub fn import(
        &self,
        path: &Path,
        owner: &str,
        tag: &str,
        about: Vec<u8>,
    ) -> Result<Entry, StoreError> {
        let bundle = Bundle::open(path)?;
        let mut commit = self.begin()?;
        for blob in bundle.manifest.blobs().collect::<BTreeSet<_>>() {
            bundle.copy(Sort::Blob, blob, &mut commit)?;
        }
        for root in bundle.manifest.spaces.iter().filter_map(|space| space.root) {
            bundle.copy_node(root, 0, &mut commit)?;
        }
        let pages = commit.written().pages_new;
        let (owner, tag) = (owner.to_owned(), tag.to_owned());
        let manifest = Manifest { owner, tag, parent: None, about, ..bundle.manifest };
        commit.finish(&manifest, pages)
    }
}

/// The content of a space with nothing below. Pages of the base go out as they are read.
fn flatten(
    image: &Image,
    pages: u64,
    sink: &mut FileSink,
    source: &StoreSource,
) -> io::Result<Image> {
    let source: Arc<dyn Source> = Arc::new(source.clone());
    let mut flat = Image::default();
    let mut bytes = [0; PAGE_SIZE];
    for no in (0..pages).map(PageNo) {
        if let Some(page) = image.get(no)? {
            if page.digest().is_some() {
                flat.set(no, page.clone())?;
            }
        } else if let Some(base) = image.base() {
            base.read(no, &mut bytes)?;
            if bytes.iter().any(|byte| *byte != 0) {
                let digest = Digest::of(&bytes);
                sink.put(Sort::Page, digest, &bytes)?;
                flat.set(no, Page::stored(digest, 0, source.clone()))?;
            }
        }
    }
    Ok(flat)
}

/// An exported file that is open.
struct Bundle<'a> {
    path: &'a Path,
    file: File,
    offsets: BTreeMap<Digest, u64>,
    manifest: Manifest,
}

impl<'a> Bundle<'a> {
    fn open(path: &'a Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io(path))?;
        if let Err(StoreError::Damaged { path, what }) = pack::check_frame(&file, path) {
            return Err(StoreError::NotPortable(path, what));
        }
        pack::check_whole(&file, path)?;
        let (mut offsets, mut last) = (BTreeMap::new(), None);
        pack::scan(&file, path, &mut |at, head| {
            offsets.insert(head.digest, at);
            last = (head.sort == Sort::Manifest).then_some((at, head.digest));
            Ok(())
        })?;
        let none =
            || StoreError::NotPortable(path.to_owned(), "it does not end in a snapshot".into());
        let (at, id) = last.ok_or_else(none)?;
        let bytes = pack::read_record(&file, path, at, (Sort::Manifest, id))?;
        let manifest = Manifest::from_bytes(&bytes);
        let manifest = manifest.map_err(|error| StoreError::Manifest(id, error))?;
        if manifest.spaces.iter().any(|space| space.base.is_some()) {
            let what = "it needs a disk image that is not in it".into();
            return Err(StoreError::NotPortable(path.to_owned(), what));
        }
        Ok(Self { path, file, offsets, manifest })
    }

    fn read(&self, sort: Sort, digest: Digest) -> Result<Vec<u8>, StoreError> {
        let missing = || {
            let what = format!("the {} {digest} is not in it", sort.word());
            StoreError::damaged(self.path, what)
        };
        let at = self.offsets.get(&digest).ok_or_else(missing)?;
        pack::read_record(&self.file, self.path, *at, (sort, digest))
    }

    fn copy(&self, sort: Sort, digest: Digest, to: &mut Commit<'_>) -> Result<(), StoreError> {
        to.put(sort, digest, &self.read(sort, digest)?).map_err(StoreError::io(self.path))
    }

    /// Copies a node after all below it, so that no node is in the store without what it names.
    fn copy_node(&self, digest: Digest, depth: u32, to: &mut Commit<'_>) -> Result<(), StoreError> {
        if to.has_node(digest).map_err(StoreError::io(self.path))? {
            return Ok(());
        }
        let node = self.read(Sort::Node, digest)?;
        for below in below(&node) {
            if depth + 1 == DEPTH {
                self.copy(Sort::Page, below, to)?;
            } else {
                self.copy_node(below, depth + 1, to)?;
            }
        }
        to.node(digest, &node).map_err(StoreError::io(self.path))
    }
}
