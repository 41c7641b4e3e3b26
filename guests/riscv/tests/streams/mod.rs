//! Random programs of one extension: set up all registers, run, write all registers out.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use omni_decode::{Operand, Row};
use omni_guest_riscv::isa::{self, Base, Csrs, Insn};
use omni_guest_riscv::operand::{
    Csr, CsrNo, F, FloatLoad, FloatStore, High, Imm, Reg, RegImm, Store, Target, Upper, X,
};

/// Where the code is.
pub const BASE: u64 = 0x8000_0000;
/// Two pages of scratch, and the registers after them.
pub const AREA: u64 = BASE + 0x1_0000;
/// Scratch, x, f and fcsr.
pub const AREA_BYTES: usize = 0x2000 + 0x208;

/// Always the middle of the scratch, and never written.
const POINTER: u8 = 31;

pub struct Extension {
    pub name: &'static str,
    pub rows: &'static [Row],
}

macro_rules! extensions {
    ($($name:literal $table:ident;)*) => {
        &[$( Extension { name: $name, rows: isa::$table::ROWS } ),*]
    };
}

pub const EXTENSIONS: &[Extension] = extensions! {
    "I" Base; "M" Multiply; "A" Atomic; "F" Single; "D" Double; "C" Compressed; "Zicsr" Csrs;
    "Zba" Addresses; "Zbb" Bits; "Zbc" Carryless; "Zbs" SingleBits; "Zicond" Conditional;
    "Zicboz" CacheBlocks; "Zfh" Half; "Zfa" Additional; "Zacas" CompareSwap; "Zcb" MoreCompressed;
    "Zimop" MayBeOperations; "Zcmop" Compressed;
};

/// Every row that both sides know, mixed: what one extension leaves, another takes.
pub fn mixed() -> Extension {
    let known = |row: &&Row| row.name != "Cmop";
    let tables = EXTENSIONS.iter().filter(|extension| extension.name != "Zcmop");
    let rows: Vec<Row> = tables.flat_map(|table| table.rows).filter(known).copied().collect();
    Extension { name: "mixed", rows: rows.leak() }
}

/// A program, and its text for people.
pub struct Program {
    pub code: Vec<u8>,
    pub area: Vec<u8>,
    pub text: Vec<String>,
}

/// A generator of random words (xorshift).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, count: u64) -> u64 {
        (self.next() >> 16) % count
    }

    fn word(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    /// A value that is likely to be at some edge, as an integer or a float of some size.
    fn value(&mut self) -> u64 {
        const EDGES: [u64; 12] = [
            0,
            1,
            u64::MAX,
            1 << 63,
            (1 << 63) - 1,
            0xffff_ffff_8000_0000,
            0x7fff_ffff,
            0xffff_ffff,
            0x3ff0_0000_0000_0000,
            0x7ff0_0000_0000_0000,
            0x7ff0_0000_0000_0001,
            0x0008_0000_0000_0000,
        ];
        const SINGLES: [u32; 10] = [
            0,
            0x8000_0000,
            0x3f80_0000,
            0x7f80_0000,
            0xff80_0000,
            0x7f80_0001,
            0x7fc0_0000,
            1,
            0x0080_0000,
            0x7f7f_ffff,
        ];
        const HALVES: [u16; 8] = [0, 0x8000, 0x3c00, 0x7c00, 0x7c01, 0x7e00, 1, 0x7bff];
        match self.below(10) {
            0 | 1 => self.next(),
            2 => EDGES[self.below(12) as usize],
            3 => EDGES[self.below(12) as usize].wrapping_add(self.below(5)).wrapping_sub(2),
            4 => u64::from(SINGLES[self.below(10) as usize]) | 0xffff_ffff << 32,
            5 => u64::from(self.word()) | 0xffff_ffff << 32,
            // Singles and doubles of like size, so that sums are not all one operand.
            6 => u64::from(0x3f00_0000 | self.word() & 0x81ff_ffff) | 0xffff_ffff << 32,
            7 => 0x3fe0_0000_0000_0000 | self.next() & 0x803f_ffff_ffff_ffff,
            8 => u64::from(HALVES[self.below(8) as usize]) | !0xffff,
            _ => self.next() & 0xffff | !0xffff,
        }
    }
}

/// A program being written.
struct Writer {
    code: Vec<u8>,
    text: Vec<String>,
}

impl Writer {
    fn word(&mut self, word: u32) {
        let (insn, size) = Insn::decode(word).expect("only instructions are generated");
        self.code.extend(&word.to_le_bytes()[..usize::from(size)]);
        self.text.push(insn.text());
    }

    fn addi(&mut self, rd: u8, rs1: u8, imm: i32) {
        self.word(Base::Addi(RegImm { rd: X(rd), rs1: X(rs1), imm: Imm(imm) }).encode());
    }

    fn load(&mut self, rd: u8, rs1: u8, imm: i32) {
        self.word(Base::Ld(RegImm { rd: X(rd), rs1: X(rs1), imm: Imm(imm) }).encode());
    }

    fn store(&mut self, rs2: u8, rs1: u8, imm: i32) {
        self.word(Base::Sd(Store { rs1: X(rs1), rs2: X(rs2), imm: Imm(imm) }).encode());
    }

    /// `rd` is where the registers are kept.
    fn registers(&mut self, rd: u8) {
        self.word(Base::Lui(Upper { rd: X(rd), imm: High::of(1) }).encode());
        let add = Reg { rd: X(rd), rs1: X(rd), rs2: X(POINTER) };
        self.word(Base::Add(add).encode());
    }

    fn set_up(&mut self) {
        // The pointer, in the middle of the scratch.
        let ahead = AREA + 0x1000 - BASE;
        let upper = Upper { rd: X(POINTER), imm: High::of((ahead >> 12) as u32) };
        self.word(Base::Auipc(upper).encode());
        self.registers(30);
        self.load(29, 30, 0x200);
        let fcsr = Csr { rd: X(0), rs1: X(29), csr: CsrNo(3) };
        self.word(Csrs::Csrrw(fcsr).encode());
        for f in 0..32 {
            let imm = Imm(0x100 + i32::from(f) * 8);
            let load = FloatLoad { rd: F(f), rs1: X(30), imm };
            self.word(isa::Double::Fld(load).encode());
        }
        for x in 1..=30 {
            self.load(x, 30, i32::from(x) * 8);
        }
    }

    fn write_out(&mut self) {
        self.store(30, POINTER, 0);
        self.registers(30);
        for x in (1..32).filter(|x| *x != 30) {
            self.store(x, 30, i32::from(x) * 8);
        }
        self.load(29, POINTER, 0);
        self.store(29, 30, 30 * 8);
        for f in 0..32 {
            let imm = Imm(0x100 + i32::from(f) * 8);
            let store = FloatStore { rs1: X(30), rs2: F(f), imm };
            self.word(isa::Double::Fsd(store).encode());
        }
        let fcsr = Csr { rd: X(29), rs1: X(0), csr: CsrNo(3) };
        self.word(Csrs::Csrrs(fcsr).encode());
        self.store(29, 30, 0x200);
        // write(1, area, bytes); exit(0)
        self.word(Base::Lui(Upper { rd: X(11), imm: High::of(1) }).encode());
        let sub = Reg { rd: X(11), rs1: X(POINTER), rs2: X(11) };
        self.word(Base::Sub(sub).encode());
        self.addi(10, 0, 1);
        self.word(Base::Lui(Upper { rd: X(12), imm: High::of(2) }).encode());
        self.addi(12, 12, i32::try_from(AREA_BYTES - 0x2000).expect("small"));
        self.addi(17, 0, 64);
        self.word(0x0000_0073);
        self.addi(10, 0, 0);
        self.addi(17, 0, 93);
        self.word(0x0000_0073);
    }
}

/// A program of so many random instructions, and those that make them safe.
pub fn generate(extension: &Extension, seed: u64, length: usize) -> Program {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut area = vec![0; AREA_BYTES];
    for bytes in area.chunks_exact_mut(8) {
        bytes.copy_from_slice(&random.value().to_le_bytes());
    }
    let fcsr = random.below(5) << 5 | random.below(2);
    area[0x2200..].copy_from_slice(&fcsr.to_le_bytes());
    let mut out = Writer { code: vec![], text: vec![] };
    out.set_up();
    for _ in 0..length {
        while !one(extension, &mut random, &mut out) {}
    }
    let text = out.text.clone();
    out.write_out();
    Program { code: out.code, area, text }
}

/// Appends one random instruction, with what it needs before it. Says no where the dice gave
/// something that must not run.
fn one(extension: &Extension, random: &mut Random, out: &mut Writer) -> bool {
    let row = &extension.rows[random.below(extension.rows.len() as u64) as usize];
    let word = random.word() & row.pattern.free() | row.pattern.bits;
    // A word of a general row may be of a specific one.
    let is_row = extension.rows.iter().find(|other| other.pattern.fits(word)) == Some(row);
    // The table of C holds another extension's row.
    let elsewhere = (row.name == "Cmop") != (extension.name == "Zcmop");
    if !is_row || elsewhere || row.name.starts_with("No") {
        return false;
    }
    if row.pattern.size == 2 { short(word, random, out) } else { long(word, random, out) }
}

/// The place of a random access: aligned as atomics need it, or not.
fn place(random: &mut Random, aligned: bool) -> i32 {
    let at = i32::try_from(random.below(4000)).expect("small") - 2000;
    if aligned { at & !15 } else { at }
}

fn long(word: u32, random: &mut Random, out: &mut Writer) -> bool {
    let (opcode, funct3) = (word & 0x7f, word >> 12 & 7);
    let (rd, rs1) = ((word >> 7 & 31) as u8, (word >> 15 & 31) as u8);
    let float_result = match opcode {
        0x07 | 0x43 | 0x47 | 0x4b | 0x4f => true,
        0x53 => !matches!(word >> 27, 0b10100 | 0b11000 | 0b11100),
        _ => false,
    };
    let no_result = matches!(opcode, 0x23 | 0x27 | 0x63);
    if rd == POINTER && !float_result && !no_result {
        return false;
    }
    match opcode {
        0x03 | 0x07 | 0x23 | 0x27 => {
            if rs1 == 0 || rs1 == POINTER {
                return false;
            }
            out.addi(rs1, POINTER, place(random, false));
            out.word(word);
        }
        0x2f => return atomic(word, (rd, rs1), random, out),
        0x0f if funct3 == 2 => {
            // Of cache blocks only the zeroing: the others need permission.
            if rs1 == 0 || rs1 == POINTER || word >> 20 != 4 {
                return false;
            }
            out.addi(rs1, POINTER, place(random, false));
            out.word(word);
        }
        0x63 | 0x6f => {
            // Over the next instruction, or not.
            let target = Target(8).raw();
            let over = if opcode == 0x63 {
                word & !0xfe00_0f80 | target << 7
            } else {
                word & 0xfff | target << 20
            };
            out.word(over);
            out.addi(1 + random.below(30) as u8, rs1, 77);
        }
        0x67 => {
            if rs1 == 0 || rs1 == POINTER {
                return false;
            }
            out.word(Base::Auipc(Upper { rd: X(rs1), imm: High(0) }).encode());
            let jump = RegImm { rd: X(rd), rs1: X(rs1), imm: Imm(12 + random.below(2) as i32) };
            out.word(Base::Jalr(jump).encode());
            out.addi(1 + random.below(30) as u8, 0, 77);
        }
        0x73 => return system(word, funct3, random, out),
        0x43 | 0x47 | 0x4b | 0x4f => out.word(rounded(word, random)),
        0x53 if has_round(word) => {
            out.word(rounded(word, random));
            if word >> 27 == 8 && word >> 20 & 31 == 5 {
                // QEMU 10.0.2 loses the flags of `froundnx` where nobody wants its result.
                let keep = FloatStore { rs1: X(POINTER), rs2: F(rd), imm: Imm(0) };
                out.word(isa::Double::Fsd(keep).encode());
            }
        }
        _ => out.word(word),
    }
    true
}

/// Whether bits 12 to 14 say how to round.
fn has_round(word: u32) -> bool {
    let modular = word >> 20 == 0xc28;
    matches!(word >> 27, 0 | 1 | 2 | 3 | 8 | 11 | 24 | 26) && !modular
}

fn rounded(word: u32, random: &mut Random) -> u32 {
    let mode = [0, 1, 2, 3, 4, 7, 7, 7][random.below(8) as usize];
    word & !(7 << 12) | mode << 12
}

fn atomic(word: u32, (rd, rs1): (u8, u8), random: &mut Random, out: &mut Writer) -> bool {
    let rs2 = (word >> 20 & 31) as u8;
    let pair = word >> 12 & 7 == 4;
    // QEMU 10.0.2 writes the result of such an `amocas` to what it takes for zero ever after.
    if word >> 27 == 5 && rd == 0 {
        return false;
    }
    if rs1 == 0 || rs1 == POINTER || pair && ((rd | rs2) & 1 == 1 || rd == 30) {
        return false;
    }
    let at = place(random, true);
    match word >> 27 {
        // A reservation and its store at once, to the same place or another.
        2 | 3 => {
            out.addi(rs1, POINTER, at);
            out.word(word & !(31 << 27 | 31 << 20 | 31 << 7) | 2 << 27);
            let other = if random.below(4) == 0 { at ^ 16 } else { at };
            out.addi(rs1, POINTER, other);
            out.word(word & !(31 << 27) | 3 << 27);
        }
        5 if random.below(2) == 0 && rd != rs1 && rd != 0 && !pair => {
            // One that succeeds.
            out.addi(rs1, POINTER, at);
            out.load(rd, rs1, 0);
            out.word(word);
        }
        _ => {
            out.addi(rs1, POINTER, at);
            out.word(word);
        }
    }
    true
}

fn system(word: u32, funct3: u32, random: &mut Random, out: &mut Writer) -> bool {
    let csr = 1 + random.below(3) as u32;
    match funct3 {
        4 => out.word(word),
        // Writes of registers only to the flags: a reserved rounding mode would trap later.
        1..=3 => out.word(word & 0xf_ffff | 1 << 20),
        5 => {
            let value = if csr == 2 { random.below(5) as u32 } else { word >> 15 & 31 };
            out.word(word & 0x7fff | value << 15 | csr << 20);
        }
        6 | 7 => {
            let csr = if csr == 2 { 1 } else { csr };
            out.word(word & 0xf_ffff | csr << 20);
        }
        _ => return false,
    }
    true
}

fn short(word: u32, random: &mut Random, out: &mut Writer) -> bool {
    let (quadrant, funct3) = (word & 3, word >> 13 & 7);
    let full = (word >> 7 & 31) as u8;
    let (low, sp) = ((word >> 7 & 7) as u8 + 8, 2);
    match (quadrant, funct3) {
        (0, 0) => out.word(word),
        (0, _) => {
            out.addi(low, POINTER, place(random, false) / 2 - 100);
            out.word(word);
        }
        (1, 5) => {
            out.word(0xa011);
            out.addi(full.min(30), 0, 77);
        }
        (1, 6 | 7) => {
            // Over a word: `c.beqz rs1, .+6`.
            out.word(word & !0x1c7c | 0x18);
            out.addi(low, 0, 77);
        }
        (2, 4) if word & 0xffc == 0 || word & 0x107c == 0x1000 && full == 0 => return false,
        (2, 4) if word & 0x7c == 0 => {
            if full == POINTER || full == 0 {
                return false;
            }
            // To after the word that follows: the address is of the `auipc`.
            out.word(Base::Auipc(Upper { rd: X(full), imm: High(0) }).encode());
            out.addi(full, full, 4 + 4 + 2 + 4);
            out.word(word);
            out.addi(1 + random.below(30) as u8, 0, 77);
        }
        (2, 1 | 2 | 3 | 5 | 6 | 7) => {
            if full == POINTER && matches!(funct3, 2 | 3) {
                return false;
            }
            out.addi(sp, POINTER, place(random, false) / 2);
            out.word(word);
        }
        _ => {
            if full == POINTER {
                return false;
            }
            out.word(word);
        }
    }
    true
}

/// An ELF file of code and area, for a Linux user.
pub fn image(code: &[u8], area: &[u8]) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // Executable, RISC-V, version 1, entry, program headers at 64.
    put(&2_u16.to_le_bytes());
    put(&243_u16.to_le_bytes());
    put(&1_u32.to_le_bytes());
    [BASE, 64, 0].iter().for_each(|word| put(&word.to_le_bytes()));
    put(&5_u32.to_le_bytes());
    [64_u16, 56, 1, 64, 0, 0].iter().for_each(|half| put(&half.to_le_bytes()));
    // One segment: all rights, everything from offset 4096 on.
    put(&1_u32.to_le_bytes());
    put(&7_u32.to_le_bytes());
    let size = AREA - BASE + area.len() as u64;
    [4096, BASE, BASE, size, size, 4096].iter().for_each(|word| put(&word.to_le_bytes()));
    file.resize(4096, 0);
    file.extend_from_slice(code);
    assert!(file.len() as u64 <= 4096 + AREA - BASE);
    file.resize(4096 + usize::try_from(AREA - BASE).expect("small"), 0);
    file.extend_from_slice(area);
    file
}
