//! From the register form to the shared IR, for machine code.
//!
//! Registers that are used most become slots of the IR. What has no place there, or no operation,
//! is left to the interpreter, an instruction at a time.
#![allow(clippy::wildcard_enum_match_arm, reason = "each question is about some of the operations")]

use crate::code::Code;
use crate::ops::{Insn, Op};
use omni_ir::{
    Binary, Builder, Callee, Cond, Edge, End, FloatOp, Format, Function, Home, Piece, SHARED, Size,
    Slot, Unary, Val, Width,
};
use std::collections::BTreeMap;

/// Instructions of a function that is worth a look.
const INSNS_MAX: usize = 1 << 16;

/// How much more an instruction counts for each loop around it, and how many loops count.
const LOOP_WEIGHT: u64 = 8;
const DEPTH_MAX: i64 = 6;

/// Of so many instructions, by weight, one may be left to the interpreter.
const LEFT_ONE_IN: u64 = 24;

/// What a slot of the IR stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Of {
    Register(u16),
    Global(u32),
}

/// All blocks, whose edges have instructions for blocks; which block begins at which; and whether
/// it is worth it.
type Pieces = (Vec<Piece>, BTreeMap<u32, u32>, bool);

/// How one instruction is made.
enum Made {
    /// The next one follows.
    On,
    /// It ends a block.
    End(End),
}

struct Lower<'a> {
    code: &'a Code,
    slots: BTreeMap<Of, Slot>,
    is_host: &'a dyn Fn(u32) -> bool,
}

/// A function in the IR; nothing where it is not worth it, unless `any` is to be.
pub(crate) fn lower(
    number: u32,
    code: &Code,
    is_host: &dyn Fn(u32) -> bool,
    any: bool,
) -> Option<Function> {
    if code.insns.len() > INSNS_MAX {
        return None;
    }
    let weights = weights(code);
    let (slots, homes) = assign(code, &weights);
    let lower = Lower { code, slots, is_host };
    let (mut pieces, numbers, worth) = lower.all(&weights)?;
    if !worth && !any {
        return None;
    }
    let number_of = |edge: &mut Edge| {
        edge.to = *numbers.get(&edge.to)?;
        Some(())
    };
    for piece in &mut pieces {
        match &mut piece.end {
            End::Jump(edge) | End::Branch(.., edge) => number_of(edge)?,
            End::Switch(_, edges) => edges.iter_mut().try_for_each(number_of)?,
            End::Next | End::Call(..) | End::Return(_) | End::Leave => {}
        }
    }
    let (params, slots) = (code.params.into(), code.slots.into());
    Some(Function { number, homes, params, slots, ends: code.ends.clone(), pieces })
}

/// Whether an instruction is a part of the one before.
fn parts(insn: Insn) -> usize {
    match insn.op {
        Op::BrTable => usize::try_from(insn.imm).unwrap_or(usize::MAX).saturating_add(1),
        Op::LoadFar | Op::StoreFar => 1,
        _ => 0,
    }
}

/// The numbers of all that are none.
fn whole(code: &Code) -> impl Iterator<Item = (usize, Insn)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let (at, insn) = (next, *code.insns.get(next)?);
        next = next.saturating_add(1 + parts(insn));
        Some((at, insn))
    })
}

/// Where an instruction may go but to the next.
fn targets(code: &Code, at: usize, insn: Insn) -> impl Iterator<Item = usize> {
    let list = match insn.op {
        Op::BrTable => code.insns.get(at + 1..at + 1 + parts(insn)).unwrap_or_default(),
        op if op.branches() => &code.insns[at..=at],
        _ => &[],
    };
    list.iter().map(|insn| insn.target())
}

/// How much each instruction counts: by the loops that it is in.
fn weights(code: &Code) -> Vec<u64> {
    let mut change = vec![0_i64; code.insns.len() + 1];
    for (at, insn) in whole(code) {
        let mut heads: Vec<usize> = targets(code, at, insn).filter(|to| *to <= at).collect();
        heads.sort_unstable();
        heads.dedup();
        for head in heads {
            change[head] += 1;
            change[at + 1] -= 1;
        }
    }
    let mut depth = 0;
    let weight = |change: i64| {
        depth += change;
        LOOP_WEIGHT.pow(depth.clamp(0, DEPTH_MAX) as u32)
    };
    change.into_iter().map(weight).collect()
}

/// Which registers and globals are slots, those that are used most before others.
fn assign(code: &Code, weights: &[u64]) -> (BTreeMap<Of, Slot>, Vec<Home>) {
    let mut uses: BTreeMap<Of, u64> = BTreeMap::new();
    for (at, insn) in whole(code) {
        each_place(insn, |of| *uses.entry(of).or_default() += weights[at]);
    }
    let mut all: Vec<(Of, u64)> = uses.into_iter().collect();
    all.sort_by_key(|(of, weight)| (std::cmp::Reverse(*weight), *of));
    all.truncate(usize::from(Slot::TEMPS));
    let home = |of: &Of| match *of {
        Of::Register(register) => Home::Frame(register.into()),
        Of::Global(global) => Home::Shared(global),
    };
    let homes = all.iter().map(|(of, _)| home(of)).collect();
    let slots = all.into_iter().zip(0..Slot::TEMPS).map(|((of, _), at)| (of, Slot(at))).collect();
    (slots, homes)
}

/// Calls with each register and global that an instruction may name. One too many does no harm.
fn each_place(insn: Insn, mut each: impl FnMut(Of)) {
    let global = u32::try_from(insn.imm).ok().filter(|global| *global < SHARED);
    match insn.op {
        Op::GlobalGet | Op::GlobalSet => {
            each(Of::Register(if insn.op == Op::GlobalGet { insn.d } else { insn.a }));
            global.into_iter().for_each(|global| each(Of::Global(global)));
        }
        Op::Return => (0..insn.b.min(8)).for_each(|at| each(Of::Register(insn.a + at))),
        Op::Call | Op::Trap | Op::Br | Op::ReturnConst | Op::Cold => {}
        Op::CallIndirect => each(Of::Register(insn.b)),
        Op::CopyWide => {
            for first in [insn.a, insn.d] {
                each(Of::Register(first));
                each(Of::Register(first.saturating_add(1)));
            }
        }
        op => {
            each(Of::Register(insn.a));
            if op.reads_second() {
                each(Of::Register(insn.b));
            }
            if op == Op::Select {
                each(Of::Register(insn.imm as u16));
            }
            if op.writes() {
                each(Of::Register(insn.d));
            }
        }
    }
}

/// Whether a block begins at each instruction.
fn begins(code: &Code) -> Vec<bool> {
    let mut begins = vec![false; code.insns.len() + 2];
    begins[0] = true;
    for handler in &code.handlers {
        begins[(handler.target as usize).min(code.insns.len())] = true;
    }
    for (at, insn) in whole(code) {
        for to in targets(code, at, insn) {
            begins[to] = true;
        }
        if insn.op.ends_a_block() {
            begins[(at + 1 + parts(insn)).min(code.insns.len())] = true;
        }
    }
    begins
}

impl Lower<'_> {
    /// All blocks.
    fn all(&self, weights: &[u64]) -> Option<Pieces> {
        let (mut pieces, mut builder) = (Vec::new(), Builder::default());
        let mut numbers = BTreeMap::new();
        let begins = begins(self.code);
        let (mut open, mut total, mut left) = (false, 0_u64, 0_u64);
        let mut fused = None;
        for (at, insn) in whole(self.code) {
            if fused.take() == Some(at) {
                continue;
            }
            if begins[at] && open {
                let body = std::mem::take(&mut builder).finish(at as u64);
                pieces.push(Piece { body, end: End::Next });
                open = false;
            }
            if !open {
                numbers.insert(u32::try_from(at).ok()?, u32::try_from(pieces.len()).ok()?);
            }
            builder.start(at as u64);
            open = true;
            total += weights[at];
            if !begins[at + 1] && self.load_from(&mut builder, at, insn).is_some() {
                fused = Some(at + 1);
                continue;
            }
            let made = self.insn(&mut builder, at, insn);
            left +=
                if matches!(made, None | Some(Made::End(End::Leave))) { weights[at] } else { 0 };
            let end = match made {
                Some(Made::On) => continue,
                Some(Made::End(end)) => end,
                None => End::Leave,
            };
            let body = std::mem::take(&mut builder).finish(at as u64 + 1);
            pieces.push(Piece { body, end });
            open = false;
        }
        let worth = left.saturating_mul(LEFT_ONE_IN) <= total;
        (!open).then_some((pieces, numbers, worth))
    }

    /// Makes an address and the load from there that overwrites it as one instruction, which is
    /// nowhere in between: whoever runs the function begins with the first.
    fn load_from(&self, b: &mut Builder, at: usize, insn: Insn) -> Option<()> {
        let next = *self.code.insns.get(at + 1)?;
        let Some(Shape::Binary(op, width, imm)) = insn.op.shape() else { return None };
        let Some(Shape::Load(size, signed, then)) = next.op.shape() else { return None };
        if next.a != insn.d || next.d != insn.d {
            return None;
        }
        let (a, d) = (self.val(insn.a)?, self.slot(insn.d)?);
        let other = if imm { constant(width, insn.imm) } else { self.val(insn.b)? };
        let offset = i32::try_from(next.imm).ok()?;
        let address = b.temp();
        b.sized(op, width, address, a, other);
        b.load(size, signed, d, address, offset);
        if let Some(then) = then {
            b.unary(then, d, d);
        }
        Some(())
    }

    fn slot(&self, register: u16) -> Option<Slot> {
        self.slots.get(&Of::Register(register)).copied()
    }

    fn val(&self, register: u16) -> Option<Val> {
        self.slot(register).map(Val::Slot)
    }

    fn global(&self, insn: Insn) -> Option<Slot> {
        let global = u32::try_from(insn.imm).ok()?;
        self.slots.get(&Of::Global(global)).copied()
    }

    fn edge(&self, insn: Insn) -> Option<Edge> {
        let to = u32::try_from(insn.target()).ok()?;
        Some(Edge { to, ticks: i32::try_from(insn.ticks()).ok()? })
    }

    /// Makes an instruction; nothing where that is for the interpreter. Then nothing was built.
    fn insn(&self, b: &mut Builder, at: usize, insn: Insn) -> Option<Made> {
        if let Some(made) = self.simple(b, at, insn) {
            return made.then_some(Made::On);
        }
        self.other(b, at, insn)
    }

    /// Arithmetic and memory: whether it was made, or nothing where it is something else.
    fn simple(&self, b: &mut Builder, at: usize, insn: Insn) -> Option<bool> {
        let shape = insn.op.shape()?;
        Some(self.shaped(b, at, insn, shape).is_some())
    }

    fn shaped(&self, b: &mut Builder, at: usize, insn: Insn, shape: Shape) -> Option<()> {
        let a = self.val(insn.a)?;
        match shape {
            Shape::Binary(op, width, imm) => {
                let other = if imm { constant(width, insn.imm) } else { self.val(insn.b)? };
                b.sized(op, width, self.slot(insn.d)?, a, other);
            }
            Shape::Test(test, width, imm) => {
                let other = if imm { constant(width, insn.imm) } else { self.val(insn.b)? };
                self.flag(b, self.slot(insn.d)?, test, (width, a, other));
            }
            Shape::Division(op, width, imm) => {
                let other = if imm { constant(width, insn.imm) } else { self.val(insn.b)? };
                self.divide(b, at, self.slot(insn.d)?, (op, width, a, other))?;
            }
            Shape::Float2(op, format) => {
                self.float2(b, self.slot(insn.d)?, (op, format), (a, self.val(insn.b)?));
            }
            Shape::Unary(op, then) => {
                let d = self.slot(insn.d)?;
                b.unary(op, d, a);
                if let Some(then) = then {
                    b.unary(then, d, d);
                }
            }
            Shape::Bits(op, mask) => b.binary(op, self.slot(insn.d)?, a, mask),
            Shape::Float1(op, format, round, then) => {
                let d = self.slot(insn.d)?;
                b.float(op, format, d, &[a], round);
                if let Some(then) = then {
                    b.unary(then, d, d);
                }
            }
            Shape::Load(size, signed, then) => {
                let d = self.slot(insn.d)?;
                b.load(size, signed, d, a, i32::try_from(insn.imm).ok()?);
                if let Some(then) = then {
                    b.unary(then, d, d);
                }
            }
            Shape::Store(size) => {
                b.store(size, a, i32::try_from(insn.imm).ok()?, self.val(insn.b)?);
            }
        }
        Some(())
    }

    /// `d` becomes one where a comparison holds, else zero.
    fn flag(&self, b: &mut Builder, d: Slot, test: Test, (width, a, other): (Width, Val, Val)) {
        let (op, swapped, inverted) = match test {
            Test::Eq => (Binary::Eq, false, false),
            Test::Ne => (Binary::Ne, false, false),
            Test::LtS => (Binary::LtS, false, false),
            Test::LtU => (Binary::LtU, false, false),
            Test::GtS => (Binary::LtS, true, false),
            Test::GtU => (Binary::LtU, true, false),
            Test::GeS => (Binary::LtS, false, true),
            Test::GeU => (Binary::LtU, false, true),
            Test::LeS => (Binary::LtS, true, true),
            Test::LeU => (Binary::LtU, true, true),
        };
        let (a, other) = if swapped { (other, a) } else { (a, other) };
        b.sized(op, width, d, a, other);
        if inverted {
            b.binary(Binary::Xor, d, d, 1);
        }
    }

    fn divide(
        &self,
        b: &mut Builder,
        at: usize,
        d: Slot,
        (op, width, a, by): (Binary, Width, Val, Val),
    ) -> Option<()> {
        let minus_one = if width == Width::Full { u64::MAX } else { u32::MAX.into() };
        match by {
            Val::Const(value) => {
                let low = if width == Width::Full { value } else { value & u64::from(u32::MAX) };
                if low == 0 || op == Binary::DivS && low == minus_one {
                    return None;
                }
            }
            Val::Slot(_) => {
                b.exit_if(Cond::Eq, by, Val::Const(0), at as u64);
                if op == Binary::DivS {
                    b.exit_if(Cond::Eq, by, Val::Const(minus_one), at as u64);
                }
            }
        }
        b.sized(op, width, d, a, by);
        Some(())
    }

    fn float2(&self, b: &mut Builder, d: Slot, of: (Float2, Format), (x, y): (Val, Val)) {
        let (op, format) = of;
        let (operation, args) = match op {
            Float2::Plain(op) => (op, [x, y]),
            Float2::Gt => (FloatOp::LtQuiet, [y, x]),
            Float2::Ge => (FloatOp::LeQuiet, [y, x]),
            Float2::Ne => (FloatOp::EqQuiet, [x, y]),
            Float2::Copysign => {
                let sign: u64 = if format == Format::F64 { 1 << 63 } else { 1 << 31 };
                let (one, other) = (b.temp(), b.temp());
                b.binary(Binary::And, one, x, sign - 1);
                b.binary(Binary::And, other, y, sign);
                return b.binary(Binary::Or, d, one, other);
            }
        };
        b.float(operation, format, d, &args, 0);
        if op == Float2::Ne {
            b.binary(Binary::Xor, d, d, 1);
        }
    }

    fn other(&self, b: &mut Builder, at: usize, insn: Insn) -> Option<Made> {
        let made = match insn.op {
            Op::Copy => {
                b.put(self.slot(insn.d)?, self.val(insn.a)?);
                Made::On
            }
            Op::Const => {
                b.put(self.slot(insn.d)?, insn.imm);
                Made::On
            }
            Op::CopyWide => {
                let (to, from) = (self.pair(insn.d)?, self.pair(insn.a)?);
                // The half first that the other would overwrite.
                let order = if insn.d == insn.a.saturating_add(1) { [1, 0] } else { [0, 1] };
                order.into_iter().for_each(|half| b.put(to[half], from[half]));
                Made::On
            }
            Op::Select => {
                let test = self.val(insn.imm as u16)?;
                b.select(self.slot(insn.d)?, test, self.val(insn.a)?, self.val(insn.b)?);
                Made::On
            }
            Op::GlobalGet => {
                b.put(self.slot(insn.d)?, self.global(insn)?);
                Made::On
            }
            Op::GlobalSet => {
                b.put(self.global(insn)?, self.val(insn.a)?);
                Made::On
            }
            Op::NonNull => {
                let (a, d) = (self.val(insn.a)?, self.slot(insn.d)?);
                b.exit_if(Cond::Eq, a, Val::Const(0), at as u64);
                b.put(d, a);
                Made::On
            }
            _ => Made::End(self.end(at, insn)?),
        };
        Some(made)
    }

    fn pair(&self, first: u16) -> Option<[Slot; 2]> {
        Some([self.slot(first)?, self.slot(first.checked_add(1)?)?])
    }

    fn end(&self, at: usize, insn: Insn) -> Option<End> {
        if let Some((test, width, imm)) = insn.op.branch_test() {
            let a = self.val(insn.a)?;
            let small = i64::from(insn.b.cast_signed()).cast_unsigned();
            let other = if imm { Val::Const(small) } else { self.val(insn.b)? };
            let (cond, a, other) = condition(test, a, other);
            return Some(End::Branch(cond, width, a, other, self.edge(insn)?));
        }
        let nonzero = |cond| {
            let a = self.val(insn.a)?;
            Some(End::Branch(cond, Width::Full, a, Val::Const(0), self.edge(insn)?))
        };
        match insn.op {
            Op::Br => Some(End::Jump(self.edge(insn)?)),
            Op::BrIf | Op::BrNonNull => nonzero(Cond::Ne),
            Op::BrUnless | Op::BrNull => nonzero(Cond::Eq),
            Op::BrTable => {
                let targets = self.code.insns.get(at + 1..at + 1 + parts(insn))?;
                let edges: Option<Vec<Edge>> =
                    targets.iter().map(|target| self.edge(*target)).collect();
                Some(End::Switch(self.val(insn.a)?, edges?))
            }
            Op::Return => {
                let values: Option<Vec<Val>> =
                    (0..insn.b).map(|nth| self.val(insn.a.checked_add(nth)?)).collect();
                Some(End::Return(values?))
            }
            Op::ReturnOne => Some(End::Return(vec![self.val(insn.a)?])),
            Op::ReturnConst => Some(End::Return(vec![Val::Const(insn.imm)])),
            Op::Call => {
                let number = insn.imm as u32;
                let fits = number < 1 << 26 && !(self.is_host)(number);
                fits.then(|| End::Call(Callee::Known(number), insn.a.into()))
            }
            Op::CallIndirect => {
                let (table, ty) = (insn.imm as u32, (insn.imm >> 32) as u32);
                let callee = Callee::Element { table, index: self.val(insn.b)?, ty };
                (table < 1 << 26).then(|| End::Call(callee, insn.a.into()))
            }
            _ => None,
        }
    }
}

/// A constant as an operand: a narrow one sign-extended, as hosts have small ones so.
fn constant(width: Width, value: u64) -> Val {
    match width {
        Width::Full => Val::Const(value),
        _ => Val::Const(i64::from((value as u32).cast_signed()).cast_unsigned()),
    }
}

/// A comparison as one that the IR has, with its operands.
fn condition(test: Test, a: Val, b: Val) -> (Cond, Val, Val) {
    match test {
        Test::Eq => (Cond::Eq, a, b),
        Test::Ne => (Cond::Ne, a, b),
        Test::LtS => (Cond::LtS, a, b),
        Test::LtU => (Cond::LtU, a, b),
        Test::GeS => (Cond::GeS, a, b),
        Test::GeU => (Cond::GeU, a, b),
        Test::GtS => (Cond::LtS, b, a),
        Test::GtU => (Cond::LtU, b, a),
        Test::LeS => (Cond::GeS, b, a),
        Test::LeU => (Cond::GeU, b, a),
    }
}

/// A comparison of integers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Test {
    Eq,
    Ne,
    LtS,
    LtU,
    GtS,
    GtU,
    LeS,
    LeU,
    GeS,
    GeU,
}

/// An operation of two floats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Float2 {
    Plain(FloatOp),
    Gt,
    Ge,
    Ne,
    Copysign,
}

/// What an operation is in the IR, where it is arithmetic or an access to memory. The last flag of
/// the first three says that the second operand is a constant; what comes `then` is done to the
/// result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    Binary(Binary, Width, bool),
    Test(Test, Width, bool),
    Division(Binary, Width, bool),
    Float2(Float2, Format),
    Unary(Unary, Option<Unary>),
    /// With a constant.
    Bits(Binary, u64),
    /// With a rounding mode.
    Float1(FloatOp, Format, u64, Option<Unary>),
    Load(Size, bool, Option<Unary>),
    Store(Size),
}
