//! Devices as pure state machines: UART, timers, interrupt controllers, virtio.
//!
//! Architecture invariant: a device touches only its record and its `DeviceCx`; it knows no
//! thread, file, socket or host clock, and no other device.
//! Architecture invariant: what a guest or a snapshot holds never makes a device panic, hang or
//! take memory without bound.

mod aclint;
mod chacha20;
mod plic;
mod rtc;
mod syscon;
mod time;
mod uart16550;
pub mod virtio;

pub use aclint::{ACLINT_HARTS_MAX, Aclint, AclintState, MTIME_PERIOD_NS, Sswi, SswiState};
pub use plic::{PLIC_CONTEXTS_MAX, PLIC_IDS, Plic, PlicState};
pub use rtc::{GoldfishRtc, RtcState};
pub use syscon::{PowerRequest, Syscon, SysconState};
pub use time::TimeBase;
pub use uart16550::{UART_BACKLOG_MAX, UART_CLOCK_HZ, Uart16550, UartState};
