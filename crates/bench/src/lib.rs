//! Speed, side by side: kernels natively, under QEMU and under Omnivisor; boots to a shell.
//!
//! Every kernel computes a checksum that is the same wherever it runs, so a measurement is a test
//! of correctness as well.
//!
//! Architecture invariant: a machine is made and run through the list of kinds and the contract of
//! machines; nothing here knows a board.
#![forbid(unsafe_code)]

mod boot;
mod child;
mod compile;
mod error;
mod inside;
mod measure;
mod peer;
mod report;
mod suite;

pub use boot::{BOOT_HEADS, BootOptions, BootReport, Booted, measure_boot};
pub use error::BenchError;
pub use measure::{Options, measure};
pub use peer::Peer;
pub use report::{Cell, HEADS, Host, Missing, Present, Report, Row};
pub use suite::{KERNELS, Kernel, kernels_named};
