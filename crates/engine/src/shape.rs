//! How far a block goes: its operations by a front-end, from its start on.

use crate::{CODE_BYTES, Flow, Frontend, Mode};
use omni_base::PAGE_SIZE_U64;
use omni_ir::{Block, Builder, Inst, Known, Slot, Term, Val};

/// Guest instructions in a block at most.
const BLOCK_TICKS_MAX: u32 = 64;

/// Makes a block of code at `start`: a superblock that follows jumps within its page, and leaves
/// by the less likely side of branches. `None` where not even one instruction is all there.
pub(crate) fn translate(
    front: &dyn Frontend,
    page: &[u8],
    from: &Start<'_>,
    buffer: Vec<Inst>,
) -> Option<Block> {
    let Start { pc: start, mode, shape, cuts } = *from;
    let base = start & !(PAGE_SIZE_U64 - 1);
    let mut into = Builder::reuse(buffer);
    let hidden = [front.float_flags(), front.reservation()];
    let mut known = Constants::new(hidden);
    // Instructions of the loop that the block is, once it came back to its start.
    let mut body = None;
    let mut pc = start;
    loop {
        let code = code_at(page, pc, pc - base);
        into.start(pc);
        match front.lower(&code, mode, &mut into) {
            Flow::Next(bytes) => pc += u64::from(bytes),
            Flow::More if pc == start => return None,
            Flow::More => {
                into.unstart();
                return Some(into.finish(pc));
            }
            Flow::End => {
                let next = match shape {
                    Shape::Cold => follow(&mut into, pc, base),
                    Shape::Hot => trace(&mut into, &mut known, pc, start),
                };
                match next {
                    Some(next) => pc = next,
                    None => return Some(into.finish(pc)),
                }
            }
        }
        if pc == start {
            let body = *body.get_or_insert(into.ticks());
            if into.ticks() + body > BLOCK_TICKS_MAX {
                return Some(into.finish(pc));
            }
        }
        let inside = pc.wrapping_sub(base) < PAGE_SIZE_U64;
        let cut = !cuts.is_empty() && cuts.binary_search(&pc).is_ok();
        if into.ticks() >= BLOCK_TICKS_MAX || !inside || cut {
            return Some(into.finish(pc));
        }
    }
}

/// The bytes at `pc`, which is `offset` into the page.
fn code_at(page: &[u8], pc: u64, offset: u64) -> crate::Code {
    let rest = usize::try_from(offset).ok().and_then(|at| page.get(at..)).unwrap_or_default();
    let count = rest.len().min(CODE_BYTES);
    let mut bytes = [0; CODE_BYTES];
    bytes[..count].copy_from_slice(&rest[..count]);
    crate::Code { pc, bytes, count }
}

/// Where and how a block begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    pub(crate) pc: u64,
    pub(crate) mode: Mode,
    pub(crate) shape: Shape,
    /// Addresses that it ends before, in order.
    pub(crate) cuts: &'a [u64],
}

/// How far a block goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    /// Ahead only.
    Cold,
    /// Along calls, returns from them, and round a loop that it is.
    Hot,
}

/// What slots hold in a block, as far as it is known.
struct Constants {
    /// Those that change by other operations than the ones that name them.
    hidden: [Slot; 2],
    /// Of each slot, where its bit in `known` is set.
    values: [Known; 256],
    known: [u64; 4],
    /// Operations that were seen.
    seen: usize,
}

impl Constants {
    fn new(hidden: [Slot; 2]) -> Self {
        Self { hidden, values: [Known::Fixed(0); 256], known: [0; 4], seen: 0 }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "what is not one of a few operations")]
    /// Looks at what was built since the last time.
    fn look(&mut self, insts: &[Inst]) {
        for inst in &insts[self.seen..] {
            let value = match *inst {
                Inst::Address(_, to) => Some(Known::Moving(to)),
                Inst::Unary(op, _, a) => self.value(a).and_then(|a| a.unary(op)),
                Inst::Binary(op, width, _, a, b) => {
                    let both = self.value(a).zip(self.value(b));
                    both.and_then(|(a, b)| Known::binary(op, width, a, b))
                }
                _ => None,
            };
            if let Inst::Call(..) = inst {
                self.known = [0; 4];
            }
            let Some(dst) = inst.dst() else { continue };
            let (word, bit) = Self::place(dst);
            self.known[word] &= !bit;
            if let Some(value) = value.filter(|_| !self.hidden.contains(&dst)) {
                self.known[word] |= bit;
                self.values[usize::from(dst.0)] = value;
            }
        }
        self.seen = insts.len();
    }

    fn place(slot: Slot) -> (usize, u64) {
        (usize::from(slot.0 / 64), 1 << (slot.0 % 64))
    }

    fn value(&self, val: Val) -> Option<Known> {
        match val {
            Val::Const(value) => Some(Known::Fixed(value)),
            Val::Slot(slot) => {
                let (word, bit) = Self::place(slot);
                (self.known[word] & bit != 0).then(|| self.values[usize::from(slot.0)])
            }
        }
    }
}

/// Where a hot block goes on after an instruction that ended it, if it is worth going on: jumps
/// within the page, returns from calls in the block, and the loop that the block is.
fn trace(into: &mut Builder, known: &mut Constants, pc: u64, start: u64) -> Option<u64> {
    known.look(into.insts());
    let near = |to: u64| to / PAGE_SIZE_U64 == start / PAGE_SIZE_U64;
    let jump = |into: &mut Builder, to: u64| {
        into.reopen();
        // Round another loop than this block it would not end where that begins.
        if near(to) && (to == start || !into.has_start(to)) {
            return Some(to);
        }
        into.jump(to);
        None
    };
    match into.term()? {
        Term::Jump(to) => jump(into, to),
        Term::Indirect(to) => match known.value(to)? {
            Known::Moving(to) => jump(into, to),
            // As a jump it would be another where the block is elsewhere.
            Known::Fixed(_) => None,
        },
        Term::Branch(cond, a, b, to, or) if to == start => {
            into.reopen();
            into.exit_if(cond.negated(), a, b, or);
            Some(to)
        }
        Term::Branch(cond, a, b, to, or) if to > pc && near(or) && into.ticks() < 48 => {
            into.reopen();
            into.exit_if(cond, a, b, to);
            Some(or)
        }
        Term::Branch(..) | Term::Trap(_) | Term::Stop(_) => None,
    }
}

/// Where a block goes on after an instruction that ended it, if it is worth going on.
///
/// Forward only, so that a block ends: at a jump ahead, or past a conditional branch that does
/// not close a loop.
fn follow(into: &mut Builder, pc: u64, base: u64) -> Option<u64> {
    let ahead = |to: u64| to > pc && to - base < PAGE_SIZE_U64;
    match into.term()? {
        Term::Jump(to) if ahead(to) => {
            into.reopen();
            Some(to)
        }
        Term::Branch(cond, a, b, to, or) if ahead(or) && to > pc && into.ticks() < 48 => {
            into.reopen();
            into.exit_if(cond, a, b, to);
            Some(or)
        }
        Term::Branch(..) | Term::Jump(_) | Term::Indirect(_) | Term::Trap(_) | Term::Stop(_) => {
            None
        }
    }
}
