//! Devices at the level of their registers, driven by hand as a guest would.

mod balloon;
mod block;
mod driver;
mod guest;
mod hostile;
mod interrupts;
mod panel;
mod ports;
mod timers;
mod transport;
mod uart;
