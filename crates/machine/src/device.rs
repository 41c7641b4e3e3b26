//! The contracts of devices and of the bus that routes to them.

use crate::{Control, Effect, IoId, IoOp, IoRequest, IoResult, PortId};
use omni_base::{Gpa, Tick};
use omni_memory::{Memory, Space};
use omni_state::{Bundle, StateError};

/// The width of an access.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Half,
    /// Four bytes.
    Word,
    /// Eight bytes.
    Double,
}

impl Width {
    /// The width in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Byte => 1,
            Self::Half => 2,
            Self::Word => 4,
            Self::Double => 8,
        }
    }
}

/// What a device may touch during a call: nothing else, so no thread, file or host clock.
pub struct DeviceCx<'a> {
    /// The present tick.
    pub now: Tick,
    /// The machine's spaces; the first is guest RAM.
    pub memory: &'a mut Memory,
    /// The guest-physical address of the first byte of RAM.
    pub ram_base: Gpa,
    /// Interrupt lines, level-triggered, one bit per device slot.
    pub lines: &'a mut u64,
    /// Effects caused, in order.
    pub effects: &'a mut Vec<Effect>,
    /// The slot of this device on its bus, which is also its interrupt line.
    pub slot: usize,
    /// The next request id of the machine.
    pub next_io: &'a mut u64,
}

impl DeviceCx<'_> {
    /// Sets the level of the device's interrupt line.
    pub fn set_line(&mut self, high: bool) {
        let bit = 1 << self.slot;
        *self.lines = if high { *self.lines | bit } else { *self.lines & !bit };
    }

    /// Sends bytes out.
    pub fn output(&mut self, port: PortId, bytes: Vec<u8>) {
        self.effects.push(Effect::Output { port, bytes });
    }

    /// Asks the outside for something.
    pub fn request(&mut self, port: PortId, op: IoOp) -> IoId {
        let id = IoId(*self.next_io);
        *self.next_io += 1;
        self.effects.push(Effect::Io(IoRequest { id, port, op }));
        id
    }

    /// Guest RAM, whose first byte is at offset zero of the space.
    pub fn ram(&mut self) -> &mut Space {
        &mut self.memory.spaces[0]
    }

    /// Reads guest-physical memory. Says whether all of it is RAM.
    #[must_use]
    pub fn dma_read(&mut self, at: Gpa, into: &mut [u8]) -> bool {
        let Some(offset) = at.0.checked_sub(self.ram_base.0) else { return false };
        self.ram().read(Gpa(offset), into).is_ok()
    }

    /// Writes guest-physical memory. Says whether all of it is RAM; if not, nothing is written.
    #[must_use]
    pub fn dma_write(&mut self, at: Gpa, bytes: &[u8]) -> bool {
        let Some(offset) = at.0.checked_sub(self.ram_base.0) else { return false };
        self.ram().store(Gpa(offset), bytes).is_ok()
    }
}

/// An emulated device: a pure state machine between the bus, the clock and its ports.
///
/// No method has a default: a device that forgets to save does not compile.
pub trait Device: Send {
    /// The name in paths of records, unique on the bus, such as `uart0`.
    fn name(&self) -> &str;

    /// A guest read of `width`, naturally aligned. Reads may have side effects, as on hardware.
    fn read(&mut self, offset: u64, width: Width, cx: &mut DeviceCx<'_>) -> u64;

    /// A guest write of `width`, naturally aligned.
    fn write(&mut self, offset: u64, width: Width, value: u64, cx: &mut DeviceCx<'_>);

    /// Bytes from the outside, for `port`. Says whether the port is this device's.
    fn input(&mut self, port: PortId, bytes: &[u8], cx: &mut DeviceCx<'_>) -> bool;

    /// A request of this device ended. Says whether the request was this device's.
    fn io_done(&mut self, id: IoId, result: &IoResult, cx: &mut DeviceCx<'_>) -> bool;

    /// The machine has a new identity.
    fn generation(&mut self, entropy: &[u8; 32], cx: &mut DeviceCx<'_>);

    /// A hand on a switch; a device takes what concerns it.
    fn control(&mut self, control: Control, cx: &mut DeviceCx<'_>);

    /// The tick at which the device wants `fire`, a function of its state alone.
    fn deadline(&self) -> Option<Tick>;

    /// The deadline is reached.
    fn fire(&mut self, cx: &mut DeviceCx<'_>);

    /// Requests in flight, to be issued again after a restore.
    fn pending(&self) -> Vec<IoRequest>;

    /// Writes the device's records under `path`.
    fn save(&self, path: &str, into: &mut Bundle);

    /// Replaces the state of a device fresh from its constructor.
    ///
    /// # Errors
    /// Where the records are missing or cannot be this device's.
    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError>;

    /// The state of a cold start.
    fn reset(&mut self);
}

/// Routes accesses to devices by address. The map is wiring: made from the spec, not saved.
#[derive(Default)]
pub struct Bus {
    ranges: Vec<(Gpa, u64)>,
    devices: Vec<Box<dyn Device>>,
}

impl Bus {
    /// Puts a device at `base` and gives its slot; the order of calls gives the slots.
    ///
    /// # Panics
    /// Where ranges overlap or there are more than 64 devices: wiring is ours, not the guest's.
    pub fn attach(&mut self, base: Gpa, size: u64, device: Box<dyn Device>) -> usize {
        let clash = |&(at, len): &(Gpa, u64)| base.0 < at.0 + len && at.0 < base.0 + size;
        assert!(!self.ranges.iter().any(clash));
        assert!(self.devices.len() < 64);
        self.ranges.push((base, size));
        self.devices.push(device);
        self.devices.len() - 1
    }

    /// The slot and offset of an access, if a device is there.
    #[must_use]
    pub fn route(&self, at: Gpa) -> Option<(usize, u64)> {
        let hit = |&(base, len): &(Gpa, u64)| at.0.checked_sub(base.0).filter(|&off| off < len);
        self.ranges.iter().enumerate().find_map(|(slot, range)| Some((slot, hit(range)?)))
    }

    /// The address and size of each device, in slot order.
    #[must_use]
    pub fn ranges(&self) -> &[(Gpa, u64)] {
        &self.ranges
    }

    /// The devices in slot order.
    #[must_use]
    pub fn devices(&self) -> &[Box<dyn Device>] {
        &self.devices
    }

    /// The devices in slot order, for calls.
    pub fn devices_mut(&mut self) -> &mut [Box<dyn Device>] {
        &mut self.devices
    }

    /// The earliest deadline and its slot; the lower slot wins a tie.
    #[must_use]
    pub fn deadline(&self) -> Option<(Tick, usize)> {
        let all = self.devices.iter().enumerate();
        all.filter_map(|(slot, device)| Some((device.deadline()?, slot))).min()
    }
}
