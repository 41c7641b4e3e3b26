//! Folders of the host that a machine was given: requests by path, kept within each folder.

use crate::files::error_code;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, FileType as HostType, Metadata, MetadataExt, OpenOptions};
use omni_machine::{FileStat, FileType, FolderItem, FolderOp, IoResult};
use omni_state::{Field, Writer};
use rustix::io::Errno;
use std::fs::FileTimes;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of one read.
const READ_BYTES_MAX: u32 = 16 << 20;

/// Names of a folder that are told.
const ITEMS_MAX: usize = 1 << 20;

/// Folders, by their numbers. No path leads out of its folder, be it by `..`, by a symbolic link
/// or by being absolute.
#[derive(Debug, Default)]
pub struct Folders {
    dirs: Vec<Dir>,
}

impl Folders {
    /// Opens folders.
    ///
    /// # Errors
    /// Which of them cannot be opened, and what the host says.
    pub fn open(paths: &[PathBuf]) -> Result<Self, (PathBuf, io::Error)> {
        let open = |path: &PathBuf| {
            Dir::open_ambient_dir(path, ambient_authority()).map_err(|error| (path.clone(), error))
        };
        Ok(Self { dirs: paths.iter().map(open).collect::<Result<_, _>>()? })
    }

    /// Does what is asked.
    ///
    /// # Errors
    /// An error number of the host.
    pub fn run(&self, folder: u32, op: &FolderOp) -> IoResult {
        self.answer(folder, op).map_err(|error| {
            // What leads out of the folder has no number of the host's.
            let denied = error.kind() == io::ErrorKind::PermissionDenied;
            let out = denied && error.raw_os_error().is_none();
            if out { number(Errno::PERM) } else { error_code(&error) }
        })
    }

    fn dir(&self, folder: u32) -> io::Result<&Dir> {
        let dir = usize::try_from(folder).ok().and_then(|at| self.dirs.get(at));
        dir.ok_or_else(|| Errno::BADF.into())
    }

    fn answer(&self, folder: u32, op: &FolderOp) -> io::Result<Vec<u8>> {
        let dir = self.dir(folder)?;
        let done = |()| Vec::new();
        match op {
            FolderOp::Stat { path, follow } => {
                let path = own(path);
                let found = if *follow { dir.metadata(path) } else { dir.symlink_metadata(path) };
                Ok(bytes(&stat(&found?)))
            }
            FolderOp::Read { path, at, count } => read(&open(dir, path, false)?, *at, *count),
            FolderOp::Write { path, at, bytes } => {
                open(dir, path, true)?.into_std().write_all_at(bytes, *at).map(done)
            }
            FolderOp::List { path } => list(dir, own(path)),
            FolderOp::Create { path, fresh } => {
                let mut how = OpenOptions::new();
                how.write(true).create(!fresh).create_new(*fresh);
                dir.open_with(path, &how).map(|_| Vec::new())
            }
            FolderOp::MakeFolder { path } => dir.create_dir(path).map(done),
            FolderOp::RemoveFolder { path } => dir.remove_dir(path).map(done),
            FolderOp::Remove { path } => dir.remove_file(path).map(done),
            FolderOp::Rename { path, to_folder, to } => {
                dir.rename(path, self.dir(*to_folder)?, to).map(done)
            }
            FolderOp::Link { path, to_folder, to } => {
                dir.hard_link(path, self.dir(*to_folder)?, to).map(done)
            }
            FolderOp::Symlink { target, path } => dir.symlink(target, path).map(done),
            FolderOp::ReadLink { path } => {
                let target = dir.read_link(path)?;
                Ok(target.into_os_string().into_encoded_bytes())
            }
            FolderOp::SetSize { path, size } => open(dir, path, true)?.set_len(*size).map(done),
            FolderOp::SetTimes { path, read, written, follow } => {
                let path = own(path);
                if !follow && dir.symlink_metadata(path)?.is_symlink() {
                    return Err(Errno::NOTSUP.into());
                }
                let mut times = FileTimes::new();
                if let Some(time) = read {
                    times = times.set_accessed(moment(*time)?);
                }
                if let Some(time) = written {
                    times = times.set_modified(moment(*time)?);
                }
                open(dir, path, false)?.into_std().set_times(times).map(done)
            }
            FolderOp::Sync { path } => open(dir, own(path), false)?.sync_all().map(done),
        }
    }
}

/// The path of the folder itself is empty in requests, and not for the host.
fn own(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}

/// A file; what would block whoever opens it, such as a pipe, is opened all the same.
fn open(dir: &Dir, path: impl AsRef<Path>, write: bool) -> io::Result<File> {
    let mut how = OpenOptions::new();
    how.read(!write).write(write);
    let about = dir.metadata(&path)?;
    if !about.is_file() && !about.is_dir() {
        // A device or a pipe could block, or do more than a file.
        return Err(Errno::NOTSUP.into());
    }
    dir.open_with(path, &how)
}

fn read(file: &File, at: u64, count: u32) -> io::Result<Vec<u8>> {
    let left = file.metadata()?.len().saturating_sub(at);
    let count = left.min(count.min(READ_BYTES_MAX).into());
    let mut bytes = vec![0; usize::try_from(count).map_err(io::Error::other)?];
    let file = file.try_clone()?.into_std();
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], at + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(done);
    Ok(bytes)
}

fn list(dir: &Dir, path: &str) -> io::Result<Vec<u8>> {
    let mut items = Vec::new();
    for entry in dir.read_dir(path)?.take(ITEMS_MAX) {
        let entry = entry?;
        // A name that is no text cannot be told to a guest.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let inode = entry.metadata().map_or(0, |about| about.ino());
        items.push(FolderItem { name, kind: kind(entry.file_type()?), inode });
    }
    items.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(bytes(&items))
}

fn bytes(value: &impl Field) -> Vec<u8> {
    let mut out = Writer::default();
    value.put(&mut out);
    out.0
}

fn kind(kind: HostType) -> FileType {
    match (kind.is_dir(), kind.is_file(), kind.is_symlink()) {
        (true, _, _) => FileType::Folder,
        (_, true, _) => FileType::Plain,
        (_, _, true) => FileType::Symlink,
        _ => FileType::Other,
    }
}

fn stat(about: &Metadata) -> FileStat {
    let time = |seconds: i64, nanoseconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000);
        seconds.saturating_add(u64::try_from(nanoseconds).unwrap_or(0))
    };
    FileStat {
        kind: kind(about.file_type()),
        size: about.len(),
        links: about.nlink(),
        inode: about.ino(),
        device: about.dev(),
        times: [
            time(about.atime(), about.atime_nsec()),
            time(about.mtime(), about.mtime_nsec()),
            time(about.ctime(), about.ctime_nsec()),
        ],
    }
}

fn moment(nanoseconds: u64) -> io::Result<SystemTime> {
    let moment = UNIX_EPOCH.checked_add(Duration::from_nanos(nanoseconds));
    moment.ok_or_else(|| Errno::INVAL.into())
}

fn number(errno: Errno) -> u16 {
    u16::try_from(errno.raw_os_error()).expect("error numbers are small")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TempDir;
    use omni_state::Reader;

    #[test]
    fn what_is_written_is_there_to_read_and_to_list() {
        let dir = TempDir::new("folders").expect("a writable host");
        let folders = Folders::open(&[dir.path().into()]).expect("it is there");
        let run = |op: FolderOp| folders.run(0, &op);
        let path = || "a.txt".to_owned();
        assert_eq!(run(FolderOp::Read { path: path(), at: 0, count: 9 }), Err(2));
        assert!(run(FolderOp::Create { path: path(), fresh: true }).is_ok());
        assert_eq!(run(FolderOp::Create { path: path(), fresh: true }), Err(17));
        let write = FolderOp::Write { path: path(), at: 2, bytes: b"cde".to_vec() };
        assert!(run(write).is_ok());
        let read = FolderOp::Read { path: path(), at: 1, count: 3 };
        assert_eq!(run(read), Ok(b"\0cd".to_vec()));
        let listed = run(FolderOp::List { path: String::new() }).expect("a folder");
        let items = Vec::<FolderItem>::get(&mut Reader(&listed)).expect("canonical");
        assert_eq!(items.len(), 1);
        assert_eq!((&*items[0].name, items[0].kind), ("a.txt", FileType::Plain));
        let stat = run(FolderOp::Stat { path: path(), follow: true }).expect("it is there");
        assert_eq!(FileStat::get(&mut Reader(&stat)).map(|stat| stat.size), Ok(5));
    }

    #[test]
    fn nothing_leads_out_of_a_folder() {
        let dir = TempDir::new("folders-out").expect("a writable host");
        std::fs::create_dir(dir.path().join("in")).expect("writable");
        std::fs::write(dir.path().join("secret"), "mine").expect("writable");
        std::os::unix::fs::symlink("../secret", dir.path().join("in/link")).expect("writable");
        std::os::unix::fs::symlink("/etc", dir.path().join("in/etc")).expect("writable");
        let folders = Folders::open(&[dir.path().join("in")]).expect("it is there");
        for path in ["../secret", "link", "etc/passwd", "/etc/passwd", "a/../../secret"] {
            let read = FolderOp::Read { path: path.into(), at: 0, count: 9 };
            assert!(folders.run(0, &read).is_err(), "{path}");
            let write = FolderOp::Create { path: path.into(), fresh: false };
            assert!(folders.run(0, &write).is_err(), "{path}");
        }
        assert_eq!(folders.run(1, &FolderOp::List { path: String::new() }), Err(9));
        let secret = std::fs::read(dir.path().join("secret")).expect("readable");
        assert_eq!(secret, b"mine");
    }
}
