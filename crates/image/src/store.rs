//! Images on disk: a folder each, with kernel, initramfs, perhaps a disk, and a description.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde::{Deserialize, Serialize};

use crate::digest::Sha256;
use crate::error::ImageError;
use crate::reference::Arch;
use crate::userland::Choices;

/// The version of the folder's layout and of its description; see `docs/formats/image.md`.
pub const FORMAT: u32 = 2;

/// The oldest version that is read: it knew no disks.
const FORMAT_MIN: u32 = 1;

/// File names in an image's folder.
pub(crate) const KERNEL: &str = "kernel";
pub(crate) const INITRD: &str = "initrd";
pub(crate) const DISK: &str = "disk";
const DESCRIPTION: &str = "image.json";

/// Descriptions are a few kilobytes.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;

/// What an image is and what it was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Version of this description, [`FORMAT`].
    pub format: u32,
    /// The image's name, and that of its folder: `debian-trixie-riscv64`.
    pub name: String,
    /// The distribution: `debian`.
    pub distribution: String,
    /// The suite that was asked for.
    pub suite: String,
    /// The codename of the release that this was.
    pub codename: String,
    /// What it runs on.
    pub arch: Arch,
    /// The kernel's own version, as `uname -r` prints it.
    pub kernel_version: String,
    /// The kernel's command line where the user gives none.
    pub cmdline: String,
    /// The same where a terminal is attached: with a console that knows the terminal's size, but
    /// may lose what is typed before the guest listens. None: no other.
    #[serde(default)]
    pub cmdline_terminal: Option<String>,
    /// When it was made, RFC 3339.
    pub built: String,
    /// The date of the release file, RFC 3339.
    pub release_date: String,
    /// Fingerprint of the key that signed the release file.
    pub signed_by: String,
    /// The packages it was made of.
    pub packages: Vec<PackageInfo>,
    /// The kernel file, unmodified.
    pub kernel: FileInfo,
    /// The initramfs.
    pub initrd: FileInfo,
    /// The disk with the system, a raw and mostly sparse file. None: all is in the initramfs.
    #[serde(default)]
    pub disk: Option<FileInfo>,
    /// What was chosen about the system on the disk.
    #[serde(default)]
    pub choices: Option<Choices>,
    /// What the console says when it takes what a script types. None: it does from the start.
    #[serde(default)]
    pub ready: Option<String>,
}

/// A package that an image was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Hash of the package file.
    pub sha256: Sha256,
}

/// A file of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInfo {
    /// Size in bytes.
    pub size: u64,
    /// Hash of its content.
    pub sha256: Sha256,
}

impl FileInfo {
    /// Describes some bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { size: bytes.len() as u64, sha256: Sha256::of(bytes) }
    }
}

/// An image that can be booted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    folder: PathBuf,
    /// What it is.
    pub info: ImageInfo,
}

impl Image {
    /// Opens the image of a name in the folder of images.
    ///
    /// # Errors
    /// [`ImageError::NoImage`] when there is none, [`ImageError::BadImage`] when it is damaged.
    pub fn open(images: &Path, name: &str) -> Result<Self, ImageError> {
        let folder = folder_of(images, name)?;
        let path = folder.join(DESCRIPTION);
        let bad = |reason: String| ImageError::BadImage { name: name.to_owned(), reason };
        let about = match fs::metadata(&path) {
            Ok(about) => about,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !folder.exists() => {
                return Err(ImageError::NoImage(name.to_owned()));
            }
            Err(e) => return Err(bad(format!("{DESCRIPTION}: {e}"))),
        };
        if about.len() > DESCRIPTION_BYTES_MAX {
            return Err(bad(format!("{DESCRIPTION} is too large")));
        }
        let text = fs::read(&path).map_err(ImageError::disk("read", &path))?;
        let info: ImageInfo =
            serde_json::from_slice(&text).map_err(|e| bad(format!("{DESCRIPTION}: {e}")))?;
        if !(FORMAT_MIN..=FORMAT).contains(&info.format) {
            return Err(bad(format!("its format is {}, this program reads {FORMAT}", info.format)));
        }
        let image = Self { folder, info };
        let always = [(image.kernel(), &image.info.kernel), (image.initrd(), &image.info.initrd)];
        let disk = image.disk().zip(image.info.disk.as_ref());
        for (path, file) in always.into_iter().chain(disk) {
            let size = fs::metadata(&path).map_err(|e| bad(format!("{}: {e}", path.display())))?;
            if size.len() != file.size {
                return Err(bad(format!("{} has another size", path.display())));
            }
        }
        Ok(image)
    }

    /// Path of the kernel.
    #[must_use]
    pub fn kernel(&self) -> PathBuf {
        self.folder.join(KERNEL)
    }

    /// Path of the initramfs.
    #[must_use]
    pub fn initrd(&self) -> PathBuf {
        self.folder.join(INITRD)
    }

    /// Path of the disk, if there is one.
    #[must_use]
    pub fn disk(&self) -> Option<PathBuf> {
        self.info.disk.as_ref().map(|_| self.folder.join(DISK))
    }

    /// The sizes of all its files together, in bytes; a disk counts as it appears.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let disk = self.info.disk.as_ref().map_or(0, |disk| disk.size);
        self.info.kernel.size + self.info.initrd.size + disk
    }

    /// The image's folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All images that can be opened, by name.
    ///
    /// # Errors
    /// [`ImageError::Disk`] when the folder cannot be read; a missing one holds no images.
    pub fn list(images: &Path) -> Result<Vec<Self>, ImageError> {
        let entries = match fs::read_dir(images) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(ImageError::disk("read", images)(e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(ImageError::disk("read", images))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            found.extend(Self::open(images, &name).ok());
        }
        found.sort_by(|a, b| a.info.name.cmp(&b.info.name));
        Ok(found)
    }

    /// Removes an image, damaged or not. Machines that were made from it keep what they have read.
    ///
    /// # Errors
    /// [`ImageError::NoImage`] when there is none.
    pub fn remove(images: &Path, name: &str) -> Result<(), ImageError> {
        let folder = folder_of(images, name)?;
        if !folder.is_dir() {
            return Err(ImageError::NoImage(name.to_owned()));
        }
        // Renamed first: an image is either whole or gone, also after a crash.
        let away = images.join(format!(".old-{name}-{}", process::id()));
        fs::rename(&folder, &away).map_err(ImageError::disk("rename", &folder))?;
        fs::remove_dir_all(&away).map_err(ImageError::disk("remove", &away))
    }

    /// Writes an image, whole or not at all, in place of an earlier one of its name.
    pub(crate) fn write(
        images: &Path,
        info: ImageInfo,
        kernel: &[u8],
        initrd: &[u8],
    ) -> Result<Self, ImageError> {
        Draft::create(images, &info.name)?.finish(info, kernel, initrd)
    }
}

/// An image in the making, in a folder that is no image's. Dropped unfinished, it is removed.
pub(crate) struct Draft {
    images: PathBuf,
    folder: PathBuf,
    fresh: PathBuf,
}

impl Draft {
    /// Begins an image of this name.
    pub(crate) fn create(images: &Path, name: &str) -> Result<Self, ImageError> {
        let folder = folder_of(images, name)?;
        fs::create_dir_all(images).map_err(ImageError::disk("create", images))?;
        let fresh_prefix = format!(".new-{name}-");
        remove_leftovers(images, &fresh_prefix);
        let fresh = images.join(format!("{fresh_prefix}{}", process::id()));
        fs::create_dir(&fresh).map_err(ImageError::disk("create", &fresh))?;
        Ok(Self { images: images.to_path_buf(), folder, fresh })
    }

    /// Where a file of the image is to be written.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.fresh.join(file)
    }

    /// Writes what is left to be written, and gives the image its name.
    pub(crate) fn finish(
        self,
        info: ImageInfo,
        kernel: &[u8],
        initrd: &[u8],
    ) -> Result<Image, ImageError> {
        let text = serde_json::to_vec_pretty(&info).expect("strings and numbers are always JSON");
        for (name, bytes) in [(KERNEL, kernel), (INITRD, initrd), (DESCRIPTION, &text)] {
            write_file(&self.path(name), bytes)?;
        }
        put_in_place(&self.images, &self.fresh, &self.folder)?;
        Ok(Image { folder: self.folder.clone(), info })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already where it was finished. Otherwise the first error is the one to tell, and
        // what is left over does no harm.
        let _ = fs::remove_dir_all(&self.fresh);
    }
}

/// The folder of an image by its name, which must not lead elsewhere.
fn folder_of(images: &Path, name: &str) -> Result<PathBuf, ImageError> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c));
    if !plain || name.is_empty() || name.starts_with('.') {
        return Err(ImageError::NoImage(name.to_owned()));
    }
    Ok(images.join(name))
}

/// Removes what a build that was killed has left. What cannot be removed does no harm.
fn remove_leftovers(images: &Path, prefix: &str) {
    let entries = fs::read_dir(images).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix)) {
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Gives a finished folder its name. An earlier one of that name is swapped out, then removed.
fn put_in_place(images: &Path, fresh: &Path, folder: &Path) -> Result<(), ImageError> {
    if folder.exists() {
        renameat_with(CWD, fresh, CWD, folder, RenameFlags::EXCHANGE)
            .map_err(|e| ImageError::disk("replace", folder)(e.into()))?;
        fs::remove_dir_all(fresh).map_err(ImageError::disk("remove", fresh))?;
    } else {
        fs::rename(fresh, folder).map_err(ImageError::disk("rename", fresh))?;
    }
    let above = File::open(images).map_err(ImageError::disk("open", images))?;
    above.sync_all().map_err(ImageError::disk("write", images))
}

/// Writes a file and waits until the disk has it.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let mut file = File::create(path).map_err(ImageError::disk("create", path))?;
    file.write_all(bytes).map_err(ImageError::disk("write", path))?;
    file.sync_all().map_err(ImageError::disk("write", path))
}

/// Writes a file so that a reader sees the old content or the new, never a part.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    write_file(&fresh, bytes)?;
    fs::rename(&fresh, path).map_err(ImageError::disk("rename", &fresh))
}
