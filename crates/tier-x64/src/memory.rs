//! Accesses to memory: the probe of the TLB, and what follows where it hits.

use crate::asm::{Alu, Cc, Gpr, Jump, Mem, RAX, RBP, RCX, RDX, Shift, W, Xmm, offset};
use crate::block::{Emit, Stub};
use crate::frame::words;
use crate::map::{GROUP_REGS, Loc};
use crate::share::Part;
use omni_ir::{AtomicOp, Binary, Inst, Memory, Size, Slot, Unary, Val};

/// What a probe looks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Load,
    Store,
}

/// Where a probe finds that it has not.
type Misses = [Option<Jump>; 2];

/// Where a probe has found the bytes, and what to do where it has not.
struct Found {
    mem: Mem,
    /// The guest's address.
    at: Gpr,
    misses: Misses,
}

impl Emit<'_> {
    /// Where the bytes of a plain access are, by a probe of its own or by that of its group.
    fn reach(&mut self, side: Side, base: Val, offset: i32, size: u64) -> Found {
        match self.shares.part(self.inst) {
            Part::Alone => self.probe(side, base, offset, size, false),
            Part::First { group, low, span } => {
                let found = self.probe(side, base, low, span.into(), false);
                for from in found.misses.into_iter().flatten() {
                    self.stubs.push(Stub::Twin { from, inst: self.inst });
                }
                let kept = GROUP_REGS[group];
                self.asm.lea(W::Q, kept, found.mem);
                let mem = Mem::at(kept, offset - low);
                Found { mem, misses: [None; 2], ..found }
            }
            Part::Other { group, at } => {
                let kept = GROUP_REGS[group];
                Found { mem: Mem::at(kept, at), at: kept, misses: [None; 2] }
            }
        }
    }

    /// Looks up `base + offset`, whose page is then at the host's `add + address`.
    ///
    /// An entry's tag is the address of its page. So the address less the tag is the offset in
    /// the page, and one comparison says that the page is the right one and that the access does
    /// not leave it.
    fn probe(&mut self, side: Side, base: Val, offset: i32, size: u64, aligned: bool) -> Found {
        if self.tier.frames {
            return self.look_up(side, base, offset, size);
        }
        let layout = self.tier.layout;
        let (tags, adds) = match side {
            Side::Load => (layout.load_tags, layout.load_adds),
            Side::Store => (layout.store_tags, layout.store_adds),
        };
        let at = self.address(base, offset);
        let unaligned = aligned.then(|| {
            self.asm.test_imm8(at, (size - 1) as u8);
            self.asm.jcc(Cc::Ne)
        });
        self.asm.mov(W::D, RCX, at);
        self.asm.shift_imm(Shift::Shr, W::D, RCX, 12);
        self.asm.mov(W::Q, RDX, at);
        self.asm.alu(Alu::Sub, W::Q, RDX, Mem::indexed(RBP, RCX, 3, tags));
        self.asm.alu_imm(Alu::Cmp, W::Q, RDX, 4096 - size as i32);
        let miss = self.asm.jcc(Cc::A);
        self.asm.mov(W::Q, RCX, Mem::indexed(RBP, RCX, 3, adds));
        let mem = Mem::indexed(at, RCX, 0, 0);
        Found { mem, at, misses: [unaligned, Some(miss)] }
    }

    /// Looks up `base + offset` in the table of pages of a function's memory. An entry leads from
    /// an address in its page to the host's; zero leads nowhere.
    fn look_up(&mut self, side: Side, base: Val, offset: i32, size: u64) -> Found {
        let at = self.address(base, offset);
        let table = match side {
            Side::Load => words::LOADS_REG,
            Side::Store => words::STORES_REG,
        };
        self.asm.mov(W::Q, RCX, at);
        self.asm.shift_imm(Shift::Shr, W::Q, RCX, 12);
        self.asm.alu(Alu::Cmp, W::Q, RCX, Mem::at(RBP, words::PAGES));
        let beyond = self.asm.jcc(Cc::Ae);
        self.asm.mov(W::Q, RCX, Mem::indexed(table, RCX, 3, 0));
        self.asm.test(W::Q, RCX, RCX);
        let unknown = self.asm.jcc(Cc::E);
        if size > 1 {
            self.asm.test_imm8(at, (size - 1) as u8);
            let from = self.asm.jcc(Cc::Ne);
            let (inst, resume) = (self.inst, self.asm.here());
            self.stubs.push(Stub::Unaligned { from, at, size, inst, resume });
        }
        Found { mem: Mem::indexed(at, RCX, 0, 0), at, misses: [Some(beyond), Some(unknown)] }
    }

    fn address(&mut self, base: Val, offset: i32) -> Gpr {
        if let Some(base) = self.value_of(base) {
            let at = base.wrapping_add(i64::from(offset).cast_unsigned());
            self.asm.mov_imm(RAX, at);
            return RAX;
        }
        let reg = self.in_gpr(base, RAX);
        if offset == 0 {
            return reg;
        }
        if reg == RAX {
            self.asm.alu_imm(Alu::Add, W::Q, RAX, offset);
        } else {
            self.asm.lea(W::Q, RAX, Mem::at(reg, offset));
        }
        RAX
    }

    /// After the code of an access: where it goes on when a step has done it instead.
    fn resume(&mut self, misses: Misses, count: usize) {
        let (inst, resume) = (self.inst, self.asm.here());
        // A step may change what a group relies on.
        let live = self.shares.is_live(inst);
        for from in misses.into_iter().flatten() {
            self.stubs.push(if live {
                Stub::Twin { from, inst }
            } else {
                Stub::Step { from, inst, count, resume }
            });
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "what is not one of two operations")]
    /// Where a floating-point load ends: its instruction moves or boxes a temporary next.
    fn float_destination(&self, temp: Slot, size: u64) -> Option<(Slot, Xmm)> {
        let dst = match *self.block.insts.get(self.inst + 1)? {
            Inst::Unary(Unary::Move, dst, Val::Slot(from)) if from == temp && size == 8 => dst,
            Inst::Unary(Unary::Box32, dst, Val::Slot(from)) if from == temp && size == 4 => dst,
            _ => return None,
        };
        let dead = temp.is_temp() && !self.is_read(temp, self.inst + 2);
        match self.loc(dst) {
            Loc::X(reg) if dead => Some((dst, reg)),
            Loc::X(_) | Loc::G(_) | Loc::M(_) => None,
        }
    }

    pub(crate) fn load(&mut self, memory: Memory, dst: Slot, base: Val, offset: i32) {
        let size = memory.size.bytes().min(8);
        let found = self.reach(Side::Load, base, offset, size);
        if let Some((dst, reg)) = self.float_destination(dst, size) {
            self.asm.load_xmm(size, reg, found.mem);
            if size == 4 {
                self.put_box_on(reg);
            }
            self.wrote(dst);
            self.resume(found.misses, 2);
            if size == 4 {
                self.note_boxed(dst);
            }
            self.inst += 1;
            return;
        }
        match self.loc(dst) {
            Loc::X(reg) if size == 8 || self.tier.frames && size == 4 && !memory.signed => {
                self.asm.load_xmm(size, reg, found.mem);
            }
            Loc::G(_) | Loc::X(_) | Loc::M(_) => {
                let target = self.target(dst);
                if size == 8 {
                    self.asm.mov(W::Q, target, found.mem);
                } else {
                    self.asm.extend(size, memory.signed, target, found.mem);
                }
                self.done(dst, target);
            }
        }
        self.wrote(dst);
        self.resume(found.misses, 1);
    }

    pub(crate) fn store(&mut self, size: Size, base: Val, offset: i32, value: Val) {
        let size = size.bytes().min(8);
        let found = self.reach(Side::Store, base, offset, size);
        let small = self.value_of(value).and_then(|value| {
            let cut = if size == 8 { value } else { value & ((1 << (8 * size)) - 1) };
            i32::try_from(cut.cast_signed()).ok()
        });
        let xmm = match value {
            Val::Slot(slot) => match self.loc(slot) {
                Loc::X(reg) if size >= 4 => Some(reg),
                Loc::G(_) | Loc::X(_) | Loc::M(_) => None,
            },
            Val::Const(_) => None,
        };
        match (small, xmm) {
            (Some(value), _) => self.asm.store_imm(size, found.mem, value),
            (None, Some(reg)) => self.asm.store_xmm(size, found.mem, reg),
            (None, None) => {
                let reg = self.in_gpr(value, RDX);
                self.asm.store(size, found.mem, reg);
            }
        }
        self.resume(found.misses, 1);
    }

    /// In turns of the vCPU's own, an atomic access is a load and a store; beside others, the
    /// store is one that finds what was loaded, or all begins anew.
    pub(crate) fn atomic(&mut self, op: AtomicOp, size: Size, dst: Slot, at: Val, value: Val) {
        let bytes = size.bytes();
        let constant = self.value_of(value).map(|value| i32::try_from(value.cast_signed()));
        let in_xmm = matches!(value, Val::Slot(slot) if matches!(self.loc(slot), Loc::X(_)));
        let choice = match op {
            AtomicOp::Binary(Binary::MinU) => Some(Cc::B),
            AtomicOp::Binary(Binary::MinS) => Some(Cc::L),
            AtomicOp::Binary(Binary::MaxU) => Some(Cc::A),
            AtomicOp::Binary(Binary::MaxS) => Some(Cc::G),
            AtomicOp::Swap | AtomicOp::Binary(_) => None,
        };
        let alu = match op {
            AtomicOp::Binary(Binary::Add) => Some(Alu::Add),
            AtomicOp::Binary(Binary::And) => Some(Alu::And),
            AtomicOp::Binary(Binary::Or) => Some(Alu::Or),
            AtomicOp::Binary(Binary::Xor) => Some(Alu::Xor),
            AtomicOp::Swap | AtomicOp::Binary(_) => None,
        };
        let known = alu.is_some() || op == AtomicOp::Swap || choice.is_some() && constant.is_none();
        if !matches!(bytes, 4 | 8) || in_xmm || !known || matches!(constant, Some(Err(_))) {
            return self.step(dst);
        }
        let w = if bytes == 8 { W::Q } else { W::D };
        let found = self.probe(Side::Store, at, 0, bytes, true);
        self.asm.lea(W::Q, RCX, found.mem);
        let place = Mem::at(RCX, 0);
        self.old_value(bytes, RAX, place);
        let again = self.asm.here();
        match (alu, choice, constant) {
            (Some(alu), _, Some(Ok(by))) => {
                self.asm.mov(W::Q, RDX, RAX);
                self.asm.alu_imm(alu, w, RDX, by);
            }
            (Some(alu), _, _) => {
                self.asm.mov(W::Q, RDX, RAX);
                let value = self.operand(value, RDX);
                self.asm.alu(alu, w, RDX, value);
            }
            (None, Some(cc), _) => {
                self.put_in(RDX, value);
                self.asm.alu(Alu::Cmp, w, RDX, RAX);
                // Keeps the old value unless the operand is the one to be chosen.
                let keep = self.asm.jcc(cc);
                self.asm.mov(W::Q, RDX, RAX);
                self.asm.bind(keep);
            }
            (None, None, _) => self.put_in(RDX, value),
        }
        if self.tier.beside.is_none() {
            self.asm.store(bytes, place, RDX);
        } else {
            self.asm.lock_cmpxchg(w, place, RDX);
            let other = self.asm.jcc(Cc::Ne);
            self.asm.bind_to(other, offset(again));
            if bytes == 4 {
                self.asm.extend(4, true, RAX, RAX);
            }
        }
        self.done(dst, RAX);
        self.resume(found.misses, 1);
    }

    fn old_value(&mut self, bytes: u64, dst: Gpr, from: Mem) {
        if bytes == 8 {
            self.asm.mov(W::Q, dst, from);
        } else {
            self.asm.extend(bytes, true, dst, from);
        }
    }

    fn word_of(&self, slot: Slot) -> Mem {
        Mem::at(RBP, self.tier.layout.slots + 8 * i32::from(slot.0))
    }

    /// Whether a reservation needs the interpreter: of an odd size, or one that stores of others
    /// must be seen to break.
    fn reserves_by_step(&self, bytes: u64) -> bool {
        let long = self.tier.beside.is_some() && !self.block.reserves_shortly(self.inst);
        long || !matches!(bytes, 4 | 8)
    }

    pub(crate) fn load_reserved(&mut self, size: Size, dst: Slot, at: Val) {
        let bytes = size.bytes();
        if self.reserves_by_step(bytes) {
            return self.step(dst);
        }
        let long = self.tier.beside.map(|beside| {
            self.asm.alu_imm(Alu::Cmp, W::Q, self.word_of(beside.long_next), 0);
            self.asm.jcc(Cc::Ne)
        });
        let found = self.probe(Side::Load, at, 0, bytes, true);
        self.asm.store(8, self.word_of(self.tier.reservation), found.at);
        let target = self.target(dst);
        self.old_value(bytes, target, found.mem);
        if let Some(beside) = self.tier.beside {
            self.asm.store(8, self.word_of(beside.reserved), target);
        }
        self.done(dst, target);
        self.resume(found.misses, 1);
        self.resume([long, None], 1);
    }

    pub(crate) fn store_conditional(&mut self, size: Size, dst: Slot, at: Val, value: Val) {
        let bytes = size.bytes();
        if self.reserves_by_step(bytes) {
            return self.step(dst);
        }
        // The permission to store is asked for whether the reservation holds or not.
        let found = self.probe(Side::Store, at, 0, bytes, true);
        let reservation = self.word_of(self.tier.reservation);
        self.asm.alu(Alu::Cmp, W::Q, found.at, reservation);
        let lost = self.asm.jcc(Cc::Ne);
        let changed = match self.tier.beside {
            None => {
                let value = self.in_gpr(value, RDX);
                self.asm.store(bytes, found.mem, value);
                None
            }
            Some(beside) => {
                self.asm.lea(W::Q, RCX, found.mem);
                let value = self.in_gpr(value, RDX);
                self.asm.mov(W::Q, RAX, self.word_of(beside.reserved));
                let w = if bytes == 8 { W::Q } else { W::D };
                self.asm.lock_cmpxchg(w, Mem::at(RCX, 0), value);
                Some(self.asm.jcc(Cc::Ne))
            }
        };
        self.asm.mov_imm(RAX, 0);
        let end = self.asm.jmp();
        self.asm.bind(lost);
        if let Some(changed) = changed {
            self.asm.bind(changed);
        }
        self.asm.mov_imm(RAX, 1);
        self.asm.bind(end);
        self.asm.store_imm(8, reservation, -1);
        self.done(dst, RAX);
        self.resume(found.misses, 1);
    }
}
