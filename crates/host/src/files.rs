//! Whole files that process machines save and load, in one directory.

use crate::{read_bounded, replace_file};
use omni_machine::IoResult;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// The size of a file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The length of a name, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// A directory for the files of one machine. Names are the guest's and so are not trusted: they
/// stay in the directory, and a file of another format is not overwritten.
#[derive(Debug)]
pub struct FilesDir {
    dir: PathBuf,
    written: BTreeSet<String>,
}

impl FilesDir {
    /// The files of this directory.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, written: BTreeSet::new() }
    }

    /// Writes a file, whole.
    ///
    /// # Errors
    /// An error number of the host: `EINVAL` for a name that is none, `EEXIST` where a file of
    /// another format is there already.
    pub fn save(&mut self, name: &str, bytes: &[u8]) -> IoResult {
        let name = sane(name).ok_or(code(Errno::INVAL))?;
        let path = self.dir.join(name);
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(code(Errno::FBIG));
        }
        std::fs::create_dir_all(&self.dir).map_err(|error| error_code(&error))?;
        if path.symlink_metadata().is_ok() && !self.written.contains(name) {
            let mut head = [0; 4];
            let same = path.is_file()
                && File::open(&path).and_then(|mut file| file.read_exact(&mut head)).is_ok()
                && bytes.starts_with(&head);
            if !same {
                return Err(code(Errno::EXIST));
            }
        }
        replace_file(&path, bytes).map_err(|error| error_code(&error))?;
        self.written.insert(name.to_owned());
        Ok(Vec::new())
    }

    /// Reads a file, whole.
    ///
    /// # Errors
    /// As `save`.
    pub fn load(&self, name: &str) -> IoResult {
        let name = sane(name).ok_or(code(Errno::INVAL))?;
        read_bounded(&self.dir.join(name), FILE_BYTES_MAX).map_err(|error| error_code(&error))
    }
}

/// A plain, visible name without a path.
fn sane(name: &str) -> Option<&str> {
    let plain = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && !name.chars().any(|letter| letter == '/' || letter.is_control());
    plain.then_some(name)
}

/// The error number for a machine.
pub(crate) fn error_code(error: &io::Error) -> u16 {
    error.raw_os_error().and_then(|raw| u16::try_from(raw).ok()).unwrap_or(code(Errno::IO))
}

fn code(errno: Errno) -> u16 {
    u16::try_from(errno.raw_os_error()).expect("error numbers are small")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;

    #[test]
    fn a_file_comes_back_and_can_be_written_again() {
        let dir = TempDir::new("files").expect("a writable host");
        let mut files = FilesDir::new(dir.path().into());
        assert!(files.save("a.sav", b"FORM one").is_ok());
        assert!(files.save("a.sav", b"FORM two").is_ok());
        assert_eq!(files.load("a.sav"), Ok(b"FORM two".to_vec()));
        let mut later = FilesDir::new(dir.path().into());
        assert!(later.save("a.sav", b"FORM three").is_ok());
        assert_eq!(files.load("b.sav"), Err(code(Errno::NOENT)));
    }

    #[test]
    fn a_guest_reaches_no_file_that_is_not_of_its_format() {
        let dir = TempDir::new("files-foreign").expect("a writable host");
        std::fs::write(dir.path().join("notes"), "mine").expect("writable");
        let mut files = FilesDir::new(dir.path().into());
        assert_eq!(files.save("notes", b"FORM"), Err(code(Errno::EXIST)));
        for bad in ["", ".", "..", "../notes", "/etc/passwd", ".profile", "a\0b", "a\nb"] {
            assert_eq!(files.save(bad, b"FORM"), Err(code(Errno::INVAL)), "{bad:?}");
            assert_eq!(files.load(bad), Err(code(Errno::INVAL)), "{bad:?}");
        }
    }
}
