//! A toy kind, which no one ships: small, with one of everything that the battery looks at, and
//! with faults that can be planted in it, so that the battery itself is tested.

use omni_base::{Gpa, PageNo, Tick};
use omni_machine::{
    Caches, Caps, Confidence, Control, CreateError, Effect, Event, Group, Inspect, IoId, IoOp,
    IoRequest, Kick, KindInfo, Machine, MachineKind, Outside, PortId, PortInfo, PortKind, Region,
    Schedule, Spec, Stop,
};
use omni_memory::{Memory, Space};
use omni_state::{Bundle, record};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is wrong with a machine of this kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    IdlesPastItsMark,
    StopsShort,
    EachRunCostsATick,
    SavingDisturbs,
    RestoreForgetsRandom,
    RestoreForgetsRequest,
    RestoreRoundsTimer,
    RestoreLosesQueue,
    RestoreWritesPages,
    StaleCode,
    ForeignCode,
    DroppedCacheShows,
    HostState,
    GenerationIgnored,
    GenerationWritesMemory,
    KickIgnored,
    EffectsDatedLate,
    IndexesByRecord,
    AnswerOfAnyRequest,
    PanicsOnStrangePort,
    LongQueuePanics,
    SaveForgetsRecord,
    RestoreBelievesSpaces,
    CreateAsksTheHost,
}

pub const FAULTS: &[Fault] = &[
    Fault::IdlesPastItsMark,
    Fault::StopsShort,
    Fault::EachRunCostsATick,
    Fault::SavingDisturbs,
    Fault::RestoreForgetsRandom,
    Fault::RestoreForgetsRequest,
    Fault::RestoreRoundsTimer,
    Fault::RestoreLosesQueue,
    Fault::RestoreWritesPages,
    Fault::StaleCode,
    Fault::ForeignCode,
    Fault::DroppedCacheShows,
    Fault::HostState,
    Fault::GenerationIgnored,
    Fault::GenerationWritesMemory,
    Fault::KickIgnored,
    Fault::EffectsDatedLate,
    Fault::IndexesByRecord,
    Fault::AnswerOfAnyRequest,
    Fault::PanicsOnStrangePort,
    Fault::LongQueuePanics,
    Fault::SaveForgetsRecord,
    Fault::RestoreBelievesSpaces,
    Fault::CreateAsksTheHost,
];

/// The toy kind, sound or with a fault.
pub struct Toy(pub Fault);

const PAGES: u64 = 8;
const BYTES: u64 = PAGES * 4096;
/// Input bytes that wait; what comes beyond is dropped.
const QUEUE_MAX: usize = 64;
const CONSOLE: PortId = PortId(0);
const DISK: PortId = PortId(1);

record! {
    /// The registers.
    pub struct Cpu = "toy-cpu" v 1 {
        tick: u64;
        pc: u16;
        acc: u8;
        x: u64;
        /// No instruction before this tick.
        sleep_until: u64;
        halted: Option<u64>;
    }
}

record! {
    /// All but the registers.
    pub struct Rest = "toy-rest" v 1 {
        random: u64;
        queue: VecDeque<u8>;
        next_io: u64;
        busy: Option<u64>;
        flushes: u32;
    }
}

/// The instructions, two bytes each: an opcode and an argument.
mod op {
    pub const LDI: u8 = 1;
    pub const ADD: u8 = 2;
    pub const STORE: u8 = 3;
    pub const LOAD: u8 = 4;
    pub const STRIDE: u8 = 5;
    pub const OUT: u8 = 6;
    pub const IN: u8 = 7;
    pub const RND: u8 = 8;
    pub const JMP: u8 = 9;
    pub const FLUSH: u8 = 10;
    pub const SLEEP: u8 = 11;
    pub const POKE: u8 = 12;
    pub const JZ: u8 = 13;
}

/// Echoes, counts, sleeps, asks, writes memory and itself.
#[rustfmt::skip] // an instruction after the other
const PROGRAM: &[u8] = &[
    op::RND, 0,     op::STORE, 0,  op::STRIDE, 73,  op::ADD, 3,
    op::POKE, 0,    op::ADD, 0,    op::STORE, 0,    op::STRIDE, 7,
    op::FLUSH, 0,   op::JZ, 22,    op::SLEEP, 3,    op::IN, 0,
    op::OUT, 0,     op::LOAD, 0,   op::ADD, 1,      op::OUT, 0,
    op::JMP, 0,
];

pub fn spec() -> Spec {
    Spec::new("toy")
}

struct Live {
    fault: Fault,
    spec: Spec,
    memory: Memory,
    cpu: Cpu,
    rest: Rest,
    /// Effects of the call at hand.
    effects: Vec<Effect>,
    // Derived from here on.
    decoded: Vec<Option<(u8, u8)>>,
    drops: u64,
}

static RUNS_OF_THE_PROCESS: AtomicU64 = AtomicU64::new(0);

impl MachineKind for Toy {
    fn info(&self) -> &'static KindInfo {
        static INFO: KindInfo = KindInfo {
            name: "toy",
            group: Group::Process,
            about: "a toy",
            arch: None,
            extensions: &[],
            caps: CAPS,
            semantics: 3,
            options: &[],
            files: &[],
            bases: &[],
        };
        &INFO
    }
    fn probe(&self, _image: &[u8]) -> Confidence {
        Confidence::No
    }
    fn ports(&self, _spec: &Spec) -> Result<Vec<PortInfo>, CreateError> {
        let disk = PortKind::Disk { space: "ram".into() };
        Ok(vec![
            PortInfo { id: CONSOLE, name: "console".into(), kind: PortKind::Console },
            PortInfo { id: DISK, name: "disk".into(), kind: disk },
        ])
    }
    fn signature(&self, _spec: &Spec) -> Option<Region> {
        None
    }
    fn create(&self, spec: &Spec) -> Result<Box<dyn Machine>, CreateError> {
        let mut ram = Space::new("ram", PAGES);
        ram.store(Gpa(0), PROGRAM).expect("a program fits");
        let x = 4096;
        let cpu = Cpu { tick: 0, pc: 0, acc: 0, x, sleep_until: 0, halted: None };
        let mut random = spec.seed | 1;
        if self.0 == Fault::CreateAsksTheHost {
            random += RUNS_OF_THE_PROCESS.fetch_add(2, Ordering::Relaxed) * 2;
        }
        let queue = VecDeque::new();
        let rest = Rest { random, queue, next_io: 1, busy: None, flushes: 0 };
        Ok(Box::new(Live::new(self.0, spec, ram, cpu, rest)))
    }
    fn restore(
        &self,
        spec: &Spec,
        mut spaces: Vec<Space>,
        mut records: Bundle,
    ) -> Result<Box<dyn Machine>, CreateError> {
        let mut cpu: Cpu = records.take("cpu")?;
        let mut rest: Rest = match self.0 {
            Fault::SaveForgetsRecord => records.take("rest").unwrap_or(Rest {
                random: 1,
                queue: VecDeque::new(),
                next_io: 1,
                busy: None,
                flushes: 0,
            }),
            _ => records.take("rest")?,
        };
        records.finish()?;
        let shaped =
            spaces.len() == 1 && spaces[0].name() == "ram" && spaces[0].page_count() == PAGES;
        if !shaped && (self.0 != Fault::RestoreBelievesSpaces || spaces.is_empty()) {
            return Err(CreateError::Shape("not the spaces of a toy"));
        }
        if cpu.x >= BYTES && self.0 != Fault::IndexesByRecord {
            return Err(CreateError::Shape("x is outside memory"));
        }
        if rest.queue.len() > QUEUE_MAX || rest.random == 0 {
            return Err(CreateError::Shape("not a state that a toy can be in"));
        }
        match self.0 {
            Fault::RestoreForgetsRandom => rest.random = 1,
            Fault::RestoreForgetsRequest => rest.busy = None,
            Fault::RestoreRoundsTimer => cpu.sleep_until = cpu.sleep_until / 8 * 8,
            Fault::RestoreLosesQueue => rest.queue.clear(),
            Fault::RestoreWritesPages => {
                let byte: [u8; 1] = spaces[0].load(Gpa(0)).expect("inside");
                spaces[0].store(Gpa(0), &byte).expect("inside");
            }
            _ => {}
        }
        Ok(Box::new(Live::new(self.0, spec, spaces.remove(0), cpu, rest)))
    }
}

const CAPS: Caps =
    Caps { exact_ticks: true, deterministic: true, self_contained: true, parallel: false };

impl Live {
    fn new(fault: Fault, spec: &Spec, ram: Space, cpu: Cpu, rest: Rest) -> Self {
        let memory = Memory { spaces: vec![ram] };
        let decoded = vec![None; 128];
        let spec = spec.clone();
        Self { fault, spec, memory, cpu, rest, effects: Vec::new(), decoded, drops: 0 }
    }

    fn ram(&mut self) -> &mut Space {
        &mut self.memory.spaces[0]
    }

    fn fetch(&mut self) -> (u8, u8) {
        let at = self.cpu.pc % 256;
        let slot = usize::from(at / 2);
        if let Some(decoded) = self.decoded[slot] {
            return decoded;
        }
        let [op, arg] = self.ram().load(Gpa(u64::from(at / 2 * 2))).expect("inside");
        self.ram().watch(PageNo(0));
        self.decoded[slot] = Some((op, arg));
        (op, arg)
    }

    fn store(&mut self, at: u64, byte: u8) {
        self.ram().store(Gpa(at), &[byte]).expect("x is inside");
        if !self.ram().take_changes().written.is_empty() && self.fault != Fault::StaleCode {
            self.decoded.fill(None);
        }
    }

    fn random(&mut self) -> u8 {
        let mut random = self.rest.random;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.rest.random = random;
        random.to_le_bytes()[3]
    }

    /// One instruction; `false` where it has to wait for input.
    fn step(&mut self) -> bool {
        let (op, arg) = self.fetch();
        let mut next = self.cpu.pc % 256 / 2 * 2 + 2;
        match op {
            op::LDI => self.cpu.acc = arg,
            op::ADD => self.cpu.acc = self.cpu.acc.wrapping_add(arg),
            op::STORE => self.store(self.cpu.x, self.cpu.acc),
            op::LOAD => {
                let at = Gpa(self.cpu.x);
                let [byte] = self.ram().load(at).expect("x is inside");
                self.cpu.acc ^= byte;
            }
            op::STRIDE => {
                let ahead = (self.cpu.x + u64::from(arg) * 97 + 1) % BYTES;
                // Never over the program.
                self.cpu.x = ahead.max(256);
            }
            op::OUT => {
                let bytes = vec![self.cpu.acc];
                self.effects.push(Effect::Output { port: CONSOLE, bytes });
            }
            op::IN => match self.rest.queue.pop_front() {
                Some(byte) => self.cpu.acc = byte,
                // Waits after every other flush, and looks again after the rest.
                None if self.rest.flushes.is_multiple_of(2) => return false,
                None => {}
            },
            op::RND => self.cpu.acc = self.random(),
            op::JMP => next = u16::from(arg),
            op::JZ if self.cpu.acc == 0 => next = u16::from(arg),
            op::FLUSH if self.rest.busy.is_none() => {
                let id = self.rest.next_io;
                self.rest.next_io = id.wrapping_add(1);
                self.rest.busy = Some(id);
                self.effects.push(flush(id));
            }
            op::SLEEP => self.cpu.sleep_until = self.cpu.tick.saturating_add(u64::from(arg) * 11),
            op::POKE => {
                // The argument of the instruction after the next: code that changes itself.
                let acc = self.cpu.acc;
                self.store(u64::from(self.cpu.pc % 256 / 2 * 2 + 3), acc);
            }
            _ => {}
        }
        self.cpu.pc = next;
        true
    }

    fn let_out(&mut self, outside: &mut dyn Outside) {
        let late = if self.fault == Fault::EffectsDatedLate { 40 } else { 0 };
        for effect in std::mem::take(&mut self.effects) {
            outside.emit(Tick(self.cpu.tick + late), effect);
        }
    }
}

fn flush(id: u64) -> Effect {
    Effect::Io(IoRequest { id: IoId(id), port: DISK, op: IoOp::Flush })
}

impl Machine for Live {
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
        Tick(self.cpu.tick)
    }
    fn run(&mut self, until: Tick, kick: &Kick, outside: &mut dyn Outside) -> Stop {
        match self.fault {
            Fault::EachRunCostsATick if self.cpu.tick < until.0 => self.cpu.tick += 1,
            Fault::StopsShort if self.cpu.tick + 1000 < until.0 => return Stop::Reached,
            Fault::HostState => {
                self.cpu.acc ^= (RUNS_OF_THE_PROCESS.fetch_add(1, Ordering::Relaxed) % 251) as u8;
            }
            _ => {}
        }
        loop {
            if let Some(code) = self.cpu.halted {
                return Stop::Halted { code };
            }
            if self.cpu.tick >= until.0 {
                return Stop::Reached;
            }
            if kick.taken() && self.fault != Fault::KickIgnored {
                return Stop::Kicked;
            }
            if self.cpu.tick < self.cpu.sleep_until {
                let wake = Tick(self.cpu.sleep_until);
                if self.fault == Fault::IdlesPastItsMark {
                    self.cpu.tick = wake.0;
                    continue;
                }
                self.cpu.tick = wake.0.min(until.0);
                if wake >= until {
                    return Stop::Idle { wake: Some(wake) };
                }
            }
            if !self.step() {
                self.cpu.tick = until.0;
                return Stop::Idle { wake: None };
            }
            self.cpu.tick += 1;
            self.let_out(outside);
        }
    }
    fn apply(&mut self, event: &Event, _outside: &mut dyn Outside) {
        match event {
            Event::Input { port: CONSOLE, bytes } => {
                let room = QUEUE_MAX - self.rest.queue.len();
                if self.fault == Fault::LongQueuePanics {
                    assert!(bytes.len() < 1000);
                }
                self.rest.queue.extend(bytes.iter().take(room));
            }
            Event::Input { port, .. } => {
                assert!(self.fault != Fault::PanicsOnStrangePort, "no port {port:?}");
            }
            Event::IoDone { id, result } => {
                if self.rest.busy == Some(id.0) || self.fault == Fault::AnswerOfAnyRequest {
                    self.rest.busy = None;
                    self.rest.flushes = self.rest.flushes.wrapping_add(u32::from(result.is_ok()));
                }
            }
            Event::Generation { entropy } => {
                if self.fault == Fault::GenerationWritesMemory {
                    self.ram().store(Gpa(8000), entropy).expect("inside");
                } else if self.fault != Fault::GenerationIgnored {
                    let fresh = entropy.first_chunk().expect("32 bytes");
                    self.rest.random = (self.rest.random ^ u64::from_le_bytes(*fresh)).max(1);
                }
            }
            Event::Control(Control::Reset) => self.cpu.pc = 0,
            Event::Control(
                Control::PowerButton | Control::Resize { .. } | Control::Balloon { .. },
            ) => {}
        }
    }
    fn memory(&mut self) -> &mut Memory {
        if self.fault == Fault::SavingDisturbs {
            self.rest.random += 2;
        }
        &mut self.memory
    }
    fn save(&self, into: &mut Bundle) {
        into.put("cpu", &self.cpu);
        if self.fault != Fault::SaveForgetsRecord {
            into.put("rest", &self.rest);
        }
    }
    fn pending(&self) -> Vec<Effect> {
        self.rest.busy.into_iter().map(flush).collect()
    }
    fn exchange_caches(&mut self, caches: Option<Caches>) -> Option<Caches> {
        let mut code = [0; 256];
        self.ram().read(Gpa(0), &mut code).expect("inside");
        let fits = |(of, _): &(Vec<u8>, _)| of[..] == code || self.fault == Fault::ForeignCode;
        let taken = caches.and_then(Caches::into_inner).filter(fits);
        let decoded = taken.map_or_else(|| vec![None; 128], |(_, decoded)| decoded);
        Some(Caches::new((code.to_vec(), std::mem::replace(&mut self.decoded, decoded))))
    }
    fn drop_caches(&mut self, seed: u64) {
        self.drops += seed;
        self.decoded.iter_mut().skip((seed % 3) as usize).step_by(2).for_each(|slot| *slot = None);
        if self.fault == Fault::DroppedCacheShows {
            self.cpu.sleep_until = 0;
        }
    }
    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        None
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
