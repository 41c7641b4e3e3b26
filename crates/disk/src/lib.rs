//! Formats of disk images: raw, qcow2, VMDK, VDI, VHD and VHDX; read, made, checked, resized.
//!
//! Architecture invariant: no I/O. Images are bytes behind [`ReadAt`] and [`WriteAt`]; which other
//! files an image gets is decided by whoever implements [`Files`].
//! Architecture invariant: images are hostile. Tables are read lazily through caches of fixed size,
//! every offset is checked against the file, and what is wrong is an error that names the field.

mod chain;
mod claims;
mod compress;
mod error;
pub mod hostile;
mod layer;
mod probe;
mod qcow2;
mod raw;
mod sink;
mod storage;
mod tables;
mod vdi;
mod vhd;
mod vhdx;
mod vmdk;

pub use chain::{Chain, LAYERS_MAX};
pub use compress::Compression;
pub use error::{FormatError, ImageError, Result};
pub use layer::{Backing, Check, Content, Extent, Format, Info, Snapshot};
pub use probe::{HEAD_BYTES, probe_head};
pub use qcow2::resize as resize_qcow2;
pub use sink::{DISK_BYTES_MAX, Target, convert, create};
pub use storage::{Alone, Files, MemoryFile, Opened, ReadAt, Workers, WriteAt};
