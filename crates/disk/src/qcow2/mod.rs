//! QEMU's format, versions 2 and 3.

mod check;
mod header;
mod read;
mod resize;
mod write;

pub(crate) use read::open;
pub use resize::resize;
pub(crate) use write::sink;
