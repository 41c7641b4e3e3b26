//! The store: pages, records and snapshots of all machines of a user, by digest, on disk.
//! See `docs/formats/store.md`.
//!
//! Architecture invariant: this crate knows objects and trees of snapshots, not machines: what a
//! manifest's parts mean is said by whoever writes them.
//! Architecture invariant: a file is never changed but by appending to a tree. Packs and indices
//! are complete, synced and then named, so a crash leaves each of them whole or not there.
//! Architecture invariant: whatever is visible is closed: where a node or manifest is, all that it
//! names is there too. `has_node` rests on it, and `gc` keeps it.
#![forbid(unsafe_code)]

mod error;
mod files;
mod gc;
mod index;
mod manifest;
mod object;
mod pack;
mod portable;
mod source;
mod store;
mod tree;
mod verify;
mod write;

pub use error::StoreError;
pub use files::{Files, Fuse};
pub use gc::{Collected, GcOptions};
pub use manifest::{Manifest, ManifestError, SpaceRef};
pub use object::Sort;
pub use portable::{BaseOf, Portable};
pub use source::StoreSource;
pub use store::{Lease, Store};
pub use tree::{Entry, Tree};
pub use verify::Verified;
pub use write::{Commit, Written};
