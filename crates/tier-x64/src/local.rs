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
    let mut note = |vals: &[Val], dst: Option<Slot>, float: bool| {
        for val in vals {
            if let Val::Slot(slot) = val {
                let of = &mut uses[usize::from(slot.0)];
                of.count += 1;
                of.float |= float;
            }
        }
        if let Some(slot) = dst {
            let of = &mut uses[usize::from(slot.0)];
            (of.count, of.written, of.float) = (of.count + 1, true, of.float | float);
        }
    };
    for inst in &block.insts {
        match *inst {
            Inst::Start(_) | Inst::Fence(_) => {}
            // From and to temporaries mostly, which floating-point operations work on.
            Inst::Unary(_, dst, a) => {
                let float = matches!(a, Val::Slot(slot) if slot.is_temp()) || dst.is_temp();
                note(&[a], Some(dst), float);
            }
            Inst::Binary(_, _, dst, a, b) => note(&[a, b], Some(dst), false),
            Inst::Select(dst, test, a, b) => note(&[test, a, b], Some(dst), false),
            Inst::Deposit { dst, base, value, .. } => note(&[base, value], Some(dst), false),
            Inst::Load(_, dst, base, _) => note(&[base], Some(dst), false),
            Inst::Store(_, base, _, value) => note(&[base, value], None, false),
            Inst::Atomic(_, _, dst, at, value) | Inst::StoreConditional(_, dst, at, value) => {
                note(&[at, value], Some(dst), false);
            }
            Inst::LoadReserved(_, dst, at) => note(&[at], Some(dst), false),
            Inst::Float { dst, args, round, .. } => {
                note(&args, Some(dst), true);
                note(&[round], None, true);
            }
            Inst::ExitIf(_, a, b, _) => note(&[a, b], None, false),
            Inst::CompareSwap { .. } | Inst::Call(..) => calls = true,
        }
    }
    match block.term {
        Term::Branch(_, a, b, _, _) => note(&[a, b], None, false),
        Term::Indirect(to) | Term::Stop(to) => note(&[to], None, false),
        Term::Jump(_) | Term::Trap(_) => {}
    }
    (uses, calls)
}
