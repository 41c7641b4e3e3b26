//! The input device (virtio 1.2, section 5.8) as a panel with one button: power.

use super::queue::Rings;
use super::transport::Model;
use omni_machine::{Control, DeviceCx, IoId, IoRequest, IoResult, PortId};
use omni_state::{Bundle, StateError, record};
use std::collections::VecDeque;

/// Events that wait for the guest to give buffers: two presses. More are dropped.
const WAITING_MAX: usize = 8;

/// Bytes of an event: type, code, value.
const EVENT_BYTES: u32 = 8;

/// Bytes of what the configuration space answers with.
const ANSWER_BYTES: usize = 128;

const EVENTS: usize = 0;

/// What the configuration space is asked for (section 5.8.4).
mod select {
    pub(super) const NAME: u8 = 1;
    pub(super) const SERIAL: u8 = 2;
    pub(super) const IDS: u8 = 3;
    pub(super) const EVENT_BITS: u8 = 0x11;
}

/// Types and codes of events, as Linux numbers them (input-event-codes.h).
mod event {
    pub(super) const SYNC: u16 = 0;
    pub(super) const KEY: u16 = 1;
    pub(super) const KEY_POWER: u16 = 116;
    pub(super) const BUS_VIRTUAL: u16 = 6;
}

record! {
    /// State of a panel.
    pub struct PanelState = "virtio-input" v 1 {
        /// What the driver asks of the configuration space.
        select: u8;
        /// Of which type of events it asks that.
        subsel: u8;
        /// Events that wait for buffers: whether the button is pressed, or `None` for the end of
        /// what happened at once.
        waiting: VecDeque<Option<bool>>;
    }
}

/// A panel with a power button.
#[derive(Debug)]
pub struct Panel {
    state: PanelState,
}

impl Default for Panel {
    fn default() -> Self {
        Self { state: PanelState { select: 0, subsel: 0, waiting: VecDeque::new() } }
    }
}

impl Panel {
    /// The state.
    #[must_use]
    pub fn state(&self) -> &PanelState {
        &self.state
    }

    fn answer(&self) -> Vec<u8> {
        match (self.state.select, self.state.subsel) {
            (select::NAME, 0) => b"Omnivisor Power Button".to_vec(),
            (select::SERIAL, 0) => b"0".to_vec(),
            (select::IDS, 0) => {
                [event::BUS_VIRTUAL, 0, 0, 1].iter().flat_map(|id| id.to_le_bytes()).collect()
            }
            (select::EVENT_BITS, subsel) if u16::from(subsel) == event::KEY => {
                let mut bits = vec![0; usize::from(event::KEY_POWER / 8) + 1];
                bits[usize::from(event::KEY_POWER / 8)] = 1 << (event::KEY_POWER % 8);
                bits
            }
            _ => Vec::new(),
        }
    }

    fn deliver(&mut self, rings: &mut Rings<'_, '_>) {
        while let Some(pressed) = self.state.waiting.front() {
            let (ty, code) = match pressed {
                Some(_) => (event::KEY, event::KEY_POWER),
                None => (event::SYNC, 0),
            };
            let mut bytes = Vec::with_capacity(EVENT_BYTES as usize);
            bytes.extend(ty.to_le_bytes());
            bytes.extend(code.to_le_bytes());
            bytes.extend(u32::from(*pressed == Some(true)).to_le_bytes());
            let Some(chain) = rings.pop(EVENTS) else { return };
            let room = chain.writable_size() >= u64::from(EVENT_BYTES);
            if !room || !chain.write(rings.cx, 0, &bytes) {
                rings.fail();
                return;
            }
            self.state.waiting.pop_front();
            rings.push(EVENTS, chain.head, EVENT_BYTES);
        }
    }
}

impl Model for Panel {
    fn device_id(&self) -> u32 {
        18
    }

    fn queue_count(&self) -> usize {
        2
    }

    fn features(&self) -> u64 {
        0
    }

    fn config(&self) -> Vec<u8> {
        let mut answer = self.answer();
        let size = u8::try_from(answer.len()).expect("at most ANSWER_BYTES");
        answer.resize(ANSWER_BYTES, 0);
        [vec![self.state.select, self.state.subsel, size, 0, 0, 0, 0, 0], answer].concat()
    }

    fn config_write(&mut self, offset: u64, bytes: &[u8], _: &mut DeviceCx<'_>) {
        for (at, byte) in (offset..).zip(bytes) {
            match at {
                0 => self.state.select = *byte,
                1 => self.state.subsel = *byte,
                _ => {}
            }
        }
    }

    fn serve(&mut self, queue: usize, rings: &mut Rings<'_, '_>) {
        if queue == EVENTS {
            self.deliver(rings);
            return;
        }
        // What the guest says of lamps: there are none.
        while let Some(chain) = rings.pop(queue) {
            rings.push(queue, chain.head, 0);
        }
    }

    fn input(&mut self, _: PortId, _: &[u8], _: &mut Rings<'_, '_>) -> bool {
        false
    }

    fn io_done(&mut self, _: IoId, _: &IoResult, _: &mut Rings<'_, '_>) -> bool {
        false
    }

    fn generation(&mut self, _: &[u8; 32], _: &mut Rings<'_, '_>) {}

    fn control(&mut self, control: Control, rings: &mut Rings<'_, '_>) {
        match control {
            Control::PowerButton => {
                let press = [Some(true), None, Some(false), None];
                if self.state.waiting.len() + press.len() <= WAITING_MAX {
                    self.state.waiting.extend(press);
                }
                self.deliver(rings);
            }
            Control::Reset | Control::Resize { .. } | Control::Balloon { .. } => {}
        }
    }

    fn pending(&self) -> Vec<IoRequest> {
        Vec::new()
    }

    /// Keeps a press: it is for whoever drives the panel next.
    fn driver_reset(&mut self) {
        (self.state.select, self.state.subsel) = (0, 0);
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        let state: PanelState = from.take(path)?;
        if state.waiting.len() > WAITING_MAX {
            return Err(StateError::Invalid("events of a panel"));
        }
        self.state = state;
        Ok(())
    }
}
