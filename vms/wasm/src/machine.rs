//! The machine: the contract, and what calls of the system do to a program.
#![allow(clippy::wildcard_enum_match_arm, reason = "what a retried call does not give is a fault")]

use crate::link::REFUSED;
use crate::records::{Answer, Core, System, Wait};
use crate::state::Frame;
use crate::store::{HostCall, Ran, Store};
use crate::trap::Trap;
use crate::types::{Value, slots};
use crate::wasi::{self, FOLDERS, Outcome};
use omni_base::Tick;
use omni_machine::{
    Caches, Caps, Control, Effect, Event, Inspect, IoId, IoRequest, Kick, Machine, Outside, PortId,
    Schedule, Spec, Stop,
};
use omni_memory::Memory;
use omni_state::Bundle;

/// The port of the console: standard input and output.
pub(crate) const CONSOLE: PortId = PortId(0);

/// The port of the console of errors.
pub(crate) const ERRORS: PortId = PortId(1);

/// What every machine of the kind can do.
pub(crate) const CAPS: Caps =
    Caps { exact_ticks: true, deterministic: true, self_contained: true, parallel: false };

/// Bytes of input that wait; more are dropped.
pub(crate) const TYPED_MAX: usize = 4 << 20;

/// The exit code of a program that has trapped: that of a process that was aborted.
const TRAPPED: u64 = 134;

/// Calls that the message of a trap shows.
const BACKTRACE_MAX: usize = 32;

/// Where a program is in its life.
pub(crate) const STARTING: u8 = 0;
pub(crate) const RUNNING: u8 = 1;
pub(crate) const ENDED: u8 = 2;

/// A machine. Between two runs `out` is empty, so all state is in the store and the records.
pub(crate) struct Vm {
    pub(crate) spec: Spec,
    pub(crate) store: Store,
    pub(crate) system: System,
    pub(crate) slept: u64,
    pub(crate) phase: u8,
    pub(crate) halted: Option<u64>,
    /// Effects of the present call.
    pub(crate) out: Vec<Effect>,
    // Derived from here on: functions of the spec.
    pub(crate) main: u32,
    pub(crate) main_arguments: Vec<u64>,
    /// Whether the results of the main function are shown.
    pub(crate) show: bool,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<String>,
    /// Names of the folders that were given.
    pub(crate) folders: Vec<String>,
    /// Single files that can be read: the path of each, and its name in its folder.
    pub(crate) files: Vec<String>,
    pub(crate) fuel: Option<u64>,
    /// The console is a terminal in raw mode.
    pub(crate) echo: bool,
    /// The memory that calls of the system reach: the one that the module exports by this name.
    pub(crate) system_memory: Option<u32>,
    /// Answers that the present call has taken.
    pub(crate) answers_used: usize,
}

impl Vm {
    fn now(&self) -> u64 {
        self.store.state.tick
    }

    fn emit(&mut self, outside: &mut dyn Outside) {
        let tick = Tick(self.now());
        self.out.drain(..).for_each(|effect| outside.emit(tick, effect));
    }

    /// Puts bytes out at a port.
    pub(crate) fn put(&mut self, port: PortId, bytes: Vec<u8>) {
        let bytes = if self.echo { raw(&bytes) } else { bytes };
        if !bytes.is_empty() {
            self.out.push(Effect::Output { port, bytes });
        }
    }

    /// Ends the program.
    fn halt(&mut self, code: u64) {
        self.halted = Some(code);
        self.phase = ENDED;
        self.system.wait = Wait::None;
        self.system.asked = None;
        self.system.answers.clear();
    }

    /// Ends the program with a message, as a fault of the guest and not of ours.
    fn trap(&mut self, trap: Trap) {
        let mut text = format!("omni: the program was ended: {trap}\n");
        let at = self.store.state.at;
        let here = Frame { func: at.func, pc: at.pc.saturating_add(1), base: at.base };
        let frames = self.store.state.frames.iter().rev().copied();
        let count = frames.len() + 1;
        let shown: Vec<Frame> = [here].into_iter().chain(frames).take(BACKTRACE_MAX).collect();
        for (nth, frame) in shown.iter().enumerate() {
            text.push_str(&format!("  {nth}: {}\n", self.store.describe(frame)));
        }
        if count > BACKTRACE_MAX {
            text.push_str(&format!("  and {} more\n", count - BACKTRACE_MAX));
        }
        self.put(ERRORS, text.into_bytes());
        self.halt(TRAPPED);
    }

    /// The last tick that the fuel lasts for.
    fn fuel_ends(&self) -> u64 {
        self.fuel.map_or(u64::MAX, |fuel| fuel.saturating_add(self.slept))
    }

    /// The outermost function has returned.
    fn returned(&mut self) {
        if self.phase == STARTING {
            return self.begin_main();
        }
        if self.show {
            let signature = self.store.signature(self.main).clone();
            let mut at = 0;
            for value in &signature.results {
                let text = shown(*value, &self.store.state.stack[at..]);
                at += usize::from(value.slots());
                self.put(CONSOLE, text.into_bytes());
            }
        }
        self.halt(0);
    }

    /// Calls the main function.
    pub(crate) fn begin_main(&mut self) {
        self.phase = RUNNING;
        let arguments = std::mem::take(&mut self.main_arguments);
        let begun = self.store.begin(self.main, &arguments);
        self.main_arguments = arguments;
        if let Err(trap) = begun {
            self.trap(trap);
        }
    }

    /// Tries the call of the system that the program stands at. Its time has passed.
    fn call(&mut self, call: HostCall) {
        let signature = self.store.types.signature(call.ty);
        let count = signature.map_or(0, |signature| slots(&signature.params)) as usize;
        let arguments = self.store.state.stack[call.first..call.first + count].to_vec();
        if let Some(name) = self.refused(call.host) {
            let text = format!("omni: the program called {name}, which nothing here serves\n");
            self.put(ERRORS, text.into_bytes());
            return self.trap(Trap::Host);
        }
        match wasi::call(self, call.host, &arguments) {
            Outcome::Done(result) => {
                self.system.wait = Wait::None;
                self.system.answers.clear();
                if let Some(result) = result {
                    self.store.state.stack[call.first] = result;
                }
                self.store.host_done(call);
            }
            Outcome::Wait(wait) => self.system.wait = wait,
            Outcome::Exit(code) => self.halt(code),
            Outcome::Trap => self.trap(Trap::Host),
        }
    }

    /// The name of a function that nobody has, where it is one.
    fn refused(&self, host: u32) -> Option<&str> {
        let nth = host.checked_sub(REFUSED)? as usize;
        self.store.refused.as_ref()?.get(nth).map(String::as_str)
    }

    /// Whether what the program waits for has come.
    fn is_ready(&self) -> bool {
        let typed = !self.system.typed.is_empty() || self.system.closed;
        match self.system.wait {
            Wait::None => true,
            Wait::Input => typed,
            Wait::Until { tick, input } => self.now() >= tick || input && typed,
            Wait::Answer { .. } => false,
        }
    }

    /// Lets the time pass that a waiting program has; says when it is to stop and why.
    fn wait(&mut self, until: u64, outside: &mut dyn Outside) -> Option<Stop> {
        if self.is_ready() {
            if self.now() >= until {
                return Some(Stop::Reached);
            }
            // The call is run again, for a tick.
            self.store.again();
            match self.store.run(self.now() + 1, None) {
                Ran::Host(call) => {
                    self.store.pass();
                    self.call(call);
                }
                _ => self.trap(Trap::Host),
            }
            self.emit(outside);
            return None;
        }
        let wake = match self.system.wait {
            Wait::Until { tick, .. } => Some(tick),
            Wait::None | Wait::Input | Wait::Answer { .. } => None,
        };
        let to = self.now().max(until.min(wake.unwrap_or(u64::MAX)));
        self.slept += to - self.now();
        self.store.state.tick = to;
        match wake {
            _ if to < until => None,
            Some(wake) if wake <= to => Some(Stop::Reached),
            wake => Some(Stop::Idle { wake: wake.map(Tick) }),
        }
    }

    fn input(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            self.system.closed = true;
            return;
        }
        let room = TYPED_MAX - self.system.typed.len();
        self.system.typed.extend_from_slice(&bytes[..bytes.len().min(room)]);
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
        Tick(self.now())
    }

    fn run(&mut self, until: Tick, kick: &Kick, outside: &mut dyn Outside) -> Stop {
        let mut target = until.0;
        let mut kicked = false;
        self.store.ready();
        loop {
            if let Some(code) = self.halted {
                return Stop::Halted { code };
            }
            if self.system.wait != Wait::None {
                if kicked {
                    return Stop::Kicked;
                }
                match self.wait(until.0, outside) {
                    Some(stop) => return stop,
                    None => continue,
                }
            }
            let fuel = self.fuel_ends();
            if self.now() >= fuel && self.now() < until.0 {
                self.trap(Trap::Fuel);
                self.emit(outside);
                continue;
            }
            let ask = (!kicked).then_some(kick);
            match self.store.run(target.min(fuel), ask) {
                Ran::Reached if self.now() >= target => {
                    return if kicked { Stop::Kicked } else { Stop::Reached };
                }
                Ran::Reached => {}
                Ran::Kicked(at) => {
                    kicked = true;
                    target = at.min(target);
                }
                Ran::Host(call) => {
                    self.store.pass();
                    self.call(call);
                }
                Ran::Trapped(trap) => self.trap(trap),
                Ran::Done => self.returned(),
            }
            self.emit(outside);
        }
    }

    fn apply(&mut self, event: &Event, outside: &mut dyn Outside) {
        match event {
            Event::Input { port, bytes } => {
                if *port == CONSOLE && self.halted.is_none() {
                    self.input(bytes);
                }
            }
            Event::IoDone { id, result } => {
                if self.system.wait == (Wait::Answer { id: id.0 }) {
                    self.system.asked = None;
                    self.system.answers.push(Answer(result.clone()));
                    self.system.wait = Wait::Until { tick: self.now(), input: false };
                }
            }
            Event::Generation { entropy } => {
                for part in entropy.chunks_exact(8) {
                    let part = u64::from_le_bytes(part.try_into().expect("chunks of eight"));
                    self.system.random = self.system.random.rotate_left(13) ^ part;
                }
            }
            Event::Control(Control::PowerButton) => {
                if self.halted.is_none() {
                    self.halt(0);
                }
            }
            // A program cannot be started again: what it wrote is written.
            Event::Control(Control::Reset | Control::Resize { .. } | Control::Balloon { .. }) => {}
        }
        self.emit(outside);
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.store.memory
    }

    fn save(&self, into: &mut Bundle) {
        into.put("core", &self.core());
        into.put("system", &self.system);
    }

    fn pending(&self) -> Vec<Effect> {
        match (self.system.wait, &self.system.asked) {
            (Wait::Answer { id }, Some(op)) => {
                let request = IoRequest { id: IoId(id), port: FOLDERS, op: op.clone() };
                vec![Effect::Io(request)]
            }
            _ => Vec::new(),
        }
    }

    fn drop_caches(&mut self, seed: u64) {
        let mut random = seed | 1;
        for func in 0..self.store.code.len() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
            if random >> 62 == 0 || seed == 0 {
                self.store.unprepare(func);
            }
        }
        self.store.native.change(seed);
    }

    fn exchange_caches(&mut self, _: Option<Caches>) -> Option<Caches> {
        // Code is made again in less time than a program takes to start.
        None
    }

    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        None
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let compiled = self.store.code.iter().flatten().count() as u64;
        let pages: u64 = self.store.state.memories.iter().map(|memory| memory.pages).sum();
        vec![
            ("instructions", self.now() - self.slept),
            ("functions_compiled", compiled),
            ("functions_translated", self.store.native.count()),
            ("memory_bytes", pages << 16),
            ("calls_deep", self.store.state.frames.len() as u64),
        ]
    }
}

impl Vm {
    /// The record of what the program is doing.
    pub(crate) fn core(&self) -> Core {
        let Self { slept, phase, halted, .. } = *self;
        Core { slept, phase, halted, ..self.store.core() }
    }

    /// Takes what a record says, which was found sound.
    pub(crate) fn set_core(&mut self, core: Core) {
        (self.slept, self.phase, self.halted) = (core.slept, core.phase, core.halted);
        self.store.set_core(core);
    }
}

/// A result as people read it.
fn shown(value: Value, slots: &[u64]) -> String {
    match value {
        Value::I32 => format!("{}\n", (slots[0] as u32).cast_signed()),
        Value::I64 => format!("{}\n", slots[0].cast_signed()),
        Value::F32 => format!("{}\n", f32::from_bits(slots[0] as u32)),
        Value::F64 => format!("{}\n", f64::from_bits(slots[0])),
        Value::V128 => format!("{:#034x}\n", u128::from(slots[1]) << 64 | u128::from(slots[0])),
        Value::Ref(_) if slots[0] == 0 => "null\n".to_owned(),
        Value::Ref(_) => "a reference\n".to_owned(),
    }
}

/// What a terminal in raw mode is sent: lines end in CR LF.
fn raw(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if *byte == b'\n' {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}
