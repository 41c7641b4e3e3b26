//! One image of a chain: what it holds itself, and what lies below it.

use crate::compress::Compression;
use crate::error::{FormatError, Result};
use std::fmt;
use std::path::PathBuf;

/// A format of disk images.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Format {
    /// The bytes of the disk, and nothing else.
    Raw,
    /// QEMU's, versions 2 and 3.
    Qcow2,
    /// `VMware`'s.
    Vmdk,
    /// `VirtualBox`'s.
    Vdi,
    /// Virtual PC's, which QEMU calls vpc.
    Vhd,
    /// Hyper-V's.
    Vhdx,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Raw, Self::Qcow2, Self::Vmdk, Self::Vdi, Self::Vhd, Self::Vhdx];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Vdi => "vdi",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
        }
    }

    /// The format of a name, also of QEMU's.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = if name == "vpc" { "vhd" } else { name };
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is at a place of a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// Zeros.
    Zero,
    /// Bytes that are stored.
    Data,
    /// What the image below has there; zeros where there is none.
    Below,
}

/// A stretch of a disk that is all of one sort.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// What is there.
    pub content: Content,
    /// Bytes up to where it may be something else.
    pub bytes: u64,
}

/// One image of a chain.
pub(crate) trait Layer: Send + Sync + fmt::Debug {
    /// What begins at an offset within the disk.
    fn extent(&self, at: u64) -> Result<Extent>;
    /// Reads a part of an extent of data.
    fn read(&self, at: u64, into: &mut [u8]) -> Result<()>;
    /// Looks at all of the tables.
    fn check(&self) -> Result<Check>;
}

/// The image below, as an image names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backing {
    /// Its file; more than one where the image has several ways to say it, the best first.
    pub names: Vec<String>,
    /// Its format, where that is said.
    pub format: Option<Format>,
    /// What it must say of itself, where the format has such a mark.
    pub(crate) identity: Option<String>,
}

/// A snapshot in an image.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was taken, in seconds since 1970.
    pub seconds: u32,
    /// Bytes of saved memory and devices.
    pub state_bytes: u64,
    /// The size of the disk then.
    pub disk_bytes: u64,
}

/// What an image says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// Its format.
    pub format: Format,
    /// The sort within the format, by its name there.
    pub subformat: String,
    /// The size of the disk.
    pub bytes: u64,
    /// What space is given out by.
    pub cluster_bytes: Option<u64>,
    /// How clusters are compressed, where some may be.
    pub compression: Option<Compression>,
    /// The image below.
    pub backing: Option<Backing>,
    /// Other files that hold parts of this image.
    pub files: Vec<PathBuf>,
    /// Snapshots within it.
    pub snapshots: Vec<Snapshot>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// The mark by which an image above knows this one.
    pub(crate) identity: Option<String>,
}

impl Info {
    pub(crate) fn new(format: Format, subformat: impl Into<String>, bytes: u64) -> Self {
        Self {
            format,
            subformat: subformat.into(),
            bytes,
            cluster_bytes: None,
            compression: None,
            backing: None,
            files: Vec::new(),
            snapshots: Vec::new(),
            notes: Vec::new(),
            identity: None,
        }
    }
}

/// What is told of each sort of finding at most.
const FINDINGS_MAX: usize = 20;

/// What was found in the tables of an image.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Check {
    /// Pieces of the disk that are stored.
    pub allocated: u64,
    /// Pieces that the disk has.
    pub total: u64,
    /// Pieces of the file that nothing uses: lost space, and no harm.
    pub leaks: u64,
    /// Entries that are wrong: data may be lost already, or when the image is written.
    pub corruptions: u64,
    /// The first findings, in words.
    pub findings: Vec<String>,
}

impl Check {
    pub(crate) fn corrupt(&mut self, text: impl FnOnce() -> String) {
        self.corruptions += 1;
        self.tell(text);
    }

    pub(crate) fn leak(&mut self, pieces: u64, text: impl FnOnce() -> String) {
        self.leaks += pieces;
        self.tell(text);
    }

    /// Counts what can be told as a finding, and passes on what cannot.
    pub(crate) fn note<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(FormatError::Damaged { field, why }) => {
                self.corrupt(|| format!("{field} {why}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn tell(&mut self, text: impl FnOnce() -> String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(text());
        }
    }
}
