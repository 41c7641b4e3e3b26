//! What the tests of the store share: small snapshots that are easy to tell apart.

use omni_base::{Digest, Gpa, PageNo, Tick};
use omni_host::TempDir;
use omni_memory::{Image, Space};
use omni_store::{Entry, Manifest, SpaceRef, Store, StoreError, StoreSource};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const PAGES: u64 = 70;

/// A folder for a store.
pub(crate) struct Home(pub(crate) TempDir);

impl Home {
    pub(crate) fn new(name: &str) -> Self {
        Self(TempDir::new(name).expect("a writable host"))
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.0.path().join("store")
    }

    pub(crate) fn open(&self) -> Arc<Store> {
        Arc::new(Store::open(&self.dir()).expect("a sound store"))
    }
}

/// A space in its `age`: a few pages of all, and one of this age alone.
pub(crate) fn age(space: &mut Space, age: u64) {
    space.store(Gpa(0), &age.to_le_bytes()).expect("inside");
    space.store(PageNo(1 + age % (PAGES - 1)).base(), &[7, age as u8]).expect("inside");
}

pub(crate) fn fresh() -> Space {
    let mut space = Space::new("ram", PAGES);
    (60..70).for_each(|no| space.store(PageNo(no).base(), &[no as u8; 100]).expect("inside"));
    space
}

/// Writes a snapshot of an image.
pub(crate) fn put(
    store: &Store,
    owner: &str,
    tag: &str,
    image: &Image,
    parent: Option<Digest>,
) -> Result<Entry, StoreError> {
    let mut commit = store.begin()?;
    let root = image.write(&mut commit).map_err(|error| {
        error.downcast().unwrap_or_else(|error| StoreError::Io("commit".into(), error))
    })?;
    let spec = commit.blob(b"a spec")?;
    let records = commit.blob(format!("records of {tag}").as_bytes())?;
    let manifest = Manifest {
        owner: owner.into(),
        tag: tag.into(),
        time_ms: 1_700_000_000_000,
        parent,
        kind: "toy".into(),
        semantics: 1,
        tick: Tick(5),
        state: state_of(format!("records of {tag}").as_bytes(), image),
        spec,
        records,
        spaces: vec![SpaceRef { name: "ram".into(), pages: PAGES, root, base: None }],
        ..Manifest::default()
    };
    commit.finish(&manifest, 12)
}

fn state_of(records: &[u8], image: &Image) -> Digest {
    let memory = Digest::of_parts([&image.digest().0[..]]);
    Digest::of_parts([records, &memory.0])
}

/// Reads all of a snapshot, and holds it against its digest.
pub(crate) fn load(store: &Arc<Store>, id: Digest) -> Result<Image, StoreError> {
    let manifest = store.manifest(id)?;
    let records = store.read(omni_store::Sort::Blob, manifest.records)?;
    store.read(omni_store::Sort::Blob, manifest.spec)?;
    let image = StoreSource(store.clone()).image(&manifest.spaces[0], None);
    let fail = |error: std::io::Error| {
        error.downcast().unwrap_or_else(|error| StoreError::Io("load".into(), error))
    };
    let mut copy = Image::default();
    for no in (0..PAGES).map(PageNo) {
        if let Some(page) = image.get(no).map_err(fail)? {
            let page = omni_memory::Page::new(page.bytes().map_err(fail)?);
            copy.set(no, page).expect("in memory");
        }
    }
    assert_eq!(state_of(&records, &copy), manifest.state, "what was read is not what was written");
    Ok(image)
}

/// Every file below a folder.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for item in std::fs::read_dir(dir).expect("there") {
        let path = item.expect("readable").path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all.sort();
    all
}
