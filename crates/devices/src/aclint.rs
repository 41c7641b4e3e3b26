//! The RISC-V ACLINT: machine timers and software interrupts.

use crate::TimeBase;
use omni_base::Tick;
use omni_machine::{Control, Device, DeviceCx, IoId, IoRequest, IoResult, PortId, Width};
use omni_state::{Bundle, StateError, record};

/// Harts that one ACLINT serves at most.
pub const ACLINT_HARTS_MAX: usize = 8;

/// Nanoseconds per step of `mtime`: it counts at 10 MHz.
pub const MTIME_PERIOD_NS: u32 = 100;

const MTIMECMP: u64 = 0x4000;
const MTIME: u64 = 0xbff8;

record! {
    /// State of the machine timer and the machine software interrupts.
    pub struct AclintState = "aclint" v 1 {
        /// Pending software interrupts, one bit a hart.
        msip: u8;
        /// The compare register of each hart.
        mtimecmp: Vec<u64>;
        /// What `mtime` is ahead of the machine's time, in its own steps, modulo 2^64.
        mtime_offset: u64;
        /// The next tick at which some timer interrupt changes its level.
        next_change: Option<Tick>;
    }
}

/// MSWI and MTIMER in one range, laid out as the SiFive CLINT (RISC-V ACLINT, chapter 6).
///
/// It has no interrupt line on its bus: the board asks `msip` and `mtip` after each access,
/// event and deadline.
#[derive(Debug)]
pub struct Aclint {
    name: String,
    harts: usize,
    time: TimeBase,
    state: AclintState,
}

impl Aclint {
    /// The bytes of its range.
    pub const SIZE: u64 = 0x1_0000;

    /// An ACLINT for `harts` harts.
    ///
    /// # Panics
    /// Where `harts` is above `ACLINT_HARTS_MAX`: wiring is ours.
    pub fn new(name: impl Into<String>, harts: usize, time: TimeBase) -> Self {
        assert!(harts <= ACLINT_HARTS_MAX);
        Self { name: name.into(), harts, time, state: Self::cold(harts) }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &AclintState {
        &self.state
    }

    /// The value of `mtime`, which the `time` CSR shows too.
    #[must_use]
    pub fn mtime(&self, now: Tick) -> u64 {
        low_u64(self.time.count(now, MTIME_PERIOD_NS)).wrapping_add(self.state.mtime_offset)
    }

    /// The first tick, not before `now`, at which `mtime` is `value` or more: what `stimecmp`
    /// of Sstc needs. `None` where it never comes.
    #[must_use]
    pub fn tick_at(&self, value: u64, now: Tick) -> Option<Tick> {
        match value.checked_sub(self.mtime(now)) {
            None | Some(0) => Some(now),
            Some(ahead) => self.tick_in(ahead.into(), now),
        }
    }

    /// Whether the hart's machine software interrupt is pending.
    #[must_use]
    pub fn msip(&self, hart: usize) -> bool {
        hart < self.harts && self.state.msip & 1 << hart != 0
    }

    /// Whether the hart's machine timer interrupt is pending.
    #[must_use]
    pub fn mtip(&self, hart: usize, now: Tick) -> bool {
        self.state.mtimecmp.get(hart).is_some_and(|&compare| self.mtime(now) >= compare)
    }

    /// Sets the hart's compare register, as firmware inside the board does.
    pub fn set_mtimecmp(&mut self, hart: usize, value: u64, now: Tick) {
        if let Some(compare) = self.state.mtimecmp.get_mut(hart) {
            *compare = value;
        }
        self.plan(now);
    }

    /// Sets or clears the hart's software interrupt, as firmware inside the board does.
    pub fn set_msip(&mut self, hart: usize, pending: bool) {
        if hart < self.harts {
            let bit = 1 << hart;
            self.state.msip = if pending { self.state.msip | bit } else { self.state.msip & !bit };
        }
    }

    fn cold(harts: usize) -> AclintState {
        let mtimecmp = vec![u64::MAX; harts];
        AclintState { msip: 0, mtimecmp, mtime_offset: 0, next_change: None }
    }

    /// The first tick at which `mtime` has made `steps` more steps than at `now`.
    fn tick_in(&self, steps: u128, now: Tick) -> Option<Tick> {
        let target = self.time.count(now, MTIME_PERIOD_NS).checked_add(steps)?;
        self.time.first_tick_at_count(target, MTIME_PERIOD_NS)
    }

    /// Finds the next change of level: a crossing, or the wrap of `mtime` that ends one.
    fn plan(&mut self, now: Tick) {
        let mtime = self.mtime(now);
        let steps = |&compare: &u64| match compare.checked_sub(mtime) {
            None | Some(0) => (1 << 64) - u128::from(mtime),
            Some(ahead) => ahead.into(),
        };
        let nearest = self.state.mtimecmp.iter().map(steps).min();
        self.state.next_change = nearest.and_then(|steps| self.tick_in(steps, now));
    }

    fn register(&self, offset: u64, now: Tick) -> u64 {
        match offset {
            MTIME => self.mtime(now),
            at if at >= MTIMECMP => {
                let hart = usize::try_from((at - MTIMECMP) / 8);
                hart.ok().and_then(|hart| self.state.mtimecmp.get(hart)).copied().unwrap_or(0)
            }
            at => {
                let msip = |hart: u64| u64::from(self.msip(usize::try_from(hart).unwrap_or(64)));
                msip(at / 4) | msip(at / 4 + 1) << 32
            }
        }
    }

    fn set_register(&mut self, offset: u64, value: u64, now: Tick) {
        if offset == MTIME {
            let count = low_u64(self.time.count(now, MTIME_PERIOD_NS));
            self.state.mtime_offset = value.wrapping_sub(count);
            self.plan(now);
        } else if let Ok(hart) = usize::try_from((offset - MTIMECMP) / 8) {
            self.set_mtimecmp(hart, value, now);
        }
    }
}

impl Device for Aclint {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, offset: u64, width: Width, cx: &mut DeviceCx<'_>) -> u64 {
        let whole = self.register(offset & !7, cx.now);
        let shifted = whole >> (8 * (offset & 7));
        match width {
            Width::Double => shifted,
            Width::Word => shifted & 0xffff_ffff,
            // The registers are of 32 and 64 bits only.
            Width::Byte | Width::Half => 0,
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, cx: &mut DeviceCx<'_>) {
        if matches!(width, Width::Byte | Width::Half) {
            return;
        }
        if offset < MTIMECMP {
            let hart = usize::try_from(offset / 4).unwrap_or(64);
            self.set_msip(hart, value & 1 != 0);
            if width == Width::Double {
                self.set_msip(hart + 1, value >> 32 & 1 != 0);
            }
            return;
        }
        let at = offset & !7;
        let value = if width == Width::Word {
            let shift = 8 * (offset & 4);
            self.register(at, cx.now) & !(0xffff_ffff << shift) | (value & 0xffff_ffff) << shift
        } else {
            value
        };
        self.set_register(at, value, cx.now);
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
        self.state.next_change
    }

    fn fire(&mut self, cx: &mut DeviceCx<'_>) {
        self.plan(cx.now);
    }

    fn pending(&self) -> Vec<IoRequest> {
        Vec::new()
    }

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        let state: AclintState = from.take(path)?;
        if state.mtimecmp.len() != self.harts || u32::from(state.msip) >> self.harts != 0 {
            return Err(StateError::Invalid("harts of an ACLINT"));
        }
        self.state = state;
        Ok(())
    }

    fn reset(&mut self) {
        self.state = Self::cold(self.harts);
    }
}

record! {
    /// State of the supervisor software interrupts.
    pub struct SswiState = "aclint-sswi" v 1 {
        /// Harts whose `SSIP` is to be set, one bit each, until the board takes them.
        edges: u8;
    }
}

/// SSWI: a write sets the supervisor software interrupt of a hart (RISC-V ACLINT, chapter 4).
#[derive(Debug)]
pub struct Sswi {
    name: String,
    harts: usize,
    state: SswiState,
}

impl Sswi {
    /// The bytes of its range.
    pub const SIZE: u64 = 0x4000;

    /// An SSWI for `harts` harts.
    ///
    /// # Panics
    /// Where `harts` is above `ACLINT_HARTS_MAX`: wiring is ours.
    pub fn new(name: impl Into<String>, harts: usize) -> Self {
        assert!(harts <= ACLINT_HARTS_MAX);
        Self { name: name.into(), harts, state: SswiState { edges: 0 } }
    }

    /// The harts whose `mip.SSIP` is to be set now, one bit each. The board takes them after
    /// each access.
    pub fn take_edges(&mut self) -> u8 {
        std::mem::take(&mut self.state.edges)
    }
}

impl Device for Sswi {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, _: u64, _: Width, _: &mut DeviceCx<'_>) -> u64 {
        0
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, _: &mut DeviceCx<'_>) {
        let hart = usize::try_from(offset / 4).unwrap_or(usize::MAX);
        if width == Width::Word && hart < self.harts && value & 1 != 0 {
            self.state.edges |= 1 << hart;
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
        let state: SswiState = from.take(path)?;
        if u32::from(state.edges) >> self.harts != 0 {
            return Err(StateError::Invalid("harts of an SSWI"));
        }
        self.state = state;
        Ok(())
    }

    fn reset(&mut self) {
        self.state = SswiState { edges: 0 };
    }
}

/// The counter that a guest sees is the true one modulo 2^64.
fn low_u64(wide: u128) -> u64 {
    u64::try_from(wide & u128::from(u64::MAX)).expect("masked to 64 bits")
}
