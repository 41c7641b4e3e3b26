//! The contracts between kinds of machine and the lifecycle: the narrow waist of the program.
//!
//! Architecture invariant: nothing here names a kind. Lifecycle code and kinds meet only here.

mod blob;
mod device;
mod event;
mod folder;
mod inspect;
mod kind;
mod machine;
mod spec;

pub use blob::{Blob, BlobSource};
pub use device::{Bus, Device, DeviceCx, Width};
pub use event::{Control, Effect, Event, IoId, IoOp, IoRequest, IoResult, Outside, PortId};
pub use folder::{FileStat, FileType, FolderItem, FolderOp};
pub use inspect::{
    Architecture, Feature, Hit, Holds, Inspect, Place, Register, StopPoint, ThreadId, WatchOn,
};
pub use kind::{
    Confidence, CreateError, Group, KindInfo, MachineKind, OptionSpec, OptionType, PortInfo,
    PortKind, Region,
};
pub use machine::{Caches, Caps, Kick, Machine, Schedule, Stop, digest};
pub use spec::{DiskSpec, Spec};
