//! Code of a whole function: its blocks one after the other, with one map of registers for all.
//!
//! At each instruction the state is what the homes have and, for slots with registers, what those
//! have. So code can be entered at any instruction, by loading all registers, and left at any, by
//! writing home those that may differ.

use super::{Emit, NAN_64, NAN_PLAIN_32, Stub};
use crate::Tier;
use crate::asm::{
    Alu, Asm, Cc, Gpr, Jump, Mem, Place, R8, R9, R10, R11, R12, R15, RAX, RBP, RCX, RDI, RDX, RSI,
    RSP, Shift, W, Xmm, offset,
};
use crate::frame::{Frames, Left, Made, words};
use crate::map::{Loc, Map};
use crate::share::Shares;
use crate::usage::{Set, Usage, wanted};
use omni_ir::{Binary, Callee, Edge, End, Function, Home, Inst, Slot, Val, Width};

/// Registers for slots of integers, and how many for those of floats.
const GPRS: [Gpr; 7] = [RSI, RDI, R8, R9, R10, R11, R12];
const XMMS: u8 = 13;

/// Slots that are made zero one pair after the other; more are in a loop.
const ZEROS_MAX: u32 = 32;

/// What is left of a way out.
struct Leave {
    from: Vec<Jump>,
    pc: u32,
    why: Left,
    dirty: Set,
}

/// A function in the making.
struct Maker<'a> {
    emit: Emit<'a>,
    frames: &'a Frames,
    function: &'a Function,
    usage: Usage,
    /// Slots with registers.
    mapped: Set,
    at: usize,
    /// Where blocks begin, and jumps that lead to them.
    begins: Vec<usize>,
    jumps: Vec<(Jump, u32)>,
    /// Words that are to have the offset in the arena of a block, or of a place here.
    words: Vec<(usize, Target)>,
    places: Vec<u32>,
    leaves: Vec<Leave>,
    /// What is out of the way and comes back, with the instruction and what is dirty there.
    later: Vec<(Stub, u32, Set)>,
    /// Where each operation's instruction begins in this block: its number, and what was dirty.
    starts: Vec<(usize, u32, Set)>,
}

#[derive(Clone, Copy)]
enum Target {
    Piece(u32),
    Here(usize),
}

pub(crate) fn compile(frames: &Frames, function: &Function, at: usize) -> Option<Made> {
    let open = |end: &End| matches!(end, End::Next | End::Branch(..) | End::Call(..));
    if function.pieces.last().is_none_or(|last| open(&last.end)) {
        return None;
    }
    let mut usage = Usage::of(function)?;
    let (integers, floats) = wanted(function, &usage);
    let integers: Vec<_> = integers.into_iter().zip(GPRS).collect();
    let floats: Vec<_> = floats.into_iter().zip((0..XMMS).map(Xmm)).collect();
    let mut mapped = Set::default();
    integers.iter().for_each(|(slot, _)| mapped.add(*slot));
    floats.iter().for_each(|(slot, _)| mapped.add(*slot));
    usage.settle(function, mapped)?;
    let homes = |slot: u8| home(function, slot);
    let tier = frames.tier(Map::of_function(homes, &integers, &floats));
    let first = &function.pieces.first()?.body;
    let maker = Maker {
        emit: emit(&tier, first, at, function.ends.len()),
        frames,
        function,
        usage,
        mapped,
        at,
        begins: vec![],
        jumps: vec![],
        words: vec![],
        places: vec![Made::NOWHERE; function.ends.len()],
        leaves: vec![],
        later: vec![],
        starts: vec![],
    };
    maker.make()
}

/// Where a slot is at rest. The frame of the largest function is a few hundred kilobytes.
fn home(function: &Function, slot: u8) -> Mem {
    match function.homes.get(usize::from(slot)) {
        Some(Home::Frame(at)) => frame_slot(*at),
        Some(Home::Shared(at)) => Mem::at(RBP, words::SHARED + 8 * at.cast_signed()),
        None => {
            let temp = i32::from(slot.saturating_sub(Slot::TEMPS));
            Mem::at(RBP, words::TEMPS + 8 * temp)
        }
    }
}

fn frame_slot(at: u32) -> Mem {
    Mem::at(words::FRAME_REG, 8 * at.cast_signed())
}

fn emit<'a>(tier: &'a Tier, block: &'a omni_ir::Block, at: usize, insns: usize) -> Emit<'a> {
    Emit {
        asm: Asm::with_room(512 + 24 * insns),
        tier,
        block,
        id: 0,
        at,
        stubs: vec![],
        exits: vec![],
        known: vec![],
        fixed: true,
        in_rdx: None,
        in_rax: None,
        boxed: [0; 4],
        nearest_in: None,
        flags_in: None,
        locals: vec![],
        shares: Shares::default(),
        twin: vec![],
        round: 0,
        split: 0,
        inst: 0,
    }
}

impl Maker<'_> {
    fn make(mut self) -> Option<Made> {
        let fill = self.fill();
        let entry = self.prologue();
        for at in 0..self.function.pieces.len() {
            self.piece(at);
            if self.emit.asm.here() > Frames::BYTES_MAX {
                return None;
            }
        }
        let after = self.function.pieces.len() as u32;
        if self.jumps.iter().any(|(_, to)| *to >= after) {
            return None;
        }
        self.aside();
        self.leaves();
        if self.emit.asm.here() > Frames::BYTES_MAX {
            return None;
        }
        for (jump, to) in std::mem::take(&mut self.jumps) {
            self.emit.asm.bind_to(jump, offset(self.begins[to as usize]));
        }
        let (at, split) = (self.at, self.emit.asm.here());
        let (mut bytes, _) = self.emit.asm.settle(Place { split, at, rest_at: at + split });
        for (word, target) in self.words {
            let to = match target {
                Target::Piece(to) => *self.begins.get(to as usize)?,
                Target::Here(to) => to,
            };
            let to = u32::try_from(at + to).ok()?;
            bytes[word..word + 4].copy_from_slice(&to.to_le_bytes());
        }
        Some(Made { bytes, entry: at + entry, fill: at + fill, places: self.places })
    }

    /// Loads the registers, and goes to rax.
    fn fill(&mut self) -> usize {
        let here = self.emit.asm.here();
        self.load(self.mapped);
        self.emit.asm.jmp_rm(RAX);
        here
    }

    fn load(&mut self, slots: Set) {
        self.each_mapped(slots, |asm, loc, home| match loc {
            Loc::G(reg) => asm.mov(W::Q, reg, home),
            Loc::X(reg) => asm.load_xmm(8, reg, home),
            Loc::M(_) => {}
        });
    }

    fn spill(&mut self, slots: Set) {
        self.each_mapped(slots, |asm, loc, home| match loc {
            Loc::G(reg) => asm.store(8, home, reg),
            Loc::X(reg) => asm.store_xmm(8, home, reg),
            Loc::M(_) => {}
        });
    }

    fn each_mapped(&mut self, slots: Set, each: impl Fn(&mut Asm, Loc, Mem)) {
        for at in 0..self.function.homes.len() {
            let slot = Slot(at as u8);
            if slots.has(slot) && self.mapped.has(slot) {
                let loc = self.emit.tier.map.loc(slot);
                each(&mut self.emit.asm, loc, home(self.function, slot.0));
            }
        }
    }

    /// What calls go to: rdx has the new frame, rax the caller and where it goes on, and the ticks
    /// that are left are those until the last one.
    fn prologue(&mut self) -> usize {
        let asm = &mut self.emit.asm;
        let here = asm.here();
        let word = |at| Mem::at(RBP, at);
        asm.mov(W::Q, RCX, word(words::CALLS));
        asm.lea(W::Q, RSI, Mem::at(RDX, 8 * self.function.slots.cast_signed()));
        let mut full = vec![];
        for (reg, end, cc) in [
            (RCX, words::CALLS_END, Cc::Ae),
            (RSI, words::STACK_END, Cc::A),
            (RSP, words::NATIVE_END, Cc::B),
        ] {
            asm.alu(Alu::Cmp, W::Q, reg, word(end));
            full.push(asm.jcc(cc));
        }
        asm.store(8, Mem::at(RCX, 0), RAX);
        asm.mov(W::Q, RAX, words::FRAME_REG);
        asm.alu(Alu::Sub, W::Q, RAX, word(words::STACK));
        asm.shift_imm(Shift::Shr, W::Q, RAX, 3);
        asm.store(4, Mem::at(RCX, 8), RAX);
        asm.alu_imm(Alu::Add, W::Q, word(words::CALLS), 12);
        asm.mov(W::Q, words::FRAME_REG, RDX);
        let without = offset(self.frames.shared.call) - offset(self.at);
        full.into_iter().for_each(|jump| asm.bind_to(jump, without));
        self.zeros();
        let ticks = self.function.ticks().cast_signed();
        self.emit.asm.alu_imm(Alu::Sub, W::Q, R15, ticks);
        let short = self.emit.asm.jcc(Cc::S);
        self.leave(short, 0, Left::Limit, Set::default());
        let needed = self.usage.needed[0];
        self.load(needed);
        here
    }

    fn zeros(&mut self) {
        let Function { params, slots, .. } = *self.function;
        let count = slots.saturating_sub(params);
        let asm = &mut self.emit.asm;
        if count > ZEROS_MAX {
            asm.lea(W::Q, RDI, frame_slot(params));
            asm.mov_imm(RCX, count.into());
            asm.mov_imm(RAX, 0);
            return asm.repeat_store();
        }
        if count > 0 {
            asm.clear_xmm(Xmm(0));
        }
        for pair in 0..count / 2 {
            asm.store_all(frame_slot(params + 2 * pair), Xmm(0));
        }
        if count % 2 == 1 {
            asm.store_xmm(8, frame_slot(slots - 1), Xmm(0));
        }
    }

    fn piece(&mut self, at: usize) {
        let piece = &self.function.pieces[at];
        self.begins.push(self.emit.asm.here());
        self.starts.clear();
        self.emit.block = &piece.body;
        self.emit.inst = 0;
        self.emit.forget();
        let mut dirty = self.usage.dirty[at];
        while let Some(inst) = self.emit.block.insts.get(self.emit.inst) {
            let from = self.emit.inst;
            if let Inst::Start(pc) = *inst {
                self.start(pc, dirty);
                self.emit.inst += 1;
                self.emit.begin();
                self.emit.float_instruction();
            } else {
                let address = self.address_next();
                self.emit.in_rax = address.or(self.emit.in_rax);
                self.emit.emit(inst, 0);
                self.emit.inst += 1;
                self.emit.in_rax = address;
            }
            for inst in &self.emit.block.insts[from..self.emit.inst] {
                if let Some(dst) = inst.dst().filter(|dst| self.mapped.has(*dst)) {
                    dirty.add(dst);
                }
            }
        }
        self.end(at, dirty);
        self.stubs();
    }

    /// The temporary that the present operation makes for an address, where the next one loads
    /// from there and nothing else reads it.
    fn address_next(&self) -> Option<Slot> {
        let [first, second, ..] = self.emit.block.insts.get(self.emit.inst..)? else {
            return None;
        };
        match (*first, *second) {
            (Inst::Binary(op, _, temp, ..), Inst::Load(_, _, Val::Slot(base), _))
                if base == temp && temp.is_temp() && is_simple(op) =>
            {
                (!self.emit.is_read(temp, self.emit.inst + 2)).then_some(temp)
            }
            _ => None,
        }
    }

    fn start(&mut self, pc: u64, dirty: Set) {
        // Instructions have numbers below that of all.
        let pc = pc as u32;
        self.starts.push((self.emit.inst, pc, dirty));
        if let Some(place) = self.places.get_mut(pc as usize) {
            *place = (self.at + self.emit.asm.here()) as u32;
        }
    }

    /// The instruction that an operation belongs to, and what is dirty where it begins.
    fn insn_of(&self, inst: usize) -> (u32, Set) {
        let at = self.starts.partition_point(|(at, ..)| *at <= inst);
        let (_, pc, dirty) = self.starts[at - 1];
        (pc, dirty)
    }

    fn leave(&mut self, from: Jump, pc: u32, why: Left, dirty: Set) {
        let same = |leave: &&mut Leave| leave.pc == pc && leave.why == why && leave.dirty == dirty;
        match self.leaves.last_mut().filter(same) {
            Some(leave) => leave.from.push(from),
            None => self.leaves.push(Leave { from: vec![from], pc, why, dirty }),
        }
    }

    fn step(&mut self, from: Jump, inst: usize) {
        let (pc, dirty) = self.insn_of(inst);
        self.leave(from, pc, Left::Step, dirty);
    }

    /// Notes what the operations of a block have left to do out of the way.
    fn stubs(&mut self) {
        for stub in std::mem::take(&mut self.emit.stubs) {
            match stub {
                Stub::Step { from, inst, .. }
                | Stub::Finish { from, inst }
                | Stub::Twin { from, inst } => self.step(from, inst),
                Stub::Exit { from, pc, .. } => {
                    let (_, dirty) = self.insn_of_pc(pc as u32);
                    self.leave(from, pc as u32, Left::Step, dirty);
                }
                Stub::Nan { .. } => self.later.push((stub, 0, Set::default())),
                Stub::Unaligned { inst, .. } => {
                    let (pc, dirty) = self.insn_of(inst);
                    self.later.push((stub, pc, dirty));
                }
                Stub::Leave { .. } => unreachable!("only blocks have them"),
            }
        }
    }

    /// Code out of the way that goes back.
    fn aside(&mut self) {
        for (stub, pc, dirty) in std::mem::take(&mut self.later) {
            match stub {
                Stub::Nan { from, double, reg, resume } => {
                    let nan = if double { NAN_64 } else { NAN_PLAIN_32 };
                    self.emit.nan_stub(from, nan, reg, resume);
                }
                Stub::Unaligned { from, at, size, resume, .. } => {
                    let asm = &mut self.emit.asm;
                    asm.bind(from);
                    asm.mov(W::D, RDX, at);
                    asm.alu_imm(Alu::And, W::D, RDX, 4095);
                    asm.alu_imm(Alu::Cmp, W::D, RDX, 4096 - size as i32);
                    let within = asm.jcc(Cc::Be);
                    asm.bind_to(within, offset(resume));
                    let across = asm.jmp();
                    self.leave(across, pc, Left::Step, dirty);
                }
                Stub::Step { .. }
                | Stub::Finish { .. }
                | Stub::Twin { .. }
                | Stub::Exit { .. }
                | Stub::Leave { .. } => unreachable!("only two are put aside"),
            }
        }
    }

    fn insn_of_pc(&self, pc: u32) -> (u32, Set) {
        let found = self.starts.binary_search_by_key(&pc, |(_, of, _)| *of);
        let (_, pc, dirty) = self.starts[found.expect("an instruction leaves to itself")];
        (pc, dirty)
    }

    /// The ways out, after all else.
    fn leaves(&mut self) {
        for Leave { from, pc, why, dirty } in std::mem::take(&mut self.leaves) {
            from.into_iter().for_each(|jump| self.emit.asm.bind(jump));
            self.spill(dirty);
            let number = self.function.number.cast_signed();
            let asm = &mut self.emit.asm;
            asm.store_imm(4, Mem::at(RBP, words::PC), pc.cast_signed());
            asm.store_imm(4, Mem::at(RBP, words::FUNC), number);
            asm.store_imm(4, Mem::at(RBP, words::WHY), why as i32);
            self.emit.jump_to(self.frames.shared.leave);
        }
    }

    fn end(&mut self, at: usize, dirty: Set) {
        let function = self.function;
        match &function.pieces[at].end {
            End::Next => {}
            End::Jump(edge) => self.go(*edge, dirty),
            End::Branch(cond, width, a, b, edge) => {
                let cc = self.emit.compare_sized(*cond, w_of(*width), *a, *b);
                if edge.ticks == 0 {
                    let jump = self.emit.asm.jcc(cc);
                    return self.jumps.push((jump, edge.to));
                }
                let over = self.emit.asm.jcc(not(cc));
                self.go(*edge, dirty);
                self.emit.asm.bind(over);
            }
            End::Switch(val, edges) => self.switch(*val, edges, dirty),
            End::Call(callee, first) => self.call(at, *callee, *first, dirty),
            End::Return(values) => {
                self.spill(dirty);
                for (to, val) in values.iter().enumerate() {
                    let reg = self.emit.in_gpr(*val, RAX);
                    self.emit.asm.store(8, frame_slot(to as u32), reg);
                }
                let rest = self.rest();
                self.emit.asm.alu_imm(Alu::Add, W::Q, R15, rest);
                self.emit.asm.ret();
            }
            End::Leave => {
                let from = self.emit.asm.jmp();
                let last = function.pieces[at].body.insts.len() - 1;
                self.step(from, last);
            }
        }
    }

    /// The instruction that ends the block.
    fn last_pc(&self) -> u32 {
        self.starts.last().map_or(0, |(_, pc, _)| *pc)
    }

    /// Ticks along the text after the instruction that ends the block.
    fn rest(&self) -> i32 {
        let done = self.function.ends[self.last_pc() as usize];
        (self.function.ticks() - done).cast_signed()
    }

    /// Goes along an edge: back only as long as there are ticks left for all of the function.
    fn go(&mut self, edge: Edge, dirty: Set) {
        if edge.ticks != 0 {
            self.emit.asm.alu_imm(Alu::Sub, W::Q, R15, edge.ticks);
        }
        if edge.ticks > 0 {
            let jump = self.emit.asm.jcc(Cc::Ns);
            self.jumps.push((jump, edge.to));
            let from = self.emit.asm.jmp();
            let pc = first_pc(self.function, edge.to);
            return self.leave(from, pc, Left::Limit, dirty);
        }
        let jump = self.emit.asm.jmp();
        self.jumps.push((jump, edge.to));
    }

    fn switch(&mut self, val: Val, edges: &[Edge], dirty: Set) {
        let last = edges.len().saturating_sub(1) as u64;
        self.emit.put_in(RAX, val);
        let asm = &mut self.emit.asm;
        asm.mov_imm(RCX, last);
        asm.alu(Alu::Cmp, W::Q, RAX, RCX);
        asm.cmov(Cc::A, RAX, RCX);
        asm.mov(W::Q, RDX, Mem::at(RBP, words::CODE));
        // Past three instructions of a length that is known once they are made.
        let load = asm.here();
        let from = |disp: i32| Mem::indexed(RDX, RAX, 2, disp);
        asm.mov(W::D, RCX, from(i32::MAX));
        let displacement = asm.here() - 4;
        asm.alu(Alu::Add, W::Q, RDX, RCX);
        asm.jmp_rm(RDX);
        let table = asm.here();
        debug_assert!(displacement > load, "the displacement is the last of the first");
        self.words.push((displacement, Target::Here(table)));
        let places: Vec<_> = edges.iter().map(|_| self.emit.asm.word(0)).collect();
        for (place, edge) in places.into_iter().zip(edges) {
            if edge.ticks == 0 {
                self.words.push((place, Target::Piece(edge.to)));
                continue;
            }
            self.words.push((place, Target::Here(self.emit.asm.here())));
            self.go(*edge, dirty);
        }
    }

    fn call(&mut self, at: usize, callee: Callee, first: u32, dirty: Set) {
        let pc = self.last_pc();
        self.spill(dirty);
        let target = match callee {
            Callee::Known(number) => {
                self.emit.asm.mov(W::Q, RCX, Mem::at(RBP, words::TARGETS));
                Mem::at(RCX, 16 * number.cast_signed())
            }
            Callee::Element { table, index, ty } => self.element(table, index, ty, (pc, dirty)),
        };
        let rest = self.rest();
        let asm = &mut self.emit.asm;
        asm.lea(W::Q, RDX, frame_slot(first));
        asm.mov_imm(RAX, u64::from(self.function.number) | u64::from(pc + 1) << 32);
        asm.alu_imm(Alu::Add, W::Q, R15, rest);
        asm.call_rm(target);
        asm.alu_imm(Alu::Sub, W::Q, words::FRAME_REG, 8 * first.cast_signed());
        asm.alu_imm(Alu::Sub, W::Q, Mem::at(RBP, words::CALLS), 12);
        asm.alu_imm(Alu::Sub, W::Q, R15, rest);
        let short = asm.jcc(Cc::S);
        self.leave(short, pc + 1, Left::Limit, Set::default());
        let needed = self.usage.needed.get(at + 1).copied().unwrap_or_default();
        self.load(needed);
    }

    /// Looks up what an element of a table calls; leaves where it is not so simple.
    fn element(&mut self, table: u32, index: Val, ty: u32, (pc, dirty): (u32, Set)) -> Mem {
        self.emit.put_in(RAX, index);
        let asm = &mut self.emit.asm;
        let at = 16 * table.cast_signed();
        let mut others = vec![];
        asm.mov(W::Q, RCX, Mem::at(RBP, words::TABLES));
        asm.alu(Alu::Cmp, W::Q, RAX, Mem::at(RCX, at + 8));
        others.push(asm.jcc(Cc::Ae));
        asm.mov(W::Q, RCX, Mem::at(RCX, at));
        asm.mov(W::Q, RCX, Mem::indexed(RCX, RAX, 3, 0));
        asm.mov(W::Q, RDX, RCX);
        asm.shift_imm(Shift::Shr, W::Q, RDX, 32);
        asm.alu_imm(Alu::Cmp, W::D, RDX, words::FUNCTION.cast_signed());
        others.push(asm.jcc(Cc::Ne));
        asm.mov(W::D, RCX, RCX);
        asm.alu(Alu::Cmp, W::Q, RCX, Mem::at(RBP, words::TARGET_COUNT));
        others.push(asm.jcc(Cc::Ae));
        asm.shift_imm(Shift::Shl, W::Q, RCX, 4);
        asm.alu(Alu::Add, W::Q, RCX, Mem::at(RBP, words::TARGETS));
        asm.alu_imm(Alu::Cmp, W::D, Mem::at(RCX, 8), ty.cast_signed());
        others.push(asm.jcc(Cc::Ne));
        others.into_iter().for_each(|from| self.leave(from, pc, Left::Step, dirty));
        Mem::at(RCX, 0)
    }
}

/// Whether an operation works in rax and rcx alone.
fn is_simple(op: Binary) -> bool {
    use Binary::{Add, And, Mul, Or, Shl, Shr, Sub, Xor};
    matches!(op, Add | And | Mul | Or | Shl | Shr | Sub | Xor)
}

/// The first instruction of a block.
fn first_pc(function: &Function, piece: u32) -> u32 {
    let body = function.pieces.get(piece as usize).map(|piece| &piece.body.insts[..]);
    match body {
        Some([Inst::Start(pc), ..]) => *pc as u32,
        _ => 0,
    }
}

fn w_of(width: Width) -> W {
    match width {
        Width::Full => W::Q,
        Width::Signed32 | Width::Unsigned32 => W::D,
    }
}

/// The condition that holds where this one does not.
fn not(cc: Cc) -> Cc {
    match cc {
        Cc::E => Cc::Ne,
        Cc::Ne => Cc::E,
        Cc::B => Cc::Ae,
        Cc::Ae => Cc::B,
        Cc::Be => Cc::A,
        Cc::A => Cc::Be,
        Cc::L => Cc::Ge,
        Cc::Ge => Cc::L,
        Cc::Le => Cc::G,
        Cc::G => Cc::Le,
        Cc::S => Cc::Ns,
        Cc::Ns => Cc::S,
        Cc::P => Cc::Np,
        Cc::Np => Cc::P,
        Cc::O => unreachable!("no comparison gives it"),
    }
}
