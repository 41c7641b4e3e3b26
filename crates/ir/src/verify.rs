//! The verifier: what every block must satisfy before a tier sees it.

use crate::{Block, Inst, Val};

/// Why a block is not sound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unsound {
    /// The block does not begin with a `Start`.
    NoStart,
    /// The count of ticks is not the count of `Start`s.
    Ticks,
    /// The instruction with this number reads a temporary that nothing wrote in its instruction.
    UnwrittenTemp(usize),
    /// The instruction with this number writes a register before something that may still trap.
    WriteBeforeTrap(usize),
    /// A field of bits is empty or goes past the end, at the instruction with this number.
    BadField(usize),
}

/// Checks a block.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(block: &Block) -> Result<(), Unsound> {
    if !matches!(block.insts.first(), Some(Inst::Start(_))) {
        return Err(Unsound::NoStart);
    }
    let starts = block.insts.iter().filter(|inst| matches!(inst, Inst::Start(_))).count();
    if usize::try_from(block.ticks) != Ok(starts) {
        return Err(Unsound::Ticks);
    }
    let mut written = [false; 256];
    let mut register_written = false;
    for (at, inst) in block.insts.iter().enumerate() {
        if let Inst::Start(_) = inst {
            written = [false; 256];
            register_written = false;
        }
        let known = |val: &Val| match val {
            Val::Slot(slot) => !slot.is_temp() || written[usize::from(slot.0)],
            Val::Const(_) => true,
        };
        if !inst.operands().iter().flatten().all(known) {
            return Err(Unsound::UnwrittenTemp(at));
        }
        if let Inst::Deposit { at: low, bits, .. } = inst
            && (*bits == 0 || low + bits > 64)
        {
            return Err(Unsound::BadField(at));
        }
        if register_written && inst.may_trap() {
            return Err(Unsound::WriteBeforeTrap(at));
        }
        if let Some(dst) = inst.dst() {
            written[usize::from(dst.0)] = true;
            register_written |= !dst.is_temp();
        }
    }
    let known = |val: &Val| match val {
        Val::Slot(slot) => !slot.is_temp() || written[usize::from(slot.0)],
        Val::Const(_) => true,
    };
    let sound = block.term.operands().iter().flatten().all(known);
    if sound { Ok(()) } else { Err(Unsound::UnwrittenTemp(block.insts.len())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Binary, Builder, Size, Slot};

    const R0: Slot = Slot(0);

    #[test]
    fn a_sound_block_passes() {
        let mut b = Builder::default();
        b.start(0x100);
        let t = b.temp();
        b.load(Size::B4, true, t, R0, 8);
        b.binary(Binary::Add, R0, t, 1);
        assert_eq!(verify(&b.finish(0x104)), Ok(()));
    }

    #[test]
    fn each_fault_is_named() {
        let mut b = Builder::default();
        b.start(0);
        b.put(R0, 1);
        b.load(Size::B4, true, Slot(1), R0, 8);
        assert_eq!(verify(&b.finish(4)), Err(Unsound::WriteBeforeTrap(2)));
        let mut b = Builder::default();
        b.start(0);
        let t = b.temp();
        b.start(4);
        b.put(R0, t);
        assert_eq!(verify(&b.finish(8)), Err(Unsound::UnwrittenTemp(2)));
        let mut b = Builder::default();
        b.put(R0, 1);
        assert_eq!(verify(&b.finish(8)), Err(Unsound::NoStart));
        let mut b = Builder::default();
        b.start(0);
        b.deposit(R0, R0, 1, (60, 5));
        assert_eq!(verify(&b.finish(8)), Err(Unsound::BadField(1)));
        let mut b = Builder::default();
        b.start(0);
        let mut block = b.finish(8);
        block.ticks = 2;
        assert_eq!(verify(&block), Err(Unsound::Ticks));
    }
}
