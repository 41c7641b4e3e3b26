//! Recordings of live machines: a log that grows while the machine runs, and a ladder of
//! snapshots beside it. See `docs/formats/recording.md`.
//!
//! Architecture invariant: recording cannot disturb. The runner's thread seals and hands over;
//! hashing, writing and waiting for the disk are done by threads of this crate, and a recording
//! that fails ends, while its machine goes on.
//! Architecture invariant: a log is only appended to. What was synced can be replayed, whatever
//! happens to the writer.
#![forbid(unsafe_code)]

mod budget;
mod moment;
mod open;
mod recorder;
mod vault;
mod writers;

pub use moment::{MomentError, from_anywhere, moment_of, moment_text};
pub use open::{LOG_BYTES_MAX, OpenError, open, read_log};
pub use recorder::{Begun, Pacing, RecordError, Recorder, Status};
pub use vault::{Kept, Vault, rung_moment, rung_name};
