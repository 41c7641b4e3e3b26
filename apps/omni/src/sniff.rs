//! What a file is that no kind knows: enough of the common formats to say so.

/// Formats by magic and place.
const FORMATS: &[(&[u8], usize, &str)] = &[
    (b"\x7fELF", 0, "an ELF file"),
    (b"MZ", 0, "a DOS or Windows program"),
    (b"RISCV\0\0\0", 0x30, "a RISC-V kernel image"),
    (b"ARM\x64", 0x38, "an Arm64 kernel image"),
    (b"HdrS", 0x202, "an x86 bzImage"),
    (b"\0asm", 0, "a WebAssembly module"),
    (b"Glul", 0, "a Glulx story"),
    (b"\x1bLua", 0, "a compiled Lua chunk"),
    (b"\xca\xfe\xba\xbe", 0, "a Java class file"),
    (b"PK\x03\x04", 0, "a zip or jar archive"),
    (b"\x1f\x8b", 0, "gzip-compressed data"),
    (b"\xfd7zXZ\0", 0, "xz-compressed data"),
    (b"\x28\xb5\x2f\xfd", 0, "zstd-compressed data"),
    (b"QFI\xfb", 0, "a qcow2 disk image"),
    (b"KDMV", 0, "a VMDK disk image"),
    (b"conectix", 0, "a VHD disk image"),
    (b"vhdxfile", 0, "a VHDX disk image"),
    (b"\x7f\x10\xda\xbe", 0x40, "a VDI disk image"),
    (b"CD001", 0x8001, "an ISO 9660 image"),
    (b"070701", 0, "a cpio archive"),
    (b"ustar", 0x101, "a tar archive"),
    (b"\xd0\x0d\xfe\xed", 0, "a device tree blob"),
    (b"FORM", 0, "an IFF file"),
    (b"#!", 0, "a script"),
    (b"\x55\xaa", 0x1fe, "a disk image with a boot sector"),
];

/// Machines in the header of an ELF file.
const ELF_MACHINES: &[(u16, &str)] = &[
    (3, "x86"),
    (8, "MIPS"),
    (20, "PowerPC"),
    (21, "64-bit PowerPC"),
    (40, "Arm"),
    (62, "x86-64"),
    (183, "Arm64"),
    (243, "RISC-V"),
    (258, "LoongArch"),
];

/// One noun with its article.
pub(crate) fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "an empty file".into();
    }
    let hit = |&&(magic, at, _): &&(&[u8], usize, _)| {
        bytes.get(at..).is_some_and(|rest| rest.starts_with(magic))
    };
    let found = FORMATS.iter().find(hit);
    if bytes.starts_with(b"\x7fELF") {
        return elf(bytes);
    }
    match found {
        Some((_, _, name)) => (*name).into(),
        None if is_text(&bytes[..bytes.len().min(4096)]) => "a text".into(),
        None => "of a format not recognised".into(),
    }
}

fn is_text(bytes: &[u8]) -> bool {
    // A cut in the middle of a character is no flaw; a control character is.
    let text = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let odd = |c: char| c.is_control() && !c.is_whitespace() && c != '\u{1b}';
    !text.is_empty() && bytes.len() - text.len() < 4 && !text.contains(odd)
}

fn elf(bytes: &[u8]) -> String {
    let big = bytes.get(5) == Some(&2);
    let machine = bytes.get(18..20).and_then(|two| two.try_into().ok()).unwrap_or([0; 2]);
    let machine = if big { u16::from_be_bytes(machine) } else { u16::from_le_bytes(machine) };
    let name = ELF_MACHINES.iter().find(|(number, _)| *number == machine);
    match name {
        Some((_, name)) => format!("an ELF file for {name}"),
        None => "an ELF file".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_content() {
        let mut elf = vec![0; 64];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[18] = 62;
        assert_eq!(describe(&elf), "an ELF file for x86-64");
        assert_eq!(describe(b"\x7fELF"), "an ELF file");
        assert_eq!(describe(b"\0asm\x01\0\0\0"), "a WebAssembly module");
        assert_eq!(describe(b"hello"), "a text");
        assert_eq!(describe(&[0; 100]), "of a format not recognised");
        assert_eq!(describe(b"OMNI\x01\x02\x03\x04"), "of a format not recognised");
        assert_eq!(describe(b""), "an empty file");
        assert_eq!(describe(&[0xfe, 0xff, 0x00, 0x80]), "of a format not recognised");
    }
}
