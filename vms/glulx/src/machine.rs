//! The machine: the contract, and runs of the engine between waits.

use crate::code::Blocks;
use crate::fault::Fault;
use crate::lower::Front;
use crate::state::Wait;
use crate::world::{MEMORY, RETURNED, World};
use omni_base::Tick;
use omni_engine::{Caught, Counters, Engine, Entry, Regs};
use omni_ir::Trap;
use omni_machine::{
    Caches, Caps, Control, Effect, Event, Hit, Inspect, Kick, Machine, Outside, PortId, Schedule,
    Spec, Stop, StopPoint,
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
pub(crate) const TYPED_MAX: usize = 1 << 20;

/// Ticks between two looks at the kick.
const KICK_TICKS: u64 = 20_000;

/// One machine. Between two runs `world.effects` is empty, so all state is in the spaces, the
/// records and the registers.
pub(crate) struct Vm {
    pub(crate) spec: Spec,
    pub(crate) world: World,
    pub(crate) regs: Regs,
    // Derived from here on.
    pub(crate) blocks: Option<Blocks>,
    /// What engines counted for this machine that it has no longer.
    counted: Counters,
    /// What a debugger has it stop at.
    pub(crate) stops: Vec<StopPoint>,
}

impl Vm {
    pub(crate) fn new(spec: Spec, world: World, regs: Regs) -> Self {
        let counted = Counters::default();
        Self { spec, world, regs, blocks: None, counted, stops: Vec::new() }
    }

    /// The engine, which is made where there is none.
    pub(crate) fn engine(&mut self) -> &mut Engine {
        &mut self.blocks.get_or_insert_with(Blocks::new).engine
    }

    fn emit(&mut self, outside: &mut dyn Outside) {
        for (tick, effect) in self.world.effects.drain(..) {
            outside.emit(Tick(tick), effect);
        }
    }

    /// Ends the story with a message, as a fault of the guest and not of ours.
    fn halt_with(&mut self, fault: Fault) {
        let front = &self.world.front;
        let at = front.shown(self.world.cpu.pc) as u32;
        let message = format!("\n[The story did what it may not, at {at:#x}: {fault}.]\n");
        for char in message.chars() {
            self.world.print(char.into());
        }
        self.world.cpu.halted = Some(1);
        self.world.glk.wait = Wait::None;
        self.world.end();
    }

    /// Runs code for so many ticks at most.
    pub(crate) fn run_code(&mut self, budget: u64) -> Option<Hit> {
        let world = &mut self.world;
        let blocks = self.blocks.get_or_insert_with(Blocks::new);
        let front: Arc<Front> = world.front.clone();
        let context = world.context();
        let entry = Entry {
            pc: world.cpu.pc,
            mode: blocks.mode(&front.accelerated, world.cpu.iosys.0 == 1),
            fetch: context,
            data: context,
            budget,
        };
        world.began = world.cpu.tick;
        world.work.set(0);
        let exit = blocks.engine.run(&*front, 0, world, &mut self.regs, entry);
        world.cpu.tick += exit.ticks;
        world.cpu.pc = exit.pc;
        world.now = world.cpu.tick;
        if let Some(caught) = blocks.engine.take_caught() {
            return Some(self.hit(caught));
        }
        if let Some(trap) = exit.trap {
            self.trap(trap);
            self.world.cpu.tick += 1;
        }
        if self.world.cpu.halted.is_some() {
            self.world.end();
        }
        None
    }

    fn trap(&mut self, trap: Trap) {
        let fault = Fault::of(trap);
        // The first function has no stub below it: to return from it is to end.
        if fault == Fault::Read && trap.value == RETURNED {
            self.world.quit();
            self.world.stop = false;
        } else {
            self.halt_with(fault);
        }
    }

    fn hit(&self, caught: Caught) -> Hit {
        let (point, at) = match caught {
            Caught::Break(at) => {
                let at = self.world.front.shown(at);
                (StopPoint::Break(at), at)
            }
            Caught::Watch(nth, at) => {
                let watches = |stop: &&StopPoint| matches!(stop, StopPoint::Watch { .. });
                let mut watches = self.stops.iter().filter(watches);
                let point = *watches.nth(nth).expect("the engine has what it was given");
                (point, self.world.front.shown_data(at))
            }
        };
        Hit { thread: crate::inspect::STORY, point, at, after: false }
    }

    /// Lets the time pass that a waiting machine has; says when it is to stop and why.
    fn wait(&mut self, until: Tick) -> Option<Stop> {
        let tick = self.world.cpu.tick;
        if self.world.is_ready(tick) {
            if tick >= until.0 {
                return Some(Stop::Reached);
            }
            self.world.now = tick;
            if let Err(fault) = self.world.feed(&mut self.regs) {
                self.halt_with(fault);
            }
            self.world.cpu.tick += 1;
            return None;
        }
        let wake = self.world.wake();
        self.world.cpu.tick = tick.max(until.0.min(wake.unwrap_or(u64::MAX)));
        if self.world.cpu.tick < until.0 {
            return None;
        }
        if wake.is_some_and(|wake| wake <= self.world.cpu.tick) {
            return Some(Stop::Reached);
        }
        Some(Stop::Idle { wake: wake.map(Tick) })
    }

    fn take(&mut self, event: &Event) -> Result<(), Fault> {
        let world = &mut self.world;
        match event {
            Event::Input { port, bytes } => {
                if *port == CONSOLE {
                    let room = TYPED_MAX - world.glk.typed.len();
                    world.glk.typed.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                Ok(())
            }
            Event::IoDone { id, result } => world.io_done(&mut self.regs, *id, result),
            Event::Generation { entropy } => {
                for part in entropy.chunks_exact(8) {
                    let part = u64::from_le_bytes(part.try_into().expect("chunks of eight"));
                    world.cpu.entropy = world.cpu.entropy.rotate_left(13) ^ part;
                }
                // A generator that the story has seeded itself goes on as it wants.
                if world.cpu.native {
                    world.reseed();
                }
                Ok(())
            }
            Event::Control(Control::Reset) => {
                world.cpu.halted = None;
                world.forget_glk();
                world.cpu.pc = world.restart(&mut self.regs)?;
                Ok(())
            }
            Event::Control(Control::PowerButton) => {
                if world.cpu.halted.is_none() {
                    world.quit();
                    world.glk.wait = Wait::None;
                }
                Ok(())
            }
            Event::Control(Control::Resize { .. } | Control::Balloon { .. }) => Ok(()),
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
            self.world.flush_late();
            self.emit(outside);
            if let Some(code) = self.world.cpu.halted {
                return Stop::Halted { code };
            }
            if self.world.glk.wait != Wait::None {
                match self.wait(until) {
                    Some(stop) => return stop,
                    None => continue,
                }
            }
            if self.world.cpu.tick >= until.0 {
                return Stop::Reached;
            }
            if kick.taken() {
                return Stop::Kicked;
            }
            let budget =
                (until.0 - self.world.cpu.tick).min(KICK_TICKS).min(self.world.held_ticks());
            if let Some(hit) = self.run_code(budget) {
                self.emit(outside);
                return Stop::Hit(hit);
            }
        }
    }

    fn apply(&mut self, event: &Event, outside: &mut dyn Outside) {
        self.world.now = self.world.cpu.tick;
        if let Err(fault) = self.take(event) {
            self.halt_with(fault);
        }
        // What an event changes, the next run begins with.
        self.world.stop = false;
        if self.world.cpu.halted.is_some() {
            self.world.end();
        }
        self.emit(outside);
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.world.memory
    }

    fn save(&self, into: &mut Bundle) {
        let mut cpu = self.world.cpu.clone();
        let count = cpu.slots.len();
        cpu.slots.copy_from_slice(&self.regs.0[..count]);
        into.put("cpu", &cpu);
        into.put("glk", &self.world.glk);
    }

    fn pending(&self) -> Vec<Effect> {
        if self.world.glk.wait.for_file() {
            vec![Effect::Io(self.world.request_in_flight())]
        } else {
            Vec::new()
        }
    }

    fn exchange_caches(&mut self, caches: Option<Caches>) -> Option<Caches> {
        // Where a debugger wants it to stop is in the engine.
        if !self.stops.is_empty() {
            return None;
        }
        let ram = &mut self.world.memory.spaces[MEMORY];
        let given = self.blocks.take().map(|mut blocks| {
            self.counted = self.counted + blocks.engine.part(ram);
            Caches::new(blocks)
        });
        if let Some(blocks) = caches.and_then(Caches::into_inner) {
            Engine::meet(ram);
            self.blocks = Some(blocks);
        }
        given
    }

    fn drop_caches(&mut self, seed: u64) {
        if seed.is_multiple_of(2) {
            self.world.tree = None;
        }
        if seed % 8 == 6 {
            drop(self.exchange_caches(None));
        }
        if let Some(blocks) = &mut self.blocks {
            blocks.engine.drop_caches(seed);
        }
    }

    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        Some(self)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let now = self.blocks.as_ref().map(Blocks::counters).unwrap_or_default();
        let mut list = (self.counted + now).list();
        list.push(("typed_bytes", self.world.glk.typed.len() as u64));
        list
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::machine::Vm;
    use omni_machine::Spec;

    /// A machine at tick zero with the story of this crate.
    pub(crate) fn story_machine() -> Vm {
        let mut spec = Spec::new("glulx");
        spec.files.insert("image".into(), crate::sample_story().into());
        crate::kind::build(&spec).expect("the story is sound")
    }
}
