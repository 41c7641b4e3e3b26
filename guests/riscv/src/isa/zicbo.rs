//! Zicbom and Zicboz: cache blocks. (The prefetches of Zicbop are `ori` to x0.)

use crate::lower::{Lower, helper};
use crate::operand::{A1, Address};
use omni_decode::instructions;
use omni_ir::{Binary, Size, Val};

/// The size of a cache block in bytes, as the device tree must say.
pub const CACHE_BLOCK_BYTES: u64 = 64;

#[rustfmt::skip] // One row a line, columns aligned, as in the manual.
instructions! {
    /// Cache-block operations.
    pub enum CacheBlocks for Lower<'_> {
        /// Invalidates a block.
        CboInval = "0000000 00000 ..... 010 00000 0001111", A1, "cbo.inval ({rs1})" => inval;
        /// Writes a block back.
        CboClean = "0000000 00001 ..... 010 00000 0001111", A1, "cbo.clean ({rs1})" => clean;
        /// Writes a block back and invalidates it.
        CboFlush = "0000000 00010 ..... 010 00000 0001111", A1, "cbo.flush ({rs1})" => clean;
        /// Stores zeros to a block.
        CboZero  = "0000000 00100 ..... 010 00000 0001111", A1, "cbo.zero ({rs1})" => zero;
    }
}

fn inval(cx: &mut Lower<'_>, o: Address) {
    let allowed = cx.mode.cbo_inval;
    manage(cx, o, allowed);
}

fn clean(cx: &mut Lower<'_>, o: Address) {
    let allowed = cx.mode.cbo_clean;
    manage(cx, o, allowed);
}

/// There is no cache to manage, only the permission to ask for.
fn manage(cx: &mut Lower<'_>, o: Address, allowed: bool) {
    if allowed {
        let at = cx.x(o.rs1);
        cx.call(helper::CACHE_BLOCK, [at, Val::Const(0), Val::Const(0)]);
    } else {
        cx.illegal();
    }
}

fn zero(cx: &mut Lower<'_>, o: Address) {
    if !cx.mode.cbo_zero {
        cx.illegal();
        return;
    }
    // The first store traps with the address in the register, as the manual asks.
    let at = cx.x(o.rs1);
    cx.b.store(Size::B1, at, 0, 0);
    let block = cx.b.temp();
    cx.b.binary(Binary::And, block, at, !(CACHE_BLOCK_BYTES - 1));
    for offset in (0_i32..).step_by(8).take(8) {
        cx.b.store(Size::B8, block, offset, 0);
    }
}
