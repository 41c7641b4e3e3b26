//! Ticks are instructions of the module, however the run is cut.

use omni_base::Tick;
use omni_machine::{Kick, Machine, MachineKind, Spec, Stop, digest};
use omni_vm_wasm::Wasm;

/// Sums the numbers below a thousand that have no factor of three, by calls and by branches.
const PROGRAM: &str = r#"
(module
  (func $odd (param i32) (result i32)
    (if (result i32) (i32.rem_u (local.get 0) (i32.const 3))
      (then (i32.const 1)) (else (i32.const 0))))
  (func (export "sum") (result i32)
    (local $at i32) (local $sum i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (i32.const 1000)))
        (if (call $odd (local.get $at))
          (then (local.set $sum (i32.add (local.get $sum) (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $sum)))"#;

fn program(fuel: Option<u64>) -> Box<dyn Machine> {
    let mut spec = Spec::new("wasm");
    spec.files.insert("image".into(), PROGRAM.as_bytes().into());
    spec.options.insert("invoke".into(), "sum".into());
    if let Some(fuel) = fuel {
        spec.options.insert("fuel".into(), fuel.to_string());
    }
    Wasm.create(&spec).expect("the program is sound")
}

/// The instructions of the program: per round five, or three more where the number counts, and
/// four or five of the function called; then three at the end, and one that reads the sum.
fn instructions() -> u64 {
    let round = |at: u64| {
        let head = 4 + 2 + 1 + 4 + 1;
        let called = 4 + 1;
        head + called + if at.is_multiple_of(3) { 0 } else { 4 }
    };
    (0..1000).map(round).sum::<u64>() + 4 + 1
}

#[test]
fn each_instruction_of_the_module_is_a_tick_and_nothing_else_is() {
    let mut machine = program(None);
    let stop = machine.run(Tick(1 << 40), &Kick::default(), &mut Vec::new());
    assert_eq!(stop, Stop::Halted { code: 0 });
    assert_eq!(machine.tick(), Tick(instructions()));
}

#[test]
fn fuel_for_all_instructions_is_enough_and_one_less_is_not() {
    for (fuel, code) in [(instructions(), 0), (instructions() - 1, 134), (1, 134)] {
        let mut machine = program(Some(fuel));
        let stop = machine.run(Tick(1 << 40), &Kick::default(), &mut Vec::new());
        assert_eq!(stop, Stop::Halted { code });
        assert_eq!(machine.tick(), Tick(fuel));
    }
}

#[test]
fn a_run_tick_by_tick_is_a_run_in_one_piece() {
    let (mut one, mut other) = (program(None), program(None));
    for tick in 1..3000 {
        assert_eq!(one.run(Tick(tick), &Kick::default(), &mut Vec::new()), Stop::Reached);
        assert_eq!(one.tick(), Tick(tick));
    }
    assert_eq!(other.run(Tick(2999), &Kick::default(), &mut Vec::new()), Stop::Reached);
    assert_eq!(digest(&mut *one), digest(&mut *other));
}

#[test]
fn a_throw_is_a_tick_and_to_be_caught_is_none() {
    let text = r#"(module (tag $t (param i32))
        (func $throws (nop) (throw $t (i32.const 7)))
        (func (export "sum") (result i32)
          (block $caught (result i32)
            (try_table (catch $t $caught) (nop) (call $throws) (nop) (nop))
            (unreachable))
          (drop)
          (i32.const 1)))"#;
    let mut spec = Spec::new("wasm");
    spec.files.insert("image".into(), text.as_bytes().into());
    spec.options.insert("invoke".into(), "sum".into());
    let mut machine = Wasm.create(&spec).expect("the program is sound");
    let stop = machine.run(Tick(1 << 40), &Kick::default(), &mut Vec::new());
    assert_eq!((stop, machine.tick()), (Stop::Halted { code: 0 }, Tick(2 + 3 + 2)));
}

#[test]
fn a_wait_on_memory_passes_the_ticks_of_its_time_and_one_without_an_end_all_there_are() {
    let text = |time: i64| {
        format!(
            r#"(module (memory 1 1 shared)
            (func (export "sum") (result i32)
              (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const {time}))))"#
        )
    };
    let run = |text: String| {
        let mut spec = Spec::new("wasm");
        spec.files.insert("image".into(), text.into_bytes().into());
        spec.options.insert("invoke".into(), "sum".into());
        let mut machine = Wasm.create(&spec).expect("the program is sound");
        (machine.run(Tick(1 << 40), &Kick::default(), &mut Vec::new()), machine.tick())
    };
    assert_eq!(run(text(1000)), (Stop::Halted { code: 0 }, Tick(4 + 1000)));
    assert_eq!(run(text(0)), (Stop::Halted { code: 0 }, Tick(4)));
    assert_eq!(run(text(-1)), (Stop::Reached, Tick(1 << 40)));
}
