//! What fuzzers and tests do with images that may be hostile: all that this crate can.

use crate::chain::Chain;
use crate::compress::Compression;
use crate::layer::{Content, Format};
use crate::sink::{Target, convert};
use crate::storage::{Alone, Files, MemoryFile, Opened, ReadAt};
use crate::{qcow2, vhd, vhdx};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Extents that are looked at, and places that are read.
const EXTENTS_MAX: usize = 200;

/// The largest disk that is copied as a whole.
const COPY_BYTES_MAX: u64 = 4 << 20;

/// An image with some bytes changed; what it was made of is shared.
#[derive(Clone, Debug)]
pub struct Mutant {
    base: Arc<Vec<u8>>,
    changes: Vec<(u64, Vec<u8>)>,
    bytes: u64,
}

impl Mutant {
    /// An image as it is.
    #[must_use]
    pub fn new(base: Arc<Vec<u8>>) -> Self {
        Self { bytes: base.len() as u64, base, changes: Vec::new() }
    }

    /// Changes bytes, within the file.
    pub fn change(&mut self, at: u64, to: &[u8]) {
        self.changes.push((at, to.to_vec()));
    }

    /// Cuts the file, or makes it longer by a hole.
    pub fn cut(&mut self, bytes: u64) {
        self.bytes = bytes;
    }

    /// Makes the checksums of headers right again, where the format has them.
    pub fn seal(&mut self, format: Format) {
        let sums = match format {
            Format::Vhd => vhd::seals(self),
            Format::Vhdx => vhdx::seals(self),
            Format::Raw | Format::Qcow2 | Format::Vmdk | Format::Vdi => Vec::new(),
        };
        self.changes.extend(sums.into_iter().map(|(at, sum)| (at, sum.to_vec())));
    }
}

impl ReadAt for Mutant {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(into.len() as u64).filter(|&end| end <= self.bytes);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let start = usize::try_from(at).unwrap_or(usize::MAX).min(self.base.len());
        let there = into.len().min(self.base.len() - start);
        into[..there].copy_from_slice(&self.base[start..start + there]);
        into[there..].fill(0);
        for (from, bytes) in &self.changes {
            for (place, &byte) in (*from..).zip(bytes) {
                if (at..end).contains(&place) {
                    // Within what is read.
                    into[(place - at) as usize] = byte;
                }
            }
        }
        Ok(())
    }

    fn run_at(&self, at: u64) -> io::Result<(bool, u64)> {
        Ok((true, self.bytes.saturating_sub(at).max(1)))
    }
}

/// Gives an image, and for other names a small file, the image again, or nothing.
struct Folder(Arc<dyn ReadAt>);

impl Files for Folder {
    fn open(&self, from: Option<&Path>, name: &str) -> Result<Opened, String> {
        let small = || Arc::new(MemoryFile(vec![0x5a; 70_000]));
        match name.as_bytes().last() {
            _ if from.is_none() => Ok(Opened { name: "image".into(), file: self.0.clone() }),
            Some(b'i') => Ok(Opened { name: "image".into(), file: self.0.clone() }),
            Some(b'x') => Err("is not there".into()),
            _ => Ok(Opened { name: PathBuf::from(name), file: small() }),
        }
    }
}

/// Reads an image in every way. What can be read must be the same each time, and after a copy.
///
/// # Panics
/// Where that is not so.
pub fn look(format: Format, image: &Mutant) {
    let chain = match Chain::open("image", Some(format), &Folder(Arc::new(image.clone()))) {
        Ok(chain) => chain,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let bytes = chain.bytes();
    let (mut at, mut steps, mut whole) = (0, 0, true);
    while at < bytes && steps < EXTENTS_MAX {
        let Ok(extent) = chain.extent(at) else {
            whole = false;
            break;
        };
        assert!(extent.bytes > 0 && extent.bytes <= bytes - at, "an extent is within the disk");
        let mut piece = vec![1; usize::try_from(extent.bytes).unwrap_or(5000).min(5000)];
        let read = chain.read_at(at, &mut piece);
        assert!(extent.content == Content::Data || read.is_ok(), "nothing stored, nothing to fail");
        assert!(extent.content == Content::Data || piece.iter().all(|&byte| byte == 0));
        whole &= read.is_ok();
        (at, steps) = (at + extent.bytes, steps + 1);
    }
    let _ = chain.read_at(bytes.saturating_sub(700), &mut [0; 1400]);
    let check = chain.check();
    if whole && at == bytes && bytes <= COPY_BYTES_MAX {
        copies_are_equal(&chain);
    }
    if format == Format::Qcow2 {
        let clean = check.is_ok_and(|check| check.corruptions == 0 && check.leaks == 0);
        resizes(image, bytes, clean && chain.images().count() == 1);
    }
}

/// The whole disk, where all of it can be read.
fn content(chain: &Chain) -> Option<Vec<u8>> {
    let mut disk = vec![0; usize::try_from(chain.bytes()).ok()?];
    chain.read_at(0, &mut disk).ok()?;
    Some(disk)
}

fn copies_are_equal(chain: &Chain) {
    let Some(disk) = content(chain) else { return };
    for (format, compression) in [(Format::Qcow2, Some(Compression::Zstd)), (Format::Raw, None)] {
        let target = Target {
            format,
            subformat: None,
            compression,
            backing: None,
            unique: [0; 16],
            seconds: 0,
            file_name: "copy".into(),
        };
        let mut file = MemoryFile::default();
        let out = (Path::new("copy"), &mut file as &mut dyn crate::WriteAt);
        // A size that the format cannot have is refused.
        let Ok(()) = convert(chain, &target, out, &Alone, &mut |_| {}) else { continue };
        let again = Chain::open("image", Some(format), &Folder(Arc::new(file)));
        let again = again.expect("our own image");
        assert!(content(&again).is_some_and(|copy| copy == disk), "the copy is equal");
    }
}

/// Resizes an image; where it was sound before, it is afterwards.
fn resizes(image: &Mutant, bytes: u64, clean: bool) {
    if image.bytes > COPY_BYTES_MAX || bytes > 1 << 40 {
        return;
    }
    let mut all = vec![0; usize::try_from(image.bytes).unwrap_or(0)];
    image.read_exact_at(0, &mut all).expect("within the file");
    for wanted in [bytes.saturating_add(70 << 20), bytes / 2] {
        let wanted = wanted / 512 * 512;
        let mut file = MemoryFile(all.clone());
        if qcow2::resize(&mut file, wanted, 0, true).is_err() || !clean {
            continue;
        }
        let again = Chain::open("image", Some(Format::Qcow2), &Folder(Arc::new(file)));
        let again = again.expect("it was sound");
        assert_eq!(again.bytes(), wanted);
        let check = again.check().expect("it was sound");
        assert_eq!((check.corruptions, check.leaks), (0, 0), "{check:?}");
    }
}

/// Small images that are sound, of every format that is written here.
#[must_use]
pub fn samples() -> Vec<(Format, Arc<Vec<u8>>)> {
    let mut disk = vec![0; 300 << 10];
    for (at, byte) in disk[70_000..150_000].iter_mut().enumerate() {
        *byte = (at / 9) as u8;
    }
    let kinds = [
        (Format::Qcow2, None, None),
        (Format::Qcow2, None, Some(Compression::Zlib)),
        (Format::Qcow2, None, Some(Compression::Zstd)),
        (Format::Vmdk, None, None),
        (Format::Vmdk, Some("streamOptimized"), None),
        (Format::Vdi, None, None),
        (Format::Vhd, None, None),
        (Format::Vhd, Some("fixed"), None),
        (Format::Vhdx, None, None),
    ];
    let source = Chain::open("image", Some(Format::Raw), &Folder(Arc::new(MemoryFile(disk))));
    let source = source.expect("any file is raw");
    let make = |(format, subformat, compression): (Format, Option<&str>, Option<Compression>)| {
        let target = Target {
            format,
            subformat: subformat.map(str::to_owned),
            compression,
            backing: None,
            unique: [7; 16],
            seconds: 0,
            file_name: "sample".into(),
        };
        let mut file = MemoryFile::default();
        let out = (Path::new("sample"), &mut file as &mut dyn crate::WriteAt);
        convert(&source, &target, out, &Alone, &mut |_| {}).expect("a plain disk");
        (format, Arc::new(file.0))
    };
    kinds.into_iter().map(make).collect()
}
