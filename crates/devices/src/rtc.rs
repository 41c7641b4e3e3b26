//! The Goldfish real-time clock.

use crate::TimeBase;
use omni_base::Tick;
use omni_machine::{Control, Device, DeviceCx, IoId, IoRequest, IoResult, PortId, Width};
use omni_state::{Bundle, StateError, record};

record! {
    /// State of the clock.
    pub struct RtcState = "goldfish-rtc" v 1 {
        /// What the guest set its clock ahead by, in nanoseconds modulo 2^64.
        offset_ns: u64;
        /// The upper half of the time, held since the lower half was read.
        time_high: u32;
        /// The time of the alarm, in nanoseconds since 1970.
        alarm_ns: u64;
        /// Whether the alarm is set.
        alarm_set: bool;
        /// Whether the alarm may interrupt.
        interrupt_enabled: bool;
        /// Whether the alarm rang and was not cleared.
        interrupt_pending: bool;
    }
}

/// A clock of nanoseconds since 1970 with an alarm.
#[derive(Debug)]
pub struct GoldfishRtc {
    name: String,
    epoch_ns: u64,
    time: TimeBase,
    state: RtcState,
}

impl GoldfishRtc {
    /// The bytes of its range.
    pub const SIZE: u64 = 0x1000;

    /// A clock that shows `epoch_s` seconds since 1970 at tick zero.
    pub fn new(name: impl Into<String>, epoch_s: u64, time: TimeBase) -> Self {
        let epoch_ns = epoch_s.wrapping_mul(1_000_000_000);
        Self { name: name.into(), epoch_ns, time, state: Self::cold() }
    }

    /// Nanoseconds since 1970 at `now`, modulo 2^64, as the guest sees them.
    #[must_use]
    pub fn time_ns(&self, now: Tick) -> u64 {
        self.start_ns().wrapping_add(
            u64::try_from(self.time.ns(now) & u128::from(u64::MAX)).expect("masked to 64 bits"),
        )
    }

    fn start_ns(&self) -> u64 {
        self.epoch_ns.wrapping_add(self.state.offset_ns)
    }

    fn set_time(&mut self, value: u64, now: Tick) {
        let ahead = value.wrapping_sub(self.time_ns(now));
        self.state.offset_ns = self.state.offset_ns.wrapping_add(ahead);
    }

    fn cold() -> RtcState {
        RtcState {
            offset_ns: 0,
            time_high: 0,
            alarm_ns: 0,
            alarm_set: false,
            interrupt_enabled: false,
            interrupt_pending: false,
        }
    }

    fn settle(&mut self, cx: &mut DeviceCx<'_>) {
        if self.state.alarm_set && self.time_ns(cx.now) >= self.state.alarm_ns {
            self.state.alarm_set = false;
            self.state.interrupt_pending = true;
        }
        cx.set_line(self.state.interrupt_enabled && self.state.interrupt_pending);
    }
}

impl Device for GoldfishRtc {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, offset: u64, width: Width, cx: &mut DeviceCx<'_>) -> u64 {
        if width != Width::Word {
            return 0;
        }
        match offset {
            0x00 => {
                let now = self.time_ns(cx.now);
                self.state.time_high = high(now);
                now & 0xffff_ffff
            }
            0x04 => self.state.time_high.into(),
            0x08 => self.state.alarm_ns & 0xffff_ffff,
            0x0c => self.state.alarm_ns >> 32,
            0x10 => self.state.interrupt_enabled.into(),
            0x18 => self.state.alarm_set.into(),
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, cx: &mut DeviceCx<'_>) {
        if width != Width::Word {
            return;
        }
        let value = value & 0xffff_ffff;
        let now = self.time_ns(cx.now);
        match offset {
            0x00 => self.set_time(now & !0xffff_ffff | value, cx.now),
            0x04 => self.set_time(now & 0xffff_ffff | value << 32, cx.now),
            0x08 => {
                self.state.alarm_ns = self.state.alarm_ns & !0xffff_ffff | value;
                // The lower half is written last and sets the alarm.
                self.state.alarm_set = true;
            }
            0x0c => self.state.alarm_ns = self.state.alarm_ns & 0xffff_ffff | value << 32,
            0x10 => self.state.interrupt_enabled = value & 1 != 0,
            0x14 => self.state.alarm_set = false,
            0x1c => self.state.interrupt_pending = false,
            _ => {}
        }
        self.settle(cx);
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
        if !self.state.alarm_set {
            return None;
        }
        // An alarm that is set lies ahead, so the distance from tick zero does not wrap unless
        // the clock itself does, and then the alarm is let go at once.
        let ahead = self.state.alarm_ns.wrapping_sub(self.start_ns());
        self.time.first_tick_at_ns(ahead.into())
    }

    fn fire(&mut self, cx: &mut DeviceCx<'_>) {
        if self.state.alarm_set {
            self.state.alarm_set = false;
            self.state.interrupt_pending = true;
        }
        self.settle(cx);
    }

    fn pending(&self) -> Vec<IoRequest> {
        Vec::new()
    }

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        self.state = from.take(path)?;
        Ok(())
    }

    fn reset(&mut self) {
        self.state = Self::cold();
    }
}

fn high(value: u64) -> u32 {
    u32::try_from(value >> 32).expect("shifted to 32 bits")
}
