//! The story file: its header, checked once, and what follows from it.

use omni_machine::{Blob, Confidence, CreateError};
use std::sync::Arc;

/// Bytes of the header.
const HEADER_BYTES: usize = 64;

/// The words of the header that do not change while the story runs.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) version: u8,
    /// Bytes of dynamic memory: all that may be written.
    pub(crate) dynamic_bytes: u32,
    pub(crate) initial_pc: u32,
    pub(crate) dictionary: u32,
    pub(crate) objects: u32,
    pub(crate) globals: u32,
    pub(crate) abbreviations: u32,
    /// What is added to a packed address of a routine or of a string, in bytes.
    pub(crate) routines: u32,
    pub(crate) strings: u32,
    /// The table of terminating characters, or zero.
    pub(crate) terminators: u32,
    /// The alphabet table, or zero.
    pub(crate) alphabet: u32,
    /// The table of extra characters, or zero.
    pub(crate) unicode: u32,
    /// Whether the file has the checksum that its header names.
    pub(crate) verified: bool,
}

impl Story {
    /// Reads and checks a header (the Standard, section 11).
    pub(crate) fn new(story: &Blob) -> Result<Self, CreateError> {
        let refuse = |why: String| CreateError::File { role: "image".into(), why };
        let bytes = story.bytes().map_err(|error| refuse(format!("cannot be read: {error}")))?;
        let bytes = &bytes;
        if bytes.len() < HEADER_BYTES {
            let why = format!("a story has a header of 64 bytes; this has {}", bytes.len());
            return Err(refuse(why));
        }
        let version = bytes[0];
        if version == 6 {
            let why = "stories of version 6 (graphics) are not supported; 1 to 5, 7 and 8 are";
            return Err(refuse(why.into()));
        }
        let Some(largest) = size_max(version) else {
            return Err(refuse(format!("there is no version {version} of the Z-machine")));
        };
        let said = length(bytes);
        if said > bytes.len() {
            let why = format!("cut short: {} bytes of the {said} of its header", bytes.len());
            return Err(refuse(why));
        }
        if bytes.len() > largest {
            let why = format!("{} bytes are too many for version {version}", bytes.len());
            return Err(refuse(why));
        }
        let story = Self::from_header(bytes, version);
        story.check().map_err(|why| refuse(why.into()))?;
        Ok(story)
    }

    fn from_header(bytes: &Arc<Vec<u8>>, version: u8) -> Self {
        let word = |at| u32::from(word_at(bytes, at));
        let from_v5 = |at| if version >= 5 { word(at) } else { 0 };
        let extension = usize::try_from(from_v5(0x36)).unwrap_or(0);
        let has_unicode =
            extension != 0 && extension + 8 <= bytes.len() && word_at(bytes, extension) >= 3;
        let seven = |at| if version == 7 { 8 * word(at) } else { 0 };
        let end = length(bytes).max(HEADER_BYTES);
        let sum =
            bytes[HEADER_BYTES..end].iter().fold(0u16, |sum, b| sum.wrapping_add((*b).into()));
        Self {
            bytes: bytes.clone(),
            version,
            dynamic_bytes: word(0x0e),
            initial_pc: word(0x06),
            dictionary: word(0x08),
            objects: word(0x0a),
            globals: word(0x0c),
            abbreviations: word(0x18),
            routines: seven(0x28),
            strings: seven(0x2a),
            terminators: from_v5(0x2e),
            alphabet: from_v5(0x34),
            unicode: if has_unicode { word(extension + 6) } else { 0 },
            verified: sum == word_at(bytes, 0x1c),
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        let len = self.len();
        if self.dynamic_bytes < 64 || self.dynamic_bytes > len {
            return Err("static memory does not start within the story");
        }
        if self.initial_pc < 64 || self.initial_pc >= len {
            return Err("the first instruction is not within the story");
        }
        if self.globals < 64 || self.globals + 480 > self.dynamic_bytes {
            return Err("the global variables are not within dynamic memory");
        }
        if self.objects < 64 || self.objects + 62 > len {
            return Err("the table of objects is not within the story");
        }
        if self.dictionary >= len || self.abbreviations >= len {
            return Err("the dictionary or the abbreviations are not within the story");
        }
        Ok(())
    }

    /// The size of the story in bytes.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.bytes.len()).expect("a story has at most 512 KiB")
    }

    /// The byte address of a routine.
    pub(crate) fn routine_at(&self, packed: u16) -> u32 {
        self.unpack(packed, self.routines)
    }

    /// The byte address of a string.
    pub(crate) fn string_at(&self, packed: u16) -> u32 {
        self.unpack(packed, self.strings)
    }

    fn unpack(&self, packed: u16, offset: u32) -> u32 {
        let packed = u32::from(packed);
        match self.version {
            0..=3 => packed * 2,
            4..=7 => packed * 4 + offset,
            _ => packed * 8,
        }
    }

    /// The name of a save file when the player gives none: release and serial number.
    pub(crate) fn save_name(&self) -> String {
        let plain = |byte: &u8| if byte.is_ascii_alphanumeric() { char::from(*byte) } else { '-' };
        let serial: String = self.bytes[0x12..0x18].iter().map(plain).collect();
        format!("{}-{serial}.qzl", word_at(&self.bytes, 2))
    }
}

/// How sure one can be that some bytes are a story.
pub(crate) fn probe(image: &[u8]) -> Confidence {
    if image.len() < HEADER_BYTES || size_max(image[0]).is_none() && image[0] != 6 {
        return Confidence::No;
    }
    let [high, fixed] = [word_at(image, 4), word_at(image, 0x0e)].map(usize::from);
    let [objects, globals] = [word_at(image, 0x0a), word_at(image, 0x0c)].map(usize::from);
    let sound = (64..=image.len()).contains(&fixed)
        && high <= image.len()
        && (64..image.len()).contains(&objects)
        && globals >= 64
        && globals + 480 <= fixed
        && usize::from(word_at(image, 6)) < image.len()
        && image[0x12..0x18].iter().all(|byte| byte.is_ascii_graphic() || *byte == 0);
    let said = length(image);
    if !sound || said > image.len() {
        return Confidence::No;
    }
    let sum = image[HEADER_BYTES..said.max(HEADER_BYTES)].iter();
    let sum = sum.fold(0u16, |sum, byte| sum.wrapping_add((*byte).into()));
    if sum == word_at(image, 0x1c) { Confidence::Sure } else { Confidence::Perhaps }
}

/// The length by the header, or of the file where the header is of the early ones without.
fn length(bytes: &[u8]) -> usize {
    let scale = match bytes[0] {
        0..=3 => 2,
        4 | 5 => 4,
        _ => 8,
    };
    match usize::from(word_at(bytes, 0x1a)) * scale {
        0 => bytes.len(),
        length => length,
    }
}

/// The largest story of a version.
fn size_max(version: u8) -> Option<usize> {
    match version {
        1..=3 => Some(128 << 10),
        4 | 5 => Some(256 << 10),
        7 | 8 => Some(512 << 10),
        _ => None,
    }
}

fn word_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}
