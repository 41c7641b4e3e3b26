//! Objects: bytes of some sort under their digest, as records of a pack.

use omni_base::Digest;

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sort {
    /// A page of a space: 4096 bytes, not all zero.
    Page,
    /// An inner node of an image.
    Node,
    /// Bytes of any length: a file of a spec, records.
    Blob,
    /// A snapshot.
    Manifest,
}

impl Sort {
    /// Every sort.
    pub const ALL: [Self; 4] = [Self::Page, Self::Node, Self::Blob, Self::Manifest];

    /// The number in a record.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Page => 1,
            Self::Node => 2,
            Self::Blob => 3,
            Self::Manifest => 4,
        }
    }

    /// The word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Node => "node",
            Self::Blob => "blob",
            Self::Manifest => "manifest",
        }
    }
}

/// How the bytes of an object are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Coding {
    Raw,
    Zstd,
}

/// The head of a record in a pack: section 3 of the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) sort: Sort,
    pub(crate) coding: Coding,
    pub(crate) stored: u32,
    pub(crate) decoded: u32,
    pub(crate) digest: Digest,
}

/// Bytes of a head.
pub(crate) const HEAD_BYTES: usize = 48;

impl Head {
    pub(crate) fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        out[0] = self.sort.number();
        out[1] = u8::from(self.coding == Coding::Zstd);
        out[4..8].copy_from_slice(&self.stored.to_le_bytes());
        out[8..12].copy_from_slice(&self.decoded.to_le_bytes());
        out[12..44].copy_from_slice(&self.digest.0);
        let check = Digest::of(&out[..44]);
        out[44..].copy_from_slice(&check.0[..4]);
        out
    }

    /// The head in these bytes; `None` where they are no sound one.
    pub(crate) fn from_bytes(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        if Digest::of(&bytes[..44]).0[..4] != bytes[44..] || bytes[2..4] != [0, 0] {
            return None;
        }
        let sort = Sort::ALL.into_iter().find(|sort| sort.number() == bytes[0])?;
        let coding = match bytes[1] {
            0 => Coding::Raw,
            1 => Coding::Zstd,
            _ => return None,
        };
        let number = |at: usize| bytes[at..].first_chunk().map(|four| u32::from_le_bytes(*four));
        let (stored, decoded) = (number(4)?, number(8)?);
        let digest = Digest(*bytes[12..].first_chunk()?);
        (coding == Coding::Zstd || stored == decoded).then_some(Self {
            sort,
            coding,
            stored,
            decoded,
            digest,
        })
    }
}
