//! Gives a machine the files of its image: as links in its own folder, so that it lives on as it is
//! when the image is made anew or removed.

use crate::failure::Failure;
use omni_control::Entry;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What is copied at a time; less of it is looked at for zeros.
const CHUNK_BYTES: usize = 1 << 20;
const BLOCK_BYTES: usize = 4096;

/// What a machine takes over from its image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Adoption {
    /// The size of its first disk, where that is to be larger than the image's.
    pub(crate) disk_bytes: Option<u64>,
}

/// Takes the files over. The machine has not run yet.
pub(crate) fn adopt(entry: &mut Entry, adoption: Adoption) -> Result<(), Failure> {
    let dir = entry.dir.clone();
    for (role, path) in &mut entry.machine.files {
        take(path, &dir.join(role))?;
    }
    if let Some(disk) = entry.machine.disks.first_mut() {
        let own = dir.join("disk0.raw");
        match adoption.disk_bytes {
            Some(bytes) if bytes > disk.bytes => {
                copy(&disk.path, &own, bytes).map_err(|error| failed(&own, &error))?;
                (disk.path, disk.bytes) = (own, bytes);
            }
            _ => take(&mut disk.path, &own)?,
        }
    }
    Ok(entry.write_machine()?)
}

/// Links a file to where it is the machine's own, or copies it where links cannot be.
fn take(path: &mut PathBuf, own: &Path) -> Result<(), Failure> {
    if fs::hard_link(&*path, own).is_err() {
        let bytes = fs::metadata(&*path).map_err(|error| failed(path, &error))?.len();
        copy(path, own, bytes).map_err(|error| failed(own, &error))?;
    }
    *path = own.to_path_buf();
    Ok(())
}

/// Copies a file, leaving holes where it holds nothing, into one of this size.
fn copy(from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
    let (mut from, to) = (File::open(from)?, File::create_new(to)?);
    to.set_len(bytes)?;
    let (mut chunk, mut at) = (vec![0; CHUNK_BYTES], 0);
    loop {
        let count = match from.read(&mut chunk) {
            Ok(0) => return to.sync_all(),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for block in chunk[..count].chunks(BLOCK_BYTES) {
            if block.iter().any(|&byte| byte != 0) {
                to.write_all_at(block, at)?;
            }
            at += block.len() as u64;
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::io(&path.display().to_string(), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use omni_host::TempDir;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_copy_is_equal_and_as_sparse_and_as_large_as_asked_for() {
        let dir = TempDir::new("adopt").expect("a writable host");
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let file = File::create(&one).expect("writable");
        file.write_all_at(b"begin", 0).expect("writable");
        file.write_all_at(b"end", 20 << 20).expect("writable");
        copy(&one, &two, 64 << 20).expect("room");
        let mut expected = fs::read(&one).expect("there");
        expected.resize(64 << 20, 0);
        assert!(fs::read(&two).expect("there") == expected);
        let allocated = fs::metadata(&two).expect("there").blocks() * 512;
        assert!(allocated < 1 << 20, "{allocated}");
        assert!(copy(&one, &two, 1).is_err(), "nothing is overwritten");
    }

    #[test]
    fn a_link_outlives_the_file_it_was_made_of() {
        let dir = TempDir::new("adopt-link").expect("a writable host");
        let (mut path, own) = (dir.path().join("one"), dir.path().join("own"));
        fs::write(&path, "kernel").expect("writable");
        take(&mut path, &own).expect("possible");
        assert_eq!(path, own);
        fs::remove_file(dir.path().join("one")).expect("there");
        assert_eq!(fs::read(&own).expect("there"), b"kernel");
    }
}
