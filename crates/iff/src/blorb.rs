//! Blorb: a story with its resources in one file (the Blorb specification 2.0.4).

use crate::{Chunk, take_form};

/// What a resource is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Usage {
    /// The story itself, of number zero.
    Exec,
    /// A file of data.
    Data,
}

impl Usage {
    fn name(self) -> &'static [u8; 4] {
        match self {
            Self::Exec => b"Exec",
            Self::Data => b"Data",
        }
    }
}

/// The chunk of a resource of a Blorb file, by its index; `None` where there is none.
#[must_use]
pub fn resource(file: &[u8], usage: Usage, number: u32) -> Option<Chunk<'_>> {
    let inside = take_form(file, b"IFRS")?;
    let (name, index) = crate::chunks(inside).next()?;
    let entries = index.get(4..).filter(|_| &name == b"RIdx")?;
    let wanted = [&usage.name()[..], &number.to_be_bytes()].concat();
    let entry = entries.chunks_exact(12).find(|entry| entry[..8] == wanted[..])?;
    let at = u32::from_be_bytes([entry[8], entry[9], entry[10], entry[11]]);
    crate::chunks(file.get(usize::try_from(at).ok()?..)?).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{form, put_chunk};

    #[test]
    fn a_resource_is_found_by_use_and_number() {
        let mut index = 1u32.to_be_bytes().to_vec();
        index.extend_from_slice(b"Exec\0\0\0\0");
        index.extend_from_slice(&36u32.to_be_bytes());
        let mut all = Vec::new();
        put_chunk(&mut all, b"RIdx", &index);
        put_chunk(&mut all, b"GLUL", b"story");
        let file = form(b"IFRS", &all);
        assert_eq!(resource(&file, Usage::Exec, 0), Some((*b"GLUL", &b"story"[..])));
        assert_eq!(resource(&file, Usage::Exec, 1), None);
        assert_eq!(resource(&file, Usage::Data, 0), None);
        for end in 0..file.len() {
            assert_eq!(resource(&file[..end], Usage::Exec, 0), None);
        }
    }
}
