//! Trees: the snapshots of one owner, as a file that only grows. Section 6 of the format.

use crate::StoreError;
use crate::files::{Files, Lock};
use crate::write::check_tag;
use omni_base::{Digest, Tick};
use omni_state::{Field, Reader, StateError, Writer};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

const MAGIC: [u8; 8] = *b"OMNITREE";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;

/// Bytes of a tree: a million snapshots and more.
const TREE_BYTES_MAX: u64 = 1 << 30;

/// One snapshot of a tree.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Entry {
    /// The digest of its manifest, which is its id.
    pub id: Digest,
    /// The snapshot before it, of this tree or another.
    pub parent: Option<Digest>,
    /// Its tag.
    pub tag: String,
    /// When it was taken: milliseconds since 1970.
    pub time_ms: u64,
    /// When on the machine's timeline.
    pub tick: Tick,
    /// The digest of the machine's state.
    pub state: Digest,
    /// Pages that it holds, over all spaces.
    pub pages_total: u64,
    /// Pages that the store did not have before.
    pub pages_new: u64,
    /// Bytes by which the store grew.
    pub bytes_new: u64,
}

impl Field for Entry {
    fn put(&self, out: &mut Writer) {
        (self.id, self.parent, self.tag.clone()).put(out);
        (self.time_ms, self.tick, self.state).put(out);
        (self.pages_total, self.pages_new, self.bytes_new).put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (id, parent, tag) = Field::get(from)?;
        let (time_ms, tick, state) = Field::get(from)?;
        let (pages_total, pages_new, bytes_new) = Field::get(from)?;
        Ok(Self { id, parent, tag, time_ms, tick, state, pages_total, pages_new, bytes_new })
    }
}

/// A line of the file.
pub(crate) enum Change {
    Add(Entry),
    Remove(Digest),
}

/// The snapshots of one owner.
#[derive(Clone, Default, Debug)]
pub struct Tree {
    entries: Vec<Entry>,
    by_tag: BTreeMap<String, usize>,
    by_id: BTreeMap<Digest, usize>,
    removed: BTreeMap<Digest, Option<Digest>>,
}

impl Tree {
    /// The snapshots, oldest first, without those that were removed.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| self.by_id.contains_key(&entry.id))
    }

    /// The snapshot of this tag.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Option<&Entry> {
        self.by_tag.get(tag).map(|at| &self.entries[*at])
    }

    /// Whether a snapshot can have this tag.
    ///
    /// # Errors
    /// Where another one has it, and where it is no word.
    pub fn check_free(&self, tag: &str) -> Result<(), StoreError> {
        check_tag(tag)?;
        match self.tagged(tag) {
            Some(_) => Err(StoreError::Exists(tag.to_owned())),
            None => Ok(()),
        }
    }

    /// The snapshot of this id.
    #[must_use]
    pub fn get(&self, id: &Digest) -> Option<&Entry> {
        self.by_id.get(id).map(|at| &self.entries[*at])
    }

    /// The snapshot before this one that has not been removed.
    #[must_use]
    pub fn parent(&self, of: &Entry) -> Option<&Entry> {
        self.get(&self.present(of.parent?)?)
    }

    /// The snapshot of this id, or the nearest before it that has not been removed. One that this
    /// tree does not know is another's, and is given as it is.
    #[must_use]
    pub fn present(&self, id: Digest) -> Option<Digest> {
        let mut id = id;
        while let Some(parent) = self.removed.get(&id) {
            id = (*parent)?;
        }
        Some(id)
    }

    /// Finds a snapshot by its name: a tag or the beginning of an id, and `~N` for the Nth before.
    ///
    /// # Errors
    /// Where there is none of this name, or more than one.
    pub fn find(&self, name: &str) -> Result<&Entry, StoreError> {
        let none = || StoreError::NoSnapshot(name.to_owned());
        let (base, back) = name.split_once('~').unwrap_or((name, "0"));
        let back = if back.is_empty() { 1 } else { back.parse::<u32>().map_err(|_| none())? };
        let mut found = self.tagged(base);
        if found.is_none() && base.len() >= 4 {
            let mut fits = self.entries().filter(|entry| entry.id.to_string().starts_with(base));
            found = fits.next();
            if fits.next().is_some() {
                return Err(none());
            }
        }
        for _ in 0..back {
            found = found.and_then(|entry| self.parent(entry));
        }
        found.ok_or_else(none)
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Add(entry) => {
                self.removed.remove(&entry.id);
                self.by_tag.insert(entry.tag.clone(), self.entries.len());
                self.by_id.insert(entry.id, self.entries.len());
                self.entries.push(entry);
            }
            Change::Remove(id) => {
                if let Some(at) = self.by_id.remove(&id) {
                    self.by_tag.remove(&self.entries[at].tag);
                    self.removed.insert(id, self.entries[at].parent);
                }
            }
        }
    }

    /// Reads the tree of a file; one that is not there has no snapshots.
    pub(crate) fn read(path: &Path) -> Result<Self, StoreError> {
        Self::replay(path).map(|(tree, _, _)| tree)
    }

    /// The tree, the length of what is whole, and the chain there.
    fn replay(path: &Path) -> Result<(Self, u64, Digest), StoreError> {
        let bytes = match std::fs::metadata(path) {
            Ok(meta) if meta.len() > TREE_BYTES_MAX => {
                return Err(StoreError::damaged(path, "it is larger than any tree"));
            }
            Ok(_) => std::fs::read(path).map_err(StoreError::io(path))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StoreError::Io(path.to_owned(), error)),
        };
        let chain = Digest::of(&header());
        if bytes.len() < HEADER_BYTES {
            let begun = header().starts_with(&bytes);
            let damaged = || StoreError::damaged(path, "it does not begin as a tree does");
            return if begun { Ok((Self::default(), 0, chain)) } else { Err(damaged()) };
        }
        if bytes[..8] != MAGIC {
            return Err(StoreError::damaged(path, "it does not begin as a tree does"));
        }
        if bytes[..HEADER_BYTES] != header() {
            let version = u32::from_le_bytes(*bytes[8..].first_chunk().expect("checked above"));
            let what = format!("a tree of format {version}");
            return Err(StoreError::Newer(path.to_owned(), what));
        }
        let (mut tree, mut chain, mut at) = (Self::default(), chain, HEADER_BYTES);
        while let Some((body, end)) = next_line(&bytes, at, &mut chain)
            .map_err(|()| StoreError::damaged(path, format!("the line at byte {at} has changed")))?
        {
            let change = parse(body).map_err(|why| {
                StoreError::damaged(path, format!("the line at byte {at} is not sound: {why}"))
            })?;
            tree.take(change);
            at = end;
        }
        Ok((tree, at as u64, chain))
    }

    /// Appends to the tree of a file, if `check` allows, and makes that survive a loss of power.
    pub(crate) fn append(
        files: &Files,
        path: &Path,
        check: impl FnOnce(&Self) -> Result<Option<Change>, StoreError>,
    ) -> Result<(), StoreError> {
        let _lock = Lock::exclusive(&path.with_extension("lock")).map_err(StoreError::io(path))?;
        let (tree, end, chain) = Self::replay(path)?;
        let Some(change) = check(&tree)? else { return Ok(()) };
        let mut bytes = if end == 0 { header().to_vec() } else { Vec::new() };
        bytes.extend(line(&change, chain));
        let write = || {
            let fresh = !path.exists();
            let file = if fresh {
                files.create(path)?
            } else {
                OpenOptions::new().read(true).write(true).mode(0o600).open(path)?
            };
            // What a crash left of a line that was never whole.
            if file.metadata()?.len() > end {
                files.truncate(&file, end)?;
            }
            let written = files
                .write_at(&file, end, &bytes)
                .and_then(|()| files.sync(&file, path))
                .and_then(|()| if fresh { files.sync_dir(path) } else { Ok(()) });
            if written.is_err() {
                // Where even that fails, the next writer does it.
                let _ = files.truncate(&file, end);
            }
            written
        };
        write().map_err(StoreError::io(path))
    }

    /// Writes the tree anew, without what nothing needs any more. For `gc`.
    pub(crate) fn compact(&self, files: &Files, path: &Path) -> io::Result<()> {
        let mut bytes = header().to_vec();
        let mut chain = Digest::of(&bytes);
        let mut put = |change: &Change| {
            let line = line(change, chain);
            let body = &line[8..line.len() - 8];
            chain = Digest::of_parts([&chain.0[..], &line[..4], body]);
            bytes.extend(line);
        };
        for entry in self.entries() {
            let parent = entry.parent.and_then(|parent| self.present(parent));
            put(&Change::Add(Entry { parent, ..entry.clone() }));
        }
        files.replace(path, &bytes)
    }

    /// Whether `compact` would leave something out.
    pub(crate) fn has_removed(&self) -> bool {
        !self.removed.is_empty()
    }
}

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header
}

fn line(change: &Change, chain: Digest) -> Vec<u8> {
    let mut body = Writer::default();
    match change {
        Change::Add(entry) => {
            1u8.put(&mut body);
            entry.put(&mut body);
        }
        Change::Remove(id) => {
            2u8.put(&mut body);
            id.put(&mut body);
        }
    }
    let length = u32::try_from(body.0.len()).expect("a line is short").to_le_bytes();
    let mut out = length.to_vec();
    out.extend_from_slice(&Digest::of_parts([&chain.0[..], &length]).0[..4]);
    out.extend_from_slice(&body.0);
    out.extend_from_slice(&Digest::of_parts([&chain.0[..], &length, &body.0]).0[..8]);
    out
}

/// The next whole line and its end; `None` where what is left was never whole.
fn next_line<'a>(
    bytes: &'a [u8],
    at: usize,
    chain: &mut Digest,
) -> Result<Option<(&'a [u8], usize)>, ()> {
    let Some((length, rest)) = bytes[at..].split_first_chunk::<4>() else { return Ok(None) };
    let Some((check, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    // A file system that lost power may have made a file longer without what was written there.
    if bytes[at..].iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    if Digest::of_parts([&chain.0[..], length]).0[..4] != *check {
        return Err(());
    }
    let count = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| ())?;
    let Some((body, rest)) = rest.split_at_checked(count) else { return Ok(None) };
    let Some(check) = rest.first_chunk::<8>() else { return Ok(None) };
    let whole = Digest::of_parts([&chain.0[..], length, body]);
    if whole.0[..8] != *check {
        let lost = *check == [0; 8] && rest.len() == 8;
        return if lost { Ok(None) } else { Err(()) };
    }
    *chain = whole;
    Ok(Some((body, at + 16 + count)))
}

fn parse(body: &[u8]) -> Result<Change, StateError> {
    let mut from = Reader(body);
    let change = match u8::get(&mut from)? {
        1 => Change::Add(Field::get(&mut from)?),
        2 => Change::Remove(Field::get(&mut from)?),
        _ => return Err(StateError::Invalid("a change of no known sort")),
    };
    if from.0.is_empty() { Ok(change) } else { Err(StateError::Invalid("bytes after its end")) }
}
