//! A machine that counts: the least that has a space and a record; and it can lie.

use omni_base::{Gpa, Tick};
use omni_machine::{
    Caches, Caps, Confidence, CreateError, Effect, Event, Group, Inspect, Kick, KindInfo, Machine,
    MachineKind, Outside, PortId, PortInfo, Region, Schedule, Spec, Stop,
};
use omni_memory::{Memory, Space};
use omni_state::{Bundle, record};

/// How a machine breaks its contract.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lie {
    None,
    RunsPast,
    StopsShort,
    GoesBack,
    DatesEffectsLate,
    DatesEffectsBack,
    /// From tick 500 on, its record is another.
    DriftsInRecord,
    /// From tick 500 on, a page is another.
    DriftsInPage,
    HaltsAt500,
}

/// Makes counters with this lie.
pub struct Counter {
    pub lie: Lie,
    pub info: &'static KindInfo,
}

pub const DETERMINISTIC: Caps =
    Caps { exact_ticks: true, deterministic: true, self_contained: true, parallel: false };

const fn info(name: &'static str, caps: Caps, semantics: u32) -> KindInfo {
    let (about, extensions, options, files): (_, &[_], &[_], &[_]) = ("counts", &[], &[], &[]);
    let group = Group::Process;
    let (arch, bases): (_, &[_]) = (None, &[]);
    KindInfo { name, group, about, arch, extensions, caps, semantics, options, files, bases }
}

pub static COUNTER: KindInfo = info("counter", DETERMINISTIC, 1);
pub static LATER: KindInfo = info("counter", DETERMINISTIC, 2);
pub static FREE: KindInfo = info("counter", Caps { deterministic: false, ..DETERMINISTIC }, 1);
pub static HELD: KindInfo = info("counter", Caps { self_contained: false, ..DETERMINISTIC }, 1);
pub static OTHER: KindInfo = info("other", DETERMINISTIC, 1);

record! {
    /// All there is.
    pub struct State = "counter" v 1 {
        tick: u64;
        sum: u64;
    }
}

struct Live {
    lie: Lie,
    caps: Caps,
    spec: Spec,
    memory: Memory,
    state: State,
}

impl MachineKind for Counter {
    fn info(&self) -> &'static KindInfo {
        self.info
    }
    fn probe(&self, _image: &[u8]) -> Confidence {
        Confidence::No
    }
    fn ports(&self, _spec: &Spec) -> Result<Vec<PortInfo>, CreateError> {
        Ok(Vec::new())
    }
    fn signature(&self, _spec: &Spec) -> Option<Region> {
        None
    }
    fn create(&self, spec: &Spec) -> Result<Box<dyn Machine>, CreateError> {
        let memory = Memory { spaces: vec![Space::new("ram", 4)] };
        let state = State { tick: 0, sum: 0 };
        let (lie, caps) = (self.lie, self.info.caps);
        Ok(Box::new(Live { lie, caps, spec: spec.clone(), memory, state }))
    }
    fn restore(
        &self,
        spec: &Spec,
        spaces: Vec<Space>,
        mut records: Bundle,
    ) -> Result<Box<dyn Machine>, CreateError> {
        let state = records.take("state")?;
        records.finish()?;
        let (lie, caps, memory) = (self.lie, self.info.caps, Memory { spaces });
        Ok(Box::new(Live { lie, caps, spec: spec.clone(), memory, state }))
    }
}

impl Machine for Live {
    fn spec(&self) -> &Spec {
        &self.spec
    }
    fn caps(&self) -> Caps {
        self.caps
    }
    fn set_schedule(&mut self, schedule: Schedule) -> bool {
        schedule == Schedule::Turns
    }
    fn tick(&self) -> Tick {
        Tick(self.state.tick)
    }
    fn run(&mut self, until: Tick, _kick: &Kick, outside: &mut dyn Outside) -> Stop {
        let start = self.state.tick;
        if self.lie == Lie::HaltsAt500 && until.0 > 500 {
            self.state.tick = 500.max(start);
            return Stop::Halted { code: 3 };
        }
        self.state.tick = match self.lie {
            Lie::RunsPast => until.0 + 1,
            Lie::StopsShort => until.0.max(1) - 1,
            Lie::GoesBack => start - 1,
            _ => until.0,
        };
        let late = if self.lie == Lie::DatesEffectsLate { 1 } else { 0 };
        let emit = |tick: u64, outside: &mut dyn Outside| {
            outside.emit(Tick(tick), Effect::Output { port: PortId(0), bytes: vec![] });
        };
        for tick in (start..until.0).filter(|tick| tick % 100 == 99) {
            self.state.sum += tick;
            emit(until.0 + late, outside);
            if self.lie == Lie::DatesEffectsBack {
                emit(tick, outside);
            }
        }
        if start < 500 && until.0 >= 500 {
            match self.lie {
                Lie::DriftsInRecord => self.state.sum += 1 << 16,
                Lie::DriftsInPage => {
                    self.memory.spaces[0].store(Gpa(2 * 4096 + 5), &[1]).expect("inside");
                }
                _ => {}
            }
        }
        Stop::Reached
    }
    fn apply(&mut self, event: &Event, _outside: &mut dyn Outside) {
        if let Event::Input { bytes, .. } = event {
            self.state.sum += bytes.len() as u64;
            self.memory.spaces[0].store(Gpa(self.state.tick % 4000), bytes).expect("inside");
        }
    }
    fn memory(&mut self) -> &mut Memory {
        &mut self.memory
    }
    fn save(&self, into: &mut Bundle) {
        into.put("state", &self.state);
    }
    fn pending(&self) -> Vec<Effect> {
        Vec::new()
    }
    fn exchange_caches(&mut self, _: Option<Caches>) -> Option<Caches> {
        None
    }

    fn drop_caches(&mut self, _seed: u64) {}
    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        None
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
}
