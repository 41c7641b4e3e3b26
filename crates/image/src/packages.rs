//! The index of a suite's packages: the few that an image needs, and what those depend on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use crate::deb::decompressed;
use crate::deb822::{Paragraph, Paragraphs};
use crate::error::ImageError;
use crate::release::Listed;

/// The index of Debian's main archive is some fifty megabytes.
const INDEX_BYTES_MAX: u64 = 1 << 30;

/// A package as the index describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Path below the archive's root.
    pub(crate) filename: String,
    pub(crate) listed: Listed,
    depends: String,
}

impl Package {
    /// The names that it depends on, in order, the first of each list of alternatives.
    pub(crate) fn depends(&self) -> impl Iterator<Item = &str> {
        self.depends.split(',').filter_map(|one| {
            let name = one.split(['|', '(', '[', ':']).next()?.trim();
            (!name.is_empty()).then_some(name)
        })
    }
}

/// The wanted part of an index.
#[derive(Debug, Default)]
pub(crate) struct Index {
    packages: BTreeMap<String, Package>,
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
                index.packages.insert(package.name.clone(), package);
            }
        }
        Ok(index)
    }

    /// A package by name.
    pub(crate) fn get(&self, name: &str) -> Option<&Package> {
        self.packages.get(name)
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
    })
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
