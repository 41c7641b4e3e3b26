//! What is done to programs: saved and restored at any tick, refused, ended.

use omni_base::Tick;
use omni_lifecycle::{restore, take};
use omni_machine::{
    CreateError, Effect, Event, Kick, Machine, MachineKind, PortId, Spec, Stop, digest,
};
use omni_vm_wasm::Wasm;

const KINDS: &[&dyn MachineKind] = &[&Wasm];

fn spec(text: &str) -> Spec {
    let mut spec = Spec::new("wasm");
    spec.files.insert("image".into(), text.as_bytes().into());
    spec
}

fn program(text: &str) -> Box<dyn Machine> {
    Wasm.create(&spec(text)).expect("the program is sound")
}

fn refusal(text: &str) -> String {
    match Wasm.create(&spec(text)) {
        Ok(_) => "it was taken".into(),
        Err(CreateError::File { why, .. }) => why,
        Err(other) => format!("{other:?}"),
    }
}

/// What was written to the errors of a program that is run to its end, and its exit code.
fn run(machine: &mut dyn Machine) -> (String, u64) {
    let mut all: Vec<(Tick, Effect)> = Vec::new();
    let stop = machine.run(Tick(1 << 40), &Kick::default(), &mut all);
    let Stop::Halted { code } = stop else { panic!("it stopped by {stop:?}") };
    let errors = all.iter().filter_map(|(_, effect)| match effect {
        Effect::Output { port: PortId(1), bytes } => Some(String::from_utf8_lossy(bytes)),
        Effect::Output { .. } | Effect::Io(_) => None,
    });
    (errors.collect(), code)
}

fn again(machine: &mut dyn Machine) -> Box<dyn Machine> {
    let snapshot = take(KINDS, machine).expect("nothing vetoes a snapshot");
    restore(KINDS, &snapshot).expect("what was taken can be restored")
}

#[test]
fn a_main_function_that_is_imported_is_refused_with_what_to_do() {
    let why = refusal(
        r#"(module
            (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
            (export "_start" (func $yield)))"#,
    );
    assert!(why.contains("--option invoke=NAME"), "{why}");
}

/// Leaves stale values high in its frame, and calls a function whose frame ends below them.
const HIGH: &str = r#"
(module
  (func $small (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func $sum (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 8)))
  (func (export "_start") (local i32)
    (local.set 0 (i32.const 41))
    (drop (call $sum (local.get 0) (local.get 0) (local.get 0) (local.get 0) (local.get 0)
      (local.get 0) (local.get 0) (local.get 0) (local.get 0)))
    (drop (call $small (local.get 0)))
    (drop (call $small (local.get 0)))))"#;

/// Vectors in a local, a global, on the stack, in memory, and through a branch and a call.
const VECTORS: &str = r#"
(module
  (memory 1)
  (global $kept (mut v128) (v128.const i32x4 1 2 3 4))
  (func $twice (param v128) (result v128) (i32x4.add (local.get 0) (local.get 0)))
  (func (export "_start") (local $v v128) (local $n i32)
    (local.set $v (i8x16.splat (i32.const 7)))
    (loop $again
      (local.set $v (call $twice (v128.xor (local.get $v) (global.get $kept))))
      (v128.store offset=8 (i32.const 0) (local.get $v))
      (local.set $v (block (result v128)
        (v128.load64_lane offset=4 1 (i32.const 0) (local.get $v))
        (br_if 0 (i32.and (local.get $n) (i32.const 1)))
        (i8x16.shuffle 3 2 1 0 31 30 29 28 8 9 10 11 12 13 14 15 (global.get $kept))))
      (global.set $kept (i32x4.replace_lane 2 (global.get $kept)
        (i32x4.extract_lane 1 (local.get $v))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 4))))
    (if (i32x4.all_true (global.get $kept)) (then (global.set $kept (local.get $v))))))"#;

/// Throws through calls, catches with values and with the exception, and throws that again.
const EXCEPTIONS: &str = r#"
(module
  (tag $one (param i32 i64))
  (tag $other)
  (global $kept (mut exnref) (ref.null exn))
  (func $throws (param i32)
    (if (i32.and (local.get 0) (i32.const 1)) (then (throw $other)))
    (throw $one (local.get 0) (i64.const 5)))
  (func $deeper (param i32)
    (drop (i32.add (i32.const 1) (i32.const 2)))
    (try_table (catch $other 0) (call $throws (local.get 0))))
  (func $again (param i32) (result i32)
    (block $caught (result i32 i64 exnref)
      (try_table (catch_ref $one $caught) (call $deeper (local.get 0)))
      (return (i32.const -1)))
    (global.set $kept)
    (i32.wrap_i64)
    (i32.add))
  (func (export "_start") (local $n i32)
    (loop $next
      (if (i32.ge_s (call $again (local.get $n)) (i32.const 0))
        (then (block $all
          (try_table (catch_all $all)
            (drop (call $again (i32.const 1)))
            (throw_ref (global.get $kept))))))
      (br_if $next (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
        (i32.const 3))))))"#;

/// Waits with a time, changes memory, and multiplies to 128 bits.
const ATOMICS: &str = r#"
(module
  (memory 1 1 shared)
  (func (export "_start")
    (drop (i64.atomic.rmw.add (i32.const 8) (i64.const 5)))
    (if (i32.ne (memory.atomic.wait64 (i32.const 8) (i64.const 5) (i64.const 20)) (i32.const 2))
      (then (unreachable)))
    (drop (i32.atomic.rmw16.cmpxchg_u (i32.const 8) (i32.const 5) (i32.const 9)))
    (if (i32.ne (memory.atomic.wait32 (i32.const 8) (i32.const 5) (i64.const -1)) (i32.const 1))
      (then (unreachable)))
    (i32.const 16)
    (i64.mul_wide_u (i64.const -1) (i64.const 3))
    (drop)
    (i64.store)
    (drop (memory.atomic.notify (i32.const 8) (i32.const 1)))))"#;

/// Makes structures and arrays, fills, copies, casts, and compares.
const OBJECTS: &str = r#"
(module
  (rec (type $pair (sub (struct (field $a i8) (field $b (mut (ref null $pair))))))
       (type $more (sub $pair (struct (field i8) (field (mut (ref null $pair))) (field v128)))))
  (type $bytes (array (mut i8)))
  (type $words (array (mut i16)))
  (type $all (array (mut anyref)))
  (data $text "some words")
  (global $kept (mut (ref null $pair)) (struct.new $pair (i32.const 300) (ref.null $pair)))
  (func $kind (param anyref) (result i32)
    (block $i31 (result i31ref)
      (block $pair (result (ref $pair))
        (br_on_cast $pair anyref (ref $pair) (local.get 0))
        (br_on_cast $i31 anyref i31ref)
        (return (i32.const 3)))
      (return (struct.get_s $pair $a)))
    (i31.get_s))
  (func (export "_start") (local $n i32) (local $bytes (ref null $bytes)) (local $all (ref $all))
    (local.set $bytes (array.new_data $bytes $text (i32.const 0) (i32.const 10)))
    (local.set $all (array.new_fixed $all 3 (global.get $kept) (ref.i31 (i32.const -7))
      (local.get $bytes)))
    (array.copy $bytes $bytes (local.get $bytes) (i32.const 1) (local.get $bytes) (i32.const 0)
      (i32.const 9))
    (array.fill $words (array.new_default $words (i32.const 40)) (i32.const 3) (i32.const 9)
      (i32.const 30))
    (loop $next
      (global.set $kept (struct.new $more (local.get $n) (global.get $kept)
        (v128.const i64x2 1 2)))
      (drop (ref.eq (global.get $kept)
        (ref.cast eqref (array.get $all (local.get $all) (i32.const 0)))))
      (drop (call $kind (array.get $all (local.get $all) (local.get $n))))
      (br_if $next (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
        (i32.const 3))))
    (drop (ref.test (ref $more) (struct.get $pair $b (global.get $kept))))
    (struct.set $pair $b (global.get $kept) (ref.null $pair))))"#;

/// Keeps a list of a thousand while it makes far more than there is room for.
const CHURN: &str = r#"
(module
  (type $node (struct (field i64) (field (ref null $node))))
  (type $junk (array (mut i64)))
  (type $table (array (mut (ref null $node))))
  (table $t 4 anyref)
  (func (export "_start") (local $n i32) (local $list (ref null $node)) (local $sum i64)
    (table.set $t (i32.const 2) (array.new_default $table (i32.const 7)))
    (loop $next
      (local.set $list (struct.new $node (i64.extend_i32_u (local.get $n)) (local.get $list)))
      (array.set $table (ref.cast (ref $table) (table.get $t (i32.const 2)))
        (i32.rem_u (local.get $n) (i32.const 7)) (local.get $list))
      (drop (array.new $junk (i64.const -1) (i32.rem_u (local.get $n) (i32.const 900))))
      (drop (array.new $junk (i64.const -1) (i32.const 3)))
      (br_if $next (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
        (i32.const 2500))))
    (loop $add
      (local.set $sum (i64.add (local.get $sum) (struct.get $node 0 (local.get $list))))
      (br_if $add (i32.eqz (ref.is_null
        (local.tee $list (struct.get $node 1 (local.get $list)))))))
    (if (i64.ne (local.get $sum) (i64.const 3123750)) (then (unreachable)))))"#;

#[test]
fn objects_that_can_be_reached_stay_while_others_make_room() {
    let mut spec = spec(CHURN);
    spec.options.insert("memory".into(), "1M".into());
    let mut machine = Wasm.create(&spec).expect("the program is sound");
    assert_eq!(run(&mut *machine), (String::new(), 0));
    let mut other = Wasm.create(&spec).expect("the program is sound");
    for part in 1..10 {
        other.run(Tick(machine.tick().0 / 10 * part), &Kick::default(), &mut Vec::new());
        other.drop_caches(part);
        other = again(&mut *other);
    }
    assert_eq!(run(&mut *other), (String::new(), 0));
    assert_eq!(digest(&mut *machine), digest(&mut *other));
}

#[test]
fn more_objects_than_there_is_room_for_end_a_program_with_words_for_it() {
    let text = r#"(module
        (type $node (struct (field i64) (field (ref null $node))))
        (func (export "_start") (local $list (ref null $node))
          (loop $next
            (local.set $list (struct.new $node (i64.const 1) (local.get $list)))
            (br $next))))"#;
    let mut spec = spec(text);
    spec.options.insert("memory".into(), "1M".into());
    let mut machine = Wasm.create(&spec).expect("the program is sound");
    let (said, code) = run(&mut *machine);
    assert!(said.contains("out of room for objects; --memory"), "{said}");
    assert_eq!(code, 134);
}

#[test]
fn exceptions_that_nothing_holds_make_room_for_others() {
    let text = r#"(module
        (tag $one (param i64))
        (global $first (mut exnref) (ref.null exn))
        (global $last (mut exnref) (ref.null exn))
        (func $throws (param i64) (result exnref)
          (block $caught (result i64 exnref)
            (try_table (catch_ref $one $caught) (throw $one (local.get 0)))
            (unreachable))
          (global.set $last)
          (drop)
          (global.get $last))
        (func (export "_start") (local $n i64)
          (global.set $first (call $throws (i64.const 77)))
          (loop $next
            (drop (call $throws (local.get $n)))
            (br_if $next (i64.lt_u
              (local.tee $n (i64.add (local.get $n) (i64.const 1))) (i64.const 300000))))
          (block $caught (result i64)
            (try_table (catch $one $caught) (throw_ref (global.get $first)))
            (unreachable))
          (if (i64.ne (i64.const 77)) (then (unreachable)))))"#;
    let mut spec = spec(text);
    spec.options.insert("memory".into(), "1M".into());
    let mut machine = Wasm.create(&spec).expect("the program is sound");
    assert_eq!(run(&mut *machine), (String::new(), 0));
}

#[test]
fn an_exception_that_nobody_catches_ends_a_program_with_where_it_was_thrown() {
    let text = r#"(module (tag $t)
        (func $inner (throw $t))
        (func (export "_start") (call $inner)))"#;
    let (said, code) = run(&mut *program(text));
    assert_eq!(code, 134);
    assert!(said.contains("unhandled exception\n  0: inner at byte"), "{said}");
    assert_eq!(said.lines().count(), 3);
}

#[test]
fn a_program_restored_at_any_tick_has_the_state_of_one_that_was_not() {
    for text in [HIGH, VECTORS, EXCEPTIONS, ATOMICS, OBJECTS] {
        restored_at_any_tick(text);
    }
}

/// Gives several values back from where they are in each other's way, and calls the system last.
const RETURNS: &str = r#"
(module
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (func $two (param i32) (result i32 i32) (i32.const 7) (i32.const 8))
  (func $last (result i32) (return_call $yield))
  (func (export "_start")
    (call $two (i32.const 1))
    (if (i32.ne (i32.const 8)) (then (unreachable)))
    (if (i32.ne (i32.const 7)) (then (unreachable)))
    (drop (i32.add (i32.const 1) (call $last)))
    (call $two (call $last))
    (drop)
    (drop)))"#;

#[test]
fn a_program_whose_code_is_dropped_at_any_tick_has_the_same_end() {
    for text in [HIGH, EXCEPTIONS, RETURNS] {
        let mut whole = program(text);
        assert_eq!(run(&mut *whole), (String::new(), 0));
        for tick in 0..whole.tick().0 {
            let mut other = program(text);
            other.run(Tick(tick), &Kick::default(), &mut Vec::new());
            other.drop_caches(0);
            assert_eq!(run(&mut *other), (String::new(), 0), "dropped at {tick}");
            assert_eq!(other.tick(), whole.tick(), "dropped at {tick}");
            assert_eq!(digest(&mut *whole), digest(&mut *other), "dropped at {tick}");
        }
    }
}

#[test]
fn a_program_that_waits_can_be_restored_and_goes_on() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_read"
          (func $read (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (i64.store (i32.const 0) (i64.const 0x800000010))
          (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
          (if (i32.ne (i32.load8_u (i32.const 16)) (i32.const 0x61)) (then (unreachable)))))"#;
    let mut machine = program(text);
    for tick in [20, 1000] {
        let stop = machine.run(Tick(tick), &Kick::default(), &mut Vec::new());
        assert_eq!(stop, Stop::Idle { wake: None });
        let mut other = again(&mut *machine);
        assert_eq!(digest(&mut *machine), digest(&mut *other));
        machine = other;
    }
    let typed = Event::Input { port: PortId(0), bytes: b"a\n".to_vec() };
    machine.apply(&typed, &mut Vec::new());
    assert_eq!(run(&mut *again(&mut *machine)), (String::new(), 0));
}

#[test]
fn a_kick_is_seen_where_a_function_is_compiled() {
    let mut machine = program(HIGH);
    let kick = Kick::default();
    kick.kick();
    assert_eq!(machine.run(Tick(1 << 40), &kick, &mut Vec::new()), Stop::Kicked);
    assert_eq!(run(&mut *machine), (String::new(), 0));
}

#[test]
fn a_narrow_exchange_compares_with_the_low_bits_of_what_is_expected() {
    let text = r#"(module
        (memory 1 1 shared)
        (func (export "_start")
          (i64.store (i32.const 0) (i64.const 0x1111111111111111))
          (drop (i32.atomic.rmw8.cmpxchg_u (i32.const 0) (i32.const 0x2211) (i32.const 0xffcd)))
          (drop (i32.atomic.rmw16.cmpxchg_u (i32.const 2) (i32.const 0x221111) (i32.const 0)))
          (drop (i64.atomic.rmw32.cmpxchg_u (i32.const 4) (i64.const 0x2211111111)
            (i64.const 5)))
          (if (i64.ne (i64.load (i32.const 0)) (i64.const 0x5000011cd)) (then (unreachable)))))"#;
    assert_eq!(run(&mut *program(text)), (String::new(), 0));
}

#[test]
fn a_sum_of_products_of_bytes_ends_at_the_most_that_a_lane_can_have() {
    let text = r#"(module
        (func (export "_start") (local $v v128)
          (local.set $v (i8x16.splat (i32.const -128)))
          (if (i32.ne (i32.const 0x7fff) (i16x8.extract_lane_s 3
              (i16x8.relaxed_dot_i8x16_i7x16_s (local.get $v) (local.get $v))))
            (then (unreachable)))))"#;
    assert_eq!(run(&mut *program(text)), (String::new(), 0));
}

fn restored_at_any_tick(text: &str) {
    let mut whole = program(text);
    assert_eq!(run(&mut *whole), (String::new(), 0));
    let last = whole.tick().0;
    for tick in 0..=last {
        let mut one = program(text);
        one.run(Tick(tick), &Kick::default(), &mut Vec::new());
        let mut other = again(&mut *one);
        assert_eq!(digest(&mut *one), digest(&mut *other), "at tick {tick}");
        for next in tick + 1..=last {
            one.run(Tick(next), &Kick::default(), &mut Vec::new());
            other.run(Tick(next), &Kick::default(), &mut Vec::new());
            assert_eq!(digest(&mut *one), digest(&mut *other), "from {tick} at {next}");
        }
    }
}

#[test]
fn a_program_that_has_ended_can_be_saved_and_restored() {
    let exit = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (func (export "_start") (call $exit (i32.const 3))))"#;
    let trap = r#"(module (func (export "_start") unreachable))"#;
    let tail = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
        (func (export "_start") (result i32) (return_call $yield)))"#;
    for (text, code) in [(HIGH, 0), (exit, 3), (trap, 134), (tail, 0)] {
        let mut ended = program(text);
        assert_eq!(run(&mut *ended).1, code);
        let mut other = again(&mut *ended);
        assert_eq!(digest(&mut *ended), digest(&mut *other));
        assert_eq!(run(&mut *other), (String::new(), code));
    }
}

#[test]
fn the_backtrace_of_a_trap_is_the_same_whatever_was_compiled() {
    let text = r#"(module
        (func $deep (param i32)
          (if (i32.eqz (local.get 0)) (then unreachable))
          (call $deep (i32.sub (local.get 0) (i32.const 1))))
        (func $middle (call $deep (i32.const 20)))
        (func (export "_start") (call $middle)))"#;
    let (said, code) = run(&mut *program(text));
    assert_eq!(code, 134);
    assert_eq!(said.lines().count(), 1 + 21 + 2);
    assert!(said.lines().skip(1).all(|line| line.contains(" at byte 0x")), "{said}");
    let mut other = program(text);
    other.run(Tick(30), &Kick::default(), &mut Vec::new());
    other.drop_caches(0);
    assert_eq!(run(&mut *other), (said.clone(), code));
    let mut third = program(text);
    third.run(Tick(30), &Kick::default(), &mut Vec::new());
    assert_eq!(run(&mut *again(&mut *third)), (said, code));
}

#[test]
fn a_function_that_would_be_too_large_ends_or_refuses_a_program_with_words_for_it() {
    let many = |what: &str, count: usize| what.repeat(count);
    // Each branch copies a thousand values.
    let copies = format!(
        "(module (type $t (func (result {}))) (func $large
            (block $out (type $t) {} {} unreachable) {}) NEXT)",
        many("i32 ", 1000),
        many("(i32.const 0) ", 1001),
        many("(br_if $out (i32.const 0)) ", 4500),
        many("drop ", 1000),
    );
    let nested =
        format!("(module (func $large {} {}) NEXT)", many("block ", 70_000), many("end ", 70_000));
    for text in [copies, nested] {
        let called = text.replace("NEXT", "(func (export \"_start\") (call $large))");
        let (said, code) = run(&mut *program(&called));
        assert!(said.contains("too large to run here"), "{said}");
        assert_eq!(code, 134);
        let main = text.replace("NEXT", "(export \"_start\" (func $large))");
        assert!(refusal(&main).contains("too large to run here"));
    }
}
