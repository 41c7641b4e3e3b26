//! What can be done to any machine: snapshot, restore, fork, record, replay, visit a moment.
//!
//! Architecture invariant: no code here names a kind of machine, and no kind depends on this
//! crate. They meet at `omni-machine` only.
//! Architecture invariant: no I/O; files come and go as bytes.
//! Architecture invariant: a machine is run through `run_to` only, which asserts its contract.
#![forbid(unsafe_code)]

mod compare;
mod container;
mod difference;
mod error;
mod file;
mod ladder;
mod log;
mod log_file;
mod parting;
mod record;
mod snapshot;
mod timeline;
mod waist;

pub use compare::{Differences, RecordChange, RecordDifference, SpaceDifference};
pub use difference::{Difference, Divergence, Mark};
pub use error::LifecycleError;
pub use file::{FileError, WriteOptions};
pub use ladder::{MAX_RUNGS, surplus};
pub use log::{Check, Log, LogHead, Moment, Pulse, can_be_replayed};
pub use log_file::{LogError, LogWriter};
pub use parting::{Make, Parting, Way, parting};
pub use record::{Outcome, World, record, replay, replay_into};
pub use snapshot::{Snapshot, SpaceImage, fork, kind_of, restore, take};
pub use timeline::{Rung, Shelf, Timeline};
pub use waist::run_to;
