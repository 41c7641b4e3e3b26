//! Tier 0: runs compiled operations one after the other. The reference for every other tier.

use crate::code::{Code, Hold, LONG_NEXT, Op, RESERVED, Uop, own_forms};
use crate::memory::{MemoryPath, Slow};
use crate::{Access, At, Env, NOT_RESERVED, Regs};
use omni_ir::{AtomicOp, Binary, Helper, Size, Trap, Width};
use std::sync::atomic::{Ordering, fence};

/// The bytes that a helper accesses at most, which writes memory in several steps.
const PAIR_BYTES: u64 = 16;

/// How a block was left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// By the exit of this number, having retired so many instructions.
    Left(usize, u64),
    /// To a computed address, at the block's end.
    Indirect(u64),
    /// Back to whoever runs the vCPU, to go on at this address; at the block's end.
    Stop(u64),
    /// The instruction of this number trapped.
    Trap(usize, Trap),
    /// Before the instruction of this number, which would be one too many.
    Limit(usize),
    /// An access asked to stop after its instruction, of this number; the operation of the second
    /// number is next.
    Yield(usize, usize),
    /// At the end of a step.
    Done,
}

/// How far a run goes: to the block's end.
pub(crate) const FREE: u8 = 0;
/// Up to an instruction.
pub(crate) const CAREFUL: u8 = 1;
/// Up to the operation `Run::end`.
pub(crate) const STEP: u8 = 2;

/// A block in the middle of being run.
pub(crate) struct Run<'a> {
    pub(crate) uops: &'a [Uop],
    pub(crate) code: &'a Code,
    /// Instructions retired before this block.
    pub(crate) ticks: u64,
    /// The operation that a step ends before.
    pub(crate) end: usize,
}

impl<'a> Run<'a> {
    /// All of a block, begun after so many ticks.
    pub(crate) fn of(code: &'a Code, ticks: u64) -> Self {
        Self { uops: &code.operations().uops, code, ticks, end: 0 }
    }

    fn at(&self, insn: u8) -> At {
        At { ticks: self.ticks + u64::from(insn), pc: self.code.pc(usize::from(insn)) }
    }
}

#[inline(always)]
fn sign(value: u64, bits: u32) -> u64 {
    ((value << (64 - bits)).cast_signed() >> (64 - bits)).cast_unsigned()
}

/// Declares the interpreter, with one arm per operation that has a form of its own.
macro_rules! interpreter {
    ($( $rr:ident $ri:ident = $binary:ident $width:ident; )*) => {
        /// Runs a block from its operation `first`. Where `CAREFUL`, no instruction from number
        /// `limit` on is begun.
        pub(crate) fn run<E: Env, const HOW: u8>(
            run: &Run<'_>,
            first: usize,
            limit: u64,
            regs: &mut Regs,
            mem: &mut MemoryPath<'_, E>,
        ) -> Outcome {
            let mut at = first;
            loop {
                if HOW == STEP && at == run.end {
                    return Outcome::Done;
                }
                let uop = &run.uops[at];
                at += 1;
                if HOW == CAREFUL && u64::from(uop.insn) >= limit {
                    // Not `uop.insn`: an instruction before it may have no operation at all.
                    return Outcome::Limit(limit as usize);
                }
                macro_rules! a { () => { regs.0[usize::from(uop.a)] } }
                macro_rules! b { () => { regs.0[usize::from(uop.b)] } }
                macro_rules! dst { () => { regs.0[usize::from(uop.dst)] } }
                // Ends the operation as an access that took the long way says.
                macro_rules! slow {
                    ($slow:expr, $v:ident => $use:expr) => {
                        match $slow {
                            Ok(Slow { value: $v, stop }) => {
                                dst!() = $use;
                                if stop {
                                    return Outcome::Yield(usize::from(uop.insn), at);
                                }
                            }
                            Err(trap) => return Outcome::Trap(usize::from(uop.insn), trap),
                        }
                    };
                }
                macro_rules! load {
                    ($int:ty, $size:expr, $v:ident => $use:expr) => {{
                        let address = a!().wrapping_add(uop.imm);
                        match mem.tlb.load::<{ size_of::<$int>() }>(address) {
                            Some(bytes) => {
                                let $v = u64::from(<$int>::from_le_bytes(bytes));
                                dst!() = $use;
                            }
                            None => slow!(mem.load(address, $size, run.at(uop.insn)), $v => $use),
                        }
                    }};
                }
                macro_rules! store {
                    ($int:ty, $size:expr) => {{
                        let address = a!().wrapping_add(uop.imm);
                        let value = b!();
                        if !mem.tlb.store(address, (value as $int).to_le_bytes()) {
                            match mem.store(address, $size, value, run.at(uop.insn)) {
                                Ok(false) => {}
                                Ok(true) => return Outcome::Yield(usize::from(uop.insn), at),
                                Err(trap) => return Outcome::Trap(usize::from(uop.insn), trap),
                            }
                        }
                    }};
                }
                macro_rules! branch {
                    ($holds:expr) => {
                        return Outcome::Left(usize::from(!$holds), u64::from(uop.insn) + 1)
                    };
                }
                match uop.op {
                    $(
                        Op::$rr => dst!() = Binary::$binary.eval(Width::$width, a!(), b!()),
                        Op::$ri => dst!() = Binary::$binary.eval(Width::$width, a!(), uop.imm),
                    )*
                    Op::Binary(op, width) => dst!() = binary(op, width, a!(), b!()),
                    Op::BinaryConst(op, width) => dst!() = binary(op, width, a!(), uop.imm),
                    Op::Const => dst!() = uop.imm,
                    Op::Address => dst!() = run.code.start.wrapping_add(uop.imm),
                    Op::Move => dst!() = a!(),
                    Op::Unary(op) => dst!() = op.eval(a!()),
                    Op::Select => {
                        let from = if a!() != 0 { uop.b } else { uop.c };
                        dst!() = regs.0[usize::from(from)];
                    }
                    Op::Deposit => dst!() = deposit(a!(), b!(), uop.imm),
                    Op::Load8 => load!(u8, Size::B1, v => v),
                    Op::Load16 => load!(u16, Size::B2, v => v),
                    Op::Load32 => load!(u32, Size::B4, v => v),
                    Op::Load64 => load!(u64, Size::B8, v => v),
                    Op::Load8S => load!(u8, Size::B1, v => sign(v, 8)),
                    Op::Load16S => load!(u16, Size::B2, v => sign(v, 16)),
                    Op::Load32S => load!(u32, Size::B4, v => sign(v, 32)),
                    Op::Store8 => store!(u8, Size::B1),
                    Op::Store16 => store!(u16, Size::B2),
                    Op::Store32 => store!(u32, Size::B4),
                    Op::Store64 => store!(u64, Size::B8),
                    Op::Atomic(op, size) => {
                        let (address, value) = (a!(), b!());
                        slow!(
                            mem.atomic(address, size, |old| {
                                Some(combine(op, size, old, value))
                            }),
                            old => old
                        );
                    }
                    Op::CompareSwap(size) => {
                        let (address, expect) = (a!(), sign(b!(), bits(size)));
                        let value = regs.0[usize::from(uop.c)];
                        slow!(
                            mem.atomic(address, size, |old| {
                                (old == expect).then_some(value)
                            }),
                            old => old
                        );
                    }
                    Op::LoadReserved(size, hold) => {
                        let loaded = load_reserved(mem, regs, a!(), size, hold);
                        slow!(loaded, old => old);
                    }
                    Op::StoreConditional(size, hold) => {
                        match store_conditional(mem, regs, (a!(), b!()), size, hold) {
                            Ok(Slow { value, stop }) => {
                                dst!() = value;
                                if stop {
                                    return Outcome::Yield(usize::from(uop.insn), at);
                                }
                            }
                            Err(trap) => return Outcome::Trap(usize::from(uop.insn), trap),
                        }
                    }
                    Op::Fence => fence(Ordering::SeqCst),
                    Op::Float(op, format) => {
                        let args = [a!(), b!(), regs.0[usize::from(uop.c)]];
                        let round = regs.0[(uop.imm & 0xff) as usize];
                        let flags = regs.0[usize::from(mem.float_flags.0)];
                        let (value, flags) = mem.float.eval((op, format), args, round, flags);
                        regs.0[usize::from(mem.float_flags.0)] = flags;
                        dst!() = value;
                    }
                    Op::Call => {
                        let args = [a!(), b!(), regs.0[usize::from(uop.c)]];
                        let helper = Helper((uop.imm & 0xffff) as u16);
                        let when = run.at(uop.insn);
                        match call(mem, helper, regs, args, when) {
                            Ok(Slow { value, stop }) => {
                                dst!() = value;
                                if stop {
                                    return Outcome::Yield(usize::from(uop.insn), at);
                                }
                            }
                            Err(trap) => return Outcome::Trap(usize::from(uop.insn), trap),
                        }
                    }
                    Op::ExitIf(cond) => {
                        if cond.holds(a!(), b!()) {
                            let leave = (uop.imm & 0xffff) as usize;
                            return Outcome::Left(leave, u64::from(uop.insn) + 1);
                        }
                    }
                    Op::Jump => {
                        return Outcome::Left(uop.imm as u16 as usize, u64::from(uop.insn) + 1);
                    }
                    Op::BranchEq => branch!(a!() == b!()),
                    Op::BranchNe => branch!(a!() != b!()),
                    Op::BranchLtS => branch!(a!().cast_signed() < b!().cast_signed()),
                    Op::BranchGeS => branch!(a!().cast_signed() >= b!().cast_signed()),
                    Op::BranchLtU => branch!(a!() < b!()),
                    Op::BranchGeU => branch!(a!() >= b!()),
                    Op::Indirect => return Outcome::Indirect(a!()),
                    Op::Trap => {
                        let trap = Trap { cause: a!(), value: uop.imm };
                        return Outcome::Trap(usize::from(uop.insn), trap);
                    }
                    Op::Stop => return Outcome::Stop(a!()),
                }
            }
        }
    };
}
own_forms!(interpreter);

/// Loads and reserves. Gives the value, sign-extended.
#[inline(never)]
fn load_reserved<E: Env>(
    mem: &mut MemoryPath<'_, E>,
    regs: &mut Regs,
    address: u64,
    size: Size,
    hold: Hold,
) -> Result<Slow, Trap> {
    let next_is_long = regs.0[usize::from(LONG_NEXT)] != 0;
    let slow = if hold == Hold::Long || hold == Hold::Short && next_is_long {
        mem.reserve(address, size)?
    } else {
        mem.load_aligned(address, size)?
    };
    let value = sign(slow.value, bits(size));
    regs.0[usize::from(mem.reservation.0)] = address;
    regs.0[usize::from(RESERVED)] = value;
    regs.0[usize::from(LONG_NEXT)] = 0;
    Ok(Slow { value, stop: slow.stop })
}

/// Stores if the reservation holds, which is over then. Gives zero if so, else one.
#[inline(never)]
fn store_conditional<E: Env>(
    mem: &mut MemoryPath<'_, E>,
    regs: &mut Regs,
    (address, value): (u64, u64),
    size: Size,
    hold: Hold,
) -> Result<Slow, Trap> {
    let reservation = usize::from(mem.reservation.0);
    let other = address != regs.0[reservation] || address == NOT_RESERVED;
    // The permission to store is asked for either way.
    let (slow, lost) = match hold {
        Hold::Turn => (mem.atomic(address, size, |_| (!other).then_some(value))?, other),
        Hold::Short => {
            let loaded = regs.0[usize::from(RESERVED)];
            let store = |old| (!other && old == loaded).then_some(value);
            let slow = mem.atomic(address, size, store)?;
            (slow, other || slow.value != loaded)
        }
        Hold::Long => {
            let (slow, lost) = mem.store_reserved(address, size, other, value)?;
            // A short reservation does not last as far as here: the next one must.
            regs.0[usize::from(LONG_NEXT)] = u64::from(lost && !other);
            (slow, lost)
        }
    };
    regs.0[reservation] = NOT_RESERVED;
    Ok(Slow { value: u64::from(lost), stop: slow.stop })
}

fn call<E: Env>(
    mem: &mut MemoryPath<'_, E>,
    helper: Helper,
    regs: &mut Regs,
    args: [u64; 3],
    when: At,
) -> Result<Slow, Trap> {
    if mem.env.wants_stillness(helper) {
        mem.stops.pass(args[0], PAIR_BYTES, Access::Load)?;
        mem.stops.pass(args[0], PAIR_BYTES, Access::Store)?;
        mem.lanes.still(mem.own);
    }
    let reply = mem.env.call(helper, regs, args, when)?;
    let changed = mem.hear();
    Ok(Slow { value: reply.value, stop: reply.stop || changed })
}

/// Out of line: the operations here are rare, and their tables would crowd the hot loop.
#[inline(never)]
fn binary(op: Binary, width: Width, a: u64, b: u64) -> u64 {
    op.eval(width, a, b)
}

fn deposit(base: u64, value: u64, place: u64) -> u64 {
    let (at, bits) = (place & 0xff, place >> 8);
    let ones = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    base & !(ones << at) | (value & ones) << at
}

/// The width of a size in bits, at most 64.
pub(crate) fn bits(size: Size) -> u32 {
    match size {
        Size::B1 => 8,
        Size::B2 => 16,
        Size::B4 => 32,
        Size::B8 | Size::B16 => 64,
    }
}

/// What an atomic operation leaves in memory. The old value is sign-extended from its size.
fn combine(op: AtomicOp, size: Size, old: u64, value: u64) -> u64 {
    match op {
        AtomicOp::Swap => value,
        AtomicOp::Binary(op) => {
            let bits = bits(size);
            let unsigned = matches!(op, Binary::MinU | Binary::MaxU) && bits < 64;
            let narrow = |v: u64| if unsigned { v & ((1 << bits) - 1) } else { sign(v, bits) };
            op.eval(Width::Full, narrow(old), narrow(value))
        }
    }
}
