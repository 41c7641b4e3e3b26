//! How a function uses its slots: which are worth a register, and where a register must be right.
//!
//! A register need not be right where it is neither read nor written home before it is written
//! again. It is written home at ways out of the code where it may differ from its home. Both are
//! found by passes over the blocks.

use omni_ir::{End, Function, Home, Inst, Piece, Slot, Val};

/// Passes over the blocks; functions that need more have loops in loops like no compiler makes.
const PASSES_MAX: usize = 40;

/// How much more an instruction counts for each loop around it.
const LOOP_WEIGHT: u64 = 8;

/// Loops that count.
const DEPTH_MAX: u32 = 6;

/// A set of slots that are no temporaries.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Set([u64; 3]);

impl Set {
    pub(crate) fn has(&self, slot: Slot) -> bool {
        self.0[usize::from(slot.0 / 64)] >> (slot.0 % 64) & 1 == 1
    }

    pub(crate) fn add(&mut self, slot: Slot) {
        self.0[usize::from(slot.0 / 64)] |= 1 << (slot.0 % 64);
    }

    fn or(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] | other.0[at]))
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & other.0[at]))
    }

    fn without(self, other: Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at] & !other.0[at]))
    }
}

/// What one block does to slots.
#[derive(Clone, Copy, Default, Debug)]
struct Effect {
    /// Read before they are written.
    read: Set,
    written: Set,
}

/// What is known of all blocks.
#[derive(Debug)]
pub(crate) struct Usage {
    effects: Vec<Effect>,
    /// How much an instruction of a block counts.
    weights: Vec<u64>,
    /// Slots whose registers must be right where a block begins.
    pub(crate) needed: Vec<Set>,
    /// Slots whose registers may differ from their homes there.
    pub(crate) dirty: Vec<Set>,
    /// Weighted uses of each slot: by integer operations, and by those of floats.
    pub(crate) integer: [u64; 256],
    pub(crate) float: [u64; 256],
}

impl Usage {
    /// Looks at a function; nothing where that would take too long.
    pub(crate) fn of(function: &Function) -> Option<Self> {
        let count = function.pieces.len();
        let effects = function.pieces.iter().map(effect).collect();
        let mut usage = Self {
            effects,
            weights: weights(function),
            needed: vec![Set::default(); count],
            dirty: vec![Set::default(); count],
            integer: [0; 256],
            float: [0; 256],
        };
        usage.needs(function, false)?;
        usage.count(function);
        Some(usage)
    }

    /// What is known once it is settled which slots have registers.
    pub(crate) fn settle(&mut self, function: &Function, mapped: Set) -> Option<()> {
        for effect in &mut self.effects {
            (effect.read, effect.written) = (effect.read.and(mapped), effect.written.and(mapped));
        }
        self.needed.fill(Set::default());
        self.differ(function)?;
        self.needs(function, true)
    }

    /// Which registers may differ from their homes, along the ways.
    fn differ(&mut self, function: &Function) -> Option<()> {
        for _ in 0..PASSES_MAX {
            let mut changed = false;
            for (at, piece) in function.pieces.iter().enumerate() {
                let out = self.dirty[at].or(self.effects[at].written);
                each_next(at, &piece.end, |to, clean| {
                    let Some(dirty) = self.dirty.get_mut(to) else { return };
                    let new = if clean { *dirty } else { dirty.or(out) };
                    changed |= new != *dirty;
                    *dirty = new;
                });
            }
            if !changed {
                return Some(());
            }
        }
        None
    }

    /// Which registers must be right, against the ways. Where a register is looked at across
    /// calls, as if calls kept it, that says what is worth one.
    fn needs(&mut self, function: &Function, calls_cut: bool) -> Option<()> {
        for _ in 0..PASSES_MAX {
            let mut changed = false;
            for (at, piece) in function.pieces.iter().enumerate().rev() {
                let mut out = Set::default();
                each_next(at, &piece.end, |to, clean| {
                    if !(clean && calls_cut) {
                        out = out.or(self.needed.get(to).copied().unwrap_or_default());
                    }
                });
                let Effect { read, written } = self.effects[at];
                let needed = read.or(out.without(written)).or(self.dirty[at]);
                changed |= needed != self.needed[at];
                self.needed[at] = needed;
            }
            if !changed {
                return Some(());
            }
        }
        None
    }

    /// Counts uses, less what it costs to have a register across calls.
    fn count(&mut self, function: &Function) {
        let mut costs = [0_u64; 256];
        for (at, piece) in function.pieces.iter().enumerate() {
            let weight = self.weights[at];
            for inst in &piece.body.insts {
                let float = matches!(inst, Inst::Float { .. });
                let whole = matches!(inst, Inst::Unary(..) | Inst::Load(..) | Inst::Store(..));
                let mut note = |slot: Slot, float: bool| {
                    let by = if float { &mut self.float } else { &mut self.integer };
                    by[usize::from(slot.0)] += weight * if whole { 1 } else { 2 };
                };
                if let Some(dst) = inst.dst() {
                    note(dst, float && !gives_integer(inst));
                }
                for val in inst.operands().into_iter().flatten() {
                    if let Val::Slot(slot) = val {
                        note(slot, float && !takes_integer(inst));
                    }
                }
            }
            each_operand(&piece.end, |val| {
                if let Val::Slot(slot) = val {
                    self.integer[usize::from(slot.0)] += 2 * weight;
                }
            });
            if matches!(piece.end, End::Call(..) | End::Leave)
                && let Some(needed) = self.needed.get(at + 1)
            {
                for slot in (0..Slot::TEMPS).map(Slot).filter(|slot| needed.has(*slot)) {
                    costs[usize::from(slot.0)] += 3 * weight;
                }
            }
        }
        for (slot, cost) in costs.into_iter().enumerate() {
            let float = self.float[slot] > self.integer[slot];
            let by = if float { &mut self.float[slot] } else { &mut self.integer[slot] };
            *by = by.saturating_sub(cost);
        }
    }
}

fn gives_integer(inst: &Inst) -> bool {
    use omni_ir::FloatOp::{EqQuiet, LeQuiet, LtQuiet, ToI32, ToI64, ToU32, ToU64};
    matches!(
        inst,
        Inst::Float { op: EqQuiet | LeQuiet | LtQuiet | ToI32 | ToI64 | ToU32 | ToU64, .. }
    )
}

fn takes_integer(inst: &Inst) -> bool {
    use omni_ir::FloatOp::{FromI32, FromI64, FromU32, FromU64};
    matches!(inst, Inst::Float { op: FromI32 | FromI64 | FromU32 | FromU64, .. })
}

/// Calls with each block that may be next, and whether registers are at home by then.
pub(crate) fn each_next(at: usize, end: &End, mut next: impl FnMut(usize, bool)) {
    match end {
        End::Next => next(at + 1, false),
        End::Jump(edge) => next(edge.to as usize, false),
        End::Branch(.., edge) => {
            next(edge.to as usize, false);
            next(at + 1, false);
        }
        End::Switch(_, edges) => edges.iter().for_each(|edge| next(edge.to as usize, false)),
        End::Call(..) | End::Leave => next(at + 1, true),
        End::Return(_) => {}
    }
}

fn each_operand(end: &End, mut each: impl FnMut(Val)) {
    match end {
        End::Next | End::Jump(_) | End::Leave => {}
        End::Branch(_, _, a, b, _) => {
            each(*a);
            each(*b);
        }
        End::Switch(val, _) => each(*val),
        End::Call(omni_ir::Callee::Element { index, .. }, _) => each(*index),
        End::Call(omni_ir::Callee::Known(_), _) => {}
        End::Return(values) => values.iter().copied().for_each(each),
    }
}

fn effect(piece: &Piece) -> Effect {
    let mut effect = Effect::default();
    let read = |effect: &mut Effect, val: Val| {
        if let Val::Slot(slot) = val
            && !slot.is_temp()
            && !effect.written.has(slot)
        {
            effect.read.add(slot);
        }
    };
    for inst in &piece.body.insts {
        inst.operands().into_iter().flatten().for_each(|val| read(&mut effect, val));
        if let Some(dst) = inst.dst().filter(|dst| !dst.is_temp()) {
            effect.written.add(dst);
        }
    }
    each_operand(&piece.end, |val| read(&mut effect, val));
    effect
}

/// How much each block counts: by the loops that it is in, as far as ways back tell.
fn weights(function: &Function) -> Vec<u64> {
    let count = function.pieces.len();
    let mut change = vec![0_i64; count + 1];
    for (at, piece) in function.pieces.iter().enumerate() {
        let mut heads = vec![];
        each_next(at, &piece.end, |to, _| heads.extend((to <= at).then_some(to)));
        heads.sort_unstable();
        heads.dedup();
        for head in heads {
            change[head] += 1;
            change[at + 1] -= 1;
        }
    }
    let mut depth = 0_i64;
    let weight = |change: &i64| {
        depth += change;
        LOOP_WEIGHT.pow(u32::try_from(depth).unwrap_or(0).min(DEPTH_MAX))
    };
    change[..count].iter().map(weight).collect()
}

/// Slots that can have registers, most used first: integers, and floats.
pub(crate) fn wanted(function: &Function, usage: &Usage) -> (Vec<Slot>, Vec<Slot>) {
    let own = |slot: &usize| matches!(function.homes.get(*slot), Some(Home::Frame(_)));
    let slots = (0..usize::from(Slot::TEMPS)).filter(own);
    let (mut integers, mut floats) = (vec![], vec![]);
    for slot in slots {
        let (integer, float) = (usage.integer[slot], usage.float[slot]);
        let list = if float > integer { &mut floats } else { &mut integers };
        if integer.max(float) > 2 {
            list.push((integer.max(float), Slot(slot as u8)));
        }
    }
    let ordered = |mut list: Vec<(u64, Slot)>| {
        list.sort_by_key(|(weight, slot)| (std::cmp::Reverse(*weight), *slot));
        list.into_iter().map(|(_, slot)| slot).collect()
    };
    (ordered(integers), ordered(floats))
}
