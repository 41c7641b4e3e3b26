//! Debugs any machine by GDB's remote protocol, forward and backward.
//!
//! Architecture invariant: no code here names a kind of machine, and nothing here does I/O: bytes
//! of the debugger come and go by `Wire`, and the machine lives by `Present`.
//! Architecture invariant: a machine that is looked at, stopped, stepped or gone back with has the
//! same state and the same future as one that is not. What goes back is always a copy.
#![forbid(unsafe_code)]

mod describe;
mod error;
mod history;
mod monitor;
mod packets;
mod scan;
mod serve;
mod session;
mod target;

pub use error::DebugError;
pub use history::{Asked, History, Known, Traveller};
pub use serve::{End, Received, Wire, serve};
pub use session::{Go, Life, Present, Session, Stopped};
