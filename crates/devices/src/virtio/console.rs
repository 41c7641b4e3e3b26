//! The console device with one port (virtio 1.2, section 5.3).

use super::queue::{Chain, Rings};
use super::transport::Model;
use omni_machine::{Control, DeviceCx, IoId, IoRequest, IoResult, PortId};
use omni_state::{Bundle, StateError, record};
use std::collections::VecDeque;

/// Bytes that wait for the guest to give buffers; more are dropped.
pub const CONSOLE_BACKLOG_MAX: usize = 64 << 10;

/// Bytes of one request to send.
const SEND_BYTES_MAX: u64 = 1 << 20;
/// Bytes of one effect.
const OUTPUT_SIZE: u64 = 64 << 10;

const RX: usize = 0;

mod feature {
    pub(super) const SIZE: u64 = 1;
    pub(super) const EMERG_WRITE: u64 = 1 << 2;
}

record! {
    /// State of a console.
    pub struct ConsoleState = "virtio-console" v 1 {
        /// Width in characters.
        columns: u16;
        /// Height in characters.
        rows: u16;
        /// Bytes that wait for buffers.
        backlog: VecDeque<u8>;
    }
}

/// A console whose bytes go in and out by a port.
#[derive(Debug)]
pub struct Console {
    port: PortId,
    state: ConsoleState,
}

impl Console {
    /// A console of 80 by 25 characters, until it is told otherwise.
    #[must_use]
    pub fn new(port: PortId) -> Self {
        let state = ConsoleState { columns: 80, rows: 25, backlog: VecDeque::new() };
        Self { port, state }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &ConsoleState {
        &self.state
    }

    fn send(&self, chain: &Chain, rings: &mut Rings<'_, '_>) {
        let size = chain.readable_size();
        if size > SEND_BYTES_MAX {
            rings.fail();
            return;
        }
        let mut done = 0;
        while done < size {
            let count = (size - done).min(OUTPUT_SIZE);
            let mut bytes = vec![0; usize::try_from(count).expect("at most OUTPUT_SIZE")];
            if !chain.read(rings.cx, done, &mut bytes) {
                rings.fail();
                return;
            }
            rings.cx.output(self.port, bytes);
            done += count;
        }
        rings.push(1, chain.head, 0);
    }

    fn receive(&mut self, rings: &mut Rings<'_, '_>) {
        while !self.state.backlog.is_empty() {
            let Some(chain) = rings.pop(RX) else { return };
            let room = usize::try_from(chain.writable_size()).unwrap_or(usize::MAX);
            let count = room.min(self.state.backlog.len());
            let bytes: Vec<u8> = self.state.backlog.drain(..count).collect();
            if !chain.write(rings.cx, 0, &bytes) {
                rings.fail();
                return;
            }
            rings.push(RX, chain.head, u32::try_from(count).expect("at most a backlog"));
        }
    }
}

impl Model for Console {
    fn device_id(&self) -> u32 {
        3
    }

    fn queue_count(&self) -> usize {
        2
    }

    fn features(&self) -> u64 {
        feature::SIZE | feature::EMERG_WRITE
    }

    fn config(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        out.extend(self.state.columns.to_le_bytes());
        out.extend(self.state.rows.to_le_bytes());
        out.extend(1u32.to_le_bytes());
        out.extend([0; 4]);
        out
    }

    fn config_write(&mut self, offset: u64, bytes: &[u8], cx: &mut DeviceCx<'_>) {
        // The emergency write: one character, at any time.
        if let (8, Some(&byte)) = (offset, bytes.first()) {
            cx.output(self.port, vec![byte]);
        }
    }

    fn serve(&mut self, queue: usize, rings: &mut Rings<'_, '_>) {
        if queue == RX {
            self.receive(rings);
            return;
        }
        while let Some(chain) = rings.pop(queue) {
            self.send(&chain, rings);
        }
    }

    fn input(&mut self, port: PortId, bytes: &[u8], rings: &mut Rings<'_, '_>) -> bool {
        if port != self.port {
            return false;
        }
        let room = CONSOLE_BACKLOG_MAX.saturating_sub(self.state.backlog.len());
        self.state.backlog.extend(&bytes[..bytes.len().min(room)]);
        self.receive(rings);
        true
    }

    fn io_done(&mut self, _: IoId, _: &IoResult, _: &mut Rings<'_, '_>) -> bool {
        false
    }

    fn generation(&mut self, _: &[u8; 32], _: &mut Rings<'_, '_>) {}

    fn control(&mut self, control: Control, rings: &mut Rings<'_, '_>) {
        match control {
            Control::Resize { port, columns, rows } => {
                let same = (columns, rows) == (self.state.columns, self.state.rows);
                if port == self.port && !same {
                    (self.state.columns, self.state.rows) = (columns, rows);
                    rings.config_changed();
                }
            }
            Control::Reset | Control::PowerButton | Control::Balloon { .. } => {}
        }
    }

    fn pending(&self) -> Vec<IoRequest> {
        Vec::new()
    }

    /// Keeps what was typed: it is for whoever drives the console next.
    fn driver_reset(&mut self) {}

    /// Keeps the size too: it is the terminal's, not the guest's.
    fn reset(&mut self) {
        self.state.backlog.clear();
    }

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        let state: ConsoleState = from.take(path)?;
        if state.backlog.len() > CONSOLE_BACKLOG_MAX {
            return Err(StateError::Invalid("bytes in a console"));
        }
        self.state = state;
        Ok(())
    }
}
