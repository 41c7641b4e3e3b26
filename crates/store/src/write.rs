//! Commits: a snapshot on its way into the store.

use crate::files::Lock;
use crate::index::{self, Index};
use crate::object::Sort;
use crate::pack::{PackWriter, Place};
use crate::store::random;
use crate::tree::Change;
use crate::{Entry, Lease, Manifest, Store, StoreError};
use omni_base::{Digest, PAGE_SIZE};
use omni_memory::{PageRef, Sink};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Indices above which the smaller ones are merged.
const INDICES_MAX: usize = 16;

/// What a commit added.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Written {
    /// Pages that the store did not have.
    pub pages_new: u64,
    /// Bytes by which the store grew.
    pub bytes_new: u64,
}

/// A snapshot on its way into the store. Dropped before `finish`, it leaves nothing.
pub struct Commit<'a> {
    store: &'a Store,
    _hold: Arc<Lock>,
    id: u64,
    path: PathBuf,
    pack: Option<PackWriter>,
    places: Vec<Place>,
    fresh: BTreeSet<Digest>,
    written: Written,
    compress: bool,
}

impl Store {
    /// Begins to write. `gc` waits until it is finished or dropped.
    ///
    /// # Errors
    /// What the host says.
    pub fn begin(&self) -> Result<Commit<'_>, StoreError> {
        let hold = self.hold()?;
        // What is there now stays there as long as this holds.
        self.refresh()?;
        self.begin_held(Arc::new(hold), false)
    }

    /// As `begin`, and what is written is compressed: for what is read seldom.
    ///
    /// # Errors
    /// What the host says.
    pub fn begin_compressed(&self) -> Result<Commit<'_>, StoreError> {
        let hold = self.hold()?;
        self.refresh()?;
        self.begin_held(Arc::new(hold), true)
    }

    pub(crate) fn begin_held(
        &self,
        hold: Arc<Lock>,
        compress: bool,
    ) -> Result<Commit<'_>, StoreError> {
        let id = random().map_err(StoreError::io(&self.dir))?;
        let path = self.pack_path(id).with_extension("new");
        let pack = PackWriter::create(&self.files, &path).map_err(StoreError::io(&path))?;
        Ok(Commit {
            store: self,
            _hold: hold,
            id,
            path,
            pack: Some(pack),
            places: Vec::new(),
            fresh: BTreeSet::new(),
            written: Written::default(),
            compress,
        })
    }
}

impl Commit<'_> {
    /// Adds an object, where the store does not have it.
    pub(crate) fn put(&mut self, sort: Sort, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        if self.fresh.contains(&digest) || self.store.has(&digest)? {
            return Ok(());
        }
        self.put_again(sort, digest, bytes)
    }

    /// Adds an object, whether or not the store has it in another pack.
    pub(crate) fn put_again(&mut self, sort: Sort, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        let pack = self.pack.as_mut().expect("a commit has its pack until it is finished");
        let offset = pack.put(sort, digest, bytes, self.compress)?;
        self.places.push(Place { digest, pack: self.id, offset });
        self.fresh.insert(digest);
        self.written.pages_new += u64::from(sort == Sort::Page);
        Ok(())
    }

    /// Adds bytes, and gives their name.
    ///
    /// # Errors
    /// What the host says.
    pub fn blob(&mut self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        self.put(Sort::Blob, digest, bytes).map_err(StoreError::io(&self.path))?;
        Ok(digest)
    }

    /// What was added so far.
    #[must_use]
    pub fn written(&self) -> Written {
        let bytes_new = self.pack.as_ref().map_or(self.written.bytes_new, PackWriter::bytes);
        Written { bytes_new, ..self.written }
    }

    /// Completes a snapshot: once this returns, it survives a loss of power. `pages_total` is for
    /// whoever lists it.
    ///
    /// # Errors
    /// Where its owner has a snapshot of that tag, and what the host says; nothing is there then.
    pub fn finish(mut self, manifest: &Manifest, pages_total: u64) -> Result<Entry, StoreError> {
        check_tag(&manifest.tag)?;
        let bytes = manifest.to_bytes();
        let id = Digest::of(&bytes);
        self.put(Sort::Manifest, id, &bytes).map_err(StoreError::io(&self.path))?;
        let written = self.written();
        self.seal()?;
        let entry = Entry {
            id,
            parent: manifest.parent,
            tag: manifest.tag.clone(),
            time_ms: manifest.time_ms,
            tick: manifest.tick,
            state: manifest.state,
            pages_total,
            pages_new: written.pages_new,
            bytes_new: written.bytes_new,
        };
        self.store.grow(&manifest.owner, |tree| {
            tree.check_free(&entry.tag)?;
            Ok(Some(Change::Add(entry.clone())))
        })?;
        // An index more or less is no reason to say that the snapshot is not there.
        let _ = self.store.merge_indices();
        Ok(entry)
    }

    /// Completes a snapshot that no list has: it is there as long as what this gives is kept.
    ///
    /// # Errors
    /// What the host says.
    pub fn keep(mut self, manifest: &Manifest) -> Result<Lease, StoreError> {
        let bytes = manifest.to_bytes();
        let id = Digest::of(&bytes);
        self.put(Sort::Manifest, id, &bytes).map_err(StoreError::io(&self.path))?;
        self.seal()?;
        // Before `gc` can look.
        let lease = self.store.lease(&[id])?;
        // As in `finish`.
        let _ = self.store.merge_indices();
        Ok(lease)
    }

    /// Completes the pack and its index. Nothing refers to what is in it yet.
    pub(crate) fn seal(&mut self) -> Result<(), StoreError> {
        self.written = self.written();
        let pack = self.pack.take().expect("a commit is finished once");
        let (store, files) = (self.store, &self.store.files);
        pack.finish().map_err(StoreError::io(&self.path))?;
        let path = store.pack_path(self.id);
        files.rename(&self.path, &path).map_err(StoreError::io(&path))?;
        index::sort(&mut self.places);
        let path = store.path("index").join(format!("{:016x}.idx", self.id));
        Index::write(files, &path, &[self.id], &self.places).map_err(StoreError::io(&path))?;
        store.refresh()
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.written().bytes_new
    }

    /// Completes the pack without an index, and gives where its objects lie. For `gc`.
    pub(crate) fn seal_bare(mut self) -> Result<Vec<Place>, StoreError> {
        let pack = self.pack.take().expect("a commit is finished once");
        pack.finish().map_err(StoreError::io(&self.path))?;
        let path = self.store.pack_path(self.id);
        self.store.files.rename(&self.path, &path).map_err(StoreError::io(&path))?;
        Ok(std::mem::take(&mut self.places))
    }
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        // Where it was finished there is none of this name.
        let _ = fs::remove_file(&self.path);
    }
}

impl Sink for Commit<'_> {
    fn has_node(&mut self, digest: Digest) -> io::Result<bool> {
        Ok(self.fresh.contains(&digest) || self.store.has(&digest)?)
    }

    fn page(&mut self, digest: Digest, page: &PageRef) -> io::Result<()> {
        if self.fresh.contains(&digest) || self.store.has(&digest)? {
            return Ok(());
        }
        let mut bytes = [0; PAGE_SIZE];
        page.read(&mut bytes)?;
        self.put_again(Sort::Page, digest, &bytes)
    }

    fn node(&mut self, digest: Digest, bytes: &[u8]) -> io::Result<()> {
        self.put_again(Sort::Node, digest, bytes)
    }
}

impl Store {
    /// Makes one index of the smaller ones where there are many.
    fn merge_indices(&self) -> Result<(), StoreError> {
        if self.indices().len() <= INDICES_MAX {
            return Ok(());
        }
        let path = self.path("index").join("lock");
        // Whoever has it does the same.
        let Some(_lock) = Lock::try_exclusive(&path).map_err(StoreError::io(&path))? else {
            return Ok(());
        };
        self.refresh()?;
        let indices = self.indices();
        let mut order: Vec<&Arc<Index>> = indices.iter().collect();
        order.sort_by_key(|index| index.count());
        // So many that the next one is much larger than they together: so each entry is written
        // anew only when the index that it is in grows by half, and few large ones remain.
        let (mut some, mut sum) = (0, 0u64);
        for index in &order {
            if some >= 2 && index.count() > sum.saturating_mul(2) {
                break;
            }
            (some, sum) = (some + 1, sum.saturating_add(index.count()));
        }
        let some = &order[..some];
        let (mut packs, mut places) = (Vec::new(), Vec::new());
        for index in some {
            packs.extend_from_slice(&index.packs);
            places.extend(index.all()?);
        }
        let old: Vec<PathBuf> = some.iter().map(|index| index.path().to_owned()).collect();
        self.replace_indices(&old, packs, places)
    }

    /// Puts one index in the place of others.
    pub(crate) fn replace_indices(
        &self,
        old: &[PathBuf],
        mut packs: Vec<u64>,
        mut places: Vec<Place>,
    ) -> Result<(), StoreError> {
        packs.sort_unstable();
        packs.dedup();
        index::sort(&mut places);
        let name = random().map_err(StoreError::io(&self.dir))?;
        let path = self.path("index").join(format!("{name:016x}.idx"));
        Index::write(&self.files, &path, &packs, &places).map_err(StoreError::io(&path))?;
        for path in old {
            self.files.remove(path).map_err(StoreError::io(path))?;
        }
        self.files.sync_dir(&path).map_err(StoreError::io(&path))?;
        self.refresh()
    }
}

/// Tags are words, so that `MACHINE@TAG~2` can be told apart.
pub(crate) fn check_tag(tag: &str) -> Result<(), StoreError> {
    let first = tag.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let rest = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let fits = first && rest && tag.len() <= 63;
    if fits { Ok(()) } else { Err(StoreError::BadTag(tag.into())) }
}
