//! The format of an image, by its content.

use crate::error::Result;
use crate::layer::Format;
use crate::storage::ReadAt;
use crate::vhd;

/// How much of a file's beginning tells what it is.
pub const HEAD_BYTES: usize = 512;

/// The format that the beginning of a file tells, unless it is raw.
#[must_use]
pub fn probe_head(head: &[u8]) -> Option<Format> {
    const MAGICS: &[(&[u8], usize, Format)] = &[
        (b"QFI\xfb", 0, Format::Qcow2),
        (b"KDMV", 0, Format::Vmdk),
        (b"COWD", 0, Format::Vmdk),
        (b"# Disk DescriptorFile", 0, Format::Vmdk),
        (b"conectix", 0, Format::Vhd),
        (b"vhdxfile", 0, Format::Vhdx),
        (b"\x7f\x10\xda\xbe", 0x40, Format::Vdi),
    ];
    let hit = |&&(magic, at, _): &&(&[u8], usize, _)| {
        head.get(at..).is_some_and(|rest| rest.starts_with(magic))
    };
    MAGICS.iter().find(hit).map(|&(_, _, format)| format)
}

/// The format of a file, unless it is raw. A fixed VHD is told by its end.
pub(crate) fn probe(file: &dyn ReadAt) -> Result<Option<Format>> {
    let mut head = [0; HEAD_BYTES];
    let count = usize::try_from(file.bytes()).unwrap_or(usize::MAX).min(HEAD_BYTES);
    file.read_exact_at(0, &mut head[..count])?;
    if let Some(format) = probe_head(&head[..count]) {
        return Ok(Some(format));
    }
    Ok(vhd::is_fixed(file)?.then_some(Format::Vhd))
}
