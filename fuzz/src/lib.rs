//! What each fuzz target does with its bytes; the targets themselves are one line each.
//!
//! Architecture invariant: a target is a plain function of bytes that panics on a finding, so
//! that it can be called by a fuzzer, by a debugger and by a test alike.

mod asm;
mod board;
mod bytes;
mod debugger;
mod disk;
mod guest;
mod hot;
mod mmix;
mod module;
#[cfg(feature = "outside")]
mod outside;
#[cfg(feature = "peer")]
mod peer;
mod saved;
pub mod seeds;
#[cfg(feature = "store")]
mod store;
mod story;
#[cfg(feature = "outside")]
mod switch;

pub use board::{code, elf_image, mmio, tiers};
pub use debugger::debugger;
pub use disk::{disk_qcow2, disk_vdi, disk_vhd, disk_vhdx, disk_vmdk};
pub use mmix::mmix;
pub use module::module;
#[cfg(feature = "outside")]
pub use outside::{control_frames, image_text, net_frames, overlay};
#[cfg(feature = "peer")]
pub use peer::{Outcome, module_of, peer};
pub use saved::{bundle, event_log, snapshot, spec};
#[cfg(feature = "store")]
pub use store::store;
pub use story::{large_story, story};
#[cfg(feature = "outside")]
pub use switch::switch_packets;
