//! Split virtqueues (virtio 1.2, section 2.7), read as hostile input.

use omni_base::Gpa;
use omni_machine::{DeviceCx, IoId, IoOp, PortId};
use omni_state::record;

/// The largest queue; a power of two.
pub const QUEUE_SIZE_MAX: u16 = 256;

/// Descriptors of one chain at most, those of an indirect table among them.
pub const CHAIN_DESCRIPTORS_MAX: usize = 1024;

/// Bytes' worth of work of one call; the rest is done at the next tick.
const WORK_PER_CALL: u64 = 1 << 20;

/// What a chain costs besides its bytes, and each of its segments.
const WORK_PER_CHAIN: u64 = 1 << 9;
const WORK_PER_SEGMENT: u64 = 1 << 6;

/// Feature bit: a descriptor may name a table of descriptors.
pub const F_INDIRECT_DESC: u64 = 1 << 28;
/// Feature bit: `used_event` and `avail_event` say when to notify.
pub const F_EVENT_IDX: u64 = 1 << 29;
/// Feature bit: the device is not a legacy one.
pub const F_VERSION_1: u64 = 1 << 32;

const DESC_NEXT: u16 = 1;
const DESC_WRITE: u16 = 2;
const DESC_INDIRECT: u16 = 4;

record! {
    /// State of one queue.
    pub struct QueueState = "virtqueue" v 1 {
        /// Entries; a power of two.
        size: u16;
        /// Whether the driver enabled it.
        ready: bool;
        /// Guest-physical address of the descriptor table.
        desc: u64;
        /// Guest-physical address of the driver area, the available ring.
        driver: u64;
        /// Guest-physical address of the device area, the used ring.
        device: u64;
        /// The index in the available ring of the next chain to take.
        next_avail: u16;
        /// The index in the used ring of the next chain to give back.
        next_used: u16;
        /// `next_used` when it was last decided whether to tell the driver.
        told_used: u16;
    }
}

impl QueueState {
    /// A queue as after a reset.
    #[must_use]
    pub fn cold() -> Self {
        Self {
            size: QUEUE_SIZE_MAX,
            ready: false,
            desc: 0,
            driver: 0,
            device: 0,
            next_avail: 0,
            next_used: 0,
            told_used: 0,
        }
    }

    /// Whether a driver can have made it so.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let size = self.size.is_power_of_two() && self.size <= QUEUE_SIZE_MAX;
        size && (!self.ready || self.is_aligned())
    }

    /// Whether the three areas are aligned as section 2.7 asks.
    #[must_use]
    pub fn is_aligned(&self) -> bool {
        self.desc.is_multiple_of(16)
            && self.driver.is_multiple_of(2)
            && self.device.is_multiple_of(4)
    }
}

/// A piece of guest memory within RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// The guest-physical address.
    pub at: Gpa,
    /// The size in bytes.
    pub size: u32,
}

/// One request: what the device may read, then what it may write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Chain {
    /// The descriptor that names the request, for `Rings::push`.
    pub head: u16,
    /// For the device to read.
    pub readable: Vec<Segment>,
    /// For the device to write.
    pub writable: Vec<Segment>,
}

impl Chain {
    /// Bytes for the device to read.
    #[must_use]
    pub fn readable_size(&self) -> u64 {
        self.readable.iter().map(|segment| u64::from(segment.size)).sum()
    }

    /// Bytes for the device to write.
    #[must_use]
    pub fn writable_size(&self) -> u64 {
        self.writable.iter().map(|segment| u64::from(segment.size)).sum()
    }

    /// Reads from the readable part at `offset`. Says whether it is that long.
    #[must_use]
    pub fn read(&self, cx: &mut DeviceCx<'_>, offset: u64, into: &mut [u8]) -> bool {
        let mut done = 0;
        for (at, count) in pieces(&self.readable, offset, into.len()) {
            if !cx.dma_read(at, &mut into[done..done + count]) {
                return false;
            }
            done += count;
        }
        done == into.len()
    }

    /// Writes into the writable part at `offset`. Says whether it is that long.
    #[must_use]
    pub fn write(&self, cx: &mut DeviceCx<'_>, offset: u64, bytes: &[u8]) -> bool {
        let mut done = 0;
        for (at, count) in pieces(&self.writable, offset, bytes.len()) {
            if !cx.dma_write(at, &bytes[done..done + count]) {
                return false;
            }
            done += count;
        }
        done == bytes.len()
    }

    /// The address of one writable byte.
    #[must_use]
    pub fn writable_at(&self, offset: u64) -> Option<Gpa> {
        pieces(&self.writable, offset, 1).next().map(|(at, _)| at)
    }
}

/// The places in memory of `count` bytes at `offset` of a list of segments.
fn pieces(
    segments: &[Segment],
    mut offset: u64,
    mut count: usize,
) -> impl Iterator<Item = (Gpa, usize)> {
    segments.iter().filter_map(move |segment| {
        let size = u64::from(segment.size);
        let skip = offset.min(size);
        offset -= skip;
        let here = usize::try_from(size - skip).unwrap_or(usize::MAX).min(count);
        count -= here;
        (here > 0).then_some((Gpa(segment.at.0 + skip), here))
    })
}

/// The queues of one device during one call, and what the call leads to.
pub struct Rings<'a, 'b> {
    /// What the device may touch.
    pub cx: &'a mut DeviceCx<'b>,
    queues: &'a mut [QueueState],
    features: u64,
    live: bool,
    work_left: u64,
    /// The driver broke a rule; the device needs a reset.
    pub(super) broken: bool,
    /// Work was left for the next tick.
    pub(super) more: bool,
    /// The configuration changed.
    pub(super) config_changed: bool,
}

/// The driver broke a rule of the queue.
struct Broken;

impl<'a, 'b> Rings<'a, 'b> {
    /// The queues of a device; `live` says whether the driver is ready for them.
    pub(super) fn new(
        cx: &'a mut DeviceCx<'b>,
        queues: &'a mut [QueueState],
        features: u64,
        live: bool,
    ) -> Self {
        Self {
            cx,
            queues,
            features,
            live,
            work_left: WORK_PER_CALL,
            broken: false,
            more: false,
            config_changed: false,
        }
    }

    /// Whether the driver accepted a feature.
    #[must_use]
    pub fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    /// Whether the driver said that it is ready.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live && !self.broken
    }

    /// Takes the next request of a queue. `None` where there is none, and where this call has
    /// done enough: the model is called again at the next tick.
    pub fn pop(&mut self, queue: usize) -> Option<Chain> {
        if !self.is_live() || !self.queues.get(queue)?.ready {
            return None;
        }
        if self.work_left == 0 {
            self.more = true;
            return None;
        }
        match self.try_pop(queue) {
            Ok(chain) => {
                let chain = chain?;
                let segments = (chain.readable.len() + chain.writable.len()) as u64;
                let bytes = chain.readable_size() + chain.writable_size();
                self.charge(bytes + segments * WORK_PER_SEGMENT + WORK_PER_CHAIN);
                Some(chain)
            }
            Err(Broken) => {
                self.broken = true;
                None
            }
        }
    }

    /// Counts work beyond the bytes of a request against what one call may do.
    pub fn charge(&mut self, bytes: u64) {
        self.work_left = self.work_left.saturating_sub(bytes);
    }

    /// Puts back the last `count` requests of a queue, which `pop` gives again.
    pub fn put_back(&mut self, queue: usize, count: u16) {
        let state = &mut self.queues[queue];
        state.next_avail = state.next_avail.wrapping_sub(count);
    }

    /// Gives a request back, with the number of bytes written to its writable part.
    pub fn push(&mut self, queue: usize, head: u16, written: u32) {
        let state = &mut self.queues[queue];
        if !self.live || !state.ready {
            return;
        }
        let slot = u64::from(state.next_used % state.size);
        let mut element = [0; 8];
        element[..4].copy_from_slice(&u32::from(head).to_le_bytes());
        element[4..].copy_from_slice(&written.to_le_bytes());
        let next = state.next_used.wrapping_add(1);
        let device = state.device;
        let stored = write_at(self.cx, device, 4 + 8 * slot, &element)
            && write_at(self.cx, device, 2, &next.to_le_bytes());
        self.queues[queue].next_used = next;
        self.broken |= !stored;
    }

    /// The driver broke a rule that the model checks.
    pub fn fail(&mut self) {
        self.broken = true;
    }

    /// Tells the driver that the configuration space changed.
    pub fn config_changed(&mut self) {
        self.config_changed = true;
    }

    /// Asks the outside for something.
    pub fn request(&mut self, port: PortId, op: IoOp) -> IoId {
        self.cx.request(port, op)
    }

    /// Whether the driver wants to be told of what was given back, over all queues.
    pub(super) fn must_tell(&mut self) -> bool {
        let mut tell = false;
        for queue in 0..self.queues.len() {
            let state = &self.queues[queue];
            if self.live && state.ready && state.told_used != state.next_used {
                tell |= self.wants_used(queue);
            }
        }
        tell
    }

    /// Whether to tell the driver of one queue (sections 2.7.7 and 2.7.10).
    fn wants_used(&mut self, queue: usize) -> bool {
        let state = &self.queues[queue];
        let (driver, size) = (state.driver, u64::from(state.size));
        let (old, new) = (state.told_used, state.next_used);
        self.queues[queue].told_used = new;
        let at = if self.has(F_EVENT_IDX) { 4 + 2 * size } else { 0 };
        let Some(word) = read_u16(self.cx, driver, at) else {
            self.broken = true;
            return false;
        };
        if self.has(F_EVENT_IDX) {
            new.wrapping_sub(word).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            word & 1 == 0
        }
    }

    fn try_pop(&mut self, queue: usize) -> Result<Option<Chain>, Broken> {
        let state = &self.queues[queue];
        let (size, driver, device) = (state.size, state.driver, state.device);
        let (desc, next) = (state.desc, state.next_avail);
        let index = read_u16(self.cx, driver, 2).ok_or(Broken)?;
        let waiting = index.wrapping_sub(next);
        if waiting > size {
            return Err(Broken);
        }
        if waiting == 0 {
            if self.has(F_EVENT_IDX) {
                // Asks for a notification when the next request comes.
                let stored =
                    write_at(self.cx, device, 4 + 8 * u64::from(size), &next.to_le_bytes());
                return if stored { Ok(None) } else { Err(Broken) };
            }
            return Ok(None);
        }
        let head = read_u16(self.cx, driver, 4 + 2 * u64::from(next % size)).ok_or(Broken)?;
        let chain = self.walk(desc, size, head)?;
        self.queues[queue].next_avail = next.wrapping_add(1);
        Ok(Some(chain))
    }

    fn walk(&mut self, table: u64, size: u16, head: u16) -> Result<Chain, Broken> {
        let mut chain = Chain { head, readable: Vec::new(), writable: Vec::new() };
        let mut table = Table { at: table, count: u32::from(size), indirect: false };
        let mut next = u32::from(head);
        // A loop of descriptors runs into this bound.
        for _ in 0..CHAIN_DESCRIPTORS_MAX {
            let desc = table.get(self.cx, next)?;
            if desc.flags & DESC_INDIRECT != 0 {
                let allowed = self.has(F_INDIRECT_DESC) && !table.indirect;
                let shape = desc.size != 0 && desc.size % 16 == 0 && desc.flags & DESC_NEXT == 0;
                if !allowed || !shape {
                    return Err(Broken);
                }
                table = Table { at: desc.at, count: desc.size / 16, indirect: true };
                next = 0;
                continue;
            }
            self.add(&mut chain, &desc)?;
            if desc.flags & DESC_NEXT == 0 {
                return Ok(chain);
            }
            next = u32::from(desc.next);
        }
        Err(Broken)
    }

    fn add(&mut self, chain: &mut Chain, desc: &Desc) -> Result<(), Broken> {
        let offset = desc.at.checked_sub(self.cx.ram_base.0).ok_or(Broken)?;
        let end = offset.checked_add(u64::from(desc.size)).ok_or(Broken)?;
        if end > self.cx.ram().size() {
            return Err(Broken);
        }
        let segment = Segment { at: Gpa(desc.at), size: desc.size };
        if desc.flags & DESC_WRITE != 0 {
            chain.writable.push(segment);
        } else if chain.writable.is_empty() {
            chain.readable.push(segment);
        } else {
            // All that the device reads comes before all that it writes (section 2.7.4.2).
            return Err(Broken);
        }
        Ok(())
    }
}

/// A descriptor table.
struct Table {
    at: u64,
    count: u32,
    indirect: bool,
}

/// A descriptor.
struct Desc {
    at: u64,
    size: u32,
    flags: u16,
    next: u16,
}

impl Table {
    fn get(&self, cx: &mut DeviceCx<'_>, index: u32) -> Result<Desc, Broken> {
        let mut bytes = [0; 16];
        let at = self.at.checked_add(16 * u64::from(index)).ok_or(Broken)?;
        if index >= self.count || !cx.dma_read(Gpa(at), &mut bytes) {
            return Err(Broken);
        }
        let word = u128::from_le_bytes(bytes);
        let part = |shift: u32, bits: u32| {
            u64::try_from(word >> shift & ((1 << bits) - 1)).expect("at most 64 bits")
        };
        Ok(Desc {
            at: part(0, 64),
            size: u32::try_from(part(64, 32)).expect("32 bits"),
            flags: u16::try_from(part(96, 16)).expect("16 bits"),
            next: u16::try_from(part(112, 16)).expect("16 bits"),
        })
    }
}

fn read_u16(cx: &mut DeviceCx<'_>, base: u64, offset: u64) -> Option<u16> {
    let mut bytes = [0; 2];
    let at = base.checked_add(offset)?;
    cx.dma_read(Gpa(at), &mut bytes).then_some(u16::from_le_bytes(bytes))
}

fn write_at(cx: &mut DeviceCx<'_>, base: u64, offset: u64, bytes: &[u8]) -> bool {
    base.checked_add(offset).is_some_and(|at| cx.dma_write(Gpa(at), bytes))
}
