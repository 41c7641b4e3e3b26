//! The interpreter: one loop over the register form.
//!
//! The count of ticks is a sum of two numbers: the origin, and how far along the text of the
//! function the instruction is. Straight on, only the second grows, and it is not even looked at;
//! a branch adds to the origin what makes up for its leap. So a run costs a comparison at each
//! branch, of the origin with a limit that leaves room for the whole of the function. Where there
//! is less room the careful form of the loop looks at each instruction.
#![allow(clippy::wildcard_enum_match_arm, reason = "the far forms are loads and stores only")]

use crate::code::{Code, FRAME_SLOTS};
use crate::numeric::{self, Bits, Float};
use crate::ops::{Op, ops};
use crate::reference::Reference;
use crate::state::{FRAMES_MAX, Frame, STACK_SLOTS, State};
use crate::store::{NOWHERE, Store};
use crate::trap::Trap;
use crate::vector;
use omni_memory::Space;

/// Why the loop was left. But for `Done`, the next instruction is as in the state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// The limit was met at a branch, or a function was entered that has machine code.
    Limit,
    /// The next instruction would end after the last tick.
    Reached,
    /// The next instruction is done outside of the loop.
    Cold,
    /// The next instruction calls this function of the host; where its arguments are.
    Host { func: u32, first: u32 },
    /// The next instruction calls this function, which is not compiled yet.
    Uncompiled(u32),
    /// The next instruction traps.
    Trap(Trap),
    /// The outermost function has returned; its results are in the first slots.
    Done,
}

/// How far to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The last tick.
    pub(crate) until: i64,
    /// Where the loop is left to look whether somebody wants it to stop.
    pub(crate) soon: i64,
}

#[inline(always)]
fn two<T: Bits, R: Bits>(what: impl Fn(T, T) -> R, a: u64, b: u64) -> u64 {
    what(T::of(a), T::of(b)).bits()
}

#[inline(always)]
fn one<T: Bits, R: Bits>(what: impl Fn(T) -> R, a: u64) -> u64 {
    what(T::of(a)).bits()
}

/// A small constant of a comparison, in a slot.
#[inline(always)]
fn small(b: u16) -> u64 {
    i64::from(b.cast_signed()).cast_unsigned()
}

#[inline(always)]
fn window(stack: &mut [u64], base: usize) -> &mut [u64; FRAME_SLOTS] {
    stack[base..].first_chunk_mut().expect("the stack has room for a frame above all frames")
}

macro_rules! load {
    ($space:expr, $at:expr, $ty:ident, $wide:ident) => {
        match $space.flat_load::<{ size_of::<$ty>() }>($at) {
            Some(bytes) => Some($wide::from($ty::from_le_bytes(bytes)).bits()),
            None => None,
        }
    };
}

macro_rules! store {
    ($space:expr, $at:expr, $ty:ident, $slot:expr) => {
        // Cut on purpose: a store writes the low bytes.
        $space.flat_store($at, ($slot as $ty).to_le_bytes())
    };
}

/// A memory by its number.
#[inline(always)]
pub(crate) fn pick<'a>(mem: &'a mut Space, far: &'a mut [Space], number: usize) -> &'a mut Space {
    match number.checked_sub(1) {
        None => mem,
        Some(number) => &mut far[number],
    }
}

impl Store {
    /// Runs from the state's instruction on. In the careful form, never past `until`.
    pub(crate) fn exec<const CAREFUL: bool>(&mut self, bounds: Bounds) -> Exit {
        let Self { code: codes, state, memory, funcs, types, native, .. } = self;
        let (mem, far) = memory.spaces.split_first_mut().expect("there is always a space");
        let State { stack, frames, globals, tables, at, .. } = state;
        let mut func = at.func;
        let mut pc = at.pc as usize;
        let mut base = at.base as usize;
        let mut origin = at.origin;
        let Some(Some(first)) = codes.get(func as usize) else { return Exit::Uncompiled(func) };
        let mut code: &Code = first;
        let mut fr = window(stack, base);
        let mut limit = bounds.soon.min(bounds.until.saturating_sub(code.total()));
        macro_rules! leave {
            ($pc:expr, $exit:expr) => {{
                at.func = func;
                at.pc = $pc as u32;
                at.base = base as u32;
                at.origin = origin;
                return $exit;
            }};
        }
        macro_rules! trap {
            ($trap:expr) => {
                leave!(pc - 1, Exit::Trap($trap))
            };
        }
        macro_rules! take {
            ($insn:expr) => {{
                pc = $insn.target();
                origin = origin.wrapping_add($insn.ticks());
                if !CAREFUL && origin > limit {
                    leave!(pc, Exit::Limit);
                }
            }};
        }
        // Goes on in another function, whose frame is at `base`.
        macro_rules! enter {
            ($number:expr, $next:expr, $ticks:expr) => {{
                code = $next;
                func = $number;
                origin = $ticks;
                limit = bounds.soon.min(bounds.until.saturating_sub(code.total()));
                if !CAREFUL && (origin > limit || native.has(func)) {
                    leave!(pc, Exit::Limit);
                }
            }};
        }
        macro_rules! call {
            ($number:expr, $first:expr) => {{
                let number: u32 = $number;
                let first = base + usize::from($first);
                let Some(Some(next)) = codes.get(number as usize) else {
                    match funcs.get(number as usize).map(|func| func.is_host()) {
                        Some(true) => {
                            leave!(pc - 1, Exit::Host { func: number, first: first as u32 })
                        }
                        Some(false) => leave!(pc - 1, Exit::Uncompiled(number)),
                        None => trap!(Trap::UndefinedElement),
                    }
                };
                let next: &Code = next;
                if first + usize::from(next.slots) > STACK_SLOTS || frames.len() >= FRAMES_MAX {
                    trap!(Trap::Stack);
                }
                let now = origin.wrapping_add(code.ends[pc - 1].into());
                frames.push(Frame { func, pc: pc as u32, base: base as u32 });
                base = first;
                pc = 0;
                fr = window(stack, base);
                fr[usize::from(next.params)..usize::from(next.slots)].fill(0);
                enter!(number, next, now);
            }};
        }
        // Takes the place of the caller's frame.
        macro_rules! tail_call {
            ($number:expr, $first:expr, $count:expr) => {{
                let number: u32 = $number;
                let Some(Some(next)) = codes.get(number as usize) else {
                    match funcs.get(number as usize).map(|func| func.is_host()) {
                        Some(true) => {
                            let first = base + usize::from($first);
                            leave!(pc - 1, Exit::Host { func: number, first: first as u32 })
                        }
                        Some(false) => leave!(pc - 1, Exit::Uncompiled(number)),
                        None => trap!(Trap::UndefinedElement),
                    }
                };
                let next: &Code = next;
                if base + usize::from(next.slots) > STACK_SLOTS {
                    trap!(Trap::Stack);
                }
                let now = origin.wrapping_add(code.ends[pc - 1].into());
                let first = usize::from($first);
                fr.copy_within(first..first + usize::from($count), 0);
                fr[usize::from(next.params)..usize::from(next.slots).max(usize::from(code.slots))]
                    .fill(0);
                pc = 0;
                enter!(number, next, now);
            }};
        }
        // Results are given once it is sure that the instruction is not run again for them: what
        // they are made of may be where they go.
        macro_rules! back {
            ($give:expr) => {{
                let now = origin.wrapping_add(code.ends[pc - 1].into());
                let Some(frame) = frames.last().copied() else {
                    $give;
                    // Nothing of the function is left, so that all that have ended are the same.
                    (func, base, origin) = (NOWHERE, 0, now);
                    leave!(0, Exit::Done);
                };
                let Some(Some(next)) = codes.get(frame.func as usize) else {
                    // It was dropped while it waited.
                    leave!(pc - 1, Exit::Uncompiled(frame.func));
                };
                $give;
                frames.pop();
                pc = frame.pc as usize;
                base = frame.base as usize;
                fr = window(stack, base);
                enter!(frame.func, next, now.wrapping_sub(next.done_before(pc)));
            }};
        }
        // The function that an element of a table calls, of the right type.
        macro_rules! indirect {
            ($insn:expr) => {{
                let table = &tables[($insn.imm as u32) as usize];
                let index = fr[usize::from($insn.b)];
                let Some(slot) = usize::try_from(index).ok().and_then(|i| table.slots.get(i))
                else {
                    trap!(Trap::UndefinedElement)
                };
                let Some(number) = Reference(*slot).as_function() else {
                    trap!(Trap::UninitializedElement)
                };
                let want = ($insn.imm >> 32) as u32;
                match funcs.get(number as usize) {
                    Some(func) if func.ty == want || types.is_defined(func.ty, want) => number,
                    _ => trap!(Trap::IndirectType),
                }
            }};
        }
        macro_rules! interpret {
            (
                pure2 { $($p2:ident $p2i:ident swaps $swaps:literal ($p2t:ty) $p2f:expr;)* }
                test2 { $($t2:ident $t2i:ident $t2b:ident $t2bi:ident swap $sw:ident not $no:ident
                    ($t2t:ty) $t2f:tt;)* }
                fail2 { $($f2:ident $f2i:ident ($f2t:ty) $f2f:ident;)* }
                float2 { $($l2:ident ($l2t:ty => $l2r:ty) $l2f:expr;)* }
                pure1 { $($p1:ident ($p1t:ty => $p1r:ty) $p1f:expr;)* }
                fail1 { $($f1:ident ($f1t:ty) $f1f:ident;)* }
                load { $($ld:ident $ldt:ident $ldr:ident;)* }
                store { $($st:ident $stt:ident;)* }
                own { $($own:ident)* }
            ) => {
                loop {
                    if CAREFUL {
                        if origin.wrapping_add(code.ends[pc].into()) > bounds.until {
                            leave!(pc, Exit::Reached);
                        }
                    }
                    let insn = code.insns[pc];
                    pc += 1;
                    let (d, a, b) = (usize::from(insn.d), usize::from(insn.a), usize::from(insn.b));
                    match insn.op {
                        $(Op::$p2 => fr[d] = two::<$p2t, _>($p2f, fr[a], fr[b]),
                        Op::$p2i => fr[d] = two::<$p2t, _>($p2f, fr[a], insn.imm),)*
                        $(Op::$t2 => {
                            fr[d] = (<$t2t>::of(fr[a]) $t2f <$t2t>::of(fr[b])).bits();
                        }
                        Op::$t2i => {
                            fr[d] = (<$t2t>::of(fr[a]) $t2f <$t2t>::of(insn.imm)).bits();
                        }
                        Op::$t2b => {
                            if <$t2t>::of(fr[a]) $t2f <$t2t>::of(fr[b]) {
                                take!(insn);
                            }
                        }
                        Op::$t2bi => {
                            if <$t2t>::of(fr[a]) $t2f <$t2t>::of(small(insn.b)) {
                                take!(insn);
                            }
                        })*
                        $(Op::$f2 => match numeric::$f2f(<$f2t>::of(fr[a]), <$f2t>::of(fr[b])) {
                            Ok(value) => fr[d] = value.bits(),
                            Err(trap) => trap!(trap),
                        },
                        Op::$f2i => match numeric::$f2f(<$f2t>::of(fr[a]), <$f2t>::of(insn.imm)) {
                            Ok(value) => fr[d] = value.bits(),
                            Err(trap) => trap!(trap),
                        },)*
                        $(Op::$l2 => fr[d] = two::<$l2t, $l2r>($l2f, fr[a], fr[b]),)*
                        $(Op::$p1 => fr[d] = one::<$p1t, $p1r>($p1f, fr[a]),)*
                        $(Op::$f1 => match numeric::$f1f(<$f1t>::of(fr[a])) {
                            Ok(value) => fr[d] = value.bits(),
                            Err(trap) => trap!(trap),
                        },)*
                        $(Op::$ld => match load!(mem, fr[a].wrapping_add(insn.imm), $ldt, $ldr) {
                            Some(value) => fr[d] = value,
                            None => trap!(Trap::Memory),
                        },)*
                        $(Op::$st => {
                            let at = fr[a].wrapping_add(insn.imm);
                            if store!(mem, at, $stt, fr[b]).is_none() {
                                trap!(Trap::Memory);
                            }
                        })*
                        Op::LoadFar | Op::StoreFar => {
                            let next = code.insns[pc];
                            let Some(at) = fr[a].checked_add(insn.imm) else {
                                trap!(Trap::Memory)
                            };
                            let space = pick(mem, far, next.imm as usize);
                            let done = match next.op {
                                $(Op::$ld => {
                                    load!(space, at, $ldt, $ldr).map(|value| fr[d] = value)
                                })*
                                $(Op::$st => store!(space, at, $stt, fr[b]),)*
                                _ => None,
                            };
                            if done.is_none() {
                                trap!(Trap::Memory);
                            }
                            pc += 1;
                        }
                        Op::Copy => fr[d] = fr[a],
                        Op::Const => fr[d] = insn.imm,
                        Op::CopyWide => {
                            let (low, high) = (fr[a], fr[a + 1]);
                            (fr[d], fr[d + 1]) = (low, high);
                        }
                        Op::Br => take!(insn),
                        Op::BrIf => {
                            if fr[a] != 0 {
                                take!(insn);
                            }
                        }
                        Op::BrUnless | Op::BrNull => {
                            if fr[a] == 0 {
                                take!(insn);
                            }
                        }
                        Op::BrNonNull => {
                            if fr[a] != 0 {
                                take!(insn);
                            }
                        }
                        Op::BrTable => {
                            let index = fr[a].min(insn.imm) as usize;
                            let target = code.insns[pc + index];
                            take!(target);
                        }
                        Op::Select => {
                            fr[d] = if fr[(insn.imm as u16) as usize] != 0 { fr[a] } else { fr[b] };
                        }
                        Op::SelectWide => {
                            let from = if fr[(insn.imm as u16) as usize] != 0 { a } else { b };
                            let (low, high) = (fr[from], fr[from + 1]);
                            (fr[d], fr[d + 1]) = (low, high);
                        }
                        Op::Return => back!(fr.copy_within(a..a + b, 0)),
                        Op::ReturnOne => back!(fr[0] = fr[a]),
                        Op::ReturnConst => back!(fr[0] = insn.imm),
                        Op::Call => call!(insn.imm as u32, insn.a),
                        Op::CallIndirect => {
                            let number = indirect!(insn);
                            call!(number, insn.a);
                        }
                        Op::CallRef => match Reference(fr[b]).as_function() {
                            Some(number) => call!(number, insn.a),
                            None => trap!(Trap::NullFunction),
                        },
                        Op::TailCall => tail_call!(insn.imm as u32, insn.a, insn.b),
                        Op::TailCallIndirect => {
                            let number = indirect!(insn);
                            tail_call!(number, insn.a, insn.d);
                        }
                        Op::TailCallRef => match Reference(fr[b]).as_function() {
                            Some(number) => tail_call!(number, insn.a, insn.d),
                            None => trap!(Trap::NullFunction),
                        },
                        Op::Trap => trap!(Trap::Unreachable),
                        Op::GlobalGet => fr[d] = globals[insn.imm as usize],
                        Op::GlobalSet => globals[insn.imm as usize] = fr[a],
                        Op::GlobalGetWide => {
                            fr[d] = globals[insn.imm as usize];
                            fr[d + 1] = globals[insn.imm as usize + 1];
                        }
                        Op::GlobalSetWide => {
                            globals[insn.imm as usize] = fr[a];
                            globals[insn.imm as usize + 1] = fr[a + 1];
                        }
                        Op::TableGet => {
                            let table = &tables[insn.imm as usize];
                            match usize::try_from(fr[a]).ok().and_then(|i| table.slots.get(i)) {
                                Some(slot) => fr[d] = *slot,
                                None => trap!(Trap::Table),
                            }
                        }
                        Op::TableSet => {
                            let table = &mut tables[insn.imm as usize];
                            let slot = usize::try_from(fr[a]).ok();
                            match slot.and_then(|i| table.slots.get_mut(i)) {
                                Some(slot) => *slot = fr[b],
                                None => trap!(Trap::Table),
                            }
                        }
                        Op::NonNull => {
                            if fr[a] == 0 {
                                trap!(Trap::NullReference);
                            }
                            fr[d] = fr[a];
                        }
                        Op::Vector | Op::VectorLoad | Op::VectorStore => {
                            // One call, and little that it is given: more makes the loop slower.
                            if !vector::step(&code.vectors, &code.insns[pc - 1], fr, mem, far) {
                                trap!(Trap::Memory);
                            }
                        }
                        Op::Cold => leave!(pc - 1, Exit::Cold),
                        // A part of the instruction before, which goes past it.
                        Op::Target => trap!(Trap::Unreachable),
                    }
                }
            };
        }
        if !CAREFUL && origin > limit {
            leave!(pc, Exit::Limit);
        }
        ops!(interpret)
    }
}
