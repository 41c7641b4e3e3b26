//! Looking at every byte of a store.

use crate::gc::{DEPTH, below};
use crate::object::Sort;
use crate::pack;
use crate::store::names;
use crate::{Store, StoreError};
use omni_base::Digest;
use std::collections::BTreeSet;
use std::fs::File;

/// What was looked at, and found sound.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Verified {
    /// Packs.
    pub packs: u64,
    /// Records in them.
    pub objects: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Snapshots.
    pub snapshots: u64,
}

impl Store {
    /// Reads every byte of the store: packs, indices, trees, and that each snapshot is whole.
    ///
    /// # Errors
    /// What is damaged, or not there.
    pub fn verify(&self) -> Result<Verified, StoreError> {
        let _hold = self.hold()?;
        self.refresh()?;
        let mut done = Verified::default();
        for index in self.indices().iter() {
            index.all()?;
        }
        for name in names(&self.path("packs"), "pack")? {
            let path = self.path("packs").join(format!("{name}.pack"));
            let file = File::open(&path).map_err(StoreError::io(&path))?;
            pack::check_whole(&file, &path)?;
            pack::scan(&file, &path, &mut |at, head| {
                pack::read_record(&file, &path, at, (head.sort, head.digest))?;
                (done.objects, done.bytes) =
                    (done.objects + 1, done.bytes + u64::from(head.stored));
                Ok(())
            })?;
            done.packs += 1;
        }
        let mut seen = BTreeSet::new();
        let mut ids = self.kept()?;
        for owner in self.owners()? {
            let tree = self.tree_anew(&owner)?;
            ids.extend(tree.entries().map(|entry| entry.id));
        }
        for id in ids.into_iter().collect::<BTreeSet<_>>() {
            let manifest = self.manifest(id)?;
            manifest.blobs().try_for_each(|blob| self.read(Sort::Blob, blob).map(|_| ()))?;
            for root in manifest.spaces.iter().filter_map(|space| space.root) {
                self.check_node(root, 0, &mut seen)?;
            }
            done.snapshots += 1;
        }
        Ok(done)
    }

    fn check_node(
        &self,
        digest: Digest,
        depth: u32,
        seen: &mut BTreeSet<Digest>,
    ) -> Result<(), StoreError> {
        if !seen.insert(digest) {
            return Ok(());
        }
        for digest in below(&self.read(Sort::Node, digest)?) {
            if depth + 1 < DEPTH {
                self.check_node(digest, depth + 1, seen)?;
            } else if seen.insert(digest) && !self.has(&digest)? {
                let path = self.dir.clone();
                return Err(StoreError::Missing { path, what: Sort::Page.word(), digest });
            }
        }
        Ok(())
    }
}
