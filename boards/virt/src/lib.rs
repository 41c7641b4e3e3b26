//! The `virt` board: RISC-V harts, devices, wiring, device tree and built-in firmware.
//!
//! Architecture invariant: the bus and the device tree are made from one description, `layout`.
//! Architecture invariant: all state is in the records of harts, devices and the board, and in
//! the spaces of RAM and disks; engine, levels and outbox are derived or empty between runs.

mod boot;
mod fdt;
mod inspect;
mod kind;
mod layout;
mod machine;
mod parallel;
mod sample;
mod sbi;
mod watched;
mod wires;

pub use kind::RiscvVirt;
pub use sample::sample_spec;
