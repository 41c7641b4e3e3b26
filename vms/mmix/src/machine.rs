//! The machine: the contract, and runs of the engine between calls and waits.

use crate::exec::Next;
use crate::fault::Fault;
use crate::lower::{Mmix, mode};
use crate::object::Program;
use crate::state::{SLOTS, Wait, special};
use crate::world::{World, global};
use omni_base::Tick;
use omni_engine::{Caught, Context, Counters, Engine, Entry, Regs};
use omni_machine::{
    Caches, Caps, Control, Effect, Event, Hit, Inspect, IoId, Kick, Machine, Outside, PortId,
    Schedule, Spec, Stop, StopPoint, ThreadId,
};
use omni_memory::Memory;
use omni_state::Bundle;
use std::sync::Arc;

/// The port of the console.
pub(crate) const CONSOLE: PortId = PortId(0);

/// The port of files.
pub(crate) const FILES: PortId = PortId(1);

/// What every machine of the kind can do.
pub(crate) const CAPS: Caps =
    Caps { exact_ticks: true, deterministic: true, self_contained: true, parallel: false };

/// Bytes of input that wait; more are dropped.
pub(crate) const TYPED_MAX: usize = 4 << 20;

/// Ticks between two looks at the kick.
const KICK_TICKS: u64 = 20_000;

/// The only address space.
const CONTEXT: Context = Context([0; 2]);

/// One machine. Between two runs `world.effects` is empty, so all state is in the space, the
/// records and the slots.
pub(crate) struct Vm {
    pub(crate) spec: Spec,
    pub(crate) world: World,
    pub(crate) regs: Regs,
    // Derived from here on.
    /// What is loaded at a cold start.
    pub(crate) program: Arc<Program>,
    /// The engine, once something has run.
    engine: Option<Box<Engine>>,
    /// What engines counted for this machine that it has no longer.
    counted: Counters,
    /// What a debugger has it stop at.
    pub(crate) stops: Vec<StopPoint>,
}

impl Vm {
    pub(crate) fn new(spec: Spec, world: World, regs: Regs, program: Arc<Program>) -> Self {
        let counted = Counters::default();
        Self { spec, world, regs, program, engine: None, counted, stops: Vec::new() }
    }

    /// The engine, which is made where there is none.
    pub(crate) fn engine(&mut self) -> &mut Engine {
        self.engine.get_or_insert_with(|| Box::new(Engine::new(1)))
    }

    pub(crate) fn has_engine(&self) -> bool {
        self.engine.is_some()
    }

    fn emit(&mut self, outside: &mut dyn Outside) {
        for effect in self.world.effects.drain(..) {
            outside.emit(Tick(self.world.cpu.tick), effect);
        }
    }

    /// Ends the program with a message, as a fault of the guest and not of ours.
    fn halt_with(&mut self, fault: Fault) {
        let at = self.world.cpu.pc;
        let message = format!("\n[The program did what it may not, at {at:#x}: {fault}.]\n");
        self.world.print(message.as_bytes());
        self.world.cpu.halted = Some(1);
        self.world.io.wait = Wait::None;
    }

    /// Runs code for so many ticks at most.
    fn run_code(&mut self, budget: u64, outside: &mut dyn Outside) -> Option<Hit> {
        let regs = &mut self.regs;
        let ra = regs.get(special::slot(special::A));
        let entry = Entry {
            pc: self.world.cpu.pc,
            mode: mode(global(regs), ra),
            fetch: CONTEXT,
            data: CONTEXT,
            budget,
        };
        let engine = self.engine.get_or_insert_with(|| Box::new(Engine::new(1)));
        let exit = engine.run(&Mmix, 0, &mut self.world, regs, entry);
        self.world.cpu.tick += exit.ticks;
        self.world.cpu.pc = exit.pc;
        if let Some(caught) = engine.take_caught() {
            return Some(self.hit(caught));
        }
        if exit.trap.is_some() {
            self.interpret();
            self.emit(outside);
            self.world.cpu.tick += 1;
        }
        None
    }

    /// Runs the instruction that code has left to us.
    pub(crate) fn interpret(&mut self) {
        match self.world.step(&mut self.regs) {
            Ok(Next::At(pc)) => self.world.cpu.pc = pc,
            // What is waited for is tried again, and was no instruction yet.
            Ok(Next::Wait) => self.world.cpu.idle += 1,
            Ok(Next::Halt(code)) => self.world.cpu.halted = Some(code & 0xff),
            Err(fault) => self.halt_with(fault),
        }
    }

    fn hit(&self, caught: Caught) -> Hit {
        let (point, at) = match caught {
            Caught::Break(at) => (StopPoint::Break(at), at),
            Caught::Watch(nth, at) => {
                let watches = |stop: &&StopPoint| matches!(stop, StopPoint::Watch { .. });
                let mut watches = self.stops.iter().filter(watches);
                (*watches.nth(nth).expect("the engine has what it was given"), at)
            }
        };
        Hit { thread: ThreadId(0), point, at, after: false }
    }

    /// Lets the time pass that a waiting machine has.
    fn idle(&mut self, until: Tick) -> Stop {
        let left = until.0.saturating_sub(self.world.cpu.tick);
        self.world.cpu.tick += left;
        self.world.cpu.idle += left;
        Stop::Idle { wake: None }
    }

    /// Starts the program anew.
    pub(crate) fn restart(&mut self) -> Result<(), Fault> {
        let program = self.program.clone();
        crate::boot::boot(&mut self.world, &mut self.regs, &program, &self.spec)
    }

    /// Has rN, which no two processors share, be that of another one.
    fn rename(&mut self, entropy: &[u8; 32]) {
        let words = entropy.chunks_exact(4);
        let word = |part: &[u8]| u32::from_le_bytes(part.try_into().expect("chunks of four"));
        let mixed = |sum: u32, word| sum.wrapping_mul(0x9e37_79b1) ^ word;
        let serial = words.map(word).fold(1, mixed);
        let slot = special::slot(special::N);
        let high = self.regs.get(slot) & !0xffff_ffff;
        self.regs.set(slot, high | u64::from(serial));
    }

    fn type_bytes(&mut self, bytes: &[u8]) {
        let world = &mut self.world;
        for &byte in bytes {
            if world.io.typed.len() >= TYPED_MAX {
                break;
            }
            match byte {
                _ if !world.echo => world.io.typed.push(byte),
                b'\r' => {
                    world.io.typed.push(b'\n');
                    world.print(b"\n");
                }
                8 | 0x7f => {
                    if world.io.typed.last().is_some_and(|last| *last != b'\n') {
                        world.io.typed.pop();
                        world.print(b"\x08 \x08");
                    }
                }
                _ => {
                    world.io.typed.push(byte);
                    world.print(&[byte]);
                }
            }
        }
        if world.io.wait == Wait::Input {
            world.io.wait = Wait::None;
        }
    }
}

impl Machine for Vm {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn caps(&self) -> Caps {
        CAPS
    }

    fn set_schedule(&mut self, schedule: Schedule) -> bool {
        schedule == Schedule::Turns
    }

    fn tick(&self) -> Tick {
        Tick(self.world.cpu.tick)
    }

    fn run(&mut self, until: Tick, kick: &Kick, outside: &mut dyn Outside) -> Stop {
        loop {
            if let Some(code) = self.world.cpu.halted {
                return Stop::Halted { code };
            }
            if self.world.io.wait != Wait::None {
                return self.idle(until);
            }
            if self.world.cpu.tick >= until.0 {
                return Stop::Reached;
            }
            if kick.taken() {
                return Stop::Kicked;
            }
            let budget = (until.0 - self.world.cpu.tick).min(KICK_TICKS);
            if let Some(hit) = self.run_code(budget, outside) {
                return Stop::Hit(hit);
            }
        }
    }

    fn apply(&mut self, event: &Event, outside: &mut dyn Outside) {
        match event {
            Event::Input { port, bytes } => {
                if *port == CONSOLE {
                    self.world.io.closed |= bytes.is_empty();
                    self.type_bytes(bytes);
                }
            }
            Event::IoDone { id, result } => {
                let io = &mut self.world.io;
                let waits = matches!(io.wait, Wait::Load | Wait::Save(_));
                if waits && *id == IoId(io.io) {
                    io.wait = Wait::None;
                    io.answer = result.as_ref().ok().cloned();
                    io.refused = result.as_ref().err().copied();
                }
            }
            Event::Control(Control::Reset) => {
                if let Err(fault) = self.restart() {
                    self.halt_with(fault);
                }
            }
            Event::Control(Control::PowerButton) => {
                if self.world.cpu.halted.is_none() {
                    self.world.cpu.halted = Some(0);
                    self.world.io.wait = Wait::None;
                }
            }
            Event::Generation { entropy } => self.rename(entropy),
            Event::Control(Control::Resize { .. } | Control::Balloon { .. }) => {}
        }
        self.emit(outside);
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.world.memory
    }

    fn save(&self, into: &mut Bundle) {
        let mut cpu = self.world.cpu.clone();
        cpu.slots = self.regs.0[..SLOTS].to_vec();
        into.put("cpu", &cpu);
        into.put("io", &self.world.io);
    }

    fn pending(&self) -> Vec<Effect> {
        self.world.request().into_iter().collect()
    }

    fn exchange_caches(&mut self, caches: Option<Caches>) -> Option<Caches> {
        // Where a debugger wants it to stop is in the engine.
        if !self.stops.is_empty() {
            return None;
        }
        let ram = &mut self.world.memory.spaces[0];
        let given = self.engine.take().map(|mut engine| {
            self.counted = self.counted + engine.part(ram);
            Caches::new(engine)
        });
        if let Some(engine) = caches.and_then(Caches::into_inner) {
            Engine::meet(ram);
            self.engine = Some(engine);
        }
        given
    }

    fn drop_caches(&mut self, seed: u64) {
        if seed % 8 == 6 {
            drop(self.exchange_caches(None));
        }
        if let Some(engine) = &mut self.engine {
            engine.drop_caches(seed);
        }
    }

    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        Some(self)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let now = self.engine.as_ref().map(|engine| engine.counters()).unwrap_or_default();
        let mut list = (self.counted + now).list();
        list.push(("typed_bytes", self.world.io.typed.len() as u64));
        list.push(("memory_pages", self.world.cpu.pages.len() as u64));
        list
    }
}
