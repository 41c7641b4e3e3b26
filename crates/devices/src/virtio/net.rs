//! The network device (virtio 1.2, section 5.1).

use super::queue::{Chain, Rings};
use super::transport::Model;
use crate::chacha20;
use omni_machine::{Control, DeviceCx, IoId, IoRequest, IoResult, PortId};
use omni_state::{Bundle, StateError, record};
use std::collections::VecDeque;

/// Bytes of the largest Ethernet frame, without checksum.
pub const FRAME_BYTES_MAX: usize = 9_216;

/// Frames that wait for the guest to give buffers; more are dropped.
pub const FRAMES_WAITING_MAX: usize = 256;

const FRAME_BYTES_MIN: usize = 14;
const HEADER_SIZE: usize = 12;
/// Buffers of one frame.
const BUFFERS_MAX: usize = 64;

const RX: usize = 0;
const TX: usize = 1;
const CTRL: usize = 2;

mod feature {
    pub(super) const MAC: u64 = 1 << 5;
    pub(super) const MRG_RXBUF: u64 = 1 << 15;
    pub(super) const STATUS: u64 = 1 << 16;
    pub(super) const CTRL_VQ: u64 = 1 << 17;
    pub(super) const GUEST_ANNOUNCE: u64 = 1 << 21;
}

const STATUS_LINK_UP: u16 = 1;
const STATUS_ANNOUNCE: u16 = 2;
const CLASS_ANNOUNCE: u8 = 3;

record! {
    /// State of a network device.
    pub struct NetState = "virtio-net" v 1 {
        /// Frames that wait for buffers.
        waiting: VecDeque<Vec<u8>>;
        /// The guest is asked to announce itself to its network.
        announce: bool;
    }
}

/// A network card: each output and each input of its port is one Ethernet frame.
///
/// After a fork the address stays, as the guest would not see it change: whoever connects forks
/// keeps their networks apart. The guest is asked to announce itself.
#[derive(Debug)]
pub struct Net {
    port: PortId,
    mac: [u8; 6],
    state: NetState,
}

/// A locally administered address for network card `index` of a machine with this seed.
#[must_use]
pub fn mac_from_seed(seed: u64, index: u16) -> [u8; 6] {
    let key = chacha20::key_of(seed, b"net mac ", index.into());
    let [a, b, c, d, e, ..] = key;
    [0x02, a, b, c, d, e]
}

impl Net {
    /// A card of this address on `port`.
    #[must_use]
    pub fn new(port: PortId, mac: [u8; 6]) -> Self {
        Self { port, mac, state: Self::cold() }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &NetState {
        &self.state
    }

    fn cold() -> NetState {
        NetState { waiting: VecDeque::new(), announce: false }
    }

    fn send(&self, chain: &Chain, rings: &mut Rings<'_, '_>) {
        let size = usize::try_from(chain.readable_size()).unwrap_or(usize::MAX);
        let size = size.saturating_sub(HEADER_SIZE);
        // What is no frame is dropped, as a wire would.
        if (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&size) {
            let mut frame = vec![0; size];
            if chain.read(rings.cx, HEADER_SIZE as u64, &mut frame) {
                rings.cx.output(self.port, frame);
            }
        }
        rings.push(TX, chain.head, 0);
    }

    fn receive(&mut self, rings: &mut Rings<'_, '_>) {
        while let Some(frame) = self.state.waiting.front() {
            let size = frame.len() + HEADER_SIZE;
            let Some((chains, room)) = gather(size as u64, rings) else { return };
            let Some(frame) = self.state.waiting.pop_front() else { return };
            if room < size as u64 {
                // The guest's one buffer is too small: the frame is lost, the buffer is not.
                rings.put_back(RX, 1);
                continue;
            }
            fill(&chains, &frame, rings);
        }
    }

    fn control_request(&mut self, chain: &Chain, rings: &mut Rings<'_, '_>) {
        let mut command = [0; 2];
        let known = chain.read(rings.cx, 0, &mut command) && command == [CLASS_ANNOUNCE, 0];
        if known && self.state.announce {
            self.state.announce = false;
            rings.config_changed();
        }
        if chain.write(rings.cx, 0, &[u8::from(!known)]) {
            rings.push(CTRL, chain.head, 1);
        } else {
            rings.fail();
        }
    }
}

/// Takes enough buffers for `size` bytes, or puts all back and gives `None`. Without mergeable
/// buffers it is one, of any size.
fn gather(size: u64, rings: &mut Rings<'_, '_>) -> Option<(Vec<Chain>, u64)> {
    let (mut chains, mut room) = (Vec::new(), 0);
    while room < size {
        let Some(chain) = rings.pop(RX) else {
            let count = u16::try_from(chains.len()).expect("at most BUFFERS_MAX");
            rings.put_back(RX, count);
            return None;
        };
        room += chain.writable_size();
        chains.push(chain);
        if !rings.has(feature::MRG_RXBUF) {
            break;
        }
        if chains.len() == BUFFERS_MAX && room < size {
            rings.fail();
            return None;
        }
    }
    Some((chains, room))
}

/// Writes a frame behind its header into buffers that have room for it.
fn fill(chains: &[Chain], frame: &[u8], rings: &mut Rings<'_, '_>) {
    let count = u16::try_from(chains.len()).expect("at most BUFFERS_MAX");
    let mut packet = vec![0; HEADER_SIZE];
    packet[10..].copy_from_slice(&count.to_le_bytes());
    packet.extend_from_slice(frame);
    let mut rest = &packet[..];
    for chain in chains {
        let room = usize::try_from(chain.writable_size()).unwrap_or(usize::MAX);
        let (now, later) = rest.split_at(room.min(rest.len()));
        rest = later;
        if !chain.write(rings.cx, 0, now) {
            rings.fail();
            return;
        }
        rings.push(RX, chain.head, u32::try_from(now.len()).expect("at most a packet"));
    }
}

impl Model for Net {
    fn device_id(&self) -> u32 {
        1
    }

    fn queue_count(&self) -> usize {
        3
    }

    fn features(&self) -> u64 {
        let link = feature::MAC | feature::STATUS | feature::MRG_RXBUF;
        link | feature::CTRL_VQ | feature::GUEST_ANNOUNCE
    }

    fn config(&self) -> Vec<u8> {
        let announce = if self.state.announce { STATUS_ANNOUNCE } else { 0 };
        let mut out = self.mac.to_vec();
        out.extend((STATUS_LINK_UP | announce).to_le_bytes());
        out
    }

    fn config_write(&mut self, _: u64, _: &[u8], _: &mut DeviceCx<'_>) {}

    fn serve(&mut self, queue: usize, rings: &mut Rings<'_, '_>) {
        if queue == RX {
            self.receive(rings);
            return;
        }
        while let Some(chain) = rings.pop(queue) {
            if queue == TX {
                self.send(&chain, rings);
            } else {
                self.control_request(&chain, rings);
            }
        }
    }

    fn input(&mut self, port: PortId, bytes: &[u8], rings: &mut Rings<'_, '_>) -> bool {
        if port != self.port {
            return false;
        }
        let is_frame = (FRAME_BYTES_MIN..=FRAME_BYTES_MAX).contains(&bytes.len());
        if is_frame && rings.is_live() && self.state.waiting.len() < FRAMES_WAITING_MAX {
            self.state.waiting.push_back(bytes.to_vec());
            self.receive(rings);
        }
        true
    }

    fn io_done(&mut self, _: IoId, _: &IoResult, _: &mut Rings<'_, '_>) -> bool {
        false
    }

    fn generation(&mut self, _: &[u8; 32], rings: &mut Rings<'_, '_>) {
        if rings.is_live() && rings.has(feature::GUEST_ANNOUNCE) {
            self.state.announce = true;
            rings.config_changed();
        }
    }

    fn control(&mut self, _: Control, _: &mut Rings<'_, '_>) {}

    fn pending(&self) -> Vec<IoRequest> {
        Vec::new()
    }

    fn driver_reset(&mut self) {
        self.state = Self::cold();
    }

    fn reset(&mut self) {
        self.state = Self::cold();
    }

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        let state: NetState = from.take(path)?;
        let sizes = FRAME_BYTES_MIN..=FRAME_BYTES_MAX;
        let frames = state.waiting.iter().all(|frame| sizes.contains(&frame.len()));
        if !frames || state.waiting.len() > FRAMES_WAITING_MAX {
            return Err(StateError::Invalid("frames of a network device"));
        }
        self.state = state;
        Ok(())
    }
}
