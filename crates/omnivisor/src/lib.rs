//! WebAssembly programs as a library: run with exact limits, saved at any moment, forked, replayed.
//!
//! ```
//! use omnivisor::{Program, Status};
//!
//! let program = Program::new(
//!     r#"(module
//!         (func (export "sum") (param i32) (result i32) (local i32)
//!           (loop $next
//!             (local.set 1 (i32.add (local.get 1) (local.get 0)))
//!             (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
//!             (br_if $next (local.get 0)))
//!           (local.get 1)))"#,
//! );
//! let mut one = program.instance().call("sum", &["1000"]).start()?;
//! // In the midst of its loop it becomes two, which do not know of each other.
//! assert_eq!(one.run(2_000)?, Status::Running);
//! let mut two = one.snapshot()?.restore()?;
//! assert_eq!(one.run(u64::MAX)?, Status::Ended(0));
//! assert_eq!(two.run(u64::MAX)?, Status::Ended(0));
//! assert_eq!((one.output(), two.output()), (b"500500\n".to_vec(), b"500500\n".to_vec()));
//! # Ok::<(), omnivisor::Error>(())
//! ```
//!
//! All that enters an instance is an event, and is kept: what was typed, and what was read of
//! folders of the host. So a [`Recording`] lives again without any of it.
//!
//! Architecture invariant: nothing here knows how programs run. What is done to them is done by
//! `omni-lifecycle`, as to machines of any kind.

mod instance;
mod program;
mod recording;
mod snapshot;

pub use instance::{Instance, Status};
pub use program::{Options, Program};
pub use recording::Recording;
pub use snapshot::Snapshot;

use omni_machine::MachineKind;
use std::path::PathBuf;

/// The kinds of machine that programs run on.
const KINDS: &[&dyn MachineKind] = &[&omni_vm_wasm::Wasm];

/// Why something could not be done. The messages are for people, and say what was wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program, or what it was given, is not sound.
    #[error(transparent)]
    Create(#[from] omni_machine::CreateError),
    /// It could not be saved, restored or replayed.
    #[error(transparent)]
    Lifecycle(#[from] omni_lifecycle::LifecycleError),
    /// The bytes are no snapshot.
    #[error(transparent)]
    File(#[from] omni_lifecycle::FileError),
    /// A folder of the host cannot be opened.
    #[error("the folder {}: {error}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the host says.
        error: std::io::Error,
    },
    /// A text has a zero character, by which items of lists are told apart.
    #[error("{0:?} has a zero character")]
    Zero(String),
}
