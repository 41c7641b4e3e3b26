//! A package file: an `ar` archive around a compressed `tar` of the files to install.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use ar::Archive as Ar;
use tar::{Archive as Tar, EntryType, Header};

use crate::error::ImageError;
use crate::progress::Progress;

/// All files of a package together, unpacked.
const UNPACKED_BYTES_MAX: u64 = 8 << 30;

/// One wanted file; kernels are the largest.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// All wanted files of a package together: they are held in memory.
const WANTED_BYTES_MAX: u64 = 1 << 30;

/// All control files of a package together: scripts and lists.
const CONTROL_BYTES_MAX: u64 = 64 << 20;

/// Memory that an xz or zstd stream may ask for, in KiB and as a power of two of bytes.
const XZ_MEMORY_KIB_MAX: u32 = 256 << 10;
const ZSTD_WINDOW_LOG_MAX: u32 = 28;

/// A file or link taken out of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Relative path, in the layout where `/bin`, `/sbin` and `/lib` are links into `/usr`.
    pub(crate) path: String,
    pub(crate) content: Content,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    File { executable: bool, bytes: Vec<u8> },
    Link(String),
}

/// The members of a package whose path is wanted.
pub(crate) fn extract(
    path: &Path,
    package: &str,
    progress: &mut dyn Progress,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Member>, ImageError> {
    let size = path.metadata().map_err(ImageError::disk("read", path))?.len();
    let file = File::open(path).map_err(ImageError::disk("open", path))?;
    progress.begin(&format!("unpacking {package}"), Some(size));
    let members = read_package(Counted { file, progress: &mut *progress }, wanted)
        .map_err(|e| ImageError::malformed(format!("package {package}"), e));
    progress.end();
    members
}

/// A package's control files, by name.
pub(crate) type Control = BTreeMap<String, Vec<u8>>;

/// One file of a package, as its tar stream has it.
pub(crate) struct Item<'i> {
    pub(crate) header: Header,
    pub(crate) path: PathBuf,
    pub(crate) link: Option<PathBuf>,
    pub(crate) content: &'i mut dyn Read,
}

/// What is done with each file of a package.
pub(crate) type Visit<'v> = dyn FnMut(&Control, Item<'_>) -> io::Result<()> + 'v;

/// Gives every file of a package to `visit`, in the order of the package, together with the
/// control files, which are returned at the end.
pub(crate) fn visit(
    path: &Path,
    package: &str,
    progress: &mut dyn Progress,
    visit: &mut Visit<'_>,
) -> Result<Control, ImageError> {
    let size = path.metadata().map_err(ImageError::disk("read", path))?.len();
    let file = File::open(path).map_err(ImageError::disk("open", path))?;
    progress.begin(&format!("unpacking {package}"), Some(size));
    let control = visit_package(Counted { file, progress: &mut *progress }, visit)
        .map_err(|e| ImageError::malformed(format!("package {package}"), e));
    progress.end();
    control
}

/// The same for the bytes of a package.
pub(crate) fn visit_package(reader: impl Read, visit: &mut Visit<'_>) -> io::Result<Control> {
    let mut control = None;
    let mut outer = Ar::new(reader);
    while let Some(entry) = outer.next_entry() {
        let entry = entry?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        if name.starts_with("control.tar") {
            control = Some(read_control(decompressed(&name, entry)?.take(CONTROL_BYTES_MAX))?);
        } else if name.starts_with("data.tar") {
            let control = control.ok_or_else(|| io::Error::other("it begins with its files"))?;
            let plain = decompressed(&name, entry)?.take(UNPACKED_BYTES_MAX);
            for entry in Tar::new(plain).entries()? {
                let mut entry = entry?;
                let (header, path) = (entry.header().clone(), entry.path()?.into_owned());
                let link = entry.link_name()?.map(Cow::into_owned);
                visit(&control, Item { header, path, link, content: &mut entry })?;
            }
            return Ok(control);
        }
    }
    Err(io::Error::other("it holds no data.tar"))
}

/// The control files in a tar stream.
fn read_control(reader: impl Read) -> io::Result<Control> {
    let mut control = Control::new();
    for entry in Tar::new(reader).entries()? {
        let mut entry = entry?;
        let path = merged_path(&entry.path()?)?;
        if entry.header().entry_type().is_file() {
            if path.contains('/') {
                return Err(io::Error::other(format!("its control files hold {path:?}")));
            }
            control.insert(path, read_bounded(&mut entry, CONTROL_BYTES_MAX)?);
        }
    }
    Ok(control)
}

/// A stream of xz, zstd, gzip or plain bytes, by the end of its file's name.
pub(crate) fn decompressed<'r>(
    name: &str,
    reader: impl Read + 'r,
) -> io::Result<Box<dyn Read + 'r>> {
    let reader = BufReader::with_capacity(1 << 16, reader);
    Ok(match name.rsplit('.').next() {
        Some("xz") => {
            Box::new(lzma_rust2::XzReader::new_mem_limit(reader, true, XZ_MEMORY_KIB_MAX))
        }
        Some("zst") => {
            let mut decoder = zstd::stream::Decoder::with_buffer(reader)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
        Some("gz") => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        _ => Box::new(reader),
    })
}

/// Reads all bytes, refusing more than a bound.
pub(crate) fn read_bounded(reader: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Whether a path fits a pattern, in which `*` stands for any characters, also slashes.
pub(crate) fn fits(pattern: &str, path: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(path) = path.strip_prefix(start) else { return false };
    path.char_indices().map(|(at, _)| at).chain([path.len()]).any(|at| fits(rest, &path[at..]))
}

/// Tells the progress of reading a file.
struct Counted<'p> {
    file: File,
    progress: &'p mut dyn Progress,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.progress.advance(count as u64);
        Ok(count)
    }
}

/// Finds the archive of files in a package and the wanted ones in it.
pub(crate) fn read_package(
    reader: impl Read,
    wanted: &dyn Fn(&str) -> bool,
) -> io::Result<Vec<Member>> {
    let mut outer = Ar::new(reader);
    while let Some(entry) = outer.next_entry() {
        let entry = entry?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        if name.starts_with("data.tar") {
            let plain = decompressed(&name, entry)?;
            return read_files(plain.take(UNPACKED_BYTES_MAX), wanted);
        }
    }
    Err(io::Error::other("it holds no data.tar"))
}

/// The wanted files of a tar stream.
fn read_files(reader: impl Read, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<Member>> {
    let mut members = Vec::new();
    let mut bytes_left = WANTED_BYTES_MAX;
    for entry in Tar::new(reader).entries()? {
        let mut entry = entry?;
        let path = merged_path(&entry.path()?)?;
        if !wanted(&path) {
            continue;
        }
        let kind = entry.header().entry_type();
        let content = if kind.is_file() || kind == EntryType::Continuous {
            let executable = entry.header().mode()? & 0o111 != 0;
            let bytes = read_bounded(&mut entry, FILE_BYTES_MAX.min(bytes_left))?;
            bytes_left -= bytes.len() as u64;
            Content::File { executable, bytes }
        } else if kind.is_symlink() {
            let target = entry.link_name()?.ok_or_else(|| io::Error::other("a link to nothing"))?;
            let target = target.to_str().ok_or_else(|| io::Error::other("a link's name"))?;
            Content::Link(target.to_owned())
        } else {
            // Directories come about by their files; devices and hard links are not wanted.
            continue;
        };
        members.push(Member { path, content });
    }
    Ok(members)
}

/// A member's path, relative and in the layout of one `/usr`; one that leaves the root is refused.
pub(crate) fn merged_path(path: &Path) -> io::Result<String> {
    let refused = || io::Error::other(format!("it holds the path {path:?}"));
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) => parts.push(name.to_str().ok_or_else(refused)?),
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(refused());
            }
        }
    }
    let joined = parts.join("/");
    let split = ["bin", "sbin", "lib", "lib32", "lib64"];
    match parts.first() {
        Some(first) if split.contains(first) => Ok(format!("usr/{joined}")),
        _ => Ok(joined),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        assert!(fits("usr/lib/*/libc.so.*", "usr/lib/riscv64-linux-gnu/libc.so.6"));
        assert!(fits("boot/vmlinu*-6.1", "boot/vmlinux-6.1"));
        assert!(fits("*", ""));
        assert!(!fits("usr/bin/x", "usr/bin/xy"));
        assert!(!fits("usr/lib/*.so", "usr/lib/a.so.1"));
    }

    #[test]
    fn paths_stay_below_the_root_and_in_one_usr() {
        let merged = |path: &str| merged_path(Path::new(path)).ok();
        assert_eq!(merged("./bin/sh").as_deref(), Some("usr/bin/sh"));
        assert_eq!(merged("./usr/bin/sh").as_deref(), Some("usr/bin/sh"));
        assert_eq!(merged("./boot/vmlinux").as_deref(), Some("boot/vmlinux"));
        assert_eq!(merged("../etc/passwd"), None);
        assert_eq!(merged("/etc/passwd"), None);
        assert_eq!(merged("usr/../../x"), None);
    }

    #[test]
    fn what_is_no_package_is_an_error() {
        for bad in [&b""[..], b"!<arch>\n", b"hello world, this is no archive at all"] {
            assert!(read_package(bad, &|_| true).is_err());
        }
    }

    #[test]
    fn a_bound_is_kept() {
        assert_eq!(read_bounded(&b"1234"[..], 4).unwrap(), b"1234");
        assert!(read_bounded(&b"12345"[..], 4).is_err());
    }
}
