//! Story files: the header of Glulx (the specification, section 1.4), plain or within Blorb.

use omni_iff::Usage;
use omni_machine::{Blob, Confidence, CreateError};
use std::sync::Arc;

/// The size of the header.
pub(crate) const HEADER_BYTES: usize = 36;

/// Versions that can be run: 2.0 and 3.0 to 3.1.3.
const VERSIONS: std::ops::RangeInclusive<u32> = 0x0002_0000..=0x0003_01ff;

/// A story.
#[derive(Clone)]
pub(crate) struct Story {
    /// The whole file: resources are in it.
    file: Arc<Vec<u8>>,
    /// Where in it the story is.
    first: usize,
    /// The end of what is in the file.
    pub(crate) extstart: u32,
    /// The start of what can be written.
    pub(crate) ramstart: u32,
    /// The end of memory at the start.
    pub(crate) endmem: u32,
    /// Bytes of the stack.
    pub(crate) stack_bytes: u32,
    /// The function to begin with.
    pub(crate) start: u32,
    /// The string-decoding table to begin with.
    pub(crate) table: u32,
    /// The checksum that the header says.
    pub(crate) checksum: u32,
}

impl Story {
    /// Reads a story.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn new(image: &Blob) -> Result<Self, CreateError> {
        let refuse = |why: String| CreateError::File { role: "image".into(), why };
        let read = image.bytes().map_err(|error| refuse(format!("cannot be read: {error}")))?;
        Self::of(read).map_err(refuse)
    }

    fn of(file: Arc<Vec<u8>>) -> Result<Self, String> {
        let first = place(&file).ok_or("is no Glulx story, nor a Blorb file that holds one")?;
        let bytes = &file[first..];
        if bytes.len() < HEADER_BYTES {
            let count = bytes.len();
            return Err(format!("a story has a header of {HEADER_BYTES} bytes; this has {count}"));
        }
        let version = long(bytes, 4);
        if !VERSIONS.contains(&version) {
            let [_, major, minor, _] = version.to_be_bytes();
            let known = "2.0 and 3.0 to 3.1 are supported";
            return Err(format!("version {major}.{minor} of Glulx is not known; {known}"));
        }
        let story = Self {
            first,
            ramstart: long(bytes, 8),
            extstart: long(bytes, 12),
            endmem: long(bytes, 16),
            stack_bytes: long(bytes, 20),
            start: long(bytes, 24),
            table: long(bytes, 28),
            checksum: long(bytes, 32),
            file,
        };
        story.check()?;
        Ok(story)
    }

    fn check(&self) -> Result<(), String> {
        let (ramstart, extstart) = (self.ramstart, self.extstart);
        let aligned = [ramstart, extstart, self.endmem, self.stack_bytes];
        if !aligned.iter().all(|bound| bound.is_multiple_of(256)) {
            return Err("a bound of memory in its header is not a multiple of 256".into());
        }
        if ramstart < 256 || extstart < ramstart || self.endmem < extstart {
            return Err("the bounds of memory in its header are out of order".into());
        }
        let held = self.file.len() - self.first;
        if usize::try_from(extstart).map_or(true, |extstart| extstart > held) {
            return Err(format!("cut short: {held} bytes of the {extstart} of its header"));
        }
        if self.stack_bytes < 256 {
            return Err("its header asks for no stack".into());
        }
        if self.start >= self.endmem {
            return Err("the function that it begins with is outside memory".into());
        }
        Ok(())
    }

    /// What memory begins with; the rest of it is zero.
    pub(crate) fn bytes(&self) -> &[u8] {
        let size = usize::try_from(self.extstart).expect("it fits the file");
        &self.file[self.first..][..size]
    }

    /// A resource of data, and whether it is text.
    pub(crate) fn data(&self, number: u32) -> Option<(&[u8], bool)> {
        let (name, body) = omni_iff::resource(&self.file, Usage::Data, number)?;
        match &name {
            b"TEXT" => Some((body, true)),
            b"BINA" => Some((body, false)),
            // What is a file of its own has its head with it.
            b"FORM" => {
                let first = body.as_ptr().addr() - self.file.as_ptr().addr();
                Some((&self.file[first - 8..first + body.len()], false))
            }
            _ => None,
        }
    }

    /// Whether the sum of its words is what the header says (section 2.19, `verify`).
    pub(crate) fn is_whole(&self) -> bool {
        let words = self.bytes().chunks_exact(4).map(|word| long(word, 0));
        let sum = words.fold(0u32, u32::wrapping_add);
        sum.wrapping_sub(self.checksum) == self.checksum
    }
}

fn long(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..].first_chunk::<4>().expect("the header is whole");
    u32::from_be_bytes(*word)
}

/// Where in a file the story is.
fn place(file: &[u8]) -> Option<usize> {
    if file.starts_with(b"Glul") {
        return Some(0);
    }
    let (_, body) = omni_iff::resource(file, Usage::Exec, 0).filter(|(name, _)| name == b"GLUL")?;
    let first = body.as_ptr().addr() - file.as_ptr().addr();
    body.starts_with(b"Glul").then_some(first)
}

/// How sure one can be that some bytes are a story.
pub(crate) fn probe(image: &[u8]) -> Confidence {
    if place(image).is_some() { Confidence::Sure } else { Confidence::No }
}

/// Where memory and the stack are in the space that holds both.
///
/// Memory is placed so that what can be written begins with a page: no page is of both sorts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Layout {
    /// What is added to an address of the story.
    pub(crate) delta: u32,
    /// The start of what can be written.
    pub(crate) ramstart: u32,
    /// What memory can grow to.
    pub(crate) endmem_max: u32,
    /// Bytes of the stack.
    pub(crate) stack_bytes: u32,
}

const PAGE: u32 = 4096;

impl Layout {
    /// Of a story whose memory may grow to so many bytes.
    pub(crate) fn new(story: &Story, endmem_max: u32) -> Self {
        let delta = (PAGE - story.ramstart % PAGE) % PAGE;
        let Story { ramstart, stack_bytes, .. } = *story;
        Self { delta, ramstart, endmem_max, stack_bytes }
    }

    /// The page of the stack's first byte.
    pub(crate) fn stack_page(&self) -> u64 {
        (u64::from(self.delta) + u64::from(self.endmem_max)).div_ceil(PAGE.into())
    }

    /// Pages of both.
    pub(crate) fn pages(&self) -> u64 {
        self.stack_page() + u64::from(self.stack_bytes.div_ceil(PAGE))
    }

    /// Pages of a level of undo: what can be written, and the stack.
    pub(crate) fn slot_pages(&self) -> u64 {
        let ram = u64::from(self.endmem_max - self.ramstart).div_ceil(PAGE.into());
        ram + u64::from(self.stack_bytes.div_ceil(PAGE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_is_a_file_comes_with_its_head() {
        let story = crate::sample_story();
        let mut index = 2u32.to_be_bytes().to_vec();
        let at = 12 + 8 + 28;
        for (usage, at) in [(b"Exec", at), (b"Data", at + 8 + story.len())] {
            index.extend_from_slice(usage);
            index.extend(if usage == b"Exec" { 0u32 } else { 7 }.to_be_bytes());
            index.extend(u32::try_from(at).expect("small").to_be_bytes());
        }
        let mut all = Vec::new();
        omni_iff::put_chunk(&mut all, b"RIdx", &index);
        omni_iff::put_chunk(&mut all, b"GLUL", &story);
        let saved = omni_iff::form(b"IFZS", b"");
        all.extend_from_slice(&saved);
        let story = Story::of(Arc::new(omni_iff::form(b"IFRS", &all))).expect("it is sound");
        assert_eq!(story.data(7), Some((&saved[..], false)));
        assert_eq!(story.data(8), None);
    }

    #[test]
    fn a_bad_story_is_refused_in_words() {
        let story = crate::sample_story();
        assert!(Story::of(Arc::new(story.clone())).is_ok_and(|story| story.is_whole()));
        for end in 0..story.len() {
            let cut = Story::of(Arc::new(story[..end].to_vec())).err();
            assert!(cut.is_some_and(|why| !why.is_empty()), "cut at {end}");
        }
        for (at, value) in [(4, 9), (11, 1), (8, 0xff), (18, 0), (24, 0xff), (20, 0)] {
            let mut bad = story.clone();
            bad[at..at + if at == 20 { 4 } else { 1 }].fill(value);
            assert!(Story::of(Arc::new(bad)).is_err(), "byte {at}");
        }
    }
}
