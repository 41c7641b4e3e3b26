//! What the tests of formats share: files in a scratch folder, random disks, and QEMU's tools.

#![allow(dead_code, reason = "each test has its own part of this")]
#![allow(clippy::print_stdout, reason = "tests say what they skip")]

use omni_disk::{Chain, Files, Format, MemoryFile, Opened, Target};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes away.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let no = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("omni-disk-{}-{no}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a writable host");
        Self(path.canonicalize().expect("it is there"))
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("plain names").into()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whatever is asked for, read whole.
pub(crate) struct Anything;

impl Files for Anything {
    fn open(&self, from: Option<&Path>, name: &str) -> Result<Opened, String> {
        let path = match from.and_then(Path::parent) {
            Some(folder) => folder.join(name),
            None => PathBuf::from(name),
        };
        let bytes = std::fs::read(&path).map_err(|error| error.to_string())?;
        let name = path.canonicalize().map_err(|error| error.to_string())?;
        Ok(Opened { name, file: Arc::new(MemoryFile(bytes)) })
    }
}

/// Pseudo-random numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }
}

/// A disk with stretches of noise, of what compresses well, and of nothing.
pub(crate) fn disk(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random(seed * 2 + 0x9e37_79b9_7f4a_7c15);
    let mut disk = vec![0; bytes];
    for _ in 0..24 {
        let start = random.below(bytes);
        let most = [100, 5000, 200_000, 3 << 20][random.below(4)];
        let end = (start + 1 + random.below(most)).min(bytes);
        let noise = random.below(2) == 0;
        for (at, byte) in disk[start..end].iter_mut().enumerate() {
            *byte = if noise { random.next() as u8 } else { (at / 37) as u8 };
        }
    }
    // The last sector is what wrong sizes lose.
    if let Some(byte) = disk.last_mut() {
        *byte = 0xa5;
    }
    disk
}

/// Runs a tool that must succeed.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(program).args(args).output().expect("it was found before");
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{program} {args:?}: {status}\n{out}{err}");
    out.into_owned()
}

/// Whether QEMU's tools are there; says so where they are not.
pub(crate) fn qemu_img() -> bool {
    let there = Command::new("qemu-img").arg("--version").output().is_ok();
    if !there {
        println!("skipped: qemu-img is absent (Debian's package qemu-utils)");
    }
    there
}

#[track_caller]
pub(crate) fn open(path: &str) -> Chain {
    Chain::open(path, None, &Anything).unwrap_or_else(|error| panic!("{error}"))
}

/// The whole disk, read in pieces of odd sizes.
#[track_caller]
pub(crate) fn content(chain: &Chain) -> Vec<u8> {
    let mut disk = vec![0xee; usize::try_from(chain.bytes()).expect("small")];
    let mut at = 0;
    for piece in disk.chunks_mut(70_001) {
        chain.read_at(at, piece).unwrap_or_else(|error| panic!("{error}"));
        at += piece.len() as u64;
    }
    disk
}

/// That two disks are equal, and where not.
#[track_caller]
pub(crate) fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}: the size");
    let first = found.iter().zip(expected).position(|(one, two)| one != two);
    assert_eq!(first, None, "{what}: the first byte that differs");
}

pub(crate) fn target(format: Format) -> Target {
    Target {
        format,
        subformat: None,
        compression: None,
        backing: None,
        unique: *b"0123456789abcdef",
        seconds: 1_800_000_000,
        file_name: "disk".into(),
    }
}
