//! What images are read from and written to: files, seen as bytes at offsets.

use crate::error::{Result, damaged};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that is read. Its size and content do not change.
pub trait ReadAt: Send + Sync + Debug {
    /// The size in bytes.
    fn bytes(&self) -> u64;
    /// Reads bytes that all lie within the file.
    ///
    /// # Errors
    /// What the host says, also where the file has become shorter.
    fn read_exact_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
    /// Whether there is data at an offset within the file, or a hole that reads as zeros; and for
    /// how many bytes that is so at least, which is one or more.
    ///
    /// # Errors
    /// What the host says.
    fn run_at(&self, at: u64) -> io::Result<(bool, u64)>;
}

/// A file that is written.
pub trait WriteAt {
    /// Writes bytes; where they lie beyond the end the file grows.
    ///
    /// # Errors
    /// What the host says.
    fn write_all_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or lengthens the file; what is new reads as zeros.
    ///
    /// # Errors
    /// What the host says.
    fn set_bytes(&mut self, bytes: u64) -> io::Result<()>;
    /// Makes all that was written survive a loss of power.
    ///
    /// # Errors
    /// What the host says.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that an image named, opened.
#[derive(Debug)]
pub struct Opened {
    /// Its full name, the same for the same file: loops are found by it, and names in the file
    /// are relative to it.
    pub name: PathBuf,
    /// Its content.
    pub file: Arc<dyn ReadAt>,
}

/// Where images get other files from, and who decides which they get.
pub trait Files {
    /// Opens a file: the first by the name that the user gave, with no `from`; others by the name
    /// that the image `from` has for it.
    ///
    /// # Errors
    /// Why it is not given, as the end of a sentence that begins with its name.
    fn open(&self, from: Option<&Path>, name: &str) -> Result<Opened, String>;
}

/// Runs pure work on pieces of data, on as many processors as it likes.
pub trait Workers {
    /// What `each` makes of every piece, in order.
    fn map(&self, pieces: &[&[u8]], each: &(dyn Fn(&[u8]) -> Vec<u8> + Sync)) -> Vec<Vec<u8>>;
}

/// The processor that calls, alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Workers for Alone {
    fn map(&self, pieces: &[&[u8]], each: &(dyn Fn(&[u8]) -> Vec<u8> + Sync)) -> Vec<Vec<u8>> {
        pieces.iter().map(|piece| each(piece)).collect()
    }
}

/// A file in memory.
#[derive(Clone, Default, Debug)]
pub struct MemoryFile(pub Vec<u8>);

impl ReadAt for MemoryFile {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let rest = self.0.get(start..).and_then(|rest| rest.get(..into.len()));
        into.copy_from_slice(rest.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn run_at(&self, at: u64) -> io::Result<(bool, u64)> {
        Ok((true, self.bytes().saturating_sub(at).max(1)))
    }
}

impl WriteAt for MemoryFile {
    fn write_all_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(at).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let end = start.checked_add(bytes.len()).ok_or(io::ErrorKind::OutOfMemory)?;
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_bytes(&mut self, bytes: u64) -> io::Result<()> {
        self.0.resize(usize::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?, 0);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads data of a disk. The last piece of a file may be cut short and is zero from there on, but
/// data that begins beyond the end is damage.
pub(crate) fn read_data(
    file: &dyn ReadAt,
    at: u64,
    into: &mut [u8],
    field: &'static str,
) -> Result<()> {
    let rest = file.bytes().saturating_sub(at);
    if rest == 0 && !into.is_empty() {
        return Err(damaged(field, format!("points to {at}, beyond the end of the file")));
    }
    let there = usize::try_from(rest).unwrap_or(usize::MAX).min(into.len());
    let (head, tail) = into.split_at_mut(there);
    file.read_exact_at(at, head)?;
    tail.fill(0);
    Ok(())
}

/// Whether all bytes are zero. Eight words are looked at together, so that it is fast.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let zero = |block: &[u8; 64]| block.iter().fold(0, |all, byte| all | byte) == 0;
    blocks.iter().all(zero) && rest.iter().all(|&byte| byte == 0)
}
