//! Instruction tables: a row gives pattern, operands, text and meaning, and all else is derived.
//!
//! Architecture invariant: nothing here names a guest. A guest declares its operand types with
//! [`operands!`], where their bits are with [`formats!`], its rows with [`instructions!`], and
//! joins tables with [`instruction_set!`]; two rows that meet do not compile.

mod bits;
mod pattern;
mod row;
mod tables;
mod tree;

pub use bits::{Bits, at, fixed, pieces, signed};
pub use pattern::Pattern;
pub use row::{Format, Operand, Operands, Row, Rows, render};
pub use tree::Tree;
