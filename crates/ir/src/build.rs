//! The builder that front-ends write blocks with.

use crate::{
    AtomicOp, Binary, Block, Cond, Fence, FloatOp, Format, Helper, Inst, Memory, Size, Slot, Term,
    Trap, Unary, Val, Width,
};

/// Builds a block, one guest instruction after the other.
#[derive(Default, Debug)]
pub struct Builder {
    insts: Vec<Inst>,
    ticks: u32,
    temps: u8,
    term: Option<Term>,
}

impl Builder {
    /// A builder that builds in a buffer, the content of which goes.
    #[must_use]
    pub fn reuse(mut buffer: Vec<Inst>) -> Self {
        buffer.clear();
        Self { insts: buffer, ..Self::default() }
    }

    /// Marks the start of a guest instruction; temporaries of the one before are free again.
    pub fn start(&mut self, pc: u64) {
        self.insts.push(Inst::Start(pc));
        self.ticks += 1;
        self.temps = 0;
    }

    /// Takes the last `start` back, after which nothing was built.
    pub fn unstart(&mut self) {
        let last = self.insts.pop();
        assert!(matches!(last, Some(Inst::Start(_))), "only an empty instruction is taken back");
        self.ticks -= 1;
    }

    /// What was built so far.
    #[must_use]
    pub fn insts(&self) -> &[Inst] {
        &self.insts
    }

    /// Whether the guest instruction at this address is in the block.
    #[must_use]
    pub fn has_start(&self, pc: u64) -> bool {
        self.insts.contains(&Inst::Start(pc))
    }

    /// Guest instructions so far.
    #[must_use]
    pub fn ticks(&self) -> u32 {
        self.ticks
    }

    /// A fresh temporary, good until the next guest instruction.
    ///
    /// # Panics
    /// Where one instruction takes more than there are, which is a fault of the front-end.
    pub fn temp(&mut self) -> Slot {
        let slot = Slot(Slot::TEMPS + self.temps);
        self.temps += 1;
        assert!(slot.0 < Slot::END, "an instruction needs few temporaries");
        slot
    }

    /// `dst = a`
    pub fn put(&mut self, dst: Slot, a: impl Into<Val>) {
        self.unary(Unary::Move, dst, a);
    }

    /// `dst =` an address that was made from the instruction's own: the next one, or one at a
    /// distance. As a constant it would be the same where these bytes are elsewhere.
    pub fn address(&mut self, dst: Slot, address: u64) {
        self.insts.push(Inst::Address(dst, address));
    }

    /// `dst = op a`
    pub fn unary(&mut self, op: Unary, dst: Slot, a: impl Into<Val>) {
        let inst = match a.into() {
            Val::Const(a) => Inst::Unary(Unary::Move, dst, Val::Const(op.eval(a))),
            a @ Val::Slot(_) => Inst::Unary(op, dst, a),
        };
        self.insts.push(inst);
    }

    /// `dst = a op b` on 64 bits.
    pub fn binary(&mut self, op: Binary, dst: Slot, a: impl Into<Val>, b: impl Into<Val>) {
        self.sized(op, Width::Full, dst, a, b);
    }

    /// `dst = a op b` of a width. Constants are folded.
    pub fn sized(
        &mut self,
        op: Binary,
        width: Width,
        dst: Slot,
        a: impl Into<Val>,
        b: impl Into<Val>,
    ) {
        let inst = match (a.into(), b.into()) {
            (Val::Const(a), Val::Const(b)) => {
                Inst::Unary(Unary::Move, dst, Val::Const(op.eval(width, a, b)))
            }
            (a, b) => Inst::Binary(op, width, dst, a, b),
        };
        self.insts.push(inst);
    }

    /// `dst = if test != 0 { a } else { b }`
    pub fn select(
        &mut self,
        dst: Slot,
        test: impl Into<Val>,
        a: impl Into<Val>,
        b: impl Into<Val>,
    ) {
        self.insts.push(Inst::Select(dst, test.into(), a.into(), b.into()));
    }

    /// `dst = base` with `bits` bits from `at` on replaced by the low bits of `value`.
    pub fn deposit(
        &mut self,
        dst: Slot,
        base: impl Into<Val>,
        value: impl Into<Val>,
        at_bits: (u8, u8),
    ) {
        let (at, bits) = at_bits;
        let (base, value) = (base.into(), value.into());
        self.insts.push(Inst::Deposit { dst, base, value, at, bits });
    }

    /// `dst = *(base + offset)`
    pub fn load(&mut self, size: Size, signed: bool, dst: Slot, base: impl Into<Val>, offset: i32) {
        self.insts.push(Inst::Load(Memory { size, signed }, dst, base.into(), offset));
    }

    /// `*(base + offset) = value`
    pub fn store(&mut self, size: Size, base: impl Into<Val>, offset: i32, value: impl Into<Val>) {
        self.insts.push(Inst::Store(size, base.into(), offset, value.into()));
    }

    /// `dst = *at; *at = dst op value`, in one step.
    pub fn atomic(
        &mut self,
        op: AtomicOp,
        size: Size,
        dst: Slot,
        at: impl Into<Val>,
        value: impl Into<Val>,
    ) {
        self.insts.push(Inst::Atomic(op, size, dst, at.into(), value.into()));
    }

    /// `dst = *at` if it equals `expect` is replaced by `value`, in one step.
    pub fn compare_swap(&mut self, size: Size, dst: Slot, at: impl Into<Val>, swap: (Val, Val)) {
        let (expect, value) = swap;
        self.insts.push(Inst::CompareSwap { size, dst, at: at.into(), expect, value });
    }

    /// `dst = *at`, reserving it.
    pub fn load_reserved(&mut self, size: Size, dst: Slot, at: impl Into<Val>) {
        self.insts.push(Inst::LoadReserved(size, dst, at.into()));
    }

    /// `*at = value; dst = 0` if reserved, else `dst = 1`.
    pub fn store_conditional(
        &mut self,
        size: Size,
        dst: Slot,
        at: impl Into<Val>,
        value: impl Into<Val>,
    ) {
        self.insts.push(Inst::StoreConditional(size, dst, at.into(), value.into()));
    }

    /// Orders memory accesses.
    pub fn fence(&mut self, fence: Fence) {
        self.insts.push(Inst::Fence(fence));
    }

    /// `dst = op(args)`; a shorter list of operands is filled up with zeros.
    ///
    /// # Panics
    /// Where there are more than three operands.
    pub fn float(
        &mut self,
        op: FloatOp,
        format: Format,
        dst: Slot,
        operands: &[Val],
        round: impl Into<Val>,
    ) {
        let mut args = [Val::Const(0); 3];
        args[..operands.len()].copy_from_slice(operands);
        self.insts.push(Inst::Float { op, format, dst, args, round: round.into() });
    }

    /// `dst = helper(args)`
    pub fn call(&mut self, helper: Helper, dst: Slot, args: [Val; 3]) {
        self.insts.push(Inst::Call(helper, dst, args));
    }

    /// Ends the block: goes on at an address that was made from the instruction's own.
    pub fn jump(&mut self, to: u64) {
        self.end(Term::Jump(to));
    }

    /// Ends the block: goes to `to` if the comparison holds, else to `or`, both made from the
    /// instruction's own address.
    pub fn branch(&mut self, cond: Cond, a: impl Into<Val>, b: impl Into<Val>, to: u64, or: u64) {
        let term = match (a.into(), b.into()) {
            (Val::Const(a), Val::Const(b)) => Term::Jump(if cond.holds(a, b) { to } else { or }),
            (a, b) => Term::Branch(cond, a, b, to, or),
        };
        self.end(term);
    }

    /// Ends the block: goes to a computed address, or to a constant one.
    pub fn indirect(&mut self, to: impl Into<Val>) {
        self.end(Term::Indirect(to.into()));
    }

    /// Ends the block: the instruction traps and does not retire.
    pub fn trap(&mut self, cause: u64, value: u64) {
        self.end(Term::Trap(Trap { cause, value }));
    }

    /// Ends the block: back to whoever runs the vCPU, to go on at `pc`.
    pub fn stop(&mut self, pc: impl Into<Val>) {
        self.end(Term::Stop(pc.into()));
    }

    fn end(&mut self, term: Term) {
        assert!(self.term.is_none(), "a block ends once");
        self.term = Some(term);
    }

    /// How the block ends, once a front-end has said so.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        self.term
    }

    /// Takes the end back, so that the block can go on where it would have led: superblocks.
    pub fn reopen(&mut self) -> Option<Term> {
        self.term.take()
    }

    /// Leaves the block early if the comparison holds.
    pub fn exit_if(&mut self, cond: Cond, a: Val, b: Val, to: u64) {
        self.insts.push(Inst::ExitIf(cond, a, b, to));
    }

    /// The finished block; one that a front-end left open goes on at `pc`.
    #[must_use]
    pub fn finish(self, pc: u64) -> Block {
        let term = self.term.unwrap_or(Term::Jump(pc));
        Block { insts: self.insts, term, ticks: self.ticks }
    }
}
