//! A block: its frame of budget and exits, and the dispatch over its operations.

pub(crate) mod function;

use crate::asm::{
    Alu, Asm, Cc, Gpr, Jump, Mem, Place, R15, RAX, RBP, RCX, RDX, Rm, Shift, W, Xmm, offset,
};
use crate::layout::{FETCHES, JUMPS, control};
use crate::local::{self, Local};
use crate::map::Loc;
use crate::moves::Fix;
use crate::share::Shares;
use crate::{Of, Techniques, Tier};
use omni_ir::{Binary, Block, Cond, Fence, Inst, Known, Slot, Term, Unary, Val, Width};

/// The size of a page of code, whose mapping one number stands for.
const PAGE: u64 = 4096;

/// A number that no mapping has.
const NO_ID: u32 = u32::MAX;

/// The canonical NaNs of the RISC-V manual; the single is in its box.
const NAN_64: u64 = 0x7ff8_0000_0000_0000;
const NAN_32: u64 = 0xffff_ffff_7fc0_0000;

/// The canonical single without a box.
const NAN_PLAIN_32: u64 = 0x7fc0_0000;

/// Code of a block.
#[derive(Debug)]
pub struct Compiled {
    /// The bytes, for the offsets they were made for.
    pub bytes: Vec<u8>,
    /// How many of them are for the first offset; the others, which are rarely run, are for
    /// `rest_at`.
    pub split: usize,
    /// Where those go in the arena.
    pub rest_at: usize,
    /// The ways out to known addresses, by number.
    pub exits: Vec<Exit>,
    /// What changes where the code is copied, for the same block at another address of the guest;
    /// nothing where it cannot be.
    pub fixes: Option<Vec<Fix>>,
}

/// A way out of a block to a known address, which can be made to lead to that block's code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exit {
    /// The address.
    pub pc: u64,
    /// The offset in the bytes of the 32-bit displacement that leads there.
    pub jump: usize,
    /// The offset of what it leads to at first: code is left there.
    pub stub: usize,
    /// Where the target is in another page: the offset of the 32-bit number that the mapping of
    /// that page must have for the jump to be taken.
    pub guard: Option<usize>,
}

/// Code out of the way of the hot path.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stub {
    /// Runs operations by the interpreter, and goes on at the offset.
    Step { from: Jump, inst: usize, count: usize, resume: usize },
    /// Puts the canonical NaN into the register, and goes on at the offset.
    Nan { from: Jump, double: bool, reg: Xmm, resume: usize },
    /// Goes on at the operation in the twin, where every access probes for itself.
    Twin { from: Jump, inst: usize },
    /// Leaves the rest of the block, from the operation on, to the interpreter.
    Finish { from: Jump, inst: usize },
    /// Leaves to a known address, `back` ticks short of the block's end.
    Exit { from: Jump, pc: u64, back: u32 },
    /// Whether an access by the address in the register, which is not aligned, stays in its page:
    /// then it goes on at the offset, else whoever runs the function does the operation.
    Unaligned { from: Jump, at: Gpr, size: u64, inst: usize, resume: usize },
    /// Leaves by the exit of this number, which leads nowhere yet or whose guard says no.
    Leave { from: Jump, guard: Option<Jump>, exit: usize },
}

/// A block in the making.
pub(crate) struct Emit<'a> {
    pub(crate) asm: Asm,
    pub(crate) tier: &'a Tier,
    pub(crate) block: &'a Block,
    id: u32,
    at: usize,
    pub(crate) stubs: Vec<Stub>,
    exits: Vec<Exit>,
    /// Slots whose value is known.
    known: Vec<(Slot, Known)>,
    /// The code is good for this address of the guest alone.
    pub(crate) fixed: bool,
    /// The temporary that rdx holds within the present guest instruction.
    in_rdx: Option<Slot>,
    /// The temporary that rax holds from the present operation to the next, which is an access.
    in_rax: Option<Slot>,
    /// Floating-point slots known to hold a single in its box.
    pub(crate) boxed: [u64; 4],
    /// The slot in which the rounding mode has been seen to be the default one.
    pub(crate) nearest_in: Option<Slot>,
    /// The slot that holds what the flags are: none was raised since they were moved there.
    pub(crate) flags_in: Option<Slot>,
    pub(crate) shares: Shares,
    locals: Vec<Local>,
    /// Where the twin is entered: operations, and the offsets of their code.
    twin: Vec<(usize, usize)>,
    /// Where a round of the block begins: after registers were exchanged.
    round: usize,
    /// Where what is rarely run begins.
    split: usize,
    /// The operation that is being made.
    pub(crate) inst: usize,
}

pub(crate) fn compile(tier: &Tier, block: &Block, of: Of) -> Compiled {
    let Techniques { sharing, registers, .. } = tier.techniques;
    let shares = if sharing { Shares::of(block) } else { Shares::default() };
    let locals = if registers { local::plan(tier, block, &shares) } else { vec![] };
    let mut emit = Emit {
        // About what most take, so that it need not grow.
        asm: Asm::with_room(256 + 24 * block.insts.len()),
        tier,
        block,
        id: of.id,
        at: of.at,
        stubs: vec![],
        exits: vec![],
        known: vec![],
        fixed: of.second.is_some(),
        in_rdx: None,
        in_rax: None,
        boxed: [0; 4],
        nearest_in: None,
        flags_in: None,
        locals,
        shares,
        twin: vec![],
        round: 0,
        split: 0,
        inst: 0,
    };
    let elsewhere = of.second.map(|(pc, number)| emit.guard(pc, number).1);
    emit.body();
    if let (Some(jump), Some(&Inst::Start(pc))) = (elsewhere, block.insts.first()) {
        // The instruction's second half is elsewhere now: it is looked up anew.
        emit.asm.bind(jump);
        emit.asm.mov_imm(RAX, pc);
        emit.jump_to(tier.thunks.unknown);
    }
    emit.stubs();
    emit.place_all(of)
}

impl Emit<'_> {
    fn body(&mut self) {
        let ticks = self.block.ticks;
        self.take_registers();
        self.round = self.asm.here();
        self.asm.alu_imm(Alu::Sub, W::Q, R15, ticks.cast_signed());
        let short = self.asm.jcc(Cc::B);
        self.insts(0);
        self.near_exits();
        self.split = self.asm.here();
        self.twin();
        self.asm.bind(short);
        self.asm.alu_imm(Alu::Add, W::Q, R15, ticks.cast_signed());
        self.give_registers();
        self.place(0);
        self.jump_to(self.tier.thunks.budget);
    }

    /// The operations from the present one on, after so many guest instructions began.
    fn insts(&mut self, mut begun: u32) {
        while let Some(inst) = self.block.insts.get(self.inst) {
            if let Some(entry) = self.twin.iter_mut().find(|(inst, _)| *inst == self.inst) {
                entry.1 = self.asm.here();
                self.forget();
            }
            if let Inst::Start(_) = inst {
                begun += 1;
                self.inst += 1;
                if self.restores_flags(self.inst) {
                    self.inst += 2;
                    continue;
                }
                if self.tier.techniques.pairs && self.two_in_one() {
                    begun += 1;
                    continue;
                }
                self.begin();
                // Most instructions are no such thing, which their first operation shows.
                self.float_instruction();
                continue;
            }
            self.emit(inst, begun);
            self.inst += 1;
        }
        self.inst = self.block.insts.len();
        self.term(self.block.term);
    }

    /// The rest of the block once more from the first probe for a group on, without groups: where
    /// such a probe fails, as the bytes are in two pages or not to be had at once.
    fn twin(&mut self) {
        let from = |stub: &Stub| match *stub {
            Stub::Twin { inst, .. } => Some(inst),
            Stub::Step { .. }
            | Stub::Nan { .. }
            | Stub::Finish { .. }
            | Stub::Exit { .. }
            | Stub::Unaligned { .. }
            | Stub::Leave { .. } => None,
        };
        self.twin = self.stubs.iter().filter_map(from).map(|inst| (inst, 0)).collect();
        let Some(&(first, _)) = self.twin.iter().min_by_key(|(inst, _)| *inst) else { return };
        let before = &self.block.insts[..first];
        let begun = before.iter().filter(|inst| matches!(inst, Inst::Start(_))).count();
        self.shares = Shares::default();
        self.in_rdx = None;
        self.inst = first;
        self.insts(begun as u32);
    }

    /// Forgets what is known of slots, where code comes from elsewhere.
    fn forget(&mut self) {
        self.known.clear();
        self.boxed = [0; 4];
        self.nearest_in = None;
        self.flags_in = None;
    }

    /// Takes registers for the block's own slots.
    fn take_registers(&mut self) {
        for local in &self.locals {
            if let Some((_, home)) = local.instead {
                self.asm.store(8, home, local.reg);
            }
            self.asm.mov(W::Q, local.reg, local.home);
        }
    }

    /// Makes the registers what they are by the map.
    fn give_registers(&mut self) {
        for local in &self.locals {
            if local.written {
                self.asm.store(8, local.home, local.reg);
            }
            if let Some((_, home)) = local.instead {
                self.asm.mov(W::Q, local.reg, home);
            }
        }
    }

    /// At the start of a guest instruction: rdx may hold its first temporary, if nothing in it
    /// needs rdx.
    fn begin(&mut self) {
        self.in_rdx = None;
        let rest = &self.block.insts[self.inst..];
        let mut first = None;
        for inst in rest.iter().take_while(|inst| !matches!(inst, Inst::Start(_))) {
            let dst = match *inst {
                Inst::Unary(op, dst, _) if op != Unary::Unbox16 => dst,
                Inst::Binary(op, width, dst, _, _) if is_plain(op, width) => dst,
                Inst::Deposit { dst, .. } | Inst::Address(dst, _) => dst,
                Inst::ExitIf(..) | Inst::Fence(_) => continue,
                Inst::Start(_)
                | Inst::Unary(..)
                | Inst::Binary(..)
                | Inst::Select(..)
                | Inst::Load(..)
                | Inst::Store(..)
                | Inst::Atomic(..)
                | Inst::CompareSwap { .. }
                | Inst::LoadReserved(..)
                | Inst::StoreConditional(..)
                | Inst::Float { .. }
                | Inst::Call(..) => return,
            };
            if dst.is_temp() && first.is_none() {
                first = Some(dst);
            }
        }
        self.in_rdx = first;
    }

    fn emit(&mut self, inst: &Inst, retired: u32) {
        let flags = self.tier.flags;
        if self.has_flags(inst) {
            self.take_flags();
        }
        if let Inst::Unary(Unary::Move, dst, Val::Const(_)) | Inst::Address(dst, _) = *inst
            && dst.is_temp()
            && !self.is_read(dst, self.inst + 1)
        {
            return;
        }
        if let Inst::Unary(Unary::Move, dst, from) = *inst
            && from == Val::Slot(flags)
        {
            self.unary(Unary::Move, dst, from);
            self.flags_in = Some(dst);
            return;
        }
        match *inst {
            Inst::Fence(Fence::Full) if self.tier.beside.is_some() => self.asm.fence(),
            Inst::Start(_) | Inst::Fence(_) => {}
            Inst::Address(dst, to) => self.address_of_code(dst, to),
            Inst::Unary(op, dst, a) => self.unary(op, dst, a),
            Inst::Binary(op, width, dst, a, b) => self.binary(op, width, dst, a, b),
            Inst::Select(dst, test, a, b) => self.select(dst, test, a, b),
            Inst::Deposit { dst, base, value, at, bits } => {
                self.deposit(dst, base, value, (at, bits));
            }
            Inst::Load(memory, dst, base, offset) => self.load(memory, dst, base, offset),
            Inst::Store(size, base, offset, value) => self.store(size, base, offset, value),
            // What the host can do was made as a whole instruction.
            Inst::Float { dst, .. } => self.step(dst),
            Inst::Atomic(op, size, dst, at, value) => self.atomic(op, size, dst, at, value),
            Inst::CompareSwap { dst, .. } => self.step(dst),
            Inst::LoadReserved(size, dst, at) => self.load_reserved(size, dst, at),
            Inst::StoreConditional(size, dst, at, value) => {
                self.store_conditional(size, dst, at, value);
            }
            Inst::Call(_, dst, _) => {
                self.step(dst);
                // It may write every register.
                self.forget();
            }
            Inst::ExitIf(cond, a, b, to) => self.exit_if(cond, a, b, to, retired),
        }
    }

    fn term(&mut self, term: Term) {
        if term.reads(self.tier.flags) {
            self.take_flags();
        }
        match term {
            Term::Jump(to) => self.leave_for(to),
            Term::Branch(cond, a, b, to, or) => match self.compare(cond, a, b) {
                Ok(cc) => {
                    let jump = self.asm.jcc(cc);
                    self.exit(jump, to, 0);
                    self.leave_for(or);
                }
                Err(holds) => self.leave_for(if holds { to } else { or }),
            },
            Term::Indirect(to) => match self.known_of(to) {
                Some(Known::Moving(to)) => self.leave_for(to),
                Some(Known::Fixed(to)) => {
                    self.fixed = true;
                    self.leave_for(to);
                }
                None => self.indirect(to),
            },
            Term::Trap(_) => {
                let jump = self.asm.jmp();
                self.stubs.push(Stub::Finish { from: jump, inst: self.inst });
            }
            Term::Stop(to) => {
                self.put_in(RAX, to);
                self.give_registers();
                self.jump_to(self.tier.thunks.stop);
            }
        }
    }

    /// Goes to a computed address by way of the jump cache.
    fn indirect(&mut self, to: Val) {
        self.put_in(RAX, to);
        self.give_registers();
        self.asm.mov(W::D, RCX, RAX);
        self.asm.shift_imm(Shift::Shr, W::D, RCX, 11);
        self.asm.alu(Alu::Xor, W::D, RCX, RAX);
        self.asm.alu_imm(Alu::And, W::D, RCX, ((JUMPS - 1) << 1) as i32);
        self.asm.mov(W::Q, RDX, self.control(control::JUMPS));
        self.asm.lea(W::Q, RCX, Mem::indexed(RDX, RCX, 3, 0));
        self.asm.alu(Alu::Cmp, W::Q, RAX, Mem::at(RCX, 0));
        let miss = self.asm.jcc(Cc::Ne);
        self.asm.jmp_rm(Mem::at(RCX, 8));
        self.asm.bind_to(miss, offset(self.tier.thunks.indirect) - offset(self.at));
    }

    fn exit_if(&mut self, cond: Cond, a: Val, b: Val, to: u64, retired: u32) {
        let jump = match self.compare(cond, a, b) {
            Ok(cc) => self.asm.jcc(cc),
            Err(true) => self.asm.jmp(),
            Err(false) => return,
        };
        self.exit(jump, to, self.block.ticks - retired);
    }

    /// Makes a jump an exit. Directly, if the target is in this page and there is nothing to do
    /// on the way; else by a stub.
    fn exit(&mut self, from: Jump, pc: u64, back: u32) {
        self.stubs.push(Stub::Exit { from, pc, back });
    }

    /// Exits, which are run often, next to what leads to them.
    fn near_exits(&mut self) {
        for stub in std::mem::take(&mut self.stubs) {
            match stub {
                Stub::Exit { from, pc, back } => self.exit_stub(from, pc, back),
                Stub::Step { .. }
                | Stub::Nan { .. }
                | Stub::Finish { .. }
                | Stub::Twin { .. }
                | Stub::Unaligned { .. }
                | Stub::Leave { .. } => self.stubs.push(stub),
            }
        }
    }

    fn stubs(&mut self) {
        self.near_exits();
        for stub in std::mem::take(&mut self.stubs) {
            match stub {
                Stub::Step { from, inst, count, resume } => {
                    self.asm.bind(from);
                    self.give_registers();
                    for inst in inst..inst + count {
                        self.place(inst);
                        self.call_to(self.tier.thunks.step);
                    }
                    self.take_registers();
                    let back = self.asm.jmp();
                    self.asm.bind_to(back, offset(resume));
                }
                Stub::Nan { from, double, reg, resume } => {
                    self.nan_stub(from, if double { NAN_64 } else { NAN_32 }, reg, resume);
                }
                Stub::Twin { from, inst } => {
                    let entry = self.twin.iter().find(|(at, _)| *at == inst);
                    let (_, to) = *entry.expect("the twin has an entry for each");
                    self.asm.bind_to(from, offset(to));
                }
                Stub::Finish { from, inst } => {
                    self.asm.bind(from);
                    self.give_registers();
                    self.place(inst);
                    self.jump_to(self.tier.thunks.finish);
                }
                Stub::Leave { from, guard, exit } => {
                    self.asm.bind(from);
                    if let Some(guard) = guard {
                        self.asm.bind(guard);
                    }
                    self.exits[exit].stub = self.asm.here();
                    self.place(exit);
                    self.jump_to(self.tier.thunks.exit);
                }
                Stub::Exit { .. } => unreachable!("they were made before"),
                Stub::Unaligned { .. } => unreachable!("only functions have them"),
            }
        }
    }

    fn nan_stub(&mut self, from: Jump, nan: u64, reg: Xmm, resume: usize) {
        self.asm.bind(from);
        self.asm.mov_imm(RAX, nan);
        self.asm.xmm_from_gpr(W::Q, reg, RAX);
        let back = self.asm.jmp();
        self.asm.bind_to(back, offset(resume));
    }

    fn exit_stub(&mut self, from: Jump, pc: u64, back: u32) {
        if pc == self.start() && back == 0 {
            return self.asm.bind_to(from, offset(self.round));
        }
        if back == 0 && self.is_near(pc) {
            return self.leave(from, None, pc);
        }
        self.asm.bind(from);
        if back > 0 {
            self.asm.alu_imm(Alu::Add, W::Q, R15, back.cast_signed());
        }
        self.leave_for(pc);
    }

    /// Goes on at a known address, after all of the block's ticks.
    fn leave_for(&mut self, pc: u64) {
        if pc == self.start() {
            let again = self.asm.jmp();
            return self.asm.bind_to(again, offset(self.round));
        }
        self.give_registers();
        let same_page = self.start() / PAGE == pc / PAGE;
        let guard = (!same_page).then(|| self.guard(pc, NO_ID));
        let jump = self.asm.jmp();
        self.leave(jump, guard, pc);
    }

    /// Makes a jump, after a guard if there is one, an exit.
    fn leave(&mut self, jump: Jump, guard: Option<(usize, Jump)>, pc: u64) {
        let (from, exit) = (jump, self.exits.len());
        self.exits.push(Exit { pc, jump: jump.0, stub: 0, guard: guard.map(|(at, _)| at) });
        self.stubs.push(Stub::Leave { from, guard: guard.map(|(_, jump)| jump), exit });
    }

    /// The address of the block.
    fn start(&self) -> u64 {
        match self.block.insts.first() {
            Some(&Inst::Start(pc)) => pc,
            _ => unreachable!("a block begins with a guest instruction"),
        }
    }

    /// Whether there is nothing to do on the way to an address.
    fn is_near(&self, pc: u64) -> bool {
        self.start() / PAGE == pc / PAGE && self.locals.is_empty()
    }

    /// The bytes for where they will be.
    fn place_all(self, of: Of) -> Compiled {
        let split = self.split;
        // From an even place on, as code is faster to run by whole lines.
        let rest_at = (of.end - (self.asm.here() - split)) & !15;
        let place = Place { split, at: of.at, rest_at };
        let (bytes, fixes) = self.asm.settle(place);
        let fixes = (!self.fixed).then_some(fixes);
        Compiled { bytes, split, rest_at, exits: self.exits, fixes }
    }

    /// Compares the number of the mapping of the page of `pc`; jumps where it is another.
    fn guard(&mut self, pc: u64, number: u32) -> (usize, Jump) {
        let index = (pc / PAGE % FETCHES) as i32;
        let at = self.asm.cmp_guard(RBP, self.tier.layout.fetch_ids + 4 * index, number);
        (at, self.asm.jcc(Cc::Ne))
    }

    /// Runs the present operation, which writes `dst`, by the interpreter.
    pub(crate) fn step(&mut self, dst: Slot) {
        if self.tier.frames {
            let from = self.asm.jmp();
            self.stubs.push(Stub::Finish { from, inst: self.inst });
            return self.wrote(dst);
        }
        self.give_registers();
        self.place(self.inst);
        self.call_to(self.tier.thunks.step);
        self.take_registers();
        self.flags_in = None;
        self.wrote(dst);
    }

    /// Whether the operation names the slot of the flags.
    pub(crate) fn has_flags(&self, inst: &Inst) -> bool {
        let flags = self.tier.flags;
        inst.reads(flags) || inst.dst() == Some(flags)
    }

    /// Whether the guest instruction reads a temporary from this operation on.
    pub(crate) fn is_read(&self, temp: Slot, from: usize) -> bool {
        let rest = &self.block.insts[from..];
        match rest.iter().position(|inst| matches!(inst, Inst::Start(_))) {
            Some(end) => rest[..end].iter().any(|inst| inst.reads(temp)),
            // The terminator belongs to the last instruction.
            None => rest.iter().any(|inst| inst.reads(temp)) || self.block.term.reads(temp),
        }
    }

    /// Puts the block and a number within it into eax.
    fn place(&mut self, number: usize) {
        self.asm.mov_place(RAX, self.id << 10 | number as u32);
    }

    fn jump_to(&mut self, to: usize) {
        let jump = self.asm.jmp();
        self.asm.bind_to(jump, offset(to) - offset(self.at));
    }

    fn call_to(&mut self, to: usize) {
        let call = self.asm.call();
        self.asm.bind_to(call, offset(to) - offset(self.at));
    }

    pub(crate) fn control(&self, at: i32) -> Mem {
        Mem::at(RBP, self.tier.layout.control + at)
    }

    /// Where a slot is now.
    pub(crate) fn loc(&self, slot: Slot) -> Loc {
        if self.in_rdx == Some(slot) {
            return Loc::G(RDX);
        }
        if self.in_rax == Some(slot) {
            return Loc::G(RAX);
        }
        for local in &self.locals {
            if local.slot == slot {
                return Loc::G(local.reg);
            }
            match local.instead {
                Some((other, home)) if other == slot => return Loc::M(home),
                Some(_) | None => {}
            }
        }
        self.tier.map.loc(slot)
    }

    /// What is known of an operand.
    pub(crate) fn known_of(&self, val: Val) -> Option<Known> {
        match val {
            Val::Const(value) => Some(Known::Fixed(value)),
            Val::Slot(slot) => {
                self.known.iter().find(|(at, _)| *at == slot).map(|(_, value)| *value)
            }
        }
    }

    /// What an operand is, if that is known, wherever the block is.
    pub(crate) fn value_of(&self, val: Val) -> Option<u64> {
        match self.known_of(val)? {
            Known::Fixed(value) => Some(value),
            Known::Moving(_) => None,
        }
    }

    /// Notes that a slot has a new value.
    pub(crate) fn wrote(&mut self, slot: Slot) {
        self.known.retain(|(at, _)| *at != slot);
        if self.flags_in == Some(slot) || slot == self.tier.flags {
            self.flags_in = None;
        }
        if self.nearest_in == Some(slot) {
            self.nearest_in = None;
        }
        self.boxed[usize::from(slot.0 >> 6)] &= !(1 << (slot.0 & 63));
    }

    /// Notes what is known of a slot's value now.
    pub(crate) fn wrote_known(&mut self, slot: Slot, value: Known) {
        self.wrote(slot);
        // These two change by other operations than those that name them.
        if slot != self.tier.flags && slot != self.tier.reservation {
            self.known.push((slot, value));
        }
    }

    /// The operand in a register: its own, or `scratch`.
    pub(crate) fn in_gpr(&mut self, val: Val, scratch: Gpr) -> Gpr {
        if let Val::Slot(slot) = val
            && let Loc::G(reg) = self.loc(slot)
        {
            return reg;
        }
        self.put_in(scratch, val);
        scratch
    }

    /// Puts the operand into this register.
    pub(crate) fn put_in(&mut self, reg: Gpr, val: Val) {
        if let Some(value) = self.value_of(val)
            && (matches!(val, Val::Const(_)) || u32::try_from(value).is_ok())
        {
            self.asm.mov_imm(reg, value);
            return;
        }
        let Val::Slot(slot) = val else { return };
        match self.loc(slot) {
            Loc::G(own) if own == reg => {}
            Loc::G(own) => self.asm.mov(W::Q, reg, own),
            Loc::X(own) => self.asm.gpr_from_xmm(W::Q, reg, own),
            Loc::M(home) => self.asm.mov(W::Q, reg, home),
        }
    }

    /// The operand as a register or memory operand, or in `scratch` where it is neither.
    pub(crate) fn operand(&mut self, val: Val, scratch: Gpr) -> Rm {
        if let Val::Slot(slot) = val {
            match self.loc(slot) {
                Loc::G(reg) => return reg.into(),
                Loc::M(home) => return home.into(),
                Loc::X(_) => {}
            }
        }
        self.put_in(scratch, val);
        scratch.into()
    }

    /// The register in which a result for the slot is best made.
    pub(crate) fn target(&self, dst: Slot) -> Gpr {
        match self.loc(dst) {
            Loc::G(reg) => reg,
            Loc::X(_) | Loc::M(_) => RAX,
        }
    }

    /// The slot's value is in this register now.
    pub(crate) fn done(&mut self, dst: Slot, reg: Gpr) {
        match self.loc(dst) {
            Loc::G(own) if own == reg => {}
            Loc::G(own) => self.asm.mov(W::Q, own, reg),
            Loc::X(own) => self.asm.xmm_from_gpr(W::Q, own, reg),
            Loc::M(home) => self.asm.store(8, home, reg),
        }
        self.wrote(dst);
    }
}

/// Whether code for the operation leaves rdx alone, and is no step.
fn is_plain(op: Binary, width: Width) -> bool {
    use Binary::{
        Add, And, AndNot, ClMul, ClMulHigh, ClMulRev, DivS, DivU, Eq, IfNonZero, IfZero, LtS, LtU,
        MaxS, MaxU, MinS, MinU, Mul, MulHighS, MulHighSU, MulHighU, Ne, Or, OrNot, RemS, RemU,
        RotL, RotR, Sar, Sh1Add, Sh2Add, Sh3Add, Shl, Shr, Sub, Xor, XorNot,
    };
    let full = width == Width::Full;
    match op {
        Add | Sub | And | Or | Xor | AndNot | OrNot | XorNot => true,
        Shl | Shr | Sar | RotL | RotR | Eq | Ne | LtS | LtU | Mul => true,
        MinS | MinU | MaxS | MaxU | Sh1Add | Sh2Add | Sh3Add => full,
        MulHighU | MulHighS | MulHighSU | DivU | DivS | RemU | RemS | ClMul | ClMulHigh
        | ClMulRev | IfNonZero | IfZero => false,
    }
}
