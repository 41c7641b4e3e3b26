//! Svinval: the fence of translations in parts.

use super::privileged::fence;
use crate::lower::Lower;
use crate::mode::Privilege;
use crate::operand::{A2, Bare, None};
use omni_decode::instructions;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Fine-grained fences of translations.
    pub enum Invalidations for Lower<'_> {
        /// A part of it.
        SinvalVma     = "0001011 ..... ..... 000 00000 1110011", A2,
            "sinval.vma {rs1}, {rs2}" => fence;
        /// Orders stores before `sinval.vma`.
        SfenceWInval  = "0001100 00000 00000 000 00000 1110011", Bare,
            "sfence.w.inval" => half_fence;
        /// Orders `sinval.vma` before translations.
        SfenceInvalIr = "0001100 00001 00000 000 00000 1110011", Bare,
            "sfence.inval.ir" => half_fence;
    }
}

fn half_fence(cx: &mut Lower<'_>, _: None) {
    if cx.mode.privilege == Privilege::User {
        cx.illegal();
    }
}
