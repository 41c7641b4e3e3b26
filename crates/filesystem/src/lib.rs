//! What guests have in the file systems of their disks, read from images of the disks.
//!
//! A file system is as it lies on the disk at that moment, its journal counted in: what the guest
//! holds in memory and has not written yet is not there.
//!
//! Architecture invariant: images are the guest's, so nothing of them is believed; every list has
//! a bound.
#![forbid(unsafe_code)]

mod differences;
mod volume;

pub use differences::{Change, FileChange, FileError, differences};
pub use volume::{Volume, volumes};
