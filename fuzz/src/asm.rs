//! As much of a RISC-V assembler and of an ELF writer as hostile guests need.

pub(crate) const ZERO: u32 = 0;
pub(crate) const A0: u32 = 10;
pub(crate) const A1: u32 = 11;
pub(crate) const A2: u32 = 12;
pub(crate) const A3: u32 = 13;
pub(crate) const A4: u32 = 14;
pub(crate) const A5: u32 = 15;
pub(crate) const A6: u32 = 16;
pub(crate) const A7: u32 = 17;
pub(crate) const S0: u32 = 8;
pub(crate) const S2: u32 = 18;
pub(crate) const T0: u32 = 5;
pub(crate) const T1: u32 = 6;
pub(crate) const T2: u32 = 7;
pub(crate) const T3: u32 = 28;
pub(crate) const T6: u32 = 31;

pub(crate) const MRET: u32 = 0x3020_0073;
pub(crate) const ECALL: u32 = 0x0000_0073;
pub(crate) const WFI: u32 = 0x1050_0073;
pub(crate) const FENCE_I: u32 = 0x0000_100f;
pub(crate) const NOP: u32 = 0x0000_0013;

fn i(opcode: u32, funct3: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    opcode | rd << 7 | funct3 << 12 | rs1 << 15 | (imm.cast_unsigned() & 0xfff) << 20
}

pub(crate) fn addi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i(0x13, 0, rd, rs1, imm)
}

pub(crate) fn andi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i(0x13, 7, rd, rs1, imm)
}

pub(crate) fn slli(rd: u32, rs1: u32, by: i32) -> u32 {
    i(0x13, 1, rd, rs1, by)
}

pub(crate) fn srli(rd: u32, rs1: u32, by: i32) -> u32 {
    i(0x13, 5, rd, rs1, by)
}

pub(crate) fn load(funct3: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    i(0x03, funct3, rd, rs1, imm)
}

pub(crate) fn store(funct3: u32, rs2: u32, rs1: u32) -> u32 {
    0x23 | funct3 << 12 | rs1 << 15 | rs2 << 20
}

pub(crate) fn jalr(rd: u32, rs1: u32, imm: i32) -> u32 {
    i(0x67, 0, rd, rs1, imm)
}

pub(crate) fn auipc(rd: u32, pages: u32) -> u32 {
    0x17 | rd << 7 | pages << 12
}

pub(crate) fn lui(rd: u32, pages: u32) -> u32 {
    0x37 | rd << 7 | pages << 12
}

pub(crate) fn add(rd: u32, rs1: u32, rs2: u32) -> u32 {
    0x33 | rd << 7 | rs1 << 15 | rs2 << 20
}

pub(crate) fn amoadd_d(rd: u32, rs1: u32, rs2: u32) -> u32 {
    0x2f | rd << 7 | 3 << 12 | rs1 << 15 | rs2 << 20
}

/// `csrrw` (1), `csrrs` (2) or `csrrc` (3).
pub(crate) fn csr(funct3: u32, rd: u32, number: u32, rs1: u32) -> u32 {
    0x73 | rd << 7 | funct3 << 12 | rs1 << 15 | number << 20
}

/// A branch by `to - at` bytes: `beq` (0), `bne` (1).
pub(crate) fn branch(funct3: u32, rs1: u32, rs2: u32, by: i32) -> u32 {
    let by = by.cast_unsigned();
    let low = (by >> 11 & 1) << 7 | (by >> 1 & 0xf) << 8;
    let high = (by >> 5 & 0x3f) << 25 | (by >> 12 & 1) << 31;
    0x63 | funct3 << 12 | rs1 << 15 | rs2 << 20 | low | high
}

/// A jump from word `at` to word `to` of one program.
pub(crate) fn jump(at: usize, to: usize) -> u32 {
    let by = (4 * to as u32).wrapping_sub(4 * at as u32);
    let high = (by >> 20 & 1) << 31 | (by >> 1 & 0x3ff) << 21;
    0x6f | high | (by >> 11 & 1) << 20 | (by >> 12 & 0xff) << 12
}

/// Words as bytes.
pub(crate) fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A RISC-V executable of one segment for each piece, and nothing else.
pub(crate) fn elf(entry: u64, pieces: &[(u64, &[u8])]) -> Vec<u8> {
    elf_with(entry, pieces, &[])
}

/// A RISC-V executable of one segment for each piece, and of symbols with their values.
pub(crate) fn elf_with(entry: u64, pieces: &[(u64, &[u8])], symbols: &[(&str, u64)]) -> Vec<u8> {
    let mut strings = vec![0];
    let mut table = vec![0; 24];
    for (name, value) in symbols {
        let at = u32::try_from(strings.len()).expect("few names");
        table.extend_from_slice(&at.to_le_bytes());
        table.extend_from_slice(&[0x10, 0, 0xf1, 0xff]);
        table.extend_from_slice(&value.to_le_bytes());
        table.extend_from_slice(&0u64.to_le_bytes());
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
    }
    let count = u16::try_from(pieces.len()).expect("few pieces");
    let start = 64 + 56 * u64::from(count);
    let loaded: u64 = pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let (symbols_at, strings_at) = (start + loaded, start + loaded + table.len() as u64);
    let sections_at = if symbols.is_empty() { 0 } else { strings_at + strings.len() as u64 };
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2u16, 243] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    out.extend_from_slice(&1u32.to_le_bytes());
    for word in [entry, 64, sections_at] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(&0u32.to_le_bytes());
    let (sections, names) = if symbols.is_empty() { (0, 0) } else { (3, 2) };
    for half in [64u16, 56, count, 64, sections, names] {
        out.extend_from_slice(&half.to_le_bytes());
    }
    let mut from = start;
    for (at, bytes) in pieces {
        out.extend_from_slice(&1u32.to_le_bytes());
        out.extend_from_slice(&7u32.to_le_bytes());
        let size = bytes.len() as u64;
        for word in [from, *at, *at, size, size, 0x1000] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        from += size;
    }
    pieces.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
    if !symbols.is_empty() {
        let (symbols_size, strings_size) = (table.len() as u64, strings.len() as u64);
        out.extend_from_slice(&table);
        out.extend_from_slice(&strings);
        out.resize(out.len() + 64, 0);
        section(&mut out, [2, 2, 1], symbols_at, symbols_size, 24);
        section(&mut out, [3, 0, 0], strings_at, strings_size, 0);
    }
    out
}

/// One row of the table of sections: its type, the section it goes with, and a count.
fn section(out: &mut Vec<u8>, words: [u32; 3], at: u64, size: u64, entry: u64) {
    let [kind, link, info] = words;
    for word in [0, kind] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for word in [0, 0, at, size] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for word in [link, info] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for word in [1, entry] {
        out.extend_from_slice(&word.to_le_bytes());
    }
}
