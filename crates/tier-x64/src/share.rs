//! Which accesses of a block share one probe of the TLB.
//!
//! Accesses at constant distances from one value mostly lie in one page: stack frames, structures,
//! unrolled loops. The first of such a group probes for the bytes of all and keeps the host's
//! address in a register; the others need no probe. Where a probe fails while a group is in
//! use, a twin of the rest of the block without groups goes on, as a step may change what the group
//! relies on.

use omni_ir::{Binary, Block, Inst, Unary, Val, Width};

/// Groups that can be in use at one time.
pub(crate) const GROUPS: usize = 2;

/// Bytes that a group spans at most: the more, the sooner it crosses a page.
const SPAN_MAX: i64 = 256;

/// The part that an access has in a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// It probes for itself.
    Alone,
    /// It probes for `span` bytes, which begin `low` from its base, and keeps their address in
    /// the register of the group.
    First { group: usize, low: i32, span: u32 },
    /// It is at this distance from what the register holds.
    Other { group: usize, at: i32 },
}

/// The parts of all operations of a block.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    /// By operation; those that are not here are alone.
    parts: Vec<(usize, Part)>,
    /// From the first to the last operation of each group.
    spans: Vec<(usize, usize)>,
}

/// An access as seen by the analysis.
#[derive(Clone, Copy)]
struct Access {
    inst: usize,
    /// Names the value that the address is at a constant distance from.
    value: u32,
    /// That distance, of the first byte.
    at: i64,
    /// The distance of the base, without the offset of the access.
    base: i64,
    size: i64,
    store: bool,
    /// Rises where nothing may be kept across.
    era: u32,
    taken: bool,
}

impl Shares {
    pub(crate) fn of(block: &Block) -> Self {
        let mut accesses = accesses(block);
        let mut shares = Self::default();
        let mut busy = [0_usize; GROUPS];
        for first in 0..accesses.len() {
            let leader = accesses[first];
            let Some(group) = busy.iter().position(|until| *until <= leader.inst) else { continue };
            if leader.taken {
                continue;
            }
            let (members, low, high) = members(&accesses, first);
            let Some(&last) = members.last() else { continue };
            let Ok(below) = i32::try_from(low - leader.base) else { continue };
            let span = u32::try_from(high - low).expect("a span is short");
            busy[group] = accesses[last].inst + 1;
            shares.spans.push((leader.inst, accesses[last].inst));
            shares.parts.push((leader.inst, Part::First { group, low: below, span }));
            for at in members {
                accesses[at].taken = true;
                let distance = i32::try_from(accesses[at].at - low).expect("a span is short");
                shares.parts.push((accesses[at].inst, Part::Other { group, at: distance }));
            }
        }
        shares.parts.sort_unstable_by_key(|(inst, _)| *inst);
        shares
    }

    pub(crate) fn part(&self, inst: usize) -> Part {
        match self.parts.binary_search_by_key(&inst, |(at, _)| *at) {
            Ok(at) => self.parts[at].1,
            Err(_) => Part::Alone,
        }
    }

    /// Whether there is a group that uses the register of this number.
    pub(crate) fn uses_group(&self, number: usize) -> bool {
        let of = |part: &Part| matches!(part, Part::First { group, .. } if *group == number);
        self.parts.iter().any(|(_, part)| of(part))
    }

    /// Whether a register of a group is in use at this operation.
    pub(crate) fn is_live(&self, inst: usize) -> bool {
        self.spans.iter().any(|(first, last)| (*first..=*last).contains(&inst))
    }
}

/// The accesses that can go with the one of this number, and the bytes of all, from and to.
fn members(accesses: &[Access], first: usize) -> (Vec<usize>, i64, i64) {
    let leader = accesses[first];
    let (mut low, mut high) = (leader.at, leader.at + leader.size);
    let mut members = vec![];
    for (nth, access) in accesses.iter().enumerate().skip(first + 1) {
        if access.era != leader.era {
            break;
        }
        // What an entry for stores serves can be loaded from, but not the other way.
        let fits = access.value == leader.value && (leader.store || !access.store);
        let (from, to) = (low.min(access.at), high.max(access.at + access.size));
        if fits && !access.taken && to - from <= SPAN_MAX {
            members.push(nth);
            (low, high) = (from, to);
        }
    }
    (members, low, high)
}

#[allow(clippy::wildcard_enum_match_arm, reason = "what is not one of a few operations")]
/// The plain accesses of a block, in order, with their addresses as a value and a distance.
fn accesses(block: &Block) -> Vec<Access> {
    let mut list = vec![];
    let mut values: [(u32, i64); 256] = std::array::from_fn(|slot| (slot as u32, 0));
    let (mut last, mut era) = (256, 0);
    for (inst, op) in block.insts.iter().enumerate() {
        let mut access = |base: Val, offset: i32, size: u64, store: bool| {
            let Val::Slot(base) = base else { return };
            let (value, base) = values[usize::from(base.0)];
            let at = base.wrapping_add(offset.into());
            let size = size.min(8).cast_signed();
            list.push(Access { inst, value, at, base, size, store, era, taken: false });
        };
        let value = match *op {
            Inst::Load(memory, _, base, offset) => {
                access(base, offset, memory.size.bytes(), false);
                None
            }
            Inst::Store(size, base, offset, _) => {
                access(base, offset, size.bytes(), true);
                None
            }
            Inst::Unary(Unary::Move, _, Val::Slot(from)) => Some(values[usize::from(from.0)]),
            Inst::Binary(Binary::Add, Width::Full, _, Val::Slot(from), Val::Const(by)) => {
                let (value, at) = values[usize::from(from.0)];
                let sum = at.checked_add(by.cast_signed());
                sum.filter(|sum| sum.unsigned_abs() < 1 << 24).map(|sum| (value, sum))
            }
            Inst::Call(..) => {
                values = std::array::from_fn(|slot| (last + slot as u32, 0));
                last += 256;
                None
            }
            _ => None,
        };
        // Those that may change what is mapped where.
        let plain = matches!(op, Inst::Load(..) | Inst::Store(..));
        era += u32::from(op.may_trap() && !plain);
        if let Some(dst) = op.dst() {
            values[usize::from(dst.0)] = value.unwrap_or((last, 0));
            last += 1;
        }
    }
    list
}
