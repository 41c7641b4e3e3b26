//! The RISC-V platform-level interrupt controller.

use omni_base::Tick;
use omni_machine::{Control, Device, DeviceCx, IoId, IoRequest, IoResult, PortId, Width};
use omni_state::{Bundle, StateError, record};

/// Interrupt ids, the unused zero among them.
pub const PLIC_IDS: usize = 96;

/// Contexts at most: machine and supervisor mode of eight harts.
pub const PLIC_CONTEXTS_MAX: usize = 16;

const PENDING: u64 = 0x1000;
const ENABLE: u64 = 0x2000;
const CONTEXT: u64 = 0x20_0000;
const PRIORITY_MAX: u8 = 7;
/// Every id but zero.
const ID_MASK: u128 = (1 << PLIC_IDS) - 2;

record! {
    /// State of the PLIC; sets of interrupt ids have bit `n` for id `n`.
    pub struct PlicState = "plic" v 1 {
        /// The priority of each id; zero is never.
        priority: [u8; 96];
        /// The levels of the lines, as last told.
        levels: u128;
        /// Requests that the gateways let through and no one claimed.
        pending: u128;
        /// Claimed and not completed: the gateway lets nothing through.
        in_service: u128;
        /// The enabled ids of each context.
        enable: Vec<u128>;
        /// The threshold of each context.
        threshold: Vec<u8>;
    }
}

/// A PLIC with 95 level-triggered sources and seven priorities (RISC-V PLIC 1.0.0).
///
/// Contexts `2 * hart` and `2 * hart + 1` are machine and supervisor mode of a hart. It has no
/// line of its own on the bus: the board tells the levels and asks `asserted`.
#[derive(Debug)]
pub struct Plic {
    name: String,
    contexts: usize,
    state: PlicState,
}

impl Plic {
    /// The bytes of its range.
    pub const SIZE: u64 = 0x60_0000;

    /// A PLIC for `contexts` contexts.
    ///
    /// # Panics
    /// Where `contexts` is above `PLIC_CONTEXTS_MAX`: wiring is ours.
    pub fn new(name: impl Into<String>, contexts: usize) -> Self {
        assert!(contexts <= PLIC_CONTEXTS_MAX);
        Self { name: name.into(), contexts, state: Self::cold(contexts) }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &PlicState {
        &self.state
    }

    /// Takes the levels of all lines: bit `n` is the line of interrupt id `n`.
    pub fn update(&mut self, levels: u128) {
        self.state.levels = levels & ID_MASK;
        self.state.pending |= self.state.levels & !self.state.in_service;
    }

    /// Whether the external interrupt of a context is pending.
    #[must_use]
    pub fn asserted(&self, context: usize) -> bool {
        let threshold = self.state.threshold.get(context).copied().unwrap_or(PRIORITY_MAX);
        self.best(context).is_some_and(|(priority, _)| priority > threshold)
    }

    fn cold(contexts: usize) -> PlicState {
        PlicState {
            priority: [0; PLIC_IDS],
            levels: 0,
            pending: 0,
            in_service: 0,
            enable: vec![0; contexts],
            threshold: vec![0; contexts],
        }
    }

    /// The most urgent request of a context: the highest priority, then the lowest id.
    fn best(&self, context: usize) -> Option<(u8, usize)> {
        let mut left = self.state.pending & self.state.enable.get(context)?;
        let mut best = None;
        while left != 0 {
            let id = usize::try_from(left.trailing_zeros()).expect("below 128");
            left &= left - 1;
            let priority = self.state.priority[id];
            if priority > best.map_or(0, |(priority, _)| priority) {
                best = Some((priority, id));
            }
        }
        best
    }

    /// The threshold does not hold back a claim (section 9).
    fn claim(&mut self, context: usize) -> u32 {
        let Some((_, id)) = self.best(context) else { return 0 };
        self.state.pending &= !(1 << id);
        self.state.in_service |= 1 << id;
        u32::try_from(id).expect("below 96")
    }

    /// A completion of an id that the context has not enabled is ignored (section 10).
    fn complete(&mut self, context: usize, id: u32) {
        let enabled = self.state.enable.get(context).copied().unwrap_or(0);
        let bit = 1u128.checked_shl(id).unwrap_or(0) & enabled;
        self.state.in_service &= !bit;
        self.state.pending |= self.state.levels & bit;
    }

    fn read_word(&mut self, offset: u64) -> u32 {
        match offset {
            0..PENDING => {
                let id = usize::try_from(offset / 4).unwrap_or(PLIC_IDS);
                self.state.priority.get(id).copied().unwrap_or(0).into()
            }
            PENDING..ENABLE => word_of(self.state.pending, offset - PENDING),
            ENABLE..CONTEXT => {
                let (context, at) = split(offset - ENABLE, 0x80);
                self.state.enable.get(context).map_or(0, |&set| word_of(set, at))
            }
            _ => match split(offset - CONTEXT, 0x1000) {
                (context, 0) => self.state.threshold.get(context).copied().unwrap_or(0).into(),
                (context, 4) if context < self.contexts => self.claim(context),
                _ => 0,
            },
        }
    }

    fn write_word(&mut self, offset: u64, value: u32) {
        let [low, ..] = value.to_le_bytes();
        match offset {
            0..PENDING => {
                let id = usize::try_from(offset / 4).unwrap_or(PLIC_IDS);
                if let (1.., Some(priority)) = (id, self.state.priority.get_mut(id)) {
                    *priority = low & PRIORITY_MAX;
                }
            }
            PENDING..ENABLE => {}
            ENABLE..CONTEXT => {
                let (context, at) = split(offset - ENABLE, 0x80);
                if let (Some(set), 0..16) = (self.state.enable.get_mut(context), at) {
                    let shift = at * 8;
                    *set = (*set & !(0xffff_ffff << shift) | u128::from(value) << shift) & ID_MASK;
                }
            }
            _ => match split(offset - CONTEXT, 0x1000) {
                (context, 0) => {
                    if let Some(threshold) = self.state.threshold.get_mut(context) {
                        *threshold = low & PRIORITY_MAX;
                    }
                }
                (context, 4) => self.complete(context, value),
                _ => {}
            },
        }
    }
}

impl Device for Plic {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, offset: u64, width: Width, _: &mut DeviceCx<'_>) -> u64 {
        // The registers are of 32 bits only.
        if width == Width::Word { self.read_word(offset).into() } else { 0 }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, _: &mut DeviceCx<'_>) {
        if width == Width::Word {
            self.write_word(offset, u32::try_from(value & 0xffff_ffff).expect("masked"));
        }
    }

    fn input(&mut self, _: PortId, _: &[u8], _: &mut DeviceCx<'_>) -> bool {
        false
    }

    fn io_done(&mut self, _: IoId, _: &IoResult, _: &mut DeviceCx<'_>) -> bool {
        false
    }

    fn generation(&mut self, _: &[u8; 32], _: &mut DeviceCx<'_>) {}

    fn control(&mut self, _: Control, _: &mut DeviceCx<'_>) {}

    fn deadline(&self) -> Option<Tick> {
        None
    }

    fn fire(&mut self, _: &mut DeviceCx<'_>) {}

    fn pending(&self) -> Vec<IoRequest> {
        Vec::new()
    }

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        let state: PlicState = from.take(path)?;
        if state.enable.len() != self.contexts || state.threshold.len() != self.contexts {
            return Err(StateError::Invalid("contexts of a PLIC"));
        }
        let sets = [state.levels, state.pending, state.in_service];
        if sets.iter().chain(&state.enable).any(|set| set & !ID_MASK != 0) {
            return Err(StateError::Invalid("interrupt ids of a PLIC"));
        }
        if state.priority.iter().chain(&state.threshold).any(|&level| level > PRIORITY_MAX) {
            return Err(StateError::Invalid("priority of a PLIC"));
        }
        self.state = state;
        Ok(())
    }

    fn reset(&mut self) {
        self.state = Self::cold(self.contexts);
    }
}

/// The index and the offset within of a place in an array of blocks of `stride` bytes.
fn split(offset: u64, stride: u64) -> (usize, u64) {
    (usize::try_from(offset / stride).unwrap_or(usize::MAX), offset % stride)
}

/// The 32 bits of a set at a byte offset; zero beyond it.
fn word_of(set: u128, offset: u64) -> u32 {
    let word = if offset < 16 { set >> (offset * 8) & 0xffff_ffff } else { 0 };
    u32::try_from(word).expect("masked")
}
