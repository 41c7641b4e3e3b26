//! Indices: where objects lie, sorted by digest. Section 4 of the format.

use crate::StoreError;
use crate::files::Files;
use crate::pack::Place;
use omni_base::Digest;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"OMNIINDX";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 88;
const ENTRY_BYTES: usize = 48;

/// Entries that are read at once when looking for one.
const WINDOW: u64 = 64;

/// Looks by estimate before each further one halves what is left: digests are even, but a forger's
/// need not be.
const ESTIMATES_MAX: u32 = 8;

/// An index that is open.
#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    file: File,
    pub(crate) packs: Vec<u64>,
    count: u64,
    start: u64,
    entries: Digest,
}

impl Index {
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(StoreError::io(path))?;
        let damaged = |what: &str| StoreError::damaged(path, what);
        let size = file.metadata().map_err(StoreError::io(path))?.len();
        let mut header = [0; HEADER_BYTES];
        if size < HEADER_BYTES as u64 {
            return Err(damaged("it is cut short"));
        }
        file.read_exact_at(&mut header, 0).map_err(StoreError::io(path))?;
        if header[..8] != MAGIC {
            return Err(damaged("it does not begin as an index does"));
        }
        let four = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().expect("inside"));
        let version = four(8);
        if version != VERSION {
            let what = format!("an index of format {version}");
            return Err(StoreError::Newer(path.to_owned(), what));
        }
        let packs = u64::from(four(12));
        let count = u64::from_le_bytes(*header[16..].first_chunk().expect("inside"));
        let start = HEADER_BYTES as u64 + packs * 8;
        let whole = count.checked_mul(ENTRY_BYTES as u64).and_then(|all| all.checked_add(start));
        if whole != Some(size) {
            return Err(damaged("it does not have the size it says"));
        }
        let mut names = vec![0; usize::try_from(packs * 8).expect("below the file's size")];
        file.read_exact_at(&mut names, HEADER_BYTES as u64).map_err(StoreError::io(path))?;
        if Digest::of_parts([&header[..56], &names]).0 != header[56..] {
            return Err(damaged("its head does not have its digest"));
        }
        let packs = names.as_chunks::<8>().0.iter().map(|name| u64::from_le_bytes(*name)).collect();
        let entries = Digest(*header[24..].first_chunk().expect("inside"));
        Ok(Self { path: path.to_owned(), file, packs, count, start, entries })
    }

    /// Where an object lies, as this index says.
    pub(crate) fn find(&self, digest: &Digest) -> Result<Option<Place>, StoreError> {
        let key = leading(digest);
        let (mut low, mut high) = (0, self.count);
        let (mut low_key, mut high_key) = (0, u64::MAX);
        let mut looks = 0;
        loop {
            let span = high - low;
            let start = if span <= WINDOW {
                low
            } else {
                let above = u128::from(key.saturating_sub(low_key));
                let range = u128::from(high_key.saturating_sub(low_key)) + 1;
                let guess = above * u128::from(span) / range;
                looks += 1;
                let half = span / 2;
                let guess = u64::try_from(guess).unwrap_or(half);
                let guess = if looks > ESTIMATES_MAX { half } else { guess };
                (low + guess).saturating_sub(WINDOW / 2).clamp(low, high - WINDOW)
            };
            let window = self.read(start, span.min(WINDOW))?;
            let (Some(first), Some(last)) = (window.first(), window.last()) else {
                return Ok(None);
            };
            if span > WINDOW && *digest < first.digest {
                (high, high_key) = (start, leading(&first.digest));
            } else if span > WINDOW && *digest > last.digest {
                (low, low_key) = (start + WINDOW, leading(&last.digest));
            } else {
                let found = window.binary_search_by(|place| place.digest.cmp(digest));
                return Ok(found.ok().map(|at| window[at]));
            }
        }
    }

    fn read(&self, start: u64, count: u64) -> Result<Vec<Place>, StoreError> {
        let count = usize::try_from(count).expect("bounded by the file's size");
        let mut bytes = vec![0; count * ENTRY_BYTES];
        let at = self.start + start * ENTRY_BYTES as u64;
        self.file.read_exact_at(&mut bytes, at).map_err(StoreError::io(&self.path))?;
        Ok(bytes.as_chunks::<ENTRY_BYTES>().0.iter().map(entry).collect())
    }

    /// All entries, held against their digest.
    pub(crate) fn all(&self) -> Result<Vec<Place>, StoreError> {
        let all = self.read(0, self.count)?;
        if digest_of(&all) == self.entries {
            Ok(all)
        } else {
            Err(StoreError::damaged(&self.path, "its entries do not have their digest"))
        }
    }

    /// Writes an index of these packs and places, which are sorted.
    pub(crate) fn write(
        files: &Files,
        path: &Path,
        packs: &[u64],
        places: &[Place],
    ) -> io::Result<()> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        let count = u32::try_from(packs.len()).expect("fewer than 2^32 packs");
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&(places.len() as u64).to_le_bytes());
        out.extend_from_slice(&digest_of(places).0);
        let names: Vec<u8> = packs.iter().flat_map(|pack| pack.to_le_bytes()).collect();
        let head = Digest::of_parts([&out[..], &names]);
        out.extend_from_slice(&head.0);
        out.extend_from_slice(&names);
        places.iter().for_each(|place| out.extend_from_slice(&bytes_of(place)));
        files.replace(path, &out)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// Sorts places and keeps the first of each digest.
pub(crate) fn sort(places: &mut Vec<Place>) {
    places.sort_unstable();
    places.dedup_by_key(|place| place.digest);
}

fn leading(digest: &Digest) -> u64 {
    u64::from_be_bytes(*digest.0.first_chunk().expect("a digest has 32 bytes"))
}

fn digest_of(places: &[Place]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    places.iter().for_each(|place| {
        hasher.update(&bytes_of(place));
    });
    Digest(*hasher.finalize().as_bytes())
}

fn bytes_of(place: &Place) -> [u8; ENTRY_BYTES] {
    let mut out = [0; ENTRY_BYTES];
    out[..32].copy_from_slice(&place.digest.0);
    out[32..40].copy_from_slice(&place.pack.to_le_bytes());
    out[40..].copy_from_slice(&place.offset.to_le_bytes());
    out
}

fn entry(bytes: &[u8; ENTRY_BYTES]) -> Place {
    let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("inside"));
    let digest = Digest(*bytes.first_chunk().expect("inside"));
    Place { digest, pack: word(32), offset: word(40) }
}
