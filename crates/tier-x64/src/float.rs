//! Floating point on the host's FPU, with the guest's bits and flags.
//!
//! MXCSR collects the exceptions, and rounds to nearest at all times: a block that finds another
//! rounding mode leaves its rest to the interpreter. A result that is not a number is made
//! canonical out of line. Whatever the host does otherwise than IEEE 754 and the guest's manual
//! ask (conversions out of range, equal operands of a minimum, NaNs in fused operations) is a step.

use crate::FloatRule;
use crate::asm::{Alu, Cc, Gpr, Jump, Mem, RAX, RBP, RCX, Shift, W, Xmm};
use crate::block::{Emit, Stub};
use crate::control;
use crate::map::Loc;
use omni_ir::{Binary, FloatOp, Format, Inst, Slot, Unary, Val, Width};

/// What operations work in.
const WORK: Xmm = Xmm(15);
pub(crate) const SPARE: [Xmm; 3] = [Xmm(13), Xmm(14), Xmm(15)];

/// Opcodes of scalar operations.
mod opcode {
    pub(super) const SQRT: u8 = 0x51;
    pub(super) const ADD: u8 = 0x58;
    pub(super) const MUL: u8 = 0x59;
    pub(super) const CONVERT: u8 = 0x5a;
    pub(super) const SUB: u8 = 0x5c;
    pub(super) const MIN: u8 = 0x5d;
    pub(super) const DIV: u8 = 0x5e;
    pub(super) const MAX: u8 = 0x5f;
    pub(super) const AND: u8 = 0x54;
    pub(super) const OR: u8 = 0x56;
    pub(super) const QUIET: u8 = 0x2e;
    pub(super) const SIGNAL: u8 = 0x2f;
}

/// An operand: what a guest instruction makes of a slot before the operation.
#[derive(Clone, Copy, Debug)]
struct Source {
    val: Val,
    /// It is a single out of its box.
    unboxed: bool,
    /// The bits that are inverted.
    inverted: u64,
}

impl Source {
    fn negated(&self) -> bool {
        self.inverted != 0
    }

    /// Whether it is the slot.
    fn reads(&self, slot: Slot) -> bool {
        self.val == slot.into()
    }
}

/// A guest instruction of one floating-point operation.
#[derive(Clone, Copy, Debug)]
struct Pattern {
    op: FloatOp,
    format: Format,
    args: [Source; 3],
    round: Val,
    dst: Slot,
    /// The result goes into a box.
    boxes: bool,
    /// The first of its operations, and one past the last.
    first: usize,
    end: usize,
}

impl Pattern {
    /// Whether singles, and nothing else, are in boxes on both sides: then the upper half of a
    /// host register goes through the operation as it is.
    fn boxes_are_usual(&self, double: bool) -> bool {
        use FloatOp::{FromI32, FromI64, FromU32, FromU64};
        let from_integer = matches!(self.op, FromI32 | FromI64 | FromU32 | FromU64);
        let single = if let FloatOp::ToFloat(to) = self.op {
            to == Format::F32
        } else {
            !double && !gives_integer(self.op)
        };
        let unboxed = !double && !from_integer;
        // The upper half of a result is the first operand's.
        let has_upper = !unboxed || matches!(self.args[0].val, Val::Slot(_));
        let mut slots = self.args.iter().filter(|arg| matches!(arg.val, Val::Slot(_)));
        self.boxes == single && has_upper && slots.all(|arg| arg.unboxed == unboxed)
    }
}

fn gives_integer(op: FloatOp) -> bool {
    use FloatOp::{
        Class, EqQuiet, LeQuiet, LeSignal, LtQuiet, LtSignal, ToI32, ToI32Modular, ToI64, ToU32,
        ToU64,
    };
    matches!(
        op,
        EqQuiet
            | LtQuiet
            | LeQuiet
            | LtSignal
            | LeSignal
            | Class
            | ToI32
            | ToU32
            | ToI64
            | ToU64
            | ToI32Modular
    )
}

#[allow(clippy::wildcard_enum_match_arm, reason = "what is not one of a few operations")]
impl Emit<'_> {
    /// Makes a whole guest instruction that begins at the present operation, if it is one
    /// floating-point operation that the host can do. Says whether it was.
    pub(crate) fn float_instruction(&mut self) -> bool {
        if self.tier.float == FloatRule::Step {
            return false;
        }
        let Some(pattern) = self.pattern() else { return false };
        let made = self.native(&pattern);
        if made && !matches!(pattern.op, FloatOp::LtSignal | FloatOp::LeSignal) {
            self.flags_in = None;
        }
        if made {
            self.inst = pattern.end;
        }
        made
    }

    /// The guest instruction as `unbox* negate* float (move | box)?`.
    fn pattern(&self) -> Option<Pattern> {
        let rest = &self.block.insts[self.inst..];
        let plain = |val| Source { val, unboxed: false, inverted: 0 };
        let mut made: Vec<(Slot, Source)> = vec![];
        let find = |made: &[(Slot, Source)], val: Val| match val {
            Val::Slot(slot) => made
                .iter()
                .rfind(|(temp, _)| *temp == slot)
                .map_or(plain(val), |(_, source)| *source),
            Val::Const(_) => plain(val),
        };
        for (nth, inst) in rest.iter().enumerate() {
            match *inst {
                Inst::Unary(Unary::Unbox32, dst, Val::Slot(from))
                    if dst.is_temp() && !from.is_temp() =>
                {
                    made.push((dst, Source { unboxed: true, ..plain(from.into()) }));
                }
                Inst::Binary(Binary::Xor, Width::Full, dst, val @ Val::Slot(_), Val::Const(by))
                    if dst.is_temp() =>
                {
                    let source = find(&made, val);
                    made.push((dst, Source { inverted: source.inverted ^ by, ..source }));
                }
                Inst::Float { op, format, dst, args, round } => {
                    let args = args.map(|val| find(&made, val));
                    let sign = if format == Format::F64 { 1 << 63 } else { 1 << 31 };
                    let (dst, boxes, end) = self.destination(dst, self.inst + nth + 1)?;
                    let usual = args.iter().all(|arg| !arg.negated() || arg.inverted == sign);
                    let flags =
                        dst == self.tier.flags || args.iter().any(|arg| arg.reads(self.tier.flags));
                    let read = made.iter().any(|(temp, _)| self.is_read(*temp, end));
                    if !usual || flags || read {
                        return None;
                    }
                    let first = self.inst;
                    return Some(Pattern { op, format, args, round, dst, boxes, first, end });
                }
                _ => return None,
            }
        }
        None
    }

    /// The slot that a result ends in, whether in a box, and the end of the operations that put it
    /// there, which are from `at` on.
    fn destination(&self, dst: Slot, at: usize) -> Option<(Slot, bool, usize)> {
        if !dst.is_temp() || self.is_plain() {
            return Some((dst, false, at));
        }
        let (to, boxes) = match *self.block.insts.get(at)? {
            Inst::Unary(Unary::Move, to, Val::Slot(from)) if from == dst => (to, false),
            Inst::Unary(Unary::Box32, to, Val::Slot(from)) if from == dst => (to, true),
            _ => return None,
        };
        (!to.is_temp() && !self.is_read(dst, at + 1)).then_some((to, boxes, at + 1))
    }

    fn native(&mut self, p: &Pattern) -> bool {
        let double = match p.format {
            Format::F32 => false,
            Format::F64 => true,
            Format::F16 => return false,
        };
        let negated = p.args.iter().any(Source::negated);
        let boxes = self.is_plain() || p.boxes_are_usual(double);
        if negated && p.op != FloatOp::MulAdd || !boxes {
            return false;
        }
        match p.op {
            FloatOp::Add => self.arithmetic(p, double, opcode::ADD),
            FloatOp::Sub => self.arithmetic(p, double, opcode::SUB),
            FloatOp::Mul => self.arithmetic(p, double, opcode::MUL),
            FloatOp::Div => self.arithmetic(p, double, opcode::DIV),
            FloatOp::Sqrt => self.root(p, double),
            FloatOp::MulAdd => self.fused(p, double),
            FloatOp::MinNumber => self.extreme(p, double, opcode::MIN),
            FloatOp::MaxNumber => self.extreme(p, double, opcode::MAX),
            FloatOp::EqQuiet => self.comparison(p, double, opcode::QUIET, None),
            FloatOp::LtSignal => self.comparison(p, double, opcode::SIGNAL, Some(Cc::A)),
            FloatOp::LeSignal => self.comparison(p, double, opcode::SIGNAL, Some(Cc::Ae)),
            FloatOp::LtQuiet => self.comparison(p, double, opcode::QUIET, Some(Cc::A)),
            FloatOp::LeQuiet => self.comparison(p, double, opcode::QUIET, Some(Cc::Ae)),
            FloatOp::ToFloat(Format::F64) if !double => self.widen(p),
            FloatOp::ToFloat(Format::F32) if double => self.narrow(p),
            FloatOp::ToI32 => self.signed_from(p, double, W::D),
            FloatOp::ToI64 => self.signed_from(p, double, W::Q),
            FloatOp::ToU32 => self.unsigned_from(p, double, W::D),
            FloatOp::ToU64 => self.unsigned_from(p, double, W::Q),
            FloatOp::FromI32 | FloatOp::FromI64 | FloatOp::FromU32 | FloatOp::FromU64 => {
                self.of_integer(p, double)
            }
            FloatOp::Minimum => self.is_plain() && self.bound(p, double, opcode::MIN, opcode::OR),
            FloatOp::Maximum => self.is_plain() && self.bound(p, double, opcode::MAX, opcode::AND),
            FloatOp::Round => self.is_plain() && self.integral(p, double),
            FloatOp::Class | FloatOp::ToFloat(_) | FloatOp::RoundExact | FloatOp::ToI32Modular => {
                false
            }
        }
    }

    /// Moves the exceptions in MXCSR to the slot that collects them. Works in rax.
    pub(crate) fn take_flags(&mut self) {
        if self.tier.float != FloatRule::CanonicalNan {
            return;
        }
        let mxcsr = self.control(control::MXCSR);
        let home = Mem::at(RBP, self.tier.layout.slots + 8 * i32::from(self.tier.flags.0));
        let table = self.control(control::FLAGS);
        self.asm.stmxcsr(mxcsr);
        self.asm.mov(W::D, RAX, mxcsr);
        self.asm.alu_imm(Alu::And, W::D, RAX, 0x3d);
        let none = self.asm.jcc(Cc::E);
        self.asm.extend(1, false, RAX, Mem { index: Some((RAX, 0)), ..table });
        self.asm.alu_to(Alu::Or, W::Q, home, RAX);
        self.asm.store_imm(4, mxcsr, control::MXCSR_AT_REST.cast_signed());
        self.asm.ldmxcsr(mxcsr);
        self.asm.bind(none);
    }

    /// Whether the guest instruction at this operation puts the flags back to what they are.
    pub(crate) fn restores_flags(&self, inst: usize) -> bool {
        let (Some(held), [first, second, rest @ ..]) =
            (self.flags_in, self.block.insts.get(inst..).unwrap_or_default())
        else {
            return false;
        };
        let (Inst::Binary(Binary::And, Width::Full, new, from, Val::Const(31)), end) =
            (*first, rest.first())
        else {
            return false;
        };
        let put = Inst::Unary(Unary::Move, self.tier.flags, new.into());
        let alone = matches!(end, None | Some(Inst::Start(_))) && !self.is_read(new, inst + 2);
        new.is_temp() && from == Val::Slot(held) && *second == put && alone
    }

    /// Does the guest instruction by the interpreter where a jump says so.
    fn otherwise(&mut self, p: &Pattern, from: Jump) {
        let (inst, count, resume) = (p.first, p.end - p.first, self.asm.here());
        self.stubs.push(Stub::Step { from, inst, count, resume });
    }

    /// Makes sure that the rounding mode is to nearest, or says that it is another for sure.
    fn rounds_to_nearest(&mut self, p: &Pattern) -> bool {
        match p.round {
            Val::Const(mode) => mode == 0,
            Val::Slot(slot) => {
                if self.nearest_in != Some(slot) {
                    let mode = self.operand(p.round, RAX);
                    self.asm.alu_imm(Alu::Cmp, W::D, mode, 0);
                    let from = self.asm.jcc(Cc::Ne);
                    self.stubs.push(Stub::Finish { from, inst: p.first });
                    self.nearest_in = Some(slot);
                }
                true
            }
        }
    }

    pub(crate) fn is_boxed(&self, slot: Slot) -> bool {
        self.boxed[usize::from(slot.0 >> 6)] >> (slot.0 & 63) & 1 == 1
    }

    pub(crate) fn note_boxed(&mut self, slot: Slot) {
        self.boxed[usize::from(slot.0 >> 6)] |= 1 << (slot.0 & 63);
    }

    /// Leaves the block to the interpreter where an operand is not in its box, which no usual
    /// program brings about.
    fn check_boxes(&mut self, p: &Pattern) {
        for arg in p.args {
            let Val::Slot(slot) = arg.val else { continue };
            if !arg.unboxed || self.is_boxed(slot) {
                continue;
            }
            match self.loc(slot) {
                Loc::M(home) => {
                    let upper = Mem { disp: home.disp + 4, ..home };
                    self.asm.alu_imm(Alu::Cmp, W::D, upper, -1);
                }
                Loc::G(_) | Loc::X(_) => {
                    self.put_in(RAX, arg.val);
                    self.asm.shift_imm(Shift::Shr, W::Q, RAX, 32);
                    self.asm.alu_imm(Alu::Add, W::D, RAX, 1);
                }
            }
            let from = self.asm.jcc(Cc::Ne);
            self.stubs.push(Stub::Finish { from, inst: p.first });
            self.note_boxed(slot);
        }
    }

    /// The operand in a register of its own, or in the scratch one of this number.
    fn float_arg(&mut self, arg: Source, nth: usize) -> Xmm {
        let scratch = SPARE[nth];
        if let Val::Slot(slot) = arg.val {
            match self.loc(slot) {
                Loc::X(reg) => return reg,
                Loc::M(home) => {
                    self.asm.load_xmm(8, scratch, home);
                    return scratch;
                }
                Loc::G(_) => {}
            }
        }
        self.put_in(RAX, arg.val);
        self.asm.xmm_from_gpr(W::Q, scratch, RAX);
        scratch
    }

    /// Where a result is best made: in the slot's own register unless an operand that is needed
    /// late is there.
    fn float_target(&self, dst: Slot, late: Xmm) -> Xmm {
        match self.loc(dst) {
            Loc::X(reg) if reg != late => reg,
            Loc::X(_) | Loc::G(_) | Loc::M(_) => WORK,
        }
    }

    /// The result is in this register: puts it into its slot. Singles have their box on.
    fn float_done(&mut self, p: &Pattern, reg: Xmm, single: bool, others: Vec<Jump>) {
        match self.loc(p.dst) {
            Loc::X(own) if own == reg => {}
            Loc::X(own) => self.asm.movaps(own, reg),
            Loc::M(home) => self.asm.store_xmm(8, home, reg),
            Loc::G(own) => self.asm.gpr_from_xmm(W::Q, own, reg),
        }
        self.finished(p, others);
        if single {
            self.note_boxed(p.dst);
        }
    }

    fn int_done(&mut self, p: &Pattern, reg: Gpr, others: Vec<Jump>) {
        self.done(p.dst, reg);
        self.finished(p, others);
    }

    /// Notes the new value, and where a step comes back to.
    fn finished(&mut self, p: &Pattern, others: Vec<Jump>) {
        self.wrote(p.dst);
        others.into_iter().for_each(|from| self.otherwise(p, from));
    }

    /// Makes a NaN in `reg` the canonical one.
    fn canonical(&mut self, double: bool, reg: Xmm) {
        self.asm.comis(double, opcode::QUIET, reg, reg);
        let from = self.asm.jcc(Cc::P);
        let resume = self.asm.here();
        self.stubs.push(Stub::Nan { from, double, reg, resume });
    }

    fn arithmetic(&mut self, p: &Pattern, double: bool, op: u8) -> bool {
        if !self.rounds_to_nearest(p) {
            return false;
        }
        self.check_boxes(p);
        let (mut a, mut b) = (self.float_arg(p.args[0], 0), self.float_arg(p.args[1], 1));
        if matches!(op, opcode::ADD | opcode::MUL) && self.loc(p.dst) == Loc::X(b) {
            (a, b) = (b, a);
        }
        let late = if a == b { Xmm(16) } else { b };
        let target = self.float_target(p.dst, late);
        if target != a {
            self.asm.movaps(target, a);
        }
        self.asm.float(prefix(double), op, target, b);
        self.canonical(double, target);
        self.float_done(p, target, !double, vec![]);
        true
    }

    /// Whether singles have no box and exceptions are not collected.
    fn is_plain(&self) -> bool {
        self.tier.float == FloatRule::Plain
    }

    /// The lesser or the greater: of equal operands, which may be zeros of two signs, all signs or
    /// one; a NaN where one is.
    fn bound(&mut self, p: &Pattern, double: bool, op: u8, of_equals: u8) -> bool {
        let (a, b) = (self.float_arg(p.args[0], 0), self.float_arg(p.args[1], 1));
        if a != WORK {
            self.asm.movaps(WORK, a);
        }
        self.asm.comis(double, opcode::QUIET, WORK, b);
        let differ = self.asm.jcc(Cc::Ne);
        let unordered = self.asm.jcc(Cc::P);
        self.asm.float(0x66, of_equals, WORK, b);
        let over = self.asm.jmp();
        self.asm.bind(differ);
        self.asm.float(prefix(double), op, WORK, b);
        self.asm.bind(over);
        let resume = self.asm.here();
        self.stubs.push(Stub::Nan { from: unordered, double, reg: WORK, resume });
        self.float_done(p, WORK, !double, vec![]);
        true
    }

    /// Rounds to an integral value, by the guest's number of the mode.
    fn integral(&mut self, p: &Pattern, double: bool) -> bool {
        let mode = match p.round {
            Val::Const(0) => 0,
            Val::Const(1) => 3,
            Val::Const(2) => 1,
            Val::Const(3) => 2,
            Val::Const(_) | Val::Slot(_) => return false,
        };
        let a = self.float_arg(p.args[0], 0);
        if a != WORK {
            self.asm.movaps(WORK, a);
        }
        // Without the exception of inexact results.
        self.asm.round(double, mode | 8, WORK, WORK);
        self.canonical(double, WORK);
        self.float_done(p, WORK, !double, vec![]);
        true
    }

    fn root(&mut self, p: &Pattern, double: bool) -> bool {
        if !self.rounds_to_nearest(p) {
            return false;
        }
        self.check_boxes(p);
        let a = self.float_arg(p.args[0], 0);
        let target = self.float_target(p.dst, Xmm(16));
        if target != a {
            // For the box, and so that the result waits for nothing older.
            self.asm.movaps(target, a);
        }
        self.asm.float(prefix(double), opcode::SQRT, target, a);
        self.canonical(double, target);
        self.float_done(p, target, !double, vec![]);
        true
    }

    /// The host raises no flag for infinity times zero plus a quiet NaN, so NaNs are a step.
    fn fused(&mut self, p: &Pattern, double: bool) -> bool {
        let [a, b, c] = p.args;
        if !self.tier.features.fma || b.negated() || !self.rounds_to_nearest(p) {
            return false;
        }
        self.check_boxes(p);
        let mut others = vec![];
        let (x, y, z) = (self.float_arg(a, 0), self.float_arg(b, 1), self.float_arg(c, 2));
        let op = match (a.negated(), c.negated()) {
            (false, false) => 0xa9,
            (false, true) => 0xab,
            (true, false) => 0xad,
            (true, true) => 0xaf,
        };
        // The first scratch register: the operands are needed again where the result is a NaN.
        let work = SPARE[0];
        if x != work {
            self.asm.movaps(work, x);
        }
        self.asm.mul_add(op, double, work, y, z);
        self.asm.comis(double, opcode::QUIET, work, work);
        others.push(self.asm.jcc(Cc::P));
        self.float_done(p, work, !double, others);
        true
    }

    /// Equal operands may be zeros of two signs, and unordered ones are NaNs: a step.
    fn extreme(&mut self, p: &Pattern, double: bool, op: u8) -> bool {
        self.check_boxes(p);
        let mut others = vec![];
        let (a, b) = (self.float_arg(p.args[0], 0), self.float_arg(p.args[1], 1));
        self.asm.comis(double, opcode::QUIET, a, b);
        // Unordered compares as equal too.
        others.push(self.asm.jcc(Cc::E));
        let target = self.float_target(p.dst, if a == b { Xmm(16) } else { b });
        if target != a {
            self.asm.movaps(target, a);
        }
        self.asm.float(prefix(double), op, target, b);
        self.float_done(p, target, !double, others);
        true
    }

    /// `a < b` is `b > a` to the host, where unordered counts as less. Equality if no condition.
    fn comparison(&mut self, p: &Pattern, double: bool, op: u8, cc: Option<Cc>) -> bool {
        self.check_boxes(p);
        let (a, b) = (self.float_arg(p.args[0], 0), self.float_arg(p.args[1], 1));
        let held = self.flags_in.filter(|held| *held != p.dst);
        // Between saving the flags and putting them back: without a NaN there are none to discard.
        let ends = matches!(self.block.insts.get(p.end), Some(Inst::Start(_)));
        let quiet = held.is_some() && ends && self.restores_flags(p.end + 1);
        let op = if quiet { opcode::QUIET } else { op };
        match cc {
            Some(cc) => {
                self.asm.comis(double, op, b, a);
                if quiet {
                    let from = self.asm.jcc(Cc::P);
                    self.stubs.push(Stub::Finish { from, inst: p.first });
                }
                self.asm.setcc(cc, RAX);
            }
            None => {
                self.asm.comis(double, op, a, b);
                self.asm.setcc(Cc::E, RAX);
                self.asm.setcc(Cc::Np, RCX);
                self.asm.alu(Alu::And, W::D, RAX, RCX);
            }
        }
        let target = self.target(p.dst);
        self.asm.extend(1, false, target, RAX);
        self.int_done(p, target, vec![]);
        self.flags_in = held.filter(|_| quiet);
        true
    }

    fn widen(&mut self, p: &Pattern) -> bool {
        self.check_boxes(p);
        let a = self.float_arg(p.args[0], 0);
        self.asm.float(prefix(false), opcode::CONVERT, WORK, a);
        self.canonical(true, WORK);
        self.float_done(p, WORK, false, vec![]);
        true
    }

    fn narrow(&mut self, p: &Pattern) -> bool {
        if !self.rounds_to_nearest(p) {
            return false;
        }
        let a = self.float_arg(p.args[0], 0);
        if self.is_plain() {
            // The upper half stays what it was, which is to be zero.
            self.asm.clear_xmm(WORK);
        }
        self.asm.float(prefix(true), opcode::CONVERT, WORK, a);
        self.canonical(false, WORK);
        self.put_box_on(WORK);
        self.float_done(p, WORK, true, vec![]);
        true
    }

    pub(crate) fn put_box_on(&mut self, reg: Xmm) {
        if self.is_plain() {
            return;
        }
        let mask = self.control(control::BOX_MASK);
        self.asm.orps(reg, mask);
    }

    /// Whether a conversion truncates, or `None` where the host has no such mode.
    fn truncates(&mut self, p: &Pattern) -> Option<bool> {
        match p.round {
            Val::Const(1) => Some(true),
            Val::Const(_) | Val::Slot(_) => self.rounds_to_nearest(p).then_some(false),
        }
    }

    /// The host gives the least integer for what is out of range: a step.
    fn signed_from(&mut self, p: &Pattern, double: bool, w: W) -> bool {
        let Some(truncate) = self.truncates(p) else { return false };
        self.check_boxes(p);
        let mut others = vec![];
        let a = self.float_arg(p.args[0], 0);
        self.asm.float_to_int(prefix(double), truncate, w, RAX, a);
        // Only the least integer less one overflows.
        self.asm.alu_imm(Alu::Cmp, w, RAX, 1);
        others.push(self.asm.jcc(Cc::O));
        if w == W::D {
            self.asm.extend(4, true, RAX, RAX);
        }
        self.int_done(p, RAX, others);
        true
    }

    /// By a signed conversion of 64 bits, for what is in range of both for sure.
    fn unsigned_from(&mut self, p: &Pattern, double: bool, w: W) -> bool {
        let Some(truncate) = self.truncates(p) else { return false };
        self.check_boxes(p);
        let mut others = vec![];
        let a = self.float_arg(p.args[0], 0);
        let of = if double { W::Q } else { W::D };
        self.asm.gpr_from_xmm(of, RAX, a);
        self.asm.test(of, RAX, RAX);
        others.push(self.asm.jcc(Cc::S));
        // A value that rounds to the limit is out of range: the greatest integer below is not.
        let limit: f64 = if w == W::Q { 9_223_372_036_854_775_808.0 } else { 4_294_967_295.0 };
        let bits = if double { limit.to_bits() } else { u64::from((limit as f32).to_bits()) };
        self.asm.mov_imm(RAX, bits);
        self.asm.xmm_from_gpr(W::Q, WORK, RAX);
        self.asm.comis(double, opcode::QUIET, WORK, a);
        others.push(self.asm.jcc(Cc::Be));
        self.asm.float_to_int(prefix(double), truncate, W::Q, RAX, a);
        if w == W::D {
            self.asm.extend(4, true, RAX, RAX);
        }
        self.int_done(p, RAX, others);
        true
    }

    fn of_integer(&mut self, p: &Pattern, double: bool) -> bool {
        let exact = double && matches!(p.op, FloatOp::FromI32 | FloatOp::FromU32);
        if !exact && !self.rounds_to_nearest(p) {
            return false;
        }
        self.put_in(RAX, p.args[0].val);
        let mut others = vec![];
        if p.op == FloatOp::FromU32 {
            self.asm.mov(W::D, RAX, RAX);
        } else if p.op == FloatOp::FromU64 {
            self.asm.test(W::Q, RAX, RAX);
            others.push(self.asm.jcc(Cc::S));
        }
        let w = if p.op == FloatOp::FromI32 { W::D } else { W::Q };
        let target = self.float_target(p.dst, Xmm(16));
        self.asm.clear_xmm(target);
        self.asm.float_from_int(prefix(double), w, target, RAX);
        if !double {
            self.put_box_on(target);
        }
        self.float_done(p, target, !double, others);
        true
    }
}

fn prefix(double: bool) -> u8 {
    if double { 0xf2 } else { 0xf3 }
}
