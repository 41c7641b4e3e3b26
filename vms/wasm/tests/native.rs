//! Machine code and the interpreter do the same, to the last slot, wherever the one hands over to
//! the other.

use omni_base::Tick;
use omni_engine::Tiers;
use omni_machine::{Kick, Machine, MachineKind, Spec, Stop, digest};
use omni_vm_wasm::Wasm;

/// Code from the first call on.
const CODE: Tiers = Tiers::Compiled { after: 0 };

fn program(text: &str, tiers: Tiers) -> Box<dyn Machine> {
    let mut spec = Spec::new("wasm");
    spec.files.insert("image".into(), text.as_bytes().into());
    tiers.within(|| Wasm.create(&spec).expect("the program is sound"))
}

fn run(machine: &mut dyn Machine, until: u64) -> Stop {
    machine.run(Tick(until), &Kick::default(), &mut Vec::new())
}

/// Recursion, with a value kept across calls.
const FIB: &str = r#"(module
  (func $fib (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2))
      (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1)))
                     (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func (export "_start") (local i32)
    (local.set 0 (call $fib (i32.const 12)))
    (if (i32.ne (local.get 0) (i32.const 144)) (then (unreachable)))))"#;

/// Both run to their ends, and look the same there and every few ticks before.
fn same(text: &str) {
    let (mut one, mut other) = (program(text, Tiers::Interpreter), program(text, CODE));
    let end = run(&mut *one, 1 << 40);
    assert_eq!(run(&mut *other, 1 << 40), end);
    assert_eq!(one.tick(), other.tick());
    assert_eq!(digest(&mut *one), digest(&mut *other));
    let last = one.tick().0;
    let (mut one, mut other) = (program(text, Tiers::Interpreter), program(text, CODE));
    let mut tick = 0;
    while tick < last {
        tick += 1 + tick % 23;
        assert_eq!(run(&mut *one, tick), run(&mut *other, tick), "at {tick}");
        assert_eq!(digest(&mut *one), digest(&mut *other), "at {tick}");
    }
}

#[test]
fn recursion_is_the_same_in_machine_code() {
    same(FIB);
}

/// Loops over memory with accesses of all sizes, also across pages and beyond the end.
const MEMORY: &str = r#"(module
  (memory 2)
  (global $sum (mut i64) (i64.const 0))
  (func $walk (param $from i32) (param $step i32)
    (local $at i32) (local $n i32)
    (local.set $at (local.get $from))
    (loop $next
      (i64.store offset=3 (local.get $at) (i64.extend_i32_u (local.get $n)))
      (i32.store16 (local.get $at) (i32.mul (local.get $n) (i32.const 77)))
      (i32.store8 offset=1 (local.get $at) (local.get $n))
      (global.set $sum (i64.add (global.get $sum) (i64.load offset=1 (local.get $at))))
      (global.set $sum (i64.add (i64.rotl (global.get $sum) (i64.const 7))
        (i64.extend_i32_s (i32.load16_s offset=3 (local.get $at)))))
      (global.set $sum (i64.add (global.get $sum)
        (i64.add (i64.load32_s (local.get $at)) (i64.extend_i32_u (i32.load8_s
          (local.get $at))))))
      (local.set $at (i32.add (local.get $at) (local.get $step)))
      (br_if $next (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
        (i32.const 40)))))
  (func (export "_start")
    (call $walk (i32.const 4000) (i32.const 8))
    (call $walk (i32.const 8000) (i32.const 7))
    (call $walk (i32.const 130900) (i32.const 5))))"#;

/// Floats of both widths, NaNs, roundings, conversions, and minima of zeros.
const FLOATS: &str = r#"(module
  (memory 1)
  (func $mix (param $x f64) (param $n i32) (result f64)
    (local $y f32) (local $k i32)
    (loop $next
      (local.set $y (f32.demote_f64 (f64.mul (local.get $x) (f64.const 1.25))))
      (local.set $y (f32.max (f32.neg (local.get $y)) (f32.sqrt (local.get $y))))
      (local.set $x (f64.add (f64.promote_f32 (f32.nearest (local.get $y)))
        (f64.div (f64.convert_i32_s (local.get $k)) (local.get $x))))
      (local.set $x (f64.min (local.get $x) (f64.copysign (f64.const 0)
        (f64.sub (local.get $x) (f64.const 3)))))
      (if (f64.gt (f64.abs (local.get $x)) (f64.const 2))
        (then (local.set $x (f64.convert_i64_u (i64.trunc_sat_f64_u (local.get $x))))))
      (if (f64.ne (local.get $x) (local.get $x))
        (then (local.set $x (f64.const 0.5))))
      (local.set $k (i32.add (local.get $k)
        (i32.trunc_sat_f32_s (f32.ceil (f32.add (local.get $y) (f32.const 0.75))))))
      (f64.store (i32.const 16) (local.get $x))
      (f32.store (i32.const 9) (local.get $y))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (f64.load (i32.const 16)))
  (func (export "_start") (local $sum f64)
    (local.set $sum (call $mix (f64.const 1.5) (i32.const 30)))
    (local.set $sum (f64.add (local.get $sum) (call $mix (f64.const -7e30) (i32.const 9))))
    (local.set $sum (f64.add (local.get $sum) (call $mix (f64.const nan) (i32.const 9))))
    (drop (i32.trunc_f64_s (f64.mul (local.get $sum) (f64.const 1e300))))))"#;

/// Calls by a table, of functions of the host, of the wrong type; a switch; tail calls.
const CALLS: &str = r#"(module
  (type $one (func (param i32) (result i32)))
  (table funcref (elem $twice $less $count $none))
  (global $g (mut i32) (i32.const 5))
  (func $twice (param i32) (result i32) (i32.shl (local.get 0) (i32.const 1)))
  (func $less (param i32) (result i32)
    (if (result i32) (i32.gt_s (local.get 0) (i32.const 0))
      (then (return_call $less (i32.sub (local.get 0) (i32.const 9))))
      (else (local.get 0))))
  (func $count (param i32) (result i32)
    (block $c (block $b (block $a
      (br_table $a $b $c (i32.rem_u (local.get 0) (i32.const 5))))
      (global.set $g (i32.add (global.get $g) (i32.const 3)))
      (return (global.get $g)))
      (return (i32.div_s (local.get 0) (i32.sub (global.get $g) (i32.const 4)))))
    (select (i32.const 7) (i32.rem_s (local.get 0) (i32.const -1))
      (i32.and (local.get 0) (i32.const 8))))
  (func $none)
  (func (export "_start") (local $n i32) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum)
        (call_indirect (type $one) (i32.and (i32.add (local.get $n) (local.get $sum))
          (i32.const 127))
          (i32.rem_u (local.get $n) (i32.const 3)))))
      (br_if $next (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1)))
        (i32.const 50))))
    (drop (call_indirect (type $one) (i32.const 1) (i32.const 3)))))"#;

/// Recursion until there is no room, with calls from and to functions without code.
const DEEP: &str = r#"(module
  (memory 1)
  (func $a (param i32) (result i32) (local i64 i64 i64)
    (local.set 2 (i64.extend_i32_u (local.get 0)))
    (i32.add (call $b (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func $b (param i32) (result i32) (local v128)
    (local.set 1 (i32x4.splat (local.get 0)))
    (i32.add (call $a (i32x4.extract_lane 1 (local.get 1))) (i32.const 1)))
  (func (export "_start") (drop (call $a (i32.const 0)))))"#;

#[test]
fn memory_is_the_same_in_machine_code() {
    same(MEMORY);
}

#[test]
fn floats_are_the_same_in_machine_code() {
    same(FLOATS);
}

#[test]
fn calls_and_switches_are_the_same_in_machine_code() {
    same(CALLS);
}

#[test]
fn a_stack_without_room_is_the_same_in_machine_code() {
    let (mut one, mut other) = (program(DEEP, Tiers::Interpreter), program(DEEP, CODE));
    let end = run(&mut *one, 1 << 40);
    assert_eq!(end, Stop::Halted { code: 134 });
    assert_eq!(run(&mut *other, 1 << 40), end);
    assert_eq!((one.tick(), digest(&mut *one)), (other.tick(), digest(&mut *other)));
}

#[test]
fn functions_get_code_where_the_host_can() {
    let mut machine = program(FIB, CODE);
    run(&mut *machine, 1 << 40);
    let made = machine.counters().into_iter().find(|(name, _)| *name == "functions_translated");
    assert_eq!(made.map(|(_, count)| count > 0), Some(Tiers::can_compile()));
}

#[test]
fn a_function_whose_code_is_too_much_costs_no_other_its_own() {
    // Each way out of `$wide` copies all its results.
    let (types, zeros) = ("i64 ".repeat(150), "(i64.const 0)".repeat(150));
    let ways = "(br_if 0 (local.get 0))".repeat(4000);
    let text = format!(
        r#"(module
  (func $wide (param i32) (result {types}) {zeros} {ways})
  (func $small (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func (export "_start") (local i32)
    (local.set 0 (call $small (local.get 0)))
    (call $wide (i32.const 1)) {drops}))"#,
        drops = "(drop)".repeat(150)
    );
    let mut machine = program(&text, CODE);
    assert_eq!(run(&mut *machine, 1 << 40), Stop::Halted { code: 0 });
    let made = machine.counters().into_iter().find(|(name, _)| *name == "functions_translated");
    assert_eq!(made.map(|(_, count)| count), Some(if Tiers::can_compile() { 2 } else { 0 }));
}
