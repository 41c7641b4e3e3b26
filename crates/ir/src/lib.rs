//! The shared IR: three-address operations on a file of slots, in blocks with one entry.
//!
//! Architecture invariant: nothing here names a guest or a host. A front-end writes blocks, a
//! tier runs them, and `eval` of an operation is its meaning for both.
//! Architecture invariant: at each `Inst::Start` the register slots are architecturally exact,
//! so any tier can stop there.

mod block;
mod build;
mod function;
mod known;
mod ops;
mod print;
mod verify;

pub use block::{
    AtomicOp, Block, Fence, FloatOp, Format, Helper, Inst, Memory, Size, Slot, Term, Trap, Val,
};
pub use build::Builder;
pub use function::{Callee, Edge, End, Function, Home, Piece, SHARED};
pub use known::Known;
pub use ops::{Binary, Cond, Unary, Width};
pub use verify::{Unsound, verify};
