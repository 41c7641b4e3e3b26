//! WebAssembly: programs in the form of modules, with WASI preview 1 for a system.
//!
//! Architecture invariant: whatever a program does is a byte of a space or a field of a record. A
//! function of a program never makes a native call, so any tick is a safe point.
//! Architecture invariant: a program is hostile. What it may not do is a `Trap`, which ends it.

mod atomics;
mod call;
mod code;
mod cold;
mod compile;
mod constant;
mod exceptions;
mod exec;
mod gc;
mod heap;
mod kind;
mod known;
mod lanes;
mod layout;
mod link;
mod lower;
mod machine;
mod module;
mod native;
mod numeric;
mod objects;
mod ops;
mod records;
mod reference;
mod root;
mod sample;
mod saved;
mod shape;
mod state;
mod store;
mod translate;
mod translate_vector;
mod trap;
mod types;
mod vector;
mod wasi;
mod wasi_errno;
mod wasi_fd;
mod wasi_path;
mod wasi_poll;
mod wasi_process;
mod wide;

pub use call::CallError;
pub use kind::Wasm;
pub use link::{Extern, Imports, LinkError};
pub use module::{Module, ModuleError};
pub use reference::Reference;
pub use sample::sample_spec;
pub use store::Store;
pub use trap::Trap;
pub use types::{Heap, Reference as ReferenceType, Signature, Value};
pub use wasmparser::AbstractHeapType;
