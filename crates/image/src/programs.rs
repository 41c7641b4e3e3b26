//! Programs out of Debian's packages, with all that they depend on: files for a guest, or a folder
//! for this host. Nothing is configured: no script of a package runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::cpio::Tree;
use crate::deb::Content;
use crate::debian::{Archive, DebianBuilder, KERNEL_PREFIX, package_info};
use crate::error::ImageError;
use crate::fetch::Fetcher;
use crate::keyring::Keyring;
use crate::mirror::Mirror;
use crate::packages::{Index, Package};
use crate::store::PackageInfo;

/// What programs are made of; documents, translations and scripts of packages are not.
const FOLDERS: &[&str] = &["usr/bin/*", "usr/sbin/*", "usr/lib/*", "usr/lib64/*"];

/// Packages that others depend on for their installation only.
const FOR_INSTALLATION: &[&str] = &["dpkg", "debconf", "install-info", "tzdata"];

/// Files of packages, by path.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// What they are out of.
    pub packages: Vec<PackageInfo>,
    files: BTreeMap<String, Content>,
}

/// A file beside those of packages: its path without a slash in front, its mode, its bytes.
pub type ExtraFile<'a> = (&'a str, u32, &'a [u8]);

impl Programs {
    /// An initial RAM disk with these programs and these files.
    #[must_use]
    pub fn to_initrd(&self, extra: &[ExtraFile<'_>]) -> Vec<u8> {
        let mut tree = Tree::default();
        for path in ["dev", "proc", "sys", "usr/bin", "usr/sbin", "usr/lib"] {
            tree.dir(path, 0o755);
        }
        tree.dir("tmp", 0o1777);
        for (link, target) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")] {
            tree.link(link, target);
        }
        tree.device("dev/console", 0o600, 5, 1);
        for (path, content) in &self.files {
            match content {
                Content::File { executable, bytes } => {
                    tree.file(path, if *executable { 0o755 } else { 0o644 }, bytes.as_slice());
                }
                Content::Link(target) => tree.link(path, target),
            }
        }
        for (path, mode, bytes) in extra {
            tree.file(path, *mode, *bytes);
        }
        tree.to_cpio()
    }

    /// Writes the programs below a folder. What lies behind a link is left out: no file is ever
    /// written outside of the folder.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn write_to(&self, folder: &Path) -> Result<(), ImageError> {
        let is_link = |path: &str| matches!(self.files.get(path), Some(Content::Link(_)));
        for (path, content) in &self.files {
            if path.match_indices('/').any(|(at, _)| is_link(&path[..at])) {
                continue;
            }
            let to = folder.join(path);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(ImageError::disk("make", parent))?;
            }
            let wrong = ImageError::disk("write", &to);
            match content {
                Content::File { executable, bytes } => {
                    let mode = if *executable { 0o755 } else { 0o644 };
                    let written = fs::write(&to, bytes);
                    let set = || fs::set_permissions(&to, fs::Permissions::from_mode(mode));
                    written.and_then(|()| set()).map_err(wrong)?;
                }
                Content::Link(target) => symlink(target, &to).map_err(wrong)?,
            }
        }
        Ok(())
    }
}

impl<'p> DebianBuilder<'p> {
    /// The programs of these packages and of all that those depend on.
    ///
    /// # Errors
    /// As of `build`.
    pub fn programs(self, names: &[&str]) -> Result<Programs, ImageError> {
        let (mut archive, index) = self.open()?;
        let mut programs = Programs::default();
        for package in closure(&archive, &index, names)? {
            programs.packages.push(package_info(package));
            let members = archive.unpack(package, FOLDERS)?;
            programs.files.extend(members.into_iter().map(|of| (of.path, of.content)));
        }
        Ok(programs)
    }

    /// The stock kernel, as its package has it.
    ///
    /// # Errors
    /// As of `build`.
    pub fn kernel(self) -> Result<Vec<u8>, ImageError> {
        let meta = self.arch.kernel_package();
        let (mut archive, index) = self.open()?;
        let package = archive.package(&index, &[meta])?;
        let name = package.depends().find(|name| name.starts_with(KERNEL_PREFIX));
        let name = name.ok_or_else(|| archive.no_package(KERNEL_PREFIX))?;
        let package = archive.package(&index, &[name])?;
        let files = archive.files(package, &["boot/vmlinu*"])?;
        let bytes = files.into_iter().find_map(|file| match file.content {
            Content::File { bytes, .. } => Some(bytes),
            Content::Link(_) => None,
        });
        bytes.ok_or_else(|| archive.no_package(name))
    }

    /// The archive, checked, and everything in its index.
    fn open(self) -> Result<(Archive<'p>, Index), ImageError> {
        let mirror = self.mirror.map_or_else(Mirror::of_host, Ok)?;
        let keyring = self.keyring.map_or_else(Keyring::of_host, Ok)?;
        let fetcher = Fetcher::open(&self.cache, self.retry, self.progress)?;
        let suite = self.reference.suite();
        let mut archive = Archive::open(fetcher, mirror, suite, self.arch, &keyring)?;
        let index = archive.index(&|_| true)?;
        Ok((archive, index))
    }
}

/// These packages and all that they depend on, each once. A dependency on something that no
/// package is called is one on what several provide: a program for a benchmark does without.
fn closure<'i>(
    archive: &Archive<'_>,
    index: &'i Index,
    names: &[&str],
) -> Result<Vec<&'i Package>, ImageError> {
    let mut wanted = vec![];
    for name in names {
        wanted.push(archive.package(index, &[name])?);
    }
    let mut seen: BTreeSet<&str> = FOR_INSTALLATION.iter().copied().collect();
    let mut found = vec![];
    while let Some(package) = wanted.pop() {
        if seen.insert(&package.name) {
            found.push(package);
            wanted.extend(package.depends().filter_map(|name| index.get(name)));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs() -> Programs {
        let file = |text: &str| Content::File { executable: true, bytes: text.into() };
        let files = [
            ("usr/bin/a", file("a")),
            ("usr/lib64", Content::Link("/".into())),
            ("usr/lib64/etc/b", file("b")),
            ("usr/lib/l", Content::Link("a".into())),
        ];
        let files = files.into_iter().map(|(path, content)| (path.to_owned(), content)).collect();
        Programs { packages: vec![], files }
    }

    #[test]
    fn nothing_is_written_behind_a_link() {
        let folder = tempfile();
        programs().write_to(&folder).unwrap();
        assert_eq!(fs::read(folder.join("usr/bin/a")).unwrap(), b"a");
        assert_eq!(fs::read_link(folder.join("usr/lib/l")).unwrap(), Path::new("a"));
        assert!(!Path::new("/etc/b").exists());
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_initrd_holds_programs_and_what_is_added() {
        let initrd = programs().to_initrd(&[("init", 0o755, b"#!/bin/sh")]);
        for name in [&b"usr/bin/a"[..], b"init", b"dev/console"] {
            assert!(initrd.windows(name.len()).any(|window| window == name));
        }
    }

    fn tempfile() -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("omni-programs-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }
}
