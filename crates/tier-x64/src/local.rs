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

/// How a block uses slots.
struct Uses {
    counts: [u16; 256],
    /// Those that it writes, a bit for each.
    written: [u64; 4],
    /// Those in floating-point operations.
    float: [u64; 4],
}

impl Uses {
    fn count(&self, slot: u8) -> u32 {
        self.counts[usize::from(slot)].into()
    }
}

fn has(set: &[u64; 4], slot: u8) -> bool {
    set[usize::from(slot / 64)] >> (slot % 64) & 1 == 1
}

fn add(set: &mut [u64; 4], slot: u8) {
    set[usize::from(slot / 64)] |= 1 << (slot % 64);
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
    let least = if repeats { LOOP_GAIN } else { BLOCK_GAIN };
    let mut wanted: Vec<(u8, Mem)> = (0..Slot::TEMPS)
        .filter(|slot| uses.count(*slot) >= least && !has(&uses.float, *slot))
        // Other operations than those that name them find these two in the file.
        .filter(|slot| *slot != tier.flags.0 && *slot != tier.reservation.0)
        .filter_map(|slot| match map.loc(Slot(slot)) {
            Loc::M(home) => Some((slot, home)),
            Loc::G(_) | Loc::X(_) => None,
        })
        .collect();
    if wanted.is_empty() {
        return vec![];
    }
    wanted.sort_by_key(|(slot, _)| std::cmp::Reverse(uses.count(*slot)));
    let free = GROUP_REGS.iter().enumerate().filter(|(group, _)| !shares.uses_group(*group));
    let free = free.map(|(_, reg)| (*reg, None));
    let mut mapped: Vec<_> = map.slots().collect();
    mapped.sort_by_key(|(_, slot, _)| uses.count(slot.0));
    let taken = mapped.into_iter().map(|(reg, slot, home)| (reg, Some((slot, home))));
    let mut locals = vec![];
    for ((slot, home), (reg, instead)) in wanted.into_iter().zip(free.chain(taken)) {
        let lost = instead.map_or(0, |(slot, _): (Slot, Mem)| uses.count(slot.0));
        let least = match (repeats, instead) {
            (true, _) => LOOP_GAIN,
            (false, None) => BLOCK_GAIN,
            (false, Some(_)) => EXCHANGE_GAIN,
        };
        if uses.count(slot) < lost + least {
            break;
        }
        let written = has(&uses.written, slot);
        locals.push(Local { reg, slot: Slot(slot), home, written, instead });
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
fn uses(block: &Block) -> (Uses, bool) {
    let mut uses = Uses { counts: [0; 256], written: [0; 4], float: [0; 4] };
    let mut calls = false;
    for inst in &block.insts {
        if let Inst::Start(_) = inst {
            continue;
        }
        calls |= matches!(inst, Inst::CompareSwap { .. } | Inst::Call(..));
        let (dst, args) = (inst.dst(), inst.operands());
        // From and to temporaries mostly, which floating-point operations work on.
        let moves = matches!(inst, Inst::Unary(..));
        let mut float = matches!(inst, Inst::Float { .. });
        let mut all = [dst.map(|dst| dst.0), None, None, None, None, None];
        for (at, arg) in args.into_iter().enumerate() {
            if let Some(Val::Slot(slot)) = arg {
                all[at + 1] = Some(slot.0);
            }
        }
        float |= moves && all.iter().flatten().any(|slot| Slot(*slot).is_temp());
        for slot in all.into_iter().flatten() {
            uses.counts[usize::from(slot)] += 1;
            if float {
                add(&mut uses.float, slot);
            }
        }
        if let Some(dst) = dst {
            add(&mut uses.written, dst.0);
        }
    }
    for arg in block.term.operands().into_iter().flatten() {
        if let Val::Slot(slot) = arg {
            uses.counts[usize::from(slot.0)] += 1;
        }
    }
    (uses, calls)
}
