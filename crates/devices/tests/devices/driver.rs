//! A virtio driver by hand: negotiates, builds rings in RAM, reads them back.

use crate::guest::{Guest, RAM_BASE};
use omni_devices::virtio::{F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1};
use omni_machine::Device;

pub(crate) const SIZE: u16 = 16;
/// The address of free memory for buffers.
pub(crate) const BUFFERS: u64 = RAM_BASE + 0x1_0000;

pub(crate) fn desc_at(queue: u64) -> u64 {
    RAM_BASE + 0x3000 * queue
}

pub(crate) fn avail_at(queue: u64) -> u64 {
    desc_at(queue) + 0x1000
}

pub(crate) fn used_at(queue: u64) -> u64 {
    desc_at(queue) + 0x2000
}

/// What the driver keeps of one queue.
#[derive(Clone, Default)]
pub(crate) struct Driver {
    queue: u64,
    next_desc: u16,
    avail: u16,
    used: u16,
}

/// A buffer: address, size, and whether the device writes it.
pub(crate) type Buffer = (u64, u32, bool);

pub(crate) fn start(device: &mut dyn Device, guest: &mut Guest, features: u64) -> Vec<Driver> {
    guest.write32(device, 0x070, 0);
    guest.write32(device, 0x070, 1);
    guest.write32(device, 0x070, 3);
    let features = features | F_VERSION_1;
    let [low, high] = [features & 0xffff_ffff, features >> 32];
    for (half, word) in [(0, low), (1, high)] {
        guest.write32(device, 0x024, half);
        guest.write32(device, 0x020, u32::try_from(word).expect("a half"));
    }
    guest.write32(device, 0x070, 11);
    assert_eq!(guest.read32(device, 0x070), 11, "features are accepted");
    let mut drivers = Vec::new();
    for queue in 0u32.. {
        guest.write32(device, 0x030, queue);
        if guest.read32(device, 0x034) == 0 {
            break;
        }
        let driver = Driver { queue: queue.into(), ..Driver::default() };
        guest.write32(device, 0x038, SIZE.into());
        let places = [desc_at(driver.queue), avail_at(driver.queue), used_at(driver.queue)];
        for (register, place) in [0x080, 0x090, 0x0a0].into_iter().zip(places) {
            guest.write32(device, register, u32::try_from(place).expect("below 4 GiB"));
        }
        guest.poke(avail_at(driver.queue), &[0; 64]);
        guest.poke(used_at(driver.queue), &[0; 256]);
        guest.write32(device, 0x044, 1);
        drivers.push(driver);
    }
    guest.write32(device, 0x030, 0);
    guest.write32(device, 0x070, 15);
    drivers
}

/// The features of queues, all of them.
pub(crate) const RING_FEATURES: u64 = F_EVENT_IDX | F_INDIRECT_DESC;

pub(crate) fn desc(at: u64, size: u32, flags: u16, next: u16) -> [u8; 16] {
    let word =
        u128::from(at) | u128::from(size) << 64 | u128::from(flags) << 96 | u128::from(next) << 112;
    word.to_le_bytes()
}

impl Driver {
    /// Puts a chain in the table and the ring, and gives its head. Descriptors are used in turn.
    pub(crate) fn add(&mut self, guest: &mut Guest, buffers: &[Buffer]) -> u16 {
        let head = self.next_desc;
        for (index, &(at, size, write)) in buffers.iter().enumerate() {
            let slot = self.next_desc;
            self.next_desc = (self.next_desc + 1) % SIZE;
            let last = index + 1 == buffers.len();
            let flags = u16::from(!last) | u16::from(write) << 1;
            let bytes = desc(at, size, flags, self.next_desc);
            guest.poke(desc_at(self.queue) + 16 * u64::from(slot), &bytes);
        }
        self.offer(guest, head);
        head
    }

    /// Puts a chain that is in memory as one indirect descriptor in the ring.
    pub(crate) fn add_indirect(&mut self, guest: &mut Guest, table: u64, size: u32) -> u16 {
        let head = self.next_desc;
        self.next_desc = (self.next_desc + 1) % SIZE;
        let bytes = desc(table, size, 4, 0);
        guest.poke(desc_at(self.queue) + 16 * u64::from(head), &bytes);
        self.offer(guest, head);
        head
    }

    /// Makes a head available.
    pub(crate) fn offer(&mut self, guest: &mut Guest, head: u16) {
        let slot = u64::from(self.avail % SIZE);
        guest.poke(avail_at(self.queue) + 4 + 2 * slot, &head.to_le_bytes());
        self.avail = self.avail.wrapping_add(1);
        guest.poke(avail_at(self.queue) + 2, &self.avail.to_le_bytes());
    }

    pub(crate) fn kick(&self, device: &mut dyn Device, guest: &mut Guest) {
        guest.write32(device, 0x050, u32::try_from(self.queue).expect("a small number"));
    }

    /// The next chain that the device gave back: head and bytes written.
    pub(crate) fn used(&mut self, guest: &mut Guest) -> Option<(u16, u32)> {
        let used = used_at(self.queue);
        if u16::from_le_bytes(guest.peek(used + 2)) == self.used {
            return None;
        }
        let slot = u64::from(self.used % SIZE);
        self.used = self.used.wrapping_add(1);
        let head = u32::from_le_bytes(guest.peek(used + 4 + 8 * slot));
        let written = u32::from_le_bytes(guest.peek(used + 8 + 8 * slot));
        Some((u16::try_from(head).expect("a head"), written))
    }
}
