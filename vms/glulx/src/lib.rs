//! Glulx 3.1.3 with Glk as text: large interactive fiction.
//!
//! Architecture invariant: whatever a story does is a tick, a word of a space or a field of a
//! record. A function of the story never makes a native call, so any tick is a safe point.
//! Architecture invariant: a story is hostile. What it may not do is a `Fault`, which ends it.
//!
//! Instructions are lowered to the shared IR (`isa`, `lower`, `calls`), so the shared engine runs
//! them; what has no operation there is a helper of `World`. Where a choice is left, it is that
//! of `glulxe` with CheapGlk, whose transcripts are the measure: the console is a window of text,
//! and input is not echoed. A console that is a terminal in raw mode asks for `echo=true`: lines
//! end in CR LF, and what is typed is echoed and can be rubbed out.

mod accel;
mod calls;
mod code;
mod control;
mod dates;
mod double;
mod fault;
mod float;
mod glk;
mod heap;
#[cfg(test)]
mod hostile_tests;
mod input;
mod inspect;
mod isa;
mod kind;
mod lower;
mod machine;
mod sample;
mod saved;
mod search;
mod state;
mod story;
mod streams;
mod strings;
mod tree;
mod undo;
mod unicode;
mod world;

pub use kind::Glulx;
pub use sample::sample_story;
