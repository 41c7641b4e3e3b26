//! The machine: harts in turns, devices at their deadlines, all on one timeline.

use crate::boot::{self, BoardTree, Boot, Start};
use crate::layout::{ISA, RAM_BASE};
use crate::sbi::{Caller, HartStatus};
use crate::wires::Wires;
use omni_base::{PAGE_SIZE_U64, Tick};
use omni_devices::virtio::BalloonState;
use omni_engine::{Counters, Crew, Engine};
use omni_guest_riscv::{Hart, Turn, Why};
use omni_machine::{
    Caches, Caps, Control, CreateError, Effect, Event, Hit, Inspect, Kick, Machine, Outside,
    Schedule, Spec, Stop, StopPoint,
};
use omni_memory::{Memory, Space};
use omni_state::{Bundle, StateError};

/// Ticks of one hart's turn, where there are several.
const TURN_TICKS: u64 = 20_000;

/// Ticks between looks at the kick: well under a millisecond, one or two where all is interpreted.
const KICK_TICKS: u64 = 100_000;

/// What machines of this kind can do, where harts take turns.
pub(crate) const CAPS: Caps =
    Caps { exact_ticks: true, deterministic: true, self_contained: true, parallel: true };

/// What translates for the harts.
pub(crate) enum Engines {
    /// In turns. Another machine may have it at rest; one that is needed is made.
    Turns(Option<Box<Engine>>),
    /// Side by side, with one for each.
    Apart(Crew, Vec<Engine>),
}

impl Engines {
    fn of(schedule: Schedule, harts: usize) -> Self {
        match schedule {
            Schedule::Turns => Self::Turns(Some(Box::new(Engine::new(harts)))),
            Schedule::Parallel => {
                let (crew, engines) = Engine::side_by_side(harts);
                Self::Apart(crew, engines)
            }
        }
    }

    pub(crate) fn schedule(&self) -> Schedule {
        match self {
            Self::Turns(_) => Schedule::Turns,
            Self::Apart(..) => Schedule::Parallel,
        }
    }

    /// The one that runs a hart, of so many.
    pub(crate) fn for_hart(&mut self, at: usize, harts: usize) -> &mut Engine {
        match self {
            Self::Turns(engine) => engine.get_or_insert_with(|| Box::new(Engine::new(harts))),
            Self::Apart(_, engines) => &mut engines[at],
        }
    }

    fn all(&self) -> &[Engine] {
        match self {
            Self::Turns(engine) => engine.as_deref().map_or(&[], std::slice::from_ref),
            Self::Apart(_, engines) => engines,
        }
    }

    pub(crate) fn all_mut(&mut self) -> &mut [Engine] {
        match self {
            Self::Turns(engine) => engine.as_deref_mut().map_or(&mut [], std::slice::from_mut),
            Self::Apart(_, engines) => engines,
        }
    }
}

/// An engine that a machine of so many harts has let go of.
struct Lent {
    engine: Box<Engine>,
    harts: usize,
}

/// A RISC-V `virt` machine.
pub(crate) struct Virt {
    spec: Spec,
    boot: Boot,
    pub(crate) harts: Vec<Hart>,
    pub(crate) wires: Wires,
    // Derived from here on.
    pub(crate) engines: Engines,
    /// What engines counted for this machine that it has no longer.
    counted: Counters,
    /// What a debugger has it stop at.
    pub(crate) stops: Vec<StopPoint>,
}

impl Virt {
    /// A machine at its first tick.
    pub(crate) fn create(spec: &Spec) -> Result<Self, CreateError> {
        let shape = crate::kind::Shape::of(spec)?;
        let mut spaces = vec![Space::new("ram", shape.ram_bytes / PAGE_SIZE_U64)];
        for (at, disk) in spec.disks.iter().enumerate() {
            let pages = disk.bytes.div_ceil(PAGE_SIZE_U64);
            spaces.push(Space::from_image(format!("disk{at}"), pages, disk.image.clone()));
        }
        let mut machine = Self::with(spec, spaces)?;
        machine.power_on(true)?;
        Ok(machine)
    }

    /// A machine as a snapshot holds it.
    pub(crate) fn restore(
        spec: &Spec,
        spaces: Vec<Space>,
        mut records: Bundle,
    ) -> Result<Self, CreateError> {
        let mut machine = Self::with(spec, spaces)?;
        // A cold start must not fail later, inside a run.
        machine.boot.tree(spec, &machine.tree())?;
        machine.wires.load(&mut records)?;
        for at in 0..machine.harts.len() {
            machine.harts[at] = Hart::load(&format!("hart/{at}"), &mut records)?;
            if machine.harts[at].control.mhartid != at as u64 {
                return Err(StateError::Invalid("hart id").into());
            }
        }
        records.finish()?;
        Ok(machine)
    }

    fn with(spec: &Spec, spaces: Vec<Space>) -> Result<Self, CreateError> {
        let shape = crate::kind::Shape::of(spec)?;
        let boot = boot::plan(spec, shape.ram_bytes)?;
        let names = std::iter::once("ram".to_owned())
            .chain((0..spec.disks.len()).map(|at| format!("disk{at}")));
        let bytes =
            std::iter::once(shape.ram_bytes).chain(spec.disks.iter().map(|disk| disk.bytes));
        let pages = bytes.map(|bytes| bytes.div_ceil(PAGE_SIZE_U64));
        let expected: Vec<(String, u64)> = names.zip(pages).collect();
        let given = spaces.iter().map(|space| (space.name().to_owned(), space.page_count()));
        if expected != given.collect::<Vec<_>>() {
            return Err(CreateError::Shape("RAM and disks as in its spec"));
        }
        let supervisor = boot.start == Start::Supervisor;
        let wires = Wires::new(spec, &shape, Memory { spaces }, boot.htif, supervisor);
        let harts = (0..shape.harts).map(|id| Hart::new(id, RAM_BASE.0)).collect();
        let count = usize::try_from(shape.harts).expect("few harts");
        let engines = Engines::of(Schedule::Turns, count);
        Ok(Self {
            spec: spec.clone(),
            boot,
            harts,
            wires,
            engines,
            counted: Counters::default(),
            stops: Vec::new(),
        })
    }

    /// What the device tree says of this machine.
    fn tree(&self) -> BoardTree<'_> {
        BoardTree {
            harts: u32::try_from(self.harts.len()).expect("few harts"),
            items: &self.wires.items,
            mmu: self.wires.mmu,
            isa: ISA,
        }
    }

    /// Loads RAM and puts harts and devices into the state of a cold start.
    fn power_on(&mut self, fresh: bool) -> Result<(), CreateError> {
        let tree = self.boot.tree(&self.spec, &self.tree())?;
        self.boot.load(&mut self.wires.memory.spaces[0], &tree, fresh)?;
        self.wires.reset();
        let (entry, tree_at) = (self.boot.entry, self.boot.tree_at());
        for (at, hart) in (0..).zip(&mut self.harts) {
            *hart = Hart::new(at, entry);
            hart.set_x(10, at);
            hart.set_x(11, tree_at);
            match self.boot.start {
                Start::Supervisor => {
                    hart.enter_supervisor(entry, at, tree_at);
                    let status = if at == 0 { HartStatus::Started } else { HartStatus::Stopped };
                    self.wires.state.status[usize::try_from(at).expect("few harts")] = status;
                }
                Start::Firmware => hart.set_x(12, self.boot.next_stage_at()),
                Start::Bare => {}
            }
        }
        Ok(())
    }

    /// Brings everything up to the present tick: due devices, lines, software interrupts.
    fn settle(&mut self) {
        self.wires.settle();
        self.wires.post_software_interrupts();
        self.deliver();
        if std::mem::take(&mut self.wires.state.reset) {
            // What was loaded once fits again, but may not be readable any more.
            if let Err(error) = self.power_on(false) {
                self.wires.memory.spaces[0].set_damage(error.to_string());
            }
        }
    }

    /// Gives each hart what others have for it.
    pub(crate) fn deliver(&mut self) {
        for (hart, post) in self.harts.iter_mut().zip(&mut self.wires.posts) {
            std::mem::take(post).deliver(hart);
        }
    }

    pub(crate) fn runnable(&self, at: usize) -> bool {
        let hart = &self.harts[at];
        let started = self.wires.state.status[at] == HartStatus::Started;
        let (lines, mtime) = (self.wires.levels[at], self.wires.mtime_now());
        started && (!hart.control.waiting || hart.wakes(lines, mtime))
    }

    /// The hart whose turn it is, or `None` where all wait. A turn that is over goes to the next.
    fn turn(&mut self) -> Option<usize> {
        let now = usize::from(self.wires.state.turn);
        let next = self.next_turn()?;
        if next == now && self.wires.state.turn_left > 0 {
            return Some(now);
        }
        if next != now {
            // Another hart may have stored there meanwhile.
            self.harts[now].clear_reservation();
        }
        self.wires.state.turn = u8::try_from(next).expect("few harts");
        self.wires.state.turn_left = TURN_TICKS;
        Some(next)
    }

    /// Whose turn it is, or whose is next where that is over.
    pub(crate) fn next_turn(&self) -> Option<usize> {
        let now = usize::from(self.wires.state.turn);
        if self.wires.state.turn_left > 0 && self.runnable(now) {
            return Some(now);
        }
        let count = self.harts.len();
        (1..=count).map(|by| (now + by) % count).find(|at| self.runnable(*at))
    }

    /// When something happens by itself: a device, or the timer of a hart.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let now = self.wires.mtime_now();
        let timers = self.harts.iter().filter_map(Hart::next_deadline);
        let timers = timers.filter(|due| *due > now).filter_map(|due| self.wires.tick_at(due));
        timers.chain(self.wires.deadline()).min()
    }

    /// Runs a hart until its turn, its budget or the time to the next deadline is over, or a stop
    /// point is there.
    fn run_turn(&mut self, at: usize, until: u64) -> Option<Hit> {
        let tick = self.wires.state.tick;
        let deadline = self.next_deadline().unwrap_or(u64::MAX);
        let left = until.min(deadline.max(tick + 1)) - tick;
        // With nobody to give the turn to, the next one is this hart's as well.
        let turn = if self.is_alone(at) { u64::MAX } else { self.wires.state.turn_left };
        let budget = left.min(turn).min(KICK_TICKS);
        let count = self.harts.len();
        let (hart, engine) = (&mut self.harts[at], self.engines.for_hart(at, count));
        let end = hart.run(engine, &mut self.wires, Turn { vcpu: at, budget });
        self.pass(end.ticks);
        if end.why == Why::Sbi {
            Caller { hart: &mut self.harts[at], at, wires: &mut self.wires }.answer();
            self.deliver();
        }
        if let Why::Caught(caught) = end.why { Some(self.hit(at, caught)) } else { None }
    }

    /// Whether no other hart can run before something happens that ends a run.
    fn is_alone(&self, hart: usize) -> bool {
        (0..self.harts.len()).all(|at| at == hart || !self.runnable(at))
    }

    /// Ticks passed, by one turn or by several of the same hart.
    fn pass(&mut self, ticks: u64) {
        let state = &mut self.wires.state;
        state.tick += ticks;
        state.turn_left = match ticks.checked_sub(state.turn_left) {
            None => state.turn_left - ticks,
            Some(more) => (TURN_TICKS - more % TURN_TICKS) % TURN_TICKS,
        };
    }

    /// What the balloon says of the guest's memory, and, by the guest's last statistics, the guest.
    fn memory_figures(&self, balloon: &BalloonState) -> Vec<(&'static str, u64)> {
        let all = self.wires.memory.spaces[0].size();
        let kept = |pages: u32| all.saturating_sub(u64::from(pages) * PAGE_SIZE_U64);
        let given = balloon.inflated.wrapping_add(balloon.reported);
        let mut list = vec![
            ("balloon_target_bytes", kept(balloon.num_pages)),
            ("balloon_actual_bytes", kept(balloon.actual)),
            ("balloon_given_back_bytes", given.wrapping_mul(PAGE_SIZE_U64)),
        ];
        // Virtio 1.2, section 5.5.6.4.
        let tags = [
            (4, "guest_free_bytes"),
            (5, "guest_total_bytes"),
            (6, "guest_available_bytes"),
            (7, "guest_cached_bytes"),
        ];
        let figure = |(tag, name)| balloon.statistics.get(&tag).map(|value| (name, *value));
        list.extend(tags.into_iter().filter_map(figure));
        list
    }

    fn idle(&self) -> Option<Stop> {
        let none = (0..self.harts.len()).all(|at| !self.runnable(at));
        none.then(|| Stop::Idle { wake: self.next_deadline().map(Tick) })
    }
}

impl Machine for Virt {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn caps(&self) -> Caps {
        let turns = self.engines.schedule() == Schedule::Turns;
        Caps { exact_ticks: turns, deterministic: turns, ..CAPS }
    }

    fn set_schedule(&mut self, schedule: Schedule) -> bool {
        // One hart is exact by any schedule.
        let schedule = if self.harts.len() == 1 { Schedule::Turns } else { schedule };
        if self.engines.schedule() != schedule {
            self.engines = Engines::of(schedule, self.harts.len());
            self.set_stops(&[]);
        }
        true
    }

    fn tick(&self) -> Tick {
        Tick(self.wires.state.tick)
    }

    fn run(&mut self, until: Tick, kick: &Kick, outside: &mut dyn Outside) -> Stop {
        loop {
            self.settle();
            self.wires.emit(outside);
            if let Some(code) = self.wires.state.halted {
                return Stop::Halted { code };
            }
            if let Some(hit) = self.device_hit() {
                return Stop::Hit(hit);
            }
            if self.wires.state.tick >= until.0 {
                return self.idle().unwrap_or(Stop::Reached);
            }
            if kick.taken() {
                return Stop::Kicked;
            }
            if self.run_side_by_side(until.0, kick, outside) {
                continue;
            }
            match self.turn() {
                Some(hart) => {
                    if let Some(hit) = self.run_turn(hart, until.0) {
                        self.settle();
                        self.wires.emit(outside);
                        return Stop::Hit(hit);
                    }
                }
                None => {
                    let wake = self.next_deadline().unwrap_or(u64::MAX);
                    self.wires.state.tick = wake.min(until.0).max(self.wires.state.tick + 1);
                }
            }
        }
    }

    fn apply(&mut self, event: &Event, outside: &mut dyn Outside) {
        match event {
            Event::Control(Control::Reset) => self.wires.state.reset = true,
            Event::Input { .. }
            | Event::IoDone { .. }
            | Event::Generation { .. }
            | Event::Control(
                Control::PowerButton | Control::Resize { .. } | Control::Balloon { .. },
            ) => {
                self.wires.apply(event);
            }
        }
        self.wires.emit(outside);
    }

    fn memory(&mut self) -> &mut Memory {
        &mut self.wires.memory
    }

    fn save(&self, into: &mut Bundle) {
        self.wires.save(into);
        for (at, hart) in self.harts.iter().enumerate() {
            hart.save(&format!("hart/{at}"), into);
        }
    }

    fn pending(&self) -> Vec<Effect> {
        self.wires.pending()
    }

    fn exchange_caches(&mut self, caches: Option<Caches>) -> Option<Caches> {
        // Where a debugger wants it to stop is in the engine.
        if !self.stops.is_empty() {
            return None;
        }
        let harts = self.harts.len();
        let Engines::Turns(engine) = &mut self.engines else { return None };
        let ram = &mut self.wires.memory.spaces[0];
        let given = engine.take().map(|mut engine| {
            self.counted = self.counted + engine.part(ram);
            Caches::new(Lent { engine, harts })
        });
        let fits = |lent: &Lent| lent.harts == harts;
        if let Some(lent) = caches.and_then(Caches::into_inner).filter(fits) {
            Engine::meet(ram);
            *engine = Some(lent.engine);
        }
        given
    }

    fn drop_caches(&mut self, seed: u64) {
        if seed % 8 == 6 {
            drop(self.exchange_caches(None));
        }
        self.engines.all_mut().iter_mut().for_each(|engine| engine.drop_caches(seed));
    }

    fn inspect(&mut self) -> Option<&mut dyn Inspect> {
        (self.engines.schedule() == Schedule::Turns).then_some(self)
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let all = self.engines.all().iter().map(Engine::counters);
        let mut list = all.fold(self.counted, |sum, more| sum + more).list();
        if let Some(balloon) = self.wires.balloon() {
            list.extend(self.memory_figures(&balloon));
        }
        list
    }
}
