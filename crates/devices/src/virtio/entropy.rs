//! The entropy device (virtio 1.2, section 5.4), reproducible from the machine's seed.

use super::queue::Rings;
use super::transport::Model;
use crate::chacha20;
use omni_machine::{Control, DeviceCx, IoId, IoRequest, IoResult, PortId};
use omni_state::{Bundle, StateError, record};

/// Bytes of one request; a driver that asks for more gets less, which section 5.4.6 allows.
const REQUEST_BYTES_MAX: u64 = 64 << 10;

record! {
    /// State of the source: a ChaCha20 key and how much of its stream is used.
    pub struct EntropyState = "virtio-entropy" v 1 {
        /// The key.
        key: [u8; 32];
        /// Blocks of 64 bytes used.
        blocks: u64;
    }
}

/// A source of random bytes. Equal machines draw equal bytes; a fork draws others, once it is
/// told of its new identity.
#[derive(Debug)]
pub struct Entropy {
    state: EntropyState,
}

impl Entropy {
    /// The source of a machine with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: EntropyState { key: chacha20::key_of(seed, b"entropy ", 0), blocks: 0 } }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &EntropyState {
        &self.state
    }

    fn draw(&mut self) -> [u8; 64] {
        let [a, b, c, d, high @ ..] = self.state.blocks.to_le_bytes();
        self.state.blocks = self.state.blocks.wrapping_add(1);
        let nonce = [u32::from_le_bytes(high), 0, 0];
        chacha20::block(&self.state.key, u32::from_le_bytes([a, b, c, d]), nonce)
    }
}

impl Model for Entropy {
    fn device_id(&self) -> u32 {
        4
    }

    fn queue_count(&self) -> usize {
        1
    }

    fn features(&self) -> u64 {
        0
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn config_write(&mut self, _: u64, _: &[u8], _: &mut DeviceCx<'_>) {}

    fn serve(&mut self, queue: usize, rings: &mut Rings<'_, '_>) {
        while let Some(chain) = rings.pop(queue) {
            let count = chain.writable_size().min(REQUEST_BYTES_MAX);
            let count = usize::try_from(count).expect("at most REQUEST_BYTES_MAX");
            let mut bytes = Vec::with_capacity(count + 64);
            while bytes.len() < count {
                bytes.extend(self.draw());
            }
            if !chain.write(rings.cx, 0, &bytes[..count]) {
                rings.fail();
                return;
            }
            rings.push(queue, chain.head, u32::try_from(count).expect("as above"));
        }
    }

    fn input(&mut self, _: PortId, _: &[u8], _: &mut Rings<'_, '_>) -> bool {
        false
    }

    fn io_done(&mut self, _: IoId, _: &IoResult, _: &mut Rings<'_, '_>) -> bool {
        false
    }

    fn generation(&mut self, entropy: &[u8; 32], _: &mut Rings<'_, '_>) {
        let fresh = self.draw();
        let mixed: [u8; 32] = std::array::from_fn(|at| fresh[at] ^ entropy[at]);
        self.state.key.copy_from_slice(&chacha20::block(&mixed, 0, [0; 3])[..32]);
        self.state.blocks = 0;
    }

    fn control(&mut self, _: Control, _: &mut Rings<'_, '_>) {}

    fn pending(&self) -> Vec<IoRequest> {
        Vec::new()
    }

    fn driver_reset(&mut self) {}

    /// Does not rewind: the same bytes are never drawn twice, not even by the system after.
    fn reset(&mut self) {}

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        self.state = from.take(path)?;
        Ok(())
    }
}
