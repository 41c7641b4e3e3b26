//! Files of disk images, read in place and never written.

use omni_base::{Digest, PAGE_SIZE, PAGE_SIZE_U64, PageNo};
use omni_disk::ReadAt;
use omni_memory::Base;
use rustix::fs::{Mode, OFlags, SeekFrom, seek};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A file as the content below a disk.
#[derive(Debug)]
pub struct RawFile {
    file: File,
    path: PathBuf,
    bytes: u64,
    allocated: u64,
    identity: Digest,
}

impl RawFile {
    /// Opens a file. Its identity is its path, size and time of change: to read all of a large
    /// disk at each start would take too long.
    ///
    /// # Errors
    /// What the host says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        // A pipe under this name must not hang the reader.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(&path, flags, Mode::empty())?);
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let bytes = meta.len();
        let name = path.as_os_str().as_encoded_bytes();
        let parts =
            [bytes.to_le_bytes(), meta.mtime().to_le_bytes(), meta.mtime_nsec().to_le_bytes()];
        let identity = Digest::of_parts([name, b"\0", parts.as_flattened()]);
        let allocated = meta.blocks().saturating_mul(512);
        Ok(Self { file, path, bytes, allocated, identity })
    }

    /// Its full name, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that it takes from the host, as of the opening.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// The size of the file in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads bytes at an offset; beyond the end they are zero.
    ///
    /// # Errors
    /// What the host says.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < into.len() {
            match self.file.read_at(&mut into[done..], offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        into[done..].fill(0);
        Ok(())
    }
}

impl Base for RawFile {
    fn read(&self, no: PageNo, into: &mut [u8; PAGE_SIZE]) -> io::Result<()> {
        self.read_at(no.0.saturating_mul(PAGE_SIZE_U64), into)
    }

    fn digest(&self) -> Digest {
        self.identity
    }
}

impl ReadAt for RawFile {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_exact_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }

    fn run_at(&self, at: u64) -> io::Result<(bool, u64)> {
        let rest = self.bytes.saturating_sub(at).max(1);
        match seek(&self.file, SeekFrom::Data(at)) {
            Ok(data) if data > at => Ok((false, rest.min(data - at))),
            Ok(_) => match seek(&self.file, SeekFrom::Hole(at)) {
                Ok(hole) if hole > at => Ok((true, rest.min(hole - at))),
                // A file that has changed, or a file system that does not know.
                _ => Ok((true, rest)),
            },
            // Up to the end there is no data.
            Err(Errno::NXIO) => Ok((false, rest)),
            Err(_) => Ok((true, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;
    use rustix::fs::{CWD, FileType, mknodat};

    #[test]
    fn a_pipe_under_the_name_of_a_disk_is_refused_and_does_not_hang() {
        let dir = TempDir::new("raw").expect("scratch space");
        let path = dir.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("scratch space");
        let error = RawFile::open(&path).expect_err("refused");
        assert_eq!(error.to_string(), "not a regular file");
    }
}
