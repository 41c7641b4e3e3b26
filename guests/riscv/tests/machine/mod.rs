//! The least board there is: RAM, a console and a register that ends the machine.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use omni_base::Gpa;
use omni_engine::{Access, Engine, Reply, Target, Tiers};
use omni_guest_riscv::{Board, Hart, Turn, Why};
use omni_ir::Size;
use omni_memory::Space;

pub const RAM_BASE: u64 = 0x8000_0000;
pub const CONSOLE: u64 = 0x1000_0000;
pub const HALT: u64 = 0x0010_0000;

pub struct TestBoard {
    pub ram: Space,
    pub output: Vec<u8>,
    pub halted: Option<u64>,
    /// Interrupt lines.
    pub lines: u64,
    /// Ticks before the present turn.
    pub ticks: u64,
}

impl Board for TestBoard {
    fn hold(&mut self) {}
    fn release(&mut self) {}
    fn ram(&mut self) -> &mut Space {
        &mut self.ram
    }
    fn target(&self, at: Gpa, access: Access) -> Option<Target> {
        match at.0.checked_sub(RAM_BASE) {
            Some(offset) if offset < self.ram.size() => Some(Target::Ram(Gpa(offset).page())),
            _ => (access != Access::Fetch).then_some(Target::Device(at)),
        }
    }
    fn device_load(&mut self, at: Gpa, _: Size, _: u64) -> Option<Reply> {
        (at.0 == CONSOLE).then_some(Reply { value: 0x5a, stop: false })
    }
    fn device_store(&mut self, at: Gpa, _: Size, value: u64, _: u64) -> Option<Reply> {
        match at.0 {
            CONSOLE => self.output.push((value & 0xff) as u8),
            HALT => self.halted = Some(value),
            _ => return None,
        }
        Some(Reply { value: 0, stop: at.0 == HALT })
    }
    fn tick(&self, ticks: u64) -> u64 {
        self.ticks + ticks
    }
    fn lines(&self, _: u64) -> u64 {
        self.lines
    }
    fn answers_supervisor(&self) -> bool {
        false
    }
    fn mtime(&self, ticks: u64) -> u64 {
        (self.ticks + ticks) / 10
    }
}

pub struct Machine {
    pub board: TestBoard,
    pub hart: Hart,
    pub engine: Engine,
}

impl Machine {
    /// Machine code for everything at once, where the host has it.
    pub fn new(pages: u64) -> Self {
        Self::on(pages, Tiers::Compiled { after: 0 })
    }

    pub fn on(pages: u64, tiers: Tiers) -> Self {
        let board = TestBoard {
            ram: Space::new("ram", pages),
            output: vec![],
            halted: None,
            lines: 0,
            ticks: 0,
        };
        let mut engine = Engine::new(1);
        engine.set_tiers(tiers);
        Self { board, hart: Hart::new(0, RAM_BASE), engine }
    }

    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        self.board.ram.store(Gpa(at - RAM_BASE), bytes).expect("in RAM");
    }

    pub fn put_words(&mut self, at: u64, words: &[u32]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(at, &bytes);
    }

    pub fn get(&self, at: u64) -> u64 {
        let bytes = self.board.ram.load(Gpa(at - RAM_BASE)).expect("in RAM");
        u64::from_le_bytes(bytes)
    }

    /// Runs at most so many ticks; stops early when the machine halts. Gives the ticks.
    pub fn run(&mut self, budget: u64) -> u64 {
        let mut done = 0;
        while done < budget && self.board.halted.is_none() {
            let mut left = budget - done;
            if let Some(deadline) = self.hart.next_deadline() {
                // Ten ticks are one of `mtime`.
                let to = deadline.saturating_mul(10).saturating_sub(self.board.ticks);
                left = if to == 0 { left } else { left.min(to) };
            }
            let turn = Turn { vcpu: 0, budget: left };
            let end = self.hart.run(&mut self.engine, &mut self.board, turn);
            // A hart that waits passes its time.
            let ticks = if end.why == Why::Waiting { left } else { end.ticks };
            done += ticks;
            self.board.ticks += ticks;
        }
        done
    }
}
