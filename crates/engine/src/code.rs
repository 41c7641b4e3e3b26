//! What the interpreter runs: one compact operation per operation of the IR, with its operands.

use omni_base::PAGE_SIZE_U64;
use omni_ir::{
    AtomicOp, Binary, Block, Cond, Fence, FloatOp, Format, Inst, Size, Slot, Term, Unary, Val,
    Width,
};
use std::cell::OnceCell;
use std::sync::Arc;

/// A slot that is always zero, for constants that are.
pub(crate) const ZERO: u8 = Slot::END + 1;

/// Four slots for constants of operations without a form for them.
const SCRATCH: u8 = Slot::END + 2;

/// What a short reservation was of: the value that was loaded.
pub(crate) const RESERVED: u8 = Slot::END + 6;

/// Not zero where the next reservation must be a long one.
pub(crate) const LONG_NEXT: u8 = Slot::END + 7;

/// How a reservation is held from its load to its store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    /// By the address alone: vCPUs take turns, and it is lost with the turn.
    Turn,
    /// Side by side, with nothing but registers between load and store, in one block: a store that
    /// finds the value that was loaded is as good as a load and a store right now.
    Short,
    /// Side by side, however the two are apart: stores of others to the place are seen.
    Long,
}

/// No block is linked here.
pub(crate) const NO_LINK: u32 = u32::MAX;

/// One operation. `insn` is the number of its guest instruction in the block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uop {
    pub(crate) op: Op,
    pub(crate) insn: u8,
    pub(crate) dst: u8,
    pub(crate) a: u8,
    pub(crate) b: u8,
    pub(crate) c: u8,
    pub(crate) imm: u64,
}

/// Declares the operations that have forms of their own, and with them the type.
macro_rules! ops {
    ($( $rr:ident $ri:ident = $binary:ident $width:ident; )*) => {
        /// What an operation does.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Op {
            $( $rr, $ri, )*
            /// `dst = a op b`, for those too rare for a form of their own.
            Binary(Binary, Width),
            BinaryConst(Binary, Width),
            Const,
            /// `dst` = what is `imm` bytes from the block's address.
            Address,
            Move,
            Unary(Unary),
            /// `dst = a != 0 ? b : c`
            Select,
            /// `imm` is the place and the width.
            Deposit,
            Load8, Load16, Load32, Load64, Load8S, Load16S, Load32S,
            Store8, Store16, Store32, Store64,
            Atomic(AtomicOp, Size),
            CompareSwap(Size),
            LoadReserved(Size, Hold),
            StoreConditional(Size, Hold),
            /// Stores before it are seen by others before loads after it are made.
            Fence,
            /// The rounding mode is in the slot `imm`.
            Float(FloatOp, Format),
            Call,
            /// `imm` is the number of the exit.
            ExitIf(Cond),
            Jump,
            /// Exit 0 if it holds, else exit 1.
            BranchEq, BranchNe, BranchLtS, BranchGeS, BranchLtU, BranchGeU,
            Indirect,
            Trap,
            Stop,
        }

        fn own_form(op: Binary, width: Width, constant: bool) -> Option<Op> {
            match (op, width, constant) {
                $( (Binary::$binary, Width::$width, false) => Some(Op::$rr),
                   (Binary::$binary, Width::$width, true) => Some(Op::$ri), )*
                _ => None,
            }
        }
    };
}

/// Calls a macro with the table of operations that have forms of their own.
macro_rules! own_forms {
    ($mac:ident) => {
        $mac! {
            AddRR AddRI = Add Full;
            AddWRR AddWRI = Add Signed32;
            SubRR SubRI = Sub Full;
            SubWRR SubWRI = Sub Signed32;
            AndRR AndRI = And Full;
            OrRR OrRI = Or Full;
            XorRR XorRI = Xor Full;
            ShlRR ShlRI = Shl Full;
            ShlWRR ShlWRI = Shl Signed32;
            ShrRR ShrRI = Shr Full;
            ShrWRR ShrWRI = Shr Signed32;
            SarRR SarRI = Sar Full;
            SarWRR SarWRI = Sar Signed32;
            LtURR LtURI = LtU Full;
            LtSRR LtSRI = LtS Full;
            MulRR MulRI = Mul Full;
            MulWRR MulWRI = Mul Signed32;
            Sh1AddRR Sh1AddRI = Sh1Add Full;
            Sh2AddRR Sh2AddRI = Sh2Add Full;
            Sh3AddRR Sh3AddRI = Sh3Add Full;
        }
    };
}
pub(crate) use own_forms;
own_forms!(ops);

/// A block: where its instructions are, and its operations.
#[derive(Debug)]
pub(crate) struct Code {
    /// The offset of each guest instruction in the page, which is one for all.
    pub(crate) pcs: Arc<[u16]>,
    /// The address of the first one.
    pub(crate) start: u64,
    /// Most blocks with machine code never need them, and they are what is largest. Blocks of the
    /// same bytes at other addresses have the same ones.
    operations: OnceCell<Arc<Operations>>,
    /// By exit, the block there, if it is in the same page and was entered from here before; none
    /// until there is one.
    links: Box<[u32]>,
}

/// A block as the interpreter runs it, wherever it is.
#[derive(Debug)]
pub(crate) struct Operations {
    pub(crate) uops: Box<[Uop]>,
    /// How far from the block's address it can leave to.
    leaves: Box<[u64]>,
    /// Good for the address alone that they were made for.
    fixed: bool,
    /// The number of the first one for each of the IR, for its terminator, and of all; nothing
    /// where there is no machine code to go on from.
    marks: Box<[u16]>,
}

impl Operations {
    /// The first operation for one of the IR.
    pub(crate) fn mark(&self, inst: usize) -> usize {
        usize::from(self.marks[inst])
    }
}

impl Code {
    /// A block of these instructions, without operations.
    fn new(pcs: Arc<[u16]>, start: u64) -> Self {
        Self { pcs, start, operations: OnceCell::new(), links: Box::default() }
    }

    /// A block of the same bytes at another address, with operations if they are good there.
    pub(crate) fn moved(&self, start: u64) -> Self {
        let moved = Self::new(Arc::clone(&self.pcs), start);
        if let Some(operations) = self.shared() {
            moved.bring(operations);
        }
        moved
    }

    /// Operations that are good for the same bytes at any address.
    pub(crate) fn shared(&self) -> Option<Arc<Operations>> {
        self.operations.get().filter(|all| !all.fixed).map(Arc::clone)
    }

    /// The address of the guest instruction of this number.
    pub(crate) fn pc(&self, insn: usize) -> u64 {
        self.start - self.start % PAGE_SIZE_U64 + u64::from(self.pcs[insn])
    }

    /// What the interpreter runs.
    ///
    /// # Panics
    /// Where nobody has brought it.
    #[inline(always)]
    pub(crate) fn operations(&self) -> &Operations {
        self.operations.get().expect("brought before a block is interpreted")
    }

    /// Whether `operations` are there.
    #[inline(always)]
    pub(crate) fn is_whole(&self) -> bool {
        self.operations.get().is_some()
    }

    /// Brings what the interpreter runs, unless it is there.
    pub(crate) fn bring(&self, operations: Arc<Operations>) {
        // What is there is the same.
        let _ = self.operations.set(operations);
    }

    /// The address that an exit leads to, and the block there.
    pub(crate) fn leave(&self, leave: usize) -> (u64, u32) {
        let pc = self.start.wrapping_add(self.operations().leaves[leave]);
        (pc, self.links.get(leave).copied().unwrap_or(NO_LINK))
    }

    /// Has an exit to this address lead to a block at once, unless it leads to one.
    pub(crate) fn link(&mut self, leave: usize, pc: u64, to: u32) {
        let Some(leaves) = self.operations.get().map(|all| &all.leaves) else { return };
        if leaves.get(leave).is_none_or(|by| self.start.wrapping_add(*by) != pc) {
            return;
        }
        if self.links.is_empty() {
            self.links = vec![NO_LINK; leaves.len()].into();
        }
        if self.links[leave] == NO_LINK {
            self.links[leave] = to;
        }
    }

    /// Has it lead to no other block at once.
    pub(crate) fn unlink(&mut self) {
        self.links = Box::default();
    }

    /// The bytes that operations take up.
    pub(crate) fn bytes(&self) -> usize {
        self.operations.get().map_or(0, |all| size_of_val(&all.uops[..]))
    }
}

impl Compiler {
    /// Compiles a block for the interpreter.
    pub(crate) fn compile(&mut self, block: &Block) -> Code {
        let operations = self.operations(block, false);
        let code = Code::new(self.pcs.as_slice().into(), self.start);
        code.bring(Arc::new(operations));
        code
    }

    /// A block without operations.
    pub(crate) fn outline(&mut self, block: &Block) -> Code {
        self.pcs.clear();
        for inst in &block.insts {
            if let Inst::Start(pc) = *inst {
                self.begin(pc);
            }
        }
        Code::new(self.pcs.as_slice().into(), self.start)
    }

    /// The operations of a block, `marked` where it has machine code.
    pub(crate) fn operations(&mut self, block: &Block, marked: bool) -> Operations {
        self.uops.clear();
        self.leaves.clear();
        self.pcs.clear();
        self.marks.clear();
        // What a trap says may be the instruction's address.
        let fixed = matches!(block.term, Term::Trap(_));
        if let Some(&Inst::Start(start)) = block.insts.first() {
            self.start = start;
        }
        if let Term::Branch(_, _, _, to, or) = block.term {
            self.leave(to);
            self.leave(or);
        }
        for at in 0..block.insts.len() {
            self.mark(marked);
            self.inst(block, at);
        }
        self.mark(marked);
        self.term(block.term);
        self.mark(marked);
        Operations {
            uops: self.uops.as_slice().into(),
            leaves: self.leaves.as_slice().into(),
            fixed,
            marks: self.marks.as_slice().into(),
        }
    }

    fn mark(&mut self, marked: bool) {
        if marked {
            self.marks.push(u16::try_from(self.uops.len()).expect("a block is short"));
        }
    }

    /// A guest instruction begins here.
    fn begin(&mut self, pc: u64) {
        if self.pcs.is_empty() {
            self.start = pc;
        }
        self.pcs.push((pc % PAGE_SIZE_U64) as u16);
    }
}

/// Compiles block after block in the same buffers.
#[derive(Default)]
pub(crate) struct Compiler {
    uops: Vec<Uop>,
    leaves: Vec<u64>,
    marks: Vec<u16>,
    pcs: Vec<u16>,
    start: u64,
    /// The vCPU runs beside others.
    apart: bool,
}

impl Compiler {
    pub(crate) fn new(apart: bool) -> Self {
        Self { apart, ..Self::default() }
    }

    /// How the reservation of the operation at `at` is held.
    fn hold(&self, block: &Block, at: usize) -> Hold {
        match (self.apart, block.reserves_shortly(at)) {
            (false, _) => Hold::Turn,
            (true, true) => Hold::Short,
            (true, false) => Hold::Long,
        }
    }

    fn leave(&mut self, pc: u64) -> u64 {
        self.leaves.push(pc.wrapping_sub(self.start));
        self.leaves.len() as u64 - 1
    }

    fn push(&mut self, op: Op, dst: u8, [a, b, c]: [u8; 3], imm: u64) {
        let insn = u8::try_from(self.pcs.len() - 1).expect("a block is short");
        self.uops.push(Uop { op, insn, dst, a, b, c, imm });
    }

    /// The slot of an operand; a constant is put into the scratch slot `nth`.
    fn slot(&mut self, val: Val, nth: u8) -> u8 {
        match val {
            Val::Slot(slot) => slot.0,
            Val::Const(0) => ZERO,
            Val::Const(value) => {
                self.push(Op::Const, SCRATCH + nth, [0; 3], value);
                SCRATCH + nth
            }
        }
    }

    fn inst(&mut self, block: &Block, at: usize) {
        let inst = &block.insts[at];
        match *inst {
            Inst::Start(pc) => self.begin(pc),
            Inst::Address(dst, to) => {
                self.push(Op::Address, dst.0, [0; 3], to.wrapping_sub(self.start));
            }
            Inst::Unary(Unary::Move, dst, Val::Const(value)) => {
                self.push(Op::Const, dst.0, [0; 3], value);
            }
            Inst::Unary(op, dst, a) => {
                let a = self.slot(a, 0);
                let op = if op == Unary::Move { Op::Move } else { Op::Unary(op) };
                self.push(op, dst.0, [a, 0, 0], 0);
            }
            Inst::Binary(op, width, dst, a, b) => self.binary(op, width, dst, a, b),
            Inst::Select(dst, test, a, b) => {
                let args = [self.slot(test, 0), self.slot(a, 1), self.slot(b, 2)];
                self.push(Op::Select, dst.0, args, 0);
            }
            Inst::Deposit { dst, base, value, at, bits } => {
                let args = [self.slot(base, 0), self.slot(value, 1), 0];
                self.push(Op::Deposit, dst.0, args, u64::from(at) | u64::from(bits) << 8);
            }
            Inst::Load(..) | Inst::Store(..) | Inst::Atomic(..) | Inst::CompareSwap { .. } => {
                self.memory(inst)
            }
            Inst::LoadReserved(size, dst, from) => {
                let from = self.slot(from, 0);
                let op = Op::LoadReserved(size, self.hold(block, at));
                self.push(op, dst.0, [from, 0, 0], 0);
            }
            Inst::StoreConditional(size, dst, to, value) => {
                let args = [self.slot(to, 0), self.slot(value, 1), 0];
                let op = Op::StoreConditional(size, self.hold(block, at));
                self.push(op, dst.0, args, 0);
            }
            // In turns every order is the program's; hosts with machine code order the rest.
            Inst::Fence(Fence::Full) if self.apart => self.push(Op::Fence, 0, [0; 3], 0),
            Inst::Fence(_) => {}
            Inst::Float { op, format, dst, args: [a, b, c], round } => {
                // The rounding mode takes the last scratch slot, so at most three are constants.
                let args = [self.slot(a, 0), self.slot(b, 1), self.slot(c, 2)];
                let round = self.slot(round, 3);
                self.push(Op::Float(op, format), dst.0, args, u64::from(round));
            }
            Inst::Call(helper, dst, [a, b, c]) => {
                let args = [self.slot(a, 0), self.slot(b, 1), self.slot(c, 2)];
                self.push(Op::Call, dst.0, args, u64::from(helper.0));
            }
            Inst::ExitIf(cond, a, b, to) => {
                let args = [self.slot(a, 0), self.slot(b, 1), 0];
                let leave = self.leave(to);
                self.push(Op::ExitIf(cond), 0, args, leave);
            }
        }
    }

    fn binary(&mut self, op: Binary, width: Width, dst: Slot, a: Val, b: Val) {
        let a = self.slot(a, 0);
        match b {
            Val::Const(value) => {
                let form = own_form(op, width, true).unwrap_or(Op::BinaryConst(op, width));
                self.push(form, dst.0, [a, 0, 0], value);
            }
            Val::Slot(b) => {
                let form = own_form(op, width, false).unwrap_or(Op::Binary(op, width));
                self.push(form, dst.0, [a, b.0, 0], 0);
            }
        }
    }

    fn memory(&mut self, inst: &Inst) {
        let offset = |offset: i32| i64::from(offset).cast_unsigned();
        match *inst {
            Inst::Load(memory, dst, base, by) => {
                let op = match (memory.size, memory.signed) {
                    (Size::B1, false) => Op::Load8,
                    (Size::B2, false) => Op::Load16,
                    (Size::B4, false) => Op::Load32,
                    (Size::B1, true) => Op::Load8S,
                    (Size::B2, true) => Op::Load16S,
                    (Size::B4, true) => Op::Load32S,
                    (Size::B8 | Size::B16, _) => Op::Load64,
                };
                let base = self.slot(base, 0);
                self.push(op, dst.0, [base, 0, 0], offset(by));
            }
            Inst::Store(size, base, by, value) => {
                let op = match size {
                    Size::B1 => Op::Store8,
                    Size::B2 => Op::Store16,
                    Size::B4 => Op::Store32,
                    Size::B8 | Size::B16 => Op::Store64,
                };
                let args = [self.slot(base, 0), self.slot(value, 1), 0];
                self.push(op, 0, args, offset(by));
            }
            Inst::Atomic(op, size, dst, at, value) => {
                let args = [self.slot(at, 0), self.slot(value, 1), 0];
                self.push(Op::Atomic(op, size), dst.0, args, 0);
            }
            Inst::CompareSwap { size, dst, at, expect, value } => {
                let args = [self.slot(at, 0), self.slot(expect, 1), self.slot(value, 2)];
                self.push(Op::CompareSwap(size), dst.0, args, 0);
            }
            Inst::Start(_)
            | Inst::Address(..)
            | Inst::Unary(..)
            | Inst::Binary(..)
            | Inst::Select(..)
            | Inst::Deposit { .. }
            | Inst::LoadReserved(..)
            | Inst::StoreConditional(..)
            | Inst::Fence(_)
            | Inst::Float { .. }
            | Inst::Call(..)
            | Inst::ExitIf(..) => unreachable!("only accesses to memory come here"),
        }
    }

    fn term(&mut self, term: Term) {
        match term {
            Term::Jump(to) => {
                let leave = self.leave(to);
                self.push(Op::Jump, 0, [0; 3], leave);
            }
            Term::Branch(cond, a, b, _, _) => {
                let args = [self.slot(a, 0), self.slot(b, 1), 0];
                let op = match cond {
                    Cond::Eq => Op::BranchEq,
                    Cond::Ne => Op::BranchNe,
                    Cond::LtS => Op::BranchLtS,
                    Cond::GeS => Op::BranchGeS,
                    Cond::LtU => Op::BranchLtU,
                    Cond::GeU => Op::BranchGeU,
                };
                self.push(op, 0, args, 0);
            }
            Term::Indirect(to) => {
                let to = self.slot(to, 0);
                self.push(Op::Indirect, 0, [to, 0, 0], 0);
            }
            Term::Trap(trap) => {
                let cause = self.slot(Val::Const(trap.cause), 0);
                self.push(Op::Trap, 0, [cause, 0, 0], trap.value);
            }
            Term::Stop(to) => {
                let to = self.slot(to, 0);
                self.push(Op::Stop, 0, [to, 0, 0], 0);
            }
        }
    }
}
