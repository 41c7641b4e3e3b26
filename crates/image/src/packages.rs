//! The index of a suite's packages, with what each says of others.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::deb::decompressed;
use crate::deb822::{Paragraph, Paragraphs};
use crate::error::ImageError;
use crate::relation::{clauses, provided};
use crate::release::Listed;
use crate::version::compare;

/// The index of Debian's main archive is some fifty megabytes.
const INDEX_BYTES_MAX: u64 = 1 << 30;

/// Packages in an index; Debian has some seventy thousand.
const PACKAGES_MAX: usize = 1 << 20;

/// A package as the index describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Path below the archive's root.
    pub(crate) filename: String,
    pub(crate) listed: Listed,
    /// What it needs to be unpacked and to be configured.
    pub(crate) depends: String,
    /// What it cannot stand beside.
    pub(crate) conflicts: String,
    /// The other names that it goes by.
    pub(crate) provides: String,
    /// How much a system needs it.
    pub(crate) rank: Rank,
    /// What it takes on disk, in bytes.
    pub(crate) installed_bytes: u64,
}

/// How much a system needs a package, most needed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Required,
    Important,
    Standard,
    Other,
}

impl Package {
    /// The names that it depends on, in order, the first of each list of alternatives.
    pub(crate) fn depends(&self) -> impl Iterator<Item = &str> {
        clauses(&self.depends).filter_map(|clause| Some(clause.first()?.name))
    }
}

/// The wanted part of an index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    packages: BTreeMap<String, Package>,
    /// For each name that packages provide: by which packages.
    providers: BTreeMap<String, Vec<String>>,
}

impl Index {
    /// Reads the index in a file, keeping the packages whose name is wanted.
    pub(crate) fn read(
        path: &Path,
        name: &str,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Self, ImageError> {
        let file = File::open(path).map_err(ImageError::disk("open", path))?;
        let plain = decompressed(name, file).map_err(|e| ImageError::malformed(name, e))?;
        let reader = BufReader::with_capacity(1 << 16, plain.take(INDEX_BYTES_MAX));
        let mut paragraphs = Paragraphs::new(reader);
        let mut index = Self::default();
        while let Some(paragraph) =
            paragraphs.next().map_err(|reason| ImageError::malformed(name, reason))?
        {
            let package = paragraph.get("Package").unwrap_or_default();
            if wanted(package) {
                let package = read_one(&paragraph).ok_or_else(|| {
                    ImageError::malformed(
                        name,
                        format!("package {package} is incompletely described"),
                    )
                })?;
                index.add(package);
                if index.packages.len() > PACKAGES_MAX {
                    return Err(ImageError::malformed(name, "it lists too many packages"));
                }
            }
        }
        Ok(index)
    }

    /// Adds a package. Of two versions the later one counts.
    fn add(&mut self, package: Package) {
        let older = self.packages.get(&package.name);
        if older.is_some_and(|other| compare(&other.version, &package.version).is_gt()) {
            return;
        }
        for (name, _) in provided(&package.provides) {
            let providers = self.providers.entry(name.to_owned()).or_default();
            if !providers.contains(&package.name) {
                providers.push(package.name.clone());
            }
        }
        self.packages.insert(package.name.clone(), package);
    }

    /// A package by name.
    pub(crate) fn get(&self, name: &str) -> Option<&Package> {
        self.packages.get(name)
    }

    /// All packages, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Package> {
        self.packages.values()
    }

    /// The packages that provide a name.
    pub(crate) fn providers(&self, name: &str) -> impl Iterator<Item = &Package> {
        let names = self.providers.get(name).into_iter().flatten();
        names.filter_map(|name| self.packages.get(name))
    }

    /// The index in a text.
    #[cfg(test)]
    pub(crate) fn of_text(text: &str) -> Self {
        let mut paragraphs = Paragraphs::new(text.as_bytes());
        let mut index = Self::default();
        while let Some(paragraph) = paragraphs.next().expect("sound") {
            index.add(read_one(&paragraph).expect("complete"));
        }
        index
    }
}

/// A package's entry, if it is complete and its path stays within the archive.
pub(crate) fn read_one(paragraph: &Paragraph) -> Option<Package> {
    let filename = paragraph.get("Filename")?;
    let plain = filename.chars().all(|c| c.is_ascii_graphic() && c != '?' && c != '#');
    if !plain || filename.starts_with('/') || filename.split('/').any(|part| part == "..") {
        return None;
    }
    let field = |name| paragraph.get(name).unwrap_or_default();
    Some(Package {
        name: paragraph.get("Package")?.to_owned(),
        version: paragraph.get("Version")?.to_owned(),
        filename: filename.to_owned(),
        listed: Listed {
            size: paragraph.get("Size")?.parse().ok()?,
            sha256: paragraph.get("SHA256")?.parse().ok()?,
        },
        depends: format!("{},{}", field("Pre-Depends"), field("Depends")),
        conflicts: format!("{},{}", field("Conflicts"), field("Breaks")),
        provides: field("Provides").to_owned(),
        installed_bytes: field("Installed-Size").parse().map_or(0, |kib: u32| u64::from(kib) << 10),
        rank: rank(field("Essential"), field("Priority")),
    })
}

fn rank(essential: &str, priority: &str) -> Rank {
    match priority {
        _ if essential == "yes" => Rank::Required,
        "required" => Rank::Required,
        "important" => Rank::Important,
        "standard" => Rank::Standard,
        _ => Rank::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(filename: &str) -> Option<Package> {
        let text = format!(
            "Package: a\nVersion: 1\nFilename: {filename}\nSize: 3\nPre-Depends: p\n\
             SHA256: {}\nDepends: b (>= 1), c:any | d,\n e [riscv64]\n",
            "0".repeat(64)
        );
        read_one(&Paragraphs::new(text.as_bytes()).next().unwrap().unwrap())
    }

    #[test]
    fn dependencies_are_names_in_order() {
        let package = package("pool/a.deb").unwrap();
        assert_eq!(package.depends().collect::<Vec<_>>(), ["p", "b", "c", "e"]);
    }

    #[test]
    fn a_path_that_leaves_the_archive_is_refused() {
        for bad in ["/a.deb", "pool/../../a.deb", "pool/a.deb?x", "a b"] {
            assert_eq!(package(bad), None, "{bad:?}");
        }
    }
}
