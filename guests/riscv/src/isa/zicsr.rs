//! Zicsr: access to CSRs, with those of Zicntr and Zihpm.

use crate::lower::{Lower, helper, slot};
use crate::operand::{C, Ci, Csr, CsrImm, X};
use omni_decode::instructions;
use omni_ir::{Binary, Val};

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// CSR instructions.
    pub enum Csrs for Lower<'_> {
        /// `rd = csr; csr = rs1`.
        Csrrw  = "............ ..... 001 ..... 1110011", C,
            "csrrw {rd}, {csr}, {rs1}" => by_register;
        /// `rd = csr; csr |= rs1`.
        Csrrs  = "............ ..... 010 ..... 1110011", C,
            "csrrs {rd}, {csr}, {rs1}" => by_register;
        /// `rd = csr; csr &= !rs1`.
        Csrrc  = "............ ..... 011 ..... 1110011", C,
            "csrrc {rd}, {csr}, {rs1}" => by_register;
        /// `rd = csr; csr = uimm`.
        Csrrwi = "............ ..... 101 ..... 1110011", Ci,
            "csrrwi {rd}, {csr}, {uimm}" => by_immediate;
        /// `rd = csr; csr |= uimm`.
        Csrrsi = "............ ..... 110 ..... 1110011", Ci,
            "csrrsi {rd}, {csr}, {uimm}" => by_immediate;
        /// `rd = csr; csr &= !uimm`.
        Csrrci = "............ ..... 111 ..... 1110011", Ci,
            "csrrci {rd}, {csr}, {uimm}" => by_immediate;
    }
}

fn by_register(cx: &mut Lower<'_>, o: Csr) {
    let operand = cx.x(o.rs1);
    access(cx, o.rd, operand);
}

fn by_immediate(cx: &mut Lower<'_>, o: CsrImm) {
    access(cx, o.rd, Val::Const(u64::from(o.uimm.0)));
}

/// `fflags`, which quiet comparisons save and restore.
const FFLAGS: u32 = 1;

/// Plain accesses to the exceptions of floating point, as operations; says whether it was one.
fn exceptions(cx: &mut Lower<'_>, rd: X, operand: Val) -> bool {
    let (write, set) = (cx.word >> 12 & 3 == 1, cx.word >> 12 & 3 == 2);
    let reads_only = set && cx.word >> 15 & 31 == 0;
    if cx.word >> 20 != FFLAGS || !cx.mode.float_on || !(reads_only || write && cx.mode.float_dirty)
    {
        return false;
    }
    let dst = cx.dst(rd);
    if reads_only {
        cx.b.put(dst, slot::FFLAGS);
        return true;
    }
    let new = cx.b.temp();
    cx.b.binary(Binary::And, new, operand, 31);
    if rd.0 != 0 {
        cx.b.put(dst, slot::FFLAGS);
    }
    cx.b.put(slot::FFLAGS, new);
    true
}

/// The helper reads all else from the word. It asks to stop where what follows must be looked at
/// anew: the mode has changed, or an interrupt can be taken now.
fn access(cx: &mut Lower<'_>, rd: X, operand: Val) {
    if exceptions(cx, rd, operand) {
        return;
    }
    let word = Val::Const(u64::from(cx.word));
    let old = cx.call(helper::CSR, [word, operand, Val::Const(0)]);
    if rd.0 != 0 {
        let dst = cx.dst(rd);
        cx.b.put(dst, old);
    }
}
