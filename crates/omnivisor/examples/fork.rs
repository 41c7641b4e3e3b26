//! A program that prepares something once, and is forked for each question: `cargo run -p omnivisor
//! --example fork`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use omnivisor::{Error, Program, Status};

/// Adds up squares, which takes a while, and then what it is told.
const PROGRAM: &str = r#"
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\01\00\00\00")
  (func (export "_start") (local $sum i32) (local $next i32)
    (loop $more
      (local.set $sum (i32.add (local.get $sum) (i32.mul (local.get $next) (local.get $next))))
      (local.set $next (i32.add (local.get $next) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $next) (i32.const 1000000))))
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
    (call $exit
      (i32.and (i32.add (local.get $sum) (i32.load8_u (i32.const 16))) (i32.const 127)))))"#;

fn main() -> Result<(), Error> {
    let mut ready = Program::new(PROGRAM).instance().start()?;
    assert_eq!(ready.run(u64::MAX)?, Status::Waiting);
    println!("ready after {} ticks", ready.ticks());
    let snapshot = ready.snapshot()?;
    for question in 0..3u8 {
        let mut one = snapshot.restore()?;
        one.type_in(&[question]);
        println!("{question}: {:?}", one.run(u64::MAX)?);
    }
    Ok(())
}
