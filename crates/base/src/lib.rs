//! The words of the program: addresses, pages, ticks, digests.
//!
//! Architecture invariant: no I/O and no knowledge of machines; every other crate may use this.

use std::fmt;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// Bytes in a page, for arithmetic on addresses.
pub const PAGE_SIZE_U64: u64 = 4096;

/// A guest-physical address: a byte offset into a space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Gpa(pub u64);

impl Gpa {
    /// The page that holds this address.
    #[inline]
    #[must_use]
    pub const fn page(self) -> PageNo {
        PageNo(self.0 / PAGE_SIZE_U64)
    }

    /// The offset within its page.
    #[inline]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "an offset is below PAGE_SIZE")]
    pub const fn offset(self) -> usize {
        (self.0 % PAGE_SIZE_U64) as usize
    }
}

impl fmt::Display for Gpa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A guest-virtual address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Gva(pub u64);

/// The number of a page within its space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct PageNo(pub u64);

impl PageNo {
    /// The address of the first byte of the page.
    #[inline]
    #[must_use]
    pub const fn base(self) -> Gpa {
        Gpa(self.0 * PAGE_SIZE_U64)
    }
}

/// A place on a machine's own timeline: steps taken since its creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The end of time.
    pub const MAX: Self = Self(u64::MAX);
}

/// A BLAKE3 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of several byte strings, one after the other, without putting them together.
    #[must_use]
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The first half of the hexadecimal form, enough for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..16].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_its_page_and_its_offset() {
        let at = Gpa(0x1234_5678);
        assert_eq!(at.page().base().0 + at.offset() as u64, at.0);
        assert_eq!(at.page(), PageNo(0x12345));
    }

    #[test]
    fn a_digest_of_parts_is_the_digest_of_the_whole() {
        let parts = [&b"om"[..], b"ni", b""];
        assert_eq!(Digest::of_parts(parts), Digest::of(b"omni"));
        assert_eq!(Digest::of(b"").short().len(), 16);
    }
}
