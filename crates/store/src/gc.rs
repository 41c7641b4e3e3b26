//! Cleaning up: what no snapshot needs goes, and packs that rest are compressed.

use crate::files::{Lock, holder};
use crate::object::{Coding, Head, Sort};
use crate::pack::{self, Place};
use crate::store::{index_files, names};
use crate::{Store, StoreError};
use omni_base::Digest;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

/// A pack whose bytes are more than this share of what is needed in it is left as it is.
const KEEP_PER_CENT: u64 = 70;

/// Bytes of a new pack, about.
const PACK_BYTES: u64 = 256 << 20;

/// Packs below this size are put together.
const SMALL_BYTES: u64 = 4 << 20;

/// What to clean up.
#[derive(Clone, Copy, Default, Debug)]
pub struct GcOptions {
    /// Compress every pack that is not compressed yet, not only those that are written anew.
    pub compress_all: bool,
}

/// What was cleaned up.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Collected {
    /// Bytes of packs before.
    pub bytes_before: u64,
    /// Bytes of packs now.
    pub bytes_after: u64,
    /// Objects that are needed.
    pub objects: u64,
    /// Objects that went.
    pub objects_gone: u64,
}

/// What is known of a pack.
#[derive(Default)]
struct Survey {
    id: u64,
    bytes: u64,
    needed_bytes: u64,
    needed: Vec<(u64, Head)>,
    gone: u64,
    /// Something that names others, or a second copy of something, must not stay as garbage: it
    /// would be found again.
    unclean: bool,
    coded: bool,
}

/// Levels of nodes above the pages of an image.
pub(crate) const DEPTH: u32 = 6;

/// What a node names: nodes, or pages. A zero page has no object.
pub(crate) fn below(node: &[u8]) -> impl Iterator<Item = Digest> {
    let parts = node.as_chunks::<33>().0.iter();
    let digests = parts.filter_map(|part| part.last_chunk().copied().map(Digest));
    digests.filter(|digest| *digest != Digest::default())
}

fn stays(survey: &Survey, options: GcOptions) -> bool {
    let full = survey.needed_bytes * 100 >= survey.bytes * KEEP_PER_CENT;
    let rests = !options.compress_all || survey.coded;
    !survey.unclean && full && rests && survey.bytes >= SMALL_BYTES
}

impl Store {
    /// Removes what no snapshot, pin or lease needs, and compresses what it writes anew. Machines
    /// that run meanwhile are not disturbed; writers wait.
    ///
    /// # Errors
    /// Where another process writes to the store, where something that is needed is damaged, and
    /// what the host says. What is needed is there in any case.
    pub fn gc(&self, options: GcOptions) -> Result<Collected, StoreError> {
        let path = self.path("lock");
        let taken = Lock::try_exclusive(&path).map_err(StoreError::io(&path))?;
        let Some(lock) = taken else {
            return Err(StoreError::Busy(self.dir.clone(), holder(&path)));
        };
        self.remove_unfinished()?;
        self.refresh()?;
        let needed = self.mark()?;
        let surveys = self.survey(&needed)?;
        let mut done = Collected { objects: needed.len() as u64, ..Collected::default() };
        let (mut kept, mut doomed) = (Vec::new(), Vec::new());
        for survey in surveys {
            done.bytes_before += survey.bytes;
            done.objects_gone += survey.gone;
            if stays(&survey, options) { kept.push(survey) } else { doomed.push(survey) }
        }
        // One small pack is as good as another: it takes two to put them together.
        if let [only] = &doomed[..]
            && only.gone == 0
            && !only.unclean
            && (!options.compress_all || only.coded)
        {
            kept.extend(doomed.pop());
        }
        self.sweep(lock, &kept, &doomed)?;
        done.bytes_after = names(&self.path("packs"), "pack")?
            .iter()
            .filter_map(|name| fs::metadata(self.path("packs").join(format!("{name}.pack"))).ok())
            .map(|meta| meta.len())
            .sum();
        for owner in self.owners()? {
            let tree = self.tree_anew(&owner)?;
            if tree.has_removed() {
                let path = self.tree_path(&owner);
                tree.compact(&self.files, &path).map_err(StoreError::io(&path))?;
            }
        }
        Ok(done)
    }

    /// Files that a writer left that was stopped: nobody writes now.
    fn remove_unfinished(&self) -> Result<(), StoreError> {
        for dir in ["packs", "index", "trees", "pins", "."] {
            for name in names(&self.path(dir), "new")? {
                let path = self.path(dir).join(format!("{name}.new"));
                self.files.remove(&path).map_err(StoreError::io(&path))?;
            }
        }
        Ok(())
    }

    /// Every object that is needed.
    fn mark(&self) -> Result<BTreeSet<Digest>, StoreError> {
        let mut roots: BTreeSet<Digest> = self.kept()?.into_iter().collect();
        for owner in self.owners()? {
            roots.extend(self.tree_anew(&owner)?.entries().map(|entry| entry.id));
        }
        let mut needed = BTreeSet::new();
        for id in roots {
            let manifest = self.manifest(id)?;
            needed.insert(id);
            needed.extend(manifest.blobs());
            for root in manifest.spaces.iter().filter_map(|space| space.root) {
                self.mark_node(root, 0, &mut needed)?;
            }
        }
        Ok(needed)
    }

    fn mark_node(
        &self,
        digest: Digest,
        depth: u32,
        needed: &mut BTreeSet<Digest>,
    ) -> Result<(), StoreError> {
        if !needed.insert(digest) {
            return Ok(());
        }
        for below in below(&self.read(Sort::Node, digest)?) {
            if depth + 1 == DEPTH {
                needed.insert(below);
            } else {
                self.mark_node(below, depth + 1, needed)?;
            }
        }
        Ok(())
    }

    fn survey(&self, needed: &BTreeSet<Digest>) -> Result<Vec<Survey>, StoreError> {
        let mut all = Vec::new();
        let mut seen = BTreeSet::new();
        let known: BTreeSet<u64> =
            self.indices().iter().flat_map(|index| index.packs.clone()).collect();
        for name in names(&self.path("packs"), "pack")? {
            let Ok(id) = u64::from_str_radix(&name, 16) else { continue };
            let path = self.pack_path(id);
            let file = File::open(&path).map_err(StoreError::io(&path))?;
            let bytes = file.metadata().map_err(StoreError::io(&path))?.len();
            let mut survey = Survey { id, bytes, ..Survey::default() };
            if !known.contains(&id) {
                // Its writer was stopped before it was of use.
                survey.unclean = true;
                all.push(survey);
                continue;
            }
            pack::scan(&file, &path, &mut |at, head| {
                let here = Place { digest: head.digest, pack: id, offset: at };
                let wanted = needed.contains(&head.digest)
                    && self.find(&head.digest)? == Some(here)
                    && seen.insert(head.digest);
                if wanted {
                    survey.needed_bytes += u64::from(head.stored);
                    survey.coded |= head.coding == Coding::Zstd;
                    survey.needed.push((at, head));
                } else {
                    survey.gone += 1;
                    survey.unclean |= head.sort != Sort::Page;
                }
                Ok(())
            })?;
            all.push(survey);
        }
        Ok(all)
    }

    /// Writes what is needed of the doomed packs anew, changes over to that, and removes them.
    fn sweep(&self, lock: Lock, kept: &[Survey], doomed: &[Survey]) -> Result<(), StoreError> {
        if doomed.is_empty() {
            return Ok(());
        }
        let (mut packs, mut places) = (Vec::new(), Vec::new());
        for survey in kept {
            packs.push(survey.id);
            places.extend(survey.needed.iter().map(|(offset, head)| Place {
                digest: head.digest,
                pack: survey.id,
                offset: *offset,
            }));
        }
        let lock = Arc::new(lock);
        let mut commit = None;
        for survey in doomed.iter().filter(|survey| !survey.needed.is_empty()) {
            let path = self.pack_path(survey.id);
            let file = File::open(&path).map_err(StoreError::io(&path))?;
            for (at, head) in &survey.needed {
                let bytes = pack::read_record(&file, &path, *at, (head.sort, head.digest))?;
                if commit.is_none() {
                    commit = Some(self.begin_held(lock.clone(), true)?);
                }
                if let Some(open) = &mut commit {
                    let put = open.put_again(head.sort, head.digest, &bytes);
                    put.map_err(StoreError::io(&self.dir))?;
                    if open.bytes() < PACK_BYTES {
                        continue;
                    }
                }
                packs.extend(commit.as_ref().map(|full| full.id()));
                if let Some(full) = commit.take() {
                    places.extend(full.seal_bare()?);
                }
            }
        }
        if let Some(last) = commit.filter(|last| !last.is_empty()) {
            packs.push(last.id());
            places.extend(last.seal_bare()?);
        }
        let old: Vec<PathBuf> = index_files(&self.path("index"))?;
        self.replace_indices(&old, packs, places)?;
        for survey in doomed {
            let path = self.pack_path(survey.id);
            self.files.remove(&path).map_err(StoreError::io(&path))?;
        }
        Ok(())
    }
}
