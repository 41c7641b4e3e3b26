//! Zifencei: the fence between stores and fetches.

use crate::lower::Lower;
use crate::operand::{FenI, FenceI as Operands};
use omni_decode::instructions;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// The instruction-fetch fence.
    pub enum FetchFence for Lower<'_> {
        /// Orders stores before fetches. The bits for finer fences are ignored.
        FenceI = "....... ..... ..... 001 ..... 0001111", FenI,
            ".insn i 15, 1, {rd}, {rs1}, {imm}" => fence_i;
    }
}

fn fence_i(_: &mut Lower<'_>, _: Operands) {
    // Code is coherent with stores at all times.
}
