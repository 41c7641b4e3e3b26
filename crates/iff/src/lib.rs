//! Interchange files of interactive fiction: chunks, Blorb, and the memory of saved games.
//!
//! Architecture invariant: bytes from outside never panic, and nothing larger than they and the
//! original they are laid over is made of them.

mod blorb;
mod chunks;
mod memory;

pub use blorb::{Usage, resource};
pub use chunks::{Chunk, chunks, form, put_chunk, take_form};
pub use memory::{compress, expand};
