//! Files of machines that stay on disk, and are read when a machine starts.

use crate::place::{open_regular, read_bounded};
use omni_machine::{Blob, BlobSource};
use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Smaller files are held in memory.
const HELD_BYTES_MAX: u64 = 1 << 18;

#[derive(Debug)]
struct BlobFile {
    file: File,
    bytes: u64,
}

impl BlobSource for BlobFile {
    fn len(&self) -> u64 {
        self.bytes
    }

    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(into, at)
    }
}

/// What is in the file now. A large one does not stay in memory: what a machine needs at its next
/// cold start is the file, if nobody but us has it in the folder `own`; else a copy without a name
/// in that folder, as others may write to the file.
///
/// # Errors
/// What the host says, and where it is larger than `most` bytes.
pub fn blob_of(path: &Path, most: u64, own: &Path) -> io::Result<Blob> {
    let file = open_regular(path)?;
    let bytes = file.metadata()?.len();
    if bytes <= HELD_BYTES_MAX || bytes > most {
        return read_bounded(path, most).map(Blob::from);
    }
    if path.starts_with(own) {
        return Ok(Blob::elsewhere(Box::new(BlobFile { file, bytes })));
    }
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let copy = rustix::fs::open(own, flags, Mode::RUSR | Mode::WUSR).map(File::from);
    let Ok(mut copy) = copy else {
        // Not every file system has files without a name.
        return read_bounded(path, most).map(Blob::from);
    };
    // What is appended to the file meanwhile is not of it.
    let bytes = io::copy(&mut file.take(bytes), &mut copy)?;
    Ok(Blob::elsewhere(Box::new(BlobFile { file: copy, bytes })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;
    use std::fs;

    #[test]
    fn a_file_is_what_it_was_whatever_is_written_to_it() {
        let dir = TempDir::new("blob").expect("writable");
        let (path, own) = (dir.path().join("kernel"), dir.path().join("own"));
        fs::create_dir(&own).expect("writable");
        for size in [0, 1, 100_000, 1_000_000] {
            let content: Vec<u8> = (0..size).map(|at: u32| at.to_le_bytes()[1]).collect();
            fs::write(&path, &content).expect("writable");
            let blob = blob_of(&path, 1 << 20, &own).expect("readable");
            fs::write(&path, vec![0xee; content.len()]).expect("writable");
            assert_eq!(blob.len(), u64::from(size));
            assert_eq!(blob.bytes().expect("readable")[..], content[..]);
            assert_eq!(blob.head(8).expect("readable"), content[..content.len().min(8)]);
        }
        assert!(blob_of(&path, 999_999, &own).is_err());
        assert_eq!(fs::read_dir(&own).expect("readable").count(), 0, "no copy has a name");
    }
}
