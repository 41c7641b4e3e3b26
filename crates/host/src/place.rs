//! Places and figures of the host: private directories, whole files, memory, the kernel.

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, renameat_with};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a file that are made room for before it is read.
const READ_FIRST_MAX: u64 = 64 << 10;

/// The user that this process acts for.
#[must_use]
pub fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Makes a directory that only its owner can use, with its parents.
///
/// # Errors
/// Where it cannot be made, or is a link or another user's, which would let that user in.
pub fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() || meta.uid() != uid() {
        let why = format!("{} is not a directory of this user", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Replaces a file whole: a crash at any point leaves the old or the new content.
///
/// # Errors
/// What the host says.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    stage_file(path, bytes)?.put()?;
    sync_parent(path)
}

/// As `replace_file`, but a loss of power may leave the old content, or none: for what such a loss
/// makes untrue anyway.
///
/// # Errors
/// What the host says.
pub fn show_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = write_fresh(path, bytes, false)?;
    // A file that takes the place of another one is written to the disk on the way by some file
    // systems; one that changes places with it is not.
    if renameat_with(CWD, &fresh.0, CWD, path, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    fresh.put(path)
}

/// The new content of a file, which survives a loss of power once it is put in place and the names
/// in its directory were synced.
///
/// # Errors
/// What the host says.
pub fn stage_file(path: &Path, bytes: &[u8]) -> io::Result<Staged> {
    Ok(Staged { fresh: write_fresh(path, bytes, true)?, path: path.to_owned() })
}

/// The content of a file that is to be put in place.
#[must_use]
#[derive(Debug)]
pub struct Staged {
    fresh: Fresh,
    path: PathBuf,
}

impl Staged {
    /// Puts it in place, in one step.
    ///
    /// # Errors
    /// What the host says.
    pub fn put(self) -> io::Result<()> {
        self.fresh.put(&self.path)
    }
}

/// A file that has no name of its own yet; it is removed where it stays so.
#[derive(Debug)]
struct Fresh(PathBuf);

impl Fresh {
    fn put(mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)?;
        // The next file of that name is another's.
        self.0.clear();
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // One that is left over is only in nobody's way.
            let _ = fs::remove_file(&self.0);
        }
    }
}

fn write_fresh(path: &Path, bytes: &[u8], lasting: bool) -> io::Result<Fresh> {
    // One name per writer, so that two of them cannot mix.
    let fresh = Fresh(path.with_extension(format!("new-{}", std::process::id())));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&fresh.0)?;
    file.write_all(bytes)?;
    if lasting {
        file.sync_all()?;
    }
    Ok(fresh)
}

/// Makes the names in the directory of this file survive a loss of power.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// Makes a file, or the names in a directory, survive a loss of power.
///
/// # Errors
/// What the host says.
pub fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes all of the file system that a path is on survive a loss of power.
///
/// # Errors
/// What the host says.
pub fn sync_all(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// The host's clock that only rises, in nanoseconds: the same for all processes.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (s, ns) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    s.unwrap_or(0) * 1_000_000_000 + ns.unwrap_or(0)
}

/// Allows this process as many open files as its user may have.
pub fn raise_file_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it is refused, fewer machines fit, and the one that does not says so.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, most);
}

/// Reads a regular file of at most `most` bytes.
///
/// # Errors
/// What the host says; a file that is larger, or is no regular file, is an error.
pub fn read_bounded(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    // Most files are small, and then one call brings all.
    let room = file.metadata()?.len().min(READ_FIRST_MAX) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(room).expect("bounded"));
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("over {most} bytes")));
    }
    Ok(bytes)
}

/// Opens a file for reading, and nothing that is not one.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    // A pipe under this name must not hang the reader.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
    }
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

/// A random number of the host's.
///
/// # Panics
/// Where the host has no entropy, on which nothing can be built.
#[must_use]
pub fn random_u64() -> u64 {
    let mut random = [0; 8];
    let flags = rustix::rand::GetRandomFlags::empty();
    let filled = rustix::rand::getrandom(&mut random, flags);
    assert_eq!(filled, Ok(8), "eight bytes are given at once or not at all");
    u64::from_le_bytes(random)
}

/// Leaves the terminal and the group of the caller, so that neither takes this process along.
///
/// # Errors
/// Where this process leads a group already.
pub fn new_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Bytes of memory that only a process holds.
#[must_use]
pub fn private_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    let kib = |line: &str| line.split_ascii_whitespace().nth(1)?.parse::<u64>().ok();
    Some(lines.filter_map(kib).sum::<u64>() * 1024)
}

/// Bytes of memory that a process holds and that are in no file.
#[must_use]
pub fn anonymous_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes of this process's memory that the host holds once for several pages (KSM).
#[must_use]
pub fn merged_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/ksm_merging_pages").ok()?;
    text.trim().parse::<u64>().ok()?.checked_mul(4096)
}

/// Bytes free for this user on the file system of a path.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

/// The host's memory in bytes: all of it, and what is available.
#[must_use]
pub fn host_memory() -> Option<(u64, u64)> {
    // The lines that count come first.
    let mut bytes = [0; 256];
    let count = File::open("/proc/meminfo").ok()?.read(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes[..count]);
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    Some((field("MemTotal:")?, field("MemAvailable:")?))
}

/// The name and release of the host's kernel.
#[must_use]
pub fn kernel_release() -> String {
    let name = rustix::system::uname();
    format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
}

/// A private directory that is removed when this is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes one, with `name` in its name.
    ///
    /// # Errors
    /// What the host says.
    pub fn new(name: &str) -> io::Result<Self> {
        let unique = random_u64();
        let path = std::env::temp_dir().join(format!("omni-{name}-{unique:016x}"));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // Best effort: a temporary directory left over harms no one.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_directory_is_closed_to_others_even_if_it_was_open() {
        let dir = TempDir::new("private").expect("a writable host");
        let path = dir.path().join("a/b");
        fs::create_dir_all(&path).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("own");
        private_dir(&path).expect("own");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o700);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).expect("writable");
        assert!(private_dir(&link).is_err());
    }

    #[test]
    fn a_file_is_read_up_to_its_bound_and_no_special_file_hangs() {
        let dir = TempDir::new("bounded").expect("a writable host");
        let path = dir.path().join("file");
        replace_file(&path, b"12345").expect("writable");
        assert_eq!(read_bounded(&path, 5).expect("fits"), b"12345");
        assert!(read_bounded(&path, 4).is_err());
        assert!(read_bounded(dir.path(), 4).is_err());
        assert!(read_bounded(Path::new("/dev/zero"), 4).is_err());
    }

    #[test]
    fn the_host_tells_its_figures() {
        assert!(anonymous_bytes(std::process::id()).is_some_and(|bytes| bytes > 0));
        assert!(host_memory().is_some_and(|(all, free)| all >= free && free > 0));
        assert!(kernel_release().starts_with("Linux "));
        assert!(free_bytes(Path::new("/")).is_some());
    }
}
