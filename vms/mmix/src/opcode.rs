//! The opcodes: their numbers, names, and which fields of an instruction are what.

/// Numbers of opcodes that are named in code; those of a family follow each other.
pub(crate) mod op {
    pub(crate) const TRAP: u8 = 0x00;
    pub(crate) const FCMP: u8 = 0x01;
    pub(crate) const FUN: u8 = 0x02;
    pub(crate) const FEQL: u8 = 0x03;
    pub(crate) const FADD: u8 = 0x04;
    pub(crate) const FIX: u8 = 0x05;
    pub(crate) const FSUB: u8 = 0x06;
    pub(crate) const FIXU: u8 = 0x07;
    pub(crate) const FLOT: u8 = 0x08;
    pub(crate) const FMUL: u8 = 0x10;
    pub(crate) const FCMPE: u8 = 0x11;
    pub(crate) const FUNE: u8 = 0x12;
    pub(crate) const FEQLE: u8 = 0x13;
    pub(crate) const FDIV: u8 = 0x14;
    pub(crate) const FSQRT: u8 = 0x15;
    pub(crate) const FREM: u8 = 0x16;
    pub(crate) const FINT: u8 = 0x17;
    pub(crate) const MUL: u8 = 0x18;
    pub(crate) const MULU: u8 = 0x1a;
    pub(crate) const DIV: u8 = 0x1c;
    pub(crate) const DIVU: u8 = 0x1e;
    pub(crate) const ADD: u8 = 0x20;
    pub(crate) const ADDU: u8 = 0x22;
    pub(crate) const SUB: u8 = 0x24;
    pub(crate) const SUBU: u8 = 0x26;
    pub(crate) const ADDU2: u8 = 0x28;
    pub(crate) const CMP: u8 = 0x30;
    pub(crate) const CMPU: u8 = 0x32;
    pub(crate) const NEG: u8 = 0x34;
    pub(crate) const NEGU: u8 = 0x36;
    pub(crate) const SL: u8 = 0x38;
    pub(crate) const SLU: u8 = 0x3a;
    pub(crate) const SR: u8 = 0x3c;
    pub(crate) const SRU: u8 = 0x3e;
    pub(crate) const BN: u8 = 0x40;
    pub(crate) const CSN: u8 = 0x60;
    pub(crate) const ZSN: u8 = 0x70;
    pub(crate) const LDB: u8 = 0x80;
    pub(crate) const LDSF: u8 = 0x90;
    pub(crate) const LDHT: u8 = 0x92;
    pub(crate) const CSWAP: u8 = 0x94;
    pub(crate) const LDUNC: u8 = 0x96;
    pub(crate) const LDVTS: u8 = 0x98;
    pub(crate) const PRELD: u8 = 0x9a;
    pub(crate) const GO: u8 = 0x9e;
    pub(crate) const STB: u8 = 0xa0;
    pub(crate) const STSF: u8 = 0xb0;
    pub(crate) const STHT: u8 = 0xb2;
    pub(crate) const STCO: u8 = 0xb4;
    pub(crate) const STUNC: u8 = 0xb6;
    pub(crate) const SYNCD: u8 = 0xb8;
    pub(crate) const PUSHGO: u8 = 0xbe;
    pub(crate) const OR: u8 = 0xc0;
    pub(crate) const ORI: u8 = 0xc1;
    pub(crate) const MUX: u8 = 0xd8;
    pub(crate) const SETH: u8 = 0xe0;
    pub(crate) const JMP: u8 = 0xf0;
    pub(crate) const PUSHJ: u8 = 0xf2;
    pub(crate) const GETA: u8 = 0xf4;
    pub(crate) const PUT: u8 = 0xf6;
    pub(crate) const POP: u8 = 0xf8;
    pub(crate) const RESUME: u8 = 0xf9;
    pub(crate) const SAVE: u8 = 0xfa;
    pub(crate) const UNSAVE: u8 = 0xfb;
    pub(crate) const SYNC: u8 = 0xfc;
    pub(crate) const SWYM: u8 = 0xfd;
    pub(crate) const GET: u8 = 0xfe;
    pub(crate) const TRIP: u8 = 0xff;
}

/// Flags of an opcode: what its fields are.
pub(crate) mod field {
    /// Z is a constant.
    pub(crate) const Z_CONST: u8 = 1;
    /// Z is a register that is read.
    pub(crate) const Z: u8 = 2;
    /// Y is a register that is read.
    pub(crate) const Y: u8 = 8;
    /// X is a register that is read.
    pub(crate) const X: u8 = 0x10;
    /// X is a register that is written.
    pub(crate) const DEST: u8 = 0x20;
    /// YZ, or XYZ, is a relative address.
    pub(crate) const RELATIVE: u8 = 0x40;
}

/// What the fields of an opcode are.
pub(crate) const fn fields(op: u8) -> u8 {
    use field as f;
    let z = if op & 1 == 1 { f::Z_CONST } else { f::Z };
    match op {
        0x00 | 0xff => f::Y | f::Z,
        0x01..=0x04 | 0x06 | 0x10..=0x14 | 0x16 => f::DEST | f::Y | f::Z,
        0x05 | 0x07 | 0x15 | 0x17 => f::DEST | f::Z,
        0x08..=0x0f | 0x34..=0x37 => f::DEST | z,
        0x40..=0x5f => f::X | f::RELATIVE,
        0x60..=0x6f | 0x94 | 0x95 => f::DEST | f::X | f::Y | z,
        0x9a..=0x9d | 0xb4 | 0xb5 | 0xb8..=0xbd => f::Y | z,
        0xa0..=0xb3 | 0xb6 | 0xb7 => f::X | f::Y | z,
        0xe0..=0xe3 | 0xfa | 0xfe => f::DEST,
        0xe4..=0xef => f::DEST | f::X,
        0xf0 | 0xf1 => f::RELATIVE,
        0xf2..=0xf5 => f::DEST | f::RELATIVE,
        0xf6 | 0xfb => f::Z,
        0xf7 | 0xfc => f::Z_CONST,
        0xf8 | 0xf9 | 0xfd => 0,
        0x18..=0x33 | 0x38..=0x3f | 0x70..=0x93 | 0x96..=0x99 | 0x9e | 0x9f => f::DEST | f::Y | z,
        0xbe..=0xdf => f::DEST | f::Y | z,
    }
}

/// An instruction, taken apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inst {
    pub(crate) op: u8,
    pub(crate) x: u8,
    pub(crate) y: u8,
    pub(crate) z: u8,
}

impl Inst {
    pub(crate) fn of(word: u32) -> Self {
        let [op, x, y, z] = word.to_be_bytes();
        Self { op, x, y, z }
    }

    pub(crate) fn word(self) -> u32 {
        u32::from_be_bytes([self.op, self.x, self.y, self.z])
    }

    /// The opcode of its family: without the bit that makes Z a constant.
    pub(crate) fn family(self) -> u8 {
        self.op & !1
    }

    pub(crate) fn has(self, field: u8) -> bool {
        fields(self.op) & field != 0
    }

    /// Y and Z as a number of 16 bits.
    pub(crate) fn yz(self) -> u64 {
        u64::from(u16::from_be_bytes([self.y, self.z]))
    }

    /// The relative address, of an instruction at `at`.
    pub(crate) fn target(self, at: u64) -> u64 {
        let far = self.family() == op::JMP;
        let (count, bits) =
            if far { (u64::from(self.x) << 16 | self.yz(), 24) } else { (self.yz(), 16) };
        let back = if self.op & 1 == 1 { 1u64 << bits } else { 0 };
        at.wrapping_add(count.wrapping_sub(back) << 2)
    }

    /// The constant of a `SETH` and its relatives.
    pub(crate) fn wyde(self) -> u64 {
        self.yz() << (48 - 16 * u32::from(self.op & 3))
    }
}

/// Names of the opcodes, without the suffixes of forms with constants or backward addresses.
#[rustfmt::skip]
pub(crate) const NAMES: [(&str, u8); 148] = [
    ("TRAP", 0x00), ("FCMP", 0x01), ("FUN", 0x02), ("FEQL", 0x03), ("FADD", 0x04), ("FIX", 0x05),
    ("FSUB", 0x06), ("FIXU", 0x07), ("FLOT", 0x08), ("FLOTU", 0x0a), ("SFLOT", 0x0c),
    ("SFLOTU", 0x0e), ("FMUL", 0x10), ("FCMPE", 0x11), ("FUNE", 0x12), ("FEQLE", 0x13),
    ("FDIV", 0x14), ("FSQRT", 0x15), ("FREM", 0x16), ("FINT", 0x17), ("MUL", 0x18),
    ("MULU", 0x1a), ("DIV", 0x1c), ("DIVU", 0x1e), ("ADD", 0x20), ("ADDU", 0x22), ("SUB", 0x24),
    ("SUBU", 0x26), ("2ADDU", 0x28), ("4ADDU", 0x2a), ("8ADDU", 0x2c), ("16ADDU", 0x2e),
    ("CMP", 0x30), ("CMPU", 0x32), ("NEG", 0x34), ("NEGU", 0x36), ("SL", 0x38), ("SLU", 0x3a),
    ("SR", 0x3c), ("SRU", 0x3e), ("BN", 0x40), ("BZ", 0x42), ("BP", 0x44), ("BOD", 0x46),
    ("BNN", 0x48), ("BNZ", 0x4a), ("BNP", 0x4c), ("BEV", 0x4e), ("PBN", 0x50), ("PBZ", 0x52),
    ("PBP", 0x54), ("PBOD", 0x56), ("PBNN", 0x58), ("PBNZ", 0x5a), ("PBNP", 0x5c),
    ("PBEV", 0x5e), ("CSN", 0x60), ("CSZ", 0x62), ("CSP", 0x64), ("CSOD", 0x66), ("CSNN", 0x68),
    ("CSNZ", 0x6a), ("CSNP", 0x6c), ("CSEV", 0x6e), ("ZSN", 0x70), ("ZSZ", 0x72), ("ZSP", 0x74),
    ("ZSOD", 0x76), ("ZSNN", 0x78), ("ZSNZ", 0x7a), ("ZSNP", 0x7c), ("ZSEV", 0x7e),
    ("LDB", 0x80), ("LDBU", 0x82), ("LDW", 0x84), ("LDWU", 0x86), ("LDT", 0x88), ("LDTU", 0x8a),
    ("LDO", 0x8c), ("LDOU", 0x8e), ("LDSF", 0x90), ("LDHT", 0x92), ("CSWAP", 0x94),
    ("LDUNC", 0x96), ("LDVTS", 0x98), ("PRELD", 0x9a), ("PREGO", 0x9c), ("GO", 0x9e),
    ("STB", 0xa0), ("STBU", 0xa2), ("STW", 0xa4), ("STWU", 0xa6), ("STT", 0xa8), ("STTU", 0xaa),
    ("STO", 0xac), ("STOU", 0xae), ("STSF", 0xb0), ("STHT", 0xb2), ("STCO", 0xb4),
    ("STUNC", 0xb6), ("SYNCD", 0xb8), ("PREST", 0xba), ("SYNCID", 0xbc), ("PUSHGO", 0xbe),
    ("OR", 0xc0), ("ORN", 0xc2), ("NOR", 0xc4), ("XOR", 0xc6), ("AND", 0xc8), ("ANDN", 0xca),
    ("NAND", 0xcc), ("NXOR", 0xce), ("BDIF", 0xd0), ("WDIF", 0xd2), ("TDIF", 0xd4),
    ("ODIF", 0xd6), ("MUX", 0xd8), ("SADD", 0xda), ("MOR", 0xdc), ("MXOR", 0xde), ("SETH", 0xe0),
    ("SETMH", 0xe1), ("SETML", 0xe2), ("SETL", 0xe3), ("INCH", 0xe4), ("INCMH", 0xe5),
    ("INCML", 0xe6), ("INCL", 0xe7), ("ORH", 0xe8), ("ORMH", 0xe9), ("ORML", 0xea),
    ("ORL", 0xeb), ("ANDNH", 0xec), ("ANDNMH", 0xed), ("ANDNML", 0xee), ("ANDNL", 0xef),
    ("JMP", 0xf0), ("PUSHJ", 0xf2), ("GETA", 0xf4), ("PUT", 0xf6), ("POP", 0xf8),
    ("RESUME", 0xf9), ("SAVE", 0xfa), ("UNSAVE", 0xfb), ("SYNC", 0xfc), ("SWYM", 0xfd),
    ("GET", 0xfe), ("TRIP", 0xff),
];
