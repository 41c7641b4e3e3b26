//! The Z-machine: interactive fiction by the Standard 1.1.
//!
//! Architecture invariant: whatever a story does is a tick, a word of a space or a field of a
//! record. A routine of the story never makes a native call, so any tick is a safe point.
//! Architecture invariant: a story is hostile. What it may not do is a `Fault`, which ends it.
//!
//! Where a choice is left, it is that of `dfrotz`, whose transcripts are the measure: the
//! console is a screen of cells of which the changed rows are printed before each input, input
//! is not echoed, and status lines are printed as empty rows. A console that is a terminal in
//! raw mode asks for `echo=true`: text then comes as it is printed, lines end in CR LF, and
//! what is typed is echoed and can be rubbed out. Files have names that the player types.

mod fault;
mod input;
mod inspect;
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
