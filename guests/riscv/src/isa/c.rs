//! C: the short forms of common instructions; each has the meaning of a long one. Zcmop.

use super::base;
use super::float::{self, Fmt64};
use crate::lower::Lower;
use crate::operand::{
    Bare, Ca, Cadd, Cb, CbImm, CbSh, CiFld, CiImm, CiLd, CiLi, CiLui, CiLw, CiNoRd, CiSh, CiSp,
    CiZero, Ciw, CiwZero, Cj, Cjalr, Cjr, ClD, ClFd, ClW, Cmo, Cmv, CsD, CsFd, CsW, CssD, CssFd,
    CssW, MayBeShort, None, OneReg, RegImm,
};
use omni_decode::instructions;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Compressed instructions.
    pub enum Compressed for Lower<'_> {
        /// A double.
        Cfld   = "001 ... ... .. ... 00", ClFd, "c.fld {rd}, {imm}({rs1})" => float::load::<Fmt64>;
        /// A word.
        Clw    = "010 ... ... .. ... 00", ClW, "c.lw {rd}, {imm}({rs1})" => base::lw;
        /// A doubleword.
        Cld    = "011 ... ... .. ... 00", ClD, "c.ld {rd}, {imm}({rs1})" => base::ld;
        /// A double.
        Cfsd   = "101 ... ... .. ... 00", CsFd,
            "c.fsd {rs2}, {imm}({rs1})" => float::store::<Fmt64>;
        /// A word.
        Csw    = "110 ... ... .. ... 00", CsW, "c.sw {rs2}, {imm}({rs1})" => base::sw;
        /// A doubleword.
        Csd    = "111 ... ... .. ... 00", CsD, "c.sd {rs2}, {imm}({rs1})" => base::sd;
        /// `addi`.
        Caddi  = "000 . ..... ..... 01", CiImm, "c.addi {rd}, {imm}" => base::addi;
        /// `addi` to x0.
        Cli    = "010 . ..... ..... 01", CiLi, "c.li {rd}, {imm}" => base::addi;
        /// `srli`.
        Csrli  = "100 . 00 ... ..... 01", CbSh, "c.srli {rd}, {shamt}" => base::srli;
        /// `srai`.
        Csrai  = "100 . 01 ... ..... 01", CbSh, "c.srai {rd}, {shamt}" => base::srai;
        /// `andi`.
        Candi  = "100 . 10 ... ..... 01", CbImm, "c.andi {rd}, {imm}" => base::andi;
        /// `sub`.
        Csub   = "100 0 11 ... 00 ... 01", Ca, "c.sub {rd}, {rs2}" => base::sub;
        /// `xor`.
        Cxor   = "100 0 11 ... 01 ... 01", Ca, "c.xor {rd}, {rs2}" => base::xor;
        /// `or`.
        Cor    = "100 0 11 ... 10 ... 01", Ca, "c.or {rd}, {rs2}" => base::or;
        /// `and`.
        Cand   = "100 0 11 ... 11 ... 01", Ca, "c.and {rd}, {rs2}" => base::and;
        /// `subw`.
        Csubw  = "100 1 11 ... 00 ... 01", Ca, "c.subw {rd}, {rs2}" => base::subw;
        /// `addw`.
        Caddw  = "100 1 11 ... 01 ... 01", Ca, "c.addw {rd}, {rs2}" => base::addw;
        /// `jal` without a link.
        Cj     = "101 ........... 01", Cj, "c.j {imm}" => base::jal;
        /// `beq` with zero.
        Cbeqz  = "110 ... ... ..... 01", Cb, "c.beqz {rs1}, {imm}" => base::beq;
        /// `bne` with zero.
        Cbnez  = "111 ... ... ..... 01", Cb, "c.bnez {rs1}, {imm}" => base::bne;
        /// `slli`.
        Cslli  = "000 . ..... ..... 10", CiSh, "c.slli {rd}, {shamt}" => base::slli;
        /// A double from the stack.
        Cfldsp = "001 . ..... ..... 10", CiFld,
            "c.fldsp {rd}, {imm}({rs1})" => float::load::<Fmt64>;
        /// A double to the stack.
        Cfsdsp = "101 ...... ..... 10", CssFd,
            "c.fsdsp {rs2}, {imm}({rs1})" => float::store::<Fmt64>;
        /// A word to the stack.
        Cswsp  = "110 ...... ..... 10", CssW, "c.swsp {rs2}, {imm}({rs1})" => base::sw;
        /// A doubleword to the stack.
        Csdsp  = "111 ...... ..... 10", CssD, "c.sdsp {rs2}, {imm}({rs1})" => base::sd;
        {
            /// Reserved; with all bits zero, the illegal instruction.
            NoAddi4spn = "000 00000000 ... 00", CiwZero, ".insn 2, 0" => one_reserved;
            /// The address of a local.
            Caddi4spn  = "000 ........ ... 00", Ciw, "c.addi4spn {rd}, {rs1}, {imm}" => base::addi;
            /// Reserved.
            NoAddiw    = "001 . 00000 ..... 01", CiNoRd, ".insn 2, 0" => reserved;
            /// `addiw`.
            Caddiw     = "001 . ..... ..... 01", CiImm, "c.addiw {rd}, {imm}" => base::addiw;
            /// May be an operation (Zcmop).
            Cmop       = "011 0 0...1 00000 01", Cmo, "c.mop.{n}" => may_be;
            /// Reserved.
            NoLui      = "011 0 ..... 00000 01", CiZero, ".insn 2, 0" => one_reserved;
            /// Moves the stack pointer.
            Caddi16sp  = "011 . 00010 ..... 01", CiSp, "c.addi16sp {rd}, {imm}" => base::addi;
            /// `lui`.
            Clui       = "011 . ..... ..... 01", CiLui, "c.lui {rd}, {imm}" => base::lui;
            /// Reserved.
            NoLwsp     = "010 . 00000 ..... 10", CiNoRd, ".insn 2, 0" => reserved;
            /// A word from the stack.
            Clwsp      = "010 . ..... ..... 10", CiLw, "c.lwsp {rd}, {imm}({rs1})" => base::lw;
            /// Reserved.
            NoLdsp     = "011 . 00000 ..... 10", CiNoRd, ".insn 2, 0" => reserved;
            /// A doubleword from the stack.
            Cldsp      = "011 . ..... ..... 10", CiLd, "c.ldsp {rd}, {imm}({rs1})" => base::ld;
            /// Reserved.
            NoJr       = "100 0 00000 00000 10", Bare, ".insn 2, 0" => none_reserved;
            /// Jumps to a register.
            Cjr        = "100 0 ..... 00000 10", Cjr, "c.jr {rs1}" => base::jalr;
            /// Moves a register.
            Cmv        = "100 0 ..... ..... 10", Cmv, "c.mv {rd}, {rs2}" => base::add;
            /// Asks the debugger.
            Cebreak    = "100 1 00000 00000 10", Bare, "c.ebreak" => base::ebreak;
            /// Calls a register.
            Cjalr      = "100 1 ..... 00000 10", Cjalr, "c.jalr {rs1}" => base::jalr;
            /// `add`.
            Cadd       = "100 1 ..... ..... 10", Cadd, "c.add {rd}, {rs2}" => base::add;
        }
    }
}

fn reserved(cx: &mut Lower<'_>, _: RegImm) {
    cx.illegal();
}

fn one_reserved(cx: &mut Lower<'_>, _: OneReg) {
    cx.illegal();
}

fn none_reserved(cx: &mut Lower<'_>, _: None) {
    cx.illegal();
}

fn may_be(_: &mut Lower<'_>, _: MayBeShort) {
    // Does nothing until an extension says otherwise.
}
