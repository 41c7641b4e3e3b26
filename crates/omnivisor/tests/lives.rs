//! What is done to programs through the library.

use omnivisor::{Error, Program, Snapshot, Status};
use std::path::Path;

/// Waits for a byte, draws eight by chance, and writes them.
const DRAWS: &str = r#"
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $draw (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\08\00\00\00")
  (func (export "_start")
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
    (drop (call $draw (i32.const 16) (i32.const 8)))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;

#[test]
fn a_restored_program_draws_the_same_numbers_and_a_fork_others() {
    let mut parent = Program::new(DRAWS).instance().seed(1).start().expect("sound");
    assert_eq!(parent.run(1_000).expect("readable"), Status::Waiting);
    let mut same = parent.snapshot().expect("whole").restore().expect("sound");
    let mut forks = [1, 2].map(|n| parent.fork([n; 32], &[]).expect("sound"));
    let mut drawn = Vec::new();
    for one in [&mut parent, &mut same].into_iter().chain(&mut forks) {
        one.type_in(b"x");
        assert_eq!(one.run(1_000).expect("readable"), Status::Ended(0));
        let (_, replayed) = one.recording().replay(None).expect("it goes the same way");
        drawn.push(one.output());
        assert_eq!(drawn.last(), Some(&replayed));
    }
    assert_eq!(drawn[0], drawn[1]);
    drawn.dedup();
    assert_eq!(drawn.len(), 3);
}

#[test]
fn a_program_is_stopped_at_exactly_its_tick_and_lives_on_from_there_the_same() {
    let text = "(module (func (export \"_start\") (loop (br 0))))";
    let program = Program::new(text).instance().fuel(1_000_003);
    let mut whole = program.clone().start().expect("sound");
    let mut parts = program.start().expect("sound");
    assert_eq!(whole.run(u64::MAX).expect("readable"), Status::Ended(134));
    for ticks in [1, 99_999, 400_000] {
        let before = parts.ticks();
        assert_eq!(parts.run(ticks).expect("readable"), Status::Running);
        assert_eq!(parts.ticks(), before + ticks);
        let bytes = parts.snapshot().and_then(|now| now.to_bytes()).expect("whole");
        parts = Snapshot::from_bytes(&bytes).and_then(|now| now.restore()).expect("sound");
    }
    assert_eq!(parts.run(u64::MAX).expect("readable"), Status::Ended(134));
    assert_eq!((parts.ticks(), parts.errors()), (whole.ticks(), whole.errors()));
}

#[test]
fn what_is_not_sound_is_told() {
    let start = |text: &str| Program::new(text).instance().start().expect_err("not sound");
    assert!(start("(module)").to_string().contains("_start"));
    assert!(start("\0asm\u{1}\0\0\0\u{7f}").to_string().contains("image"));
    let options = Program::new("(module (func (export \"_start\")))").instance();
    let none = options.clone().folder(Path::new("/nonexistent"), "/").start();
    assert!(matches!(none, Err(Error::Folder { .. })));
    assert!(matches!(options.variable("A", "b\0c").start(), Err(Error::Zero(_))));
    assert!(matches!(Snapshot::from_bytes(b"no"), Err(Error::File(_))));
}
