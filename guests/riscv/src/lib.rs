//! The RISC-V guest: RV64GC with the extensions of RVA22 and more, in M, S and U.
//!
//! Architecture invariant: all state of a hart is in its two records; translated code keeps
//! nothing. What code means is a function of its bytes and of `CodeMode`.
//! Architecture invariant: nothing here knows a device; the board is behind `Board`.

mod board;
mod csr;
mod env;
mod hart;
mod inspect;
pub mod isa;
mod lower;
mod mmu;
mod mode;
pub mod operand;
mod pmp;
mod run;
pub mod trap;

pub use board::Board;
pub use hart::{Control, File, Hart, PMP_COUNT, Registers, envcfg, status};
pub use inspect::{Surroundings, architecture};
pub use lower::{Lower, Riscv, helper, slot};
pub use mode::{CodeMode, Privilege};
pub use run::{Turn, TurnEnd, Why};
