//! The outside of machines: the host's clock, disks, files, consoles, terminals and signals.
//!
//! Architecture invariant: nothing here names a kind. Machines never see this crate: whatever it
//! does reaches them as an event, at a tick, through one bounded queue.
//! Architecture invariant: no thread but the runner's touches a machine.

mod blob_file;
mod console;
mod disk;
mod disk_files;
mod doors;
mod files;
mod folders;
mod held;
mod lock;
mod overlay;
mod pace;
mod place;
mod pool;
mod queue;
mod raw;
mod runner;
mod sampler;
mod seat;
mod signals;
mod terminal;

pub use blob_file::blob_of;
pub use console::{Chunk, Console, Subscription};
pub use disk::{Disk, DiskError, DiskRoot};
pub use disk_files::{ChangedImage, DiskImage, DiskSource, NewImage, Processors};
pub use doors::Doors;
pub use files::FilesDir;
pub use folders::Folders;
pub use held::{Held, Lived};
pub use lock::FileLock;
pub use overlay::{Overlay, OverlayError};
pub use place::{
    Staged, TempDir, anonymous_bytes, free_bytes, host_memory, kernel_release, merged_bytes,
    monotonic_ns, new_session, private_bytes, private_dir, raise_file_limit, random_u64,
    read_bounded, replace_file, show_file, stage_file, sync, sync_all, uid,
};
pub use pool::{Pool, Shut};
pub use queue::{Call, Item, Queue, Stay};
pub use raw::RawFile;
pub use runner::{Backends, Begin, Ended, Runner, Stats, Tape};
pub use sampler::{Sample, Sampler, Tell};
pub use signals::{Signal, watch_for_renewal, watch_signals};
pub use terminal::{RawMode, is_terminal, terminal_size};
