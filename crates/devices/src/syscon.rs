//! The SiFive test finisher: the guest's way to end or restart its machine.

use omni_base::Tick;
use omni_machine::{Control, Device, DeviceCx, IoId, IoRequest, IoResult, PortId, Width};
use omni_state::{Bundle, Field, Reader, StateError, Writer, record};

/// What the guest asks of its board.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PowerRequest {
    /// The end, with an exit code.
    Off {
        /// Zero for success.
        code: u16,
    },
    /// A cold start.
    Reset,
}

impl Field for PowerRequest {
    fn put(&self, out: &mut Writer) {
        match self {
            Self::Off { code } => (0u8, *code).put(out),
            Self::Reset => 1u8.put(out),
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, StateError> {
        match u8::get(from)? {
            0 => Ok(Self::Off { code: Field::get(from)? }),
            1 => Ok(Self::Reset),
            _ => Err(StateError::Invalid("power request")),
        }
    }
}

record! {
    /// State of the finisher.
    pub struct SysconState = "sifive-test" v 1 {
        /// What was asked and not yet taken.
        request: Option<PowerRequest>;
    }
}

/// A register that powers off or resets.
#[derive(Debug)]
pub struct Syscon {
    name: String,
    state: SysconState,
}

impl Syscon {
    /// The bytes of its range.
    pub const SIZE: u64 = 0x1000;
    /// Written to power off with success.
    pub const PASS: u32 = 0x5555;
    /// Written to power off with the code in the upper half; one where that is zero.
    pub const FAIL: u32 = 0x3333;
    /// Written to reset.
    pub const RESET: u32 = 0x7777;

    /// A finisher.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), state: SysconState { request: None } }
    }

    /// What the guest asked for since the last call. The board takes it after each access.
    pub fn take_request(&mut self) -> Option<PowerRequest> {
        self.state.request.take()
    }
}

impl Device for Syscon {
    fn name(&self) -> &str {
        &self.name
    }

    fn read(&mut self, _: u64, _: Width, _: &mut DeviceCx<'_>) -> u64 {
        0
    }

    fn write(&mut self, offset: u64, width: Width, value: u64, _: &mut DeviceCx<'_>) {
        if offset != 0 || matches!(width, Width::Byte) {
            return;
        }
        let [a, b, c, d, ..] = value.to_le_bytes();
        let code = u16::from_le_bytes([c, d]);
        let request = match u32::from(u16::from_le_bytes([a, b])) {
            Self::PASS => PowerRequest::Off { code: 0 },
            Self::FAIL => PowerRequest::Off { code: code.max(1) },
            Self::RESET => PowerRequest::Reset,
            _ => return,
        };
        self.state.request = Some(request);
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
        self.state = from.take(path)?;
        Ok(())
    }

    fn reset(&mut self) {
        self.state = SysconState { request: None };
    }
}
