//! Stores whose files are not what a store writes.

use crate::bytes::Choices;
use omni_base::{Digest, Gpa, PageNo, Tick};
use omni_host::TempDir;
use omni_memory::{Image, Space};
use omni_state::{Field, Writer};
use omni_store::{
    Entry, Files, GcOptions, Manifest, Sort, SpaceRef, Store, StoreError, StoreSource,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Snapshots and pages that are looked at, as a forged tree names the same ones over and over.
const LOOKS: usize = 40;

/// The files of a sound store, by their names in it, and an exported snapshot of it.
fn sound() -> &'static (BTreeMap<PathBuf, Vec<u8>>, Vec<u8>) {
    static SOUND: OnceLock<(BTreeMap<PathBuf, Vec<u8>>, Vec<u8>)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let dir = TempDir::new("fuzz-sound").expect("scratch space");
        let store = open(dir.path()).expect("an empty folder");
        let one = put(&store, "a", "one", None).expect("room");
        let two = put(&store, "a", "two", Some(one.id)).expect("room");
        store.gc(GcOptions { compress_all: true }).expect("alone");
        put(&store, "a", "three", Some(two.id)).expect("room");
        store.remove("a", two.id).expect("there");
        store.pin("b", &[one.id]).expect("there");
        let file = dir.path().join("exported");
        store.export(one.id, &mut |_| unreachable!("no bases"), &file).expect("room");
        let exported = fs::read(&file).expect("there");
        fs::remove_file(&file).expect("ours");
        let mut all = BTreeMap::new();
        for folder in ["", "packs", "index", "trees", "pins"] {
            for item in fs::read_dir(dir.path().join(folder)).expect("there") {
                let path = item.expect("readable").path();
                if path.is_file()
                    && !path.ends_with("lock")
                    && path.extension() != Some("lock".as_ref())
                {
                    let name = path.strip_prefix(dir.path()).expect("below").to_owned();
                    all.insert(name, fs::read(&path).expect("readable"));
                }
            }
        }
        (all, exported)
    })
}

fn open(dir: &Path) -> Result<Arc<Store>, StoreError> {
    Store::open_with(dir, Files::careless()).map(Arc::new)
}

fn put(store: &Store, owner: &str, tag: &str, parent: Option<Digest>) -> Result<Entry, StoreError> {
    let mut space = Space::new("ram", 300);
    for no in [0, 7, 299] {
        space.store(PageNo(no).base(), tag.as_bytes()).expect("inside");
    }
    space.store(Gpa(4096), b"the same in all").expect("inside");
    let mut commit = store.begin()?;
    let fail = |error: std::io::Error| {
        error.downcast().unwrap_or_else(|error| StoreError::Io("fuzz".into(), error))
    };
    let root = space.seal().image.write(&mut commit).map_err(fail)?;
    let (spec, records) = (commit.blob(b"a spec")?, commit.blob(tag.as_bytes())?);
    let files = [("image".to_owned(), commit.blob(b"a file")?)].into();
    let spaces = vec![SpaceRef { name: "ram".into(), pages: 300, root, base: None }];
    let (owner, tag) = (owner.into(), tag.into());
    let kind = "none".into();
    let plain = Manifest::default();
    commit.finish(&Manifest { owner, tag, parent, kind, spec, records, files, spaces, ..plain }, 3)
}

/// Files of a store that were changed: as they are, or with sound digests around forged content;
/// or a file to import.
pub fn store(data: &[u8]) {
    let mut from = Choices(data);
    let how = from.u8();
    let dir = TempDir::new("fuzz-store").expect("scratch space");
    let (files, exported) = sound();
    for folder in ["packs", "index", "trees", "pins", "leases"] {
        fs::create_dir(dir.path().join(folder)).expect("scratch space");
    }
    let mut files = files.clone();
    if how & 3 == 3 {
        forge(&mut files, &mut from);
    } else if how & 3 != 0 {
        let at = usize::from(from.u8()) % files.len();
        if let Some(bytes) = files.values_mut().nth(at) {
            damage(bytes, &mut from);
        }
    }
    for (name, bytes) in &files {
        fs::write(dir.path().join(name), bytes).expect("scratch space");
    }
    if let Ok(store) = open(dir.path()) {
        use_all(&store);
        if how & 3 == 0 {
            take_in(&store, dir.path(), exported.clone(), how, &mut from);
        }
    }
}

/// Changes, cuts or lengthens a file.
fn damage(bytes: &mut Vec<u8>, from: &mut Choices<'_>) {
    let how = from.u8();
    if how & 1 != 0 {
        bytes.truncate(usize::from(from.u16()) % (bytes.len() + 1));
    }
    for _ in 0..how >> 5 {
        let at = usize::from(from.u16()) % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte = from.u8();
        }
    }
    if how & 2 != 0 {
        bytes.extend_from_slice(from.0);
    }
}

/// A pack of any objects, an index of it, and a tree of any lines, all with sound digests.
fn forge(files: &mut BTreeMap<PathBuf, Vec<u8>>, from: &mut Choices<'_>) {
    let mut pack = b"OMNIPACK\x01\0\0\0\0\0\0\0".to_vec();
    let (mut places, mut names) = (Vec::new(), Vec::new());
    let count = 1 + from.u8() % 12;
    for _ in 0..count {
        let (sort, bytes) = object(&names, from);
        let digest = Digest::of(&bytes);
        let odd = from.u8();
        let said = if odd == 0xff { from.number() as u32 } else { bytes.len() as u32 };
        let at = if odd == 0xfe { from.number() } else { pack.len() as u64 };
        let mut head = vec![sort, u8::from(odd == 0xfd), 0, 0];
        head.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        head.extend_from_slice(&said.to_le_bytes());
        head.extend_from_slice(&digest.0);
        let check = Digest::of(&head);
        head.extend_from_slice(&check.0[..4]);
        pack.extend_from_slice(&head);
        pack.extend_from_slice(&bytes);
        places.push((digest, at));
        names.push(digest);
    }
    pack.extend_from_slice(b"PACK-END");
    pack.extend_from_slice(&u64::from(count).to_le_bytes());
    let whole = Digest::of(&pack);
    pack.extend_from_slice(&whole.0);
    places.sort_unstable();
    places.dedup_by_key(|place| place.0);
    let mut entries = Vec::new();
    for (digest, at) in &places {
        entries.extend_from_slice(&digest.0);
        entries.extend_from_slice(&7u64.to_le_bytes());
        entries.extend_from_slice(&at.to_le_bytes());
    }
    let mut index = b"OMNIINDX\x01\0\0\0\x01\0\0\0".to_vec();
    index.extend_from_slice(&(places.len() as u64).to_le_bytes());
    index.extend_from_slice(&Digest::of(&entries).0);
    let listed = 7u64.to_le_bytes();
    let head = Digest::of_parts([&index[..], &listed]);
    index.extend_from_slice(&head.0);
    index.extend_from_slice(&listed);
    index.extend(entries);
    files.insert("packs/0000000000000007.pack".into(), pack);
    files.insert("index/0000000000000007.idx".into(), index);
    files.insert("trees/f.tree".into(), tree(&names, from));
}

/// An object that names some of those before it.
fn object(names: &[Digest], from: &mut Choices<'_>) -> (u8, Vec<u8>) {
    let mut name = || match names {
        [] => Digest([from.u8(); 32]),
        names => names[usize::from(from.u8()) % names.len()],
    };
    let some: Vec<Digest> = (0..6).map(|_| name()).collect();
    match from.u8() % 6 {
        0 => (1, vec![from.u8(); 4096]),
        1 => (1, from.take(20).to_vec()),
        2 => {
            let count = usize::from(from.u8()) % some.len();
            let slot = |at: usize| if at == 5 { 200 } else { at as u8 };
            let part = |(at, digest): (usize, &Digest)| [&[slot(at)][..], &digest.0].concat();
            (2, some[..count].iter().enumerate().flat_map(part).collect())
        }
        3 => (3, from.take(30).to_vec()),
        _ => {
            let pages = from.number();
            let base = (from.u8() & 1 != 0).then_some(some[3]);
            let root = (from.u8() & 1 != 0).then_some(some[0]);
            let space = SpaceRef { name: "ram".into(), pages, root, base };
            let manifest = Manifest {
                owner: "f".into(),
                tag: "t".into(),
                parent: Some(some[1]),
                records: some[2],
                spec: some[4],
                files: [("image".to_owned(), some[5])].into(),
                spaces: vec![space.clone(), space],
                ..Manifest::default()
            };
            let mut bytes = manifest.to_bytes();
            if from.u8() & 7 == 0 {
                damage(&mut bytes, from);
            }
            (4, bytes)
        }
    }
}

/// A tree of any lines.
fn tree(names: &[Digest], from: &mut Choices<'_>) -> Vec<u8> {
    let mut out = b"OMNITREE\x01\0\0\0\0\0\0\0".to_vec();
    let mut chain = Digest::of(&out);
    while !from.is_empty() {
        let mut body = Writer::default();
        let mut name = || names[usize::from(from.u8()) % names.len()];
        let (id, parent) = (name(), name());
        match from.u8() {
            0..=0x9f => {
                1u8.put(&mut body);
                (id, Some(parent), format!("t{}", from.u8() & 7)).put(&mut body);
                (from.number(), Tick(from.number()), parent).put(&mut body);
                (from.number(), from.number(), from.number()).put(&mut body);
            }
            0xa0..=0xef => {
                2u8.put(&mut body);
                id.put(&mut body);
            }
            _ => body.0.extend_from_slice(from.take(9)),
        }
        let length = (body.0.len() as u32).to_le_bytes();
        out.extend_from_slice(&length);
        out.extend_from_slice(&Digest::of_parts([&chain.0[..], &length]).0[..4]);
        out.extend_from_slice(&body.0);
        chain = Digest::of_parts([&chain.0[..], &length, &body.0]);
        out.extend_from_slice(&chain.0[..8]);
    }
    out
}

/// All that is done with a store. What is refused is refused in words, and it can be written to.
fn use_all(store: &Arc<Store>) {
    let _ = store.verify().map_err(|error| error.to_string());
    for owner in store.owners().into_iter().flatten() {
        let Ok(tree) = store.tree(&owner) else { continue };
        for entry in tree.entries().take(LOOKS) {
            let _ = (tree.parent(entry), tree.find(&format!("{}~3", entry.tag)));
            let _ = (tree.find(&format!("{}~4294967295", entry.tag)), tree.present(entry.id));
            let _ = look(store, entry.id).map_err(|error| error.to_string());
        }
    }
    let _ = store.gc(GcOptions { compress_all: true }).map_err(|error| error.to_string());
    let fresh = put(store, "fresh", "after", None);
    let Ok(fresh) = fresh else { return };
    // What was written is whole, but where something damaged passed for a part of it.
    if let Ok(image) = look(store, fresh.id) {
        let page = image.get(PageNo(7)).expect("it was read").expect("it was written");
        assert_eq!(&page.bytes().expect("it was read")[..5], b"after");
    }
}

/// Reads some of a snapshot.
fn look(store: &Arc<Store>, id: Digest) -> Result<Image, StoreError> {
    let manifest = store.manifest(id)?;
    store.read(Sort::Blob, manifest.spec)?;
    store.read(Sort::Blob, manifest.records)?;
    let mut last = Image::default();
    for space in &manifest.spaces {
        let image = StoreSource(store.clone()).image(space, None);
        for no in (0..LOOKS as u64).chain([299]) {
            let page =
                image.get(PageNo(no)).and_then(|page| page.map(|page| page.bytes()).transpose());
            page.map_err(|error| StoreError::Io("fuzz".into(), error))?;
        }
        last = image;
    }
    Ok(last)
}

/// Takes in a file that another may have made.
fn take_in(store: &Store, dir: &Path, mut bytes: Vec<u8>, how: u8, from: &mut Choices<'_>) {
    damage(&mut bytes, from);
    if how & 4 != 0 && bytes.len() > 48 {
        // The digest of the whole is sound, so that what is inside is reached.
        let end = bytes.len() - 32;
        let digest = Digest::of(&bytes[..end]);
        bytes[end..].copy_from_slice(&digest.0);
    }
    let file = dir.join("import");
    fs::write(&file, bytes).expect("scratch space");
    let _ = Store::portable_manifest(&file).map_err(|error| error.to_string());
    if let Ok(entry) = store.import(&file, "imported", "came", vec![]) {
        store.manifest(entry.id).expect("what was taken in is there");
    }
}
