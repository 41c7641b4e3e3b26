//! Privileged instructions: returns, waiting, fences of translations; Svinval, Zawrs.

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
        Sret          = "0001000 00010 00000 000 00000 1110011", Bare, "sret" => sret;
        /// Returns from a trap to M.
        Mret          = "0011000 00010 00000 000 00000 1110011", Bare, "mret" => mret;
        /// Waits for an interrupt.
        Wfi           = "0001000 00101 00000 000 00000 1110011", Bare, "wfi" => wfi;
        /// Orders stores to page tables before translations.
        SfenceVma     = "0001001 ..... ..... 000 00000 1110011", A2,
            "sfence.vma {rs1}, {rs2}" => fence;
        /// A part of it.
        SinvalVma     = "0001011 ..... ..... 000 00000 1110011", A2,
            "sinval.vma {rs1}, {rs2}" => fence;
        /// Orders stores before `sinval.vma`.
        SfenceWInval  = "0001100 00000 00000 000 00000 1110011", Bare,
            "sfence.w.inval" => half_fence;
        /// Orders `sinval.vma` before translations.
        SfenceInvalIr = "0001100 00001 00000 000 00000 1110011", Bare,
            "sfence.inval.ir" => half_fence;
        /// Waits for a store to the reserved address.
        WrsNto        = "0000000 01101 00000 000 00000 1110011", Bare, "wrs.nto" => wrs;
        /// The same, for a short time.
        WrsSto        = "0000000 11101 00000 000 00000 1110011", Bare, "wrs.sto" => wrs;
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
    let next = cx.next();
    cx.b.stop(next);
}

/// Translations are never stale, so there is nothing to do but to ask whether it is allowed.
fn fence(cx: &mut Lower<'_>, _: Space) {
    if cx.mode.fence_traps {
        cx.illegal();
    }
}

fn half_fence(cx: &mut Lower<'_>, _: None) {
    if cx.mode.privilege == Privilege::User {
        cx.illegal();
    }
}

/// May end at any time, so it ends at once.
fn wrs(_: &mut Lower<'_>, _: None) {}
