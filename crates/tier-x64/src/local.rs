//! Which slots a block keeps in host registers besides, or instead of, those of the map.
//!
//! The map is one for all blocks and so has room for few. A block that uses other slots a lot takes
//! registers for them where it begins and gives them back where it is left; a loop that is one
//! block does so once for all its rounds.

use crate::Tier;
use crate::asm::{Gpr, Mem};
use crate::map::{GROUP_REGS, Loc};
use crate::share::Shares;
use omni_ir::{Block, Inst, Slot, Term, Val};

/// How many uses more a slot must have to be worth the exchange: in a loop, in a block that
/// is run once through, and there where another slot must make room.
const LOOP_GAIN: u32 = 2;
const BLOCK_GAIN: u32 = 6;
const EXCHANGE_GAIN: u32 = 10;

/// A register that holds another slot than by the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Local {
    pub(crate) reg: Gpr,
    pub(crate) slot: Slot,
    /// Where the slot is otherwise.
    pub(crate) home: Mem,
    /// The block writes it.
    pub(crate) written: bool,
    /// Where the slot that the register holds by the map is meanwhile, and which it is.
    pub(crate) instead: Option<(Slot, Mem)>,
}

/// How a block uses a slot.
#[derive(Clone, Copy, Default)]
struct Uses {
    count: u32,
    written: bool,
    /// In a floating-point operation.
    float: bool,
}

/// The exchanges that are worth it.
pub(crate) fn plan(tier: &Tier, block: &Block, shares: &Shares) -> Vec<Local> {
    let map = &tier.map;
    let (uses, calls) = uses(block);
    if calls {
        // Each would cost the exchange twice.
        return vec![];
    }
    let repeats = repeats(block);
    let mut wanted: Vec<(u8, Mem)> = (0..Slot::TEMPS)
        .filter(|slot| uses[usize::from(*slot)].count > 1 && !uses[usize::from(*slot)].float)
        // Other operations than those that name them find these two in the file.
        .filter(|slot| *slot != tier.flags.0 && *slot != tier.reservation.0)
        .filter_map(|slot| match map.loc(Slot(slot)) {
            Loc::M(home) => Some((slot, home)),
            Loc::G(_) | Loc::X(_) => None,
        })
        .collect();
    wanted.sort_by_key(|(slot, _)| std::cmp::Reverse(uses[usize::from(*slot)].count));
    let free = GROUP_REGS.iter().enumerate().filter(|(group, _)| !shares.uses_group(*group));
    let free = free.map(|(_, reg)| (*reg, None));
    let mut mapped: Vec<_> = map.slots().collect();
    mapped.sort_by_key(|(_, slot, _)| uses[usize::from(slot.0)].count);
    let taken = mapped.into_iter().map(|(reg, slot, home)| (reg, Some((slot, home))));
    let mut locals = vec![];
    for ((slot, home), (reg, instead)) in wanted.into_iter().zip(free.chain(taken)) {
        let of = uses[usize::from(slot)];
        let lost = instead.map_or(0, |(slot, _): (Slot, Mem)| uses[usize::from(slot.0)].count);
        let least = match (repeats, instead) {
            (true, _) => LOOP_GAIN,
            (false, None) => BLOCK_GAIN,
            (false, Some(_)) => EXCHANGE_GAIN,
        };
        if of.count < lost + least {
            break;
        }
        locals.push(Local { reg, slot: Slot(slot), home, written: of.written, instead });
    }
    locals
}

/// Whether the block leads back to its own start.
fn repeats(block: &Block) -> bool {
    let Some(&Inst::Start(start)) = block.insts.first() else { return false };
    let end = match block.term {
        Term::Jump(to) => to == start,
        Term::Branch(_, _, _, to, or) => to == start || or == start,
        Term::Indirect(_) | Term::Trap(_) | Term::Stop(_) => false,
    };
    end || block.insts.iter().any(|inst| matches!(*inst, Inst::ExitIf(.., to) if to == start))
}

/// How every slot is used, and whether there are calls of helpers.
fn uses(block: &Block) -> ([Uses; 256], bool) {
    let mut uses = [Uses::default(); 256];
    let mut calls = false;
    let mut note = |slot: Slot, written: bool, float: bool| {
        let of = &mut uses[usize::from(slot.0)];
        of.count += 1;
        (of.written, of.float) = (of.written | written, of.float | float);
    };
    let slot = |val| match val {
        Val::Slot(slot) => Some(slot),
        Val::Const(_) => None,
    };
    for inst in &block.insts {
        calls |= matches!(inst, Inst::CompareSwap { .. } | Inst::Call(..));
        // From and to temporaries mostly, which floating-point operations work on.
        let moved = |slot: Slot| matches!(inst, Inst::Unary(..)) && slot.is_temp();
        let (dst, read) = (inst.dst(), inst.operands().into_iter().flatten().filter_map(slot));
        let float = matches!(inst, Inst::Float { .. }) || read.clone().chain(dst).any(moved);
        read.for_each(|slot| note(slot, false, float));
        dst.into_iter().for_each(|slot| note(slot, true, float));
    }
    for slot in block.term.operands().into_iter().flatten().filter_map(slot) {
        note(slot, false, false);
    }
    (uses, calls)
}
