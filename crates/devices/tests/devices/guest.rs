//! A guest's side of the bus: RAM, a disk, a clock, and what devices did.

use omni_base::{Gpa, PAGE_SIZE_U64, Tick};
use omni_machine::{Device, DeviceCx, Effect, PortId, Width};
use omni_memory::{Memory, Space};
use omni_state::Bundle;

pub(crate) const RAM_BASE: u64 = 0x8000_0000;
pub(crate) const RAM_SIZE: u64 = 512 * PAGE_SIZE_U64;
pub(crate) const DISK_SIZE: u64 = 64 * PAGE_SIZE_U64;
pub(crate) const PORT: PortId = PortId(7);

/// All that a device may touch.
pub(crate) struct Guest {
    pub(crate) now: Tick,
    pub(crate) memory: Memory,
    pub(crate) lines: u64,
    pub(crate) effects: Vec<Effect>,
    pub(crate) next_io: u64,
}

impl Guest {
    pub(crate) fn new() -> Self {
        let spaces = vec![
            Space::new("ram", RAM_SIZE / PAGE_SIZE_U64),
            Space::new("disk0", DISK_SIZE / PAGE_SIZE_U64),
        ];
        let memory = Memory { spaces };
        Self { now: Tick(0), memory, lines: 0, effects: Vec::new(), next_io: 1 }
    }

    pub(crate) fn cx(&mut self) -> DeviceCx<'_> {
        DeviceCx {
            now: self.now,
            memory: &mut self.memory,
            ram_base: Gpa(RAM_BASE),
            lines: &mut self.lines,
            effects: &mut self.effects,
            slot: 0,
            next_io: &mut self.next_io,
        }
    }

    pub(crate) fn line(&self) -> bool {
        self.lines & 1 != 0
    }

    pub(crate) fn read8(&mut self, device: &mut dyn Device, offset: u64) -> u8 {
        let value = device.read(offset, Width::Byte, &mut self.cx());
        u8::try_from(value).expect("a byte")
    }

    pub(crate) fn write8(&mut self, device: &mut dyn Device, offset: u64, value: u8) {
        device.write(offset, Width::Byte, value.into(), &mut self.cx());
    }

    pub(crate) fn read32(&mut self, device: &mut dyn Device, offset: u64) -> u32 {
        let value = device.read(offset, Width::Word, &mut self.cx());
        u32::try_from(value).expect("a word")
    }

    pub(crate) fn write32(&mut self, device: &mut dyn Device, offset: u64, value: u32) {
        device.write(offset, Width::Word, value.into(), &mut self.cx());
    }

    pub(crate) fn input(&mut self, device: &mut dyn Device, bytes: &[u8]) -> bool {
        device.input(PORT, bytes, &mut self.cx())
    }

    /// Lets time pass to the device's next deadline; says whether there was one.
    pub(crate) fn wait(&mut self, device: &mut dyn Device) -> bool {
        let Some(at) = device.deadline() else { return false };
        self.now = self.now.max(at);
        device.fire(&mut self.cx());
        true
    }

    pub(crate) fn poke(&mut self, at: u64, bytes: &[u8]) {
        assert!(self.cx().dma_write(Gpa(at), bytes));
    }

    pub(crate) fn peek<const N: usize>(&mut self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        assert!(self.cx().dma_read(Gpa(at), &mut bytes));
        bytes
    }

    /// All bytes sent out so far, which are forgotten.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        let sent = |effect: Effect| match effect {
            Effect::Output { port: PORT, bytes } => bytes,
            Effect::Output { .. } | Effect::Io(_) => panic!("not output of the port: {effect:?}"),
        };
        self.effects.drain(..).flat_map(sent).collect()
    }
}

/// The encoded records of a device.
pub(crate) fn saved(device: &dyn Device) -> Vec<u8> {
    let mut bundle = Bundle::default();
    device.save("dev", &mut bundle);
    bundle.to_bytes()
}

/// Saves one device and loads another, fresh one; demands that nothing is lost or left over.
pub(crate) fn carry_over(from: &dyn Device, into: &mut dyn Device) {
    let bytes = saved(from);
    let mut bundle = Bundle::from_bytes(&bytes).expect("canonical");
    into.load("dev", &mut bundle).expect("a state that a device saved");
    assert_eq!(bundle.finish(), Ok(()));
    assert_eq!(saved(into), bytes);
    assert_eq!(into.deadline(), from.deadline());
    assert_eq!(into.pending(), from.pending());
}
