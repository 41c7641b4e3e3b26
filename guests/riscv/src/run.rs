//! Runs a hart: interrupts, translated code, traps, until the board must look.

use crate::board::Board;
use crate::env::HartEnv;
use crate::hart::Hart;
use crate::lower::{Riscv, slot};
use crate::trap::cause;
use omni_engine::{Caught, Engine, Entry, NOT_RESERVED};
use omni_ir::Trap;

/// How a hart is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// The number of the engine's vCPU.
    pub vcpu: usize,
    /// Ticks to take at most. The board ends it where `stimecmp` or a device's time comes.
    pub budget: u64,
}

/// Why a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// The budget is used.
    Budget,
    /// The hart waits for an interrupt that is not pending.
    Waiting,
    /// A device, `stimecmp` or the hart's environment changed: lines and deadlines may have.
    Attention,
    /// A call from S, at `pc`: arguments in a0 to a7, and the board answers and sets `pc`.
    Sbi,
    /// A debugger has it stop before the instruction at `pc`, which has had no effect.
    Caught(Caught),
}

/// How a turn ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TurnEnd {
    /// Ticks taken: instructions retired, and traps.
    pub ticks: u64,
    /// Why it ended.
    pub why: Why,
}

impl Hart {
    /// Runs until the budget is used or the board must look.
    ///
    /// Taking a trap, an interrupt or a call costs a tick.
    pub fn run<B: Board>(&mut self, engine: &mut Engine, board: &mut B, turn: Turn) -> TurnEnd {
        let mut ticks = 0;
        let why = loop {
            let lines = board.lines(self.control.mhartid);
            let pending = self.control.pending(lines, board.mtime(ticks));
            if self.control.waiting {
                if pending & self.control.mie == 0 {
                    break Why::Waiting;
                }
                self.control.waiting = false;
            }
            if ticks >= turn.budget {
                break Why::Budget;
            }
            if let Some(number) = self.control.interrupt(pending) {
                self.control.take_interrupt(number);
                self.clear_reservation();
                self.control.count(0, 1);
                ticks += 1;
                continue;
            }
            let (taken, trap, attention) = self.run_code(engine, board, &turn, ticks);
            ticks += taken;
            if let Some(trap) = trap {
                self.control.count(0, 1);
                ticks += 1;
                if board.answers_supervisor() && trap.cause == cause::ECALL_SUPERVISOR {
                    break Why::Sbi;
                }
                self.control.take_trap(trap);
                self.clear_reservation();
            }
            if let Some(caught) = engine.take_caught() {
                break Why::Caught(caught);
            }
            if attention {
                break Why::Attention;
            }
        };
        TurnEnd { ticks, why }
    }

    /// Runs code until it traps or asks to stop. Gives the instructions retired.
    fn run_code<B: Board>(
        &mut self,
        engine: &mut Engine,
        board: &mut B,
        turn: &Turn,
        ticks: u64,
    ) -> (u64, Option<Trap>, bool) {
        let regs = &mut self.registers.file.0;
        let (fetch, data) = self.control.contexts(self.pmp);
        let entry = Entry {
            pc: self.control.pc,
            mode: self.control.code_mode(regs.get(slot::FRM)).pack(),
            fetch,
            data,
            budget: turn.budget - ticks,
        };
        let mut env = HartEnv {
            control: &mut self.control,
            pmp: &mut self.pmp,
            board,
            ticks_before: ticks,
            attention: false,
        };
        let exit = engine.run(&Riscv, turn.vcpu, &mut env, regs, entry);
        let attention = env.attention;
        self.control.pc = exit.pc;
        self.control.count(exit.ticks, 0);
        (exit.ticks, exit.trap, attention)
    }

    /// Whether a reservation is held: for tests and debuggers.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.registers.file.0.get(slot::RESERVATION) != NOT_RESERVED
    }
}
