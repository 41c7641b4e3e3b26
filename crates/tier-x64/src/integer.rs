//! Integer operations. They work in rax and rcx; only divisions and wide products take rdx.

use crate::asm::{Alu, Cc, Gpr, Mem, RAX, RCX, RDX, Rm, Shift, W};
use crate::block::Emit;
use crate::float::SPARE;
use crate::map::Loc;
use omni_ir::{Binary, Cond, Inst, Known, Slot, Unary, Val, Width};

/// The low 32 bits.
const LOW_32: u64 = 0xffff_ffff;

fn small(value: u64) -> Option<i32> {
    i32::try_from(value.cast_signed()).ok()
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the last of a few is meant")]
impl Emit<'_> {
    pub(crate) fn unary(&mut self, op: Unary, dst: Slot, a: Val) {
        if let Some(value) = self.value_of(a) {
            return self.constant(dst, op.eval(value));
        }
        let Val::Slot(from) = a else { return };
        match op {
            Unary::Move => self.copy(dst, from),
            Unary::Sext8 => self.extension(1, true, dst, a),
            Unary::Sext16 => self.extension(2, true, dst, a),
            Unary::Sext32 => self.extension(4, true, dst, a),
            Unary::Zext8 => self.extension(1, false, dst, a),
            Unary::Zext16 => self.extension(2, false, dst, a),
            Unary::Zext32 => self.extension(4, false, dst, a),
            Unary::Not => self.in_place(dst, a, |emit, d| emit.asm.not(W::Q, d)),
            Unary::Neg => self.in_place(dst, a, |emit, d| emit.asm.neg(W::Q, d)),
            Unary::ByteSwap64 => self.in_place(dst, a, |emit, d| emit.asm.bswap(W::Q, d)),
            Unary::ByteSwap32 => self.in_place(dst, a, |emit, d| emit.asm.bswap(W::D, d)),
            Unary::ByteSwap16 => self.in_place(dst, a, |emit, d| {
                emit.asm.bswap(W::D, d);
                emit.asm.shift_imm(Shift::Shr, W::D, d, 16);
            }),
            Unary::Popcount64 => self.count(dst, a, |emit, a| emit.asm.popcnt(W::Q, RAX, a)),
            Unary::Popcount32 => self.count(dst, a, |emit, a| emit.asm.popcnt(W::D, RAX, a)),
            Unary::Clz64 => self.count(dst, a, |emit, a| emit.leading(W::Q, a)),
            Unary::Clz32 => self.count(dst, a, |emit, a| emit.leading(W::D, a)),
            Unary::Ctz64 => self.count(dst, a, |emit, a| emit.trailing(W::Q, a)),
            Unary::Ctz32 => self.count(dst, a, |emit, a| emit.trailing(W::D, a)),
            Unary::Box32 => self.put_box(dst, a, !LOW_32),
            Unary::Box16 => self.put_box(dst, a, !0xffff),
            Unary::Unbox32 => self.unbox(dst, a),
            Unary::OrCombine => self.in_place(dst, a, |emit, d| emit.or_combine(d)),
            Unary::Unbox16 => self.step(dst),
        }
    }

    fn constant(&mut self, dst: Slot, value: u64) {
        match (self.loc(dst), small(value)) {
            (Loc::M(home), Some(value)) => self.asm.store_imm(8, home, value),
            (Loc::G(reg), _) => self.asm.mov_imm(reg, value),
            (Loc::X(_) | Loc::M(_), _) => {
                self.asm.mov_imm(RAX, value);
                self.done(dst, RAX);
            }
        }
        self.wrote_known(dst, Known::Fixed(value));
    }

    /// An address that moves with the block.
    pub(crate) fn address_of_code(&mut self, dst: Slot, value: u64) {
        let reg = self.target(dst);
        if u32::try_from(value).is_ok() || small(value).is_some() {
            // Kernels and programs that are linked for an address: they do not move.
            self.asm.mov_imm(reg, value);
            self.fixed = true;
        } else {
            self.asm.mov_address(reg, value);
        }
        self.done(dst, reg);
        self.wrote_known(dst, Known::Moving(value));
    }

    fn copy(&mut self, dst: Slot, from: Slot) {
        match (self.loc(dst), self.loc(from)) {
            (Loc::X(to), Loc::X(from)) => self.asm.movaps(to, from),
            (Loc::X(to), Loc::M(home)) => self.asm.load_xmm(8, to, home),
            (Loc::M(home), Loc::X(from)) => self.asm.store_xmm(8, home, from),
            (Loc::G(to), _) => self.put_in(to, from.into()),
            (Loc::X(_) | Loc::M(_), _) => {
                let reg = self.in_gpr(from.into(), RAX);
                self.done(dst, reg);
            }
        }
        let (boxed, known) = (self.is_boxed(from), self.known_of(from.into()));
        self.wrote(dst);
        if let Some(known) = known {
            self.wrote_known(dst, known);
        }
        if boxed {
            self.note_boxed(dst);
        }
    }

    fn extension(&mut self, bytes: u64, signed: bool, dst: Slot, a: Val) {
        let src = self.operand(a, RAX);
        let target = self.target(dst);
        self.asm.extend(bytes, signed, target, src);
        self.done(dst, target);
    }

    /// Bytes that are not zero become all ones.
    fn or_combine(&mut self, reg: Gpr) {
        let [zero, bytes, _] = SPARE;
        self.asm.xmm_from_gpr(W::Q, bytes, reg);
        self.asm.clear_xmm(zero);
        self.asm.equal_bytes(zero, bytes);
        self.asm.gpr_from_xmm(W::Q, reg, zero);
        self.asm.not(W::Q, reg);
    }

    fn in_place(&mut self, dst: Slot, a: Val, change: impl FnOnce(&mut Self, Gpr)) {
        let target = self.target(dst);
        self.put_in(target, a);
        change(self, target);
        self.done(dst, target);
    }

    /// A count, made in rax of a register.
    fn count(&mut self, dst: Slot, a: Val, make: impl FnOnce(&mut Self, Gpr)) {
        let a = self.in_gpr(a, RAX);
        make(self, a);
        self.done(dst, RAX);
    }

    /// `bsr` finds the highest one; of zero it leaves anything, and the answer is the width.
    fn leading(&mut self, w: W, a: Gpr) {
        let bits: u64 = if w == W::Q { 64 } else { 32 };
        self.asm.mov_imm(RCX, 2 * bits - 1);
        self.asm.bit_scan(true, w, RAX, a);
        self.asm.cmov(Cc::E, RAX, RCX);
        self.asm.alu_imm(Alu::Xor, W::D, RAX, (bits as i32) - 1);
    }

    fn trailing(&mut self, w: W, a: Gpr) {
        self.asm.mov_imm(RCX, if w == W::Q { 64 } else { 32 });
        self.asm.bit_scan(false, w, RAX, a);
        self.asm.cmov(Cc::E, RAX, RCX);
    }

    fn put_box(&mut self, dst: Slot, a: Val, mask: u64) {
        self.put_in(RAX, a);
        self.asm.mov_imm(RCX, mask);
        self.asm.alu(Alu::Or, W::Q, RAX, RCX);
        self.done(dst, RAX);
        if mask == !LOW_32 {
            self.note_boxed(dst);
        }
    }

    fn unbox(&mut self, dst: Slot, a: Val) {
        self.put_in(RAX, a);
        self.asm.mov(W::Q, RCX, RAX);
        self.asm.shift_imm(Shift::Shr, W::Q, RCX, 32);
        // All ones become zero; then the low half is the value.
        self.asm.alu_imm(Alu::Add, W::D, RCX, 1);
        self.asm.mov_imm(RCX, 0x7fc0_0000);
        self.asm.mov(W::D, RAX, RAX);
        self.asm.cmov(Cc::Ne, RAX, RCX);
        self.done(dst, RAX);
    }

    /// Makes two guest instructions at once, if the second makes the first's result invisible:
    /// the address of an element, and the low half of a word, shifted. Says whether it was so.
    pub(crate) fn two_in_one(&mut self) -> bool {
        let [first, Inst::Start(_), second, rest @ ..] = &self.block.insts[self.inst..] else {
            return false;
        };
        let (
            Inst::Binary(Binary::Shl, Width::Full, dst, from, Val::Const(by)),
            None | Some(Inst::Start(_)),
        ) = (*first, rest.first())
        else {
            return false;
        };
        let Inst::Binary(op, Width::Full, to, a, b) = *second else { return false };
        let known = |val| self.value_of(val).is_some();
        let flags = self.has_flags(first) || self.has_flags(second);
        if to != dst || dst.is_temp() || known(from) || flags {
            return false;
        }
        let same = Val::Slot(dst);
        match (op, by, b) {
            (Binary::Add, 1..=3, _) if a == same && b != same && !known(b) => {
                self.element(by as u8, dst, from, b);
            }
            (Binary::Add, 1..=3, _) if b == same && a != same && !known(a) => {
                self.element(by as u8, dst, from, a);
            }
            (Binary::Shr, 32, Val::Const(back @ 1..=32)) if a == same => {
                self.extension(4, false, dst, from);
                if back < 32 {
                    let left = Val::Const(32 - back);
                    self.shift(Binary::Shl, Width::Full, dst, same, left);
                }
            }
            _ => return false,
        }
        self.inst += 3;
        true
    }

    pub(crate) fn binary(&mut self, op: Binary, width: Width, dst: Slot, a: Val, b: Val) {
        let known = self.known_of(a).zip(self.known_of(b));
        let known = known.and_then(|(a, b)| Known::binary(op, width, a, b));
        if let Some(Known::Fixed(value)) = known {
            return self.constant(dst, value);
        }
        self.binary_unknown(op, width, dst, a, b);
        if let Some(moving) = known {
            self.wrote_known(dst, moving);
        }
    }

    fn binary_unknown(&mut self, op: Binary, width: Width, dst: Slot, a: Val, b: Val) {
        match op {
            Binary::Add | Binary::Sub => self.sum(op, width, dst, a, b),
            Binary::And | Binary::Or | Binary::Xor => self.alu(op, width, dst, a, b),
            Binary::AndNot | Binary::OrNot | Binary::XorNot => self.inverted(op, width, dst, a, b),
            Binary::Shl | Binary::Shr | Binary::Sar | Binary::RotL | Binary::RotR => {
                self.shift(op, width, dst, a, b);
            }
            Binary::Eq | Binary::Ne | Binary::LtU | Binary::LtS => self.flag(op, width, dst, a, b),
            Binary::MinU | Binary::MinS | Binary::MaxU | Binary::MaxS if width == Width::Full => {
                self.choose(op, dst, a, b);
            }
            Binary::Mul => self.product(width, dst, a, b),
            Binary::MulHighU | Binary::MulHighS if width == Width::Full => {
                self.high(op == Binary::MulHighS, dst, a, b);
            }
            Binary::DivU | Binary::DivS | Binary::RemU | Binary::RemS => {
                self.quotient(op, width, dst, a, b);
            }
            Binary::Sh1Add if width == Width::Full => self.element(1, dst, a, b),
            Binary::Sh2Add if width == Width::Full => self.element(2, dst, a, b),
            Binary::Sh3Add if width == Width::Full => self.element(3, dst, a, b),
            Binary::IfNonZero | Binary::IfZero if width == Width::Full => {
                self.unless(op == Binary::IfZero, dst, a, b);
            }
            Binary::MinU
            | Binary::MinS
            | Binary::MaxU
            | Binary::MaxS
            | Binary::MulHighU
            | Binary::MulHighS
            | Binary::MulHighSU
            | Binary::Sh1Add
            | Binary::Sh2Add
            | Binary::Sh3Add
            | Binary::ClMul
            | Binary::ClMulHigh
            | Binary::ClMulRev
            | Binary::IfNonZero
            | Binary::IfZero => self.step(dst),
        }
    }

    /// Ends an operation of a width whose low bits are in `reg`.
    fn settle(&mut self, width: Width, dst: Slot, reg: Gpr) {
        // A 32-bit operation has cleared the upper half.
        if width == Width::Signed32 {
            let target = self.target(dst);
            self.asm.extend(4, true, target, reg);
            self.done(dst, target);
        } else {
            self.done(dst, reg);
        }
    }

    /// Sums, by `lea` where that saves a move.
    fn sum(&mut self, op: Binary, width: Width, dst: Slot, a: Val, b: Val) {
        let constant =
            self.value_of(b).map(|b| if op == Binary::Sub { b.wrapping_neg() } else { b });
        if let Some(by) = constant.and_then(small) {
            if by == 0 && width != Width::Full {
                return self.extension(4, width == Width::Signed32, dst, a);
            }
            if by == 0 {
                return self.unary(Unary::Move, dst, a);
            }
            if let (Val::Slot(slot), Loc::G(to)) = (a, self.loc(dst))
                && let Loc::G(from) = self.loc(slot)
                && from != to
            {
                self.asm.lea(w_of(width), to, Mem::at(from, by));
                return self.settle(width, dst, to);
            }
            return self.alu(Binary::Add, width, dst, a, i64::from(by).cast_unsigned().into());
        }
        if op == Binary::Add
            && let (Some(x), Some(y), Loc::G(to)) = (self.reg_of(a), self.reg_of(b), self.loc(dst))
            && to != x
            && to != y
        {
            self.asm.lea(w_of(width), to, Mem::indexed(x, y, 0, 0));
            return self.settle(width, dst, to);
        }
        self.alu(op, width, dst, a, b);
    }

    fn reg_of(&self, val: Val) -> Option<Gpr> {
        let Val::Slot(slot) = val else { return None };
        match self.loc(slot) {
            Loc::G(reg) => Some(reg),
            Loc::X(_) | Loc::M(_) => None,
        }
    }

    fn alu(&mut self, op: Binary, width: Width, dst: Slot, a: Val, b: Val) {
        let (alu, commutes) = match op {
            Binary::Add => (Alu::Add, true),
            Binary::Sub => (Alu::Sub, false),
            Binary::And => (Alu::And, true),
            Binary::Or => (Alu::Or, true),
            _ => (Alu::Xor, true),
        };
        let (a, b) = if commutes && self.value_of(a).is_some() { (b, a) } else { (a, b) };
        let w = w_of(width);
        // An update of a slot in memory, in one instruction.
        if width == Width::Full
            && a == Val::Slot(dst)
            && let Loc::M(home) = self.loc(dst)
        {
            match (self.value_of(b).and_then(small), self.reg_of(b)) {
                (Some(by), _) => self.asm.alu_imm(alu, w, home, by),
                (None, Some(reg)) => self.asm.alu_to(alu, w, home, reg),
                (None, None) => {
                    self.put_in(RAX, b);
                    self.asm.alu_to(alu, w, home, RAX);
                }
            }
            return self.wrote(dst);
        }
        let mut target = self.target(dst);
        if let Some(by) = self.value_of(b).and_then(small) {
            self.put_in(target, a);
            if alu == Alu::And && by == 255 {
                self.asm.extend(1, false, target, target);
            } else {
                self.asm.alu_imm(alu, w, target, by);
            }
            return self.settle(width, dst, target);
        }
        let mut other = self.operand(b, RCX);
        let mut first = a;
        if other == target.into() {
            if commutes && a != b {
                other = self.operand(a, RCX);
                first = b;
            } else if a != b {
                target = RAX;
            }
        }
        self.put_in(target, first);
        self.asm.alu(alu, w, target, other);
        self.settle(width, dst, target);
    }

    fn inverted(&mut self, op: Binary, width: Width, dst: Slot, a: Val, b: Val) {
        self.put_in(RCX, b);
        self.asm.not(W::Q, RCX);
        let other = self.operand(a, RAX);
        let alu = match op {
            Binary::AndNot => Alu::And,
            Binary::OrNot => Alu::Or,
            _ => Alu::Xor,
        };
        self.asm.alu(alu, w_of(width), RCX, other);
        self.settle(width, dst, RCX);
    }

    fn shift(&mut self, op: Binary, width: Width, dst: Slot, a: Val, b: Val) {
        let shift = match op {
            Binary::Shl => Shift::Shl,
            Binary::Shr => Shift::Shr,
            Binary::Sar => Shift::Sar,
            Binary::RotL => Shift::Rol,
            _ => Shift::Ror,
        };
        let w = w_of(width);
        if let Some(count) = self.value_of(b) {
            let count = (count & if w == W::Q { 63 } else { 31 }) as u8;
            let target = self.target(dst);
            if w == W::D {
                let src = self.operand(a, RAX);
                self.asm.mov(W::D, target, src);
            } else {
                self.put_in(target, a);
            }
            if count > 0 {
                self.asm.shift_imm(shift, w, target, count);
            }
            return self.settle(width, dst, target);
        }
        // The host takes the count modulo the width as well.
        self.put_in(RCX, b);
        self.put_in(RAX, a);
        self.asm.shift_cl(shift, w, RAX);
        self.settle(width, dst, RAX);
    }

    fn flag(&mut self, op: Binary, width: Width, dst: Slot, a: Val, b: Val) {
        let cond = match op {
            Binary::Eq => Cond::Eq,
            Binary::Ne => Cond::Ne,
            Binary::LtU => Cond::LtU,
            _ => Cond::LtS,
        };
        let cc = self.compare_sized(cond, w_of(width), a, b);
        self.asm.setcc(cc, RAX);
        let target = self.target(dst);
        self.asm.extend(1, false, target, RAX);
        self.done(dst, target);
    }

    /// Compares on 64 bits; gives the condition to test, or whether it holds if that is known.
    pub(crate) fn compare(&mut self, cond: Cond, a: Val, b: Val) -> Result<Cc, bool> {
        if let (Some(a), Some(b)) = (self.value_of(a), self.value_of(b)) {
            return Err(cond.holds(a, b));
        }
        Ok(self.compare_sized(cond, W::Q, a, b))
    }

    pub(crate) fn compare_sized(&mut self, cond: Cond, w: W, a: Val, b: Val) -> Cc {
        let (a, b, swapped) = if self.value_of(a).is_some() { (b, a, true) } else { (a, b, false) };
        match self.value_of(b).and_then(small) {
            Some(0) if self.reg_of(a).is_some() => {
                let a = self.in_gpr(a, RAX);
                self.asm.test(w, a, a);
            }
            Some(by) => {
                let a = self.operand(a, RAX);
                self.asm.alu_imm(Alu::Cmp, w, a, by);
            }
            None if self.reg_of(b).is_some() => {
                let (a, b) = (self.operand(a, RAX), self.in_gpr(b, RCX));
                match a {
                    Rm::R(a) => self.asm.alu(Alu::Cmp, w, Gpr(a), b),
                    Rm::M(a) => self.asm.alu_to(Alu::Cmp, w, a, b),
                }
            }
            None => {
                let a = self.in_gpr(a, RAX);
                let b = self.operand(b, RCX);
                self.asm.alu(Alu::Cmp, w, a, b);
            }
        }
        match (cond, swapped) {
            (Cond::Eq, _) => Cc::E,
            (Cond::Ne, _) => Cc::Ne,
            (Cond::LtS, false) => Cc::L,
            (Cond::GeS, false) => Cc::Ge,
            (Cond::LtU, false) => Cc::B,
            (Cond::GeU, false) => Cc::Ae,
            (Cond::LtS, true) => Cc::G,
            (Cond::GeS, true) => Cc::Le,
            (Cond::LtU, true) => Cc::A,
            (Cond::GeU, true) => Cc::Be,
        }
    }

    fn choose(&mut self, op: Binary, dst: Slot, a: Val, b: Val) {
        self.put_in(RAX, a);
        self.put_in(RCX, b);
        self.asm.alu(Alu::Cmp, W::Q, RCX, RAX);
        let cc = match op {
            Binary::MinU => Cc::B,
            Binary::MinS => Cc::L,
            Binary::MaxU => Cc::A,
            _ => Cc::G,
        };
        self.asm.cmov(cc, RAX, RCX);
        self.done(dst, RAX);
    }

    fn product(&mut self, width: Width, dst: Slot, a: Val, b: Val) {
        let mut target = self.target(dst);
        let other = self.operand(b, RCX);
        if other == target.into() && a != b {
            target = RAX;
        }
        self.put_in(target, a);
        self.asm.mul(w_of(width), target, other);
        self.settle(width, dst, target);
    }

    fn high(&mut self, signed: bool, dst: Slot, a: Val, b: Val) {
        let b = self.in_gpr(b, RCX);
        self.put_in(RAX, a);
        self.asm.mul_wide(signed, W::Q, b);
        self.done(dst, RDX);
    }

    /// Division, total: by zero and by minus one it takes other ways.
    fn quotient(&mut self, op: Binary, width: Width, dst: Slot, a: Val, b: Val) {
        let signed = matches!(op, Binary::DivS | Binary::RemS);
        let rest = matches!(op, Binary::RemU | Binary::RemS);
        let w = w_of(width);
        self.put_in(RCX, b);
        self.put_in(RAX, a);
        self.asm.test(w, RCX, RCX);
        let by_zero = self.asm.jcc(Cc::E);
        let mut by_minus_one = None;
        if signed {
            self.asm.alu_imm(Alu::Cmp, w, RCX, -1);
            by_minus_one = Some(self.asm.jcc(Cc::E));
            self.asm.sign_to_rdx(w);
        } else {
            self.asm.mov_imm(RDX, 0);
        }
        self.asm.div(signed, w, RCX);
        if rest {
            self.asm.mov(w, RAX, RDX);
        }
        let done = self.asm.jmp();
        if let Some(jump) = by_minus_one {
            self.asm.bind(jump);
            if rest {
                self.asm.mov_imm(RAX, 0);
            } else {
                self.asm.neg(w, RAX);
            }
            let over = self.asm.jmp();
            self.asm.bind(by_zero);
            self.zero_divisor(w, rest);
            self.asm.bind(over);
        } else {
            self.asm.bind(by_zero);
            self.zero_divisor(w, rest);
        }
        self.asm.bind(done);
        self.settle(width, dst, RAX);
    }

    fn zero_divisor(&mut self, w: W, rest: bool) {
        if rest {
            // The dividend stays; its upper half is cleared as by a 32-bit operation.
            self.asm.mov(w, RAX, RAX);
        } else {
            self.asm.mov_imm(RAX, if w == W::Q { u64::MAX } else { LOW_32 });
        }
    }

    fn element(&mut self, scale: u8, dst: Slot, a: Val, b: Val) {
        let index = self.in_gpr(a, RAX);
        let base = self.in_gpr(b, RCX);
        let target = self.target(dst);
        self.asm.lea(W::Q, target, Mem::indexed(base, index, scale, 0));
        self.done(dst, target);
    }

    fn unless(&mut self, zero: bool, dst: Slot, a: Val, b: Val) {
        self.put_in(RAX, a);
        let test = self.in_gpr(b, RCX);
        self.asm.test(W::Q, test, test);
        self.asm.mov_imm(RCX, 0);
        self.asm.cmov(if zero { Cc::Ne } else { Cc::E }, RAX, RCX);
        self.done(dst, RAX);
    }

    pub(crate) fn select(&mut self, dst: Slot, test: Val, a: Val, b: Val) {
        if let Some(test) = self.value_of(test) {
            return self.unary(Unary::Move, dst, if test == 0 { b } else { a });
        }
        self.put_in(RAX, b);
        self.put_in(RCX, a);
        let test = self.in_gpr(test, RDX);
        self.asm.test(W::Q, test, test);
        self.asm.cmov(Cc::Ne, RAX, RCX);
        self.done(dst, RAX);
    }

    pub(crate) fn deposit(&mut self, dst: Slot, base: Val, value: Val, (at, bits): (u8, u8)) {
        let ones = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        if let (Some(base), Some(value)) = (self.value_of(base), self.value_of(value)) {
            return self.constant(dst, base & !(ones << at) | (value & ones) << at);
        }
        // The value's bits change places with the base's: x = (base >> at ^ value) & ones.
        self.put_in(RAX, base);
        if at > 0 {
            self.asm.shift_imm(Shift::Shr, W::Q, RAX, at);
        }
        let value = self.operand(value, RCX);
        self.asm.alu(Alu::Xor, W::Q, RAX, value);
        if let Some(ones) = small(ones) {
            self.asm.alu_imm(Alu::And, W::Q, RAX, ones);
        } else {
            self.asm.mov_imm(RCX, ones);
            self.asm.alu(Alu::And, W::Q, RAX, RCX);
        }
        if at > 0 {
            self.asm.shift_imm(Shift::Shl, W::Q, RAX, at);
        }
        let base: Rm = self.operand(base, RCX);
        self.asm.alu(Alu::Xor, W::Q, RAX, base);
        self.done(dst, RAX);
    }
}

fn w_of(width: Width) -> W {
    match width {
        Width::Full => W::Q,
        Width::Signed32 | Width::Unsigned32 => W::D,
    }
}
