//! Trees: the snapshots of one owner, as a file that only grows. Section 6 of the format.

use crate::StoreError;
use crate::files::{Files, Lock};
use crate::write::check_tag;
use omni_base::{Digest, Tick};
use omni_state::{Field, Reader, StateError, Writer};
use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, OnceLock};

const MAGIC: [u8; 8] = *b"OMNITREE";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;

/// Bytes of a tree: a million snapshots and more.
const TREE_BYTES_MAX: u64 = 1 << 30;

/// Bytes of a line, about: one with a parent and a short tag.
const LINE_BYTES: usize = 180;

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
    /// In the order of their lines; `None` in the place of one that was removed.
    entries: Vec<Option<Entry>>,
    /// Made when a tag is first looked for.
    by_tag: OnceLock<HashMap<String, usize>>,
    by_id: HashMap<Digest, usize>,
    removed: BTreeMap<Digest, Option<Digest>>,
}

impl Tree {
    /// The snapshots, oldest first, without those that were removed.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    /// The snapshot of this tag.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Option<&Entry> {
        let by_tag = self.by_tag.get_or_init(|| {
            let all = self.entries.iter().enumerate();
            all.filter_map(|(at, entry)| Some((entry.as_ref()?.tag.clone(), at))).collect()
        });
        by_tag.get(tag).and_then(|at| self.entries[*at].as_ref())
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
        self.by_id.get(id).and_then(|at| self.entries[*at].as_ref())
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
        // Not more steps than there are to take, should a forger have made a ring of them.
        for _ in 0..=self.removed.len() {
            match self.removed.get(&id) {
                Some(parent) => id = (*parent)?,
                None => return Some(id),
            }
        }
        None
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
        if usize::try_from(back).map_or(true, |back| back >= self.entries.len().max(1)) {
            return Err(none());
        }
        for _ in 0..back {
            found = found.and_then(|entry| self.parent(entry));
        }
        found.ok_or_else(none)
    }

    fn reserve(&mut self, count: usize) {
        self.entries.reserve(count);
        self.by_id.reserve(count);
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Add(entry) => {
                self.removed.remove(&entry.id);
                if let Some(by_tag) = self.by_tag.get_mut() {
                    by_tag.insert(entry.tag.clone(), self.entries.len());
                }
                self.by_id.insert(entry.id, self.entries.len());
                self.entries.push(Some(entry));
            }
            Change::Remove(id) => {
                let at = self.by_id.remove(&id);
                if let Some(entry) = at.and_then(|at| self.entries[at].take()) {
                    if let Some(by_tag) = self.by_tag.get_mut() {
                        by_tag.remove(&entry.tag);
                    }
                    self.removed.insert(id, entry.parent);
                }
            }
        }
    }

    /// Appends to the tree of a file, if `check` allows, and makes that survive a loss of power.
    /// `known` is what was read of it before, and becomes what it is now.
    pub(crate) fn append(
        files: &Files,
        path: &Path,
        known: &mut Replayed,
        check: impl FnOnce(&Self) -> Result<Option<Change>, StoreError>,
    ) -> Result<(), StoreError> {
        let _lock = Lock::exclusive(&path.with_extension("lock")).map_err(StoreError::io(path))?;
        known.go_on(path)?;
        let Some(change) = check(&known.tree)? else { return Ok(()) };
        let (end, begins) = (known.end, known.end == 0);
        let mut bytes = if begins { header().to_vec() } else { Vec::new() };
        let (line, chain) = line(&change, known.chain);
        let start = end + bytes.len() as u64;
        bytes.extend(line);
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
        write().map_err(StoreError::io(path))?;
        known.take(change, (start, end + bytes.len() as u64), chain);
        Ok(())
    }

    /// Writes the tree anew, without what nothing needs any more. For `gc`.
    pub(crate) fn compact(&self, files: &Files, path: &Path) -> io::Result<()> {
        let mut bytes = header().to_vec();
        let mut chain = Digest::of(&bytes);
        let mut put = |change: &Change| {
            let (line, whole) = line(change, chain);
            chain = whole;
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

/// What was read of the file of a tree. It only grows, so what was read stays, and another look is
/// at what came since.
#[derive(Default, Debug)]
pub(crate) struct Replayed {
    tree: Arc<Tree>,
    /// The length of what is whole.
    end: u64,
    /// The chain there.
    chain: Digest,
    /// Where the last line begins, and the chain there: by these it is known again, and by it all
    /// before it. `None` where there is no line.
    last: Option<(u64, Digest)>,
}

impl Replayed {
    /// The tree of a file as it is now. One that is not there has no snapshots.
    pub(crate) fn read(path: &Path) -> Result<Arc<Tree>, StoreError> {
        let mut known = Self::default();
        known.look(path)
    }

    /// As `read`, but only what came since the last look is read.
    pub(crate) fn look(&mut self, path: &Path) -> Result<Arc<Tree>, StoreError> {
        self.go_on(path)?;
        Ok(self.tree.clone())
    }

    fn go_on(&mut self, path: &Path) -> Result<(), StoreError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *self = Self { chain: Digest::of(&header()), ..Self::default() };
                return Ok(());
            }
            Err(error) => return Err(StoreError::Io(path.to_owned(), error)),
        };
        if let Some((start, chain)) = self.last
            && let Some(fresh) = self.since(&file, path, start, chain)
        {
            fresh.into_iter().for_each(|(change, at, chain)| self.take(change, at, chain));
            return Ok(());
        }
        // It was written anew, or something is wrong with it: then that is what is to be told.
        *self = Self::replay(&file, path)?;
        Ok(())
    }

    /// The lines after the last one that is known, where that is still there and they are sound.
    fn since(&self, file: &File, path: &Path, start: u64, chain: Digest) -> Option<Vec<Line>> {
        let size = file.metadata().ok()?.len();
        let fresh = size.checked_sub(start).filter(|_| size >= self.end)?;
        let mut bytes = vec![0; usize::try_from(fresh).ok().filter(|_| size <= TREE_BYTES_MAX)?];
        file.read_exact_at(&mut bytes, start).ok()?;
        let mut lines = Lines { bytes: &bytes, at: 0, start, chain };
        lines.next(path).ok()??;
        let same = start + lines.at as u64 == self.end && lines.chain == self.chain;
        let mut fresh = Vec::new();
        while let Some(line) = same.then(|| lines.next(path).ok())?? {
            fresh.push(line);
        }
        Some(fresh)
    }

    fn replay(file: &File, path: &Path) -> Result<Self, StoreError> {
        // As far as it reaches: who appends cuts off a torn line meanwhile, and no lock is held.
        let size = file.metadata().map_err(StoreError::io(path))?.len().min(TREE_BYTES_MAX);
        let mut bytes = Vec::with_capacity(usize::try_from(size).expect("bounded") + 1);
        file.take(TREE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(StoreError::io(path))?;
        if bytes.len() as u64 > TREE_BYTES_MAX {
            return Err(StoreError::damaged(path, "it is larger than any tree"));
        }
        let chain = Digest::of(&header());
        let mut all = Self { chain, ..Self::default() };
        if bytes.len() < HEADER_BYTES {
            let begun = header().starts_with(&bytes);
            let damaged = || StoreError::damaged(path, "it does not begin as a tree does");
            return if begun { Ok(all) } else { Err(damaged()) };
        }
        if bytes[..8] != MAGIC {
            return Err(StoreError::damaged(path, "it does not begin as a tree does"));
        }
        if bytes[..HEADER_BYTES] != header() {
            let version = u32::from_le_bytes(*bytes[8..].first_chunk().expect("checked above"));
            let what = format!("a tree of format {version}");
            return Err(StoreError::Newer(path.to_owned(), what));
        }
        all.end = HEADER_BYTES as u64;
        Arc::make_mut(&mut all.tree).reserve(bytes.len() / LINE_BYTES);
        let mut lines = Lines { bytes: &bytes, at: HEADER_BYTES, start: 0, chain };
        while let Some((change, at, chain)) = lines.next(path)? {
            all.take(change, at, chain);
        }
        Ok(all)
    }

    fn take(&mut self, change: Change, (start, end): (u64, u64), chain: Digest) {
        Arc::make_mut(&mut self.tree).take(change);
        self.last = Some((start, self.chain));
        (self.end, self.chain) = (end, chain);
    }
}

/// A line, from where to where in the file it is, and the chain after it.
type Line = (Change, (u64, u64), Digest);

/// The lines in a part of a file.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where in the file the part begins.
    start: u64,
    chain: Digest,
}

impl Lines<'_> {
    /// The next whole line, where it lies in the file, and the chain after it.
    fn next(&mut self, path: &Path) -> Result<Option<Line>, StoreError> {
        let here = self.start + self.at as u64;
        let damaged =
            |what: String| StoreError::damaged(path, format!("the line at byte {here} {what}"));
        let found = next_line(self.bytes, self.at, &mut self.chain);
        let Some((body, end)) = found.map_err(|()| damaged("has changed".into()))? else {
            return Ok(None);
        };
        let change = parse(body).map_err(|why| damaged(format!("is not sound: {why}")))?;
        self.at = end;
        Ok(Some((change, (here, self.start + end as u64), self.chain)))
    }
}

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// A line, and the chain after it.
fn line(change: &Change, chain: Digest) -> (Vec<u8>, Digest) {
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
    out.extend_from_slice(&chained(chain, &[&length]).0[..4]);
    out.extend_from_slice(&body.0);
    let whole = chained(chain, &[&length, &body.0]);
    out.extend_from_slice(&whole.0[..8]);
    (out, whole)
}

/// The digest of the chain and what follows it. Lines are short, and there may be many.
fn chained(chain: Digest, parts: &[&[u8]]) -> Digest {
    let mut all = [0; 512];
    all[..32].copy_from_slice(&chain.0);
    let mut at = 32;
    for part in parts {
        let Some(place) = all.get_mut(at..at + part.len()) else {
            return Digest::of_parts(std::iter::once(&chain.0[..]).chain(parts.iter().copied()));
        };
        place.copy_from_slice(part);
        at += part.len();
    }
    Digest::of(&all[..at])
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
    if chained(*chain, &[length]).0[..4] != *check {
        return Err(());
    }
    let count = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| ())?;
    let Some((body, rest)) = rest.split_at_checked(count) else { return Ok(None) };
    let Some(check) = rest.first_chunk::<8>() else { return Ok(None) };
    let whole = chained(*chain, &[length, body]);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_of_snapshots_that_a_forger_made_has_an_end() {
        let (one, two) = (Digest([1; 32]), Digest([2; 32]));
        let entry = |id, parent, tag: &str| {
            Change::Add(Entry { id, parent: Some(parent), tag: tag.into(), ..Entry::default() })
        };
        let mut tree = Tree::default();
        tree.take(entry(one, two, "one"));
        tree.take(entry(two, one, "two"));
        assert_eq!(tree.find("one~1").ok().map(|entry| entry.id), Some(two));
        assert!(tree.find("one~4294967295").is_err(), "no tree is that deep");
        tree.take(Change::Remove(one));
        assert_eq!(tree.find("two~1").ok().map(|entry| entry.id), Some(two), "its own");
        tree.take(Change::Remove(two));
        assert_eq!(tree.present(one), None);
        assert_eq!(tree.entries().count(), 0);
    }
}
