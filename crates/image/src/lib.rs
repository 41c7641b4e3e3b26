//! Bootable images, made from a distribution's own archive without root and without its tools.
//!
//! A [`DebianBuilder`] fetches a suite's signed index and packages from a [`Mirror`], checks every
//! byte against the archive's keys, and writes an [`Image`]: the stock kernel as it is in its
//! package, an initramfs, and either a small system in that or a whole one on a disk. The packages
//! of the latter are unpacked and configured in a machine, which the caller runs: see [`Setup`].
//!
//! Architecture invariant: nothing that a network sent is parsed as a package before its hash has
//! been traced to a trusted signature, and nothing here knows a machine.

mod cpio;
mod deb;
mod deb822;
mod debian;
mod digest;
mod dpkg;
mod error;
mod fetch;
#[doc(hidden)]
pub mod hostile;
mod initramfs;
mod keyring;
mod mirror;
mod modules;
mod packages;
mod programs;
mod progress;
mod reference;
mod relation;
mod release;
mod resolve;
mod seed;
mod store;
mod system;
mod userland;
mod version;

pub use debian::DebianBuilder;
pub use digest::Sha256;
pub use error::ImageError;
pub use fetch::Retry;
pub use keyring::Keyring;
pub use mirror::Mirror;
pub use programs::{ExtraFile, Programs};
pub use progress::{Progress, Silent};
pub use reference::{Arch, Reference, SUITE_DEFAULT};
pub use store::{FORMAT, FileInfo, Image, ImageInfo, PackageInfo};
pub use system::{SetUp, Setup};
pub use userland::{Choices, DISK_BYTES_DEFAULT};
