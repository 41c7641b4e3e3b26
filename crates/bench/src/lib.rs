//! Speed, side by side: natively, under QEMU, under RVVM and under each tier of Omnivisor.
//!
//! Kernels in C run on a bare board or in a booted guest, programs of Debian's packages in a guest,
//! and guests are booted. Everything that runs gives a result that is the same wherever it runs,
//! so a measurement is a test of correctness as well.
//!
//! Architecture invariant: a machine is made and run through the list of kinds and the contract of
//! machines, in a process of its own; nothing here knows a board.
#![forbid(unsafe_code)]

mod assets;
mod boot;
mod child;
mod compile;
mod contest;
mod error;
mod guest;
mod kernels;
mod machine;
mod payload;
mod peer;
mod real;
mod report;
mod suite;
mod table;

pub use assets::Assets;
pub use boot::{Boot, BootReport, Booted, Installed, measure_boot};
pub use contest::{Audience, Case, Group};
pub use error::BenchError;
pub use kernels::{Options, measure_bare, measure_cpu};
pub use machine::run_machine;
pub use peer::{
    FLAME_VARIABLE, MACHINE_VERB, Missing, Peer, Present, SYMBOLS_VARIABLE, Sampled, TIER_VARIABLE,
    Technique, Tier, WITHOUT_VARIABLE,
};
pub use real::measure_real;
pub use report::{Cell, Host, Mean, Report, Row, Worth};
pub use table::Table;
