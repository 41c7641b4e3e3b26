//! The 16550A UART.

use crate::TimeBase;
use omni_base::Tick;
use omni_machine::{Control, Device, DeviceCx, IoId, IoRequest, IoResult, PortId, Width};
use omni_state::{Bundle, StateError, record};
use std::collections::VecDeque;

/// Bytes that wait on the wire for the guest to read; more are dropped, as on a wire.
pub const UART_BACKLOG_MAX: usize = 64 << 10;

/// The input clock of the divisor, in hertz; boards state it in their device tree.
pub const UART_CLOCK_HZ: u32 = 3_686_400;

const FIFO_SIZE: usize = 16;

/// Line status reads with nothing sent between them that mean "a guest polls for input".
const POLLS_MIN: u8 = 8;

mod ier {
    pub(super) const RECEIVED: u8 = 1;
    pub(super) const TRANSMIT_EMPTY: u8 = 2;
    pub(super) const LINE_STATUS: u8 = 4;
    pub(super) const MODEM_STATUS: u8 = 8;
}

mod iir {
    pub(super) const NONE: u8 = 0x01;
    pub(super) const MODEM_STATUS: u8 = 0x00;
    pub(super) const TRANSMIT_EMPTY: u8 = 0x02;
    pub(super) const RECEIVED: u8 = 0x04;
    pub(super) const LINE_STATUS: u8 = 0x06;
    pub(super) const TIMEOUT: u8 = 0x0c;
    pub(super) const FIFOS_ENABLED: u8 = 0xc0;
}

mod lsr {
    pub(super) const DATA_READY: u8 = 0x01;
    pub(super) const OVERRUN: u8 = 0x02;
    pub(super) const TRANSMITTER_EMPTY: u8 = 0x60;
}

mod mcr {
    pub(super) const RTS: u8 = 0x02;
    pub(super) const LOOPBACK: u8 = 0x10;
}

const DLAB: u8 = 0x80;

record! {
    /// State of the UART, in the manual's names.
    pub struct UartState = "uart16550" v 1 {
        /// Interrupt enable register.
        ier: u8;
        /// FIFO control register: the enable bit and the trigger level.
        fcr: u8;
        /// Line control register.
        lcr: u8;
        /// Modem control register.
        mcr: u8;
        /// Error bits of the line status register, cleared by reading it.
        lsr_errors: u8;
        /// Delta bits of the modem status register, cleared by reading it.
        msr_delta: u8;
        /// Scratch register.
        scr: u8;
        /// Divisor latch, low byte.
        dll: u8;
        /// Divisor latch, high byte.
        dlm: u8;
        /// The transmitter became empty and no one was told yet.
        thr_interrupt: bool;
        /// Bytes lie in the receiver FIFO below the trigger level for too long.
        rx_timeout: bool;
        /// When `rx_timeout` will be set.
        rx_timeout_at: Option<Tick>;
        /// The receiver FIFO.
        rx: VecDeque<u8>;
        /// Whether a byte in the receiver came by loopback.
        rx_looped: bool;
        /// Bytes on the wire, which wait for the guest.
        backlog: VecDeque<u8>;
        /// Reads of the line status register since something else was written.
        polls: u8;
    }
}

impl UartState {
    fn cold() -> Self {
        Self {
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            lsr_errors: 0,
            msr_delta: 0,
            scr: 0,
            dll: 2,
            dlm: 0,
            thr_interrupt: false,
            rx_timeout: false,
            rx_timeout_at: None,
            rx: VecDeque::new(),
            rx_looped: false,
            backlog: VecDeque::new(),
            polls: 0,
        }
    }
}

/// A 16550A on a byte-wide bus: register `n` at offset `n`.
///
/// The far end of the wire respects the guest: it sends when RTS is set, or the receiver
/// interrupt is enabled, or the guest polls; what a FIFO reset throws away it sends again. So
/// input that is typed before the guest is ready is not lost.
#[derive(Debug)]
pub struct Uart16550 {
    name: String,
    port: PortId,
    time: TimeBase,
    state: UartState,
}

impl Uart16550 {
    /// A UART whose wire ends at `port`.
    pub fn new(name: impl Into<String>, port: PortId, time: TimeBase) -> Self {
        Self { name: name.into(), port, time, state: UartState::cold() }
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &UartState {
        &self.state
    }

    fn fifo_enabled(&self) -> bool {
        self.state.fcr & 1 != 0
    }

    fn loopback(&self) -> bool {
        self.state.mcr & mcr::LOOPBACK != 0
    }

    fn rx_capacity(&self) -> usize {
        if self.fifo_enabled() { FIFO_SIZE } else { 1 }
    }

    fn rx_trigger(&self) -> usize {
        if self.fifo_enabled() { [1, 4, 8, 14][usize::from(self.state.fcr >> 6)] } else { 1 }
    }

    /// How many bytes the far end may have in the receiver at a time.
    fn rx_allowed(&self) -> usize {
        if self.loopback() {
            0
        } else if self.state.mcr & mcr::RTS != 0 || self.state.ier & ier::RECEIVED != 0 {
            self.rx_capacity()
        } else {
            // A polling guest gets one byte at a time, so that little is lost if it stops.
            usize::from(self.state.polls >= POLLS_MIN)
        }
    }

    /// Moves bytes from the wire into the receiver while there is room.
    fn receive(&mut self, now: Tick) {
        while self.state.rx.len() < self.rx_allowed() {
            let Some(byte) = self.state.backlog.pop_front() else { break };
            self.state.rx.push_back(byte);
            self.restart_rx_timeout(now);
        }
    }

    /// The receiver interrupt comes late, rather than never, for fewer bytes than the trigger.
    fn restart_rx_timeout(&mut self, now: Tick) {
        self.state.rx_timeout = false;
        let waits = self.fifo_enabled() && !self.state.rx.is_empty();
        // Four characters of ten bits, each bit sixteen clocks of the divided clock.
        let divisor = u64::from(u16::from_le_bytes([self.state.dll, self.state.dlm]).max(1));
        let ns = divisor * 640 * 1_000_000_000 / u64::from(UART_CLOCK_HZ);
        self.state.rx_timeout_at = waits.then(|| self.time.after_ns(now, ns));
    }

    fn clear_rx(&mut self) {
        let mut bytes = std::mem::take(&mut self.state.rx);
        if !std::mem::take(&mut self.state.rx_looped) {
            bytes.append(&mut self.state.backlog);
            bytes.truncate(UART_BACKLOG_MAX);
            self.state.backlog = bytes;
        }
        self.state.rx_timeout = false;
        self.state.rx_timeout_at = None;
    }

    fn lsr(&self) -> u8 {
        let ready = if self.state.rx.is_empty() { 0 } else { lsr::DATA_READY };
        ready | self.state.lsr_errors | lsr::TRANSMITTER_EMPTY
    }

    /// The upper half of the modem status: CTS, DSR, RI, DCD in bits 4 to 7.
    fn modem_inputs(&self) -> u8 {
        let mcr = self.state.mcr;
        if self.loopback() {
            (mcr & 1) << 5 | (mcr & 2) << 3 | (mcr & 4) << 4 | (mcr & 8) << 4
        } else {
            0xb0
        }
    }

    fn set_mcr(&mut self, value: u8) {
        let before = self.modem_inputs();
        self.state.mcr = value & 0x1f;
        let changed = before ^ self.modem_inputs();
        // The ring indicator reports only its trailing edge.
        let ring_ended = changed & before & 0x40;
        self.state.msr_delta |= (changed & 0xb0 | ring_ended) >> 4;
    }

    /// The identification of the most urgent interrupt.
    fn iir(&self) -> u8 {
        let state = &self.state;
        let enabled = |bit: u8| state.ier & bit != 0;
        if enabled(ier::LINE_STATUS) && state.lsr_errors != 0 {
            iir::LINE_STATUS
        } else if enabled(ier::RECEIVED) && state.rx.len() >= self.rx_trigger() {
            iir::RECEIVED
        } else if enabled(ier::RECEIVED) && state.rx_timeout {
            iir::TIMEOUT
        } else if enabled(ier::TRANSMIT_EMPTY) && state.thr_interrupt {
            iir::TRANSMIT_EMPTY
        } else if enabled(ier::MODEM_STATUS) && state.msr_delta != 0 {
            iir::MODEM_STATUS
        } else {
            iir::NONE
        }
    }

    fn settle(&mut self, cx: &mut DeviceCx<'_>) {
        self.receive(cx.now);
        cx.set_line(self.iir() != iir::NONE);
    }

    fn read_rbr(&mut self, now: Tick) -> u8 {
        let byte = self.state.rx.pop_front().unwrap_or(0);
        self.state.rx_looped &= !self.state.rx.is_empty();
        self.receive(now);
        self.restart_rx_timeout(now);
        byte
    }

    fn read_iir(&mut self) -> u8 {
        let id = self.iir();
        if id == iir::TRANSMIT_EMPTY {
            self.state.thr_interrupt = false;
        }
        id | if self.fifo_enabled() { iir::FIFOS_ENABLED } else { 0 }
    }

    fn read_lsr(&mut self, now: Tick) -> u8 {
        self.state.polls = self.state.polls.saturating_add(1);
        self.receive(now);
        let value = self.lsr();
        self.state.lsr_errors = 0;
        value
    }

    fn write_thr(&mut self, byte: u8, cx: &mut DeviceCx<'_>) {
        if self.loopback() {
            if self.state.rx.len() < self.rx_capacity() {
                self.state.rx.push_back(byte);
                self.state.rx_looped = true;
            } else {
                self.state.lsr_errors |= lsr::OVERRUN;
            }
            self.restart_rx_timeout(cx.now);
        } else {
            cx.output(self.port, vec![byte]);
        }
        // The wire is infinitely fast: the holding register is empty again at once.
        self.state.thr_interrupt = true;
    }

    fn write_ier(&mut self, value: u8) {
        let enabled = value & !self.state.ier;
        self.state.ier = value & 0x0f;
        if enabled & ier::TRANSMIT_EMPTY != 0 {
            self.state.thr_interrupt = true;
        }
    }

    fn write_fcr(&mut self, value: u8) {
        if (value ^ self.state.fcr) & 1 != 0 || value & 2 != 0 {
            self.clear_rx();
        }
        // The other bits can be written only together with the enable bit.
        self.state.fcr = if value & 1 != 0 { value & 0xc1 } else { 0 };
    }
}

impl Device for Uart16550 {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, offset: u64, _: Width, cx: &mut DeviceCx<'_>) -> u64 {
        let dlab = self.state.lcr & DLAB != 0;
        let value = match offset {
            0 if dlab => self.state.dll,
            0 => self.read_rbr(cx.now),
            1 if dlab => self.state.dlm,
            1 => self.state.ier,
            2 => self.read_iir(),
            3 => self.state.lcr,
            4 => self.state.mcr,
            5 => self.read_lsr(cx.now),
            6 => self.modem_inputs() | std::mem::take(&mut self.state.msr_delta),
            7 => self.state.scr,
            _ => 0,
        };
        self.settle(cx);
        value.into()
    }

    fn write(&mut self, offset: u64, _: Width, value: u64, cx: &mut DeviceCx<'_>) {
        let dlab = self.state.lcr & DLAB != 0;
        let [value, ..] = value.to_le_bytes();
        self.state.polls = 0;
        match offset {
            0 if dlab => self.state.dll = value,
            0 => self.write_thr(value, cx),
            1 if dlab => self.state.dlm = value,
            1 => self.write_ier(value),
            2 => self.write_fcr(value),
            3 => self.state.lcr = value,
            4 => self.set_mcr(value),
            7 => self.state.scr = value,
            _ => {}
        }
        self.settle(cx);
    }

    fn input(&mut self, port: PortId, bytes: &[u8], cx: &mut DeviceCx<'_>) -> bool {
        if port != self.port {
            return false;
        }
        let room = UART_BACKLOG_MAX.saturating_sub(self.state.backlog.len());
        self.state.backlog.extend(&bytes[..bytes.len().min(room)]);
        self.settle(cx);
        true
    }

    fn io_done(&mut self, _: IoId, _: &IoResult, _: &mut DeviceCx<'_>) -> bool {
        false
    }

    fn generation(&mut self, _: &[u8; 32], _: &mut DeviceCx<'_>) {}

    fn control(&mut self, _: Control, _: &mut DeviceCx<'_>) {}

    fn deadline(&self) -> Option<Tick> {
        self.state.rx_timeout_at
    }

    fn fire(&mut self, cx: &mut DeviceCx<'_>) {
        self.state.rx_timeout_at = None;
        self.state.rx_timeout = !self.state.rx.is_empty();
        self.settle(cx);
    }

    fn pending(&self) -> Vec<IoRequest> {
        Vec::new()
    }

    fn save(&self, path: &str, into: &mut Bundle) {
        into.put(path, &self.state);
    }

    fn load(&mut self, path: &str, from: &mut Bundle) -> Result<(), StateError> {
        let state: UartState = from.take(path)?;
        if state.rx.len() > FIFO_SIZE || state.backlog.len() > UART_BACKLOG_MAX {
            return Err(StateError::Invalid("bytes in a UART"));
        }
        if state.ier > 0x0f || state.mcr > 0x1f || state.msr_delta > 0x0f {
            return Err(StateError::Invalid("register of a UART"));
        }
        if state.fcr & !0xc1 != 0 || state.lsr_errors & !0x1e != 0 {
            return Err(StateError::Invalid("register of a UART"));
        }
        self.state = state;
        Ok(())
    }

    fn reset(&mut self) {
        self.state = UartState::cold();
    }
}
