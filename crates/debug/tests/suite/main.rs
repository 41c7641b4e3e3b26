//! The debugger at machines of every kind: by its library, by bytes, and by GDB itself.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

mod alive;
mod back;
mod gdb;
mod protocol;
mod wires;
