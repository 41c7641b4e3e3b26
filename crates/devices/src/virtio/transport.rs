//! The MMIO transport, version 2 (virtio 1.2, section 4.2).

use super::queue::{F_EVENT_IDX, F_INDIRECT_DESC, F_VERSION_1, QUEUE_SIZE_MAX, QueueState, Rings};
use omni_base::Tick;
use omni_machine::{Control, Device, DeviceCx, IoId, IoRequest, IoResult, PortId, Width};
use omni_state::{Bundle, StateError, record};

const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
const VENDOR: u32 = u32::from_le_bytes(*b"OMNI");
const CONFIG: u64 = 0x100;

const INTERRUPT_USED: u32 = 1;
const INTERRUPT_CONFIG: u32 = 2;

/// The device status field (section 2.1).
mod status {
    pub(super) const DRIVER_OK: u32 = 4;
    pub(super) const FEATURES_OK: u32 = 8;
    pub(super) const NEEDS_RESET: u32 = 0x40;
    pub(super) const ALL: u32 = 0xff;
}

record! {
    /// State of the transport.
    pub struct TransportState = "virtio-mmio" v 1 {
        /// The device status field.
        status: u32;
        /// Which half of the device's features is shown.
        device_features_sel: u32;
        /// Which half of the driver's features is written.
        driver_features_sel: u32;
        /// The features that the driver accepted.
        driver_features: u64;
        /// Which queue the queue registers mean.
        queue_sel: u32;
        /// Why the line is high.
        interrupt_status: u32;
        /// Changes of the configuration space.
        config_generation: u32;
        /// When to go on with work that was too much for one call.
        resume_at: Option<Tick>;
    }
}

impl TransportState {
    fn cold() -> Self {
        Self {
            status: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            driver_features: 0,
            queue_sel: 0,
            interrupt_status: 0,
            config_generation: 0,
            resume_at: None,
        }
    }
}

/// What a virtio device of one type does with its queues.
///
/// No method has a default, for the reason that none of `Device` has.
pub trait Model: Send {
    /// The device type (section 5).
    fn device_id(&self) -> u32;

    /// The number of queues.
    fn queue_count(&self) -> usize;

    /// The feature bits of the type; the transport adds those of queues.
    fn features(&self) -> u64;

    /// The configuration space.
    fn config(&self) -> Vec<u8>;

    /// A write to the configuration space.
    fn config_write(&mut self, offset: u64, bytes: &[u8], cx: &mut DeviceCx<'_>);

    /// Does what a queue asks for. Called when the driver notifies, becomes ready, and where
    /// `Rings::pop` left work for later.
    fn serve(&mut self, queue: usize, rings: &mut Rings<'_, '_>);

    /// Bytes from the outside. Says whether the port is this device's.
    fn input(&mut self, port: PortId, bytes: &[u8], rings: &mut Rings<'_, '_>) -> bool;

    /// A request ended. Says whether it was this device's.
    fn io_done(&mut self, id: IoId, result: &IoResult, rings: &mut Rings<'_, '_>) -> bool;

    /// The machine has a new identity.
    fn generation(&mut self, entropy: &[u8; 32], rings: &mut Rings<'_, '_>);

    /// A hand on a switch.
    fn control(&mut self, control: Control, rings: &mut Rings<'_, '_>);

    /// Requests in flight.
    fn pending(&self) -> Vec<IoRequest>;

    /// The driver resets the device: what it asked for is void, what came from outside is not.
    fn driver_reset(&mut self);

    /// The state of a cold start.
    fn reset(&mut self);

    /// Writes the model's record at `path`.
    fn save(&self, path: &str, into: &mut Bundle);

    /// Reads the model's record at `path`.
    ///
    /// # Errors
    /// Where it is missing or cannot be this device's.
    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError>;
}

/// A virtio device behind memory-mapped registers.
#[derive(Debug)]
pub struct VirtioMmio<M> {
    name: String,
    state: TransportState,
    queues: Vec<QueueState>,
    model: M,
}

impl<M: Model> VirtioMmio<M> {
    /// The bytes of its range.
    pub const SIZE: u64 = 0x1000;

    /// A device that does what `model` does.
    pub fn new(name: impl Into<String>, model: M) -> Self {
        let queues = vec![QueueState::cold(); model.queue_count()];
        Self { name: name.into(), state: TransportState::cold(), queues, model }
    }

    /// The state of the transport.
    #[must_use]
    pub fn state(&self) -> &TransportState {
        &self.state
    }

    /// The states of the queues.
    #[must_use]
    pub fn queues(&self) -> &[QueueState] {
        &self.queues
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &M {
        &self.model
    }

    fn features(&self) -> u64 {
        self.model.features() | F_VERSION_1 | F_INDIRECT_DESC | F_EVENT_IDX
    }

    fn is_live(&self) -> bool {
        self.state.status & (status::DRIVER_OK | status::NEEDS_RESET) == status::DRIVER_OK
    }

    /// Calls the model and then tells the driver what it must know.
    fn with_rings<R>(
        &mut self,
        cx: &mut DeviceCx<'_>,
        body: impl FnOnce(&mut M, &mut Rings<'_, '_>) -> R,
    ) -> R {
        let live = self.is_live();
        let features = self.state.driver_features;
        let mut rings = Rings::new(cx, &mut self.queues, features, live);
        let result = body(&mut self.model, &mut rings);
        let tell = rings.must_tell();
        let (broken, more, changed) = (rings.broken, rings.more, rings.config_changed);
        if tell {
            self.state.interrupt_status |= INTERRUPT_USED;
        }
        if more {
            self.state.resume_at = Some(Tick(cx.now.0.saturating_add(1)));
        }
        if changed {
            self.state.config_generation = self.state.config_generation.wrapping_add(1);
        }
        if broken {
            self.break_down();
        }
        if changed && self.is_live() {
            self.state.interrupt_status |= INTERRUPT_CONFIG;
        }
        self.settle(cx);
        result
    }

    /// The driver broke a rule: nothing but a reset helps (section 2.1.1).
    fn break_down(&mut self) {
        self.state.status |= status::NEEDS_RESET;
        self.state.resume_at = None;
        if self.state.status & status::DRIVER_OK != 0 {
            self.state.interrupt_status |= INTERRUPT_CONFIG;
        }
    }

    fn settle(&mut self, cx: &mut DeviceCx<'_>) {
        cx.set_line(self.state.interrupt_status != 0);
    }

    fn serve_all(&mut self, cx: &mut DeviceCx<'_>) {
        let count = self.queues.len();
        self.with_rings(cx, |model, rings| (0..count).for_each(|queue| model.serve(queue, rings)));
    }

    fn set_status(&mut self, value: u32, cx: &mut DeviceCx<'_>) {
        if value == 0 {
            self.reset_by_driver();
            self.settle(cx);
            return;
        }
        let was_live = self.is_live();
        // The driver only adds bits, and the device's own bit is not its to clear.
        let mut next = (value & status::ALL & !status::NEEDS_RESET) | self.state.status;
        let accepted = self.state.driver_features;
        if accepted & !self.features() != 0 || accepted & F_VERSION_1 == 0 {
            next &= !status::FEATURES_OK;
        }
        if next & status::FEATURES_OK == 0 {
            next &= !status::DRIVER_OK;
        }
        self.state.status = next;
        if self.is_live() && !was_live {
            self.serve_all(cx);
        }
    }

    fn reset_by_driver(&mut self) {
        let config_generation = self.state.config_generation;
        self.state = TransportState { config_generation, ..TransportState::cold() };
        self.queues.fill(QueueState::cold());
        self.model.driver_reset();
    }

    fn queue(&self) -> Option<&QueueState> {
        self.queues.get(usize::try_from(self.state.queue_sel).ok()?)
    }

    fn queue_mut(&mut self) -> Option<&mut QueueState> {
        self.queues.get_mut(usize::try_from(self.state.queue_sel).ok()?)
    }

    fn set_ready(&mut self, ready: bool) {
        let Some(queue) = self.queue_mut() else { return };
        if ready && !queue.ready {
            if !queue.is_aligned() {
                self.break_down();
                return;
            }
            queue.ready = true;
            queue.next_avail = 0;
            queue.next_used = 0;
            queue.told_used = 0;
        } else if !ready {
            queue.ready = false;
        }
    }

    /// Registers of a queue can be written until it is ready.
    fn write_queue(&mut self, offset: u64, value: u32) {
        let Some(queue) = self.queue_mut().filter(|queue| !queue.ready) else { return };
        let (low, high) = (u64::from(value), u64::from(value) << 32);
        let set_low = |field: &mut u64| *field = *field & !0xffff_ffff | low;
        let set_high = |field: &mut u64| *field = *field & 0xffff_ffff | high;
        match offset {
            0x038 => {
                if let Ok(size) = u16::try_from(value)
                    && size.is_power_of_two()
                    && size <= QUEUE_SIZE_MAX
                {
                    queue.size = size;
                }
            }
            0x080 => set_low(&mut queue.desc),
            0x084 => set_high(&mut queue.desc),
            0x090 => set_low(&mut queue.driver),
            0x094 => set_high(&mut queue.driver),
            0x0a0 => set_low(&mut queue.device),
            _ => set_high(&mut queue.device),
        }
    }

    fn write_features(&mut self, value: u32) {
        if self.state.status & status::FEATURES_OK != 0 {
            return;
        }
        let features = &mut self.state.driver_features;
        match self.state.driver_features_sel {
            0 => *features = *features & !0xffff_ffff | u64::from(value),
            1 => *features = *features & 0xffff_ffff | u64::from(value) << 32,
            _ => {}
        }
    }

    fn read_register(&self, offset: u64) -> u32 {
        match offset {
            0x000 => MAGIC,
            0x004 => VERSION,
            0x008 => self.model.device_id(),
            0x00c => VENDOR,
            0x010 => {
                let features = self.features();
                match self.state.device_features_sel {
                    0 => u32::try_from(features & 0xffff_ffff).expect("masked"),
                    1 => u32::try_from(features >> 32).expect("shifted"),
                    _ => 0,
                }
            }
            0x034 => self.queue().map_or(0, |_| QUEUE_SIZE_MAX.into()),
            0x044 => self.queue().is_some_and(|queue| queue.ready).into(),
            0x060 => self.state.interrupt_status,
            0x070 => self.state.status,
            // No shared memory: its size and its base read as all ones.
            0x0b0 | 0x0b4 | 0x0b8 | 0x0bc => u32::MAX,
            0x0fc => self.state.config_generation,
            _ => 0,
        }
    }

    fn write_register(&mut self, offset: u64, value: u32, cx: &mut DeviceCx<'_>) {
        match offset {
            0x014 => self.state.device_features_sel = value,
            0x020 => self.write_features(value),
            0x024 => self.state.driver_features_sel = value,
            0x030 => self.state.queue_sel = value,
            0x038 | 0x080 | 0x084 | 0x090 | 0x094 | 0x0a0 | 0x0a4 => {
                self.write_queue(offset, value);
            }
            0x044 => {
                self.set_ready(value & 1 != 0);
                self.settle(cx);
            }
            0x050 => {
                let queue = usize::try_from(value).unwrap_or(usize::MAX);
                if queue < self.queues.len() && self.is_live() {
                    self.with_rings(cx, |model, rings| model.serve(queue, rings));
                }
            }
            0x064 => {
                self.state.interrupt_status &= !value;
                self.settle(cx);
            }
            0x070 => self.set_status(value, cx),
            _ => {}
        }
    }

    fn read_config(&self, offset: u64, width: Width) -> u64 {
        let config = self.model.config();
        let mut bytes = [0; 8];
        for (at, byte) in (offset..offset + width.bytes()).zip(&mut bytes) {
            let known = usize::try_from(at).ok().and_then(|at| config.get(at));
            *byte = known.copied().unwrap_or(0);
        }
        u64::from_le_bytes(bytes)
    }
}

impl<M: Model> Device for VirtioMmio<M> {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, offset: u64, width: Width, _: &mut DeviceCx<'_>) -> u64 {
        match offset.checked_sub(CONFIG) {
            Some(at) => self.read_config(at, width),
            // The registers are of 32 bits only.
            None if width == Width::Word => self.read_register(offset).into(),
            None => 0,
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, cx: &mut DeviceCx<'_>) {
        let bytes = value.to_le_bytes();
        if let Some(at) = offset.checked_sub(CONFIG) {
            let count = usize::try_from(width.bytes()).expect("at most eight");
            self.model.config_write(at, &bytes[..count], cx);
        } else if width == Width::Word {
            self.write_register(offset, u32::try_from(value & 0xffff_ffff).expect("masked"), cx);
        }
    }

    fn input(&mut self, port: PortId, bytes: &[u8], cx: &mut DeviceCx<'_>) -> bool {
        self.with_rings(cx, |model, rings| model.input(port, bytes, rings))
    }

    fn io_done(&mut self, id: IoId, result: &IoResult, cx: &mut DeviceCx<'_>) -> bool {
        self.with_rings(cx, |model, rings| model.io_done(id, result, rings))
    }

    fn generation(&mut self, entropy: &[u8; 32], cx: &mut DeviceCx<'_>) {
        self.with_rings(cx, |model, rings| model.generation(entropy, rings));
    }

    fn control(&mut self, control: Control, cx: &mut DeviceCx<'_>) {
        self.with_rings(cx, |model, rings| model.control(control, rings));
    }

    fn deadline(&self) -> Option<Tick> {
        self.state.resume_at
    }

    fn fire(&mut self, cx: &mut DeviceCx<'_>) {
        self.state.resume_at = None;
        self.serve_all(cx);
    }

    fn pending(&self) -> Vec<IoRequest> {
        self.model.pending()
    }

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
        for (index, queue) in self.queues.iter().enumerate() {
            into.put(&format!("{path}/queue{index}"), queue);
        }
        self.model.save(&format!("{path}/model"), into);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        let state: TransportState = from.take(path)?;
        let live = state.status & status::DRIVER_OK != 0;
        let agreed = state.driver_features & !self.features() == 0;
        if state.status & !status::ALL != 0 || live && !agreed || state.interrupt_status > 3 {
            return Err(StateError::Invalid("register of a virtio device"));
        }
        let take = |index| from.take::<QueueState>(&format!("{path}/queue{index}"));
        let queues = (0..self.queues.len()).map(take).collect::<Result<Vec<_>, _>>()?;
        if !queues.iter().all(QueueState::is_valid) {
            return Err(StateError::Invalid("queue of a virtio device"));
        }
        self.model.load(&format!("{path}/model"), from)?;
        self.state = state;
        self.queues = queues;
        Ok(())
    }

    fn reset(&mut self) {
        self.state = TransportState::cold();
        self.queues.fill(QueueState::cold());
        self.model.reset();
    }
}
