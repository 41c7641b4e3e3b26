//! The state directory, the registry of machines, and the protocol of their monitors.
//!
//! Architecture invariant: nothing here names a kind, and nothing here runs a machine: a machine
//! is known by its files and spoken to through the socket of its monitor.
//! Architecture invariant: no daemon. Whether a machine lives is what the kernel says of the lock
//! that its monitor holds, so that a monitor that was killed leaves nothing that blocks.

mod client;
mod dirs;
mod error;
mod files;
mod frame;
mod group;
mod names;
mod nursery;
mod registry;

pub use client::{Client, Message};
pub use dirs::Dirs;
pub use error::ControlError;
pub use files::{
    API, BranchFile, CutFile, DiskFile, FrameFile, MachineFile, OriginFile, Phase, StateFile,
    now_text,
};
pub use frame::{CutStep, Frame, FrameError, Reply, Request, read_frame, write_frame};
pub use group::{GroupFile, GroupMember};
pub use nursery::{Cradle, Nursery};
pub use registry::{Entry, Registry};
