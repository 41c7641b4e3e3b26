//! Calls, returns and frames, as IR (the specification, section 1.3).

use crate::fault::Fault;
use crate::lower::{Lower, STACK_AT, TAG_STEP, helper, slot, tag, word};
use omni_engine::{Code, Flow};
use omni_ir::{Binary, Cond, Size, Slot, Unary, Val};

/// Locals of a function that is entered without a helper.
const LOCALS_MAX: usize = 48;

/// The lists of locals of a function: how large each is, where each is in the frame.
pub(crate) struct Locals {
    /// The lists as they are in the header, without the end.
    pub(crate) pairs: Vec<[u8; 2]>,
    /// Offset from the first local, and size.
    pub(crate) places: Vec<(u32, u32)>,
    /// Bytes from the frame to the first local, and to the first value.
    pub(crate) bounds: (u32, u32),
}

impl Locals {
    /// By the pairs of a header (section 1.6.2).
    pub(crate) fn of(pairs: Vec<[u8; 2]>) -> Option<Self> {
        let head = 2 * (pairs.len() as u32 + 1);
        let first = 8 + head.next_multiple_of(4);
        let (mut places, mut end) = (Vec::new(), 0u32);
        for [size, count] in &pairs {
            let size = u32::from(*size);
            if ![1, 2, 4].contains(&size) {
                return None;
            }
            end = end.next_multiple_of(size);
            for _ in 0..*count {
                places.push((end, size));
                end += size;
            }
        }
        Some(Self { pairs, places, bounds: (first, first + end.next_multiple_of(4)) })
    }

    /// The frame up to its locals.
    pub(crate) fn head(&self) -> Vec<u8> {
        let (first, end) = self.bounds;
        let mut head = end.to_be_bytes().to_vec();
        head.extend_from_slice(&first.to_be_bytes());
        head.extend(self.pairs.iter().flatten());
        head.resize(first as usize, 0);
        head
    }
}

impl Lower<'_> {
    /// What is done at an address with a tag.
    pub(crate) fn special(mut self, tag: u64, code: &Code) -> Flow {
        match tag {
            tag::MEMORY => self.store_memory(Size::B4, slot::DEST.into(), slot::RESULT.into()),
            tag::LOCAL => {
                let at = self.wide(Binary::Add, slot::LOCALS.into(), slot::DEST.into());
                self.store_at(Size::B4, at, 0, slot::RESULT.into());
            }
            tag::PUSH => self.push(slot::RESULT.into()),
            tag::CODE => {}
            tag::STRING | tag::NUMBER | tag::C_STRING | tag::WIDE_STRING => {
                let args = [Val::Const(tag), word(self.pc), slot::DEST.into()];
                let to = self.call_helper(helper::RESUME, args);
                self.b.indirect(to);
                return Flow::End;
            }
            tag::ENTER..tag::UNDERFLOW => return self.enter((tag - tag::ENTER) as u8, code),
            tag::UNDERFLOW => return self.fault(Fault::Underflow),
            tag::DIVIDE => return self.fault(Fault::Divide),
            tag if tag & !1 == tag::RETURN => {
                self.leave(Val::Const(tag & 1), slot::FP.into());
                return Flow::End;
            }
            _ => return self.fault(Fault::Stub),
        }
        self.sync();
        self.go(0, word(self.pc));
        Flow::End
    }

    /// Calls a function: arguments are on their way, and what was popped is gone.
    pub(crate) fn call(&mut self, function: Val, args: &[Val], dest: (u32, u32)) {
        self.push_stub(dest, self.next());
        self.sync();
        for (nth, arg) in (slot::ARGS..).zip(args) {
            self.b.put(Slot(nth), *arg);
        }
        self.go(tag::ENTER + args.len() as u64, function);
    }

    /// Calls a function in the place of the one that runs.
    pub(crate) fn tail_call(&mut self, function: Val, args: &[Val]) {
        (self.popped, self.pushed) = (0, 0);
        self.b.put(slot::SP, slot::FP);
        for (nth, arg) in (slot::ARGS..).zip(args) {
            self.b.put(Slot(nth), *arg);
        }
        self.go(tag::ENTER + args.len() as u64, function);
    }

    /// Pushes what a return needs (section 1.3.2).
    pub(crate) fn push_stub(&mut self, dest: (u32, u32), to: u32) {
        let offset = self.pushed - self.popped;
        if self.popped > 0 {
            // What was popped lies where the stub goes.
            self.probe(Size::B8, slot::SP.into(), offset + 8);
        }
        self.pushed += 16;
        let (sort, at) = dest;
        let first = Val::Const(u64::from(sort) << 32 | u64::from(at));
        self.store_at(Size::B8, slot::SP.into(), offset, first);
        let frame = self.wide(Binary::Sub, slot::FP.into(), Val::Const(STACK_AT));
        let second = self.wide(Binary::Or, frame, Val::Const(u64::from(to) << 32));
        self.store_at(Size::B8, slot::SP.into(), offset + 8, second);
    }

    /// Returns a value by the stub that ends at an address of the stack.
    pub(crate) fn leave(&mut self, value: Val, end: Val) {
        let dest = self.load_at(Size::B8, end, -16);
        let place = self.load_at(Size::B8, end, -8);
        let frame = self.unary(Unary::Zext32, place);
        let frame = self.wide(Binary::Add, frame, Val::Const(STACK_AT));
        let bounds = self.load_at(Size::B8, frame, 0);
        let (locals, values) =
            (self.unary(Unary::Zext32, bounds), self.wide(Binary::Shr, bounds, Val::Const(32)));
        let sort = self.wide(Binary::Shr, dest, Val::Const(32));
        let sort = self.wide(Binary::MinU, sort, Val::Const(tag::BAD));
        let sort = self.wide(Binary::Mul, sort, Val::Const(TAG_STEP));
        let pc = self.wide(Binary::Shr, place, Val::Const(32));
        let to = self.wide(Binary::Add, pc, sort);
        let to = self.wide(Binary::Add, to, Val::Const(self.front.delta.into()));
        self.b.put(slot::RESULT, value);
        self.b.binary(Binary::Sub, slot::SP, end, 16);
        self.b.put(slot::FP, frame);
        self.b.binary(Binary::Add, slot::LOCALS, frame, locals);
        self.b.binary(Binary::Add, slot::VALUES, frame, values);
        self.b.unary(Unary::Zext32, slot::DEST, dest);
        self.b.indirect(to);
    }

    /// The header of a function: makes its frame.
    fn enter(&mut self, count: u8, code: &Code) -> Flow {
        if let Some(number) = self.front.accelerated.get(&self.pc) {
            let args = [word(*number), word(count.into()), Val::Const(0)];
            let to = self.call_helper(helper::ACCELERATED, args);
            self.b.indirect(to);
            return Flow::End;
        }
        let sort = code.bytes[0];
        if !matches!(sort, 0xc0 | 0xc1) {
            return self.fault(Fault::NotFunction);
        }
        let mut pairs = Vec::new();
        for at in (1..).step_by(2) {
            if at + 2 > code.bytes.len() {
                return self.enter_slowly(count);
            }
            if at + 2 > code.count {
                return Flow::More;
            }
            let pair = [code.bytes[at], code.bytes[at + 1]];
            if pair == [0, 0] {
                self.length = at as u32 + 2;
                break;
            }
            pairs.push(pair);
        }
        let Some(locals) = Locals::of(pairs) else { return self.fault(Fault::Locals) };
        if locals.places.len() > LOCALS_MAX {
            return self.enter_slowly(count);
        }
        self.make_frame(&locals, count, sort == 0xc0);
        self.go(0, word(self.next()));
        Flow::End
    }

    fn enter_slowly(&mut self, count: u8) -> Flow {
        let args = [word(self.pc), word(count.into()), Val::Const(0)];
        let to = self.call_helper(helper::ENTER, args);
        self.b.indirect(to);
        Flow::End
    }

    fn make_frame(&mut self, locals: &Locals, count: u8, on_stack: bool) {
        let sp = Val::from(slot::SP);
        let (first, end) = locals.bounds;
        let mut head = locals.head();
        let arg = |nth: usize| Val::Slot(Slot(slot::ARGS + nth as u8));
        let given = if on_stack { 0 } else { locals.places.len().min(count.into()) };
        // What no argument fills is zero, eight bytes at a time where that is all of them.
        let filled = locals.places.get(given).map_or(end - first, |(at, _)| *at);
        let zeros = (first + filled) / 4 * 4;
        head.resize(end as usize, 0);
        let mut at = 0;
        while at < end {
            if at >= first && at < zeros {
                at += 4;
                continue;
            }
            let size = if at + 8 <= end && (at + 8 <= first || at >= zeros) { 8 } else { 4 };
            let bytes = &head[at as usize..][..size as usize];
            let value = bytes.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
            let width = if size == 8 { Size::B8 } else { Size::B4 };
            self.store_at(width, sp, at.cast_signed(), Val::Const(value));
            at += size;
        }
        for (nth, (at, size)) in locals.places[..given].iter().enumerate() {
            let size = match size {
                1 => Size::B1,
                2 => Size::B2,
                _ => Size::B4,
            };
            self.store_at(size, sp, (first + at).cast_signed(), arg(nth));
        }
        let mut top = end;
        if on_stack {
            let pushed = (0..usize::from(count)).rev().map(arg).chain([word(count.into())]);
            for value in pushed {
                self.store_at(Size::B4, sp, top.cast_signed(), value);
                top += 4;
            }
        }
        self.b.put(slot::FP, sp);
        self.b.binary(Binary::Add, slot::LOCALS, sp, u64::from(first));
        self.b.binary(Binary::Add, slot::VALUES, sp, u64::from(end));
        self.b.binary(Binary::Add, slot::SP, sp, u64::from(top));
    }

    /// Goes where the operand of a branch says, if a comparison holds.
    pub(crate) fn branch(&mut self, nth: usize, cond: Cond, a: Val, b: Val) {
        let by = self.arg(nth);
        self.sync();
        let or = self.next_code();
        match by {
            Val::Const(by) => {
                let to = self.target(by as u32);
                self.b.branch(cond, a, b, to, or);
            }
            Val::Slot(_) => {
                let to = self.computed_target(by);
                let holds = self.holds(cond, a, b);
                let chosen = self.temp();
                self.b.select(chosen, holds, to, Val::Const(or));
                self.b.indirect(chosen);
            }
        }
    }

    /// Goes where the operand of a branch says.
    pub(crate) fn jump(&mut self, nth: usize) {
        let by = self.arg(nth);
        self.jump_by(by);
    }

    /// Goes as far as a branch with this operand.
    pub(crate) fn jump_by(&mut self, by: Val) {
        self.sync();
        match by {
            Val::Const(by) => self.b.jump(self.target(by as u32)),
            Val::Slot(_) => {
                let to = self.computed_target(by);
                self.b.indirect(to);
            }
        }
    }

    fn target(&self, by: u32) -> u64 {
        match by {
            0 | 1 => self.front.at(tag::RETURN + u64::from(by), self.pc),
            _ => self.front.at(0, self.next().wrapping_add(by).wrapping_sub(2)),
        }
    }

    fn computed_target(&mut self, by: Val) -> Val {
        let near = self.binary(Binary::Add, by, word(self.next().wrapping_sub(2)));
        let near = self.wide(Binary::Add, near, Val::Const(self.front.at(0, 0)));
        let back = self.wide(Binary::Mul, by, Val::Const(TAG_STEP));
        let back = self.wide(Binary::Add, back, Val::Const(self.front.at(tag::RETURN, self.pc)));
        let returns = self.wide(Binary::LtU, by, Val::Const(2));
        let to = self.temp();
        self.b.select(to, returns, back, near);
        to.into()
    }

    fn holds(&mut self, cond: Cond, a: Val, b: Val) -> Val {
        let (op, negated) = match cond {
            Cond::Eq => (Binary::Eq, false),
            Cond::Ne => (Binary::Ne, false),
            Cond::LtS => (Binary::LtS, false),
            Cond::GeS => (Binary::LtS, true),
            Cond::LtU => (Binary::LtU, false),
            Cond::GeU => (Binary::LtU, true),
        };
        let holds = self.wide(op, a, b);
        if negated { self.wide(Binary::Xor, holds, Val::Const(1)) } else { holds }
    }
}
