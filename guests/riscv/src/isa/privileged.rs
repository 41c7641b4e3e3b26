//! Privileged instructions: returns, waiting, fences of translations.

use crate::lower::{Lower, helper};
use crate::mode::Privilege;
use crate::operand::{A2, Bare, None, Space};
use omni_decode::instructions;
use omni_ir::Val;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Privileged instructions.
    pub enum Privileged for Lower<'_> {
        /// Returns from a trap to S.
        Sret      = "0001000 00010 00000 000 00000 1110011", Bare, "sret" => sret;
        /// Returns from a trap to M.
        Mret      = "0011000 00010 00000 000 00000 1110011", Bare, "mret" => mret;
        /// Waits for an interrupt.
        Wfi       = "0001000 00101 00000 000 00000 1110011", Bare, "wfi" => wfi;
        /// Orders stores to page tables before translations.
        SfenceVma = "0001001 ..... ..... 000 00000 1110011", A2, "sfence.vma {rs1}, {rs2}" => fence;
    }
}

fn sret(cx: &mut Lower<'_>, _: None) {
    if cx.mode.sret_traps {
        cx.illegal();
    } else {
        leave(cx, Privilege::Supervisor);
    }
}

fn mret(cx: &mut Lower<'_>, _: None) {
    if cx.mode.privilege == Privilege::Machine {
        leave(cx, Privilege::Machine);
    } else {
        cx.illegal();
    }
}

fn leave(cx: &mut Lower<'_>, from: Privilege) {
    let to = cx.call(helper::RETURN, [Val::Const(from.bits()), Val::Const(0), Val::Const(0)]);
    cx.b.stop(to);
}

fn wfi(cx: &mut Lower<'_>, _: None) {
    if cx.mode.wfi_traps {
        cx.illegal();
        return;
    }
    cx.call(helper::WAIT, [Val::Const(0); 3]);
    cx.stop_next();
}

/// Translations are never stale, so there is nothing to do but to ask whether it is allowed.
pub(super) fn fence(cx: &mut Lower<'_>, _: Space) {
    if cx.mode.fence_traps {
        cx.illegal();
    }
}
