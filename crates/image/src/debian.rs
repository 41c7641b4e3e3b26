//! Builds an image from Debian's archive.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::deb::{Content, Member, extract, fits};
use crate::error::ImageError;
use crate::fetch::{Fetcher, Retry};
use crate::initramfs::{self, PARTS};
use crate::keyring::Keyring;
use crate::mirror::Mirror;
use crate::modules::Modules;
use crate::packages::{Index, Package};
use crate::progress::Progress;
use crate::reference::{Arch, Reference};
use crate::release::Release;
use crate::store::{FORMAT, FileInfo, Image, ImageInfo, PackageInfo};

/// A release file is some hundred kilobytes.
const RELEASE_BYTES_MAX: u64 = 16 << 20;

/// The forms in which a suite may offer its index, best first.
const INDEX_NAMES: [&str; 3] = ["Packages.xz", "Packages.zst", "Packages.gz"];

/// What a kernel's package is called without its version.
pub(crate) const KERNEL_PREFIX: &str = "linux-image-";

/// All that it takes to make an image of Debian.
pub struct DebianBuilder<'p> {
    /// Where the archive is; the host's own apt sources when none is given.
    pub mirror: Option<Mirror>,
    /// Which release.
    pub reference: Reference,
    /// For which machine.
    pub arch: Arch,
    /// Folder of downloads, shared by all builds.
    pub cache: PathBuf,
    /// Trusted keys; Debian's own when none are given.
    pub keyring: Option<Keyring>,
    /// How patient to be with the network.
    pub retry: Retry,
    /// Told how far things are.
    pub progress: &'p mut dyn Progress,
}

/// The archive of one suite, its release file checked.
pub(crate) struct Archive<'p> {
    pub(crate) fetcher: Fetcher<'p>,
    pub(crate) mirror: Mirror,
    pub(crate) suite: String,
    pub(crate) arch: Arch,
    pub(crate) release: Release,
    pub(crate) signed_by: String,
}

/// The kernel's file and what else its package gives.
pub(crate) struct Kernel {
    pub(crate) version: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) modules: Modules,
    pub(crate) tables: Vec<Member>,
}

impl DebianBuilder<'_> {
    /// Fetches what is not in the cache yet and writes the image of a kernel and a shell into the
    /// folder of images, in place of an earlier one of the same name.
    ///
    /// # Errors
    /// Whatever stood in the way, with what to do about it; what was fetched by then is kept, and
    /// an earlier image stays as it was. A reference to a whole system is refused.
    pub fn build(self, images: &Path) -> Result<Image, ImageError> {
        if !self.reference.minimal() {
            return Err(ImageError::BadChoice("a whole system takes a machine".to_owned()));
        }
        let name = self.reference.image_name(self.arch);
        let arch = self.arch;
        let mirror = self.mirror.map_or_else(Mirror::of_host, Ok)?;
        let keyring = self.keyring.map_or_else(Keyring::of_host, Ok)?;
        let fetcher = Fetcher::open(&self.cache, self.retry, self.progress)?;
        let suite = self.reference.suite();
        let mut archive = Archive::open(fetcher, mirror, suite, arch, &keyring)?;
        let wanted = |package: &str| {
            package.starts_with(KERNEL_PREFIX)
                || PARTS.iter().any(|part| part.packages.contains(&package))
        };
        let index = archive.index(&wanted)?;

        let [meta, kernel_package] = archive.kernel_packages(&index)?;
        let kernel = archive.kernel(kernel_package)?;
        let (parts, members) = archive.parts(&index)?;
        let packages = [meta, kernel_package].into_iter().chain(parts);
        let codename = &archive.release.codename;
        let initrd =
            initramfs::build(codename, &kernel.version, &kernel.modules, kernel.tables, members);
        let info = ImageInfo {
            format: FORMAT,
            name,
            distribution: "debian".to_owned(),
            suite: archive.suite.clone(),
            codename: codename.clone(),
            arch,
            kernel_version: kernel.version,
            cmdline: arch.cmdline().to_owned(),
            cmdline_terminal: arch.cmdline_terminal().map(str::to_owned),
            built: now_text(),
            release_date: archive.release.date.clone(),
            signed_by: archive.signed_by.clone(),
            packages: packages.map(package_info).collect(),
            kernel: FileInfo::of(&kernel.bytes),
            initrd: FileInfo::of(&initrd),
            disk: None,
            choices: None,
            ready: None,
        };
        Image::write(images, info, &kernel.bytes, &initrd)
    }
}

/// The present time, RFC 3339.
pub(crate) fn now_text() -> String {
    Timestamp::now().round(jiff::Unit::Second).unwrap_or_default().to_string()
}

/// A package, as an image remembers it.
pub(crate) fn package_info(package: &Package) -> PackageInfo {
    PackageInfo {
        name: package.name.clone(),
        version: package.version.clone(),
        sha256: package.listed.sha256,
    }
}

impl<'p> Archive<'p> {
    /// Fetches a suite's release file and checks who signed it.
    pub(crate) fn open(
        mut fetcher: Fetcher<'p>,
        mirror: Mirror,
        suite: &str,
        arch: Arch,
        keyring: &Keyring,
    ) -> Result<Self, ImageError> {
        let (release, signed_by) = open_release(&mut fetcher, &mirror, suite, keyring)?;
        Ok(Self { fetcher, mirror, suite: suite.to_owned(), arch, release, signed_by })
    }

    /// The part of the suite's index that is wanted.
    pub(crate) fn index(&mut self, wanted: &dyn Fn(&str) -> bool) -> Result<Index, ImageError> {
        let (mirror, suite) = (&self.mirror, &self.suite);
        let (name, file) = fetch_index(&mut self.fetcher, mirror, suite, &self.release, self.arch)?;
        Index::read(&file, name, wanted)
    }

    /// The first of these packages that the suite has.
    pub(crate) fn package<'i>(
        &self,
        index: &'i Index,
        names: &[&str],
    ) -> Result<&'i Package, ImageError> {
        let found = names.iter().find_map(|name| index.get(name));
        found.ok_or_else(|| self.no_package(names.first().copied().unwrap_or_default()))
    }

    /// The error of a package that is not there.
    pub(crate) fn no_package(&self, package: &str) -> ImageError {
        ImageError::NoPackage {
            package: package.to_owned(),
            suite: self.suite.clone(),
            arch: self.arch.debian().to_owned(),
        }
    }

    /// A package's file, fetched and checked.
    pub(crate) fn fetch(&mut self, package: &Package) -> Result<PathBuf, ImageError> {
        let name = package.filename.rsplit('/').next().unwrap_or(&package.name);
        self.fetcher.pinned(name, &self.mirror.url(&package.filename), &package.listed)
    }

    /// The files of a package that fit the patterns, of which the first must be there.
    pub(crate) fn files(
        &mut self,
        package: &Package,
        patterns: &[&str],
    ) -> Result<Vec<Member>, ImageError> {
        let members = self.unpack(package, patterns)?;
        let first = patterns.first().copied().unwrap_or_default();
        if !members.iter().any(|member| fits(first, &member.path)) {
            return Err(no_file(package, first));
        }
        Ok(members)
    }

    /// The files of a package that fit the patterns, if any do.
    pub(crate) fn unpack(
        &mut self,
        package: &Package,
        patterns: &[&str],
    ) -> Result<Vec<Member>, ImageError> {
        let file = self.fetch(package)?;
        let wanted = |path: &str| patterns.iter().any(|pattern| fits(pattern, path));
        extract(&file, &package.name, self.fetcher.progress, &wanted)
    }

    /// The package that depends on the newest kernel, and that kernel's.
    pub(crate) fn kernel_packages<'i>(
        &self,
        index: &'i Index,
    ) -> Result<[&'i Package; 2], ImageError> {
        let meta = self.package(index, &[self.arch.kernel_package()])?;
        let name = meta.depends().find(|name| name.starts_with(KERNEL_PREFIX));
        let name = name.ok_or_else(|| self.no_package(KERNEL_PREFIX))?;
        Ok([meta, self.package(index, &[name])?])
    }

    /// What the first file systems are made of besides the kernel's modules, and out of which
    /// packages.
    pub(crate) fn parts<'i>(
        &mut self,
        index: &'i Index,
    ) -> Result<(Vec<&'i Package>, Vec<Member>), ImageError> {
        let (mut packages, mut members) = (Vec::new(), Vec::new());
        for part in &PARTS {
            let package = self.package(index, part.packages)?;
            members.extend(self.files(package, part.files)?);
            packages.push(package);
        }
        Ok((packages, members))
    }

    /// The kernel and its modules.
    pub(crate) fn kernel(&mut self, package: &Package) -> Result<Kernel, ImageError> {
        let file = self.fetch(package)?;
        let version = package.name.strip_prefix(KERNEL_PREFIX).unwrap_or_default().to_owned();
        let folder = format!("usr/lib/modules/{version}/");
        let image = format!("boot/vmlinu*-{version}");
        let built_in = format!("{folder}modules.builtin");
        let progress = &mut *self.fetcher.progress;
        let (modules, mut others) =
            Modules::collect(&folder, &[&image, &built_in], &mut |wanted| {
                extract(&file, &package.name, &mut *progress, wanted)
            })?;
        let at = others.iter().position(|member| fits(&image, &member.path));
        let found = at.map(|at| others.swap_remove(at).content);
        let Some(Content::File { bytes, .. }) = found else {
            return Err(no_file(package, &image));
        };
        Ok(Kernel { version, bytes, modules, tables: others })
    }
}

/// The release file of a suite, checked, and who signed it.
pub(crate) fn open_release(
    fetcher: &mut Fetcher<'_>,
    mirror: &Mirror,
    suite: &str,
    keyring: &Keyring,
) -> Result<(Release, String), ImageError> {
    let now = SystemTime::now();
    let url = mirror.url(&format!("dists/{suite}/InRelease"));
    let (text, signed_by) = match fetcher.current(&url, RELEASE_BYTES_MAX)? {
        Some(bytes) => keyring
            .open_inline(&bytes, now)
            .map_err(|reason| ImageError::Signature { url, reason })?,
        // Older archives keep the signature in a file of its own.
        None => open_detached(fetcher, mirror, suite, keyring, now)?,
    };
    Ok((Release::parse(&text, suite, now)?, signed_by))
}

/// The index of a suite's packages, fetched and checked: the name that it has there, and where it
/// is here.
pub(crate) fn fetch_index(
    fetcher: &mut Fetcher<'_>,
    mirror: &Mirror,
    suite: &str,
    release: &Release,
    arch: Arch,
) -> Result<(&'static str, PathBuf), ImageError> {
    let folder = format!("main/binary-{}", arch.debian());
    let found = INDEX_NAMES.iter().find_map(|name| {
        let path = format!("{folder}/{name}");
        Some((*name, release.file(&path)?.clone(), path))
    });
    let (name, listed, path) = found.ok_or_else(|| ImageError::Release {
        suite: suite.to_owned(),
        reason: format!("it offers no packages for {}", arch.debian()),
    })?;
    let url = mirror.url(&format!("dists/{suite}/{path}"));
    Ok((name, fetcher.pinned(name, &url, &listed)?))
}

/// The error of a package without a file that it should have.
fn no_file(package: &Package, file: &str) -> ImageError {
    ImageError::NoFile { package: package.name.clone(), file: file.to_owned() }
}

/// The text of a release file whose signature is a file of its own, and who signed it.
fn open_detached(
    fetcher: &mut Fetcher<'_>,
    mirror: &Mirror,
    suite: &str,
    keyring: &Keyring,
    now: SystemTime,
) -> Result<(String, String), ImageError> {
    let url = mirror.url(&format!("dists/{suite}/Release"));
    let missing = |url: &str| ImageError::Status { url: url.to_owned(), status: 404 };
    let bytes = fetcher.current(&url, RELEASE_BYTES_MAX)?.ok_or_else(|| missing(&url))?;
    let signature_url = format!("{url}.gpg");
    let signatures = fetcher
        .current(&signature_url, RELEASE_BYTES_MAX)?
        .ok_or_else(|| missing(&signature_url))?;
    let untrusted = |reason| ImageError::Signature { url: url.clone(), reason };
    let signer = keyring.check_detached(&bytes, &signatures, now).map_err(untrusted)?;
    let text = String::from_utf8(bytes).map_err(|_| untrusted("it is not text".to_owned()))?;
    Ok((text, signer))
}
