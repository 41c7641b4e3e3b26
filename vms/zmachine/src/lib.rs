//! The Z-machine: interactive fiction by the Standard 1.1.
//!
//! Architecture invariant: whatever a story does is a tick, a word of a space or a field of a
//! record. A routine of the story never makes a native call, so any tick is a safe point.
//! Architecture invariant: a story is hostile. What it may not do is a `Fault`, which ends it.

mod fault;
mod input;
mod kind;
mod machine;
mod memory;
mod objects;
mod ops;
mod ops_io;
mod output;
mod quetzal;
mod sample;
mod screen;
mod stack;
mod state;
mod story;
mod text;
mod undo;
mod words;

pub use kind::ZMachine;
pub use sample::sample_story;
