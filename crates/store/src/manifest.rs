//! Manifests: what a snapshot consists of, by digest. Section 5 of the format.

use omni_base::{Digest, Tick};
use omni_state::{Field, Reader, StateError, Writer};
use std::collections::BTreeMap;

/// The version of manifests that this build writes and reads.
const VERSION: u32 = 1;

/// Pages of all spaces of a snapshot: 16 TiB. A live space costs memory by its size.
const PAGES_MAX: u64 = 1 << 32;

/// Spaces of a snapshot.
const SPACES_MAX: usize = 4096;

/// The parts that this build knows, in their order.
const PARTS: [&str; 7] = ["about", "machine", "name", "pending", "records", "spaces", "spec"];

/// Why a manifest cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is of a later format.
    #[error("it has format {0}, which this build does not know: use the build that took it")]
    Version(u32),
    /// It has a part without which it cannot be understood.
    #[error("it needs '{0}', which this build does not know: use the build that took it")]
    Part(String),
    /// A part is not there.
    #[error("it has no part '{0}'")]
    NoPart(&'static str),
    /// It is not encoded as it should be.
    #[error("it is not sound: {0}")]
    State(#[from] StateError),
}

/// A snapshot, by the digests of what it consists of.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Manifest {
    /// Whose it is: the id of the machine it was taken of.
    pub owner: String,
    /// Its name among those of its owner.
    pub tag: String,
    /// When it was taken: milliseconds since 1970.
    pub time_ms: u64,
    /// The snapshot from which the machine went on, of this owner or another.
    pub parent: Option<Digest>,
    /// The name of the kind.
    pub kind: String,
    /// The number of the meaning of the kind's instructions.
    pub semantics: u32,
    /// When on the machine's timeline.
    pub tick: Tick,
    /// The digest of the machine's whole state.
    pub state: Digest,
    /// The blob of the spec, without its files.
    pub spec: Digest,
    /// The blob of each file of the spec, by role.
    pub files: BTreeMap<String, Digest>,
    /// The blob of the records.
    pub records: Digest,
    /// The encoded requests in flight.
    pub pending: Vec<u8>,
    /// The spaces, in the machine's order.
    pub spaces: Vec<SpaceRef>,
    /// What whoever took it wants to know again; may be empty.
    pub about: Vec<u8>,
}

/// The content of one space.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpaceRef {
    /// Its name.
    pub name: String,
    /// Its size in pages.
    pub pages: u64,
    /// The root node of its image, where it holds anything.
    pub root: Option<Digest>,
    /// What names the content below, where there is some; it is not in the store.
    pub base: Option<Digest>,
}

impl Field for SpaceRef {
    fn put(&self, out: &mut Writer) {
        self.name.put(out);
        self.pages.put(out);
        (self.root, self.base).put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        let (name, pages) = Field::get(from)?;
        let (root, base) = Field::get(from)?;
        Ok(Self { name, pages, root, base })
    }
}

impl Manifest {
    /// The canonical bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let part = |name: &str| (name.to_owned(), name != "about", self.part(name));
        let parts: Vec<(String, bool, Vec<u8>)> = PARTS.into_iter().map(part).collect();
        let mut out = Writer::default();
        VERSION.put(&mut out);
        parts.put(&mut out);
        out.0
    }

    fn part(&self, name: &str) -> Vec<u8> {
        let mut out = Writer::default();
        match name {
            "about" => return self.about.clone(),
            "machine" => {
                self.kind.put(&mut out);
                (self.semantics, self.tick, self.state).put(&mut out);
            }
            "name" => {
                (self.owner.clone(), self.tag.clone()).put(&mut out);
                (self.time_ms, self.parent).put(&mut out);
            }
            "pending" => return self.pending.clone(),
            "records" => self.records.put(&mut out),
            "spaces" => self.spaces.put(&mut out),
            _ => {
                self.spec.put(&mut out);
                self.files.put(&mut out);
            }
        }
        out.0
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// Where it is of a later format, has required parts that are not known, or is not sound.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        let mut from = Reader(bytes);
        let version = u32::get(&mut from)?;
        if version != VERSION {
            return Err(ManifestError::Version(version));
        }
        let list: Vec<(String, bool, Vec<u8>)> = Field::get(&mut from)?;
        let ordered = list.is_sorted_by(|one, other| one.0 < other.0);
        if !from.0.is_empty() || !ordered {
            return Err(StateError::Invalid("parts of a manifest").into());
        }
        if let Some(part) = list.iter().find(|part| part.1 && !PARTS.contains(&&part.0[..])) {
            return Err(ManifestError::Part(part.0.clone()));
        }
        let mut manifest = Self::default();
        for name in PARTS {
            match list.iter().find(|part| part.0 == name) {
                Some((_, _, bytes)) => manifest.get_part(name, bytes)?,
                None if name == "about" => {}
                None => return Err(ManifestError::NoPart(name)),
            }
        }
        let pages = manifest.spaces.iter().try_fold(0u64, |sum, one| sum.checked_add(one.pages));
        let mut names: Vec<&str> = manifest.spaces.iter().map(|space| &space.name[..]).collect();
        names.sort_unstable();
        if pages.is_none_or(|pages| pages > PAGES_MAX)
            || names.len() > SPACES_MAX
            || names.windows(2).any(|pair| pair[0] == pair[1])
        {
            return Err(StateError::Invalid("spaces that no machine has").into());
        }
        Ok(manifest)
    }

    fn get_part(&mut self, name: &str, bytes: &[u8]) -> Result<(), StateError> {
        let mut from = Reader(bytes);
        match name {
            "about" => self.about = from.take(bytes.len())?.to_vec(),
            "machine" => {
                self.kind = Field::get(&mut from)?;
                (self.semantics, self.tick, self.state) = Field::get(&mut from)?;
            }
            "name" => {
                (self.owner, self.tag) = Field::get(&mut from)?;
                (self.time_ms, self.parent) = Field::get(&mut from)?;
            }
            "pending" => self.pending = from.take(bytes.len())?.to_vec(),
            "records" => self.records = Field::get(&mut from)?,
            "spaces" => self.spaces = Field::get(&mut from)?,
            _ => {
                self.spec = Field::get(&mut from)?;
                self.files = Field::get(&mut from)?;
            }
        }
        if from.0.is_empty() { Ok(()) } else { Err(StateError::Invalid("part of a manifest")) }
    }

    /// Every blob that it names.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Digest> {
        self.files.values().copied().chain([self.spec, self.records])
    }
}
