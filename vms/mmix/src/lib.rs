//! MMIX: Knuth's machine of `The Art of Computer Programming`, with its assembler.
//!
//! Architecture invariant: whatever a program does is a tick, a word of the space or a field of a
//! record. A call that waits has no effect until what it waits for is there, so any tick is a safe
//! point. Architecture invariant: a program is hostile. What it may not do is a `Fault`, which
//! ends it.
//!
//! Instructions are lowered to the shared IR (`lower`), so the shared engine runs them; what is
//! rare is left to an interpreter of all of them (`exec`). Where the manual leaves a choice, it is
//! that of `mmix-sim`. Memory is sparse: pages of the space are used as a program touches them.

#[cfg(test)]
mod agree;
mod alu;
mod asm;
mod boot;
mod exec;
mod fault;
mod float;
mod inspect;
mod kind;
mod lower;
mod machine;
mod object;
mod opcode;
mod sample;
mod stack;
mod state;
mod system;
mod world;

pub use kind::Mmix;
pub use sample::{SAMPLE, sample_spec};
