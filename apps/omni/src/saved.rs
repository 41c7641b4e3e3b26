//! Snapshots of machines in the store: written, and read back with their disks below them.

use crate::failure::{Failure, code};
use crate::plan::source_of;
use omni_base::Digest;
use omni_control::{CutFile, Dirs, DiskFile, Entry, MachineFile};
use omni_host::Disk;
use omni_kinds::kind_of;
use omni_lifecycle::{Snapshot, SpaceImage};
use omni_machine::{Blob, BlobSource, Effect, PortKind, Spec};
use omni_memory::{Base, Image};
use omni_state::{Field, Reader, StateError, Writer};
use omni_store::{Commit, Lease, Manifest, Sort, SpaceRef, Store, StoreError, StoreSource};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// Opens the store of this user.
pub(crate) fn open_store(dirs: &Dirs) -> Result<Arc<Store>, Failure> {
    Ok(Arc::new(Store::open(&dirs.store())?))
}

/// The store by the environment.
pub(crate) fn own_store() -> Result<Arc<Store>, Failure> {
    open_store(&Dirs::from_env(|name| std::env::var(name))?)
}

/// What a snapshot is to be called.
pub(crate) struct Title<'a> {
    pub(crate) owner: &'a str,
    pub(crate) tag: &'a str,
    pub(crate) parent: Option<Digest>,
    /// The file of the machine.
    pub(crate) about: Vec<u8>,
    /// Whether it is small on the disk rather than soon there.
    pub(crate) compress: bool,
}

/// What a snapshot says of its machine, and of the cut that it is a part of.
pub(crate) fn about(machine: &MachineFile, cut: &CutFile) -> Vec<u8> {
    let mut all = serde_json::to_value(machine).expect("plain data");
    let more = serde_json::to_value(cut).expect("plain data");
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    serde_json::to_vec(&all).expect("plain data")
}

/// The cut that a snapshot is a part of, as it says itself.
pub(crate) fn cut_of(store: &Store, id: Digest) -> Result<CutFile, Failure> {
    let about = store.manifest(id)?.about;
    if about.is_empty() {
        return Ok(CutFile::default());
    }
    serde_json::from_slice(&about).map_err(|error| {
        let text = format!("the snapshot {}: what it says of its machine: {error}", id.short());
        Failure::new(code::DAMAGED, text)
    })
}

/// Writes a snapshot into the store; the machine runs meanwhile.
pub(crate) fn write(
    store: &Store,
    snapshot: &Snapshot,
    title: Title<'_>,
) -> Result<omni_store::Entry, StoreError> {
    let mut commit = if title.compress { store.begin_compressed()? } else { store.begin()? };
    let manifest = fill(&mut commit, snapshot, title)?;
    commit.finish(&manifest, snapshot.spaces.iter().map(|space| space.pages).sum())
}

/// Writes a snapshot that no list has, and gives the images of its spaces as they are there.
pub(crate) fn put_away(
    store: &Arc<Store>,
    snapshot: &Snapshot,
    owner: &str,
) -> Result<(Lease, Vec<Image>), StoreError> {
    let mut commit = store.begin()?;
    let title = Title { owner, tag: "", parent: None, about: Vec::new(), compress: false };
    let manifest = fill(&mut commit, snapshot, title)?;
    let lease = commit.keep(&manifest)?;
    let source = StoreSource(store.clone());
    let spaces = manifest.spaces.iter().zip(&snapshot.spaces);
    let images = spaces.map(|(kept, space)| source.image(kept, space.image.base().cloned()));
    Ok((lease, images.collect()))
}

/// Writes all of a snapshot but its manifest, which it gives.
fn fill(
    commit: &mut Commit<'_>,
    snapshot: &Snapshot,
    title: Title<'_>,
) -> Result<Manifest, StoreError> {
    let mut spec = snapshot.spec.clone();
    let mut files = BTreeMap::new();
    for (role, blob) in std::mem::take(&mut spec.files) {
        let bytes = blob.bytes().map_err(|error| StoreError::Io(role.clone().into(), error))?;
        files.insert(role, commit.blob(&bytes)?);
    }
    let spec = commit.blob(&encoded(&spec))?;
    let records = commit.blob(&snapshot.records)?;
    let mut spaces = Vec::new();
    for space in &snapshot.spaces {
        let root = space.image.write(commit).map_err(store_error)?;
        let base = space.image.base().map(|base| base.digest());
        spaces.push(SpaceRef { name: space.name.clone(), pages: space.pages, root, base });
    }
    Ok(Manifest {
        owner: title.owner.into(),
        tag: title.tag.into(),
        time_ms: now_ms(),
        parent: title.parent,
        kind: snapshot.spec.kind.clone(),
        semantics: snapshot.semantics,
        tick: snapshot.tick,
        state: snapshot.digest(),
        spec,
        files,
        records,
        pending: encoded(&snapshot.pending),
        spaces,
        about: title.about,
    })
}

/// Reads a snapshot; its pages are read when they are touched. `disks` are the images below its
/// disks, which must be as they were.
pub(crate) fn read(
    store: &Arc<Store>,
    id: Digest,
    disks: &[DiskFile],
) -> Result<Snapshot, Failure> {
    let manifest = store.manifest(id)?;
    let spec = store.read(Sort::Blob, manifest.spec)?;
    let mut spec: Spec = decoded(&spec).map_err(|error| damaged(id, &error))?;
    for (role, digest) in &manifest.files {
        let (store, digest) = (store.clone(), *digest);
        let bytes = store.blob_bytes(digest)?;
        let kept = Blob::elsewhere(Box::new(KeptFile { store, digest, bytes }));
        spec.files.insert(role.clone(), kept);
    }
    if spec.kind != manifest.kind {
        return Err(damaged(id, &StateError::Invalid("two kinds")));
    }
    let records = store.read(Sort::Blob, manifest.records)?;
    let pending: Vec<Effect> = decoded(&manifest.pending).map_err(|error| damaged(id, &error))?;
    let names = disk_spaces(&spec)?;
    let source = StoreSource(store.clone());
    let mut spaces = Vec::new();
    for space in &manifest.spaces {
        let at = names.iter().position(|name| *name == space.name);
        let base = space.base.map(|wanted| base_of(wanted, at.and_then(|at| disks.get(at))));
        let image = source.image(space, base.transpose()?);
        if let Some(disk) = at.and_then(|at| spec.disks.get_mut(at)) {
            disk.image = image.clone();
        }
        spaces.push(SpaceImage { name: space.name.clone(), pages: space.pages, image });
    }
    let (semantics, tick) = (manifest.semantics, manifest.tick);
    Ok(Snapshot { spec, semantics, tick, spaces, records, pending })
}

/// A file of a machine's spec, as a blob of the store.
#[derive(Debug)]
struct KeptFile {
    store: Arc<Store>,
    digest: Digest,
    bytes: u64,
}

impl BlobSource for KeptFile {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        Ok(self.store.read_blob(self.digest, at, into)?)
    }
}

/// Reads all files of a snapshot's spec, to see whether they can be read.
pub(crate) fn check_files(snapshot: &Snapshot) -> Result<(), Failure> {
    for blob in snapshot.spec.files.values() {
        blob.bytes().map_err(store_error)?;
    }
    Ok(())
}

/// The images of a snapshot's disks, in order.
pub(crate) fn disk_images(snapshot: &Snapshot) -> Result<Vec<Image>, Failure> {
    let names = disk_spaces(&snapshot.spec)?;
    let image = |name: &String| {
        let space = snapshot.spaces.iter().find(|space| space.name == *name);
        space.map_or_else(Image::default, |space| space.image.clone())
    };
    Ok(names.iter().map(image).collect())
}

/// The spaces of a machine's disks, in the order of its disks.
pub(crate) fn disk_spaces(spec: &Spec) -> Result<Vec<String>, Failure> {
    let ports = kind_of(&spec.kind)?.ports(spec)?;
    let space = |port: &omni_machine::PortInfo| match &port.kind {
        PortKind::Disk { space } => Some(space.clone()),
        PortKind::Console | PortKind::Net { .. } | PortKind::Files => None,
    };
    Ok(ports.iter().filter_map(space).collect())
}

/// The image below a disk, if it is the one that is wanted.
pub(crate) fn base_of(wanted: Digest, disk: Option<&DiskFile>) -> Result<Arc<dyn Base>, Failure> {
    let none = || {
        let text = "the snapshot lies over a disk image that the machine does not have";
        Failure::new(code::DAMAGED, text)
    };
    let disk = disk.ok_or_else(none)?;
    let opened = Disk::open(&source_of(disk), None)?;
    let base = opened.image().base().filter(|base| base.digest() == wanted).cloned();
    base.ok_or_else(|| {
        let path = disk.path.display();
        let text = format!("the disk image {path} has changed since the snapshot was taken");
        Failure::new(code::DAMAGED, text)
    })
}

/// The id of a snapshot as it stands in a file.
pub(crate) fn parse_id(text: &str) -> Result<Digest, Failure> {
    let wrong = || Failure::new(code::DAMAGED, format!("'{text}' is not the id of a snapshot"));
    let mut id = Digest::default();
    for (at, byte) in id.0.iter_mut().enumerate() {
        let digits = text.get(at * 2..at * 2 + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(id)
}

/// The snapshot below the disks of a machine, where there is one.
pub(crate) fn below_disks(entry: &Entry) -> Result<Option<Vec<Image>>, Failure> {
    let Some(id) = &entry.origin.disks else { return Ok(None) };
    let snapshot = read(&own_store()?, parse_id(id)?, &entry.machine.disks)?;
    disk_images(&snapshot).map(Some)
}

/// Whatever a commit or image failed by: the store's own error where it is one.
pub(crate) fn store_error(error: io::Error) -> StoreError {
    error.downcast().unwrap_or_else(|error| StoreError::Io("the snapshot".into(), error))
}

fn damaged(id: Digest, error: &StateError) -> Failure {
    Failure::new(code::DAMAGED, format!("the snapshot {}: {error}", id.short()))
}

fn encoded(value: &impl Field) -> Vec<u8> {
    let mut out = Writer::default();
    value.put(&mut out);
    out.0
}

fn decoded<T: Field>(bytes: &[u8]) -> Result<T, StateError> {
    let mut from = Reader(bytes);
    let value = T::get(&mut from)?;
    if from.0.is_empty() { Ok(value) } else { Err(StateError::Invalid("bytes after its end")) }
}

fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}
