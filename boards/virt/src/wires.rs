//! Everything around the harts: memory, bus, devices, interrupt lines.

use crate::boot::Htif;
use crate::kind::Shape;
use crate::layout::{
    ACLINT, CONSOLE, DISK_0, Item, NET_0, PLIC, RAM_BASE, Range, SSWI, SYSCON, VIRTIO_CONSOLE,
    Virtio, What, items,
};
use crate::sbi::{HartStatus, Post};
use crate::watched::Watched;
use omni_base::{Gpa, PageNo, Tick};
use omni_devices::virtio::{
    Balloon, BalloonState, Block, Console, Entropy, Net, Panel, VirtioMmio, mac_from_seed,
};
use omni_devices::{Aclint, GoldfishRtc, Plic, PowerRequest, Sswi, Syscon, TimeBase, Uart16550};
use omni_engine::{Access, Reply, Target};
use omni_guest_riscv::Board;
use omni_guest_riscv::trap::irq;
use omni_ir::Size;
use omni_machine::{
    Bus, CreateError, Device, DeviceCx, Effect, Event, Outside, PortId, Spec, Width,
};
use omni_memory::{Memory, Space};
use omni_state::{Bundle, StateError, record};

record! {
    /// State of the board itself.
    pub(crate) struct BoardState = "riscv-virt" v 1 {
        /// Steps since the machine was made.
        tick: u64;
        /// The hart whose turn it is.
        turn: u8;
        /// Ticks left of its turn.
        turn_left: u64;
        /// Levels of the lines by slot.
        lines: u64;
        /// The number of the next request.
        next_io: u64;
        /// The exit code, once the machine has ended.
        halted: Option<u64>;
        /// A cold start was asked for.
        reset: bool;
        /// What each hart is doing, as the built-in firmware sees it.
        status: Vec<HartStatus>;
    }
}

/// Harts have at most eight.
const LEVELS: usize = 8;

/// The board without its harts.
pub(crate) struct Wires {
    pub(crate) state: BoardState,
    pub(crate) memory: Memory,
    bus: Bus,
    aclint: Aclint,
    sswi: Sswi,
    plic: Plic,
    syscon: Syscon,
    // Wiring from here on: made from the spec, not saved.
    pub(crate) items: Vec<Item>,
    pub(crate) mmu: &'static str,
    htif: Option<Htif>,
    supervisor: bool,
    harts: usize,
    // Derived from here on.
    /// The interrupt lines of each hart, as bits of `mip`, from devices outside the hart.
    pub(crate) levels: [u64; LEVELS],
    /// What waits for each hart; nothing, but while harts run.
    pub(crate) posts: Vec<Post>,
    /// Effects caused and not yet told to the outside.
    pub(crate) outbox: Vec<(Tick, Effect)>,
    /// What a debugger watches of RAM.
    pub(crate) watched: Watched,
}

fn attach(bus: &mut Bus, item: &Item, device: Box<dyn Device>) {
    bus.attach(Gpa(item.range.base), item.range.size, device);
}

/// The address of a network interface.
pub(crate) fn mac(spec: &Spec, index: usize) -> [u8; 6] {
    mac_from_seed(spec.seed, u16::try_from(index).expect("few interfaces"))
}

impl Wires {
    pub(crate) fn new(
        spec: &Spec,
        shape: &Shape,
        memory: Memory,
        htif: Option<Htif>,
        supervisor: bool,
    ) -> Self {
        let time = TimeBase::new(spec.ns_per_tick);
        let items = items(spec.disks.len(), shape.nets, shape.button, shape.balloon);
        let mut bus = Bus::default();
        for item in items.iter() {
            let name = &item.name;
            let device: Box<dyn Device> = match item.what {
                What::Uart => Box::new(Uart16550::new(name, CONSOLE, time)),
                What::Rtc => Box::new(GoldfishRtc::new(name, spec.epoch_s, time)),
                What::Syscon => continue,
                What::Virtio(Virtio::Entropy) => {
                    Box::new(VirtioMmio::new(name, Entropy::new(spec.seed)))
                }
                What::Virtio(Virtio::Console) => {
                    Box::new(VirtioMmio::new(name, Console::new(VIRTIO_CONSOLE)))
                }
                What::Virtio(Virtio::Net(at)) => {
                    let port = PortId(NET_0 + u16::try_from(at).expect("few interfaces"));
                    Box::new(VirtioMmio::new(name, Net::new(port, mac(spec, at))))
                }
                What::Virtio(Virtio::Panel) => Box::new(VirtioMmio::new(name, Panel::default())),
                What::Virtio(Virtio::Balloon) => {
                    Box::new(VirtioMmio::new(name, Balloon::new(shape.ram_bytes)))
                }
                What::Virtio(Virtio::Block(at)) => {
                    let disk = &spec.disks[at];
                    let port = PortId(DISK_0 + u16::try_from(at).expect("few disks"));
                    let block = Block::new(port, 1 + at, disk.bytes, disk.read_only, name);
                    Box::new(VirtioMmio::new(name, block))
                }
            };
            attach(&mut bus, item, device);
        }
        let harts = usize::try_from(shape.harts).expect("few harts");
        let state = BoardState {
            tick: 0,
            turn: 0,
            turn_left: 0,
            lines: 0,
            next_io: 0,
            halted: None,
            reset: false,
            status: vec![HartStatus::Started; harts],
        };
        Self {
            state,
            memory,
            bus,
            aclint: Aclint::new("aclint", harts, time),
            sswi: Sswi::new("sswi", harts),
            plic: Plic::new("plic", 2 * harts),
            syscon: Syscon::new("syscon"),
            items: items.clone(),
            mmu: shape.mmu,
            htif,
            supervisor,
            harts,
            levels: [0; LEVELS],
            posts: vec![Post::default(); harts],
            outbox: Vec::new(),
            watched: Watched::default(),
        }
    }

    /// Devices and board as at a cold start; time goes on.
    pub(crate) fn reset(&mut self) {
        self.bus.devices_mut().iter_mut().for_each(|device| device.reset());
        self.aclint.reset();
        self.sswi.reset();
        self.plic.reset();
        self.syscon.reset();
        self.state.lines = 0;
        (self.state.turn, self.state.turn_left) = (0, 0);
        self.state.status = vec![HartStatus::Started; self.harts];
        self.look();
    }

    pub(crate) fn mtime_now(&self) -> u64 {
        self.mtime_at(self.state.tick)
    }

    /// What `mtime` is at a tick.
    pub(crate) fn mtime_at(&self, tick: u64) -> u64 {
        self.aclint.mtime(Tick(tick))
    }

    /// The tick at which `mtime` reaches a value.
    pub(crate) fn tick_at(&self, mtime: u64) -> Option<u64> {
        self.aclint.tick_at(mtime, Tick(self.state.tick)).map(|tick| tick.0)
    }

    /// The earliest tick at which a device wants to be called.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let bus = self.bus.deadline().map(|(tick, _)| tick);
        bus.into_iter().chain(self.aclint.deadline()).min().map(|tick| tick.0)
    }

    /// Calls every device that is due, and looks at all lines.
    pub(crate) fn settle(&mut self) {
        let now = Tick(self.state.tick);
        // A device that is due again at once has its next turn at the next tick.
        for slot in 0..self.bus.devices().len() {
            if self.bus.devices()[slot].deadline().is_some_and(|due| due <= now) {
                self.with_slot(slot, now, |device, cx| device.fire(cx));
            }
        }
        if self.aclint.deadline().is_some_and(|due| due <= now) {
            self.with_aclint(now, |aclint, cx| aclint.fire(cx));
        }
        self.look();
    }

    /// Lets the lines of devices reach the interrupt controller, and its output the harts.
    fn look(&mut self) {
        let mut ids = 0_u128;
        let wired = self.items.iter().filter(|item| item.what != What::Syscon);
        for (slot, item) in wired.enumerate() {
            if let Some(irq) = item.irq
                && self.state.lines >> slot & 1 == 1
            {
                ids |= 1 << irq;
            }
        }
        self.plic.update(ids);
        let now = Tick(self.state.tick);
        for hart in 0..self.harts {
            self.levels[hart] = self.level(hart, now);
        }
    }

    fn level(&self, hart: usize, now: Tick) -> u64 {
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        bit(self.aclint.msip(hart), irq::MSI)
            | bit(self.aclint.mtip(hart, now), irq::MTI)
            | bit(self.plic.asserted(2 * hart), irq::MEI)
            | bit(self.plic.asserted(2 * hart + 1), irq::SEI)
    }

    /// Posts the software interrupts that harts have caused by the device for them.
    pub(crate) fn post_software_interrupts(&mut self) {
        let edges = self.sswi.take_edges();
        for (at, post) in self.posts.iter_mut().enumerate() {
            if edges >> at & 1 == 1 {
                post.interrupt();
            }
        }
    }

    /// Tells the outside what was caused.
    pub(crate) fn emit(&mut self, outside: &mut dyn Outside) {
        for (tick, effect) in self.outbox.drain(..) {
            outside.emit(tick, effect);
        }
    }

    fn with_slot<T>(
        &mut self,
        slot: usize,
        now: Tick,
        call: impl FnOnce(&mut dyn Device, &mut DeviceCx<'_>) -> T,
    ) -> T {
        let watched = self.watched.is_on();
        if watched {
            self.watched.before(&self.memory.spaces[0]);
        }
        let mut effects = Vec::new();
        let mut cx = DeviceCx {
            now,
            memory: &mut self.memory,
            ram_base: RAM_BASE,
            lines: &mut self.state.lines,
            effects: &mut effects,
            slot,
            next_io: &mut self.state.next_io,
        };
        let answer = call(&mut *self.bus.devices_mut()[slot], &mut cx);
        if watched {
            self.watched.after(&self.memory.spaces[0]);
        }
        self.outbox.extend(effects.into_iter().map(|effect| (now, effect)));
        answer
    }

    /// Calls a device that has no line and causes no effects.
    fn with_aclint<T>(
        &mut self,
        now: Tick,
        call: impl FnOnce(&mut Aclint, &mut DeviceCx<'_>) -> T,
    ) -> T {
        let mut parts = Parts::default();
        call(&mut self.aclint, &mut parts.cx(now, &mut self.memory))
    }

    /// What is at a device address: its range, which gives the offset.
    fn fixed(&self, at: Gpa) -> Option<(Fixed, u64)> {
        let hit = |range: Range| at.0.checked_sub(range.base).filter(|off| *off < range.size);
        let all = [
            (Fixed::Aclint, ACLINT),
            (Fixed::Sswi, SSWI),
            (Fixed::Plic, PLIC),
            (Fixed::Syscon, SYSCON),
        ];
        all.into_iter().find_map(|(fixed, range)| Some((fixed, hit(range)?)))
    }

    fn fixed_device(&mut self, fixed: Fixed) -> (&mut dyn Device, &mut Memory) {
        let device: &mut dyn Device = match fixed {
            Fixed::Aclint => &mut self.aclint,
            Fixed::Sswi => &mut self.sswi,
            Fixed::Plic => &mut self.plic,
            Fixed::Syscon => &mut self.syscon,
        };
        (device, &mut self.memory)
    }

    /// One access; `None` where nothing answers.
    fn access(&mut self, at: Gpa, width: Width, write: Option<u64>, now: Tick) -> Option<u64> {
        let go = |device: &mut dyn Device, offset: u64, cx: &mut DeviceCx<'_>| match write {
            Some(value) => {
                device.write(offset, width, value, cx);
                0
            }
            None => device.read(offset, width, cx),
        };
        if let Some((fixed, offset)) = self.fixed(at) {
            let mut parts = Parts::default();
            let (device, memory) = self.fixed_device(fixed);
            let value = go(device, offset, &mut parts.cx(now, memory));
            match self.syscon.take_request() {
                Some(PowerRequest::Off { code }) => self.state.halted = Some(u64::from(code)),
                Some(PowerRequest::Reset) => self.state.reset = true,
                None => {}
            }
            return Some(value);
        }
        let (slot, offset) = self.bus.route(at)?;
        Some(self.with_slot(slot, now, |device, cx| go(device, offset, cx)))
    }

    /// An access with all that follows from it. Stops the hart where something moved.
    fn bus_access(&mut self, at: Gpa, size: Size, write: Option<u64>, now: Tick) -> Option<Reply> {
        let width = match size {
            Size::B1 => Width::Byte,
            Size::B2 => Width::Half,
            Size::B4 => Width::Word,
            Size::B8 => Width::Double,
            Size::B16 => return None,
        };
        let before = (self.levels, self.state.lines, self.deadline());
        let fixed = self.fixed(at).map(|(fixed, _)| fixed);
        let value = self.access(at, width, write, now)?;
        if self.state.lines != before.1 || fixed.is_some() {
            self.look();
            for hart in 0..self.harts {
                self.levels[hart] = self.level(hart, now);
            }
        }
        let moved = (self.levels, self.state.lines, self.deadline()) != before;
        // A clock that is set moves what is due for every hart, also by timers of their own.
        let timed = write.is_some() && matches!(fixed, Some(Fixed::Aclint));
        let sswi = matches!(fixed, Some(Fixed::Sswi));
        let ended = self.state.halted.is_some() || self.state.reset;
        let touched = self.watched.has_touched();
        Some(Reply { value, stop: moved || timed || sswi || ended || touched })
    }

    fn htif_page(&self) -> Option<PageNo> {
        self.htif.map(|htif| htif.tohost.page())
    }

    /// An access to the page of the host-target interface: RAM that is looked at.
    fn htif_access(&mut self, at: Gpa, size: Size, write: Option<u64>, now: Tick) -> Option<Reply> {
        let offset = Gpa(at.0.checked_sub(RAM_BASE.0)?);
        let count = usize::try_from(size.bytes()).expect("few bytes");
        let ram = &mut self.memory.spaces[0];
        let mut bytes = [0; 16];
        let Some(value) = write else {
            ram.read(offset, &mut bytes[..count]).ok()?;
            let value = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
            return Some(Reply { value, stop: false });
        };
        ram.store(offset, &value.to_le_bytes()[..count.min(8)]).ok()?;
        let tohost = self.htif.expect("asked only where there is one").tohost;
        let touched = at.0 < tohost.0 + 8 && tohost.0 < at.0 + size.bytes();
        if touched {
            self.htif_command(now);
        }
        Some(Reply { value: 0, stop: touched })
    }

    fn ram_word(&self, at: u64) -> Option<u64> {
        let offset = Gpa(at.checked_sub(RAM_BASE.0)?);
        self.memory.spaces[0].load(offset).ok().map(u64::from_le_bytes)
    }

    fn set_ram_word(&mut self, at: u64, value: u64) -> Option<()> {
        let offset = Gpa(at.checked_sub(RAM_BASE.0)?);
        self.memory.spaces[0].store(offset, &value.to_le_bytes()).ok()
    }

    /// Does what `tohost` asks for: the end, a character, or a system call as spike has them.
    fn htif_command(&mut self, now: Tick) -> Option<()> {
        let htif = self.htif?;
        let command = self.ram_word(htif.tohost.0)?;
        let (device, function, payload) =
            (command >> 56, command >> 48 & 0xff, command & 0xffff_ffff_ffff);
        match (device, function) {
            _ if command == 0 => return None,
            (0, 0) if payload & 1 == 1 => {
                self.state.halted = Some(payload >> 1);
                return None;
            }
            (0, 0) => self.htif_call(payload, now)?,
            (1, 1) => {
                let bytes = vec![(payload & 0xff) as u8];
                self.outbox.push((now, Effect::Output { port: CONSOLE, bytes }));
            }
            // Whatever else is asked is not there, and says so by no answer.
            _ => {}
        }
        self.set_ram_word(htif.tohost.0, 0)?;
        match htif.fromhost {
            Some(fromhost) => self.set_ram_word(fromhost.0, 1),
            None => Some(()),
        }
    }

    fn htif_call(&mut self, at: u64, now: Tick) -> Option<()> {
        let word = |wires: &Self, number: u64| wires.ram_word(at.checked_add(8 * number)?);
        let (call, file) = (word(self, 0)?, word(self, 1)?);
        let (from, count) = (word(self, 2)?, word(self, 3)?);
        let no_such_call = (-38_i64).cast_unsigned();
        let result = match call {
            64 if file == 1 || file == 2 => {
                let count = count.min(64 << 10);
                let mut bytes = vec![0; usize::try_from(count).expect("bounded")];
                let offset = Gpa(from.checked_sub(RAM_BASE.0)?);
                self.memory.spaces[0].read(offset, &mut bytes).ok()?;
                self.outbox.push((now, Effect::Output { port: CONSOLE, bytes }));
                count
            }
            93 => {
                self.state.halted = Some(file);
                0
            }
            _ => no_such_call,
        };
        self.set_ram_word(at, result)
    }

    /// Lets an event in that concerns devices.
    pub(crate) fn apply(&mut self, event: &Event) {
        let now = Tick(self.state.tick);
        for slot in 0..self.bus.devices().len() {
            let taken = self.with_slot(slot, now, |device, cx| match event {
                Event::Input { port, bytes } => device.input(*port, bytes, cx),
                Event::IoDone { id, result } => device.io_done(*id, result, cx),
                Event::Generation { entropy } => {
                    device.generation(entropy, cx);
                    false
                }
                Event::Control(control) => {
                    device.control(*control, cx);
                    false
                }
            });
            if taken {
                break;
            }
        }
        self.look();
    }

    /// The state of the balloon, where there is one.
    pub(crate) fn balloon(&self) -> Option<BalloonState> {
        let at = self.items.iter().find(|item| item.what == What::Virtio(Virtio::Balloon))?;
        let device = self.bus.devices().iter().find(|device| device.name() == at.name)?;
        let mut records = Bundle::default();
        device.save("balloon", &mut records);
        Some(records.take("balloon/model").expect("what a balloon saves"))
    }

    pub(crate) fn pending(&self) -> Vec<Effect> {
        let mut all: Vec<_> = self.bus.devices().iter().flat_map(|d| d.pending()).collect();
        all.sort_by_key(|request| request.id);
        all.into_iter().map(Effect::Io).collect()
    }

    pub(crate) fn save(&self, into: &mut Bundle) {
        into.put("board", &self.state);
        self.aclint.save("dev/aclint", into);
        self.sswi.save("dev/sswi", into);
        self.plic.save("dev/plic", into);
        self.syscon.save("dev/syscon", into);
        for device in self.bus.devices() {
            device.save(&format!("dev/{}", device.name()), into);
        }
    }

    pub(crate) fn load(&mut self, from: &mut Bundle) -> Result<(), CreateError> {
        let state: BoardState = from.take("board")?;
        let slots = self.bus.devices().len();
        let sound = usize::from(state.turn) < self.harts
            && state.status.len() == self.harts
            && (slots >= 64 || state.lines >> slots == 0);
        if !sound {
            return Err(StateError::Invalid("board").into());
        }
        self.state = state;
        self.aclint.load("dev/aclint", from)?;
        self.sswi.load("dev/sswi", from)?;
        self.plic.load("dev/plic", from)?;
        self.syscon.load("dev/syscon", from)?;
        for device in self.bus.devices_mut() {
            let path = format!("dev/{}", device.name());
            device.load(&path, from)?;
        }
        self.look();
        Ok(())
    }
}

/// A device that the board knows by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fixed {
    Aclint,
    Sswi,
    Plic,
    Syscon,
}

/// What a device without line, effects and requests is given instead.
#[derive(Default)]
struct Parts {
    lines: u64,
    effects: Vec<Effect>,
    next_io: u64,
}

impl Parts {
    fn cx<'a>(&'a mut self, now: Tick, memory: &'a mut Memory) -> DeviceCx<'a> {
        DeviceCx {
            now,
            memory,
            ram_base: RAM_BASE,
            lines: &mut self.lines,
            effects: &mut self.effects,
            slot: 0,
            next_io: &mut self.next_io,
        }
    }
}

impl Board for Wires {
    // Harts in turns have the board to themselves.
    fn hold(&mut self) {}
    fn release(&mut self) {}

    fn ram(&mut self) -> &mut Space {
        &mut self.memory.spaces[0]
    }

    fn target(&self, at: Gpa, access: Access) -> Option<Target> {
        if let Some(offset) = at.0.checked_sub(RAM_BASE.0)
            && offset < self.memory.spaces[0].size()
        {
            let watched = access != Access::Fetch && self.htif_page() == Some(at.page());
            return Some(if watched {
                Target::Device(at)
            } else {
                Target::Ram(Gpa(offset).page())
            });
        }
        let device = self.fixed(at).is_some() || self.bus.route(at).is_some();
        (device && access != Access::Fetch).then_some(Target::Device(at))
    }

    fn device_load(&mut self, at: Gpa, size: Size, ticks: u64) -> Option<Reply> {
        let now = Tick(self.tick(ticks));
        if at.0 >= RAM_BASE.0 {
            return self.htif_access(at, size, None, now);
        }
        self.bus_access(at, size, None, now)
    }

    fn device_store(&mut self, at: Gpa, size: Size, value: u64, ticks: u64) -> Option<Reply> {
        let now = Tick(self.tick(ticks));
        if at.0 >= RAM_BASE.0 {
            return self.htif_access(at, size, Some(value), now);
        }
        self.bus_access(at, size, Some(value), now)
    }

    fn tick(&self, ticks: u64) -> u64 {
        self.state.tick + ticks
    }

    fn mtime(&self, ticks: u64) -> u64 {
        self.aclint.mtime(Tick(self.tick(ticks)))
    }

    fn lines(&self, hart: u64) -> u64 {
        usize::try_from(hart).ok().and_then(|hart| self.levels.get(hart)).copied().unwrap_or(0)
    }

    fn answers_supervisor(&self) -> bool {
        self.supervisor
    }
}
