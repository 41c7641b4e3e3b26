//! The snapshot codec: versioned, canonical records, addressed by path and kind.
//!
//! Architecture invariant: equal state gives equal bytes, so a digest of the bytes is a digest
//! of the state. Architecture invariant: bytes from outside never panic and never over-allocate.

mod field;
mod record;

pub use field::{Field, Reader, StateError, Writer};
pub use record::{Bundle, Entry, Record};
