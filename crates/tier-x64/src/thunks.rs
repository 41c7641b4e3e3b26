//! Code that all blocks share: entering, stepping, leaving.

use crate::asm::{
    Alu, Asm, Cc, Gpr, Mem, Place, R12, R13, R14, R15, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP,
    Shift, W, offset,
};
use crate::layout::{JUMPS, Layout, SECOND_JUMP, Why, control};
use crate::map::Map;

/// Registers that belong to the caller, by the System V convention.
const SAVED: [Gpr; 6] = [RBX, RBP, R12, R13, R14, R15];

/// Offsets of the shared code in the arena.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Thunks {
    pub(crate) enter: usize,
    /// Called with the place in eax.
    pub(crate) step: usize,
    /// Jumped to with the place in eax.
    pub(crate) exit: usize,
    /// Jumped to with the address in rax, where the first pairs of the jump cache have another.
    pub(crate) indirect: usize,
    /// Jumped to with the address in rax: leaves for it.
    pub(crate) unknown: usize,
    /// Jumped to with the place in eax.
    pub(crate) budget: usize,
    /// Jumped to with the address in rax.
    pub(crate) stop: usize,
    /// Jumped to with the place in eax.
    pub(crate) finish: usize,
}

pub(crate) fn make(map: &Map, layout: &Layout) -> (Thunks, Vec<u8>) {
    let mut into = Maker { asm: Asm::default(), map, control: layout.control };
    let mut thunks = Thunks { enter: into.enter(), ..Thunks::default() };
    let leave = into.leave();
    thunks.step = into.step(leave);
    thunks.exit = into.reason(Why::Exit, leave);
    thunks.budget = into.reason(Why::Budget, leave);
    thunks.finish = into.reason(Why::Finish, leave);
    thunks.unknown = into.reason(Why::Indirect, leave);
    thunks.indirect = into.second_jump(thunks.unknown);
    thunks.stop = into.reason(Why::Stop, leave);
    let split = into.asm.here();
    let (bytes, _) = into.asm.settle(Place { split, at: 0, rest_at: split });
    (thunks, bytes)
}

struct Maker<'a> {
    asm: Asm,
    map: &'a Map,
    control: i32,
}

impl Maker<'_> {
    fn control(&self, at: i32) -> Mem {
        Mem::at(RBP, self.control + at)
    }

    fn fill(&mut self) {
        for &(reg, home) in &self.map.gprs {
            self.asm.mov(W::Q, reg, home);
        }
        for &(reg, home) in &self.map.xmms {
            self.asm.load_xmm(8, reg, home);
        }
        self.asm.mov(W::Q, R15, self.control(control::BUDGET));
        self.asm.ldmxcsr(self.control(control::MXCSR));
    }

    fn spill(&mut self) {
        for &(reg, home) in &self.map.gprs {
            self.asm.store(8, home, reg);
        }
        for &(reg, home) in &self.map.xmms {
            self.asm.store_xmm(8, home, reg);
        }
        self.asm.store(8, self.control(control::BUDGET), R15);
        self.asm.stmxcsr(self.control(control::MXCSR));
    }

    /// `fn(base, code)`
    fn enter(&mut self) -> usize {
        let here = self.asm.here();
        SAVED.iter().for_each(|&reg| self.asm.push(reg));
        // With the return address, an even number of words: calls find the stack aligned.
        self.asm.alu_imm(Alu::Sub, W::Q, RSP, 8);
        self.asm.mov(W::Q, RBP, RDI);
        self.asm.mov(W::Q, RAX, RSI);
        self.fill();
        self.asm.jmp_rm(RAX);
        here
    }

    /// Goes back to the caller of `enter`; all is in the file.
    fn leave(&mut self) -> usize {
        let here = self.asm.here();
        self.asm.alu_imm(Alu::Add, W::Q, RSP, 8);
        SAVED.iter().rev().for_each(|&reg| self.asm.pop(reg));
        self.asm.ret();
        here
    }

    /// Runs one operation by the interpreter; goes on after the call, or leaves.
    fn step(&mut self, leave: usize) -> usize {
        let here = self.asm.here();
        self.spill();
        self.asm.alu_imm(Alu::Sub, W::Q, RSP, 8);
        self.asm.mov(W::Q, RDI, self.control(control::CONTEXT));
        self.asm.mov(W::D, RSI, RAX);
        self.asm.call_rm(self.control(control::STEP));
        self.asm.alu_imm(Alu::Add, W::Q, RSP, 8);
        self.asm.test(W::D, RAX, RAX);
        let out = self.asm.jcc(Cc::Ne);
        self.fill();
        self.asm.ret();
        self.asm.bind(out);
        let why = self.control(control::WHY);
        self.asm.store_imm(4, why, Why::Step as i32);
        // The return address of the step.
        self.asm.alu_imm(Alu::Add, W::Q, RSP, 8);
        let jump = self.asm.jmp();
        self.asm.bind_to(jump, offset(leave));
        here
    }

    /// Looks for the address in rax among the second pairs of the jump cache.
    fn second_jump(&mut self, missed: usize) -> usize {
        let here = self.asm.here();
        let bits = JUMPS.trailing_zeros() as u8;
        self.asm.mov_imm(RCX, SECOND_JUMP.into());
        self.asm.mul(W::D, RCX, RAX);
        // A pair is sixteen bytes: twice the index, times eight.
        self.asm.shift_imm(Shift::Shr, W::D, RCX, 32 - bits - 1);
        self.asm.alu_imm(Alu::And, W::D, RCX, -2);
        self.asm.mov(W::Q, RDX, self.control(control::JUMPS));
        self.asm.lea(W::Q, RCX, Mem::indexed(RDX, RCX, 3, 16 * JUMPS as i32));
        self.asm.alu(Alu::Cmp, W::Q, RAX, Mem::at(RCX, 0));
        let miss = self.asm.jcc(Cc::Ne);
        self.asm.jmp_rm(Mem::at(RCX, 8));
        self.asm.bind_to(miss, offset(missed));
        here
    }

    fn reason(&mut self, why: Why, leave: usize) -> usize {
        let here = self.asm.here();
        match why {
            Why::Indirect | Why::Stop => {
                self.asm.store(8, self.control(control::PC), RAX);
            }
            Why::Exit | Why::Budget | Why::Finish | Why::Step => {
                self.asm.store(4, self.control(control::PLACE), RAX);
            }
        }
        let word = self.control(control::WHY);
        self.asm.store_imm(4, word, why as i32);
        self.spill();
        let jump = self.asm.jmp();
        self.asm.bind_to(jump, offset(leave));
        here
    }
}
