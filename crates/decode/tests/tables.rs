//! A small instruction set, declared as a guest declares its own.
#![allow(missing_docs, reason = "the table is for this test alone")]

use omni_decode::{Operand, Tree, at, fixed, formats, instruction_set, instructions, operands};
use omni_decode::{Row, signed};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reg(u8);

impl Operand for Reg {
    fn of(bits: u32) -> Self {
        Self(u8::try_from(bits).expect("a register number"))
    }
    fn raw(self) -> u32 {
        self.0.into()
    }
    fn show(self) -> String {
        format!("x{}", self.0)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Imm(i32);

impl Operand for Imm {
    fn of(bits: u32) -> Self {
        Self(bits.cast_signed())
    }
    fn raw(self) -> u32 {
        self.0.cast_unsigned()
    }
    fn show(self) -> String {
        self.0.to_string()
    }
}

operands! {
    pub struct Three { rd: Reg, rs1: Reg, rs2: Reg }
    pub struct Two { rs1: Reg, rs2: Reg, imm: Imm }
}

formats! {
    R for Three { rd = at(7, 5), rs1 = at(15, 5), rs2 = at(20, 5) }
    Cr for Three { rd = at(7, 5), rs1 = at(7, 5), rs2 = at(2, 5) }
    Cmv for Three { rd = at(7, 5), rs1 = fixed(0), rs2 = at(2, 5) }
    Cjr for Three { rd = fixed(0), rs1 = at(7, 5), rs2 = fixed(0) }
    B for Two {
        rs1 = at(15, 5),
        rs2 = at(20, 5),
        imm = signed(13, &[(31, 1, 12), (7, 1, 11), (25, 6, 5), (8, 4, 1)]),
    }
}

type Log = Vec<&'static str>;

fn note_add(log: &mut Log, _: Three) {
    log.push("add");
}
fn note_sub(log: &mut Log, _: Three) {
    log.push("sub");
}
fn note_jump(log: &mut Log, _: Three) {
    log.push("jump");
}
fn note_branch(log: &mut Log, _: Two) {
    log.push("branch");
}

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
mod table {
    use super::*;
    instructions! {
        pub enum Base for Log {
            Add = "0000000 ..... ..... 000 ..... 0110011", R, "add {rd}, {rs1}, {rs2}" => note_add;
            Sub = "0100000 ..... ..... 000 ..... 0110011", R, "sub {rd}, {rs1}, {rs2}" => note_sub;
            Beq = "....... ..... ..... 000 ..... 1100011", B,
                "beq {rs1}, {rs2}, {imm}" => note_branch;
            Blt = "....... ..... ..... 100 ..... 1100011", B,
                "blt {rs1}, {rs2}, {imm}" => note_branch;
        }
    }
    instructions! {
        pub enum Short for Log {
            Cadd = "100 1 ..... ..... 10", Cr, "c.add {rd}, {rs2}" => note_add;
            {
                Cjr = "100 0 ..... 00000 10", Cjr, "c.jr {rs1}" => note_jump;
                Cmv = "100 0 ..... ..... 10", Cmv, "c.mv {rd}, {rs2}" => note_add;
            }
        }
    }
    instruction_set! {
        pub enum Insn for Log { Base(Base), Short(Short), }
    }
}
use table::{Base, Insn, Short};

#[test]
fn words_of_the_manual_decode() {
    let add = Base::Add(Three { rd: Reg(1), rs1: Reg(2), rs2: Reg(3) });
    assert_eq!(Insn::decode(0x0031_00b3), Some((Insn::Base(add), 4)));
    let beq = Base::Beq(Two { rs1: Reg(10), rs2: Reg(0), imm: Imm(-8) });
    assert_eq!(Base::decode(0xfe05_0ce3), Some(beq));
    assert_eq!(beq.text(), "beq x10, x0, -8");
    assert_eq!(Insn::decode(0), None);
}

#[test]
fn the_specific_row_wins_where_order_decides() {
    let (insn, size) = Insn::decode(0xffff_8082).expect("c.jr x1");
    assert_eq!((insn.text().as_str(), size), ("c.jr x1", 2));
    let mut log = Log::new();
    insn.apply(&mut log);
    Short::decode(0x852e).expect("c.mv x10, x11").apply(&mut log);
    assert_eq!(log, ["jump", "add"]);
}

#[test]
fn every_word_of_a_row_survives_decode_and_encode() {
    let mut random = 0x9e37_79b9_u32;
    for Row { name, pattern, .. } in Insn::ROWS.iter() {
        for _ in 0..1000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let word = (random ^ random >> 16) & pattern.free() | pattern.bits;
            let (insn, size) = Insn::decode(word).expect("a word of the row");
            assert_eq!((insn.encode(), size), (word, pattern.size), "{name}");
            assert!(!insn.text().contains('{'), "{name}");
        }
    }
}

#[test]
fn the_tree_finds_what_a_search_finds() {
    let tree = Tree::new(Insn::ROWS);
    let mut random = 1_u32;
    for _ in 0..100_000 {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let word = random ^ random >> 15;
        let slow = Insn::ROWS.iter().position(|row| row.pattern.fits(word));
        assert_eq!(tree.find(word).map(usize::from), slow);
    }
}
