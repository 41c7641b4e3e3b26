//! The descriptor of a VMDK image: a text of keys, values and extents.

use crate::error::{Result, damaged, ensure, unsupported};

/// Extents of one image: two gigabytes each is usual.
const EXTENTS_MAX: usize = 4096;

/// The mark of an image that is above no other.
const NO_PARENT: &str = "ffffffff";

/// How an extent holds its part of the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sort {
    Flat,
    Sparse,
    Zero,
}

/// A line of the extents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ExtentLine {
    pub(super) sectors: u64,
    pub(super) sort: Sort,
    pub(super) file: String,
    /// In sectors.
    pub(super) offset: u64,
}

/// What a descriptor says.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(super) struct Descriptor {
    /// `createType`.
    pub(super) sort: String,
    /// `CID`.
    pub(super) identity: Option<String>,
    /// `parentCID`, unless there is no parent.
    pub(super) parent_identity: Option<String>,
    /// `parentFileNameHint`.
    pub(super) parent: Option<String>,
    pub(super) extents: Vec<ExtentLine>,
}

impl Descriptor {
    /// Reads a descriptor that is a file of its own.
    pub(super) fn parse(text: &str) -> Result<Self> {
        Self::read(text, true)
    }

    /// Reads the descriptor within a sparse extent, whose one extent is that.
    pub(super) fn parse_within(text: &str) -> Result<Self> {
        Self::read(text, false)
    }

    fn read(text: &str, extents: bool) -> Result<Self> {
        let mut found = Self::default();
        for line in text.lines().map(str::trim) {
            let first = line.split_whitespace().next().unwrap_or_default();
            if ["RW", "RDONLY", "NOACCESS"].contains(&first) {
                ensure(found.extents.len() < EXTENTS_MAX, "descriptor", || {
                    format!("has more than {EXTENTS_MAX} extents")
                })?;
                if extents {
                    found.extents.push(extent(line)?);
                }
            } else if let Some((key, value)) = line.split_once('=').filter(|_| first != "#") {
                let value = value.trim().trim_matches('"').to_owned();
                match key.trim() {
                    "createType" => found.sort = value,
                    "CID" => found.identity = Some(value.to_ascii_lowercase()),
                    "parentCID" if !value.eq_ignore_ascii_case(NO_PARENT) => {
                        found.parent_identity = Some(value.to_ascii_lowercase());
                    }
                    "parentFileNameHint" => found.parent = Some(value.replace('\\', "/")),
                    "encryption.keySafe" => return Err(unsupported("encryption")),
                    // Geometry, versions, adapters.
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

/// `RW 4192256 SPARSE "disk-s001.vmdk"`, with an offset where it is flat.
fn extent(line: &str) -> Result<ExtentLine> {
    let wrong = || damaged("extent", format!("is not understood: {line:.80}"));
    let (head, tail) = line.split_once('"').unwrap_or((line, ""));
    let (file, tail) = tail.split_once('"').unwrap_or_default();
    let mut words = head.split_whitespace();
    if words.next() == Some("NOACCESS") {
        return Err(unsupported("an extent without access"));
    }
    let sectors = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let sort = match words.next().ok_or_else(wrong)? {
        "FLAT" | "VMFS" => Sort::Flat,
        "SPARSE" => Sort::Sparse,
        "ZERO" => Sort::Zero,
        other => return Err(unsupported(format!("an extent of the sort {other:.40}"))),
    };
    let offset = match tail.split_whitespace().next() {
        Some(word) => word.parse().map_err(|_| wrong())?,
        None => 0,
    };
    if sort != Sort::Zero && file.is_empty() {
        return Err(wrong());
    }
    Ok(ExtentLine { sectors, sort, file: file.to_owned(), offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_gives_its_marks_and_extents_and_leaves_the_rest_aside() {
        let text = "# Disk DescriptorFile\nversion=1\nCID=0a1B2c3d\nparentCID=ffffffff\n\
            createType=\"twoGbMaxExtentFlat\"\n# Extent description\n\
            RW 4192256 FLAT \"a b-f001.vmdk\" 7\nRDONLY 10 SPARSE \"s.vmdk\"\nRW 5 ZERO\n\
            ddb.adapterType = \"ide\"\n";
        let found = Descriptor::parse(text).expect("sound");
        assert_eq!(found.sort, "twoGbMaxExtentFlat");
        assert_eq!(found.identity.as_deref(), Some("0a1b2c3d"));
        assert_eq!(found.parent_identity, None);
        let line = |sectors, sort, file: &str, offset| ExtentLine {
            sectors,
            sort,
            file: file.into(),
            offset,
        };
        let expected = [
            line(4_192_256, Sort::Flat, "a b-f001.vmdk", 7),
            line(10, Sort::Sparse, "s.vmdk", 0),
            line(5, Sort::Zero, "", 0),
        ];
        assert_eq!(found.extents, expected);
    }

    #[test]
    fn an_extent_that_is_not_understood_is_an_error() {
        for line in [
            "RW",
            "RW x FLAT \"a\" 0",
            "RW 1 FLAT",
            "RW 1 SESPARSE \"a\"",
            "NOACCESS 1 FLAT \"a\" 0",
            "RW 1 FLAT \"a\" x",
            "RW 99999999999999999999 FLAT \"a\" 0",
        ] {
            assert!(Descriptor::parse(line).is_err(), "{line}");
        }
    }
}
