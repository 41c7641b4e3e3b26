//! From a valid function to the register form, in one pass.
//!
//! What is on the operand stack is known as it is made: a local or a constant that is pushed costs
//! nothing until it is used, and then it is an operand. Everything else is in its home, the slot of
//! its height. Where paths meet, all is at home; a local is copied home before it is overwritten.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "operators are hundreds, of which few matter here"
)]

use crate::code::{Code, Cold, FRAME_SLOTS};
use crate::exceptions::Try;
use crate::layout::Layout;
use crate::ops::{Insn, Op};
use crate::trap::Trap;
use crate::types::{Signature, Value, slots, value_of};
use std::collections::BTreeMap;
use wasmparser::{BlockType, FunctionBody, Operator};

/// Instructions of a function in the register form, with what stands beside them. A branch may copy
/// a thousand values, so a function of a megabyte could be a thousand of them otherwise.
pub(crate) const INSNS_MAX: usize = 4 << 20;

/// Blocks within each other.
const BLOCKS_MAX: usize = 1 << 16;

/// What may catch exceptions in a function: a throw looks at all of it in all functions that wait.
const HANDLERS_MAX: usize = 1 << 14;

/// Why a function cannot be compiled: it has more values at a time than a frame has slots, or more
/// instructions or blocks than there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooLarge;

/// Where a value on the operand stack is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Home,
    /// In a local, by its slot.
    Local(u16),
    Const(u64),
}

/// A value on the operand stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// The first slot of its home.
    pub(crate) home: u16,
    pub(crate) wide: bool,
    pub(crate) place: Place,
}

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Block {
    Function,
    Plain,
    Loop {
        target: u32,
        ticks: u32,
    },
    /// The branch to its other side, until that is reached.
    If {
        otherwise: Option<usize>,
    },
    /// What it catches is in `tries`.
    Try,
}

/// What a block gives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Results<'a> {
    One(Value),
    All(&'a [Value]),
}

impl std::ops::Deref for Results<'_> {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::All(values) => values,
        }
    }
}

/// A block that is open.
#[derive(Debug)]
pub(crate) struct Control<'a> {
    pub(crate) block: Block,
    pub(crate) params: &'a [Value],
    pub(crate) results: Results<'a>,
    /// Values below it.
    pub(crate) height: usize,
    /// The home of its first parameter and result.
    pub(crate) home: u16,
    /// Branches to its end.
    pub(crate) exits: Vec<usize>,
}

/// The compiler of one function.
pub(crate) struct Compiler<'a> {
    pub(crate) layout: &'a Layout<'a>,
    pub(crate) code: Code,
    /// The slot and width of each local.
    locals: Vec<(u16, bool)>,
    /// How often a slot of a local is on the stack.
    pushed: Vec<u32>,
    /// How many locals are on the stack.
    symbolic: usize,
    pub(crate) stack: Vec<Entry>,
    pub(crate) controls: Vec<Control<'a>>,
    /// Blocks that catch exceptions, of those that are open.
    pub(crate) tries: Vec<Try>,
    /// Instructions of the module so far.
    pub(crate) ticks: u32,
    offset: u32,
    /// No instruction before this one may be changed: something leads here.
    fence: usize,
    /// Blocks that are open within code that is never reached; none where code is reached.
    dead: Option<u32>,
    slots_most: u32,
    /// There are more instructions or blocks than there may be.
    full: bool,
}

/// Compiles a function of this signature.
pub(crate) fn compile<'a>(
    layout: &'a Layout<'a>,
    signature: &'a Signature,
    body: &FunctionBody<'_>,
) -> Result<Code, TooLarge> {
    let mut compiler = Compiler::new(layout, signature, body)?;
    let reader = body.get_operators_reader().expect("the module is valid");
    for item in reader.into_iter_with_offsets() {
        let (operator, offset) = item.expect("the module is valid");
        compiler.offset = u32::try_from(offset).unwrap_or(u32::MAX);
        compiler.operator(&operator)?;
    }
    compiler.code.slots = u16::try_from(compiler.slots_most).map_err(|_| TooLarge)?;
    Ok(compiler.code)
}

impl<'a> Compiler<'a> {
    fn new(
        layout: &'a Layout<'a>,
        signature: &'a Signature,
        body: &FunctionBody<'_>,
    ) -> Result<Self, TooLarge> {
        let mut locals = Vec::new();
        let mut next = 0u32;
        let mut local = |value: Value| {
            let slot = u16::try_from(next).map_err(|_| TooLarge)?;
            locals.push((slot, value == Value::V128));
            next += u32::from(value.slots());
            if next < FRAME_SLOTS as u32 { Ok(next) } else { Err(TooLarge) }
        };
        for value in &signature.params {
            local(*value)?;
        }
        let params = u16::try_from(slots(&signature.params)).map_err(|_| TooLarge)?;
        for group in body.get_locals_reader().expect("the module is valid") {
            let (count, ty) = group.expect("the module is valid");
            for _ in 0..count {
                local(value_of(ty, layout.types))?;
            }
        }
        let first = u16::try_from(next).map_err(|_| TooLarge)?;
        let code = Code {
            insns: Vec::new(),
            ends: Vec::new(),
            offsets: Vec::new(),
            cold: Vec::new(),
            vectors: Vec::new(),
            handlers: Vec::new(),
            params,
            slots: 0,
        };
        let function = Control {
            block: Block::Function,
            params: &[],
            results: Results::All(&signature.results),
            height: 0,
            home: first,
            exits: Vec::new(),
        };
        let most = u32::from(first).max(slots(&signature.results));
        Ok(Self {
            layout,
            code,
            pushed: vec![0; usize::from(first)],
            symbolic: 0,
            locals,
            stack: Vec::new(),
            controls: vec![function],
            tries: Vec::new(),
            ticks: 0,
            offset: 0,
            fence: 0,
            dead: None,
            slots_most: most,
            full: false,
        })
    }

    // Instructions.

    /// Adds an instruction. Where there is no room for it, it is noted that the function is too
    /// large, which ends its compilation after the present operator.
    pub(crate) fn emit(&mut self, insn: Insn) -> usize {
        if self.code.insns.len() >= INSNS_MAX {
            self.full = true;
            return self.code.insns.len() - 1;
        }
        self.code.insns.push(insn);
        self.code.ends.push(self.ticks);
        self.code.offsets.push(self.offset);
        self.code.insns.len() - 1
    }

    pub(crate) fn here(&self) -> u32 {
        u32::try_from(self.code.insns.len()).expect("a function has fewer instructions")
    }

    /// The same, where nothing before it may be changed any more.
    pub(crate) fn here_fenced(&mut self) -> u32 {
        self.fence = self.code.insns.len();
        self.here()
    }

    /// The last instruction, where it writes the home of a value and nothing else knows of it.
    pub(crate) fn maker(&self, entry: Entry) -> Option<Insn> {
        let last = self.code.insns.last()?;
        let own = entry.place == Place::Home && self.code.insns.len() > self.fence;
        (own && last.d == entry.home && last.op.writes()).then_some(*last)
    }

    pub(crate) fn unmake(&mut self) {
        self.code.insns.pop();
        self.code.ends.pop();
        self.code.offsets.pop();
    }

    pub(crate) fn remake(&mut self, insn: Insn) {
        self.unmake();
        self.emit(insn);
    }

    /// Adds a cold instruction whose operands are on the stack, and pushes its results.
    pub(crate) fn cold(
        &mut self,
        cold: Cold,
        operands: usize,
        results: &[Value],
    ) -> Result<(), TooLarge> {
        let first = self.pop_home(operands);
        let number = self.code.cold.len() as u64;
        self.code.cold.push(cold);
        self.emit(Insn::new(Op::Cold, 0, first, 0).with(number));
        self.push_all(results)
    }

    // Values.

    pub(crate) fn next_home(&self) -> u32 {
        match self.stack.last() {
            Some(entry) => u32::from(entry.home) + if entry.wide { 2 } else { 1 },
            None => self.controls[0].home.into(),
        }
    }

    fn push(&mut self, place: Place, wide: bool) -> Result<u16, TooLarge> {
        let next = self.next_home();
        let home = u16::try_from(next).map_err(|_| TooLarge)?;
        self.slots_most = self.slots_most.max(next + if wide { 2 } else { 1 });
        if let Place::Local(slot) = place {
            self.pushed[usize::from(slot)] += 1;
            self.symbolic += 1;
        }
        self.stack.push(Entry { home, wide, place });
        if self.slots_most < FRAME_SLOTS as u32 { Ok(home) } else { Err(TooLarge) }
    }

    /// Pushes a result that an instruction is to write, and gives its register.
    pub(crate) fn push_result(&mut self) -> Result<u16, TooLarge> {
        self.push(Place::Home, false)
    }

    pub(crate) fn push_wide(&mut self) -> Result<u16, TooLarge> {
        self.push(Place::Home, true)
    }

    pub(crate) fn push_const(&mut self, value: u64) -> Result<(), TooLarge> {
        self.push(Place::Const(value), false).map(|_| ())
    }

    pub(crate) fn push_all(&mut self, values: &[Value]) -> Result<(), TooLarge> {
        values
            .iter()
            .try_for_each(|value| self.push(Place::Home, *value == Value::V128).map(|_| ()))
    }

    pub(crate) fn pop(&mut self) -> Entry {
        let entry = self.stack.pop().expect("the module is valid");
        if let Place::Local(slot) = entry.place {
            self.pushed[usize::from(slot)] -= 1;
            self.symbolic -= 1;
        }
        entry
    }

    /// The register of a value that was popped.
    pub(crate) fn register(&mut self, entry: Entry) -> u16 {
        match entry.place {
            Place::Home => entry.home,
            Place::Local(slot) => slot,
            Place::Const(value) => {
                self.emit(Insn::new(Op::Const, entry.home, 0, 0).with(value));
                entry.home
            }
        }
    }

    pub(crate) fn pop_register(&mut self) -> u16 {
        let entry = self.pop();
        self.register(entry)
    }

    /// Brings a value on the stack home.
    pub(crate) fn bring_home(&mut self, at: usize) {
        let entry = self.stack[at];
        self.stack[at].place = Place::Home;
        match entry.place {
            Place::Home => {}
            Place::Const(_) => {
                self.register(entry);
            }
            Place::Local(slot) => {
                self.pushed[usize::from(slot)] -= 1;
                self.symbolic -= 1;
                self.copy(entry.home, slot, entry.wide);
            }
        }
    }

    pub(crate) fn copy(&mut self, to: u16, from: u16, wide: bool) {
        if to != from {
            let op = if wide { Op::CopyWide } else { Op::Copy };
            self.emit(Insn::new(op, to, from, 0));
        }
    }

    /// Brings the last values home, and pops them; gives the slot of the first.
    pub(crate) fn pop_home(&mut self, count: usize) -> u16 {
        self.bring_last_home(count);
        let first = self.stack.len() - count;
        let home = self.stack.get(first).map(|entry| entry.home);
        self.stack.truncate(first);
        home.unwrap_or_else(|| u16::try_from(self.next_home()).unwrap_or(u16::MAX))
    }

    pub(crate) fn bring_last_home(&mut self, count: usize) {
        for at in self.stack.len() - count..self.stack.len() {
            self.bring_home(at);
        }
    }

    // Locals.

    pub(crate) fn local_get(&mut self, index: u32) -> Result<(), TooLarge> {
        let (slot, wide) = self.locals[index as usize];
        self.push(Place::Local(slot), wide).map(|_| ())
    }

    pub(crate) fn local_set(&mut self, index: u32) {
        let (slot, wide) = self.locals[index as usize];
        let entry = self.pop();
        if entry.place == Place::Local(slot) {
            return;
        }
        let before = self.code.insns.len();
        self.save_pushed(slot);
        let saved = self.code.insns.len() > before;
        match (entry.place, self.maker(entry)) {
            (Place::Home, Some(maker)) if !saved => {
                self.code.insns.pop();
                self.code.insns.push(Insn { d: slot, ..maker });
            }
            (Place::Home, _) => self.copy(slot, entry.home, wide),
            (Place::Local(from), _) => self.copy(slot, from, wide),
            (Place::Const(value), _) => {
                self.emit(Insn::new(Op::Const, slot, 0, 0).with(value));
            }
        }
    }

    /// Copies a local that is about to be overwritten, wherever it is on the stack.
    fn save_pushed(&mut self, slot: u16) {
        let mut at = self.stack.len();
        while self.pushed[usize::from(slot)] > 0 {
            at -= 1;
            if self.stack[at].place == Place::Local(slot) {
                self.bring_home(at);
            }
        }
    }

    // Blocks.

    fn block_type(&self, ty: BlockType) -> (&'a [Value], Results<'a>) {
        match ty {
            BlockType::Empty => (&[], Results::All(&[])),
            BlockType::Type(ty) => (&[], Results::One(value_of(ty, self.layout.types))),
            BlockType::FuncType(index) => {
                let signature = self.layout.signature(index);
                (&signature.params, Results::All(&signature.results))
            }
        }
    }

    pub(crate) fn open(&mut self, block: Block, ty: BlockType) {
        let (params, results) = self.block_type(ty);
        // What is below stays as it is while the block is open, so it must not be a local.
        let height = self.stack.len() - params.len();
        self.bring_last_home(params.len());
        let mut at = height;
        while self.symbolic > 0 {
            at -= 1;
            if matches!(self.stack[at].place, Place::Local(_)) {
                self.bring_home(at);
            }
        }
        let home = match self.stack.get(height) {
            Some(entry) => entry.home,
            None => u16::try_from(self.next_home()).unwrap_or(u16::MAX),
        };
        let block = match block {
            Block::Loop { .. } => {
                self.fence = self.code.insns.len();
                Block::Loop { target: self.here(), ticks: self.ticks }
            }
            other => other,
        };
        self.controls.push(Control { block, params, results, height, home, exits: Vec::new() });
    }

    fn control(&self, depth: u32) -> &Control<'a> {
        let at = self.controls.len() - 1 - depth as usize;
        &self.controls[at]
    }

    /// What a branch to a block takes along.
    fn label(&self, depth: u32) -> &[Value] {
        let control = self.control(depth);
        match control.block {
            Block::Loop { .. } => control.params,
            Block::Function | Block::Plain | Block::If { .. } | Block::Try => &control.results,
        }
    }

    /// Whether what a branch takes along is where it has to be, once it is at home.
    fn in_place(&self, depth: u32) -> bool {
        let control = self.control(depth);
        let count = self.label(depth).len();
        let there = count == 0 || self.stack.len() == control.height + count;
        there && control.block != Block::Function
    }

    /// Branches always, with what the block takes along still on the stack.
    pub(crate) fn branch(&mut self, depth: u32) {
        let count = self.label(depth).len();
        if self.control(depth).block == Block::Function {
            return self.leave(count);
        }
        if self.in_place(depth) {
            self.bring_last_home(count);
        } else {
            // From the lowest on: no home that is still needed is overwritten.
            let mut to = self.control(depth).home;
            for at in self.stack.len() - count..self.stack.len() {
                let entry = self.stack[at];
                match entry.place {
                    Place::Home => self.copy(to, entry.home, entry.wide),
                    Place::Local(slot) => self.copy(to, slot, entry.wide),
                    Place::Const(value) => {
                        self.emit(Insn::new(Op::Const, to, 0, 0).with(value));
                    }
                }
                to += if entry.wide { 2 } else { 1 };
            }
        }
        self.jump(Insn::new(Op::Br, 0, 0, 0), depth);
    }

    /// Emits a branch to a block whose values are in place.
    fn jump(&mut self, insn: Insn, depth: u32) {
        let at = self.controls.len() - 1 - depth as usize;
        match self.controls[at].block {
            Block::Loop { target, ticks } => {
                let delta = self.ticks.cast_signed() - ticks.cast_signed();
                self.emit(insn.to(target, delta));
            }
            Block::Function | Block::Plain | Block::If { .. } | Block::Try => {
                let place = self.emit(insn);
                self.controls[at].exits.push(place);
            }
        }
    }

    /// Has a branch lead here.
    pub(crate) fn land(&mut self, place: usize) {
        let delta = self.code.ends[place].cast_signed() - self.ticks.cast_signed();
        let target = self.here();
        self.code.insns[place] = self.code.insns[place].to(target, delta);
        self.fence = self.code.insns.len();
    }

    /// The instruction that branches where a popped condition is as said.
    pub(crate) fn condition(&mut self, entry: Entry, when: bool) -> Insn {
        if let Some(maker) = self.maker(entry) {
            if let (Op::I32Eqz | Op::I64Eqz, a) = (maker.op, maker.a) {
                self.unmake();
                return Insn::new(if when { Op::BrUnless } else { Op::BrIf }, 0, a, 0);
            }
            let constant = maker.op.with_constant().is_none();
            let small = i16::try_from(maker.imm.cast_signed())
                .or_else(|_| i16::try_from((maker.imm as u32).cast_signed()));
            if let Some(op) = maker.op.branch(when) {
                match (constant, small) {
                    (false, _) => {
                        self.unmake();
                        return Insn::new(op, 0, maker.a, maker.b);
                    }
                    (true, Ok(small)) if self.fits(maker, small) => {
                        self.unmake();
                        return Insn::new(op, 0, maker.a, small.cast_unsigned());
                    }
                    (true, _) => {}
                }
            }
        }
        let register = self.register(entry);
        Insn::new(if when { Op::BrIf } else { Op::BrUnless }, 0, register, 0)
    }

    /// Whether a constant is the same from 16 bits, in an operation of its width.
    fn fits(&self, maker: Insn, small: i16) -> bool {
        let wide = i64::from(small).cast_unsigned();
        let narrow = u64::from(i32::from(small).cast_unsigned());
        if (Op::I32Eq as u16..=Op::BrI32GeUImm as u16).contains(&(maker.op as u16)) {
            maker.imm == narrow
        } else {
            maker.imm == wide
        }
    }

    pub(crate) fn branch_if(&mut self, depth: u32, when: bool) {
        let entry = self.pop();
        if self.in_place(depth) && self.all_home(self.label(depth).len()) {
            let insn = self.condition(entry, when);
            return self.jump(insn, depth);
        }
        let insn = self.condition(entry, !when);
        let over = self.emit(insn);
        self.branch_around(over, depth);
    }

    /// A branch with copies, which a branch at `over` goes around.
    pub(crate) fn branch_around(&mut self, over: usize, depth: u32) {
        self.branch_aside(depth);
        self.land(over);
    }

    /// A branch that code goes on beside, with the stack as it was.
    fn branch_aside(&mut self, depth: u32) {
        let first = self.stack.len() - self.label(depth).len();
        let last = self.stack[first..].to_vec();
        self.branch(depth);
        for (now, before) in self.stack[first..].iter_mut().zip(last) {
            if let (Place::Home, Place::Local(slot)) = (now.place, before.place) {
                self.pushed[usize::from(slot)] += 1;
                self.symbolic += 1;
            }
            *now = before;
        }
    }

    pub(crate) fn all_home(&self, count: usize) -> bool {
        let from = self.stack.len() - count;
        self.stack[from..].iter().all(|entry| entry.place == Place::Home)
    }

    pub(crate) fn branch_table(&mut self, targets: &wasmparser::BrTable<'_>) {
        let index = self.pop_register();
        let depths: Vec<u32> = targets
            .targets()
            .map(|depth| depth.expect("the module is valid"))
            .chain([targets.default()])
            .collect();
        self.emit(Insn::new(Op::BrTable, 0, index, 0).with(depths.len() as u64 - 1));
        let mut stubs: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for depth in depths {
            let count = self.label(depth).len();
            let target = Insn::new(Op::Target, 0, 0, 0);
            if self.in_place(depth) && self.all_home(count) {
                self.jump(target, depth);
            } else {
                let place = self.emit(target);
                stubs.entry(depth).or_default().push(place);
            }
        }
        for (depth, places) in stubs {
            places.into_iter().for_each(|place| self.land(place));
            self.branch_aside(depth);
        }
        self.die();
    }

    /// Returns with the last values.
    pub(crate) fn leave(&mut self, count: usize) {
        let last = self.stack.last().copied();
        match (count, last) {
            (0, _) => {
                self.emit(Insn::new(Op::Return, 0, 0, 0));
            }
            (1, Some(Entry { place: Place::Const(value), .. })) => {
                self.emit(Insn::new(Op::ReturnConst, 0, 0, 0).with(value));
            }
            (1, Some(Entry { wide: false, place: Place::Local(slot), .. })) => {
                self.emit(Insn::new(Op::ReturnOne, 0, slot, 0));
            }
            (1, Some(Entry { wide: false, home, .. })) => {
                self.emit(Insn::new(Op::ReturnOne, 0, home, 0));
            }
            _ => {
                self.bring_last_home(count);
                let first = self.stack[self.stack.len() - count];
                let slots = self.next_home() - u32::from(first.home);
                let slots = u16::try_from(slots).expect("below the slots of a frame");
                self.emit(Insn::new(Op::Return, 0, first.home, slots));
            }
        }
    }

    /// What follows is not reached.
    pub(crate) fn die(&mut self) {
        let height = self.controls.last().map_or(0, |control| control.height);
        while self.stack.len() > height {
            self.pop();
        }
        self.dead = Some(0);
    }

    pub(crate) fn trap(&mut self, trap: Trap) {
        debug_assert_eq!(trap, Trap::Unreachable);
        self.emit(Insn::new(Op::Trap, 0, 0, 0));
        self.die();
    }

    /// Goes past code that is not reached; says whether this operator is such.
    fn skip(&mut self, operator: &Operator<'_>) -> bool {
        let Some(open) = self.dead else { return false };
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::TryTable { .. } => self.dead = Some(open + 1),
            Operator::End if open > 0 => self.dead = Some(open - 1),
            Operator::Else | Operator::End if open == 0 => return false,
            _ => {}
        }
        true
    }

    fn operator(&mut self, operator: &Operator<'_>) -> Result<(), TooLarge> {
        if self.skip(operator) {
            return Ok(());
        }
        let free = matches!(
            operator,
            Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::TryTable { .. }
                | Operator::Else
                | Operator::End
        );
        self.ticks += u32::from(!free);
        self.translate(operator)?;
        let fits = !self.full
            && self.code.weight() <= INSNS_MAX
            && self.controls.len() <= BLOCKS_MAX
            && self.code.handlers.len() <= HANDLERS_MAX;
        if fits { Ok(()) } else { Err(TooLarge) }
    }

    pub(crate) fn otherwise(&mut self) {
        let reached = self.dead.take().is_none();
        let depth = self.controls.len() - 1;
        if reached {
            let count = self.controls[depth].results.len();
            self.bring_last_home(count);
            self.jump(Insn::new(Op::Br, 0, 0, 0), 0);
        }
        let control = &mut self.controls[depth];
        if let Block::If { otherwise } = &mut control.block
            && let Some(place) = otherwise.take()
        {
            let (height, params) = (control.height, control.params);
            self.land(place);
            while self.stack.len() > height {
                self.pop();
            }
            let pushed = self.push_all(params);
            pushed.expect("they were there before");
        }
    }

    /// Adds what a block catches after it, and a branch around that.
    fn end_try(&mut self, control: &mut Control<'_>, reached: bool) -> Result<(), TooLarge> {
        let caught = self.tries.pop().expect("it was opened");
        let to = self.here_fenced();
        if reached {
            control.exits.push(self.emit(Insn::new(Op::Br, 0, 0, 0)));
        }
        while self.stack.len() > control.height {
            self.pop();
        }
        self.catches(caught, to)
    }

    pub(crate) fn end(&mut self) -> Result<(), TooLarge> {
        let reached = self.dead.take().is_none();
        let mut control = self.controls.pop().expect("the module is valid");
        if reached {
            let count = control.results.len();
            if control.block == Block::Function {
                self.leave(count);
                return Ok(());
            }
            self.bring_last_home(count);
        }
        if control.block == Block::Try {
            self.end_try(&mut control, reached)?;
        }
        let mut met = !control.exits.is_empty();
        for place in &control.exits {
            self.land(*place);
        }
        if let Block::If { otherwise: Some(place) } = control.block {
            self.land(place);
            met = true;
        }
        if control.block == Block::Function {
            return Ok(());
        }
        while self.stack.len() > control.height {
            self.pop();
        }
        if reached || met {
            self.push_all(&control.results)
        } else {
            self.die();
            Ok(())
        }
    }
}
